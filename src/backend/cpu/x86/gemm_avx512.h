/* gemm_avx512.h: expanded panels times tiles of up to 12 columns with AVX-512, for packed_avx512.c.
 *
 * A column needs a register for integer sums and one for floats: 24 of 32.  Each vector of weights
 * serves all columns.  There is a function for each number of columns, made from a list of them, so
 * that sums are variables and not an array, which a compiler might leave in memory.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_X86_GEMM_AVX512_H
#define HY_BACKEND_CPU_X86_GEMM_AVX512_H

#include "backend/cpu/packed.h"
#include "backend/cpu/x86/rows_avx512.h"

/* clang-format off */
#define COLS_1(X) X(0)
#define COLS_2(X) COLS_1(X) X(1)
#define COLS_3(X) COLS_2(X) X(2)
#define COLS_4(X) COLS_3(X) X(3)
#define COLS_5(X) COLS_4(X) X(4)
#define COLS_6(X) COLS_5(X) X(5)
#define COLS_7(X) COLS_6(X) X(6)
#define COLS_8(X) COLS_7(X) X(7)
#define COLS_9(X) COLS_8(X) X(8)
#define COLS_10(X) COLS_9(X) X(9)
#define COLS_11(X) COLS_10(X) X(10)
#define COLS_12(X) COLS_11(X) X(11)
/* clang-format on */

/* ---- codes */

typedef void (*gemm_cols_fn)(const hy__panel *w, const hy__q8_tile *x, uint32_t n, float *y,
                             size_t stride, bool more);

#define BEGIN(t) __m512 sum##t = more ? _mm512_loadu_ps(y + (t)*stride) : _mm512_setzero_ps();
#define ZERO(t) __m512i dot##t = _mm512_setzero_si512();
#define DOT(t) dot##t = _mm512_dpbusd_epi32(dot##t, codes, four(q + 4 * (t)));
#define SCALE(t)                                                                                   \
    sum##t = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot##t), va), _mm512_set1_ps(d[t]),  \
                             sum##t);                                                              \
    sum##t = _mm512_fnmadd_ps(vc, _mm512_set1_ps(s[t]), sum##t);
#define END(t) _mm512_storeu_ps(y + (t)*stride, sum##t);

#define GEMM(block, cols)                                                                          \
    static void gemm##block##_##cols(const hy__panel *w, const hy__q8_tile *x, uint32_t n,         \
                                     float *y, size_t stride, bool more)                           \
    {                                                                                              \
        const uint8_t *u = w->u;                                                                   \
        const int8_t *q = x->q;                                                                    \
        const float *s = (block) == 16 ? x->s16 : x->s;                                            \
        COLS_##cols(BEGIN) for (uint32_t k = 0; k < n; k += (block), s += HY__TILE_COLS)           \
        {                                                                                          \
            const float *d = x->d + (size_t)k / 32 * HY__TILE_COLS;                                \
            COLS_##cols(ZERO) for (int i = 0; i < (block) / 4;                                     \
                                   i++, u += 64, q += 4 * HY__TILE_COLS)                           \
            {                                                                                      \
                const __m512i codes = load(u);                                                     \
                COLS_##cols(DOT)                                                                   \
            }                                                                                      \
            const __m512 va = _mm512_loadu_ps(w->a + (size_t)k / (block)*16);                      \
            const __m512 vc = _mm512_loadu_ps(w->c + (size_t)k / (block)*16);                      \
            COLS_##cols(SCALE)                                                                     \
        }                                                                                          \
        COLS_##cols(END)                                                                           \
    }

#define EACH_COLS(X, block)                                                                        \
    X(block, 1)                                                                                    \
    X(block, 2)                                                                                    \
    X(block, 3)                                                                                    \
    X(block, 4)                                                                                    \
    X(block, 5)                                                                                    \
    X(block, 6)                                                                                    \
    X(block, 7)                                                                                    \
    X(block, 8)                                                                                    \
    X(block, 9)                                                                                    \
    X(block, 10)                                                                                   \
    X(block, 11)                                                                                   \
    X(block, 12)
#define ENTRY(block, cols) gemm##block##_##cols,

EACH_COLS(GEMM, 16)
EACH_COLS(GEMM, 32)

static void gemm16(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                   size_t stride, bool more)
{
    static const gemm_cols_fn of_cols[HY__TILE_COLS] = {EACH_COLS(ENTRY, 16)};
    of_cols[cols - 1](w, x, n, y, stride, more);
}

static void gemm32(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                   size_t stride, bool more)
{
    static const gemm_cols_fn of_cols[HY__TILE_COLS] = {EACH_COLS(ENTRY, 32)};
    of_cols[cols - 1](w, x, n, y, stride, more);
}

#undef BEGIN
#undef ZERO
#undef DOT
#undef SCALE
#undef END
#undef GEMM

/* ---- floats: block is "_f32" */

typedef void (*gemm_f32_cols_fn)(const float *w, const float *x, uint32_t n, float *sums);

#define BEGIN(t)                                                                                   \
    __m512 even##t = _mm512_loadu_ps(sums + 32 * (t));                                             \
    __m512 odd##t = _mm512_loadu_ps(sums + 32 * (t) + 16);
#define EVEN(t) even##t = _mm512_fmadd_ps(weights, _mm512_set1_ps(x[t]), even##t);
#define ODD(t) odd##t = _mm512_fmadd_ps(next, _mm512_set1_ps(x[HY__TILE_COLS + (t)]), odd##t);
#define END(t)                                                                                     \
    _mm512_storeu_ps(sums + 32 * (t), even##t);                                                    \
    _mm512_storeu_ps(sums + 32 * (t) + 16, odd##t);

#define GEMM_F32(block, cols)                                                                      \
    static void gemm##block##_##cols(const float *w, const float *x, uint32_t n, float *sums)      \
    {                                                                                              \
        COLS_##cols(BEGIN) for (uint32_t k = n; k >= 2;                                            \
                                k -= 2, w += 32, x += (size_t)2 * HY__TILE_COLS)                   \
        {                                                                                          \
            __m512 weights = _mm512_loadu_ps(w), next = _mm512_loadu_ps(w + 16);                   \
            HY_KEEP(weights);                                                                      \
            HY_KEEP(next);                                                                         \
            COLS_##cols(EVEN) COLS_##cols(ODD)                                                     \
        }                                                                                          \
        if (n % 2 != 0) {                                                                          \
            const __m512 weights = _mm512_loadu_ps(w);                                             \
            COLS_##cols(EVEN)                                                                      \
        }                                                                                          \
        COLS_##cols(END)                                                                           \
    }

EACH_COLS(GEMM_F32, _f32)

static void gemm_f32(const float *w, const float *x, uint32_t n, uint32_t cols, float *sums)
{
    static const gemm_f32_cols_fn of_cols[HY__TILE_COLS] = {EACH_COLS(ENTRY, _f32)};
    of_cols[cols - 1](w, x, n, sums);
}

#undef BEGIN
#undef EVEN
#undef ODD
#undef END
#undef GEMM_F32
#undef EACH_COLS
#undef ENTRY

#endif
