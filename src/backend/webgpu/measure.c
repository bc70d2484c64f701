/* measure.c: the pace of a GPU through WebGPU, and the ways around WebGPU that a library leaves
 * open; the table of what it offers is in offers.c.  Nothing is kept between calls. */
#include "measure.h"

#include <stdio.h>

#include "measure/measure_texts.h"
#include "trial.h"

/* ---- pace */

enum { TOUCHED = 64 }; /* words that touch.wgsl counts in */

typedef struct pace {
    hy__gpu_trial t;
    WGPUComputePipeline touch;
    uint32_t runs;
} pace;

static hy_status touch(pace *p, uint32_t n, hy__gpu_times *times, hy_error *err)
{
    p->runs += n;
    return hy__gpu_trial_run(&p->t, p->touch, 1, n, times, err);
}

static hy_status measure_dispatches(pace *p, hy_webgpu_facts *facts, hy_error *err)
{
    enum { SAMPLES = 7, N = 1024 };
    double gpu_once[SAMPLES], gpu_more[SAMPLES], cpu_once[SAMPLES], cpu_more[SAMPLES];
    hy__gpu_times once, more;
    HY_TRY(touch(p, 1 + N, &more, err));
    for (size_t i = 0; i < SAMPLES; i++) {
        HY_TRY(touch(p, 1, &once, err));
        HY_TRY(touch(p, 1 + N, &more, err));
        gpu_once[i] = once.rest;
        gpu_more[i] = more.rest;
        cpu_once[i] = once.cpu;
        cpu_more[i] = more.cpu;
    }
    /* One preempted submission must not count: no differences of single ones. */
    const double on_gpu = hy__gpu_median(gpu_more, SAMPLES) - hy__gpu_median(gpu_once, SAMPLES);
    const double on_cpu = hy__gpu_median(cpu_more, SAMPLES) - hy__gpu_median(cpu_once, SAMPLES);
    facts->dispatch_gpu_ns = HY_MAX(on_gpu, 0.0) / N;
    facts->dispatch_cpu_ns = HY_MAX(on_cpu, 0.0) / N;
    return HY_OK;
}

/* A dispatch and the copy of its result to memory that the host maps, in one submission. */
static hy_status go_round(pace *p, uint32_t words[TOUCHED], hy_error *err)
{
    hy__gpu *const gpu = p->t.gpu;
    const hy__gpu_lib *const lib = &gpu->lib;
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    lib->ComputePassEncoderSetPipeline(pass, p->touch);
    lib->ComputePassEncoderSetBindGroup(pass, 0, p->t.group, 0, NULL);
    hy__gpu_dispatch_groups(gpu, pass, 1, 1);
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    lib->CommandEncoderCopyBufferToBuffer(encoder, p->t.buffer, 0, gpu->readback, 0, 4 * TOUCHED);
    p->runs++;
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    return hy__gpu_map(gpu, gpu->readback, gpu->submission, words, 4 * TOUCHED, err);
}

static hy_status measure_round_trips(pace *p, hy_webgpu_facts *facts, hy_error *err)
{
    enum { SAMPLES = 31 };
    const hy_env *const env = &p->t.gpu->env;
    uint32_t words[TOUCHED];
    double ns[SAMPLES];
    /* The buffer that is mapped is made by the first who reads. */
    HY_TRY(hy__gpu_read(p->t.gpu, p->t.buffer, 0, words, sizeof words, err));
    HY_TRY(go_round(p, words, err));
    for (size_t i = 0; i < SAMPLES; i++) {
        const uint64_t begin = env->clock_ns(env->user);
        HY_TRY(go_round(p, words, err));
        ns[i] = (double)(env->clock_ns(env->user) - begin);
    }
    facts->round_trip_ns = hy__gpu_median(ns, SAMPLES);
    for (size_t i = 0; i < TOUCHED; i++) {
        if (words[i] != p->runs) {
            return hy__fail(err, HY_E_MISMATCH, "of %u dispatches %u were run", p->runs, words[i]);
        }
    }
    return HY_OK;
}

static hy_status measure_pace(hy__gpu *gpu, hy_webgpu_facts *facts, hy_error *err)
{
    pace p = {.t = {.gpu = gpu, .bytes = 4 * TOUCHED}};
    hy_status status = hy__gpu_trial_open(&p.t, "dispatches", err);
    if (status == HY_OK) {
        status = hy__gpu_trial_compile(&p.t, hy__measure_touch, 0, "main", "dispatches", &p.touch,
                                       err);
    }
    if (status == HY_OK) {
        status = measure_dispatches(&p, facts, err);
    }
    if (status == HY_OK) {
        status = measure_round_trips(&p, facts, err);
    }
    if (p.touch) {
        gpu->lib.ComputePipelineRelease(p.touch);
    }
    hy__gpu_trial_close(&p.t);
    return status == HY_OK ? hy__gpu_read_speed(gpu, &facts->read_bytes_per_second, err) : status;
}

/* ---- ways around WebGPU */

/* A module in SPIR-V 1.3: `data[0] = data[0] * 3 + 1`, by one invocation. */
enum spirv_id {
    MAIN = 1, VOID, FUNCTION, WORD, WORDS, BLOCK, TO_BLOCK, TO_WORD, DATA, ZERO, ONE, THREE, LABEL,
    AT, OLD, TRIPLE, NEXT, N_IDS
};
#define OP(code, words) ((uint32_t)(words) << 16 | (code))
static const uint32_t spirv[] = {
    0x07230203, 0x00010300, 0, N_IDS, 0,
    OP(17, 2), 1,                                       /* capability Shader */
    OP(14, 3), 0, 1,                                    /* memory model: logical, GLSL450 */
    OP(15, 5), 5, MAIN, 0x6e69616d, 0,                  /* entry point GLCompute "main" */
    OP(16, 6), MAIN, 17, 1, 1, 1,                       /* of one invocation */
    OP(71, 4), WORDS, 6, 4,                             /* decorations: ArrayStride 4 */
    OP(71, 3), BLOCK, 2,                                /* Block */
    OP(72, 5), BLOCK, 0, 35, 0,                         /* Offset 0 of its member */
    OP(71, 4), DATA, 34, 0,                             /* DescriptorSet 0 */
    OP(71, 4), DATA, 33, 0,                             /* Binding 0 */
    OP(19, 2), VOID,
    OP(33, 3), FUNCTION, VOID,
    OP(21, 4), WORD, 32, 0,
    OP(29, 3), WORDS, WORD,
    OP(30, 3), BLOCK, WORDS,
    OP(32, 4), TO_BLOCK, 12, BLOCK,                     /* pointers to storage buffers */
    OP(32, 4), TO_WORD, 12, WORD,
    OP(43, 4), WORD, ZERO, 0,
    OP(43, 4), WORD, ONE, 1,
    OP(43, 4), WORD, THREE, 3,
    OP(59, 4), TO_BLOCK, DATA, 12,
    OP(54, 5), VOID, MAIN, 0, FUNCTION,
    OP(248, 2), LABEL,
    OP(65, 6), TO_WORD, AT, DATA, ZERO, ZERO,
    OP(61, 4), WORD, OLD, AT,
    OP(132, 5), WORD, TRIPLE, OLD, THREE,
    OP(128, 5), WORD, NEXT, TRIPLE, ONE,
    OP(62, 3), AT, NEXT,
    OP(253, 1),
    OP(56, 1),
};
#undef OP

static hy_status make_spirv(hy__gpu *gpu, WGPUShaderModule *out, hy_error *err)
{
    const WGPUShaderSourceSPIRV source = {.chain = {.sType = WGPUSType_ShaderSourceSPIRV},
                                          .codeSize = HY_COUNT(spirv),
                                          .code = spirv};
    WGPUShaderModuleDescriptor desc = {.label = hy__gpu_text("SPIR-V")};
    desc.nextInChain = (WGPUChainedStruct *)(void *)(uintptr_t)&source.chain;
    gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    *out = gpu->lib.DeviceCreateShaderModule(gpu->device, &desc);
    return hy__gpu_pop_scope(gpu, "the library refuses them", err);
}

static hy_status run_spirv(hy__gpu_trial *t, WGPUShaderModule module, hy_error *err)
{
    const uint32_t before = 1000;
    uint32_t after = 0;
    WGPUComputePipeline pipeline = NULL;
    HY_TRY(hy__gpu_pipeline(t->gpu, module, "main", t->layout, "SPIR-V", &pipeline, err));
    t->gpu->lib.QueueWriteBuffer(t->gpu->queue, t->buffer, 0, &before, sizeof before);
    hy_status status = hy__gpu_trial_run(t, pipeline, 1, 1, NULL, err);
    if (status == HY_OK) {
        status = hy__gpu_read(t->gpu, t->buffer, 0, &after, sizeof after, err);
    }
    t->gpu->lib.ComputePipelineRelease(pipeline);
    return status != HY_OK || after == 3 * before + 1
               ? status
               : hy__fail(err, HY_E_MISMATCH, "it made %u where %u is right", after,
                          3 * before + 1);
}

static void try_spirv(hy__gpu *gpu, hy_webgpu_hatch *h)
{
    hy_error err = {0};
    hy__gpu_trial t = {.gpu = gpu, .bytes = 64};
    WGPUShaderModule module = NULL;
    hy_status status = hy__gpu_trial_open(&t, "SPIR-V", &err);
    if (status == HY_OK) {
        status = make_spirv(gpu, &module, &err);
    }
    const bool taken = status == HY_OK;
    if (status == HY_OK) {
        status = run_spirv(&t, module, &err);
    }
    if (module) {
        gpu->lib.ShaderModuleRelease(module);
    }
    hy__gpu_trial_close(&t);
    if (status == HY_OK) {
        h->state = "open";
        snprintf(h->why, sizeof h->why,
                 gpu->lib.flavour == HY__GPU_WGPU
                     ? "one ran and its result was right, but it is translated like WGSL: it can do "
                       "no more"
                     : "one ran and its result was right");
    } else {
        snprintf(h->why, sizeof h->why, "%s%s", taken ? "one was taken, but: " : "", err.text);
    }
}

static void tell_matrices(const hy__gpu *gpu, const char *state, hy_webgpu_hatch *h)
{
    const hy__gpu_caps *const c = &gpu->caps;
    const bool works = strcmp(state, "works") == 0;
    h->state = works ? "open" : "closed";
    if (works) {
        snprintf(h->why, sizeof h->why,
                 "%u x %u x %u of f16 with sums in f32: their kernel was right", c->matrix_m,
                 c->matrix_n, c->matrix_k);
    } else if (c->matrix_k > 0) {
        snprintf(h->why, sizeof h->why, "the GPU has them, but their kernel: %s", state);
    } else if (gpu->lib.flavour == HY__GPU_WGPU) {
        snprintf(h->why, sizeof h->why,
                 "wgpu-native has no way to ask for its cooperative matrices from C");
    } else {
        snprintf(h->why, sizeof h->why, "%s",
                 strcmp(state, "masked") == 0
                     ? "they are to be taken as missing"
                     : "the library lists no shape of f16 with sums in f32 for this GPU");
    }
}

static bool lists(hy__gpu *gpu, WGPUFeatureName name)
{
    WGPUSupportedFeatures f = {0};
    bool found = false;
    gpu->lib.AdapterGetFeatures(gpu->adapter, &f);
    for (size_t i = 0; i < f.featureCount; i++) {
        found = found || f.features[i] == name;
    }
    gpu->lib.SupportedFeaturesFreeMembers(f);
    return found;
}

static void tell_mapped(hy__gpu *gpu, hy_webgpu_hatch *h)
{
    const bool wgpu = gpu->lib.flavour == HY__GPU_WGPU;
    const bool maps = lists(gpu, wgpu ? HY__NATIVE_FEATURE_MAPPABLE : HY__DAWN_FEATURE_MAPPABLE);
    const bool borrows = !wgpu && lists(gpu, HY__DAWN_FEATURE_HOST_MEMORY);
    h->state = maps || borrows ? "offered" : "closed";
    snprintf(h->why, sizeof h->why,
             maps && borrows
                 ? "the library lists them for this GPU as %s and %s, which are not used"
             : maps || borrows
                 ? "the library lists them for this GPU as %s, which is not used"
                 : "the library knows them as %s, and does not list that for this GPU",
             wgpu      ? "MappablePrimaryBuffers"
             : borrows ? "HostMappedPointer"
                       : "BufferMapExtendedUsages",
             "BufferMapExtendedUsages");
}

static void tell_hatches(hy__gpu *gpu, const char *matrices, const hy_webgpu_told *told)
{
    hy_webgpu_hatch h = {.size = sizeof h, .name = "matrices", .what = "subgroup matrices"};
    tell_matrices(gpu, matrices, &h);
    told->hatch(told->user, &h);
    h = (hy_webgpu_hatch){
        .size = sizeof h, .name = "spirv", .what = "SPIR-V modules", .state = "closed"};
    try_spirv(gpu, &h);
    told->hatch(told->user, &h);
    h = (hy_webgpu_hatch){
        .size = sizeof h, .name = "mapped", .what = "buffers that the host maps too"};
    tell_mapped(gpu, &h);
    told->hatch(told->user, &h);
    h = (hy_webgpu_hatch){.size = sizeof h,
                          .name = "native",
                          .what = "handles of the native API",
                          .state = "closed"};
    snprintf(h.why, sizeof h.why, "the C interface of the library has no function that gives them");
    told->hatch(told->user, &h);
}

/* ---- all of it */

static const char *const natives[HY__N_NATIVE] = {
    [HY__NATIVE_CUDA] = "CUDA",
    [HY__NATIVE_HIP] = "HIP",
    [HY__NATIVE_METAL] = "Metal",
    [HY__NATIVE_VULKAN] = "Vulkan",
};

/* A line that has spoilt its device leaves a new one to the next. */
static hy_status tell_all(hy__gpu *gpu, const hy__gpu_opts *opts, hy_webgpu_facts *facts,
                          const hy_webgpu_told *told, hy_error *err)
{
    const hy_env env = gpu->env;
    const char *matrices = "missing";
    hy_webgpu_offer offer;
    facts->native = natives[hy__gpu_native_of(&gpu->caps)];
    HY_TRY(measure_pace(gpu, facts, err));
    for (uint32_t i = 0; hy__gpu_offer_at(i, NULL); i++) {
        if (hy__gpu_try_offer(gpu, i, &offer, err) != HY_OK) {
            if (!offer.why[0]) {
                offer.state = "failed";
                snprintf(offer.why, sizeof offer.why, "%s", err->text);
            }
            hy__gpu_close(gpu);
            HY_TRY(hy__gpu_open(gpu, opts, &env, err));
        }
        if (strcmp(offer.name, "matrix-units") == 0) {
            matrices = offer.state;
        }
        told->offer(told->user, &offer);
    }
    tell_hatches(gpu, matrices, told);
    return HY_OK;
}

hy_status hy_webgpu_measure(const char *library, const char *folder, const char *mask,
                            const hy_env *env, hy_webgpu_facts *facts, const hy_webgpu_told *told,
                            hy_error *err)
{
    hy_env own;
    hy__gpu gpu;
    hy_error local;
    hy__gpu_opts opts = {.lib = library, .folder = folder};
    hy_webgpu_facts full = {.size = facts->size};
    err = err ? err : &local;
    hy__env_resolve(&own, env);
    HY_TRY(hy__gpu_mask_parse(mask, &opts.mask, err));
    HY_TRY(hy__gpu_open(&gpu, &opts, &own, err));
    const hy_status status = tell_all(&gpu, &opts, &full, told, err);
    memcpy(facts, &full, HY_MIN(facts->size, sizeof full));
    hy__gpu_close(&gpu);
    return status;
}
