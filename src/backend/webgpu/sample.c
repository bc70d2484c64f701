/* sample.c: what the kernels of sample.wgsl need, made once: see sample.h. */
#include "sample.h"

static const char code[] = {
#include "sample.wgsl.inc"
};

/* As in sample.wgsl. */
enum {
    LANES = 256,
    SHARE = 2048,
    CAPACITY = 1536,
    MOST_K = 1024,
    MOST_HISTORY =
        HY__GPU_RING - 4096, /* the rest of the ring is for steps that are on their way */
    MOST_VOCAB = 1 << 22,
    USE_TOP_P = 1,
    USE_MIN_P = 2
};

/* WebGPU's word for "to the end of the buffer". */
#define WHOLE UINT64_MAX

typedef struct real {
    uint32_t magnitude[2];
    int32_t e;
    uint32_t negative;
} real;

typedef struct factor {
    uint32_t high[2];
    int32_t e;
    uint32_t unused;
} factor;

typedef struct params {
    uint32_t n_vocab, groups, lists, k, mask_words, n_bias, last_n, stages;
    real repeat, frequency, presence, log_min_p;
    factor plain, tempered;
    uint32_t top_p[2];
    uint32_t random[2];
} params;

/* ---- numbers */

static void split(uint64_t x, uint32_t words[2])
{
    words[0] = (uint32_t)x;
    words[1] = (uint32_t)(x >> 32);
}

/* Of a double that is neither infinite nor subnormal. */
static uint64_t take_apart(double x, int32_t *e, uint32_t *negative)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    *negative = (uint32_t)(bits >> 63);
    *e = (int32_t)(bits >> 52 & 0x7ff) - 1075;
    return x == 0 ? 0 : (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(1) << 52;
}

static real real_of(double x)
{
    real r = {0};
    split(take_apart(x, &r.e, &r.negative), r.magnitude);
    return r;
}

static factor factor_of(double x)
{
    factor f = {0};
    uint32_t negative;
    split(take_apart(x, &f.e, &negative) << 11, f.high);
    f.e -= 11;
    return f;
}

/* ---- what is to be done */

/* Each workgroup takes its share of the vocabulary: as many workgroups as keep a large GPU busy,
 * unless their memory asks for more. */
static uint32_t n_groups(uint32_t n_vocab)
{
    enum { BUSY = 128 };
    const uint32_t least = (n_vocab + SHARE - 1) / SHARE;
    const uint32_t most = (n_vocab + LANES - 1) / LANES;
    return HY_MAX(HY_MIN((uint32_t)BUSY, most), least);
}

static params params_of(const hy__sampler_view *v, uint32_t n_vocab)
{
    static const double log2_e = 1.44269504088896340736;
    const hy_sampler_opts *const o = &v->opts;
    params p = {.n_vocab = n_vocab,
                .groups = n_groups(n_vocab),
                .lists = 1,
                .k = o->greedy ? 1 : hy__sampler_top_k(o, n_vocab),
                .mask_words = (n_vocab + 31) / 32,
                .n_bias = (uint32_t)v->n_bias,
                .last_n = v->penalties ? (uint32_t)o->penalty_last_n : 0,
                .repeat = real_of(o->repeat_penalty),
                .frequency = real_of(o->frequency_penalty),
                .presence = real_of(o->presence_penalty),
                .log_min_p = real_of(v->log_min_p),
                .plain = factor_of(log2_e),
                .tempered = factor_of(log2_e / o->temperature)};
    while (p.lists < LANES && p.groups * p.lists < 4 * p.k) {
        p.lists *= 2;
    }
    p.stages = (o->min_p > 0 ? USE_MIN_P : 0u) | (o->top_p < 1 ? USE_TOP_P : 0u);
    split(o->top_p < 1 ? (uint64_t)((double)o->top_p * 0x1p64) : 0, p.top_p);
    split(v->random_key, p.random);
    return p;
}

static hy_status check(const hy__sampler_view *v, uint32_t n_vocab, hy_error *err)
{
    const hy_sampler_opts *const o = &v->opts;
    if (n_vocab == 0 || n_vocab > MOST_VOCAB) {
        return hy__fail(err, HY_E_UNSUPPORTED, "sampling on the GPU: %lu tokens; 1 to %d can be",
                        (unsigned long)n_vocab, MOST_VOCAB);
    }
    if (v->penalties && (o->penalty_last_n < 0 || o->penalty_last_n > MOST_HISTORY)) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "sampling on the GPU: penalty_last_n is %ld; it can be 1 to %d",
                        (long)o->penalty_last_n, MOST_HISTORY);
    }
    if (o->greedy) {
        return HY_OK;
    }
    if (o->mirostat != 0) {
        return hy__fail(err, HY_E_UNSUPPORTED, "sampling on the GPU: there is no mirostat");
    }
    if (o->typical_p < 1) {
        return hy__fail(err, HY_E_UNSUPPORTED, "sampling on the GPU: there is no typical_p");
    }
    const uint32_t k = hy__sampler_top_k(o, n_vocab);
    if (k > MOST_K) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "sampling on the GPU: top_k leaves %lu tokens; it can be 1 to %d",
                        (unsigned long)k, MOST_K);
    }
    return HY_OK;
}

/* ---- memory */

typedef struct maker {
    hy__gpu *gpu;
    hy__gpu_sample *made;
    const hy__sampler_view *view;
    const hy__gpu_sample_buffers *buffers;
    params params;
} maker;

/* Bits of tokens that may be sampled, bits of tokens with a bias, then pairs of token and bias. */
static void fill_tables(const maker *m, uint32_t *table)
{
    const hy__sampler_view *const v = m->view;
    const uint32_t words = m->params.mask_words;
    for (uint32_t i = 0; i < m->params.n_vocab; i++) {
        const bool allowed =
            !v->allowed || (i < v->n_allowed && (v->allowed[i / 32] >> (i % 32) & 1) != 0);
        table[i / 32] |= (allowed ? UINT32_C(1) : 0) << (i % 32);
    }
    for (size_t i = 0; i < v->n_bias; i++) {
        const uint32_t id = (uint32_t)v->bias[i].id;
        if (id < m->params.n_vocab) {
            table[words + id / 32] |= UINT32_C(1) << (id % 32);
        }
        table[2 * words + 2 * i] = id;
        table[2 * words + 2 * i + 1] = hy__f32_bits((float)v->bias[i].logit);
    }
}

static hy_status make_tables(maker *m, hy_error *err)
{
    hy__gpu *const gpu = m->gpu;
    const size_t n = 2 * (size_t)m->params.mask_words + 2 * (size_t)m->view->n_bias;
    uint32_t *const table = hy__calloc(&gpu->env, n, sizeof *table, err);
    if (!table) {
        return HY_E_NOMEM;
    }
    const hy_status status =
        hy__gpu_buffer(gpu, n * sizeof *table, WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst,
                       "the sampler's tokens", &m->made->tables, err);
    if (status == HY_OK) {
        fill_tables(m, table);
        gpu->lib.QueueWriteBuffer(gpu->queue, m->made->tables, 0, table, n * sizeof *table);
    }
    hy__free(&gpu->env, table);
    return status;
}

static hy_status make_buffers(maker *m, hy_error *err)
{
    hy__gpu *const gpu = m->gpu;
    hy__gpu_sample *const made = m->made;
    const params *const p = &m->params;
    const bool greedy = m->view->opts.greedy;
    const uint64_t n_keys = greedy ? 1 : p->n_vocab, n_maxima = greedy ? 1 : p->groups * p->lists;
    const uint64_t n_items = greedy ? p->groups : CAPACITY;
    HY_TRY(hy__gpu_buffer(gpu, sizeof *p, WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst,
                          "the sampler's options", &made->params, err));
    gpu->lib.QueueWriteBuffer(gpu->queue, made->params, 0, p, sizeof *p);
    HY_TRY(make_tables(m, err));
    HY_TRY(hy__gpu_buffer(gpu, 8 * n_keys, WGPUBufferUsage_Storage, "the sampler's keys",
                          &made->keys, err));
    HY_TRY(hy__gpu_buffer(gpu, 4 * n_maxima, WGPUBufferUsage_Storage, "the sampler's maxima",
                          &made->maxima, err));
    return hy__gpu_buffer(gpu, 16 + 16 * n_items, WGPUBufferUsage_Storage,
                          "the sampler's candidates", &made->found, err);
}

/* ---- kernels */

static const WGPUBufferBindingType binding_types[] = {
    WGPUBufferBindingType_Storage,         /* step */
    WGPUBufferBindingType_Storage,         /* ring */
    WGPUBufferBindingType_ReadOnlyStorage, /* logits */
    WGPUBufferBindingType_Uniform,         /* params */
    WGPUBufferBindingType_ReadOnlyStorage, /* tables */
    WGPUBufferBindingType_Storage,         /* keys */
    WGPUBufferBindingType_Storage,         /* maxima */
    WGPUBufferBindingType_Storage,         /* found */
};

static hy_status make_layout(hy__gpu *gpu, hy__gpu_sample_kernels *kernels, hy_error *err)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    WGPUBindGroupLayoutEntry entries[HY_COUNT(binding_types)] = {0};
    for (uint32_t i = 0; i < HY_COUNT(entries); i++) {
        entries[i] = (WGPUBindGroupLayoutEntry){.binding = i,
                                                .visibility = WGPUShaderStage_Compute,
                                                .buffer = {.type = binding_types[i]}};
    }
    kernels->bindings = lib->DeviceCreateBindGroupLayout(
        gpu->device,
        &(WGPUBindGroupLayoutDescriptor){.entryCount = HY_COUNT(entries), .entries = entries});
    kernels->layout = lib->DeviceCreatePipelineLayout(
        gpu->device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1,
                                                     .bindGroupLayouts = &kernels->bindings});
    return hy__gpu_module(gpu, code, sizeof code - 1, 0, "the sampler", &kernels->module, err);
}

const char *hy__gpu_sample_text(size_t *len)
{
    *len = sizeof code - 1;
    return code;
}

/* The first and the end of the kernels of a sampler. */
static void kernel_range(bool greedy, size_t *first, size_t *end)
{
    *first = greedy ? HY__GPU_SAMPLE_greedy_part : HY__GPU_SAMPLE_make_keys;
    *end = greedy ? HY__GPU_SAMPLE_make_keys : HY__GPU_SAMPLE_N_KERNELS;
}

static const char *const names[] = {
#define NAME(name) #name,
    HY__GPU_SAMPLE_KERNELS(NAME)
#undef NAME
};

static hy_status make_module(hy__gpu *gpu, hy__gpu_sample_kernels *kernels, hy_error *err)
{
    if (kernels->module) {
        return HY_OK;
    }
    hy__gpu_sample_kernels_free(gpu, kernels);
    return make_layout(gpu, kernels, err);
}

static hy_status make_kernels(hy__gpu *gpu, hy__gpu_sample_kernels *kernels, bool greedy,
                              hy_error *err)
{
    size_t first, end;
    HY_TRY(make_module(gpu, kernels, err));
    kernel_range(greedy, &first, &end);
    for (size_t i = first; i < end; i++) {
        if (!kernels->pipelines[i]) {
            HY_TRY(hy__gpu_pipeline(gpu, kernels->module, names[i], kernels->layout, names[i],
                                    &kernels->pipelines[i], err));
        }
    }
    return HY_OK;
}

hy_status hy__gpu_sample_jobs(hy__gpu *gpu, hy__gpu_sample_kernels *kernels, hy__gpu_job *jobs,
                              uint32_t *n, hy_error *err)
{
    HY_TRY(make_module(gpu, kernels, err));
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        jobs[(*n)++] = (hy__gpu_job){.module = kernels->module,
                                     .layout = kernels->layout,
                                     .entry = names[i],
                                     .out = &kernels->pipelines[i]};
    }
    return HY_OK;
}

#define RELEASE(handle, function)                                                                  \
    if (handle) {                                                                                  \
        gpu->lib.function(handle);                                                                 \
    }

void hy__gpu_sample_kernels_free(hy__gpu *gpu, hy__gpu_sample_kernels *kernels)
{
    for (size_t i = 0; i < HY_COUNT(kernels->pipelines); i++) {
        RELEASE(kernels->pipelines[i], ComputePipelineRelease)
    }
    RELEASE(kernels->module, ShaderModuleRelease)
    RELEASE(kernels->layout, PipelineLayoutRelease)
    RELEASE(kernels->bindings, BindGroupLayoutRelease)
    *kernels = (hy__gpu_sample_kernels){0};
}

/* ---- one sampler */

static hy_status bind(maker *m, hy_error *err)
{
    hy__gpu_sample *const made = m->made;
    const WGPUBindGroupEntry bound[HY_COUNT(binding_types)] = {
        {.buffer = m->buffers->step, .size = 4 * HY__GPU_STEP_WORDS},
        {.buffer = m->buffers->ring, .size = 4 * HY__GPU_RING},
        {.buffer = m->buffers->logits,
         .offset = m->buffers->logits_offset,
         .size = 4 * (uint64_t)m->params.n_vocab},
        {.buffer = made->params, .size = WHOLE},
        {.buffer = made->tables, .size = WHOLE},
        {.buffer = made->keys, .size = WHOLE},
        {.buffer = made->maxima, .size = WHOLE},
        {.buffer = made->found, .size = WHOLE},
    };
    WGPUBindGroupEntry entries[HY_COUNT(bound)];
    for (uint32_t i = 0; i < HY_COUNT(bound); i++) {
        entries[i] = bound[i];
        entries[i].binding = i;
    }
    made->group = m->gpu->lib.DeviceCreateBindGroup(
        m->gpu->device, &(WGPUBindGroupDescriptor){.layout = made->kernels->bindings,
                                                   .entryCount = HY_COUNT(entries),
                                                   .entries = entries});
    return hy__gpu_check(m->gpu, err);
}

hy_status hy__gpu_sample_create(hy__gpu *gpu, hy__gpu_sample_kernels *kernels,
                                const hy_sampler *sampler, uint32_t n_vocab,
                                const hy__gpu_sample_buffers *buffers, hy__gpu_sample *out,
                                hy_error *err)
{
    *out = (hy__gpu_sample){.kernels = kernels};
    const hy__sampler_view view = hy__sampler_look(sampler);
    HY_TRY(hy__gpu_check(gpu, err));
    HY_TRY(check(&view, n_vocab, err));
    HY_TRY(make_kernels(gpu, kernels, view.opts.greedy, err));
    maker m = {.gpu = gpu,
               .made = out,
               .view = &view,
               .buffers = buffers,
               .params = params_of(&view, n_vocab)};
    out->n_groups = m.params.groups;
    out->greedy = view.opts.greedy;
    hy_status status = make_buffers(&m, err);
    if (status == HY_OK) {
        status = bind(&m, err);
    }
    if (status != HY_OK) {
        hy__gpu_sample_destroy(gpu, out);
    }
    return status;
}

void hy__gpu_sample_destroy(hy__gpu *gpu, hy__gpu_sample *sample)
{
    RELEASE(sample->group, BindGroupRelease)
    hy__gpu_buffer_free(gpu, sample->params);
    hy__gpu_buffer_free(gpu, sample->tables);
    hy__gpu_buffer_free(gpu, sample->keys);
    hy__gpu_buffer_free(gpu, sample->maxima);
    hy__gpu_buffer_free(gpu, sample->found);
    *sample = (hy__gpu_sample){0};
}

void hy__gpu_sample_encode(hy__gpu *gpu, const hy__gpu_sample *sample, WGPUComputePassEncoder pass)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    size_t first, end;
    kernel_range(sample->greedy, &first, &end);
    lib->ComputePassEncoderSetBindGroup(pass, 0, sample->group, 0, NULL);
    for (size_t i = first; i < end; i++) {
        lib->ComputePassEncoderSetPipeline(pass, sample->kernels->pipelines[i]);
        /* The last one is a single workgroup. */
        hy__gpu_dispatch_groups(gpu, pass, i + 1 < end ? sample->n_groups : 1, 1);
    }
}
