/* test_qmatmul.c: products on a device that the library has not made: against sums in doubles. */
#include <math.h>

#include "backend/webgpu/webgpu.h"
#include "base/os.h"
#include "halyard/qmatmul.h"
#include "support/support.h"
#include "support/webgpu.h"

enum { BATCH = 70, ALIGN = 256 };

static hy__gpu gpu; /* "of others": only its device and its library's functions are handed over */
static hy_env env;

static int open_gpu(void **state)
{
    char why[600];
    int failed = 0;
    (void)state;
    if (!webgpu_open(&gpu, &env, getenv("HALYARD_WEBGPU_LIB"), why, &failed)) {
        hy__gpu_close(&gpu);
    }
    return failed;
}

static int close_gpu(void **state)
{
    (void)state;
    if (gpu.device) {
        hy_error err;
        assert_ok(hy__gpu_finish(&gpu, &err), &err); /* nothing went wrong outside of scopes */
    }
    hy__gpu_close(&gpu);
    return 0;
}

static void gpu_or_skip(void)
{
    if (!gpu.device) {
        skip();
    }
}

/* ---- the other side of the interface */

/* What the library under test has called. */
static struct calls {
    uint32_t dispatches, y, groups; /* y: of the last dispatch */
} calls;

static void count_dispatch(WGPUComputePassEncoder pass, uint32_t x, uint32_t y, uint32_t z)
{
    calls.dispatches++;
    calls.y = y;
    gpu.lib.ComputePassEncoderDispatchWorkgroups(pass, x, y, z);
}

static WGPUBindGroup count_group(WGPUDevice device, WGPUBindGroupDescriptor const *desc)
{
    calls.groups++;
    return gpu.lib.DeviceCreateBindGroup(device, desc);
}

static void *get_proc(void *user, const char *name)
{
    void (*const dispatch)(WGPUComputePassEncoder, uint32_t, uint32_t, uint32_t) = count_dispatch;
    WGPUBindGroup (*const group)(WGPUDevice, WGPUBindGroupDescriptor const *) = count_group;
    void *symbol = hy__library_symbol(user, name);
    if (strcmp(name, "wgpuComputePassEncoderDispatchWorkgroups") == 0) {
        memcpy(&symbol, &dispatch, sizeof symbol);
    } else if (strcmp(name, "wgpuDeviceCreateBindGroup") == 0) {
        memcpy(&symbol, &group, sizeof symbol);
    }
    return symbol;
}

static hy_qmatmul_procs procs(void)
{
    return (hy_qmatmul_procs){
        .size = sizeof(hy_qmatmul_procs), .get_proc = get_proc, .user = gpu.lib.handle};
}

static hy_qmatmul_config config_of(hy_type type, uint32_t rows, uint32_t cols, bool all)
{
    const hy__gpu_caps *c = &gpu.caps;
    hy_qmatmul_config q = {
        .size = sizeof q, .type = type, .rows = rows, .cols = cols, .batch = BATCH};
    if (all) {
        q.features = (c->f16 ? HY_QMATMUL_F16 : 0u) | (c->subgroups ? HY_QMATMUL_SUBGROUPS : 0u) |
                     (c->matrix_k ? HY_QMATMUL_MATRICES : 0u) | HY_QMATMUL_PACKED_DOT;
        q.subgroup_min = c->subgroup_min;
        q.subgroup_max = c->subgroup_max;
        q.matrix_m = c->matrix_m;
        q.matrix_n = c->matrix_n;
        q.matrix_k = c->matrix_k;
        q.max_buffer_size = c->max_buffer;
        q.max_storage_buffer_binding_size = c->max_binding;
        q.max_compute_workgroup_storage_size = c->workgroup_bytes;
        q.max_compute_invocations_per_workgroup = c->invocations;
        q.max_compute_workgroups_per_dimension = c->max_workgroups;
    }
    return q;
}

static WGPUBuffer buffer_of(uint64_t bytes)
{
    hy_error err;
    WGPUBuffer buffer;
    const WGPUBufferUsage usage =
        WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc;
    assert_ok(hy__gpu_buffer(&gpu, bytes, usage, "a test", &buffer, &err), &err);
    return buffer;
}

typedef struct recording {
    WGPUCommandEncoder encoder;
    WGPUComputePassEncoder pass;
} recording;

static recording record(void)
{
    WGPUCommandEncoder encoder = gpu.lib.DeviceCreateCommandEncoder(gpu.device, NULL);
    return (recording){encoder, gpu.lib.CommandEncoderBeginComputePass(encoder, NULL)};
}

static void submit(recording r)
{
    hy_error err;
    gpu.lib.ComputePassEncoderEnd(r.pass);
    gpu.lib.ComputePassEncoderRelease(r.pass);
    assert_ok(hy__gpu_submit(&gpu, r.encoder, &err), &err);
}

/* ---- a matrix, columns, and what their product may be */

typedef struct product {
    hy_type type;
    uint32_t rows, cols;
    size_t bytes;
    uint8_t *coded;  /* [bytes] */
    float *weights;  /* [rows][cols] decoded */
    float *x;        /* [BATCH][cols] */
    uint64_t random;
} product;

static float uniform(product *p)
{
    p->random = p->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(p->random >> 40) * 0x1p-23f - 1;
}

/* Even columns: whole numbers up to 127 times a power of two, one of them 127 in each block, which 8
 * bits and f16 hold exactly.  Odd ones: any numbers. */
static void fill_column(product *p, uint32_t t)
{
    float *x = p->x + (size_t)t * p->cols;
    for (uint32_t i = 0; i < p->cols; i++) {
        const float step = ldexpf(1, -(int)(i / 32 % 5) - 6);
        x[i] = t % 2 ? uniform(p) : i % 32 == 7 ? 127 * step : roundf(126 * uniform(p)) * step;
    }
}

static product product_of(hy_type type, uint32_t rows, uint32_t cols)
{
    const hy_type_info *t = hy_type_find((uint32_t)type);
    hy_error err;
    product p = {.type = type, .rows = rows, .cols = cols, .random = (uint64_t)type + rows};
    const size_t n = (size_t)rows * cols;
    p.bytes = n / t->block_elems * t->block_bytes;
    p.coded = malloc(p.bytes);
    p.weights = malloc(n * sizeof *p.weights);
    p.x = malloc((size_t)BATCH * cols * sizeof *p.x);
    assert_true(p.coded && p.weights && p.x);
    for (size_t i = 0; i < n; i++) {
        p.weights[i] = uniform(&p);
    }
    assert_ok(hy_quantize(type, p.weights, p.coded, n, &err), &err);
    assert_ok(hy_dequantize(type, p.coded, p.weights, n, &err), &err);
    for (uint32_t k = 0; k < BATCH; k++) {
        fill_column(&p, k);
    }
    return p;
}

static void product_free(product *p)
{
    free(p->coded);
    free(p->weights);
    free(p->x);
}

/* Compares y [n][rows].  An activation is rounded to 8 bits by at most half of the 127th part of the
 * largest in its block; factors of the K types are rounded to f16, and so is all of both where
 * matrices of subgroups are used, or the type has no format of its own; sums to f32. */
static void check(const product *p, const float *y, uint32_t n, bool halves)
{
    const hy_type_info *info = hy_type_find((uint32_t)p->type);
    const bool codes = info->block_elems > 1, k_type = info->block_elems == 256;
    for (size_t i = 0; i < (size_t)n * p->rows; i++) {
        const size_t t = i / p->rows, r = i % p->rows;
        const float *w = p->weights + r * p->cols, *x = p->x + t * p->cols;
        double sum = 0, bound = 1e-6;
        for (uint32_t from = 0; from < p->cols; from += 32) {
            double all_w = 0, all_x = 0, top_w = 0, top_x = 0;
            for (uint32_t c = from; c < HY_MIN(from + 32, p->cols); c++) {
                sum += (double)w[c] * (double)x[c];
                all_w += fabs((double)w[c]);
                all_x += fabs((double)x[c]);
                top_w = fmax(top_w, fabs((double)w[c]));
                top_x = fmax(top_x, fabs((double)x[c]));
            }
            const bool rounded = codes && t % 2;
            bound += rounded ? all_w * top_x / 254 * 1.001 : 0;
            bound += top_w * all_x * (k_type || halves ? 0x1p-9 : 0x1p-18);
        }
        if (!(fabs((double)y[i] - sum) <= bound)) {
            fail_msg("%s, %u x %u, column %zu of %u, row %zu: %g where %g is right (+- %g)",
                     info->name, p->rows, p->cols, t, n, r, (double)y[i], sum, bound);
        }
    }
}

/* ---- one matrix, several numbers of columns */

static void run_one(const product *p, hy_qmatmul_pipeline *q, const hy_qmatmul_weights *w,
                    uint32_t n, bool halves)
{
    hy_error err;
    /* The input, and the matrix, in two parts if it is larger than a binding. */
    const uint32_t dispatches = p->bytes > HY__GPU_FLOOR_BINDING ? 3 : 2;
    const uint64_t at_x = ALIGN, at_y = 3 * ALIGN;
    const size_t x_bytes = 4 * (size_t)n * p->cols, y_bytes = 4 * (size_t)n * p->rows;
    WGPUBuffer x = buffer_of(at_x + x_bytes), y = buffer_of(at_y + y_bytes + 64);
    float *got = malloc(y_bytes + 64);
    assert_non_null(got);
    gpu.lib.QueueWriteBuffer(gpu.queue, x, at_x, p->x, x_bytes);
    const recording r = record();
    for (int again = 0; again < 2; again++) {
        const struct calls before = calls;
        assert_ok(hy_qmatmul_dispatch(q, w, r.pass, x, at_x, y, at_y, n, &err), &err);
        assert_int_equal(calls.dispatches - before.dispatches, dispatches);
        assert_int_equal(calls.groups - before.groups, again ? 0 : dispatches);
    }
    submit(r);
    assert_ok(hy__gpu_read(&gpu, y, at_y, got, y_bytes + 64, &err), &err);
    check(p, got, n, halves);
    for (size_t i = 0; i < 16; i++) {
        assert_true(got[y_bytes / 4 + i] == 0); /* nothing is written behind y */
    }
    free(got);
    hy__gpu_buffer_free(&gpu, x);
    hy__gpu_buffer_free(&gpu, y);
}

static void run(hy_type type, uint32_t rows, uint32_t cols, bool all, const uint32_t *n)
{
    hy_error err;
    hy_qmatmul_pipeline *q;
    hy_qmatmul_weights *w;
    product p = product_of(type, rows, cols);
    const hy_qmatmul_procs get = procs();
    const hy_qmatmul_config config = config_of(type, rows, cols, all);
    assert_ok(hy_qmatmul_pipeline_create(gpu.device, &get, &config, NULL, &q, &err), &err);
    assert_ok(hy_qmatmul_weights_create(q, p.coded, p.bytes, &w, &err), &err);
    if (all) { /* a copy of them is as good */
        hy_qmatmul_weights *first = w;
        assert_ok(hy__qmatmul_weights_copy(first, &w, &err), &err);
        hy_qmatmul_weights_destroy(first);
    }
    for (; *n > 0; n++) {
        const hy__gpu_model *m;
        const hy__gpu_dispatch *d = hy__qmatmul_dispatch_of(q, *n, &m);
        assert_non_null(d);
        assert_true(d->window_bytes > 0 && hy__gpu_columns(d, *n, 0) > 0); /* it has weights */
        run_one(&p, q, w, *n, config.features & HY_QMATMUL_MATRICES && *n > 64);
    }
    hy_qmatmul_weights_destroy(w);
    hy_qmatmul_pipeline_destroy(q);
    product_free(&p);
}

static const hy_type types[] = {HY_TYPE_Q4_0, HY_TYPE_Q4_1, HY_TYPE_Q5_0, HY_TYPE_Q5_1,
                                HY_TYPE_Q8_0, HY_TYPE_Q4_K, HY_TYPE_Q5_K, HY_TYPE_Q6_K,
                                HY_TYPE_F16,  HY_TYPE_F32};

static uint32_t cols_of(hy_type type)
{
    const uint32_t block = hy_type_find((uint32_t)type)->block_elems;
    return block == 256 ? 512 : block == 32 ? 288 : 300;
}

static void test_types(void **state)
{
    static const uint32_t n[] = {1, 8, 33, 70, 0};
    (void)state;
    gpu_or_skip();
    for (size_t i = 0; i < HY_COUNT(types); i++) {
        run(types[i], 37, cols_of(types[i]), false, n);
    }
}

static void test_types_with_features(void **state)
{
    static const uint32_t n[] = {1, 8, 33, 70, 0};
    (void)state;
    gpu_or_skip();
    for (size_t i = 0; i < HY_COUNT(types); i++) {
        run(types[i], 131, cols_of(types[i]), true, n);
    }
}

/* So many rows that more than 32 columns are tiles. */
static void test_tiles(void **state)
{
    static const uint32_t n[] = {33, 70, 0};
    (void)state;
    gpu_or_skip();
    for (size_t i = 0; i < HY_COUNT(types); i++) {
        run(types[i], 1061, cols_of(types[i]), i % 2, n);
        assert_int_equal(calls.y, i % 2 && gpu.caps.matrix_k ? 1 : 2); /* columns by 128 or 64 */
    }
}

/* More than what a kernel can bind. */
static void test_parts(void **state)
{
    static const uint32_t n[] = {1, 3, 0};
    (void)state;
    gpu_or_skip();
    run(HY_TYPE_F32, 4200, 8192, false, n);
}

/* A single row and block, a row of several slices, and rows that end in the middle of a block. */
static void test_corners(void **state)
{
    static const uint32_t n[] = {1, 2, 70, 0};
    (void)state;
    gpu_or_skip();
    run(HY_TYPE_Q8_0, 1, 32, false, n);
    run(HY_TYPE_Q4_K, 3, 4352, true, n);
    run(HY_TYPE_BF16, 5, 7, false, n);
}

static void test_decoded_type(void **state)
{
    static const uint32_t n[] = {1, 9, 0};
    hy_error err;
    hy_qmatmul_pipeline *q;
    hy_qmatmul_weights *w;
    (void)state;
    gpu_or_skip();
    product p = product_of(HY_TYPE_IQ4_NL, 19, 96);
    const hy_qmatmul_procs get = procs();
    const hy_qmatmul_config config = config_of(p.type, p.rows, p.cols, false);
    assert_ok(hy_qmatmul_pipeline_create(gpu.device, &get, &config, NULL, &q, &err), &err);
    assert_ok(hy_qmatmul_weights_create(q, p.coded, p.bytes, &w, &err), &err);
    for (size_t i = 0; n[i]; i++) {
        run_one(&p, q, w, n[i], true);
    }
    hy_qmatmul_weights_destroy(w);
    hy_qmatmul_pipeline_destroy(q);
    product_free(&p);
}

/* ---- several products */

typedef struct pair {
    product p;
    hy_qmatmul_pipeline *q;
    hy_qmatmul_weights *w;
} pair;

static pair pair_of(hy_type type, uint32_t rows, uint32_t cols)
{
    hy_error err;
    pair out = {.p = product_of(type, rows, cols)};
    const hy_qmatmul_procs get = procs();
    const hy_qmatmul_config config = config_of(type, rows, cols, false);
    assert_ok(hy_qmatmul_pipeline_create(gpu.device, &get, &config, NULL, &out.q, &err), &err);
    assert_ok(hy_qmatmul_weights_create(out.q, out.p.coded, out.p.bytes, &out.w, &err), &err);
    return out;
}

static void pair_free(pair *p)
{
    hy_qmatmul_weights_destroy(p->w);
    hy_qmatmul_pipeline_destroy(p->q);
    product_free(&p->p);
}

/* The y of the first is the x of the second, in one pass and one buffer. */
static void test_chain(void **state)
{
    enum { N = 5 };
    hy_error err;
    (void)state;
    gpu_or_skip();
    pair a = pair_of(HY_TYPE_F32, 64, 40), b = pair_of(HY_TYPE_F32, 9, 64);
    const uint64_t at_x = 0, at_y = 1024, at_z = 4096;
    WGPUBuffer all = buffer_of(8192);
    float y[N * 64], z[N * 9];
    gpu.lib.QueueWriteBuffer(gpu.queue, all, at_x, a.p.x, 4 * N * 40);
    recording r = record();
    assert_ok(hy_qmatmul_dispatch(a.q, a.w, r.pass, all, at_x, all, at_y, N, &err), &err);
    assert_ok(hy_qmatmul_dispatch(b.q, b.w, r.pass, all, at_y, all, at_z, N, &err), &err);
    submit(r);
    assert_ok(hy__gpu_read(&gpu, all, at_y, y, sizeof y, &err), &err);
    assert_ok(hy__gpu_read(&gpu, all, at_z, z, sizeof z, &err), &err);
    check(&a.p, y, N, false);
    memcpy(b.p.x, y, sizeof y);
    check(&b.p, z, N, false);
    hy__gpu_buffer_free(&gpu, all);
    pair_free(&a);
    pair_free(&b);
}

/* More bind groups than are kept, two matrices of one pipeline, and those of freed buffers. */
static void test_many_groups(void **state)
{
    enum { TIMES = 90, ROWS = 33, COLS = 64 };
    hy_error err;
    hy_qmatmul_weights *other;
    float y[2][ROWS];
    (void)state;
    gpu_or_skip();
    pair a = pair_of(HY_TYPE_Q8_0, ROWS, COLS);
    product p = a.p;
    p.coded = malloc(p.bytes);
    p.weights = malloc(sizeof *p.weights * ROWS * COLS);
    assert_true(p.coded && p.weights);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        p.weights[i] = uniform(&p);
    }
    assert_ok(hy_quantize(p.type, p.weights, p.coded, ROWS * COLS, &err), &err);
    assert_ok(hy_dequantize(p.type, p.coded, p.weights, ROWS * COLS, &err), &err);
    assert_ok(hy_qmatmul_weights_create(a.q, p.coded, p.bytes, &other, &err), &err);
    for (uint32_t i = 0; i < TIMES; i++) {
        WGPUBuffer x = buffer_of(8192), to = buffer_of(1024);
        const uint64_t at = ALIGN * (uint64_t)(i % 7);
        gpu.lib.QueueWriteBuffer(gpu.queue, x, at, a.p.x, 4 * COLS);
        recording r = record();
        assert_ok(hy_qmatmul_dispatch(a.q, a.w, r.pass, x, at, to, 0, 1, &err), &err);
        assert_ok(hy_qmatmul_dispatch(a.q, other, r.pass, x, at, to, 512, 1, &err), &err);
        submit(r);
        for (int k = 0; k < 2; k++) {
            assert_ok(hy__gpu_read(&gpu, to, 512 * (uint64_t)k, y[k], sizeof y[k], &err), &err);
        }
        check(&a.p, y[0], 1, false);
        check(&p, y[1], 1, false);
        hy__gpu_buffer_free(&gpu, x);
        hy__gpu_buffer_free(&gpu, to);
        if (i == TIMES / 2) {
            hy_qmatmul_forget(a.q);
        }
    }
    hy_qmatmul_weights_destroy(other);
    free(p.coded);
    free(p.weights);
    pair_free(&a);
}

/* Everything is destroyed between recording and submitting. */
static void test_destroyed_early(void **state)
{
    enum { N = 3, ROWS = 20, COLS = 256 };
    hy_error err;
    float y[N * ROWS];
    (void)state;
    gpu_or_skip();
    pair a = pair_of(HY_TYPE_Q4_K, ROWS, COLS);
    WGPUBuffer x = buffer_of(4 * N * COLS), to = buffer_of(sizeof y);
    gpu.lib.QueueWriteBuffer(gpu.queue, x, 0, a.p.x, 4 * N * COLS);
    recording r = record();
    assert_ok(hy_qmatmul_dispatch(a.q, a.w, r.pass, x, 0, to, 0, N, &err), &err);
    hy_qmatmul_weights_destroy(a.w);
    hy_qmatmul_pipeline_destroy(a.q);
    submit(r);
    assert_ok(hy__gpu_read(&gpu, to, 0, y, sizeof y, &err), &err);
    check(&a.p, y, N, false);
    a.w = NULL;
    a.q = NULL;
    pair_free(&a);
    hy__gpu_buffer_free(&gpu, x);
    hy__gpu_buffer_free(&gpu, to);
}

/* ---- refusals */

static void *no_proc(void *user, const char *name)
{
    (void)user;
    (void)name;
    return NULL;
}

/* No library has both, or neither. */
static void *proc_of_neither(void *user, const char *name)
{
    return strcmp(name, "wgpuDeviceTick") == 0 || strcmp(name, "wgpuDevicePoll") == 0
               ? NULL
               : hy__library_symbol(user, name);
}

static void refuse(const hy_qmatmul_config *c, hy_status status, const char *text)
{
    hy_error err;
    hy_qmatmul_pipeline *q = (hy_qmatmul_pipeline *)(void *)&err;
    const hy_qmatmul_procs get = procs();
    assert_fails(hy_qmatmul_pipeline_create(gpu.device, &get, c, NULL, &q, &err), status, &err,
                 text);
    assert_null(q);
}

static void test_refused_pipelines(void **state)
{
    hy_error err;
    hy_qmatmul_pipeline *q;
    (void)state;
    gpu_or_skip();
    const hy_qmatmul_config good = config_of(HY_TYPE_Q4_K, 4, 256, false);
    hy_qmatmul_config c = good;
    hy_qmatmul_procs get = procs();
    c.rows = 0;
    refuse(&c, HY_E_ARG, "0 rows of 256");
    c = good;
    c.cols = 100;
    refuse(&c, HY_E_ARG, "4 rows of 100 elements cannot be of type Q4_K");
    c = good;
    c.type = HY_TYPE_Q8_K;
    refuse(&c, HY_E_UNSUPPORTED, "Q8_K cannot be decoded");
    c = good;
    c.batch = 5000;
    refuse(&c, HY_E_ARG, "not 5000");
    c = good;
    c.features = 64;
    refuse(&c, HY_E_ARG, "0x40");
    c = good;
    c.features = HY_QMATMUL_SUBGROUPS;
    refuse(&c, HY_E_ARG, "subgroups of 0 to 0");
    c = good;
    c.features = HY_QMATMUL_MATRICES;
    refuse(&c, HY_E_ARG, "need f16");
    c = good;
    c.min_storage_buffer_offset_alignment = 24;
    refuse(&c, HY_E_ARG, "aligned to 24");
    c = good;
    c.max_storage_buffer_binding_size = 1 << 20;
    refuse(&c, HY_E_UNSUPPORTED, "below the limits");
    c = config_of(HY_TYPE_Q4_K, 1u << 20, 256, false);
    refuse(&c, HY_E_LIMIT, "columns of y have");
    c = good;
    c.size = 8;
    refuse(&c, HY_E_ARG, "size");
    if (gpu.caps.matrix_k == 0) { /* more is named than the device has */
        c = good;
        c.batch = 100;
        c.features = HY_QMATMUL_F16 | HY_QMATMUL_SUBGROUPS | HY_QMATMUL_MATRICES;
        c.subgroup_min = c.subgroup_max = 32;
        c.matrix_m = c.matrix_n = c.matrix_k = 16;
        c.max_compute_workgroup_storage_size = 65536;
        refuse(&c, HY_E_INTERNAL, "kernel ");
        c.matrix_k = 4;
        refuse(&c, HY_E_ARG, "16 x 16 x 4");
    }
    get.get_proc = no_proc;
    assert_fails(hy_qmatmul_pipeline_create(gpu.device, &get, &good, NULL, &q, &err),
                 HY_E_UNSUPPORTED, &err, "no function wgpuCreateInstance");
    get.get_proc = proc_of_neither;
    assert_fails(hy_qmatmul_pipeline_create(gpu.device, &get, &good, NULL, &q, &err),
                 HY_E_UNSUPPORTED, &err, "neither Dawn nor wgpu-native");
    get = procs();
    assert_fails(hy_qmatmul_pipeline_create(NULL, &get, &good, NULL, &q, &err), HY_E_ARG, &err,
                 "a device");
    hy_qmatmul_pipeline_destroy(NULL);
    hy_qmatmul_weights_destroy(NULL);
}

static void test_refused_products(void **state)
{
    hy_error err;
    hy_qmatmul_weights *w;
    WGPUBuffer plain;
    float y[37] = {0};
    (void)state;
    gpu_or_skip();
    pair a = pair_of(HY_TYPE_Q8_0, 37, 64), b = pair_of(HY_TYPE_F32, 37, 64);
    assert_fails(hy_qmatmul_weights_create(a.q, a.p.coded, a.p.bytes - 1, &w, &err), HY_E_ARG, &err,
                 "37 rows of 64 elements of type Q8_0 have 2516 bytes, not 2515");
    assert_null(w);
    WGPUBuffer x = buffer_of(2560), to = buffer_of(37 * 4 * 10);
    assert_ok(hy__gpu_buffer(&gpu, 2560, WGPUBufferUsage_CopyDst, "no storage", &plain, &err), &err);
    gpu.lib.QueueWriteBuffer(gpu.queue, x, 0, a.p.x, 256);
    const recording r = record();
    const struct {
        const hy_qmatmul_weights *w;
        WGPUBuffer x, y;
        uint64_t at_x, at_y;
        uint32_t n;
        const char *text;
    } wrong[] = {{a.w, x, to, 0, 0, 0, "0 columns"},
                 {a.w, x, to, 0, 0, 71, "71 columns is none of 1 to 70"},
                 {b.w, x, to, 0, 0, 1, "not of this pipeline"},
                 {NULL, x, to, 0, 0, 1, "not of this pipeline"},
                 {a.w, NULL, to, 0, 0, 1, "buffers"},
                 {a.w, x, to, 4, 0, 1, "multiples of 256"},
                 {a.w, x, to, 0, 64, 1, "multiples of 256"},
                 {a.w, x, to, 256, 0, 10, "10 columns of x have 2560 bytes from byte 256"},
                 {a.w, x, to, 0, 256, 10, "10 columns of y have 1480 bytes from byte 256"},
                 {a.w, x, to, 0, UINT64_MAX - 255, 1, "of y"},
                 {a.w, plain, to, 0, 0, 1, "of x lacks the usage"},
                 {a.w, x, plain, 0, 0, 1, "of y lacks the usage"}};
    for (size_t i = 0; i < HY_COUNT(wrong); i++) {
        assert_fails(hy_qmatmul_dispatch(a.q, wrong[i].w, r.pass, wrong[i].x, wrong[i].at_x,
                                         wrong[i].y, wrong[i].at_y, wrong[i].n, &err),
                     HY_E_ARG, &err, wrong[i].text);
    }
    /* The pass is as good as before. */
    assert_ok(hy_qmatmul_dispatch(a.q, a.w, r.pass, x, 0, to, 0, 1, &err), &err);
    submit(r);
    assert_ok(hy__gpu_read(&gpu, to, 0, y, sizeof y, &err), &err);
    check(&a.p, y, 1, false);
    hy__gpu_buffer_free(&gpu, x);
    hy__gpu_buffer_free(&gpu, to);
    hy__gpu_buffer_free(&gpu, plain);
    pair_free(&a);
    pair_free(&b);
}

/* ---- a device that is lost */

/* It is told to those who made it; whether a call notices depends on the library, but none fails in
 * another way. */
static void check_lost(hy_status status)
{
    if (status != HY_OK) {
        assert_int_equal(status, HY_E_DEVICE_LOST);
    }
}

static void test_lost(void **state)
{
    hy_error err;
    char why[600];
    int failed = 0;
    hy_qmatmul_weights *w;
    hy_qmatmul_pipeline *q;
    (void)state;
    gpu_or_skip();
    const hy__gpu kept = gpu;
    hy__gpu *own = malloc(sizeof *own);
    assert_non_null(own);
    assert_true(webgpu_open(own, &env, getenv("HALYARD_WEBGPU_LIB"), why, &failed));
    gpu.instance = own->instance;
    gpu.device = own->device;
    gpu.queue = own->queue;
    pair a = pair_of(HY_TYPE_Q8_0, 4, 64);
    const hy_qmatmul_procs get = procs();
    const hy_qmatmul_config config = config_of(HY_TYPE_F32, 4, 64, false);
    WGPUBuffer x = buffer_of(256), y = buffer_of(256);
    const recording r = record();
    gpu.lib.DeviceDestroy(own->device);
    check_lost(hy_qmatmul_dispatch(a.q, a.w, r.pass, x, 0, y, 0, 1, &err));
    check_lost(hy_qmatmul_weights_create(a.q, a.p.coded, a.p.bytes, &w, &err));
    check_lost(hy_qmatmul_pipeline_create(own->device, &get, &config, NULL, &q, &err));
    gpu.lib.ComputePassEncoderEnd(r.pass);
    gpu.lib.ComputePassEncoderRelease(r.pass);
    gpu.lib.CommandEncoderRelease(r.encoder);
    hy_qmatmul_weights_destroy(w);
    hy_qmatmul_pipeline_destroy(q);
    hy__gpu_buffer_free(&gpu, x);
    hy__gpu_buffer_free(&gpu, y);
    pair_free(&a);
    gpu.instance = kept.instance;
    gpu.device = kept.device;
    gpu.queue = kept.queue;
    hy__gpu_close(own);
    free(own);
}

/* ---- memory */

static hy_status live(const hy_env *with, const product *p, hy_error *err)
{
    hy_qmatmul_pipeline *q = NULL;
    hy_qmatmul_weights *w = NULL;
    const hy_qmatmul_procs get = procs();
    hy_qmatmul_config config = config_of(p->type, p->rows, p->cols, false);
    config.batch = 1;
    hy_status status = hy_qmatmul_pipeline_create(gpu.device, &get, &config, with, &q, err);
    if (status == HY_OK) {
        status = hy_qmatmul_weights_create(q, p->coded, p->bytes, &w, err);
    }
    hy_qmatmul_weights_destroy(w);
    hy_qmatmul_pipeline_destroy(q);
    return status;
}

static void test_memory(void **state)
{
    enum { FAILURES = 24 };
    hy_error err;
    failing_env f;
    (void)state;
    gpu_or_skip();
    product p = product_of(HY_TYPE_Q4_0, 3, 64);
    failing_env_init(&f, 0);
    assert_ok(live(&f.env, &p, &err), &err);
    assert_int_equal(f.live_blocks, 0);
    const uint64_t all = f.calls;
    for (uint64_t i = 0; i < FAILURES; i++) {
        failing_env_init(&f, 1 + i * (all - 1) / (FAILURES - 1));
        assert_fails(live(&f.env, &p, &err), HY_E_NOMEM, &err, NULL);
        assert_int_equal(f.live_blocks, 0);
    }
    product_free(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),          cmocka_unit_test(test_types_with_features),
        cmocka_unit_test(test_tiles),          cmocka_unit_test(test_parts),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_decoded_type),   cmocka_unit_test(test_chain),
        cmocka_unit_test(test_many_groups),    cmocka_unit_test(test_destroyed_early),
        cmocka_unit_test(test_refused_pipelines), cmocka_unit_test(test_refused_products),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_memory)};
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
