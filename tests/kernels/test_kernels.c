/* test_kernels.c: every kernel of every level that this machine has against sums in double
 * precision over decoded weights and the very same columns, so that only the kernel's own rounding
 * is left.
 *
 * Rows and columns end at the end of their memory: a sanitizer sees whatever reads further.  With
 * --bench: how many bytes of rows each kernel takes in a second. */
#include <math.h>

#include "backend/cpu/kernels.h"
#include "quant/quant.h"
#include "support/support.h"

#define BOUND 1e-6 /* of the sum of magnitudes */

static const hy_type types[] = {
#define TYPE(name) HY_TYPE_##name,
    HY__CPU_DOT_TYPES(TYPE) HY__CPU_F32_TYPES(TYPE)
#undef TYPE
};

/* ---- data */

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* In [-1, 1]. */
static float random_float(void)
{
    return (float)((int32_t)random_u32() / 2147483648.0);
}

/* Where a block of a type has its f16 numbers, and its codes, high bits
 * included. */
static const struct layout {
    hy_type type;
    int f16[2]; /* -1: none */
    int codes, codes_end;
} layouts[] = {
    {HY_TYPE_Q8_0, {0, -1}, 2, 34},   {HY_TYPE_Q4_0, {0, -1}, 2, 18},
    {HY_TYPE_Q4_1, {0, 2}, 4, 20},    {HY_TYPE_Q5_0, {0, -1}, 2, 22},
    {HY_TYPE_Q5_1, {0, 2}, 4, 24},    {HY_TYPE_Q2_K, {80, 82}, 16, 80},
    {HY_TYPE_Q3_K, {108, -1}, 0, 96}, {HY_TYPE_Q4_K, {0, 2}, 16, 144},
    {HY_TYPE_Q5_K, {0, 2}, 16, 176},  {HY_TYPE_Q6_K, {208, -1}, 0, 192},
    {HY_TYPE_IQ4_NL, {0, -1}, 2, 18}, {HY_TYPE_IQ4_XS, {0, -1}, 8, 136},
};

static const struct layout *layout_of(hy_type type)
{
    for (size_t i = 0; i < HY_COUNT(layouts); i++) {
        if (layouts[i].type == type) {
            return &layouts[i];
        }
    }
    return NULL;
}

typedef enum pattern {
    RANDOM,
    ONES,      /* every bit of codes and packed scales set */
    LEAST,     /* codes 0, packed scales of bytes 0x80; columns: the greatest codes */
    ZEROS,     /* all of it */
    SUBNORMAL, /* the least scales */
    LARGE,     /* scales of some thousands */
    MIXED,     /* large and tiny blocks in turn */
    N_PATTERNS
} pattern;

static float pattern_scale(pattern p, size_t block)
{
    switch (p) {
    case ZEROS:
        return 0;
    case SUBNORMAL:
        return 0x1p-24f * (float)(1 + random_u32() % 4);
    case LARGE:
        return 60000 * random_float();
    case MIXED:
        return block % 2 ? 60000 * random_float() : 1e-5f * random_float();
    default:
        return 0.01f * random_float();
    }
}

static void fill_row(const hy_type_info *t, pattern p, uint8_t *row, uint32_t n)
{
    const struct layout *l = layout_of(t->type);
    const size_t blocks = n / t->block_elems;
    for (size_t b = 0; b < blocks; b++) {
        uint8_t *block = row + b * t->block_bytes;
        if (!l) {
            const float v = p == ZEROS ? 0 : 100 * pattern_scale(p, b / 16) * random_float();
            if (t->type == HY_TYPE_F32) {
                hy__store_u32(block, hy__f32_bits(v));
            } else {
                const float fits = fminf(fmaxf(v, -65504), 65504);
                hy__store_u16(block,
                              t->type == HY_TYPE_F16 ? hy__f32_to_f16(fits) : hy__f32_to_bf16(v));
            }
            continue;
        }
        for (int i = 0; i < (int)t->block_bytes; i++) {
            const bool code = i >= l->codes && i < l->codes_end;
            block[i] = (uint8_t)(p == ONES    ? 0xff
                                 : p == LEAST ? (code && t->type != HY_TYPE_Q8_0 ? 0 : 0x80)
                                 : p == ZEROS ? 0
                                              : random_u32() >> 8);
        }
        for (int i = 0; i < 2 && l->f16[i] >= 0; i++) {
            hy__store_u16(block + l->f16[i], hy__f32_to_f16(pattern_scale(p, b)));
        }
    }
}

static void fill_column(pattern p, float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = p == ZEROS ? 0 : p == ONES ? -3.0f : p == LEAST ? 3.0f : 4 * random_float();
        if (p == MIXED && i / 32 % 3 == 0) {
            x[i] *= 1e-6f;
        }
    }
    if (p == RANDOM && n > 64) {
        memset(x + 32, 0, 32 * sizeof *x); /* a block of zeros */
    }
}

/* Memory whose last byte is the last of an allocation. */
typedef struct guarded {
    void *memory;
    uint8_t *data;
} guarded;

static guarded guard(size_t bytes)
{
    guarded g = {.memory = malloc(bytes + 64)};
    assert_non_null(g.memory);
    memset(g.memory, 0xee, 64);
    g.data = (uint8_t *)g.memory + 64;
    return g;
}

/* ---- checks */

/* The sum of w x and of the magnitudes of its terms; a minimum that codes make up for counts too.
 */
static double exact(const hy_type_info *t, const uint8_t *row, const double *x, uint32_t n,
                    double *magnitude)
{
    const struct layout *l = layout_of(t->type);
    const size_t bytes = (size_t)n / t->block_elems * t->block_bytes;
    float *w = malloc(n * sizeof *w), *least = calloc(n, sizeof *least);
    uint8_t *no_codes = malloc(bytes);
    assert_true(w && least && no_codes);
    assert_int_equal(hy_dequantize(t->type, row, w, n, NULL), HY_OK);
    if (l && l->f16[1] >= 0) {
        memcpy(no_codes, row, bytes);
        for (size_t b = 0; b < n / t->block_elems; b++) {
            memset(no_codes + b * t->block_bytes + l->codes, 0, (size_t)(l->codes_end - l->codes));
        }
        assert_int_equal(hy_dequantize(t->type, no_codes, least, n, NULL), HY_OK);
    }
    double sum = 0;
    *magnitude = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)w[i] * x[i];
        *magnitude += (fabs((double)w[i]) + 2 * fabs((double)least[i])) * fabs(x[i]);
    }
    free(w);
    free(least);
    free(no_codes);
    return sum;
}

/* What the kernel gives for a row and a column, and what it should give. */
static float run_kernel(const hy__cpu_table *table, hy_type type, const uint8_t *row,
                        const float *x, uint32_t n, double *exact_x, bool *there)
{
    const int at = hy__cpu_dot_index(type);
    float got = 0;
    if (at < 0) {
        const hy__cpu_dot_f32_fn dot = table->dot_f32[hy__cpu_dot_f32_index(type)];
        *there = dot != NULL;
        got = dot ? dot(row, x, n) : 0;
        for (uint32_t i = 0; i < n; i++) {
            exact_x[i] = (double)x[i];
        }
        return got;
    }
    *there = table->dot[at] != NULL;
    if (!*there) {
        return 0;
    }
    /* Each part in memory of its own, so that its end is guarded. */
    hy_env env;
    hy__env_resolve(&env, NULL);
    void *column = hy__calloc_aligned(&env, hy__cpu_column_bytes(n), 1, NULL);
    int8_t *q = hy__calloc_aligned(&env, n, 1, NULL);
    guarded d = guard(n / 32 * sizeof(float)), s = guard(n / 32 * sizeof(float));
    hy__cpu_quantize(x, n, column);
    hy__q8 parts = hy__cpu_column(column, n);
    for (uint32_t i = 0; i < n; i++) {
        exact_x[i] = (double)parts.d[i / 32] * parts.q[i];
    }
    memcpy(q, parts.q, n);
    memcpy(d.data, parts.d, n / 32 * sizeof(float));
    memcpy(s.data, parts.s, n / 32 * sizeof(float));
    parts = (hy__q8){.q = q, .d = (const void *)d.data, .s = (const void *)s.data};
    got = table->dot[at](row, &parts, n);
    hy__free_aligned(&env, column);
    hy__free_aligned(&env, q);
    free(d.memory);
    free(s.memory);
    return got;
}

/* The largest error of a kernel as a share of the sum of magnitudes; -1: it is not there. */
static double check_type(const hy__cpu_table *table, hy_type type)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 7, 8, 12, 16, 33}; /* of the unit */
    static const uint32_t odd[] = {1, 2, 3, 5, 7, 15, 16, 17, 31, 100, 1000, 2049};
    const hy_type_info *t = hy_type_find((uint32_t)type);
    const bool in_f32 = hy__cpu_dot_index(type) < 0;
    const size_t n_counts = in_f32 ? HY_COUNT(odd) : HY_COUNT(counts);
    double worst = -1;
    for (size_t c = 0; c < n_counts; c++) {
        const uint32_t n = in_f32 ? odd[c] : counts[c] * t->block_elems;
        const size_t bytes = (size_t)n / t->block_elems * t->block_bytes;
        double *exact_x = malloc(n * sizeof *exact_x);
        for (int p = 0; p < N_PATTERNS; p++) {
            for (int column = 0; column < N_PATTERNS; column++) {
                guarded row = guard(bytes), x = guard(n * sizeof(float));
                bool there;
                double magnitude;
                fill_row(t, (pattern)p, row.data, n);
                fill_column((pattern)column, (float *)(void *)x.data, n);
                const float got =
                    run_kernel(table, type, row.data, (const void *)x.data, n, exact_x, &there);
                if (there) {
                    const double want = exact(t, row.data, exact_x, n, &magnitude);
                    const double off = fabs((double)got - want);
                    worst = fmax(worst, 0);
                    if (!(off <= BOUND * magnitude + 1e-37)) {
                        print_message("%s, n %u, row pattern %d, column pattern %d: %.9g instead "
                                      "of %.9g, sum of magnitudes %.3g\n",
                                      t->name, n, p, column, (double)got, want, magnitude);
                        worst = HUGE_VAL;
                    } else if (magnitude > 0) {
                        worst = fmax(worst, off / magnitude);
                    }
                }
                free(row.memory);
                free(x.memory);
            }
        }
        free(exact_x);
    }
    return worst;
}

static void every_kernel(void **state)
{
    (void)state;
    bool good = true;
    for (size_t level = 0; hy__cpu_level_name(level); level++) {
        if (!hy__cpu_level_here(level)) {
            print_message("%s: not on this machine\n", hy__cpu_level_name(level));
            continue;
        }
        print_message("%s:", hy__cpu_level_name(level));
        for (size_t i = 0; i < HY_COUNT(types); i++) {
            const double worst = check_type(hy__cpu_level_table(level), types[i]);
            if (worst >= 0) {
                print_message(" %s %.1e", hy_type_find((uint32_t)types[i])->name, worst);
            }
            good = good && worst <= BOUND && (level > 0 || worst >= 0);
        }
        print_message("\n");
    }
    assert_true(good);
}

/* A filled table has every kernel, and of the best level that has it. */
static void tables_have_no_gaps(void **state)
{
    (void)state;
    for (size_t level = 0; level < HY__CPU_N_LEVELS; level++) {
        hy__cpu_table filled;
        hy__cpu_fill(level, &filled);
        for (size_t i = 0; i < HY__CPU_N_DOT; i++) {
            size_t l = level;
            while (l > 0 && (!hy__cpu_level_table(l) || !hy__cpu_level_table(l)->dot[i])) {
                l--;
            }
            assert_true(filled.dot[i] == hy__cpu_level_table(l)->dot[i] && filled.dot[i]);
        }
        for (size_t i = 0; i < HY__CPU_N_DOT_F32; i++) {
            size_t l = level;
            while (l > 0 && (!hy__cpu_level_table(l) || !hy__cpu_level_table(l)->dot_f32[i])) {
                l--;
            }
            assert_true(filled.dot_f32[i] == hy__cpu_level_table(l)->dot_f32[i]);
            assert_true(filled.dot_f32[i]);
        }
    }
}

static void levels_by_name(void **state)
{
    (void)state;
    hy_error err;
    size_t best, level;
    assert_ok(hy__cpu_level_find(NULL, &best, &err), &err);
    assert_true(hy__cpu_level_here(best));
    for (size_t l = 0; l < HY__CPU_N_LEVELS; l++) {
        const hy_status status = hy__cpu_level_find(hy__cpu_level_name(l), &level, &err);
        if (hy__cpu_level_here(l)) {
            assert_ok(status, &err);
            assert_int_equal(level, l);
            assert_true(l <= best);
        } else {
            assert_fails(status, HY_E_UNSUPPORTED, &err, hy__cpu_level_name(l));
        }
    }
    assert_null(hy__cpu_level_name(HY__CPU_N_LEVELS));
    assert_fails(hy__cpu_level_find("abacus", &level, &err), HY_E_NOT_FOUND, &err,
                 "\"abacus\"; these are: avx512, avx2, plain");
}

/* Codes, scale and sum of a block; numbers that are too small, too many, or none at all. */
static void columns_in_8_bits(void **state)
{
    (void)state;
    enum { N = 100, PADDED = 128 };
    hy_env env;
    float x[N];
    hy__env_resolve(&env, NULL);
    void *column = hy__calloc_aligned(&env, hy__cpu_column_bytes(N), 1, NULL);
    assert_int_equal(hy__cpu_column_bytes(N), PADDED + 2 * 64);
    const hy__q8 q = hy__cpu_column(column, N);
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i % 5) - 1.5f;
    }
    x[7] = -254;
    x[32] = NAN;
    x[96] = -INFINITY;
    for (int i = 64; i < 96; i++) {
        x[i] = 1e-40f;
    }
    hy__cpu_quantize(x, N, column);
    int sum = 0;
    for (int i = 0; i < 32; i++) {
        assert_true(fabs((double)q.q[i] * 2 - (double)x[i]) <= 1);
        sum += q.q[i];
    }
    assert_int_equal(q.q[7], -127);
    assert_true(q.d[0] == 2.0f && q.s[0] == 2.0f * (float)sum);
    assert_true(isnan(q.d[1]) && isnan(q.s[1]) && isnan(q.d[3]));
    assert_true(q.d[2] == 0.0f && q.s[2] == 0.0f && q.q[70] == 0);
    for (int i = 0; i < N; i++) {
        x[i] = 3;
    }
    hy__cpu_quantize(x, N, column);
    assert_int_equal(q.q[N - 1], 127);
    for (int i = N; i < PADDED; i++) {
        assert_int_equal(q.q[i], 0);
    }
    assert_true(q.s[3] == q.d[3] * (127 * 4));
    hy__free_aligned(&env, column);
}

/* ---- measuring */

static void bench_kernel(const hy__cpu_table *table, const char *level, hy_type type)
{
    enum { N = 4096, ROWS = 64 }; /* in the second-level cache */
    const hy_type_info *t = hy_type_find((uint32_t)type);
    const size_t row_bytes = N / t->block_elems * t->block_bytes;
    const int at = hy__cpu_dot_index(type);
    const hy__cpu_dot_fn dot = at >= 0 ? table->dot[at] : NULL;
    const hy__cpu_dot_f32_fn dot_f32 = at < 0 ? table->dot_f32[hy__cpu_dot_f32_index(type)] : NULL;
    if (!dot && !dot_f32) {
        return;
    }
    hy_env env;
    hy__env_resolve(&env, NULL);
    uint8_t *rows = malloc(ROWS * row_bytes);
    float *x = malloc(N * sizeof *x);
    void *column = hy__calloc_aligned(&env, hy__cpu_column_bytes(N), 1, NULL);
    for (size_t r = 0; r < ROWS; r++) {
        fill_row(t, RANDOM, rows + r * row_bytes, N);
    }
    fill_column(RANDOM, x, N);
    hy__cpu_quantize(x, N, column);
    const hy__q8 q = hy__cpu_column(column, N);
    double best = 0;
    volatile float keep = 0;
    for (int repeat = 0; repeat < 7; repeat++) {
        const uint64_t begin = env.clock_ns(env.user);
        uint64_t took = 0, bytes = 0;
        while (took < 10000000) {
            for (size_t r = 0; r < ROWS; r++) {
                keep = keep + (dot ? dot(rows + r * row_bytes, &q, N)
                                   : dot_f32(rows + r * row_bytes, x, N));
            }
            bytes += ROWS * row_bytes;
            took = env.clock_ns(env.user) - begin;
        }
        best = fmax(best, (double)bytes / (double)took);
    }
    printf("%-8s %-8s %7.2f GB/s %7.2f G elements/s\n", level, t->name, best,
           best / t->block_bytes * t->block_elems);
    free(rows);
    free(x);
    hy__free_aligned(&env, column);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        for (size_t level = 0; hy__cpu_level_name(level); level++) {
            for (size_t i = 0; hy__cpu_level_here(level) && i < HY_COUNT(types); i++) {
                bench_kernel(hy__cpu_level_table(level), hy__cpu_level_name(level), types[i]);
            }
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel),
        cmocka_unit_test(tables_have_no_gaps),
        cmocka_unit_test(levels_by_name),
        cmocka_unit_test(columns_in_8_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
