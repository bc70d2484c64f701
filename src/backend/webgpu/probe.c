/* probe.c: what a GPU tells only by running a kernel: see probe.h. */
#include "probe.h"

/* ---- one kernel, once */

typedef struct kernel {
    WGPUShaderModule module;
    WGPUBindGroupLayout bindings;
    WGPUPipelineLayout layout;
    WGPUComputePipeline pipeline;
    WGPUBuffer buffer;
    WGPUBindGroup group;
} kernel;

static void release(hy__gpu *gpu, kernel *k)
{
    const hy__gpu_lib *const lib = &gpu->lib;
#define RELEASE(handle, function)                                                                  \
    if (k->handle) {                                                                               \
        lib->function(k->handle);                                                                  \
    }
    RELEASE(group, BindGroupRelease)
    RELEASE(pipeline, ComputePipelineRelease)
    RELEASE(layout, PipelineLayoutRelease)
    RELEASE(bindings, BindGroupLayoutRelease)
    RELEASE(module, ShaderModuleRelease)
#undef RELEASE
    hy__gpu_buffer_free(gpu, k->buffer);
}

static hy_status prepare(hy__gpu *gpu, const char *code, uint32_t uses, const char *label,
                         uint64_t bytes, kernel *k, hy_error *err)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    HY_TRY(hy__gpu_module(gpu, code, strlen(code), uses, label, &k->module, err));
    const WGPUBindGroupLayoutEntry entry = {.binding = 0,
                                            .visibility = WGPUShaderStage_Compute,
                                            .buffer = {.type = WGPUBufferBindingType_Storage}};
    k->bindings = lib->DeviceCreateBindGroupLayout(
        gpu->device, &(WGPUBindGroupLayoutDescriptor){.entryCount = 1, .entries = &entry});
    k->layout = lib->DeviceCreatePipelineLayout(
        gpu->device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1,
                                                     .bindGroupLayouts = &k->bindings});
    HY_TRY(hy__gpu_pipeline(gpu, k->module, "main", k->layout, label, &k->pipeline, err));
    HY_TRY(hy__gpu_buffer(
        gpu, bytes, WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst,
        label, &k->buffer, err));
    const WGPUBindGroupEntry bound = {.binding = 0, .buffer = k->buffer, .size = bytes};
    k->group = lib->DeviceCreateBindGroup(
        gpu->device,
        &(WGPUBindGroupDescriptor){.layout = k->bindings, .entryCount = 1, .entries = &bound});
    return hy__gpu_check(gpu, err);
}

static hy_status run(hy__gpu *gpu, const kernel *k, uint32_t n_workgroups, hy_error *err)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    lib->ComputePassEncoderSetPipeline(pass, k->pipeline);
    lib->ComputePassEncoderSetBindGroup(pass, 0, k->group, 0, NULL);
    lib->ComputePassEncoderDispatchWorkgroups(pass, n_workgroups, 1, 1);
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    return hy__gpu_submit(gpu, encoder, err);
}

hy_status hy__gpu_run_once(hy__gpu *gpu, const char *code, uint32_t uses, const char *label,
                           uint32_t n_workgroups, void *data, size_t bytes, hy_error *err)
{
    kernel k = {0};
    hy_status status = prepare(gpu, code, uses, label, bytes, &k, err);
    if (status == HY_OK) {
        gpu->lib.QueueWriteBuffer(gpu->queue, k.buffer, 0, data, bytes);
        status = run(gpu, &k, n_workgroups, err);
    }
    if (status == HY_OK) {
        status = hy__gpu_read(gpu, k.buffer, 0, data, bytes, err);
    }
    release(gpu, &k);
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
    kernel k = {0};
    hy_status status = prepare(gpu, binding_kernel, 0, "a large binding", bytes / 4 * 4, &k, err);
    for (uint32_t i = 0; i < 64 && status == HY_OK; i++) {
        const uint64_t at = last / 63 * i + (i == 63 ? last % 63 : 0);
        const uint32_t word = 1000 + i;
        gpu->lib.QueueWriteBuffer(gpu->queue, k.buffer, 4 * at, &word, 4);
    }
    status = status == HY_OK ? run(gpu, &k, 1, err) : status;
    for (uint32_t i = 0; i < 64 && status == HY_OK; i++) {
        const uint64_t at = last / 63 * i + (i == 63 ? last % 63 : 0);
        uint32_t word = 0;
        status = hy__gpu_read(gpu, k.buffer, 4 * at, &word, 4, err);
        if (status == HY_OK && word != 3 * (1000 + i) + 1) {
            status = hy__fail(err, HY_E_MISMATCH, "%u where %u is right, at byte %llu of %llu",
                              word, 3 * (1000 + i) + 1, (unsigned long long)(4 * at),
                              (unsigned long long)bytes);
        }
    }
    release(gpu, &k);
    return status;
}
