/* qmatmul.c: how fast products of halyard/qmatmul.h are: for each type, shape and number of columns
 * a line of CSV, beside what this GPU reads and computes at best, measured in the same run.
 *
 * bench_qmatmul [LIBRARY [OPTION VALUE]...]; LIBRARY: "dawn", "wgpu" or a path; names are looked
 * for in the folder HALYARD_WEBGPU.  Options, lists divided by commas: --types, --shapes ROWSxCOLS,
 * --columns, --between MIB (bytes of other weights that are read before the same ones come again),
 * --seconds N (begins nothing any more after N seconds).
 *
 * One thread, which has the device; products are recorded as by any other program. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/webgpu/measure.h"
#include "backend/webgpu/trial.h"
#include "backend/webgpu/webgpu.h"
#include "halyard/qmatmul.h"

enum {
    MOST = 64, /* of a list */
    MOST_SETS = 256,
    DISTINCT = 13, /* rows of a matrix that differ; the others repeat them */
    CHECKED = 3    /* columns whose results are all looked at */
};

typedef struct shape {
    uint32_t rows, cols;
} shape;

typedef struct options {
    const char *library;
    hy_type types[MOST];
    shape shapes[MOST];
    uint32_t columns[MOST];
    size_t n_types, n_shapes, n_columns;
    double between, seconds; /* bytes */
} options;

/* What the GPU does at best, a second. */
typedef enum limit { UNITS, DOT, BYTEWISE, F32, N_LIMITS } limit;
static const char *const limit_names[N_LIMITS] = {"subgroup matrices f16", "packed dot int8",
                                                  "int8 byte by byte", "f32"};

static hy__gpu gpu;
static hy_env env;
static double read_rate, limits[N_LIMITS];
static uint64_t started;

/* ---- a matrix and its columns */

typedef struct product {
    const hy_type_info *type;
    uint32_t rows, cols, most;
    size_t row_bytes;
    uint8_t *coded;   /* [rows] */
    float *decoded;   /* [DISTINCT][cols] */
    float *x, *y;     /* [most][cols], [rows] */
    hy_qmatmul_pipeline *pipeline;
    hy_qmatmul_weights *sets[MOST_SETS];
    size_t n_sets, next;
    uint32_t n; /* columns of the product that is measured */
    WGPUBuffer from, to;
} product;

static uint64_t next_random(void)
{
    static uint64_t random = 1;
    random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random >> 33;
}

static float uniform(void)
{
    return (float)next_random() * 0x1p-30f - 1;
}

/* Random bits whose numbers are those of weights, for types that are only decoded. */
static hy_status draw_block(const hy_type_info *t, uint8_t *block, hy_error *err)
{
    float decoded[256];
    for (;;) {
        float most = 0;
        for (uint32_t i = 0; i < t->block_bytes; i++) {
            block[i] = (uint8_t)next_random();
        }
        HY_TRY(hy_dequantize(t->type, block, decoded, t->block_elems, err));
        for (uint32_t i = 0; i < t->block_elems; i++) {
            most = decoded[i] == decoded[i] ? fmaxf(most, fabsf(decoded[i])) : INFINITY;
        }
        if (most > 0.125f && most < 8) {
            return HY_OK;
        }
    }
}

static hy_status make_rows(product *p, hy_error *err)
{
    const size_t n = (size_t)DISTINCT * p->cols;
    if (p->type->can_encode) {
        for (size_t i = 0; i < n; i++) {
            p->decoded[i] = uniform();
        }
        HY_TRY(hy_quantize(p->type->type, p->decoded, p->coded, n, err));
    } else {
        for (size_t at = 0; at < DISTINCT * p->row_bytes; at += p->type->block_bytes) {
            HY_TRY(draw_block(p->type, p->coded + at, err));
        }
    }
    HY_TRY(hy_dequantize(p->type->type, p->coded, p->decoded, n, err));
    for (size_t r = DISTINCT; r < p->rows; r++) {
        memcpy(p->coded + r * p->row_bytes, p->coded + r % DISTINCT * p->row_bytes, p->row_bytes);
    }
    for (size_t i = 0; i < (size_t)p->most * p->cols; i++) {
        p->x[i] = uniform();
    }
    return HY_OK;
}

static hy_qmatmul_config config_of(const product *p)
{
    const hy__gpu_caps *c = &gpu.caps;
    return (hy_qmatmul_config){
        .size = sizeof(hy_qmatmul_config),
        .type = p->type->type,
        .rows = p->rows,
        .cols = p->cols,
        .batch = p->most,
        .features = (c->f16 ? HY_QMATMUL_F16 : 0u) | (c->dot ? HY_QMATMUL_PACKED_DOT : 0u) |
                    (c->subgroups ? HY_QMATMUL_SUBGROUPS : 0u) |
                    (c->matrix_k ? HY_QMATMUL_MATRICES : 0u),
        .subgroup_min = c->subgroup_min,
        .subgroup_max = c->subgroup_max,
        .matrix_m = c->matrix_m,
        .matrix_n = c->matrix_n,
        .matrix_k = c->matrix_k,
        .max_buffer_size = c->max_buffer,
        .max_storage_buffer_binding_size = c->max_binding,
        .max_compute_workgroup_storage_size = c->workgroup_bytes,
        .max_compute_invocations_per_workgroup = c->invocations,
        .max_compute_workgroups_per_dimension = c->max_workgroups,
        .min_storage_buffer_offset_alignment = c->storage_align,
    };
}

static uint64_t gpu_bytes(const product *p)
{
    return hy__gpu_format_bytes(hy__gpu_format_of(p->type->type), p->cols, p->rows);
}

static hy_status make_sets(product *p, double between, hy_error *err)
{
    const double wanted = ceil(between / (double)gpu_bytes(p)) + 1;
    const size_t n = wanted < MOST_SETS ? (size_t)wanted : MOST_SETS;
    HY_TRY(hy_qmatmul_weights_create(p->pipeline, p->coded, p->rows * p->row_bytes, &p->sets[0],
                                     err));
    for (p->n_sets = 1; p->n_sets < n; p->n_sets++) {
        HY_TRY(hy__qmatmul_weights_copy(p->sets[0], &p->sets[p->n_sets], err));
    }
    return HY_OK;
}

static hy_status open_product(product *p, double between, hy_error *err)
{
    const hy_qmatmul_procs procs = {
        .size = sizeof procs, .get_proc = hy__library_symbol, .user = gpu.lib.handle};
    const hy_qmatmul_config config = config_of(p);
    const WGPUBufferUsage usage =
        WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc;
    const size_t n = (size_t)p->most * p->cols;
    p->row_bytes = (size_t)p->cols / p->type->block_elems * p->type->block_bytes;
    p->coded = hy__alloc(&env, HY_MAX(p->rows, (uint32_t)DISTINCT), p->row_bytes, err);
    p->decoded = hy__alloc(&env, (size_t)DISTINCT * p->cols, sizeof(float), err);
    p->x = hy__alloc(&env, n, sizeof(float), err);
    p->y = hy__alloc(&env, p->rows, sizeof(float), err);
    if (!p->coded || !p->decoded || !p->x || !p->y) {
        return HY_E_NOMEM;
    }
    HY_TRY(make_rows(p, err));
    HY_TRY(hy__gpu_buffer(&gpu, 4 * n, usage, "x", &p->from, err));
    HY_TRY(hy__gpu_buffer(&gpu, 4 * (uint64_t)p->most * p->rows, usage, "y", &p->to, err));
    gpu.lib.QueueWriteBuffer(gpu.queue, p->from, 0, p->x, 4 * n);
    HY_TRY(hy_qmatmul_pipeline_create(gpu.device, &procs, &config, &env, &p->pipeline, err));
    return make_sets(p, between, err);
}

static void close_product(product *p)
{
    while (p->n_sets > 0) {
        hy_qmatmul_weights_destroy(p->sets[--p->n_sets]);
    }
    hy_qmatmul_pipeline_destroy(p->pipeline);
    hy__gpu_buffer_free(&gpu, p->from);
    hy__gpu_buffer_free(&gpu, p->to);
    hy__free(&env, p->coded);
    hy__free(&env, p->decoded);
    hy__free(&env, p->x);
    hy__free(&env, p->y);
}

/* ---- a product of n columns */

/* Products with one set of weights after the other. */
static hy_status record_products(void *user, WGPUComputePassEncoder pass, uint32_t n, hy_error *err)
{
    product *p = user;
    for (uint32_t i = 0; i < n; i++) {
        const hy_qmatmul_weights *w = p->sets[p->next++ % p->n_sets];
        HY_TRY(hy_qmatmul_dispatch(p->pipeline, w, pass, p->from, 0, p->to, 0, p->n, err));
    }
    return HY_OK;
}

/* All results of the first, a middle and the last column.  What rounding moves is a few hundredths
 * of the root of the summed squares of the products; *error is the largest such share. */
static hy_status check(product *p, double *error, hy_error *err)
{
    *error = 0;
    for (uint32_t k = 0; k < CHECKED; k++) {
        const uint32_t t = k * (p->n - 1) / (CHECKED - 1);
        const float *x = p->x + (size_t)t * p->cols;
        double sums[DISTINCT] = {0}, squares[DISTINCT] = {0};
        for (size_t i = 0; i < (size_t)DISTINCT * p->cols; i++) {
            const double one = (double)p->decoded[i] * (double)x[i % p->cols];
            sums[i / p->cols] += one;
            squares[i / p->cols] += one * one;
        }
        HY_TRY(hy__gpu_read(&gpu, p->to, 4 * (uint64_t)t * p->rows, p->y, 4 * (size_t)p->rows,
                            err));
        for (size_t r = 0; r < p->rows; r++) {
            const double right = sums[r % DISTINCT];
            const double off = fabs((double)p->y[r] - right) / sqrt(squares[r % DISTINCT]);
            *error = fmax(*error, off);
            if (!(off < 0.05)) {
                return hy__fail(err, HY_E_MISMATCH,
                                "%s, %u x %u, column %u of %u, row %zu: %g where %g is right",
                                p->type->name, p->rows, p->cols, t, p->n, r, (double)p->y[r],
                                right);
            }
        }
    }
    return HY_OK;
}

static limit limit_of(const product *p, const hy__gpu_kernel *k)
{
    const bool codes = hy__gpu_format_of(p->type->type)->codes;
    return k->matrices ? UNITS : k->dot ? DOT : codes ? BYTEWISE : F32;
}

static double share(double part, double all)
{
    return all > 0 ? part / all : 0;
}

static hy_status measure(product *p, uint32_t n, hy_error *err)
{
    const hy__gpu_model *m;
    char kernel[300] = "";
    double ns = 0, error = 0;
    p->n = n;
    HY_TRY(hy__gpu_work_run(&gpu, record_products, p, 1, NULL, err));
    HY_TRY(check(p, &error, err));
    HY_TRY(hy__gpu_work_time(&gpu, record_products, p, 1024, &ns, err));
    HY_TRY(check(p, &error, err)); /* of the last product, with other weights */
    const hy__gpu_dispatch *d = hy__qmatmul_dispatch_of(p->pipeline, n, &m);
    hy__gpu_dispatch_text(m, d, kernel, sizeof kernel);
    const limit l = limit_of(p, &m->kernels[m->entries[d->entry].kernel]);
    const double bytes = (double)p->rows * (double)p->row_bytes;
    const double flop = 2.0 * p->rows * (double)p->cols * n;
    printf("\"%s\",\"%s\",%s,%u,%u,%u,%.0f,%llu,%.3f,%.4g,%.4g,%.4f,%.4f,%.1f,%s,%.4g,%.2g,%zu,"
           "\"%s; %u column%s each\"\n",
           gpu.caps.library, gpu.caps.adapter, p->type->name, p->rows, p->cols, n, bytes,
           (unsigned long long)gpu_bytes(p), ns / 1e3, bytes / ns, flop / ns / 1e3,
           share(bytes / ns * 1e9, read_rate), share(flop / ns * 1e9, limits[l]), read_rate / 1e9,
           limit_names[l], limits[l] / 1e12, error, p->n_sets, kernel, d->cols_each,
           d->cols_each == 1 ? "" : "s");
    fflush(stdout);
    return HY_OK;
}

static bool is_late(const options *o)
{
    return (double)(env.clock_ns(env.user) - started) > 1e9 * o->seconds;
}

static hy_status measure_shape(const options *o, hy_type type, shape s, hy_error *err)
{
    product p = {.type = hy_type_find((uint32_t)type), .rows = s.rows, .cols = s.cols};
    for (size_t i = 0; i < o->n_columns; i++) {
        p.most = HY_MAX(p.most, o->columns[i]);
    }
    hy_status status = open_product(&p, o->between, err);
    for (size_t i = 0; i < o->n_columns && status == HY_OK && !is_late(o); i++) {
        status = measure(&p, o->columns[i], err);
    }
    close_product(&p);
    return status;
}

/* ---- the GPU's limits */

static hy_status measure_limits(hy_error *err)
{
    const char *name;
    hy_webgpu_offer offer;
    HY_TRY(hy__gpu_read_speed(&gpu, &read_rate, err));
    for (uint32_t i = 0; hy__gpu_offer_at(i, &name); i++) {
        const bool units = strcmp(name, "matrix-units") == 0, dot = strcmp(name, "int8-dot") == 0;
        const bool fp16 = strcmp(name, "fp16") == 0;
        if (units || dot || fp16) {
            HY_TRY(hy__gpu_try_offer(&gpu, i, &offer, err));
            limits[units ? UNITS : dot ? DOT : F32] = fp16 ? offer.beside_rate : offer.rate;
            limits[BYTEWISE] = dot ? offer.beside_rate : limits[BYTEWISE];
        }
    }
    return HY_OK;
}

/* ---- options */

/* Cuts the next word off a list; false at its end. */
static bool next_word(const char **list, char word[32])
{
    const size_t n = strcspn(*list, ",");
    if (n == 0 || n > 31) {
        return false;
    }
    memcpy(word, *list, n);
    word[n] = '\0';
    *list += n + ((*list)[n] == ',');
    return true;
}

static bool read_list(options *o, const char *name, const char *list)
{
    char word[32];
    size_t n = 0;
    bool ok = true;
    for (; ok && n < MOST && next_word(&list, word); n++) {
        if (strcmp(name, "--types") == 0) {
            const hy_type_info *t = hy_type_by_name(word);
            ok = t && t->can_decode;
            o->types[n] = t ? t->type : HY_TYPE_F32;
            o->n_types = n + 1;
        } else if (strcmp(name, "--shapes") == 0) {
            char rest;
            ok = sscanf(word, "%ux%u%c", &o->shapes[n].rows, &o->shapes[n].cols, &rest) == 2;
            o->n_shapes = n + 1;
        } else if (strcmp(name, "--columns") == 0) {
            o->columns[n] = (uint32_t)atoi(word);
            ok = o->columns[n] >= 1 && o->columns[n] <= 4096;
            o->n_columns = n + 1;
        } else if (strcmp(name, "--between") == 0) {
            o->between = atof(word) * 0x1p20;
        } else if (strcmp(name, "--seconds") == 0) {
            o->seconds = atof(word);
        } else {
            ok = false;
        }
    }
    return ok && n > 0 && *list == '\0';
}

/* Types with kernels of their own first: the others are kept as F16. */
static void all_types(options *o)
{
    static const hy_type types[] = {
#define TYPE(name, id, elems, bytes, codec) HY_TYPE_##name,
        HY_TYPE_LIST(TYPE)
#undef TYPE
    };
    for (int others = 0; others < 2; others++) {
        for (size_t i = 0; i < HY_COUNT(types); i++) {
            if (hy_type_find((uint32_t)types[i])->can_decode &&
                (hy__gpu_format_of(types[i])->type != types[i]) == others) {
                o->types[o->n_types++] = types[i];
            }
        }
    }
}

static bool read_options(options *o, int argc, char **argv)
{
    *o = (options){.library = argc > 1 ? argv[1] : NULL, .between = 384 * 0x1p20, .seconds = 1e9};
    bool ok = read_list(o, "--shapes", "4096x4096,4096x14336") &&
              read_list(o, "--columns", "1,8,64,512");
    all_types(o);
    for (int i = 2; i < argc && ok; i += 2) {
        ok = i + 1 < argc && read_list(o, argv[i], argv[i + 1]);
    }
    return ok;
}

int main(int argc, char **argv)
{
    options o;
    hy_error err;
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: bench_qmatmul [LIBRARY [--types T,... | --shapes ROWSxCOLS,... | "
                        "--columns N,... | --between MIB | --seconds N]...]\n");
        return 2;
    }
    hy__env_resolve(&env, NULL);
    started = env.clock_ns(env.user);
    const hy__gpu_opts opts = {.lib = o.library, .folder = getenv("HALYARD_WEBGPU")};
    hy_status status = hy__gpu_open(&gpu, &opts, &env, &err);
    if (status == HY_OK) {
        status = measure_limits(&err);
    }
    if (status == HY_OK) {
        printf("library,gpu,type,rows,cols,columns,file_bytes,gpu_bytes,us,gb_per_second,tflops,"
               "read_share,limit_share,read_gb_per_second,limit,limit_tflops,error,sets,kernel\n");
    }
    for (size_t i = 0; i < o.n_types * o.n_shapes && status == HY_OK && !is_late(&o); i++) {
        status = measure_shape(&o, o.types[i / o.n_shapes], o.shapes[i % o.n_shapes], &err);
    }
    if (status != HY_OK) {
        fprintf(stderr, "bench_qmatmul: %s\n", err.text);
    }
    hy__gpu_close(&gpu);
    return status == HY_OK ? 0 : 1;
}
