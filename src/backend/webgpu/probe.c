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
                         size_t bytes, kernel *k, hy_error *err)
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

static hy_status run(hy__gpu *gpu, const kernel *k, uint32_t n_workgroups, void *data, size_t bytes,
                     hy_error *err)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    lib->QueueWriteBuffer(gpu->queue, k->buffer, 0, data, bytes);
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    lib->ComputePassEncoderSetPipeline(pass, k->pipeline);
    lib->ComputePassEncoderSetBindGroup(pass, 0, k->group, 0, NULL);
    lib->ComputePassEncoderDispatchWorkgroups(pass, n_workgroups, 1, 1);
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    return hy__gpu_read(gpu, k->buffer, 0, data, bytes, err);
}

hy_status hy__gpu_run_once(hy__gpu *gpu, const char *code, uint32_t uses, const char *label,
                           uint32_t n_workgroups, void *data, size_t bytes, hy_error *err)
{
    kernel k = {0};
    hy_status status = prepare(gpu, code, uses, label, bytes, &k, err);
    if (status == HY_OK) {
        status = run(gpu, &k, n_workgroups, data, bytes, err);
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
