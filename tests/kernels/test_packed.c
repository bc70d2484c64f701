/* test_packed.c: packed panels and their kernels, of every level that this machine has, bit by bit.
 *
 * Panels that plain C takes apart are compared with the decoders of src/quant; all kernels of all
 * levels with the formulas of packed.h, element by element, on what plain C took apart. */
#include <math.h>

#include "backend/cpu/levels.h"
#include "support/support.h"

enum { N = 768, ROWS = HY__PANEL_ROWS, COLS = HY__TILE_COLS, MOST_ROW = 4 * N };

typedef struct kernels {
    const char *name;
    bool fused; /* multiplies and adds in one rounding */
    hy__packed_table t;
} kernels;

/* ---- data */

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static void fill_column(float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = (float)(int32_t)random_u32() * 0x1p-30f;
    }
}

/* Any bytes, as long as they are moderate finite numbers. */
static void fill_rows(hy_type type, uint8_t *rows, size_t row_bytes)
{
    const hy_type_info *t = hy_type_find(type);
    float decoded[256];
    for (size_t b = 0; b < ROWS * row_bytes; b += t->block_bytes) {
        for (bool good = false; !good;) {
            for (uint32_t i = 0; i < t->block_bytes; i++) {
                rows[b + i] = (uint8_t)(random_u32() >> 8);
            }
            assert_int_equal(hy_dequantize(type, rows + b, decoded, t->block_elems, NULL), HY_OK);
            good = true;
            for (uint32_t i = 0; i < t->block_elems; i++) {
                good = good && fabs((double)decoded[i]) < 1e4;
            }
        }
    }
}

/* 16 rows of a type: as in a file, packed, and taken apart by plain C. */
typedef struct sample {
    hy_type type;
    int index;
    uint32_t n, block; /* elements of a row; B */
    size_t row_bytes;
    uint8_t rows[ROWS * MOST_ROW], panel[ROWS * MOST_ROW];
    uint8_t u[N * ROWS];
    float a[N], c[N], w[N * ROWS]; /* w: of the float types */
} sample;

static void make_sample(sample *s, hy_type type, uint32_t n)
{
    const hy_type_info *t = hy_type_find(type);
    s->type = type;
    s->n = n;
    s->row_bytes = (size_t)n / t->block_elems * t->block_bytes;
    assert_true(s->row_bytes <= MOST_ROW);
    fill_rows(type, s->rows, s->row_bytes);
    hy__pack_panel(type, s->rows, s->row_bytes, ROWS, n, s->panel);
    s->index = hy__packed_index(type);
    if (s->index >= 0) {
        s->block = hy__packed_block(s->index);
        hy__packed_plain.expand[s->index](s->panel, n, &(hy__panel){s->u, s->a, s->c});
        return;
    }
    s->index = hy__packed_f32_index(type);
    if (type == HY_TYPE_F32) {
        memcpy(s->w, s->panel, ROWS * s->row_bytes);
    } else {
        hy__packed_plain.expand_f32[s->index](s->panel, n, s->w);
    }
}

/* ---- the formulas */

static float add(const kernels *k, float x, float y, float sum)
{
    return k->fused ? fmaf(x, y, sum) : x * y + sum;
}

static float expected(const kernels *k, const sample *s, uint32_t r, const hy__q8 *x)
{
    const float *sums = s->block == 16 ? x->s16 : x->s;
    float acc = 0;
    for (uint32_t b = 0; b < s->n / s->block; b++) {
        int32_t dot = 0;
        for (uint32_t i = b * s->block; i < (b + 1) * s->block; i++) {
            dot += (int32_t)s->u[i / 4 * 64 + 4 * r + i % 4] * x->q[i];
        }
        acc = add(k, (float)dot * s->a[ROWS * b + r], x->d[b * s->block / 32], acc);
        acc = add(k, -s->c[ROWS * b + r], sums[b], acc);
    }
    return acc;
}

static float expected_f32(const kernels *k, const sample *s, uint32_t r, const float *x, uint32_t n)
{
    float sums[2] = {0, 0};
    for (uint32_t i = 0; i < n; i++) {
        sums[i % 2] = add(k, s->w[ROWS * i + r], x[i], sums[i % 2]);
    }
    return sums[0] + sums[1];
}

/* Zeros of both signs are one. */
static void check_float(const char *what, const kernels *k, const sample *s, float got, float want)
{
    if (!(got == want)) {
        fail_msg("%s of %s, level %s: %a instead of %a", what, hy_type_find(s->type)->name, k->name,
                 (double)got, (double)want);
    }
}

/* ---- */

static void check_layout(const sample *s)
{
    float decoded[N];
    for (uint32_t r = 0; r < ROWS; r++) {
        assert_int_equal(hy_dequantize(s->type, s->rows + r * s->row_bytes, decoded, s->n, NULL),
                         HY_OK);
        for (uint32_t i = 0; i < s->n; i++) {
            if (hy__packed_index(s->type) < 0) {
                assert_true(s->w[ROWS * i + r] == decoded[i]);
                continue;
            }
            const uint32_t b = i / s->block * ROWS + r;
            const double a = (double)s->a[b] * s->u[i / 4 * 64 + 4 * r + i % 4], c = s->c[b];
            assert_true(fabs(a - c - (double)decoded[i]) <= 1e-6 * (fabs(a) + fabs(c)));
        }
    }
}

static void check_expand(const kernels *k, const sample *s)
{
    static uint8_t u[N * ROWS];
    static float a[N], c[N];
    const size_t factors = s->n / s->block * ROWS;
    k->t.expand[s->index](s->panel, s->n, &(hy__panel){u, a, c});
    assert_memory_equal(u, s->u, (size_t)s->n * ROWS);
    for (size_t i = 0; i < factors; i++) {
        check_float("factor", k, s, a[i], s->a[i]);
        check_float("offset", k, s, c[i], s->c[i]);
    }
}

/* Room for a tile of N elements, and a column's part of it. */
enum { TILE_BYTES = N * COLS * 2 + 5 * 64 };
static _Alignas(64) uint8_t column_memory[TILE_BYTES], tile_memory[TILE_BYTES];

static hy__q8 make_column(const kernels *k, const float *x, uint32_t n)
{
    assert_true(hy__q8_bytes(n, 1) <= sizeof column_memory);
    k->t.quantize(x, n, column_memory);
    return hy__q8_at(column_memory, n, 1);
}

/* A copy that ends where its memory ends: a sanitizer sees what reads further. */
static void *exact(const void *from, size_t bytes)
{
    void *p = malloc(bytes);
    assert_non_null(p);
    return memcpy(p, from, bytes);
}

/* In doubles, from the rows as the file's decoder has them: within 1.5e-6 of the sum of magnitudes.
 */
static void check_in_doubles(const kernels *k, const sample *s, uint32_t r, const hy__q8 *x,
                             float y)
{
    static float w[N];
    double sum = 0, size = 0;
    assert_int_equal(hy_dequantize(s->type, s->rows + r * s->row_bytes, w, s->n, NULL), HY_OK);
    for (uint32_t i = 0; i < s->n; i++) {
        const double q = (double)x->d[i / 32] * x->q[i], c = s->c[i / s->block * ROWS + r];
        sum += (double)w[i] * q;
        size += (fabs((double)w[i] + c) + fabs(c)) * fabs(q);
    }
    if (!(fabs((double)y - sum) <= 1.5e-6 * size)) {
        fail_msg("%s, level %s: %a, in doubles %a", hy_type_find(s->type)->name, k->name, (double)y,
                 sum);
    }
}

static void check_gemv(const kernels *k, const sample *s)
{
    enum { GUARD = 16 };
    float x[N], y[GUARD + ROWS + GUARD];
    fill_column(x, s->n);
    const hy__q8 q = make_column(k, x, s->n);
    uint8_t *panel = exact(s->panel, ROWS * s->row_bytes);
    memset(y, 0xff, sizeof y); /* NaN */
    k->t.gemv[s->index](panel, &q, s->n, y + GUARD);
    free(panel);
    for (uint32_t r = 0; r < ROWS; r++) {
        check_float("gemv", k, s, y[GUARD + r], expected(k, s, r, &q));
        check_in_doubles(k, s, r, &q, y[GUARD + r]);
    }
    for (uint32_t i = 0; i < GUARD; i++) {
        assert_true(isnan(y[i]) && isnan(y[GUARD + ROWS + i])); /* untouched */
    }
}

/* Two parts, the first `cut` elements long. */
static void check_gemm(const kernels *k, const sample *s, uint32_t cols, uint32_t cut)
{
    static float x[COLS][N], y[COLS][ROWS + 5];
    const hy__gemm_fn gemm = s->block == 16 ? k->t.gemm16 : k->t.gemm32;
    for (uint32_t t = 0; t < cols; t++) {
        fill_column(x[t], s->n);
    }
    assert_true(hy__q8_bytes(s->n, COLS) <= sizeof tile_memory);
    k->t.quantize_tile(x[0], N, s->n, cols, tile_memory);
    const hy__q8_tile tile = hy__q8_at(tile_memory, s->n, COLS);
    const hy__q8_tile rest = hy__q8_from(tile, cut, COLS);
    hy__panel w = {(uint8_t *)s->u, (float *)s->a, (float *)s->c};
    memset(y, 0xff, sizeof y); /* NaN */
    gemm(&w, &tile, cut, cols, y[0], ROWS + 5, false);
    w.u += (size_t)cut * ROWS;
    w.a += (size_t)cut / s->block * ROWS;
    w.c += (size_t)cut / s->block * ROWS;
    gemm(&w, &rest, s->n - cut, cols, y[0], ROWS + 5, true);
    for (uint32_t t = 0; t < COLS; t++) {
        const hy__q8 q = t < cols ? make_column(k, x[t], s->n) : (hy__q8){0};
        for (uint32_t r = 0; r < ROWS + 5; r++) {
            if (t < cols && r < ROWS) {
                check_float("gemm", k, s, y[t][r], expected(k, s, r, &q));
            } else {
                assert_true(isnan(y[t][r])); /* untouched */
            }
        }
    }
}

static void check_f32(const kernels *k, const sample *s)
{
    static float x[COLS][N], tile[N][COLS], w[N * ROWS];
    float y[ROWS], sums[COLS][2][ROWS];
    const uint32_t n = s->n;
    if (s->type != HY_TYPE_F32) {
        k->t.expand_f32[s->index](s->panel, n, w);
        assert_memory_equal(w, s->w, (size_t)n * ROWS * sizeof *w);
    }
    for (uint32_t cols = 1; cols <= COLS; cols++) {
        memset(sums, 0, sizeof sums);
        memset(tile, 0, sizeof tile);
        for (uint32_t t = 0; t < cols; t++) {
            fill_column(x[t], n);
            for (uint32_t i = 0; i < n; i++) {
                tile[i][t] = x[t][i];
            }
        }
        k->t.gemm_f32(s->w, tile[0], 34, cols, sums[0][0]);
        k->t.gemm_f32(s->w + (size_t)34 * ROWS, tile[34], n - 34, cols, sums[0][0]);
        for (uint32_t r = 0; r < ROWS * cols; r++) {
            const float *sum = sums[r / ROWS][0] + r % ROWS;
            check_float("gemm", k, s, sum[0] + sum[ROWS],
                        expected_f32(k, s, r % ROWS, x[r / ROWS], n));
        }
    }
    k->t.gemv_f32[s->index](s->panel, x[0], n, y);
    for (uint32_t r = 0; r < ROWS; r++) {
        check_float("gemv", k, s, y[r], expected_f32(k, s, r, x[0], n));
    }
}

static void check_quantize(const kernels *k, const float *x, uint32_t n)
{
    static _Alignas(64) uint8_t got[TILE_BYTES];
    const size_t b = (n + 31) / 32;
    memset(got, 0x55, sizeof got);
    k->t.quantize(x, n, got);
    hy__packed_plain.quantize(x, n, column_memory);
    const hy__q8 g = hy__q8_at(got, n, 1), w = hy__q8_at(column_memory, n, 1);
    assert_memory_equal(g.q, w.q, 32 * b);
    assert_memory_equal(g.d, w.d, 4 * b);
    assert_memory_equal(g.s, w.s, 4 * b);
    assert_memory_equal(g.s16, w.s16, 8 * b);
    assert_memory_equal(g.sum, w.sum, 4 * b);
}

/* The columns of a tile are those that quantize makes, the missing ones zero. */
static void check_tile(const kernels *k, const float *x, uint32_t n, uint32_t cols)
{
    const size_t b = (n + 31) / 32;
    const uint32_t stride = n / (2 * cols); /* columns overlap: they are only read */
    const uint32_t length = n - stride * (cols - 1);
    const size_t blocks = ((size_t)length + 31) / 32;
    assert_true(blocks <= b);
    memset(tile_memory, 0x55, sizeof tile_memory);
    k->t.quantize_tile(x, stride, length, cols, tile_memory);
    const hy__q8_tile tile = hy__q8_at(tile_memory, length, COLS);
    for (uint32_t t = 0; t < COLS; t++) {
        static const float zero[N];
        const hy__q8 c = make_column(k, t < cols ? x + (size_t)t * stride : zero, length);
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
}

/* ---- tests */

static bool next_level(size_t *level, kernels *k)
{
    while (hy__level_name(*level)) {
        const size_t l = (*level)++;
        if (hy__level_here(l)) {
            k->name = hy__level_name(l);
            k->fused = strcmp(k->name, "plain") != 0;
            hy__level_packed(l, &k->t);
            return true;
        }
    }
    return false;
}

static sample s;

static void check_type(hy_type type, uint32_t n)
{
    kernels k;
    make_sample(&s, type, n);
    check_layout(&s);
    for (size_t level = 0; next_level(&level, &k);) {
        check_expand(&k, &s);
        check_gemv(&k, &s);
        for (uint32_t cols = 1; cols <= COLS; cols++) {
            check_gemm(&k, &s, cols, n == N ? 256 : 32);
        }
    }
}

static void products_are_exactly_those_of_the_contract(void **state)
{
    (void)state;
#define CHECK(type, block) check_type(HY_TYPE_##type, N);
    HY__PACKED_TYPES(CHECK)
    check_type(HY_TYPE_Q8_0, 160);
    check_type(HY_TYPE_Q5_1, 96);
#undef CHECK
}

/* Any two parts give the bits of the whole. */
static void sums_go_on_at_every_block(void **state)
{
    (void)state;
    kernels k;
#define CHECK(type, block)                                                                         \
    make_sample(&s, HY_TYPE_##type, 256);                                                          \
    for (size_t level = 0; next_level(&level, &k);) {                                              \
        for (uint32_t cut = 32; cut < 256; cut += 32) {                                            \
            check_gemm(&k, &s, 1, cut);                                                            \
            check_gemm(&k, &s, COLS, cut);                                                         \
        }                                                                                          \
    }
    HY__PACKED_TYPES(CHECK)
#undef CHECK
}

/* Panels of fewer rows, and back to the blocks of the file. */
static void check_packing(hy_type type, uint32_t n_rows)
{
    static uint8_t zero[MOST_ROW], packed[ROWS * MOST_ROW + 64];
    make_sample(&s, type, 256);
    const size_t bytes = ROWS * s.row_bytes, block = hy_type_find(type)->block_bytes;
    uint8_t *rows = exact(s.rows, n_rows * s.row_bytes);
    memset(packed, 0x55, sizeof packed);
    hy__pack_panel(type, rows, s.row_bytes, n_rows, s.n, packed);
    free(rows);
    for (size_t i = bytes; i < bytes + 64; i++) {
        assert_int_equal(packed[i], 0x55);
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        const uint8_t *want = r < n_rows ? s.rows + r * s.row_bytes : zero;
        for (size_t b = 0; b < s.row_bytes; b += block) {
            uint8_t got[256];
            assert_true(block <= sizeof got);
            hy__unpack_block(type, packed + ROWS * b, r, got);
            assert_memory_equal(got, want + b, block);
        }
    }
}

static void missing_rows_are_zero_and_blocks_come_back(void **state)
{
    (void)state;
#define CHECK(type, block)                                                                         \
    check_packing(HY_TYPE_##type, 1);                                                              \
    check_packing(HY_TYPE_##type, 15);                                                             \
    check_packing(HY_TYPE_##type, 16);
    HY__PACKED_TYPES(CHECK)
#undef CHECK
}

static void products_of_floats_are_exactly_those_of_the_contract(void **state)
{
    (void)state;
    kernels k;
#define CHECK(type, block)                                                                         \
    make_sample(&s, HY_TYPE_##type, 131);                                                          \
    check_layout(&s);                                                                              \
    for (size_t level = 0; next_level(&level, &k);) {                                              \
        check_f32(&k, &s);                                                                         \
    }
    HY__PACKED_F32_TYPES(CHECK)
#undef CHECK
}

static void activations_are_the_same_at_every_level(void **state)
{
    (void)state;
    float x[N];
    kernels k;
    fill_column(x, N);
    x[40] = NAN;
    x[70] = -INFINITY;
    for (uint32_t i = 96; i < 128; i++) {
        x[i] *= 0x1p-120f;
    }
    for (uint32_t i = 128; i < 160; i++) {
        x[i] = i % 2 == 0 ? 0.0f : -0.0f;
    }
    x[161] = -3e38f;
    for (uint32_t i = 192; i < 224; i++) { /* halves: to the even code */
        x[i] = (float)(i - 192) * 0.5f * (127.0f / 15.5f) / 127.0f;
    }
    for (size_t level = 0; next_level(&level, &k);) {
        check_quantize(&k, x, N);
        check_quantize(&k, x, 33);
        check_quantize(&k, x, 31);
        check_quantize(&k, x, 1);
        for (uint32_t cols = 1; cols <= COLS; cols++) {
            check_tile(&k, x, N, cols);
            check_tile(&k, x, 100, cols);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_exactly_those_of_the_contract),
        cmocka_unit_test(sums_go_on_at_every_block),
        cmocka_unit_test(missing_rows_are_zero_and_blocks_come_back),
        cmocka_unit_test(products_of_floats_are_exactly_those_of_the_contract),
        cmocka_unit_test(activations_are_the_same_at_every_level),
    };
    return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
