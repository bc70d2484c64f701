/* read.c: how fast a GPU reads its memory: a kernel that does nothing else, on a buffer larger than
 * caches are.  No session of the model may be in a call meanwhile. */
#include "webgpu.h"

enum {
    LANES = 256,
    LOADS = 4,                        /* of 16 bytes, of each invocation at once */
    BLOCK_BYTES = 16 * LANES * LOADS, /* of a workgroup at once */
    MOST_BYTES = 1 << 30,
    LEAST_BYTES = 1 << 24,
    SAMPLES = 5
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

typedef struct reader {
    hy__gpu *gpu;
    WGPUBuffer buffer;
    uint64_t bytes;
    WGPUShaderModule module;
    WGPUBindGroupLayout bindings;
    WGPUPipelineLayout layout;
    WGPUComputePipeline fill, read;
    WGPUBindGroup group;
} reader;

static void release(reader *r)
{
    const hy__gpu_lib *lib = &r->gpu->lib;
#define RELEASE(handle, function)                                                                  \
    if (r->handle) {                                                                               \
        lib->function(r->handle);                                                                  \
    }
    RELEASE(group, BindGroupRelease)
    RELEASE(fill, ComputePipelineRelease)
    RELEASE(read, ComputePipelineRelease)
    RELEASE(layout, PipelineLayoutRelease)
    RELEASE(bindings, BindGroupLayoutRelease)
    RELEASE(module, ShaderModuleRelease)
#undef RELEASE
    hy__gpu_buffer_free(r->gpu, r->buffer);
}

/* As large as it may be, or as there is room for. */
static hy_status make_buffer(reader *r, hy_error *err)
{
    const hy__gpu_caps *caps = &r->gpu->caps;
    const uint64_t most = caps->type == WGPUAdapterType_CPU ? LEAST_BYTES : MOST_BYTES;
    const uint64_t bound = HY_MIN(caps->max_buffer, caps->max_binding);
    hy_status status = HY_E_NOMEM;
    for (r->bytes = HY_MIN(most, bound / BLOCK_BYTES * BLOCK_BYTES);
         status == HY_E_NOMEM && r->bytes >= LEAST_BYTES;) {
        status =
            hy__gpu_buffer(r->gpu, r->bytes, WGPUBufferUsage_Storage, "reading", &r->buffer, err);
        r->bytes = status == HY_E_NOMEM ? r->bytes / 2 / BLOCK_BYTES * BLOCK_BYTES : r->bytes;
    }
    return status;
}

static hy_status prepare(reader *r, hy_error *err)
{
    hy__gpu *gpu = r->gpu;
    const hy__gpu_lib *lib = &gpu->lib;
    HY_TRY(make_buffer(r, err));
    HY_TRY(hy__gpu_module(gpu, code, sizeof code - 1, 0, "reading", &r->module, err));
    const WGPUBindGroupLayoutEntry entry = {.binding = 0,
                                            .visibility = WGPUShaderStage_Compute,
                                            .buffer = {.type = WGPUBufferBindingType_Storage}};
    r->bindings = lib->DeviceCreateBindGroupLayout(
        gpu->device, &(WGPUBindGroupLayoutDescriptor){.entryCount = 1, .entries = &entry});
    r->layout = lib->DeviceCreatePipelineLayout(
        gpu->device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1,
                                                     .bindGroupLayouts = &r->bindings});
    HY_TRY(hy__gpu_pipeline(gpu, r->module, "fill", r->layout, "filling", &r->fill, err));
    HY_TRY(hy__gpu_pipeline(gpu, r->module, "read", r->layout, "reading", &r->read, err));
    const WGPUBindGroupEntry bound = {.binding = 0, .buffer = r->buffer, .size = r->bytes};
    r->group = lib->DeviceCreateBindGroup(
        gpu->device,
        &(WGPUBindGroupDescriptor){.layout = r->bindings, .entryCount = 1, .entries = &bound});
    return hy__gpu_check(gpu, err);
}

/* Nanoseconds from the submission of n dispatches to their end. */
static hy_status run(const reader *r, WGPUComputePipeline pipeline, uint32_t groups, uint32_t n,
                     double *ns, hy_error *err)
{
    hy__gpu *gpu = r->gpu;
    const hy__gpu_lib *lib = &gpu->lib;
    HY_TRY(hy__gpu_check(gpu, err));
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    lib->ComputePassEncoderSetPipeline(pass, pipeline);
    lib->ComputePassEncoderSetBindGroup(pass, 0, r->group, 0, NULL);
    for (uint32_t i = 0; i < n; i++) {
        hy__gpu_dispatch_groups(gpu, pass, groups, 1);
    }
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    const uint64_t start = gpu->env.clock_ns(gpu->env.user);
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    HY_TRY(hy__gpu_finish(gpu, err));
    *ns = (double)(gpu->env.clock_ns(gpu->env.user) - start);
    return HY_OK;
}

/* Bytes per second, the median of several samples.  A sample is the difference of a long and a
 * short submission, which takes out what submitting and waiting cost. */
static hy_status measure(const reader *r, uint32_t groups, double *speed, hy_error *err)
{
    double once = 0, more = 0, samples[SAMPLES];
    HY_TRY(run(r, r->read, groups, 1, &once, err));
    HY_TRY(run(r, r->read, groups, 1, &once, err));
    const double wanted = 10e6 / HY_MAX(once, 1.0);
    const uint32_t n = wanted < 1 ? 1 : wanted > 32 ? 32 : (uint32_t)wanted;
    for (size_t i = 0; i < SAMPLES; i++) {
        HY_TRY(run(r, r->read, groups, 1, &once, err));
        HY_TRY(run(r, r->read, groups, 1 + n, &more, err));
        const double x = (double)r->bytes * n * 1e9 / HY_MAX(more - once, 1.0);
        size_t at = i;
        for (; at > 0 && samples[at - 1] > x; at--) {
            samples[at] = samples[at - 1];
        }
        samples[at] = x;
    }
    *speed = samples[SAMPLES / 2];
    return HY_OK;
}

hy_status hy__gpu_measure_read(void *model, double *bytes_per_second, hy_error *err)
{
    /* How many workgroups are best depends on the GPU. */
    static const uint32_t groups[] = {1024, 4096, 16384};
    hy__gpu_model *m = model;
    reader r = {.gpu = &m->gpu};
    double ns = 0;
    *bytes_per_second = 0;
    hy__lock_take(m->lock);
    hy_status status = prepare(&r, err);
    if (status == HY_OK) {
        status = run(&r, r.fill, 4096, 1, &ns, err);
    }
    const size_t n = m->gpu.caps.type == WGPUAdapterType_CPU ? 1 : HY_COUNT(groups);
    for (size_t i = 0; status == HY_OK && i < n; i++) {
        double speed = 0;
        status = measure(&r, groups[i], &speed, err);
        *bytes_per_second = HY_MAX(*bytes_per_second, speed);
    }
    release(&r);
    hy__lock_leave(m->lock);
    return status;
}
