/* gemm_avx2.h: expanded panels times tiles of up to 12 columns with AVX2, for packed_avx2.c; and
 * the product steps that it shares with the kernels there.
 *
 * A tile is taken in groups of columns whose integer sums fit the registers.  There is a function
 * for each number of columns, made from a list of them, so that sums are variables and not an
 * array, which a compiler might leave in memory.  vpmaddubsw adds products in 16 bits: how many
 * more of these sums fit depends on how large codes are, so a panel is looked through first.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_X86_GEMM_AVX2_H
#define HY_BACKEND_CPU_X86_GEMM_AVX2_H

#include <immintrin.h>

#include "backend/cpu/packed.h"
#include "halyard/compiler.h"

/* The instruction for 4 products and their sum, where the flags allow it.  The second form is that
 * of AVX-512: what tests of this source use on machines that have only that one. */
#if defined(__AVXVNNI__)
#define DPBUSD _mm256_dpbusd_avx_epi32
#elif defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define DPBUSD _mm256_dpbusd_epi32
#endif

/* 16 rows of a panel: 4 codes each, or one number each; rows 0 to 7 in a. */
typedef struct rows {
    __m256i a, b;
} rows;
typedef struct floats {
    __m256 a, b;
} floats;

static HY_INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static HY_INLINE __m128i load_128(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static HY_INLINE __m128i load_64(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

static HY_INLINE rows load_rows(const uint8_t *p)
{
    return (rows){load(p), load(p + 32)};
}

static HY_INLINE void store_256(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

static HY_INLINE void store_rows(uint8_t *p, rows v)
{
    store_256(p, v.a);
    store_256(p + 32, v.b);
}

static HY_INLINE void store_floats(float *p, floats v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}

static HY_INLINE __m256i and_bytes(__m256i v, int mask)
{
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}

/* The same 4 activations for each row. */
static HY_INLINE __m256i four(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm256_set1_epi32(v);
}

/* 32-bit sums of neighbours of 16 bits. */
static HY_INLINE __m256i pairs(__m256i v)
{
    return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

static HY_INLINE __m256i low_half(__m256i v)
{
    return and_bytes(v, 0x0f);
}

static HY_INLINE __m256i high_half(__m256i v)
{
    return and_bytes(_mm256_srli_epi16(v, 4), 0x0f);
}

#ifndef DPBUSD
/* 16-bit sums of the products of codes, and of 16 for the high halves of codes, to 32 bits. */
static HY_INLINE __m256i join_halves(__m256i low, __m256i high)
{
    return _mm256_add_epi32(pairs(low), _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
}

static HY_INLINE void add_dot_2(__m256i *sum, __m256i codes, __m256i x)
{
    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(codes, x));
    HY_KEEP(*sum);
}
#endif

/* A block's products to the sum of its row, as the contract has it. */
static HY_INLINE __m256 scaled(__m256i dot, __m256 a, __m256 c, __m256 d, __m256 s, __m256 sum)
{
    sum = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(dot), a), d, sum);
    return _mm256_fnmadd_ps(c, s, sum);
}

/* clang-format off */
#define COLS_1(X) X(0)
#define COLS_2(X) COLS_1(X) X(1)
#define COLS_3(X) COLS_2(X) X(2)
#define COLS_4(X) COLS_3(X) X(3)
#define COLS_5(X) COLS_4(X) X(4)
#define COLS_6(X) COLS_5(X) X(5)
/* clang-format on */

/* ---- codes: kernels of a group of columns, which are those from x on */

typedef void (*gemm_cols_fn)(const hy__panel *w, const hy__q8_tile *x, uint32_t n, float *y,
                             size_t stride, bool more);

/* Of column t: the sums of the rows (p0, p1), the products of a block (i0, i1).  First for 16 rows,
 * then for 8. */
#define BEGIN_16(t)                                                                                \
    __m256 p0##t = more ? _mm256_loadu_ps(y + (t)*stride) : _mm256_setzero_ps();                   \
    __m256 p1##t = more ? _mm256_loadu_ps(y + (t)*stride + 8) : _mm256_setzero_ps();
#define BEGIN_8(t) __m256 p0##t = more ? _mm256_loadu_ps(y + (t)*stride) : _mm256_setzero_ps();
#define ZERO(t) __m256i i0##t = _mm256_setzero_si256(), i1##t = _mm256_setzero_si256();
#define FACTORS_16                                                                                 \
    const __m256 a0 = _mm256_loadu_ps(a), a1 = _mm256_loadu_ps(a + 8);                             \
    const __m256 c0 = _mm256_loadu_ps(c), c1 = _mm256_loadu_ps(c + 8);
#define FACTORS_8 const __m256 a0 = _mm256_loadu_ps(a), c0 = _mm256_loadu_ps(c);
#define SCALE_16(t)                                                                                \
    {                                                                                              \
        const __m256 vd = _mm256_set1_ps(d[t]), vs = _mm256_set1_ps(s[t]);                         \
        p0##t = scaled(i0##t, a0, c0, vd, vs, p0##t);                                              \
        p1##t = scaled(i1##t, a1, c1, vd, vs, p1##t);                                              \
    }
#define SCALE_8(t) p0##t = scaled(i0##t, a0, c0, _mm256_set1_ps(d[t]), _mm256_set1_ps(s[t]), p0##t);
#define END_16(t)                                                                                  \
    _mm256_storeu_ps(y + (t)*stride, p0##t);                                                       \
    _mm256_storeu_ps(y + (t)*stride + 8, p1##t);
#define END_8(t) _mm256_storeu_ps(y + (t)*stride, p0##t);

/* One step is `by` times 4 elements at u and q: CODES of the rows, DOT for each column.  WIDEN for
 * each column ends a block. */
#define GEMM(kind, block, cols, by, rows, CODES, DOT, WIDEN)                                       \
    static void gemm_##kind##_##block##_##cols(const hy__panel *w, const hy__q8_tile *x,           \
                                               uint32_t n, float *y, size_t stride, bool more)     \
    {                                                                                              \
        const uint8_t *u = w->u;                                                                   \
        const int8_t *q = x->q;                                                                    \
        const float *a = w->a, *c = w->c, *s = (block) == 16 ? x->s16 : x->s;                      \
        COLS_##cols(BEGIN_##rows) for (uint32_t k = 0; k < n; k += (block))                        \
        {                                                                                          \
            const float *d = x->d + (size_t)k / 32 * HY__TILE_COLS;                                \
            COLS_##cols(ZERO) for (int i = 0; i < (block) / 4; i += (by))                          \
            {                                                                                      \
                CODES COLS_##cols(DOT) u += 64 * (by), q += 4 * HY__TILE_COLS * (by);              \
            }                                                                                      \
            COLS_##cols(WIDEN) FACTORS_##rows COLS_##cols(SCALE_##rows) a += HY__PANEL_ROWS,       \
                c += HY__PANEL_ROWS, s += HY__TILE_COLS;                                           \
        }                                                                                          \
        COLS_##cols(END_##rows)                                                                    \
    }

#define CODES_16 const __m256i u0 = load(u), u1 = load(u + 32);

#ifdef DPBUSD

#define DOT_ANY(t)                                                                                 \
    {                                                                                              \
        const __m256i v = four(q + 4 * (t));                                                       \
        i0##t = DPBUSD(i0##t, u0, v);                                                              \
        HY_KEEP(i0##t);                                                                            \
        i1##t = DPBUSD(i1##t, u1, v);                                                              \
        HY_KEEP(i1##t);                                                                            \
    }
#define NOTHING(t)
#define GEMM_ANY(block, cols) GEMM(any, block, cols, 1, 16, CODES_16, DOT_ANY, NOTHING)

#else

/* Codes up to 15: 8 sums of two products fit 16 bits. */
#define DOT_15(t)                                                                                  \
    {                                                                                              \
        const __m256i v = four(q + 4 * (t));                                                       \
        add_dot_2(&i0##t, u0, v);                                                                  \
        add_dot_2(&i1##t, u1, v);                                                                  \
    }
#define PAIRS(t) i0##t = pairs(i0##t), i1##t = pairs(i1##t);
#define GEMM_15(block, cols) GEMM(15, block, cols, 1, 16, CODES_16, DOT_15, PAIRS)

/* Codes up to 63: two of these sums. */
#define CODES_63                                                                                   \
    const __m256i u0 = load(u), u1 = load(u + 32), v0 = load(u + 64), v1 = load(u + 96);
#define DOT_63(t)                                                                                  \
    {                                                                                              \
        const __m256i xu = four(q + 4 * (t)), xv = four(q + 4 * HY__TILE_COLS + 4 * (t));          \
        __m256i h0 = _mm256_maddubs_epi16(u0, xu), h1 = _mm256_maddubs_epi16(u1, xu);              \
        h0 = _mm256_add_epi16(h0, _mm256_maddubs_epi16(v0, xv));                                   \
        h1 = _mm256_add_epi16(h1, _mm256_maddubs_epi16(v1, xv));                                   \
        i0##t = _mm256_add_epi32(i0##t, pairs(h0));                                                \
        HY_KEEP(i0##t);                                                                            \
        i1##t = _mm256_add_epi32(i1##t, pairs(h1));                                                \
        HY_KEEP(i1##t);                                                                            \
    }
#define NOTHING(t)
#define GEMM_63(block, cols) GEMM(63, block, cols, 2, 16, CODES_63, DOT_63, NOTHING)

/* Any codes: 8 rows, their low (i0) and high halves (i1) apart. */
#define CODES_8 const __m256i codes = load(u), u0 = low_half(codes), u1 = high_half(codes);
#define JOIN(t) i0##t = join_halves(i0##t, i1##t);
#define GEMM_ANY(block, cols) GEMM(any, block, cols, 1, 8, CODES_8, DOT_15, JOIN)

#endif

#define GROUP_4(X, block) X(block, 1) X(block, 2) X(block, 3) X(block, 4)
#define GROUP_6(X, block) GROUP_4(X, block) X(block, 5) X(block, 6)

/* Columns in groups of about the same number, at most `most`. */
static HY_INLINE void gemm_groups(const gemm_cols_fn *of_cols, uint32_t most, const hy__panel *w,
                                  const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                                  size_t stride, bool more)
{
    const uint32_t groups = (cols + most - 1) / most;
    for (uint32_t g = 0, t = 0; g < groups; g++) {
        const uint32_t count = (cols - t) / (groups - g);
        const hy__q8_tile from = {x->q + (size_t)4 * t, x->d + t, x->s + t, x->s16 + t, x->sum + t};
        of_cols[count - 1](w, &from, n, y + t * stride, stride, more);
        t += count;
    }
}

#define ENTRY_ANY(block, cols) gemm_any_##block##_##cols,

#ifdef DPBUSD

#define GEMM_OF(block)                                                                             \
    GROUP_6(GEMM_ANY, block)                                                                       \
    static void gemm##block(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols,   \
                            float *y, size_t stride, bool more)                                    \
    {                                                                                              \
        static const gemm_cols_fn any[] = {GROUP_6(ENTRY_ANY, block)};                             \
        gemm_groups(any, 6, w, x, n, cols, y, stride, more);                                       \
    }

#else

/* A number at least as large as every code, below the next power of two: all their bits. */
static uint32_t bits_of_codes(const uint8_t *u, uint32_t n)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    for (uint32_t k = 0; k < n; k += 4, u += 64) {
        a = _mm256_or_si256(a, load(u));
        b = _mm256_or_si256(b, load(u + 32));
    }
    a = _mm256_or_si256(a, b);
    __m128i v = _mm_or_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    v = _mm_or_si128(v, _mm_srli_si128(v, 8));
    v = _mm_or_si128(v, _mm_srli_si128(v, 4));
    const uint32_t bits = (uint32_t)_mm_cvtsi128_si32(v);
    return (bits | bits >> 8 | bits >> 16 | bits >> 24) & 255;
}

#define ENTRY_15(block, cols) gemm_15_##block##_##cols,
#define ENTRY_63(block, cols) gemm_63_##block##_##cols,
#define GEMM_OF(block)                                                                             \
    GROUP_6(GEMM_15, block)                                                                        \
    GROUP_4(GEMM_63, block)                                                                        \
    GROUP_6(GEMM_ANY, block)                                                                       \
    static void gemm##block(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols,   \
                            float *y, size_t stride, bool more)                                    \
    {                                                                                              \
        static const gemm_cols_fn to_15[] = {GROUP_6(ENTRY_15, block)};                            \
        static const gemm_cols_fn to_63[] = {GROUP_4(ENTRY_63, block)};                            \
        static const gemm_cols_fn any[] = {GROUP_6(ENTRY_ANY, block)};                             \
        const uint32_t bits = bits_of_codes(w->u, n);                                              \
        if (bits <= 15) {                                                                          \
            gemm_groups(to_15, 6, w, x, n, cols, y, stride, more);                                 \
        } else if (bits <= 63) {                                                                   \
            gemm_groups(to_63, 4, w, x, n, cols, y, stride, more);                                 \
        } else {                                                                                   \
            const hy__panel second = {w->u + 32, w->a + 8, w->c + 8};                              \
            gemm_groups(any, 6, w, x, n, cols, y, stride, more);                                   \
            gemm_groups(any, 6, &second, x, n, cols, y + 8, stride, more);                         \
        }                                                                                          \
    }

#endif

GEMM_OF(16)
GEMM_OF(32)

/* ---- floats: the same columns, first those at even places of the row, then those at odd ones */

#ifndef DPBUSD

typedef void (*gemm_f32_cols_fn)(const float *w, const float *x, uint32_t steps, float *sums);

#define BEGIN_F32(t)                                                                               \
    __m256 p0##t = _mm256_loadu_ps(sums + 32 * (t)), p1##t = _mm256_loadu_ps(sums + 32 * (t) + 8);
#define FMA_F32(t)                                                                                 \
    {                                                                                              \
        const __m256 v = _mm256_set1_ps(x[t]);                                                     \
        p0##t = _mm256_fmadd_ps(w0, v, p0##t);                                                     \
        p1##t = _mm256_fmadd_ps(w1, v, p1##t);                                                     \
    }
#define END_F32(t)                                                                                 \
    _mm256_storeu_ps(sums + 32 * (t), p0##t);                                                      \
    _mm256_storeu_ps(sums + 32 * (t) + 8, p1##t);

/* Every second element. */
#define GEMM_F32(block, cols)                                                                      \
    static void gemm_f32_##cols(const float *w, const float *x, uint32_t steps, float *sums)       \
    {                                                                                              \
        COLS_##cols(BEGIN_F32) for (; steps > 0; steps--, w += 32, x += 2 * HY__TILE_COLS)         \
        {                                                                                          \
            const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);                     \
            COLS_##cols(FMA_F32)                                                                   \
        }                                                                                          \
        COLS_##cols(END_F32)                                                                       \
    }
#define ENTRY_F32(block, cols) gemm_f32_##cols,

GROUP_6(GEMM_F32, 0)

/* Few columns: both kinds of elements in one pass, for additions of one kind alone would wait for
 * each other. */
#define BEGIN_PAIR(t)                                                                              \
    BEGIN_F32(t)                                                                                   \
    __m256 q0##t = _mm256_loadu_ps(sums + 32 * (t) + 16),                                          \
           q1##t = _mm256_loadu_ps(sums + 32 * (t) + 24);
#define FMA_ODD(t)                                                                                 \
    {                                                                                              \
        const __m256 v = _mm256_set1_ps(x[HY__TILE_COLS + (t)]);                                   \
        q0##t = _mm256_fmadd_ps(w2, v, q0##t);                                                     \
        q1##t = _mm256_fmadd_ps(w3, v, q1##t);                                                     \
    }
#define END_PAIR(t)                                                                                \
    END_F32(t)                                                                                     \
    _mm256_storeu_ps(sums + 32 * (t) + 16, q0##t);                                                 \
    _mm256_storeu_ps(sums + 32 * (t) + 24, q1##t);
#define GEMM_PAIR(block, cols)                                                                     \
    static void gemm_pair_##cols(const float *w, const float *x, uint32_t n, float *sums)          \
    {                                                                                              \
        COLS_##cols(BEGIN_PAIR) for (; n >= 2; n -= 2, w += 32, x += 2 * HY__TILE_COLS)            \
        {                                                                                          \
            const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);                     \
            COLS_##cols(FMA_F32) const __m256 w2 = _mm256_loadu_ps(w + 16),                        \
                                              w3 = _mm256_loadu_ps(w + 24);                        \
            COLS_##cols(FMA_ODD)                                                                   \
        }                                                                                          \
        if (n > 0) {                                                                               \
            const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);                     \
            COLS_##cols(FMA_F32)                                                                   \
        }                                                                                          \
        COLS_##cols(END_PAIR)                                                                      \
    }
#define ENTRY_PAIR(block, cols) gemm_pair_##cols,
#define GROUP_3(X, block) X(block, 1) X(block, 2) X(block, 3)

GROUP_3(GEMM_PAIR, 0)

/* Parts of so many elements that their weights stay in the first level of cache. */
static void gemm_f32(const float *w, const float *x, uint32_t n, uint32_t cols, float *sums)
{
    enum { PART = 256, MOST = 6 };
    static const gemm_f32_cols_fn pairs_of_cols[] = {GROUP_3(ENTRY_PAIR, 0)};
    static const gemm_f32_cols_fn of_cols[] = {GROUP_6(ENTRY_F32, 0)};
    if (cols <= HY_COUNT(pairs_of_cols)) {
        pairs_of_cols[cols - 1](w, x, n, sums);
        return;
    }
    for (uint32_t k = 0; k < n; k += PART) {
        const uint32_t part = HY_MIN((uint32_t)PART, n - k);
        for (uint32_t t = 0; t < cols; t += MOST) {
            const gemm_f32_cols_fn fn = of_cols[HY_MIN((uint32_t)MOST, cols - t) - 1];
            const float *wk = w + (size_t)16 * k, *xk = x + (size_t)HY__TILE_COLS * k + t;
            fn(wk, xk, (part + 1) / 2, sums + (size_t)32 * t);
            fn(wk + 16, xk + HY__TILE_COLS, part / 2, sums + (size_t)32 * t + 16);
        }
    }
}

#endif

#endif
