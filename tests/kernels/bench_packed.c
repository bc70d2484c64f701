/* bench_packed.c: what the kernels of matrices cost (test_packed --bench).
 *
 * The best of several passes with one thread.  gemv and expand read 48 MiB of packed panels, more
 * than most caches hold, and the rate is that of these bytes.  The products of many columns work on
 * an expanded panel that stays in the cache, as in the backend, and the rate is that of
 * multiplications with their additions.  Quantizing is measured in bytes of f32 read, from the
 * nearest caches.  One thread. */
#include "backend/cpu/levels.h"
#include "kernels/bench.h"
#include "support/support.h"

enum { N = 1024, ROWS = HY__PANEL_ROWS, COLS = HY__TILE_COLS, ALL_BYTES = 48 << 20 };

static struct data {
    uint8_t *panels;
    _Alignas(64) uint8_t u[N * ROWS];
    _Alignas(64) float a[N], c[N], w[N * ROWS], x[N * COLS], y[COLS * 2 * ROWS];
    _Alignas(64) uint8_t column[4 * N], tile[4 * N * COLS];
} m;

typedef struct task {
    const hy__packed_table *t;
    size_t index;
    size_t panel_bytes; /* of a panel of N columns */
} task;
/* One pass over what is measured; returns how much of it that was. */
typedef double (*pass_fn)(const task *k);

static void report(const char *what, const char *type, const char *level, const char *unit,
                   pass_fn pass, const task *k)
{
    enum { PASSES = 7, LONG_NS = 200000000 }; /* slow ones are measured less often */
    hy_env env;
    hy__os_env(&env);
    const uint64_t start = env.clock_ns(env.user);
    double most = 0;
    for (uint64_t i = 0, begin = start; i < PASSES && begin - start < LONG_NS; i++) {
        const double amount = pass(k);
        const uint64_t end = env.clock_ns(env.user);
        most = HY_MAX(most, amount / (double)(end - begin));
        begin = end;
    }
    printf("%-14s %-7s %-8s %9.2f %s\n", what, type, level, most, unit);
}

/* Runs `call` for panel after panel. */
#define OVER_PANELS(call)                                                                          \
    size_t at = 0;                                                                                 \
    for (; at + k->panel_bytes <= ALL_BYTES; at += k->panel_bytes) {                               \
        const uint8_t *panel = m.panels + at;                                                      \
        call;                                                                                      \
    }                                                                                              \
    return (double)at

static double pass_gemv(const task *k)
{
    const hy__q8 x = hy__q8_at(m.column, N, 1);
    OVER_PANELS(k->t->gemv[k->index](panel, &x, N, m.y));
}

static double pass_expand(const task *k)
{
    const hy__panel out = {m.u, m.a, m.c};
    OVER_PANELS(k->t->expand[k->index](panel, N, &out));
}

static double pass_gemv_f32(const task *k)
{
    OVER_PANELS(k->t->gemv_f32[k->index](panel, m.x, N, m.y));
}

static double pass_expand_f32(const task *k)
{
    OVER_PANELS(k->t->expand_f32[k->index](panel, N, m.w));
}

enum { TIMES = 100 };

static double pass_gemm(const task *k)
{
    const hy__panel w = {m.u, m.a, m.c};
    const hy__q8_tile x = hy__q8_at(m.tile, N, COLS);
    for (int i = 0; i < TIMES; i++) {
        (k->index == 16 ? k->t->gemm16 : k->t->gemm32)(&w, &x, N, COLS, m.y, ROWS, false);
    }
    return (double)TIMES * N * ROWS * COLS;
}

static double pass_gemm_f32(const task *k)
{
    for (int i = 0; i < TIMES; i++) {
        k->t->gemm_f32(m.w, m.x, N, COLS, m.y);
    }
    return (double)TIMES * N * ROWS * COLS;
}

static double pass_quantize(const task *k)
{
    for (int i = 0; i < TIMES; i++) {
        k->t->quantize(m.x, N, m.column);
    }
    return (double)TIMES * N * sizeof(float);
}

static double pass_quantize_tile(const task *k)
{
    for (int i = 0; i < TIMES; i++) {
        k->t->quantize_tile(m.x, N, N, COLS, m.tile);
    }
    return (double)TIMES * N * COLS * sizeof(float);
}

static void bench_type(const hy__packed_table *t, const char *level, hy_type type)
{
    const hy_type_info *info = hy_type_find((uint32_t)type);
    const size_t bytes = (size_t)N / info->block_elems * info->block_bytes * ROWS;
    if (hy__packed_index(type) >= 0) {
        const task k = {t, (size_t)hy__packed_index(type), bytes};
        report("gemv", info->name, level, "GB/s", pass_gemv, &k);
        report("expand", info->name, level, "GB/s", pass_expand, &k);
        return;
    }
    const task k = {t, (size_t)hy__packed_f32_index(type), bytes};
    report("gemv", info->name, level, "GB/s", pass_gemv_f32, &k);
    if (t->expand_f32[k.index]) {
        report("expand", info->name, level, "GB/s", pass_expand_f32, &k);
    }
}

static void bench_level(const hy__packed_table *t, const char *level)
{
    for (size_t i = 0; i < HY_COUNT(m.x); i++) {
        m.x[i] = (float)(i % 101) / 50 - 1;
    }
    const task half = {t, 16, 0}, whole = {t, 32, 0};
    report("quantize", "", level, "GB/s", pass_quantize, &whole);
    report("quantize_tile", "", level, "GB/s", pass_quantize_tile, &whole);
    report("gemm16", "", level, "GMAC/s", pass_gemm, &half);
    report("gemm32", "", level, "GMAC/s", pass_gemm, &whole);
    memset(m.y, 0, sizeof m.y);
    report("gemm_f32", "", level, "GMAC/s", pass_gemm_f32, &whole);
#define TYPE(type, block) bench_type(t, level, HY_TYPE_##type);
    HY__PACKED_TYPES(TYPE)
    HY__PACKED_F32_TYPES(TYPE)
#undef TYPE
}

void bench_packed(void)
{
    m.panels = malloc(ALL_BYTES);
    assert_non_null(m.panels);
    memset(m.panels, 0x11, ALL_BYTES); /* normal numbers in every format */
    for (size_t level = 0; hy__level_name(level); level++) {
        if (hy__level_here(level)) {
            hy__packed_table t;
            hy__level_packed(level, &t);
            bench_level(&t, hy__level_name(level));
        }
    }
    free(m.panels);
}
