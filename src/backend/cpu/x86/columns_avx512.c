/* columns_avx512.c: products of panels of columns with AVX-512 F, BW, DQ, VL and VNNI.
 *
 * Bytes of four columns are interleaved to vectors of 16 rows times 4 codes; from there on
 * everything is as in packed_avx512.c: a row is a lane, and vpdpbusd multiplies its four codes.  A
 * panel has 8 such vectors, whose sums stay in registers.
 *
 * No state; any thread may call these. */
#include "backend/cpu/x86/columns_x86.h"
#include "backend/cpu/x86/rows_avx512.h"
#include "quant/quant.h"

enum { GROUPS = HY__COLUMNS_PANELS, HALF = GROUPS / 2 };

/* ---- codes */

/* Rows 64 half to 64 half + 63 of a column, in their positions. */
static HY_INLINE __m512i half_column(shape t, columns at, size_t col, uint32_t half)
{
    const uint8_t *low = at.low + columns_bytes(t) * col;
    if (t.bits == 8) {
        return load(low + (size_t)64 * half);
    }
    __m512i v = load(low);
    v = bytes_and(half == 0 ? v : _mm512_srli_epi16(v, 4), 0x0f);
    if (t.levels) {
        const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)hy__iq4_levels);
        const __m512i codes =
            _mm512_xor_si512(_mm512_broadcast_i32x4(table), _mm512_set1_epi8(-128));
        return _mm512_shuffle_epi8(codes, v);
    }
    if (t.more_bits == 1) {
        uint64_t bits;
        memcpy(&bits, at.high + 16 * col + (size_t)8 * half, sizeof bits);
        return _mm512_mask_add_epi8(v, _cvtu64_mask64(bits), v, _mm512_set1_epi8(16));
    }
    if (t.more_bits == 2) {
        const __m256i bits =
            _mm256_loadu_si256((const __m256i *)(const void *)(at.high + 32 * col));
        const __m512i both = _mm512_broadcast_i64x4(bits);
        const __m512i up = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
        const __m512i down = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
        const __m512i moved =
            half == 0 ? _mm512_sllv_epi16(both, up) : _mm512_srlv_epi16(both, down);
        return _mm512_ternarylogic_epi32(v, moved, _mm512_set1_epi8(0x30), 0xf8);
    }
    return v;
}

/* Half columns a, b, c, d: vector i has rows 16 i to 16 i + 15, four codes of each. */
static HY_INLINE void interleave(__m512i a, __m512i b, __m512i c, __m512i d, __m512i out[HALF])
{
    const __m512i ab = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
    const __m512i cd = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
    out[0] = _mm512_unpacklo_epi16(ab, cd);
    out[1] = _mm512_unpackhi_epi16(ab, cd);
    out[2] = _mm512_unpacklo_epi16(ab1, cd1);
    out[3] = _mm512_unpackhi_epi16(ab1, cd1);
}

static HY_INLINE void four_columns(shape t, columns at, const uint8_t *cols, uint32_t half,
                                   __m512i out[HALF])
{
    interleave(half_column(t, at, cols[0], half), half_column(t, at, cols[1], half),
               half_column(t, at, cols[2], half), half_column(t, at, cols[3], half), out);
}

/* ---- scales: what is taken apart once for a block, and the factors of 16 rows */

typedef struct scales {
    const uint8_t *packed; /* of 16 rows */
    __m512 *d, *min;       /* [GROUPS] */
    uint8_t (*bytes)[256]; /* [GROUPS] */
} scales;

static HY_INLINE __m512i or_and(__m512i v, __m512i w, int mask)
{
    return _mm512_ternarylogic_epi32(v, w, _mm512_set1_epi8((char)mask), 0xf8);
}

static HY_INLINE void prepare_none(const scales *s, uint32_t group)
{
    (void)s;
    (void)group;
}

static HY_INLINE void prepare_q45(const scales *s, uint32_t group)
{
    const uint8_t *p = s->packed + (size_t)256 * group;
    const __m512i a = load(p + 64), b = load(p + 128), c = load(p + 192);
    uint8_t *out = s->bytes[group];
    s->d[group] = f16_rows(p);
    s->min[group] = f16_rows(p + 32);
    _mm512_store_si512(out, bytes_and(a, 0x3f));
    _mm512_store_si512(out + 64, or_and(bytes_and(c, 0x0f), _mm512_srli_epi16(a, 2), 0x30));
    _mm512_store_si512(out + 128, bytes_and(b, 0x3f));
    _mm512_store_si512(
        out + 192, or_and(bytes_and(_mm512_srli_epi16(c, 4), 0x0f), _mm512_srli_epi16(b, 2), 0x30));
}

#define prepare_Q8_0 prepare_none
#define prepare_Q4_0 prepare_none
#define prepare_Q4_1 prepare_none
#define prepare_Q5_0 prepare_none
#define prepare_Q5_1 prepare_none
#define prepare_Q4_K prepare_q45
#define prepare_Q5_K prepare_q45
#define prepare_Q6_K prepare_none
#define prepare_IQ4_NL prepare_none
#define prepare_IQ4_XS prepare_none

/* Factors of block b of B elements. */
typedef struct factors {
    __m512 a, c;
} factors;

static HY_INLINE factors symmetric(__m512 a, float offset)
{
    return (factors){a, _mm512_mul_ps(a, _mm512_set1_ps(offset))};
}

static HY_INLINE factors with_minimum(const uint8_t *p)
{
    return (factors){f16_rows(p), negative(f16_rows(p + 32))};
}

static HY_INLINE factors factors_q45(const scales *s, uint32_t group, uint32_t b)
{
    const uint8_t *bytes = s->bytes[group] + (size_t)16 * b;
    return (factors){_mm512_mul_ps(s->d[group], u8_rows(bytes)),
                     _mm512_mul_ps(s->min[group], u8_rows(bytes + 128))};
}

static HY_INLINE factors factors_Q6_K(const scales *s, uint32_t group, uint32_t b)
{
    const uint8_t *p = s->packed + (size_t)288 * group;
    return symmetric(_mm512_mul_ps(f16_rows(p + 256), s8_rows(p + (size_t)16 * b)), 32.0f);
}

static HY_INLINE factors factors_IQ4_XS(const scales *s, uint32_t group, uint32_t b)
{
    const uint8_t *p = s->packed + (size_t)128 * group;
    const __m512i high =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p + 32)));
    const __m512i low = _mm512_cvtepu8_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)(p + 64 + (size_t)16 * (b / 2))));
    const __m512i top = _mm512_slli_epi32(_mm512_srli_epi32(high, 2 * b), 4);
    __m512i v = _mm512_and_si512(_mm512_srli_epi32(low, 4 * (b % 2)), _mm512_set1_epi32(15));
    v = _mm512_or_si512(v, _mm512_and_si512(top, _mm512_set1_epi32(48)));
    v = _mm512_sub_epi32(v, _mm512_set1_epi32(32));
    return symmetric(_mm512_mul_ps(f16_rows(p), _mm512_cvtepi32_ps(v)), 128.0f);
}

#define SYMMETRIC(type, offset)                                                                    \
    static HY_INLINE factors factors_##type(const scales *s, uint32_t group, uint32_t b)           \
    {                                                                                              \
        (void)b;                                                                                   \
        return symmetric(f16_rows(s->packed + (size_t)32 * group), offset);                        \
    }
#define WITH_MINIMUM(type)                                                                         \
    static HY_INLINE factors factors_##type(const scales *s, uint32_t group, uint32_t b)           \
    {                                                                                              \
        (void)b;                                                                                   \
        return with_minimum(s->packed + (size_t)64 * group);                                       \
    }
SYMMETRIC(Q8_0, 128.0f)
SYMMETRIC(Q4_0, 8.0f)
WITH_MINIMUM(Q4_1)
SYMMETRIC(Q5_0, 16.0f)
WITH_MINIMUM(Q5_1)
SYMMETRIC(IQ4_NL, 128.0f)
#define factors_Q4_K factors_q45
#define factors_Q5_K factors_q45
#undef SYMMETRIC
#undef WITH_MINIMUM

/* ---- the kernels of a type */

#define KERNELS(type, B, E, F, L, H)                                                               \
    static void gemv_##type(const uint8_t *panel, const hy__q8 *x, const hy__chosen *chosen,       \
                            uint32_t n, float *y)                                                  \
    {                                                                                              \
        const shape t = {                                                                          \
            B, E, F, L, H, HY_TYPE_##type == HY_TYPE_IQ4_NL || HY_TYPE_##type == HY_TYPE_IQ4_XS};  \
        _Alignas(64) uint8_t bytes[GROUPS][256];                                                   \
        __m512 d[GROUPS], min[GROUPS], sum[GROUPS];                                                \
        const uint8_t *cols = chosen->cols;                                                        \
        const int8_t *q = chosen->q;                                                               \
        const float *sums = (B) == 16 ? x->s16 : x->s;                                             \
        cursor ahead = {panel, cols, 0};                                                           \
        for (uint32_t i = 0; i < AHEAD; i += (B)) {                                                \
            read_ahead(t, &ahead, chosen, n);                                                      \
        }                                                                                          \
        for (uint32_t i = 0; i < GROUPS; i++) {                                                    \
            sum[i] = _mm512_setzero_ps();                                                          \
        }                                                                                          \
        for (uint32_t k = 0; k < n; k += (E), panel += block_bytes(t)) {                           \
            const scales s = {panel, d, min, bytes};                                               \
            for (uint32_t i = 0; i < GROUPS; i++) {                                                \
                prepare_##type(&s, i);                                                             \
            }                                                                                      \
            for (uint32_t b = 0; b < (E) / (B); b++) {                                             \
                const uint32_t at = k / (B) + b;                                                   \
                columns from = columns_from(t, panel);                                             \
                __m512i dot[GROUPS], v[HALF];                                                      \
                from.low += columns_bytes(t) * (B)*b;                                              \
                from.high += further_bytes(t) * (B)*b;                                             \
                for (uint32_t i = 0; i < GROUPS; i++) {                                            \
                    dot[i] = _mm512_setzero_si512();                                               \
                }                                                                                  \
                read_ahead(t, &ahead, chosen, n);                                                  \
                for (uint32_t g = 0; g < chosen->groups[at]; g++, cols += 4, q += 4) {             \
                    const __m512i vq = four(q);                                                    \
                    for (uint32_t h = 0; h < 2; h++) {                                             \
                        four_columns(t, from, cols, h, v);                                         \
                        for (uint32_t i = 0; i < HALF; i++) {                                      \
                            dot[HALF * h + i] = _mm512_dpbusd_epi32(dot[HALF * h + i], v[i], vq);  \
                        }                                                                          \
                    }                                                                              \
                }                                                                                  \
                const __m512 vd = _mm512_set1_ps(x->d[at * (B) / 32]);                             \
                const __m512 vs = _mm512_set1_ps(sums[at]);                                        \
                for (uint32_t i = 0; i < GROUPS; i++) {                                            \
                    const factors f = factors_##type(&s, i, b);                                    \
                    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[i]), f.a);         \
                    sum[i] = _mm512_fmadd_ps(product, vd, sum[i]);                                 \
                    sum[i] = _mm512_fnmadd_ps(f.c, vs, sum[i]);                                    \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (uint32_t i = 0; i < GROUPS; i++) {                                                    \
            _mm512_storeu_ps(y + (size_t)16 * i, sum[i]);                                          \
        }                                                                                          \
    }                                                                                              \
    static void expand_##type(const uint8_t *panel, uint32_t n, uint32_t first, uint32_t count,    \
                              const hy__panel *out)                                                \
    {                                                                                              \
        const shape t = {                                                                          \
            B, E, F, L, H, HY_TYPE_##type == HY_TYPE_IQ4_NL || HY_TYPE_##type == HY_TYPE_IQ4_XS};  \
        _Alignas(64) uint8_t bytes[GROUPS][256];                                                   \
        __m512 d[GROUPS], min[GROUPS];                                                             \
        const uint32_t half = first / HALF;                                                        \
        for (uint32_t k = 0; k < n; k += (E), panel += block_bytes(t)) {                           \
            const scales s = {panel, d, min, bytes};                                               \
            const columns from = columns_from(t, panel);                                           \
            for (uint32_t i = 0; i < count; i++) {                                                 \
                prepare_##type(&s, first + i);                                                     \
                for (uint32_t b = 0; b < (E) / (B); b++) {                                         \
                    const factors f = factors_##type(&s, first + i, b);                            \
                    _mm512_storeu_ps(out[i].a + (size_t)16 * (k / (B) + b), f.a);                  \
                    _mm512_storeu_ps(out[i].c + (size_t)16 * (k / (B) + b), f.c);                  \
                }                                                                                  \
            }                                                                                      \
            for (uint32_t e = 0; e < (E) / 4; e++) {                                               \
                const size_t c = (size_t)4 * e;                                                    \
                __m512i v[HALF];                                                                   \
                interleave(half_column(t, from, c, half), half_column(t, from, c + 1, half),       \
                           half_column(t, from, c + 2, half), half_column(t, from, c + 3, half),   \
                           v);                                                                     \
                for (uint32_t i = 0; i < count; i++) {                                             \
                    _mm512_storeu_si512(out[i].u + (size_t)16 * (k + c), v[first % HALF + i]);     \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

HY__COLUMNS_TYPES(KERNELS)
#undef KERNELS

/* ---- */

#define GEMV(type, B, E, F, L, H) [HY__PACKED_##type] = gemv_##type,
#define EXPAND(type, B, E, F, L, H) [HY__PACKED_##type] = expand_##type,
const hy__columns_table hy__columns_avx512 = {
    .choose = choose,
    .gemv = {HY__COLUMNS_TYPES(GEMV)},
    .expand = {HY__COLUMNS_TYPES(EXPAND)},
};
#undef GEMV
#undef EXPAND
