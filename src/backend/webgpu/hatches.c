/* hatches.c: the ways around WebGPU that a library leaves open: each is used, its result compared
 * with what the CPU computes, and timed beside the ordinary way.  Nothing is kept between calls; the
 * device's thread. */
#include <math.h>
#include <stdio.h>

#include "measure.h"
#include "measure/measure_texts.h"
#include "trial.h"
#include "webgpu.h"

bool hy__gpu_hatch_fault;

static bool is_soft(const hy__gpu *gpu)
{
    return gpu->caps.type == WGPUAdapterType_CPU;
}

/* ---- matrices of subgroups: what their line of the table found */

static void tell_matrices(const hy__gpu *gpu, const hy_webgpu_offer *units,
                          const hy_webgpu_offer *dot, hy_webgpu_hatch *h)
{
    const hy__gpu_caps *const c = &gpu->caps;
    if (strcmp(units->state, "works") == 0) {
        h->state = "open";
        h->unit = "op/s";
        h->of = "in products of f16";
        h->rate = units->rate;
        h->beside = "in packed dot products";
        h->beside_rate = dot->rate;
        snprintf(h->why, sizeof h->why,
                 "%u x %u x %u of f16 with sums in f32: their kernel was right", c->matrix_m,
                 c->matrix_n, c->matrix_k);
    } else if (c->matrix_k > 0) {
        snprintf(h->why, sizeof h->why, "the GPU has them, but their kernel: %s: %.500s",
                 units->state, units->why);
    } else if (gpu->lib.flavour == HY__GPU_WGPU) {
        snprintf(h->why, sizeof h->why,
                 "wgpu-native has no way to ask for its cooperative matrices from C");
    } else {
        snprintf(h->why, sizeof h->why, "%s",
                 strcmp(units->state, "masked") == 0
                     ? "they are to be taken as missing"
                     : "the library lists no shape of f16 with sums in f32 for this GPU");
    }
}

/* ---- SPIR-V: a matrix of Q4_K times a column, beside the same in WGSL */

static const uint32_t spirv[] = {
#include "measure/matvec.spv.inc"
};

enum {
    BLOCK = 256, /* of Q4_K */
    BLOCK_WORDS = 36,
    DISTINCT = 13 /* rows that differ; the others repeat them */
};

typedef struct matvec {
    hy__gpu_trial t;
    uint32_t rows, blocks; /* of a row */
    uint32_t column, results; /* words where they begin */
    double right[DISTINCT], bound[DISTINCT];
} matvec;

/* Numbers between -1 and 1, by multiplication with an odd number. */
static float number(uint32_t i)
{
    return (float)(i * 2654435769u >> 8) * 0x1p-23f - 1;
}

/* Rows and a column, and what their products are: sums in double precision over the rows as the
 * reference backend decodes them. */
static hy_status fill_matvec(matvec *m, uint8_t *coded, float *rows, float *x, hy_error *err)
{
    hy__gpu *const gpu = m->t.gpu;
    const uint32_t cols = m->blocks * BLOCK;
    const size_t n = (size_t)DISTINCT * cols, row_bytes = (size_t)m->blocks * BLOCK_WORDS * 4;
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = number(i);
    }
    for (uint32_t i = 0; i < cols; i++) {
        x[i] = number(i + 1000000007u);
    }
    HY_TRY(hy_quantize(HY_TYPE_Q4_K, rows, coded, n, err));
    HY_TRY(hy_dequantize(HY_TYPE_Q4_K, coded, rows, n, err));
    for (size_t i = 0; i < n; i++) {
        const double one = (double)rows[i] * (double)x[i % cols];
        m->right[i / cols] += one;
        m->bound[i / cols] += 1e-8 * one * one;
    }
    for (uint32_t r = 0; r < DISTINCT; r++) {
        m->bound[r] = sqrt(m->bound[r]);
    }
    coded[16] ^= hy__gpu_hatch_fault ? 0x88 : 0; /* a code of row 0 */
    for (uint32_t r = 0; r < m->rows; r += DISTINCT) {
        const size_t bytes = row_bytes * HY_MIN((uint32_t)DISTINCT, m->rows - r);
        gpu->lib.QueueWriteBuffer(gpu->queue, m->t.buffer, r * row_bytes, coded, bytes);
    }
    gpu->lib.QueueWriteBuffer(gpu->queue, m->t.buffer, 4 * (uint64_t)m->column, x, 4 * cols);
    return hy__gpu_check(gpu, err);
}

static hy_status open_matvec(matvec *m, hy__gpu *gpu, hy_error *err)
{
    /* 66 MB, more than caches hold. */
    *m = (matvec){.rows = is_soft(gpu) ? 50 : 28672, .blocks = is_soft(gpu) ? 3 : 16};
    const uint32_t cols = m->blocks * BLOCK;
    m->column = m->rows * m->blocks * BLOCK_WORDS;
    m->results = m->column + cols;
    m->t = (hy__gpu_trial){
        .gpu = gpu, .numbers = true, .bytes = 4 * ((uint64_t)m->results + m->rows)};
    HY_TRY(hy__gpu_trial_open(&m->t, "SPIR-V", err));
    const uint32_t numbers[4] = {m->blocks, m->column, m->results, 0};
    hy__gpu_trial_set(&m->t, numbers);
    uint8_t *coded = hy__alloc(&gpu->env, DISTINCT, (size_t)m->blocks * BLOCK_WORDS * 4, err);
    float *rows = coded ? hy__alloc(&gpu->env, (size_t)(DISTINCT + 1) * cols, 4, err) : NULL;
    const hy_status status =
        rows ? fill_matvec(m, coded, rows, rows + (size_t)DISTINCT * cols, err) : HY_E_NOMEM;
    hy__free(&gpu->env, coded);
    hy__free(&gpu->env, rows);
    return status;
}

/* Runs it, looks at all results, and times it: bytes of the matrix a second. */
static hy_status run_matvec(matvec *m, WGPUComputePipeline pipeline, double *rate, hy_error *err)
{
    hy__gpu *const gpu = m->t.gpu;
    double ns = 0;
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    gpu->lib.CommandEncoderClearBuffer(encoder, m->t.buffer, 4 * (uint64_t)m->results,
                                       4 * (uint64_t)m->rows); /* another one's results */
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    HY_TRY(hy__gpu_trial_run(&m->t, pipeline, m->rows, 1, NULL, err));
    float *y = hy__alloc(&gpu->env, m->rows, sizeof *y, err);
    hy_status status = y ? hy__gpu_read(gpu, m->t.buffer, 4 * (uint64_t)m->results, y,
                                        4 * (size_t)m->rows, err)
                         : HY_E_NOMEM;
    for (uint32_t r = 0; r < m->rows && status == HY_OK; r++) {
        const double right = m->right[r % DISTINCT];
        if (!(fabs((double)y[r] - right) <= m->bound[r % DISTINCT])) {
            status = hy__fail(err, HY_E_MISMATCH, "it made %g of row %u where %g is right",
                              (double)y[r], r, right);
        }
    }
    hy__free(&gpu->env, y);
    HY_TRY(status);
    HY_TRY(hy__gpu_trial_time(&m->t, pipeline, m->rows, &ns, err));
    *rate = 4e9 * m->column / ns;
    return HY_OK;
}

static hy_status make_spirv(hy__gpu *gpu, WGPUShaderModule *out, hy_error *err)
{
    const WGPUShaderSourceSPIRV source = {.chain = {.sType = WGPUSType_ShaderSourceSPIRV},
                                          .codeSize = HY_COUNT(spirv),
                                          .code = spirv};
    WGPUShaderModuleDescriptor desc = {.label = hy__gpu_text("SPIR-V")};
    desc.nextInChain = (WGPUChainedStruct *)(void *)(uintptr_t)&source.chain;
    gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    /* Without bounds checks, as all kernels. */
    *out = gpu->lib.DeviceCreateShaderModuleTrusted
               ? gpu->lib.DeviceCreateShaderModuleTrusted(gpu->device, &desc, 0)
               : gpu->lib.DeviceCreateShaderModule(gpu->device, &desc);
    return hy__gpu_pop_scope(gpu, "the library refuses them", err);
}

static hy_status run_spirv(matvec *m, WGPUShaderModule module, double *rate, hy_error *err)
{
    WGPUComputePipeline pipeline = NULL;
    HY_TRY(hy__gpu_pipeline(m->t.gpu, module, "main", m->t.layout, "SPIR-V", &pipeline, err));
    const hy_status status = run_matvec(m, pipeline, rate, err);
    m->t.gpu->lib.ComputePipelineRelease(pipeline);
    return status;
}

static hy_status run_wgsl(matvec *m, double *rate, hy_error *err)
{
    WGPUComputePipeline pipeline = NULL;
    HY_TRY(hy__gpu_trial_compile(&m->t, hy__measure_matvec, 0, "main", "WGSL", &pipeline, err));
    const hy_status status = run_matvec(m, pipeline, rate, err);
    m->t.gpu->lib.ComputePipelineRelease(pipeline);
    return status;
}

static void try_spirv(hy__gpu *gpu, hy_webgpu_hatch *h)
{
    hy_error err = {0};
    matvec m;
    WGPUShaderModule module = NULL;
    bool taken = false;
    h->unit = "B/s";
    h->of = "of Q4_K times a column";
    h->beside = "as WGSL";
    hy_status status = open_matvec(&m, gpu, &err);
    if (status == HY_OK) {
        status = make_spirv(gpu, &module, &err);
        taken = status == HY_OK;
    }
    if (status == HY_OK) {
        status = run_spirv(&m, module, &h->rate, &err);
    }
    if (status == HY_OK) {
        status = run_wgsl(&m, &h->beside_rate, &err);
    }
    if (module) {
        gpu->lib.ShaderModuleRelease(module);
    }
    hy__gpu_trial_close(&m.t);
    if (status == HY_OK) {
        h->state = "open";
        snprintf(h->why, sizeof h->why,
                 gpu->lib.flavour == HY__GPU_WGPU
                     ? "a product with a matrix was right, but it is translated like WGSL: it can do "
                       "no more"
                     : "a product with a matrix was right");
    } else {
        h->state = taken ? "offered" : "closed";
        h->rate = 0;
        snprintf(h->why, sizeof h->why, "%s%s", taken ? "one was taken, but: " : "", err.text);
    }
}

/* ---- memory of both */

enum { PART = 16384 /* words of a workgroup, and room for the sums: HY__GPU_BORROW_ALIGN */ };

/* How what the host has comes to a kernel. */
typedef enum way { QUEUE, MAPPED, BORROWED, N_WAYS } way;

typedef struct sharing {
    hy__gpu_trial t;
    way way;
    uint32_t parts;
    uint32_t *words, *right;  /* [parts * PART], [parts] */
    void *memory;             /* in which the words are */
    hy__gpu_mapping mapping;  /* stays until the device is closed */
    atomic_bool given_back;   /* what was lent */
    WGPUComputePipeline pipeline;
} sharing;

static void give_back(void *user)
{
    sharing *const s = user;
    s->given_back = true;
}

static hy_status open_sharing(sharing *s, hy_error *err)
{
    hy__gpu *const gpu = s->t.gpu;
    const WGPUBufferUsage usage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc;
    const size_t align = HY__GPU_BORROW_ALIGN;
    s->parts = is_soft(gpu) ? 15 : 1023;
    s->t.numbers = true;
    s->t.bytes = 4 * (uint64_t)PART * (s->parts + 1);
    s->memory = hy__alloc(&gpu->env, 1, (size_t)s->t.bytes + align, err);
    s->right = s->memory ? hy__alloc(&gpu->env, s->parts, 4, err) : NULL;
    if (!s->right) {
        return HY_E_NOMEM;
    }
    s->words = (void *)((char *)s->memory + (align - (uintptr_t)s->memory % align));
    if (s->way == MAPPED) {
        HY_TRY(hy__gpu_buffer(gpu, s->t.bytes, usage | WGPUBufferUsage_MapWrite, "both",
                              &s->t.buffer, err));
    } else if (s->way == BORROWED) {
        s->given_back = false;
        HY_TRY(hy__gpu_buffer_borrow(gpu, s->words, s->t.bytes, usage, "both", &s->t.buffer,
                                     give_back, s, err));
    }
    HY_TRY(hy__gpu_trial_open(&s->t, "both", err));
    const uint32_t numbers[4] = {s->parts * PART, PART, 0, 0};
    hy__gpu_trial_set(&s->t, numbers);
    return hy__gpu_trial_compile(&s->t, hy__measure_mapped, 0, "main", "both", &s->pipeline, err);
}

/* Other words each time, and their sums. */
static void fill_sharing(sharing *s, uint32_t round)
{
    for (uint32_t p = 0; p < s->parts; p++) {
        uint32_t *const words = s->words + (size_t)p * PART, sum = 0;
        for (uint32_t i = 0; i < PART; i++) {
            words[i] = (p * PART + i + round) * 2654435769u;
            sum += words[i] * (2 * i + 1);
        }
        s->right[p] = sum;
    }
    s->words[1] += hy__gpu_hatch_fault;
}

static hy_status bring(sharing *s, hy_error *err)
{
    hy__gpu *const gpu = s->t.gpu;
    const size_t bytes = 4 * (size_t)PART * s->parts;
    if (s->way == QUEUE) {
        gpu->lib.QueueWriteBuffer(gpu->queue, s->t.buffer, 0, s->words, bytes);
    } else if (s->way == MAPPED) {
        void *to;
        hy__gpu_map_begin(gpu, s->t.buffer, bytes, &s->mapping);
        HY_TRY(hy__gpu_map_end(gpu, s->t.buffer, bytes, &s->mapping, &to, err));
        memcpy(to, s->words, bytes);
        gpu->lib.BufferUnmap(s->t.buffer);
    }
    return hy__gpu_trial_run(&s->t, s->pipeline, s->parts, 1, NULL, err);
}

static hy_status check_sums(sharing *s, hy_error *err)
{
    uint32_t got[1024];
    HY_TRY(hy__gpu_read(s->t.gpu, s->t.buffer, 4 * (uint64_t)PART * s->parts, got,
                        4 * (size_t)s->parts, err));
    for (uint32_t p = 0; p < s->parts; p++) {
        if (got[p] != s->right[p]) {
            return hy__fail(err, HY_E_MISMATCH, "a kernel read %u where %u is right, sum %u of %u",
                            got[p], s->right[p], p, s->parts);
        }
    }
    return HY_OK;
}

/* Bytes a second from the host's memory to the end of a kernel that has read them. */
static hy_status measure_sharing(sharing *s, double *rate, hy_error *err)
{
    enum { SAMPLES = 5 };
    const hy_env *const env = &s->t.gpu->env;
    double ns[SAMPLES + 1];
    for (uint32_t i = 0; i < SAMPLES + 1; i++) { /* the first one may have to make pages */
        fill_sharing(s, i);
        const uint64_t begin = env->clock_ns(env->user);
        HY_TRY(bring(s, err));
        ns[i] = (double)(env->clock_ns(env->user) - begin);
        HY_TRY(check_sums(s, err));
    }
    *rate = 4e9 * PART * s->parts / HY_MAX(hy__gpu_median(ns + 1, SAMPLES), 1.0);
    return HY_OK;
}

static hy_status run_way(sharing *s, hy__gpu *gpu, double *rate, hy_error *err)
{
    if ((s->way == MAPPED && !gpu->caps.mappable) || (s->way == BORROWED && !gpu->caps.borrows)) {
        return hy__fail(err, HY_E_NOT_FOUND, "the library does not list them for this GPU");
    }
    s->t.gpu = gpu;
    hy_status status = open_sharing(s, err);
    if (status == HY_OK) {
        status = measure_sharing(s, rate, err);
    }
    if (s->pipeline) {
        gpu->lib.ComputePipelineRelease(s->pipeline);
    }
    hy__gpu_trial_close(&s->t);
    if (!s->given_back) { /* not before what was submitted is done */
        (void)hy__gpu_finish(gpu, NULL);
    }
    return status;
}

/* On a device of its own, which is asked for such memory.  HY_E_NOT_FOUND: it is not listed. */
static hy_status try_way(const hy_env *env, const hy__gpu_opts *opts, way which, double *rate,
                         hy_error *err)
{
    hy__gpu gpu;
    hy__gpu_opts own = *opts;
    own.shared = true;
    sharing *s = hy__calloc(env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->way = which;
    s->given_back = true;
    hy_status status = hy__gpu_open(&gpu, &own, env, err);
    if (status == HY_OK) {
        status = run_way(s, &gpu, rate, err);
        hy__gpu_close(&gpu);
    }
    if (s->given_back) { /* else both stay, as somebody has them */
        hy__free(env, s->right);
        hy__free(env, s->memory);
        hy__free(env, s);
    }
    return status;
}

static void tell_mapped(hy__gpu *gpu, const hy__gpu_opts *opts, hy_webgpu_hatch *h)
{
    const char *const names[N_WAYS] = {
        [MAPPED] = gpu->lib.flavour == HY__GPU_WGPU ? "MappablePrimaryBuffers"
                                                    : "BufferMapExtendedUsages",
        [BORROWED] = "HostMappedPointer"};
    const way last = gpu->lib.flavour == HY__GPU_WGPU ? MAPPED : BORROWED;
    h->unit = "B/s";
    h->of = "from the host to a kernel";
    h->beside = "through the queue";
    for (way w = QUEUE; w <= last; w++) {
        hy_error err;
        double rate = 0;
        const size_t n = strlen(h->why);
        const hy_status status = try_way(&gpu->env, opts, w, &rate, &err);
        if (w == QUEUE) {
            h->beside_rate = rate;
            continue;
        }
        if (status == HY_OK) {
            h->state = "open";
            h->rate = HY_MAX(h->rate, rate);
            snprintf(h->why + n, sizeof h->why - n, "%s%s: %.3g GB/s, and right", n > 0 ? "; " : "",
                     names[w], rate / 1e9);
        } else {
            h->state = status != HY_E_NOT_FOUND && strcmp(h->state, "closed") == 0 ? "offered"
                                                                                   : h->state;
            snprintf(h->why + n, sizeof h->why - n, "%s%s: %s", n > 0 ? "; " : "", names[w],
                     opts->mask & HY__GPU_FLOOR ? "they are to be taken as missing" : err.text);
        }
    }
}

/* ---- the native API */

typedef void *vk_get_instance_proc_addr(void *instance, const char *name);
typedef int32_t vk_device_wait_idle(void *device);

/* Whether the handles are what they seem: Vulkan is asked to wait until the device is idle. */
static bool waits(void *instance, void *device, void *get)
{
    vk_get_instance_proc_addr *find;
    vk_device_wait_idle *wait;
    memcpy(&find, &get, sizeof get);
    void *const symbol = find(instance, "vkDeviceWaitIdle");
    memcpy(&wait, &symbol, sizeof symbol);
    return symbol && wait(device) == 0;
}

static void tell_native(hy__gpu *gpu, hy_webgpu_hatch *h)
{
    hy_error err;
    hy_native_handle found[3];
    char names[100] = "";
    size_t n = 0;
    for (; n < HY_COUNT(found); n++) {
        found[n].size = sizeof found[n];
        if (hy__gpu_native_handle(gpu, n, &found[n], &err) != HY_OK) {
            break;
        }
        const size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s", n > 0 ? ", " : "", found[n].kind);
    }
    if (n == 0) {
        snprintf(h->why, sizeof h->why, "%s", err.text);
        return;
    }
    const bool vulkan = n == 3 && strcmp(found[0].api, "Vulkan") == 0;
    const bool work =
        vulkan && waits(found[0].handle, found[1].handle, found[2].handle);
    h->state = work ? "open" : "offered";
    snprintf(h->why, sizeof h->why, "%s%s; no gain in itself: it lets %s share the device", names,
             work     ? ", with which vkDeviceWaitIdle was called"
             : vulkan ? ", but vkDeviceWaitIdle failed"
                      : ", which are not used",
             found[0].api);
}

void hy__gpu_tell_hatches(hy__gpu *gpu, const hy__gpu_opts *opts, const hy_webgpu_offer *units,
                          const hy_webgpu_offer *dot, const hy_webgpu_told *told)
{
    const hy_webgpu_hatch none = {.size = sizeof none, .state = "closed"};
    hy_webgpu_hatch h[4] = {none, none, none, none};
    h[0].name = "matrices";
    h[0].what = "subgroup matrices";
    tell_matrices(gpu, units, dot, &h[0]);
    h[1].name = "spirv";
    h[1].what = "SPIR-V modules";
    try_spirv(gpu, &h[1]);
    h[2].name = "mapped";
    h[2].what = "memory of host and GPU";
    tell_mapped(gpu, opts, &h[2]);
    h[3].name = "native";
    h[3].what = "handles of the native API";
    tell_native(gpu, &h[3]);
    for (size_t i = 0; i < HY_COUNT(h); i++) {
        if (h[i].rate <= 0) {
            h[i].rate = h[i].beside_rate = 0; /* a way that is not open gains nothing */
        }
        told->hatch(told->user, &h[i]);
    }
}
