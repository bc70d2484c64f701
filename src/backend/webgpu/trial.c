/* trial.c: kernels that are run to see what a GPU does: see trial.h. */
#include "trial.h"

double hy__gpu_median(double *x, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const double one = x[i];
        size_t at = i;
        for (; at > 0 && x[at - 1] > one; at--) {
            x[at] = x[at - 1];
        }
        x[at] = one;
    }
    return x[n / 2];
}

/* ---- what kernels share */

void hy__gpu_texel(uint32_t x, uint32_t y, uint8_t texel[4])
{
    for (uint32_t c = 0; c < 4; c++) {
        texel[c] = (uint8_t)(7 * x * x + 13 * y * y + 5 * x * y + 64 * c);
    }
}

static void make_texture(hy__gpu_trial *t, const char *label)
{
    enum { N = HY__GPU_TEXELS };
    const hy__gpu_lib *const lib = &t->gpu->lib;
    uint8_t texels[N * N * 4];
    for (uint32_t i = 0; i < N * N; i++) {
        hy__gpu_texel(i % N, i / N, texels + 4 * (size_t)i);
    }
    const WGPUExtent3D size = {N, N, 1};
    t->image = lib->DeviceCreateTexture(
        t->gpu->device,
        &(WGPUTextureDescriptor){.label = hy__gpu_text(label),
                                 .usage =
                                     WGPUTextureUsage_TextureBinding | WGPUTextureUsage_CopyDst,
                                 .dimension = WGPUTextureDimension_2D,
                                 .size = size,
                                 .format = WGPUTextureFormat_RGBA8Unorm,
                                 .mipLevelCount = 1,
                                 .sampleCount = 1});
    t->view = lib->TextureCreateView(t->image, NULL);
    t->sampler = lib->DeviceCreateSampler(
        t->gpu->device, &(WGPUSamplerDescriptor){.addressModeU = WGPUAddressMode_ClampToEdge,
                                                 .addressModeV = WGPUAddressMode_ClampToEdge,
                                                 .addressModeW = WGPUAddressMode_ClampToEdge,
                                                 .magFilter = WGPUFilterMode_Linear,
                                                 .minFilter = WGPUFilterMode_Linear,
                                                 .mipmapFilter = WGPUMipmapFilterMode_Nearest,
                                                 .lodMaxClamp = 32,
                                                 .maxAnisotropy = 1});
    lib->QueueWriteTexture(
        t->gpu->queue,
        &(WGPUTexelCopyTextureInfo){.texture = t->image, .aspect = WGPUTextureAspect_All}, texels,
        sizeof texels, &(WGPUTexelCopyBufferLayout){.bytesPerRow = N * 4, .rowsPerImage = N},
        &size);
}

/* The layout of the bindings, and the group with what is bound. */
static void make_group(hy__gpu_trial *t)
{
    const hy__gpu_lib *const lib = &t->gpu->lib;
    const WGPUBindGroupLayoutEntry kinds[] = {
        {.binding = 0,
         .visibility = WGPUShaderStage_Compute,
         .buffer = {.type = WGPUBufferBindingType_Storage}},
        {.binding = 1,
         .visibility = WGPUShaderStage_Compute,
         .buffer = {.type = WGPUBufferBindingType_Uniform}},
        {.binding = 2,
         .visibility = WGPUShaderStage_Compute,
         .texture = {.sampleType = WGPUTextureSampleType_Float,
                     .viewDimension = WGPUTextureViewDimension_2D}},
        {.binding = 3,
         .visibility = WGPUShaderStage_Compute,
         .sampler = {.type = WGPUSamplerBindingType_Filtering}},
    };
    const WGPUBindGroupEntry bound[] = {
        {.binding = 0, .buffer = t->buffer, .size = t->bytes},
        {.binding = 1, .buffer = t->uniform, .size = 16},
        {.binding = 2, .textureView = t->view},
        {.binding = 3, .sampler = t->sampler},
    };
    const size_t n = t->texture ? 4 : t->numbers ? 2 : 1;
    t->bindings = lib->DeviceCreateBindGroupLayout(
        t->gpu->device, &(WGPUBindGroupLayoutDescriptor){.entryCount = n, .entries = kinds});
    t->layout = lib->DeviceCreatePipelineLayout(
        t->gpu->device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1,
                                                        .bindGroupLayouts = &t->bindings});
    t->group = lib->DeviceCreateBindGroup(
        t->gpu->device,
        &(WGPUBindGroupDescriptor){.layout = t->bindings, .entryCount = n, .entries = bound});
}

hy_status hy__gpu_trial_open(hy__gpu_trial *t, const char *label, hy_error *err)
{
    t->numbers = t->numbers || t->texture;
    if (!t->buffer) {
        HY_TRY(hy__gpu_buffer(
            t->gpu, t->bytes,
            WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst, label,
            &t->buffer, err));
    }
    if (t->numbers) {
        HY_TRY(hy__gpu_buffer(t->gpu, 16, WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst, label,
                              &t->uniform, err));
    }
    t->gpu->lib.DevicePushErrorScope(t->gpu->device, WGPUErrorFilter_Validation);
    if (t->texture) {
        make_texture(t, label);
    }
    make_group(t);
    HY_TRY(hy__gpu_pop_scope(t->gpu, label, err));
    return hy__gpu_check(t->gpu, err);
}

void hy__gpu_trial_close(hy__gpu_trial *t)
{
    const hy__gpu_lib *const lib = &t->gpu->lib;
#define RELEASE(handle, function)                                                                  \
    if (t->handle) {                                                                               \
        lib->function(t->handle);                                                                  \
    }
    RELEASE(group, BindGroupRelease)
    RELEASE(layout, PipelineLayoutRelease)
    RELEASE(bindings, BindGroupLayoutRelease)
    RELEASE(sampler, SamplerRelease)
    RELEASE(view, TextureViewRelease)
    RELEASE(image, TextureDestroy)
    RELEASE(image, TextureRelease)
#undef RELEASE
    hy__gpu_buffer_free(t->gpu, t->uniform);
    hy__gpu_buffer_free(t->gpu, t->buffer);
    *t = (hy__gpu_trial){.gpu = t->gpu};
}

/* ---- kernels */

hy_status hy__gpu_trial_compile(hy__gpu_trial *t, const char *code, uint32_t uses,
                                const char *entry, const char *label, WGPUComputePipeline *out,
                                hy_error *err)
{
    WGPUShaderModule module = NULL;
    *out = NULL;
    HY_TRY(hy__gpu_module(t->gpu, code, strlen(code), uses, label, &module, err));
    const hy_status status = hy__gpu_pipeline(t->gpu, module, entry, t->layout, label, out, err);
    t->gpu->lib.ShaderModuleRelease(module);
    return status;
}

void hy__gpu_trial_set(hy__gpu_trial *t, const uint32_t numbers[4])
{
    t->gpu->lib.QueueWriteBuffer(t->gpu->queue, t->uniform, 0, numbers, 16);
}

/* ---- times */

hy_status hy__gpu_work_run(hy__gpu *gpu, hy__gpu_record record, void *user, uint32_t n,
                           hy__gpu_times *times, hy_error *err)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    HY_TRY(hy__gpu_check(gpu, err));
    const uint64_t begin = gpu->env.clock_ns(gpu->env.user);
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    const hy_status status = record(user, pass, n, err);
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    if (status != HY_OK) {
        lib->CommandEncoderRelease(encoder);
        return status;
    }
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    const uint64_t submitted = gpu->env.clock_ns(gpu->env.user);
    HY_TRY(hy__gpu_finish(gpu, err));
    if (times) {
        times->cpu = (double)(submitted - begin);
        times->rest = (double)(gpu->env.clock_ns(gpu->env.user) - submitted);
    }
    return HY_OK;
}

hy_status hy__gpu_work_time(hy__gpu *gpu, hy__gpu_record record, void *user, uint32_t most,
                            double *ns, hy_error *err)
{
    enum { SAMPLES = 5 };
    const double wanted_ns = 10e6, enough_ns = 200e6; /* of a long submission, of all samples */
    const double awake_ns = 50e6;                     /* of work before them */
    hy__gpu_times once = {0}, more = {0};
    double samples[SAMPLES], spent = 0;
    size_t n_samples = 0;
    HY_TRY(hy__gpu_work_run(gpu, record, user, 1, &once, err));
    HY_TRY(hy__gpu_work_run(gpu, record, user, 1, &once, err));
    const double fit = wanted_ns / HY_MAX(once.rest, 1.0);
    const uint32_t n = fit < 1 ? 1 : fit > most ? most : (uint32_t)fit;
    /* A GPU that had nothing to do has lowered its clock. */
    for (double awake = once.rest; awake < awake_ns; awake += HY_MAX(more.rest, 1e6)) {
        HY_TRY(hy__gpu_work_run(gpu, record, user, 1 + n, &more, err));
    }
    while (n_samples < SAMPLES && (n_samples == 0 || spent < enough_ns)) {
        HY_TRY(hy__gpu_work_run(gpu, record, user, 1, &once, err));
        HY_TRY(hy__gpu_work_run(gpu, record, user, 1 + n, &more, err));
        /* The short one may have been preempted. */
        const double difference = more.rest - once.rest;
        samples[n_samples++] = difference > 0 ? difference / n : HY_MAX(more.rest, 1.0) / (1 + n);
        spent += once.rest + more.rest;
    }
    *ns = hy__gpu_median(samples, n_samples);
    return HY_OK;
}

typedef struct dispatches {
    hy__gpu_trial *t;
    WGPUComputePipeline pipeline;
    uint32_t groups;
} dispatches;

static hy_status record_dispatches(void *user, WGPUComputePassEncoder pass, uint32_t n,
                                   hy_error *err)
{
    const dispatches *const d = user;
    const hy__gpu_lib *const lib = &d->t->gpu->lib;
    (void)err;
    lib->ComputePassEncoderSetPipeline(pass, d->pipeline);
    for (uint32_t i = 0; i < n; i++) {
        lib->ComputePassEncoderSetBindGroup(pass, 0, d->t->group, 0, NULL);
        hy__gpu_dispatch_groups(d->t->gpu, pass, d->groups, 1);
    }
    return HY_OK;
}

hy_status hy__gpu_trial_run(hy__gpu_trial *t, WGPUComputePipeline pipeline, uint32_t groups,
                            uint32_t n, hy__gpu_times *times, hy_error *err)
{
    dispatches d = {t, pipeline, groups};
    return hy__gpu_work_run(t->gpu, record_dispatches, &d, n, times, err);
}

hy_status hy__gpu_trial_time(hy__gpu_trial *t, WGPUComputePipeline pipeline, uint32_t groups,
                             double *ns, hy_error *err)
{
    dispatches d = {t, pipeline, groups};
    return hy__gpu_work_time(t->gpu, record_dispatches, &d, 32, ns, err);
}
