/* read.c: how fast a GPU reads its memory: a kernel that does nothing else, on a buffer larger than
 * caches are. */
#include "measure.h"
#include "trial.h"
#include "webgpu.h"

enum {
    LANES = 256,
    LOADS = 4,                        /* of 16 bytes, of each invocation at once */
    BLOCK_BYTES = 16 * LANES * LOADS, /* of a workgroup at once */
    MOST_BYTES = 1 << 30,
    LEAST_BYTES = 1 << 24
};

/* Pages that nobody wrote may be no memory at all: `fill` comes first.  The condition is never
 * true, but no compiler knows that. */
static const char code[] =
    "@group(0) @binding(0) var<storage, read_write> data: array<vec4<u32>>;\n"
    "@compute @workgroup_size(256)\n"
    "fn fill(@builtin(workgroup_id) g: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,\n"
    "        @builtin(local_invocation_index) lane: u32) {\n"
    "    for (var at = g.x * 256u + lane; at < arrayLength(&data); at += n.x * 256u) {\n"
    "        data[at] = vec4<u32>(at, at + 1u, at + 2u, at + 3u) * 2654435769u;\n"
    "    }\n"
    "}\n"
    "@compute @workgroup_size(256)\n"
    "fn read(@builtin(workgroup_id) g: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,\n"
    "        @builtin(local_invocation_index) lane: u32) {\n"
    "    var x = vec4<u32>(0u);\n"
    "    for (var at = g.x * 1024u + lane; at < arrayLength(&data); at += n.x * 1024u) {\n"
    "        x += data[at] ^ data[at + 256u] ^ data[at + 512u] ^ data[at + 768u];\n"
    "    }\n"
    "    if (x.x * x.x == 3u && x.y + x.z == x.w) {\n"
    "        data[lane] = x;\n"
    "    }\n"
    "}\n";

/* A buffer as large as it may be, or as there is room for. */
static hy_status make_buffer(hy__gpu_trial *t, hy_error *err)
{
    const hy__gpu_caps *caps = &t->gpu->caps;
    const uint64_t most = caps->type == WGPUAdapterType_CPU ? LEAST_BYTES : MOST_BYTES;
    const uint64_t bound = HY_MIN(caps->max_buffer, caps->max_binding);
    hy_status status = HY_E_NOMEM;
    uint64_t bytes = HY_MIN(most, bound / BLOCK_BYTES * BLOCK_BYTES);
    while (status == HY_E_NOMEM && bytes >= LEAST_BYTES) {
        t->bytes = bytes;
        status = hy__gpu_trial_open(t, "reading", err);
        if (status == HY_E_NOMEM) {
            hy__gpu_trial_close(t);
            bytes = bytes / 2 / BLOCK_BYTES * BLOCK_BYTES;
        }
    }
    return status;
}

static hy_status measure(hy__gpu_trial *t, WGPUComputePipeline fill, WGPUComputePipeline read,
                         double *bytes_per_second, hy_error *err)
{
    /* How many workgroups are best depends on the GPU. */
    static const uint32_t groups[] = {1024, 4096, 16384};
    const size_t n = t->gpu->caps.type == WGPUAdapterType_CPU ? 1 : HY_COUNT(groups);
    HY_TRY(hy__gpu_trial_run(t, fill, 4096, 1, NULL, err));
    for (size_t i = 0; i < n; i++) {
        double ns = 0;
        HY_TRY(hy__gpu_trial_time(t, read, groups[i], &ns, err));
        *bytes_per_second = HY_MAX(*bytes_per_second, (double)t->bytes * 1e9 / ns);
    }
    return HY_OK;
}

hy_status hy__gpu_read_speed(hy__gpu *gpu, double *bytes_per_second, hy_error *err)
{
    hy__gpu_trial t = {.gpu = gpu};
    WGPUComputePipeline fill = NULL, read = NULL;
    *bytes_per_second = 0;
    hy_status status = make_buffer(&t, err);
    if (status == HY_OK) {
        status = hy__gpu_trial_compile(&t, code, 0, "fill", "filling", &fill, err);
    }
    if (status == HY_OK) {
        status = hy__gpu_trial_compile(&t, code, 0, "read", "reading", &read, err);
    }
    if (status == HY_OK) {
        status = measure(&t, fill, read, bytes_per_second, err);
    }
    if (fill) {
        gpu->lib.ComputePipelineRelease(fill);
    }
    if (read) {
        gpu->lib.ComputePipelineRelease(read);
    }
    hy__gpu_trial_close(&t);
    return status;
}

/* No session of the model may be in a call meanwhile. */
hy_status hy__gpu_measure_read(void *model, double *bytes_per_second, hy_error *err)
{
    hy__gpu_model *m = model;
    hy__lock_take(m->lock);
    const hy_status status = hy__gpu_read_speed(&m->gpu, bytes_per_second, err);
    hy__lock_leave(m->lock);
    return status;
}
