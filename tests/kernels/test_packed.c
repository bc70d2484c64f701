/* test_packed.c: packed panels and their kernels, of every level that this machine has, bit by bit.
 *
 * Panels that plain C takes apart are compared with the decoders of src/quant; all kernels of all
 * levels with the formulas of packed.h, element by element, on what plain C took apart, and with
 * sums in double precision of what the decoders read, within the rounding that the formulas imply.
 * Weights and activations are random and of the worst kinds; shapes are odd; all buffers lie
 * between guards.  A kernel of a level of this machine that was compared with nothing fails.
 * --bench: measures the kernels instead. */
#include <float.h>
#include <math.h>

#include "backend/cpu/levels.h"
#include "kernels/bench.h"
#include "support/guarded.h"
#include "support/support.h"

enum { N = 768, ROWS = HY__PANEL_ROWS, COLS = HY__TILE_COLS, MOST_ROW = 4 * N, MOST_LEVELS = 16 };
#define EPS 0x1p-24    /* of one rounding */
#define LEAST 0x1p-149 /* the least float */

typedef struct kernels {
    const char *name;
    size_t level;
    bool fused; /* multiplies and adds in one rounding */
    hy__packed_table t;
} kernels;

/* ---- cells: operation by type by level */

#define TYPES(X) HY__PACKED_TYPES(X) HY__PACKED_F32_TYPES(X)
enum {
#define CELL_TYPE(type, block) CELL_##type,
    TYPES(CELL_TYPE) CELL_TYPES
#undef CELL_TYPE
};
typedef enum op { GEMV, EXPAND, GEMM, QUANTIZE, QUANTIZE_TILE, N_OPS } op;

/* Operations on activations alone are of type 0. */
static bool checked[N_OPS][CELL_TYPES][MOST_LEVELS];

static size_t cell_type(hy_type type)
{
    const int index = hy__packed_index(type);
    return (size_t)(index >= 0 ? index : HY__N_PACKED + hy__packed_f32_index(type));
}

/* All results of a call have been compared. */
static void mark(op what, size_t type, const kernels *k)
{
    assert_true(k->level < MOST_LEVELS);
    checked[what][type][k->level] = true;
}

/* A level's kernel for a cell exists, its own or its base's. */
static bool has(op what, size_t type, const hy__packed_table *t)
{
    const bool f32 = type >= HY__N_PACKED;
    const size_t i = f32 ? type - HY__N_PACKED : type;
    switch (what) {
    case GEMV:
        return f32 ? t->gemv_f32[i] != NULL : t->gemv[i] != NULL;
    case EXPAND:
        return f32 ? t->expand_f32[i] != NULL : t->expand[i] != NULL;
    case GEMM:
        return f32 ? t->gemm_f32 != NULL : t->gemm16 != NULL && t->gemm32 != NULL;
    case QUANTIZE:
        return t->quantize != NULL;
    default:
        return t->quantize_tile != NULL;
    }
}

/* ---- data */

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* -2 to 2. */
static float random_float(void)
{
    return (float)(int32_t)random_u32() * 0x1p-30f;
}

/* Kinds of columns.  Those that are huge remain finite in products with the largest weights. */
typedef enum pattern {
    ORDINARY,
    ZERO,
    SPIKES,
    ALTERNATING,
    TINY,
    MIXED,
    ONE_BLOCK,
    N_KINDS
} pattern;

static float element(pattern k, uint32_t i)
{
    switch (k) {
    case ZERO:
        return i % 2 ? -0.0f : 0.0f;
    case SPIKES: /* one of a block decides what the others become */
        return i % 32 == i / 32 % 32 ? 0x1p60f : random_float();
    case ALTERNATING: /* the codes are 127 and -127, by element or by block */
        return (i / 32 % 2 ? i / 64 % 2 : i % 2) ? -127.0f : 127.0f;
    case TINY: /* becomes 0 */
        return random_float() * 0x1p-102f;
    case MIXED: /* blocks of any size, just above what becomes 0 among them */
        return random_float() * ldexpf(1, (int)(i / 32 % 5) * 40 - 98);
    case ONE_BLOCK:
        return i / 32 % 3 == 1 ? random_float() : 0.0f;
    default:
        return random_float();
    }
}

static void fill_column(float *x, uint32_t n, pattern k)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = element(k, i);
    }
}

/* Kinds of weights: all bytes of a block, and the numbers in f16 among them. */
typedef struct weights {
    int bytes;            /* 0 to 255, or ANY */
    uint16_t low, behind; /* bits of f16: from low to below `behind`; 0, 0: moderate numbers */
    bool negative;        /* or positive, at random */
} weights;

enum { ANY = -1 };

/* Where numbers in f16 are in a block. */
static const struct halves {
    hy_type type;
    int at[2]; /* -1: none */
} halves[] = {
    {HY_TYPE_Q8_0, {0, -1}},   {HY_TYPE_Q4_0, {0, -1}},   {HY_TYPE_Q4_1, {0, 2}},
    {HY_TYPE_Q5_0, {0, -1}},   {HY_TYPE_Q5_1, {0, 2}},    {HY_TYPE_Q2_K, {80, 82}},
    {HY_TYPE_Q3_K, {108, -1}}, {HY_TYPE_Q4_K, {0, 2}},    {HY_TYPE_Q5_K, {0, 2}},
    {HY_TYPE_Q6_K, {208, -1}}, {HY_TYPE_IQ4_NL, {0, -1}}, {HY_TYPE_IQ4_XS, {0, -1}},
};

static void put_half(const weights *kind, uint8_t *at)
{
    uint32_t bits = hy__f32_to_f16(0.25f * random_float());
    if (kind->behind > 0) {
        bits = kind->low + random_u32() % (uint32_t)(kind->behind - kind->low);
        bits |= kind->negative && random_u32() % 4 > 0 ? 0x8000u : 0;
    }
    hy__store_u16(at, (uint16_t)bits);
}

static void fill_block(hy_type type, const weights *kind, uint8_t *block, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        block[i] = (uint8_t)(kind->bytes == ANY ? random_u32() >> 8 : (uint32_t)kind->bytes);
    }
    for (size_t i = 0; i < HY_COUNT(halves); i++) {
        if (halves[i].type == type) {
            put_half(kind, block + halves[i].at[0]);
            if (halves[i].at[1] >= 0) {
                put_half(kind, block + halves[i].at[1]);
            }
        }
    }
}

/* 16 rows of a type, some of them missing: as in a file, packed, and taken apart by plain C. */
typedef struct sample {
    hy_type type;
    int index;
    uint32_t n, block; /* elements of a row; B */
    size_t row_bytes;
    uint8_t rows[ROWS * MOST_ROW], panel[ROWS * MOST_ROW];
    uint8_t u[N * ROWS];
    float a[N], c[N], w[N * ROWS]; /* w: of the float types */
    float decoded[ROWS][N];        /* by src/quant */
} sample;

static sample s;

/* The rows are there. */
static void pack_sample(uint32_t n_rows)
{
    const uint8_t *rows = guarded_copy(s.rows, n_rows * s.row_bytes);
    uint8_t *panel = guarded(ROWS * s.row_bytes);
    hy__pack_panel(s.type, rows, s.row_bytes, n_rows, s.n, panel);
    memcpy(s.panel, panel, ROWS * s.row_bytes);
    guarded_free("hy__pack_panel", panel);
    guarded_free("rows", rows);
    memset(s.rows + n_rows * s.row_bytes, 0, (ROWS - n_rows) * s.row_bytes);
    for (uint32_t r = 0; r < ROWS; r++) {
        assert_int_equal(hy_dequantize(s.type, s.rows + r * s.row_bytes, s.decoded[r], s.n, NULL),
                         HY_OK);
        for (uint32_t i = 0; i < s.n; i++) {
            assert_true(isfinite(s.decoded[r][i]));
        }
    }
    s.index = hy__packed_index(s.type);
    if (s.index >= 0) {
        s.block = hy__packed_block(s.index);
        hy__packed_plain.expand[s.index](s.panel, s.n, &(hy__panel){s.u, s.a, s.c});
        return;
    }
    s.index = hy__packed_f32_index(s.type);
    for (uint32_t i = 0; i < s.n * ROWS; i++) {
        s.w[i] = s.decoded[i % ROWS][i / ROWS];
    }
}

static void shape_sample(hy_type type, uint32_t n)
{
    const hy_type_info *t = hy_type_find((uint32_t)type);
    s.type = type;
    s.n = n;
    s.row_bytes = (size_t)n / t->block_elems * t->block_bytes;
    assert_true(n <= N && n % t->block_elems == 0 && s.row_bytes <= MOST_ROW);
}

static void make_sample(hy_type type, uint32_t n, uint32_t n_rows, const weights *kind)
{
    const uint32_t bytes = hy_type_find((uint32_t)type)->block_bytes;
    shape_sample(type, n);
    for (size_t at = 0; at < ROWS * s.row_bytes; at += bytes) {
        fill_block(type, kind, s.rows + at, bytes);
    }
    pack_sample(n_rows);
}

/* ---- the formulas */

static float add(bool fused, float x, float y, float sum)
{
    return fused ? fmaf(x, y, sum) : x * y + sum;
}

static float expected(bool fused, uint32_t r, const hy__q8 *x)
{
    const float *sums = s.block == 16 ? x->s16 : x->s;
    float acc = 0;
    for (uint32_t b = 0; b < s.n / s.block; b++) {
        int32_t dot = 0;
        for (uint32_t i = b * s.block; i < (b + 1) * s.block; i++) {
            dot += (int32_t)s.u[i / 4 * 64 + 4 * r + i % 4] * x->q[i];
        }
        acc = add(fused, (float)dot * s.a[ROWS * b + r], x->d[b * s.block / 32], acc);
        acc = add(fused, -s.c[ROWS * b + r], sums[b], acc);
    }
    return acc;
}

static float expected_f32(bool fused, uint32_t r, const float *x)
{
    float sums[2] = {0, 0};
    for (uint32_t i = 0; i < s.n; i++) {
        sums[i % 2] = add(fused, s.w[ROWS * i + r], x[i], sums[i % 2]);
    }
    return sums[0] + sums[1];
}

/* Columns, and what each row's product with them must be. */
static struct columns {
    float x[COLS][N];
    _Alignas(64) uint8_t memory[COLS][2 * N + 5 * 64];
    _Alignas(64) uint8_t tile[COLS * (2 * N + 5 * 64)]; /* of all of them */
    float want[2][COLS][ROWS];                          /* without and with fused sums */
} columns;

static hy__q8 column(uint32_t t)
{
    return hy__q8_at(columns.memory[t], s.n, 1);
}

/* Zeros of both signs are one. */
static void check_float(const char *what, const kernels *k, float got, float want)
{
    if (!(got == want) || !isfinite(want)) {
        fail_msg("%s of %s, level %s, %u elements: %a instead of %a", what,
                 hy_type_find((uint32_t)s.type)->name, k->name, s.n, (double)got, (double)want);
    }
}

/* Each term a * dot * d or c * s has an error of up to 3 EPS, a decoded weight of 2 EPS, and each
 * of the two additions (plain: of rounded products) per block adds one EPS of a sum that is never
 * larger than all sizes together; results below the normal numbers lose up to LEAST per operation.
 */
static void check_in_doubles(float want, uint32_t r, uint32_t t)
{
    const hy__q8 x = column(t);
    double sum = 0, size = 0;
    for (uint32_t i = 0; i < s.n; i++) {
        const double q = (double)x.d[i / 32] * x.q[i];
        const double c = (double)s.c[i / s.block * ROWS + r];
        sum += (double)s.decoded[r][i] * q;
        size += (fabs((double)s.decoded[r][i] + c) + fabs(c)) * fabs(q);
    }
    const double blocks = s.n / s.block;
    if (!(fabs((double)want - sum) <= (2 * blocks + 6) * EPS * size + 5 * blocks * LEAST)) {
        fail_msg("%s: %a, in doubles %a", hy_type_find((uint32_t)s.type)->name, (double)want, sum);
    }
}

static void check_in_doubles_f32(float want, uint32_t r, uint32_t t)
{
    double sum = 0, size = 0;
    for (uint32_t i = 0; i < s.n; i++) {
        const double term = (double)s.decoded[r][i] * (double)columns.x[t][i];
        sum += term;
        size += fabs(term);
    }
    const double steps = s.n / 2 + 2; /* of the longer of two sums, a product's and the last one */
    if (!(fabs((double)want - sum) <= 1.01 * steps * EPS * size + 2 * s.n * LEAST)) {
        fail_msg("%s: %a, in doubles %a", hy_type_find((uint32_t)s.type)->name, (double)want, sum);
    }
}

/* Column t is of kind (first + t); all times `size`. */
static void make_columns(uint32_t first, float size)
{
    for (uint32_t t = 0; t < COLS; t++) {
        fill_column(columns.x[t], s.n, (pattern)((first + t) % N_KINDS));
        for (uint32_t i = 0; i < s.n; i++) {
            columns.x[t][i] *= size;
        }
    }
}

/* What the sample's products with the columns must be: by the formula, which the doubles confirm.
 */
static void expect_products(void)
{
    const bool f32 = hy__packed_index(s.type) < 0;
    assert_true(hy__q8_bytes(s.n, 1) <= sizeof columns.memory[0]);
    assert_true(hy__q8_bytes(s.n, COLS) <= sizeof columns.tile);
    hy__packed_plain.quantize_tile(columns.x[0], N, s.n, COLS, columns.tile);
    for (uint32_t t = 0; t < COLS; t++) {
        hy__packed_plain.quantize(columns.x[t], s.n, columns.memory[t]);
        const hy__q8 x = column(t);
        for (uint32_t i = 0; i < 2 * ROWS; i++) {
            const uint32_t r = i % ROWS;
            float *want = &columns.want[i / ROWS][t][r];
            *want = f32 ? expected_f32(i >= ROWS, r, columns.x[t]) : expected(i >= ROWS, r, &x);
            if (f32) {
                check_in_doubles_f32(*want, r, t);
            } else {
                check_in_doubles(*want, r, t);
            }
        }
    }
}

/* ---- kernels */

static void check_layout(void)
{
    for (uint32_t i = 0; i < s.n * ROWS && hy__packed_index(s.type) >= 0; i++) {
        const uint32_t r = i % ROWS, e = i / ROWS, b = e / s.block * ROWS + r;
        const double a = (double)s.a[b] * s.u[e / 4 * 64 + 4 * r + e % 4], c = (double)s.c[b];
        assert_true(fabs(a - c - (double)s.decoded[r][e]) <= 2 * EPS * (fabs(a) + fabs(c)));
    }
}

static void check_expand(const kernels *k)
{
    const size_t factors = s.n / s.block * ROWS;
    const uint8_t *panel = guarded_copy(s.panel, ROWS * s.row_bytes);
    const hy__panel out = {guarded((size_t)s.n * ROWS), guarded(factors * sizeof(float)),
                           guarded(factors * sizeof(float))};
    k->t.expand[s.index](panel, s.n, &out);
    assert_memory_equal(out.u, s.u, (size_t)s.n * ROWS);
    for (size_t i = 0; i < factors; i++) {
        check_float("factor", k, out.a[i], s.a[i]);
        check_float("offset", k, out.c[i], s.c[i]);
    }
    guarded_free("expand's panel", panel);
    guarded_free("expand, codes", out.u);
    guarded_free("expand, factors", out.a);
    guarded_free("expand, offsets", out.c);
    mark(EXPAND, cell_type(s.type), k);
}

static void check_expand_f32(const kernels *k)
{
    const uint8_t *panel = guarded_copy(s.panel, ROWS * s.row_bytes);
    float *w = guarded((size_t)s.n * ROWS * sizeof *w);
    k->t.expand_f32[s.index](panel, s.n, w);
    assert_memory_equal(w, s.w, (size_t)s.n * ROWS * sizeof *w);
    guarded_free("panel", panel);
    guarded_free("expand", w);
    mark(EXPAND, cell_type(s.type), k);
}

/* Arrays of activations, each between guards of its own. */
static hy__q8 guard_q8(hy__q8 x, uint32_t n, uint32_t cols)
{
    const size_t b = (size_t)n / 32 * cols;
    return (hy__q8){guarded_copy_64(x.q, 32 * b), guarded_copy_64(x.d, b * sizeof *x.d),
                    guarded_copy_64(x.s, b * sizeof *x.s),
                    guarded_copy_64(x.s16, 2 * b * sizeof *x.s16),
                    guarded_copy_64(x.sum, b * sizeof *x.sum)};
}

static void free_q8(hy__q8 x)
{
    guarded_free("q", x.q);
    guarded_free("d", x.d);
    guarded_free("s", x.s);
    guarded_free("s16", x.s16);
    guarded_free("sum", x.sum);
}

static void check_gemv(const kernels *k)
{
    const bool f32 = hy__packed_index(s.type) < 0;
    const uint8_t *panel = guarded_copy(s.panel, ROWS * s.row_bytes);
    float *y = guarded(ROWS * sizeof *y);
    for (uint32_t t = 0; t < COLS; t++) {
        if (f32) {
            const float *x = guarded_copy(columns.x[t], s.n * sizeof *x);
            k->t.gemv_f32[s.index](panel, x, s.n, y);
            guarded_free("column", x);
        } else {
            const hy__q8 x = guard_q8(column(t), s.n, 1);
            k->t.gemv[s.index](panel, &x, s.n, y);
            free_q8(x);
        }
        for (uint32_t r = 0; r < ROWS; r++) {
            check_float("gemv", k, y[r], columns.want[k->fused][t][r]);
        }
        memset(y, 0xff, ROWS * sizeof *y);
    }
    guarded_free("panel", panel);
    guarded_free("gemv", y);
    mark(GEMV, cell_type(s.type), k);
}

/* Elements from k to `end` of the sample and of the tile. */
static void gemm_part(const kernels *k, hy__q8_tile tile, uint32_t from, uint32_t end,
                      uint32_t cols, float *y, size_t stride)
{
    const size_t n = end - from, factors = n / s.block * ROWS * sizeof(float);
    const hy__panel w = {(uint8_t *)guarded_copy_64(s.u + (size_t)from * ROWS, n * ROWS),
                         (float *)guarded_copy_64(s.a + (size_t)from / s.block * ROWS, factors),
                         (float *)guarded_copy_64(s.c + (size_t)from / s.block * ROWS, factors)};
    const hy__q8_tile x = guard_q8(hy__q8_from(tile, from, COLS), (uint32_t)n, COLS);
    (s.block == 16 ? k->t.gemm16 : k->t.gemm32)(&w, &x, (uint32_t)n, cols, y, stride, from > 0);
    free_q8(x);
    guarded_free("codes", w.u);
    guarded_free("factors", w.a);
    guarded_free("offsets", w.c);
}

/* In parts of `part` elements, a multiple of 32. */
static void check_gemm(const kernels *k, uint32_t cols, uint32_t part, size_t stride)
{
    const hy__q8_tile tile = hy__q8_at(columns.tile, s.n, COLS);
    const size_t floats = (cols - 1) * stride + ROWS;
    float *y = guarded(floats * sizeof *y);
    for (uint32_t from = 0; from < s.n; from += part) {
        gemm_part(k, tile, from, HY_MIN(from + part, s.n), cols, y, stride);
    }
    for (size_t i = 0; i < floats; i++) {
        if (i % stride < ROWS) {
            check_float("gemm", k, y[i], columns.want[k->fused][i / stride][i % stride]);
        } else {
            assert_int_equal(hy__f32_bits(y[i]), UINT32_MAX); /* untouched */
        }
    }
    guarded_free("gemm", y);
    mark(GEMM, cell_type(s.type), k);
}

static void check_gemm_f32(const kernels *k, uint32_t cols, uint32_t part)
{
    static float tile[N][COLS];
    float *sums = guarded(sizeof(float) * COLS * 2 * ROWS);
    memset(sums, 0, sizeof(float) * COLS * 2 * ROWS);
    for (uint32_t i = 0; i < s.n * COLS; i++) {
        tile[i / COLS][i % COLS] = i % COLS < cols ? columns.x[i % COLS][i / COLS] : 0;
    }
    for (uint32_t from = 0; from < s.n; from += part) {
        const uint32_t n = HY_MIN(part, s.n - from);
        const float *w = guarded_copy_64(s.w + (size_t)from * ROWS, n * ROWS * sizeof *w);
        const float *x = guarded_copy(tile[from], n * sizeof *tile);
        k->t.gemm_f32(w, x, n, cols, sums);
        guarded_free("weights", w);
        guarded_free("tile", x);
    }
    for (uint32_t r = 0; r < ROWS * cols; r++) {
        const float *sum = sums + (size_t)r / ROWS * 2 * ROWS + r % ROWS;
        check_float("gemm", k, sum[0] + sum[ROWS], columns.want[k->fused][r / ROWS][r % ROWS]);
    }
    guarded_free("gemm", sums);
    mark(GEMM, cell_type(s.type), k);
}

/* ---- columns to 8 bits */

/* Of one column from the contract alone; a block of `plain` is what must come out. */
static void check_block(const float *x, uint32_t n, const hy__q8 *got, size_t b)
{
    double most = 0;
    bool finite = true;
    int32_t halves_of[2] = {0, 0};
    for (uint32_t i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        most = fmax(most, fabs((double)x[i]));
    }
    const bool zero = !finite || most < 0x1p-100;
    for (uint32_t i = 0; i < 32; i++) {
        const double code = zero || i >= n ? 0 : (double)x[i] * 127 / most;
        const int32_t q = got->q[32 * b + i];
        assert_true(abs(q) <= 127 && fabs(q - code) <= 0.5 + 127 * 4 * EPS);
        assert_true((code == 0) <= (q == 0));
        halves_of[i / 16] += q;
    }
    assert_int_equal(got->sum[b], halves_of[0] + halves_of[1]);
    if (!finite) {
        assert_true(isnan(got->d[b]) && isnan(got->s[b]));
        assert_true(isnan(got->s16[2 * b]) && isnan(got->s16[2 * b + 1]));
        return;
    }
    const float d = zero ? 0 : (float)most / 127.0f;
    assert_true(got->d[b] == d && got->s[b] == d * (float)got->sum[b]);
    assert_true(got->s16[2 * b] == d * (float)halves_of[0]);
    assert_true(got->s16[2 * b + 1] == d * (float)halves_of[1]);
}

static void check_quantize(const kernels *k, const float *x, uint32_t n)
{
    const size_t b = ((size_t)n + 31) / 32;
    const float *in = guarded_copy(x, n * sizeof *x);
    void *memory = guarded_64(hy__q8_bytes(n, 1)), *other = guarded_64(hy__q8_bytes(n, 1));
    k->t.quantize(in, n, memory);
    hy__packed_plain.quantize(in, n, other);
    const hy__q8 g = hy__q8_at(memory, n, 1), w = hy__q8_at(other, n, 1);
    for (size_t i = 0; i < b; i++) {
        check_block(x + 32 * i, (uint32_t)HY_MIN(n - 32 * i, (size_t)32), &g, i);
    }
    assert_memory_equal(g.q, w.q, 32 * b);
    assert_memory_equal(g.d, w.d, 4 * b);
    assert_memory_equal(g.s, w.s, 4 * b);
    assert_memory_equal(g.s16, w.s16, 8 * b);
    assert_memory_equal(g.sum, w.sum, 4 * b);
    guarded_free("column", in);
    guarded_free("quantize", memory);
    guarded_free("quantize", other);
    mark(QUANTIZE, 0, k);
}

/* The columns of a tile are those that plain C makes, the missing ones zero. */
static void check_tile(const kernels *k, const float *x, size_t stride, uint32_t n, uint32_t cols)
{
    const size_t blocks = ((size_t)n + 31) / 32;
    const float *in = guarded_copy(x, ((cols - 1) * stride + n) * sizeof *x);
    void *memory = guarded_64(hy__q8_bytes(n, COLS)), *alone = guarded_64(hy__q8_bytes(n, 1));
    k->t.quantize_tile(in, stride, n, cols, memory);
    const hy__q8_tile tile = hy__q8_at(memory, n, COLS);
    const hy__q8 c = hy__q8_at(alone, n, 1);
    for (uint32_t t = 0; t < COLS; t++) {
        static const float zero[N];
        hy__packed_plain.quantize(t < cols ? x + t * stride : zero, n, alone);
        for (size_t i = 0; i < 32 * blocks; i++) {
            assert_int_equal(tile.q[i / 4 * 4 * COLS + 4 * t + i % 4], c.q[i]);
        }
        for (size_t i = 0; i < blocks; i++) {
            assert_memory_equal(&tile.d[COLS * i + t], &c.d[i], 4);
            assert_memory_equal(&tile.s[COLS * i + t], &c.s[i], 4);
            assert_memory_equal(&tile.sum[COLS * i + t], &c.sum[i], 4);
            assert_memory_equal(&tile.s16[2 * COLS * i + t], &c.s16[2 * i], 4);
            assert_memory_equal(&tile.s16[COLS * (2 * i + 1) + t], &c.s16[2 * i + 1], 4);
        }
    }
    guarded_free("columns", in);
    guarded_free("quantize_tile", memory);
    guarded_free("quantize", alone);
    mark(QUANTIZE_TILE, 0, k);
}

/* ---- tests */

static bool next_level(size_t *level, kernels *k)
{
    while (hy__level_name(*level)) {
        const size_t l = (*level)++;
        if (hy__level_here(l)) {
            k->name = hy__level_name(l);
            k->level = l;
            k->fused = strcmp(k->name, "plain") != 0;
            hy__level_packed(l, &k->t);
            return true;
        }
    }
    return false;
}

static const weights moderate = {ANY, 0, 0, false};

/* The sample at every level; all numbers of columns if `wide`. */
static void check_levels(uint32_t first_kind, bool wide)
{
    kernels k;
    make_columns(first_kind, 1);
    expect_products();
    check_layout();
    for (size_t level = 0; next_level(&level, &k);) {
        check_expand(&k);
        check_gemv(&k);
        check_gemm(&k, COLS, s.n, ROWS);
        for (uint32_t cols = 1; wide && cols <= COLS; cols++) {
            check_gemm(&k, cols, s.n > 256 ? 256 : 32, ROWS + cols % 6);
        }
    }
}

/* Rows of one block and of several, panels of 1 to 16 rows, 1 to 12 columns. */
static void check_shapes(hy_type type)
{
    const uint32_t elems = hy_type_find((uint32_t)type)->block_elems;
    static const uint32_t blocks[] = {1, 2, 3, 5, 8, 24};
    for (size_t i = 0; i < HY_COUNT(blocks) && blocks[i] * elems <= N; i++) {
        make_sample(type, blocks[i] * elems, ROWS, &moderate);
        check_levels((uint32_t)i, true);
    }
    for (uint32_t n_rows = 1; n_rows < ROWS; n_rows++) {
        make_sample(type, elems, n_rows, &moderate);
        check_levels(n_rows, false);
    }
}

static void products_are_exactly_those_of_the_contract(void **state)
{
    (void)state;
#define CHECK(type, block) check_shapes(HY_TYPE_##type);
    HY__PACKED_TYPES(CHECK)
#undef CHECK
}

/* All codes and scales within a block the largest, the least or around the sign, with factors that
 * are ordinary, the largest, the least, without normal ones, zero. */
static void check_worst(hy_type type)
{
    static const int bytes[] = {ANY, 0xff, 0x7f, 0x80, 0x00, 0xf0, 0x0f};
    static const uint16_t factors[][2] = {{0, 0},           {0x7bff, 0x7c00}, {0x7800, 0x7c00},
                                          {0x0001, 0x0400}, {0x0001, 0x0002}, {0x03ff, 0x0401},
                                          {0x0000, 0x0001}};
    const uint32_t elems = HY_MAX(hy_type_find((uint32_t)type)->block_elems, 96u);
    for (size_t b = 0; b < HY_COUNT(bytes); b++) {
        for (size_t f = 0; f < HY_COUNT(factors); f++) {
            for (int negative = 0; negative < (f > 0 ? 2 : 1); negative++) {
                const weights kind = {bytes[b], factors[f][0], factors[f][1], negative == 1};
                make_sample(type, elems, ROWS, &kind);
                check_levels((uint32_t)(b + f), false);
            }
        }
    }
}

static void so_are_those_of_the_worst_numbers(void **state)
{
    (void)state;
#define CHECK(type, block) check_worst(HY_TYPE_##type);
    HY__PACKED_TYPES(CHECK)
#undef CHECK
}

/* Any parts give the bits of the whole. */
static void sums_go_on_at_every_block(void **state)
{
    (void)state;
    kernels k;
#define CHECK(type, block)                                                                         \
    make_sample(HY_TYPE_##type, 256, ROWS, &moderate);                                             \
    make_columns(0, 1);                                                                            \
    expect_products();                                                                             \
    for (size_t level = 0; next_level(&level, &k);) {                                              \
        for (uint32_t part = 32; part < 256; part += 32) {                                         \
            check_gemm(&k, 1, part, ROWS);                                                         \
            check_gemm(&k, COLS, part, ROWS + 1);                                                  \
            check_gemm(&k, 5, part, 1000);                                                         \
        }                                                                                          \
    }
    HY__PACKED_TYPES(CHECK)
#undef CHECK
}

/* Back to the blocks of the file. */
static void check_packing(hy_type type, uint32_t n_rows)
{
    const size_t block = hy_type_find((uint32_t)type)->block_bytes;
    make_sample(type, 256, n_rows, &moderate);
    for (uint32_t r = 0; r < ROWS; r++) {
        for (size_t b = 0; b < s.row_bytes; b += block) {
            uint8_t *got = guarded(block);
            const uint8_t *panel = guarded_copy(s.panel + ROWS * b, ROWS * block);
            hy__unpack_block(type, panel, r, got);
            assert_memory_equal(got, s.rows + r * s.row_bytes + b, block);
            guarded_free("panel", panel);
            guarded_free("hy__unpack_block", got);
        }
    }
}

static void missing_rows_are_zero_and_blocks_come_back(void **state)
{
    (void)state;
    for (uint32_t n_rows = 1; n_rows <= ROWS; n_rows++) {
#define CHECK(type, block) check_packing(HY_TYPE_##type, n_rows);
        HY__PACKED_TYPES(CHECK)
#undef CHECK
    }
}

/* A number of a float type: ordinary; the largest; the least; without normal ones; zero. */
typedef enum number { NUMBER, MOST, LEAST_OF_ALL, SUBNORMAL, NOTHING, N_NUMBERS } number;

static uint32_t number_bits(hy_type type, number kind)
{
    const uint32_t mantissa = type == HY_TYPE_F32 ? 23 : type == HY_TYPE_F16 ? 10 : 7;
    const uint32_t most = type == HY_TYPE_F16 ? 0x7bff : (0x7f800000u >> (23 - mantissa)) - 1;
    switch (kind) {
    case MOST:
        return most;
    case LEAST_OF_ALL:
        return 1;
    case SUBNORMAL:
        return random_u32() % (1u << mantissa);
    case NOTHING:
        return 0;
    default:
        return type == HY_TYPE_F32   ? hy__f32_bits(random_float())
               : type == HY_TYPE_F16 ? hy__f32_to_f16(random_float())
                                     : hy__f32_to_bf16(random_float());
    }
}

static void make_numbers(hy_type type, uint32_t n, uint32_t n_rows, number kind)
{
    shape_sample(type, n);
    for (uint32_t i = 0; i < n * ROWS; i++) {
        const uint32_t sign = kind == NUMBER ? 0 : random_u32() % 2;
        const uint32_t bits = number_bits(type, kind);
        if (type == HY_TYPE_F32) {
            hy__store_u32(s.rows + 4 * (size_t)i, bits | sign << 31);
        } else {
            hy__store_u16(s.rows + 2 * (size_t)i, (uint16_t)(bits | sign << 15));
        }
    }
    pack_sample(n_rows);
}

static void check_numbers(hy_type type, uint32_t n, uint32_t n_rows, number kind)
{
    kernels k;
    make_numbers(type, n, n_rows, kind);
    make_columns(n + kind, kind == MOST ? 0x1p-72f : 1); /* sums of the largest are finite */
    expect_products();
    for (size_t level = 0; next_level(&level, &k);) {
        if (k.t.expand_f32[s.index]) {
            check_expand_f32(&k);
        }
        check_gemv(&k);
        for (uint32_t cols = 1; cols <= COLS; cols++) {
            check_gemm_f32(&k, cols, n);
            check_gemm_f32(&k, cols, 34);
        }
    }
}

static void products_of_floats_are_exactly_those_of_the_contract(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 2, 3, 15, 16, 31, 131, 512};
    for (size_t l = 0; l < HY_COUNT(lengths); l++) {
#define CHECK(type, block) check_numbers(HY_TYPE_##type, lengths[l], ROWS, NUMBER);
        HY__PACKED_F32_TYPES(CHECK)
#undef CHECK
    }
    for (number kind = NUMBER; kind < N_NUMBERS; kind++) {
        for (uint32_t n_rows = 1; n_rows <= ROWS; n_rows += 5) {
#define CHECK(type, block) check_numbers(HY_TYPE_##type, 67, n_rows, kind);
            HY__PACKED_F32_TYPES(CHECK)
#undef CHECK
        }
    }
}

static void check_activations(const float *x)
{
    static const uint32_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 100, 256, N};
    kernels k;
    for (size_t level = 0; next_level(&level, &k);) {
        for (size_t l = 0; l < HY_COUNT(lengths); l++) {
            check_quantize(&k, x, lengths[l]);
        }
        for (uint32_t cols = 1; cols <= COLS; cols++) {
            check_tile(&k, x, 32, 100, cols); /* columns overlap: they are only read */
            check_tile(&k, x, 17, 33, cols);
            check_tile(&k, x, 32, 32, cols);
            check_tile(&k, x, 1, 1, cols);
            check_tile(&k, x, 20, 512, cols);
        }
    }
}

static void activations_are_those_of_the_contract(void **state)
{
    (void)state;
    float x[N];
    for (pattern k = 0; k < N_KINDS; k++) {
        fill_column(x, N, k);
        check_activations(x);
    }
    static const float sizes[] = {0x1p-149f, 0x1p-140f, FLT_MIN,  0x1.fffffep-101f,
                                  0x1p-100f, 0x1p-30f,  0x1p100f, FLT_MAX};
    for (uint32_t i = 0; i < N; i++) { /* one of a block is the size, the others are up to it */
        const float size = sizes[i / 32 % HY_COUNT(sizes)];
        x[i] = i % 32 == i / 32 % 32 ? (i % 2 ? size : -size) : size * (random_float() / 2);
    }
    check_activations(x);
    for (uint32_t i = 0; i < N; i++) { /* halves: to the even code */
        x[i] = (float)((int32_t)(i % 255) - 127) / 2;
        x[i] = i % 32 == 0 ? 127 : x[i];
    }
    check_activations(x);
    fill_column(x, N, ORDINARY);
    x[40] = NAN;
    x[70] = -INFINITY;
    x[127] = INFINITY;
    x[130] = -NAN;
    check_activations(x);
}

static void every_cell_was_checked(void **state)
{
    (void)state;
    static const char *const ops[] = {"gemv", "expand", "gemm", "quantize", "quantize_tile"};
    static const char *const types[] = {
#define NAME(type, block) #type,
        TYPES(NAME)
#undef NAME
    };
    kernels k;
    for (size_t level = 0; next_level(&level, &k);) {
        for (op what = 0; what < N_OPS; what++) {
            for (size_t type = 0; type < (what < QUANTIZE ? CELL_TYPES : 1); type++) {
                /* A packed panel of F32 is its own expansion. */
                const bool none = what == EXPAND && type == CELL_F32;
                const char *of = what < QUANTIZE ? types[type] : "activations";
                if (has(what, type, &k.t) == none) {
                    fail_msg("level %s: %s of %s is %s", k.name, ops[what], of,
                             none ? "not needed" : "missing");
                }
                if (!none && !checked[what][type][k.level]) {
                    fail_msg("level %s: %s of %s was not checked", k.name, ops[what], of);
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_packed();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_exactly_those_of_the_contract),
        cmocka_unit_test(so_are_those_of_the_worst_numbers),
        cmocka_unit_test(sums_go_on_at_every_block),
        cmocka_unit_test(missing_rows_are_zero_and_blocks_come_back),
        cmocka_unit_test(products_of_floats_are_exactly_those_of_the_contract),
        cmocka_unit_test(activations_are_those_of_the_contract),
        cmocka_unit_test(every_cell_was_checked),
    };
    int failed = 0;
    for (int at_end = 0; at_end < 2; at_end++) {
        guarded_place(at_end == 1);
        memset(checked, 0, sizeof checked);
        failed += cmocka_run_group_tests_name(
            at_end ? "packed, to the end" : "packed, from the beginning", tests, NULL, NULL);
    }
    return failed;
}
