/* test_avxvnni.c: the source of the level with AVX-VNNI, built with the form of its product that
 * AVX-512 machines have, against the level with AVX2.  Machines with neither skip it. */
#include <string.h>

#include "backend/cpu/packed.h"
#include "support/support.h"

extern const hy__packed_table hy__packed_avxvnni_evex;

enum { N = 768, ROWS = HY__PANEL_ROWS, COLS = HY__TILE_COLS, STRIDE = 24 };

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* Between -1 and 1. */
static float random_f32(void)
{
    return (float)(random_u32() >> 8) * 0x1p-23f - 1.0f;
}

/* Memory that every test here needs; columns one after the other. */
static struct memory {
    _Alignas(64) uint8_t u[ROWS * N];
    _Alignas(64) float a[N], c[N], x[COLS * N];
    _Alignas(64) uint8_t column[16 * N], tile[16 * COLS * N];
} m;

static bool machine_has_it(void)
{
    return (hy__cpu_features() & HY__CPU_AVX512_VNNI) != 0;
}

static hy__panel fill_activations(void)
{
    for (size_t i = 0; i < HY_COUNT(m.x); i++) {
        m.x[i] = random_f32();
    }
    hy__packed_avx2.quantize(m.x, N, m.column);
    hy__packed_avx2.quantize_tile(m.x, N, N, COLS, m.tile);
    return (hy__panel){m.u, m.a, m.c};
}

/* Tiles of every width, in one piece and continued. */
static void check_gemm(const hy__panel *w, uint32_t block)
{
    const bool half = block == 16;
    const hy__gemm_fn fn = half ? hy__packed_avxvnni_evex.gemm16 : hy__packed_avxvnni_evex.gemm32;
    const hy__gemm_fn other = half ? hy__packed_avx2.gemm16 : hy__packed_avx2.gemm32;
    const hy__q8_tile x = hy__q8_at(m.tile, N, COLS), rest = hy__q8_from(x, 256, COLS);
    const hy__panel w_rest = {w->u + 256 * ROWS, w->a + 256 / block * ROWS,
                              w->c + 256 / block * ROWS};
    for (uint32_t cols = 1; cols <= COLS; cols++) {
        float y[COLS * STRIDE] = {0}, expected[COLS * STRIDE] = {0};
        other(w, &x, N, cols, expected, STRIDE, false);
        fn(w, &x, N, cols, y, STRIDE, false);
        assert_memory_equal(y, expected, sizeof y);
        memset(y, 0, sizeof y);
        fn(w, &x, 256, cols, y, STRIDE, false);
        fn(&w_rest, &rest, N - 256, cols, y, STRIDE, true);
        assert_memory_equal(y, expected, sizeof y);
    }
}

static void check_type(hy_type type, int index, uint32_t block)
{
    const hy_type_info *t = hy_type_find((uint32_t)type);
    static uint8_t rows[ROWS * N * 2], panel[ROWS * N * 2];
    const size_t row_bytes = (size_t)N / t->block_elems * t->block_bytes;
    hy_error err;
    float y[ROWS], expected[ROWS];
    const hy__panel w = fill_activations();
    assert_ok(hy_quantize(type, m.x, rows, COLS * (size_t)N, &err), &err);
    hy__pack_panel(type, rows, row_bytes, COLS, N, panel);
    const hy__q8 x = hy__q8_at(m.column, N, 1);
    hy__packed_avx2.gemv[index](panel, &x, N, expected);
    hy__packed_avxvnni_evex.gemv[index](panel, &x, N, y);
    assert_memory_equal(y, expected, sizeof y);
    hy__packed_avx2.expand[index](panel, N, &w);
    check_gemm(&w, block);
}

static void test_types(void **state)
{
    (void)state;
    if (!machine_has_it()) {
        skip();
    }
#define CHECK(type, block) check_type(HY_TYPE_##type, HY__PACKED_##type, block);
    HY__PACKED_TYPES(CHECK)
#undef CHECK
}

/* Codes that no type has: any of 0 to `top`. */
static void test_codes(void **state)
{
    (void)state;
    if (!machine_has_it()) {
        skip();
    }
    static const uint32_t tops[] = {15, 63, 64, 127, 255};
    for (size_t t = 0; t < HY_COUNT(tops); t++) {
        const hy__panel w = fill_activations();
        for (size_t i = 0; i < N; i++) {
            m.a[i] = random_f32();
            m.c[i] = random_f32();
        }
        for (size_t i = 0; i < HY_COUNT(m.u); i++) {
            /* many of the largest */
            m.u[i] = (uint8_t)(random_u32() % 2 == 0 ? tops[t] : random_u32() % (tops[t] + 1));
        }
        check_gemm(&w, 16);
        check_gemm(&w, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types), cmocka_unit_test(test_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
