/* probe.c: what a GPU tells only by running a kernel: see probe.h. */
#include "probe.h"

#include "trial.h"

/* ---- one kernel, once */

static hy_status prepare(hy__gpu_trial *t, const char *code, uint32_t uses, const char *label,
                         WGPUComputePipeline *pipeline, hy_error *err)
{
    HY_TRY(hy__gpu_trial_open(t, label, err));
    return hy__gpu_trial_compile(t, code, uses, "main", label, pipeline, err);
}

static void release(hy__gpu_trial *t, WGPUComputePipeline pipeline)
{
    if (pipeline) {
        t->gpu->lib.ComputePipelineRelease(pipeline);
    }
    hy__gpu_trial_close(t);
}

hy_status hy__gpu_run_once(hy__gpu *gpu, const char *code, uint32_t uses, const char *label,
                           uint32_t n_workgroups, void *data, size_t bytes, hy_error *err)
{
    hy__gpu_trial t = {.gpu = gpu, .bytes = bytes};
    WGPUComputePipeline pipeline = NULL;
    hy_status status = prepare(&t, code, uses, label, &pipeline, err);
    if (status == HY_OK) {
        gpu->lib.QueueWriteBuffer(gpu->queue, t.buffer, 0, data, bytes);
        status = hy__gpu_trial_run(&t, pipeline, n_workgroups, 1, NULL, err);
    }
    if (status == HY_OK) {
        status = hy__gpu_read(gpu, t.buffer, 0, data, bytes, err);
    }
    release(&t, pipeline);
    return status;
}

/* ---- subgroups */

static const char subgroup_kernel[] =
    "@group(0) @binding(0) var<storage, read_write> lanes: array<u32, 256>;\n"
    "@compute @workgroup_size(256)\n"
    "fn main(@builtin(local_invocation_index) i: u32, @builtin(subgroup_size) n: u32) {\n"
    "    lanes[i] = n;\n"
    "}\n";

hy_status hy__gpu_probe_subgroups(hy__gpu *gpu, hy_error *err)
{
    enum { LEAST = 4, MOST = 128 }; /* that WebGPU allows */
    uint32_t lanes[256] = {0};
    hy__gpu_caps *const caps = &gpu->caps;
    const hy_status status = hy__gpu_run_once(gpu, subgroup_kernel, HY__GPU_USES_SUBGROUPS,
                                              "size of subgroups", 1, lanes, sizeof lanes, err);
    if (status == HY_E_NOMEM || status == HY_E_DEVICE_LOST) {
        return status;
    }
    uint32_t least = lanes[0], most = lanes[0];
    for (size_t i = 1; i < HY_COUNT(lanes); i++) {
        least = HY_MIN(least, lanes[i]);
        most = HY_MAX(most, lanes[i]);
    }
    caps->subgroups = status == HY_OK && least >= LEAST && most <= MOST;
    caps->subgroup_min = caps->subgroups ? least : 0;
    caps->subgroup_max = caps->subgroups ? most : 0;
    return hy__gpu_check(gpu, err);
}

/* ---- large bindings */

/* 64 words from the first to the last one of the binding. */
static const char binding_kernel[] =
    "@group(0) @binding(0) var<storage, read_write> all: array<u32>;\n"
    "@compute @workgroup_size(64)\n"
    "fn main(@builtin(local_invocation_index) i: u32) {\n"
    "    let at = (arrayLength(&all) - 1u) / 63u * i + select(0u, (arrayLength(&all) - 1u) % 63u, "
    "i == 63u);\n"
    "    all[at] = all[at] * 3u + 1u;\n"
    "}\n";

hy_status hy__gpu_probe_binding(hy__gpu *gpu, uint64_t bytes, hy_error *err)
{
    const uint64_t last = bytes / 4 - 1;
    hy__gpu_trial t = {.gpu = gpu, .bytes = bytes / 4 * 4};
    WGPUComputePipeline pipeline = NULL;
    hy_status status = prepare(&t, binding_kernel, 0, "a large binding", &pipeline, err);
    for (uint32_t i = 0; i < 64 && status == HY_OK; i++) {
        const uint64_t at = last / 63 * i + (i == 63 ? last % 63 : 0);
        const uint32_t word = 1000 + i;
        gpu->lib.QueueWriteBuffer(gpu->queue, t.buffer, 4 * at, &word, 4);
    }
    status = status == HY_OK ? hy__gpu_trial_run(&t, pipeline, 1, 1, NULL, err) : status;
    for (uint32_t i = 0; i < 64 && status == HY_OK; i++) {
        const uint64_t at = last / 63 * i + (i == 63 ? last % 63 : 0);
        uint32_t word = 0;
        status = hy__gpu_read(gpu, t.buffer, 4 * at, &word, 4, err);
        if (status == HY_OK && word != 3 * (1000 + i) + 1) {
            status = hy__fail(err, HY_E_MISMATCH, "%u where %u is right, at byte %llu of %llu",
                              word, 3 * (1000 + i) + 1, (unsigned long long)(4 * at),
                              (unsigned long long)bytes);
        }
    }
    release(&t, pipeline);
    return status;
}
