/* columns_avx2.c: products of panels of columns with AVX2 and FMA.
 *
 * Bytes of four columns are interleaved to vectors of 8 rows times 4 codes.  A panel has 16 of
 * them: half of its bytes, 8 vectors, are done for all columns of a block before the other half.
 * Products of pairs are added in 16 bits, which 6 bits times 8 cannot fill; types of wider codes
 * have no kernel here.
 *
 * No state; any thread may call these. */
#include "backend/cpu/x86/columns_x86.h"

enum { GROUPS = HY__COLUMNS_PANELS, QUARTER = GROUPS / 2, VECTORS = 2 * GROUPS };

/* ---- pieces */

static HY_INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static HY_INLINE __m256i bytes_and(__m256i v, int mask)
{
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}

static HY_INLINE __m256 f16_rows(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static HY_INLINE __m256 u8_rows(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static HY_INLINE __m256 s8_rows(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static HY_INLINE __m256 negative(__m256 v)
{
    return _mm256_xor_ps(v, _mm256_set1_ps(-0.0f));
}

/* ---- codes */

/* Positions 64 half + 32 part and further of a column. */
static HY_INLINE __m256i quarter_column(shape t, columns at, size_t col, uint32_t half,
                                        uint32_t part)
{
    __m256i v = load(at.low + columns_bytes(t) * col + (size_t)32 * part);
    v = bytes_and(half == 0 ? v : _mm256_srli_epi16(v, 4), 0x0f);
    if (t.more_bits == 1) {
        int32_t bits;
        memcpy(&bits, at.high + 16 * col + (size_t)8 * half + (size_t)4 * part, sizeof bits);
        const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2,
                                              2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
        const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
        const __m256i set =
            _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte), bit);
        v = _mm256_or_si256(v, bytes_and(_mm256_cmpeq_epi8(set, bit), 16));
    } else if (t.more_bits == 2) {
        const __m256i bits = load(at.high + 32 * col);
        const uint32_t from = 2 * (2 * half + part); /* to bits 4 and 5 */
        const __m256i moved =
            from <= 4 ? _mm256_slli_epi16(bits, 4 - from) : _mm256_srli_epi16(bits, from - 4);
        v = _mm256_or_si256(v, bytes_and(moved, 0x30));
    }
    return v;
}

/* Quarter columns a, b, c, d: vector i has rows 16 i to 16 i + 7 from the quarter's first, four
 * codes of each. */
static HY_INLINE void interleave(const __m256i v[4], __m256i out[QUARTER])
{
    const __m256i ab = _mm256_unpacklo_epi8(v[0], v[1]), ab1 = _mm256_unpackhi_epi8(v[0], v[1]);
    const __m256i cd = _mm256_unpacklo_epi8(v[2], v[3]), cd1 = _mm256_unpackhi_epi8(v[2], v[3]);
    out[0] = _mm256_unpacklo_epi16(ab, cd);
    out[1] = _mm256_unpackhi_epi16(ab, cd);
    out[2] = _mm256_unpacklo_epi16(ab1, cd1);
    out[3] = _mm256_unpackhi_epi16(ab1, cd1);
}

static HY_INLINE void four_columns(shape t, columns at, const uint8_t *cols, uint32_t half,
                                   uint32_t part, __m256i out[QUARTER])
{
    __m256i v[4];
    for (uint32_t i = 0; i < 4; i++) {
        v[i] = quarter_column(t, at, cols[i], half, part);
    }
    interleave(v, out);
}

/* The sums of a block for half of the rows: dot[4 half + i] of rows 64 half + 16 i + 8 part. */
static HY_INLINE void add_up(shape t, columns at, const uint8_t *cols, const int8_t *q,
                             uint32_t groups, uint32_t part, __m256i dot[GROUPS])
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (uint32_t i = 0; i < GROUPS; i++) {
        dot[i] = _mm256_setzero_si256();
    }
    for (uint32_t g = 0; g < groups; g++, cols += 4, q += 4) {
        int32_t four;
        memcpy(&four, q, sizeof four);
        const __m256i vq = _mm256_set1_epi32(four);
        for (uint32_t half = 0; half < 2; half++) {
            __m256i v[QUARTER];
            four_columns(t, at, cols, half, part, v);
            for (uint32_t i = 0; i < QUARTER; i++) {
                const __m256i pairs = _mm256_maddubs_epi16(v[i], vq);
                dot[QUARTER * half + i] =
                    _mm256_add_epi32(dot[QUARTER * half + i], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

/* ---- scales: what is taken apart once for a block, and the factors of 8 rows, half a group */

typedef struct scales {
    const uint8_t *packed; /* of 16 rows */
    __m256 *d, *min;       /* [VECTORS] */
    uint8_t (*bytes)[256]; /* [GROUPS] */
} scales;

static HY_INLINE void prepare_none(const scales *s, uint32_t group)
{
    (void)s;
    (void)group;
}

static HY_INLINE void prepare_q45(const scales *s, uint32_t group)
{
    const uint8_t *p = s->packed + (size_t)256 * group;
    for (uint32_t part = 0; part < 2; part++) {
        s->d[2 * group + part] = f16_rows(p + (size_t)16 * part);
        s->min[2 * group + part] = f16_rows(p + 32 + (size_t)16 * part);
    }
    for (size_t i = 0; i < 64; i += 32) {
        const __m256i a = load(p + 64 + i), b = load(p + 128 + i), c = load(p + 192 + i);
        const __m256i a_top = bytes_and(_mm256_srli_epi16(a, 2), 0x30);
        const __m256i b_top = bytes_and(_mm256_srli_epi16(b, 2), 0x30);
        __m256i *out = (__m256i *)(void *)(s->bytes[group] + i);
        _mm256_storeu_si256(out, bytes_and(a, 0x3f));
        _mm256_storeu_si256(out + 2, _mm256_or_si256(bytes_and(c, 0x0f), a_top));
        _mm256_storeu_si256(out + 4, bytes_and(b, 0x3f));
        _mm256_storeu_si256(out + 6,
                            _mm256_or_si256(bytes_and(_mm256_srli_epi16(c, 4), 0x0f), b_top));
    }
}

/* Factors of block b of B elements. */
typedef struct factors {
    __m256 a, c;
} factors;

static HY_INLINE factors symmetric(__m256 a, float offset)
{
    return (factors){a, _mm256_mul_ps(a, _mm256_set1_ps(offset))};
}

static HY_INLINE factors factors_q45(const scales *s, uint32_t group, uint32_t part, uint32_t b)
{
    const uint8_t *bytes = s->bytes[group] + (size_t)16 * b + (size_t)8 * part;
    return (factors){_mm256_mul_ps(s->d[2 * group + part], u8_rows(bytes)),
                     _mm256_mul_ps(s->min[2 * group + part], u8_rows(bytes + 128))};
}

static HY_INLINE factors factors_q6(const scales *s, uint32_t group, uint32_t part, uint32_t b)
{
    const uint8_t *p = s->packed + (size_t)288 * group;
    const __m256 d = f16_rows(p + 256 + (size_t)16 * part);
    return symmetric(_mm256_mul_ps(d, s8_rows(p + (size_t)16 * b + (size_t)8 * part)), 32.0f);
}

static HY_INLINE factors factors_d8(const scales *s, uint32_t group, uint32_t part, uint32_t b)
{
    (void)b;
    return symmetric(f16_rows(s->packed + (size_t)32 * group + (size_t)16 * part), 8.0f);
}

static HY_INLINE factors factors_d16(const scales *s, uint32_t group, uint32_t part, uint32_t b)
{
    (void)b;
    return symmetric(f16_rows(s->packed + (size_t)32 * group + (size_t)16 * part), 16.0f);
}

static HY_INLINE factors factors_dm(const scales *s, uint32_t group, uint32_t part, uint32_t b)
{
    const uint8_t *p = s->packed + (size_t)64 * group + (size_t)16 * part;
    (void)b;
    return (factors){f16_rows(p), negative(f16_rows(p + 32))};
}

/* ---- the kernels of a type */

#define KERNELS(type, B, E, F, L, H, prepare, factors_of)                                          \
    static void gemv_##type(const uint8_t *panel, const hy__q8 *x, const hy__chosen *chosen,       \
                            uint32_t n, float *y)                                                  \
    {                                                                                              \
        const shape t = {B, E, F, L, H, false};                                                    \
        uint8_t bytes[GROUPS][256];                                                                \
        __m256 d[VECTORS], min[VECTORS], sum[VECTORS];                                             \
        const uint8_t *cols = chosen->cols;                                                        \
        const int8_t *q = chosen->q;                                                               \
        const float *sums = (B) == 16 ? x->s16 : x->s;                                             \
        cursor ahead = {panel, cols, 0};                                                           \
        for (uint32_t i = 0; i < AHEAD; i += (B)) {                                                \
            read_ahead(t, &ahead, chosen, n);                                                      \
        }                                                                                          \
        for (uint32_t i = 0; i < VECTORS; i++) {                                                   \
            sum[i] = _mm256_setzero_ps();                                                          \
        }                                                                                          \
        for (uint32_t k = 0; k < n; k += (E), panel += block_bytes(t)) {                           \
            const scales s = {panel, d, min, bytes};                                               \
            for (uint32_t i = 0; i < GROUPS; i++) {                                                \
                prepare(&s, i);                                                                    \
            }                                                                                      \
            for (uint32_t b = 0; b < (E) / (B); b++) {                                             \
                const uint32_t at = k / (B) + b, groups = chosen->groups[at];                      \
                const __m256 vd = _mm256_set1_ps(x->d[at * (B) / 32]);                             \
                const __m256 vs = _mm256_set1_ps(sums[at]);                                        \
                columns from = columns_from(t, panel);                                             \
                __m256i dot[2][GROUPS];                                                            \
                from.low += columns_bytes(t) * (B)*b;                                              \
                from.high += further_bytes(t) * (B)*b;                                             \
                read_ahead(t, &ahead, chosen, n);                                                  \
                add_up(t, from, cols, q, groups, 0, dot[0]);                                       \
                add_up(t, from, cols, q, groups, 1, dot[1]);                                       \
                for (uint32_t i = 0; i < VECTORS; i++) {                                           \
                    const factors f = factors_of(&s, i / 2, i % 2, b);                             \
                    const __m256 product =                                                         \
                        _mm256_mul_ps(_mm256_cvtepi32_ps(dot[i % 2][i / 2]), f.a);                 \
                    sum[i] = _mm256_fmadd_ps(product, vd, sum[i]);                                 \
                    sum[i] = _mm256_fnmadd_ps(f.c, vs, sum[i]);                                    \
                }                                                                                  \
                cols += 4 * (size_t)groups;                                                        \
                q += 4 * (size_t)groups;                                                           \
            }                                                                                      \
        }                                                                                          \
        for (uint32_t i = 0; i < VECTORS; i++) {                                                   \
            _mm256_storeu_ps(y + (size_t)8 * i, sum[i]);                                           \
        }                                                                                          \
    }                                                                                              \
    static void expand_##type(const uint8_t *panel, uint32_t n, uint32_t first, uint32_t count,    \
                              const hy__panel *out)                                                \
    {                                                                                              \
        const shape t = {B, E, F, L, H, false};                                                    \
        uint8_t bytes[GROUPS][256];                                                                \
        __m256 d[VECTORS], min[VECTORS];                                                           \
        const uint32_t half = first / QUARTER;                                                     \
        for (uint32_t k = 0; k < n; k += (E), panel += block_bytes(t)) {                           \
            const scales s = {panel, d, min, bytes};                                               \
            const columns from = columns_from(t, panel);                                           \
            for (uint32_t i = 0; i < count; i++) {                                                 \
                prepare(&s, first + i);                                                            \
                for (uint32_t b = 0; b < 2 * (E) / (B); b++) {                                     \
                    const factors f = factors_of(&s, first + i, b % 2, b / 2);                     \
                    const size_t at = (size_t)16 * (k / (B)) + (size_t)8 * b;                      \
                    _mm256_storeu_ps(out[i].a + at, f.a);                                          \
                    _mm256_storeu_ps(out[i].c + at, f.c);                                          \
                }                                                                                  \
            }                                                                                      \
            for (uint32_t c = 0; c < (E); c += 4) {                                                \
                const uint8_t next[4] = {(uint8_t)c, (uint8_t)(c + 1), (uint8_t)(c + 2),           \
                                         (uint8_t)(c + 3)};                                        \
                for (uint32_t part = 0; part < 2; part++) {                                        \
                    __m256i v[QUARTER];                                                            \
                    four_columns(t, from, next, half, part, v);                                    \
                    for (uint32_t i = 0; i < count; i++) {                                         \
                        uint8_t *to = out[i].u + (size_t)16 * (k + c) + (size_t)32 * part;         \
                        _mm256_storeu_si256((__m256i *)(void *)to, v[first % QUARTER + i]);        \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

KERNELS(Q4_0, 32, 32, 2, 4, 0, prepare_none, factors_d8)
KERNELS(Q4_1, 32, 32, 4, 4, 0, prepare_none, factors_dm)
KERNELS(Q5_0, 32, 32, 2, 4, 1, prepare_none, factors_d16)
KERNELS(Q5_1, 32, 32, 4, 4, 1, prepare_none, factors_dm)
KERNELS(Q4_K, 32, 256, 16, 4, 0, prepare_q45, factors_q45)
KERNELS(Q5_K, 32, 256, 16, 4, 1, prepare_q45, factors_q45)
KERNELS(Q6_K, 16, 256, 18, 4, 2, prepare_none, factors_q6)
#undef KERNELS

/* ---- */

#define BOTH(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q4_K) X(Q5_K) X(Q6_K)
#define GEMV(type) [HY__PACKED_##type] = gemv_##type,
#define EXPAND(type) [HY__PACKED_##type] = expand_##type,
const hy__columns_table hy__columns_avx2 = {
    .choose = choose,
    .gemv = {BOTH(GEMV)},
    .expand = {BOTH(EXPAND)},
};
#undef GEMV
#undef EXPAND
#undef BOTH
