/* avx2.c: dot products with AVX2, FMA and F16C: 32 products in one instruction.
 *
 * vpmaddubsw multiplies codes without sign with signed activations and adds neighbours in 16 bits.
 * Where a type's values are code - bias, bias times the activations is subtracted in 16 bits; the
 * types with values of 8 bits are multiplied by magnitude instead, the signs moved to the
 * activations.  K types sum the vectors of 128 elements within their lanes of 128 bits to one
 * vector of 8 integers, which is converted and multiplied with the scales once.  Types with a
 * minimum for each 32 elements multiply it with the sums of the column (hy__q8, s).
 *
 * Reads no byte outside the row and the column.  No state; any thread may call these. */
#include <immintrin.h>

#include "backend/cpu/kernels.h"

/* ---- pieces */

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m128i load_128(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static inline __m256i and_bytes(__m256i v, char mask)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(mask));
}

/* 32-bit sums of neighbours of 16 bits. */
static inline __m256i pairs(__m256i v)
{
    return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

/* In each 16 bits, the products of 2 values code - bias and 2 activations. */
static inline __m256i dot_2_biased(__m256i codes, char bias, __m256i x)
{
    return _mm256_sub_epi16(_mm256_maddubs_epi16(codes, x),
                            _mm256_maddubs_epi16(_mm256_set1_epi8(bias), x));
}

/* The same for signed values of 8 bits. */
static inline __m256i dot_2_signed(__m256i values, __m256i x)
{
    return _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(x, values));
}

/* From 16-bit products: lane l of the result has the sums of lane l of a, b, c, d.  A lane's sums
 * of 8 products must fit 16 bits: they do if 8 |value| 127 < 2^15. */
static inline __m256i sum_lanes(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i ab = pairs(_mm256_packs_epi32(pairs(a), pairs(b)));
    __m256i cd = pairs(_mm256_packs_epi32(pairs(c), pairs(d)));
    return pairs(_mm256_packs_epi32(ab, cd));
}

static inline __m256 multiply_add(__m256i sums, __m256 factors, __m256 to)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), factors, to);
}

/* The low or the high four factors of blocks of 32 elements, for both lanes. */
static inline __m256 low_factors(__m256 factors)
{
    return _mm256_permute2f128_ps(factors, factors, 0x00);
}

static inline __m256 high_factors(__m256 factors)
{
    return _mm256_permute2f128_ps(factors, factors, 0x11);
}

static inline float sum_8(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

/* The f16 at p. */
static inline float f16_at(const uint8_t *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(hy__load_u16(p))));
}

/* ---- types with blocks of 32 */

/* The codes of 16 bytes: low halves, then high halves. */
static inline __m256i nibbles(const uint8_t *p)
{
    __m128i v = load_128(p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1);
    return and_bytes(both, 15);
}

/* 16 in each byte e whose bit e of the 4 bytes at p is set. */
static inline __m256i fifth_bits(const uint8_t *p)
{
    const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                          2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)hy__load_u32(p)), byte);
    return and_bytes(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), 16);
}

/* The levels of IQ4_NL and IQ4_XS. */
static inline __m256i levels_of(__m256i codes)
{
    const __m256i levels = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    return _mm256_shuffle_epi8(levels, codes);
}

static inline __m256i dot_Q4_0(const uint8_t *block, __m256i x)
{
    return dot_2_biased(nibbles(block + 2), 8, x);
}

static inline __m256i dot_Q4_1(const uint8_t *block, __m256i x)
{
    return _mm256_maddubs_epi16(nibbles(block + 4), x);
}

static inline __m256i dot_Q5_0(const uint8_t *block, __m256i x)
{
    return dot_2_biased(_mm256_or_si256(nibbles(block + 6), fifth_bits(block + 2)), 16, x);
}

static inline __m256i dot_Q5_1(const uint8_t *block, __m256i x)
{
    return _mm256_maddubs_epi16(_mm256_or_si256(nibbles(block + 8), fifth_bits(block + 4)), x);
}

static inline __m256i dot_Q8_0(const uint8_t *block, __m256i x)
{
    return dot_2_signed(load(block + 2), x);
}

static inline __m256i dot_IQ4_NL(const uint8_t *block, __m256i x)
{
    return dot_2_signed(levels_of(nibbles(block + 2)), x);
}

/* sum + the products of block k with block b + k of the column. */
#define BLOCK_32(type, bytes, k, sum)                                                              \
    multiply_add(pairs(dot_##type(row + (k) * (bytes), load(x->q + 32 * (b + (k))))),              \
                 _mm256_set1_ps(f16_at(row + (k) * (bytes)) * x->d[b + (k)]), (sum))

/* A kernel: `bytes` of a block, and whether a minimum is behind its scale.  Four sums in turn. */
#define DOT_32(type, bytes, has_min)                                                               \
    static float hy__dot_##type##_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)            \
    {                                                                                              \
        __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                                \
        float m0 = 0.0f, m1 = 0.0f;                                                                \
        const size_t blocks = n / 32;                                                              \
        size_t b = 0;                                                                              \
        for (; b + 4 <= blocks; b += 4, row += 4 * (bytes)) {                                      \
            s0 = BLOCK_32(type, bytes, 0, s0);                                                     \
            s1 = BLOCK_32(type, bytes, 1, s1);                                                     \
            s2 = BLOCK_32(type, bytes, 2, s2);                                                     \
            s3 = BLOCK_32(type, bytes, 3, s3);                                                     \
            if (has_min) {                                                                         \
                m0 += f16_at(row + 2) * x->s[b] + f16_at(row + 2 + (bytes)) * x->s[b + 1];         \
                m1 += f16_at(row + 2 + 2 * (bytes)) * x->s[b + 2] +                                \
                      f16_at(row + 2 + 3 * (bytes)) * x->s[b + 3];                                 \
            }                                                                                      \
        }                                                                                          \
        for (; b < blocks; b++, row += (bytes)) {                                                  \
            s0 = BLOCK_32(type, bytes, 0, s0);                                                     \
            if (has_min) {                                                                         \
                m0 += f16_at(row + 2) * x->s[b];                                                   \
            }                                                                                      \
        }                                                                                          \
        return sum_8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3))) + (m0 + m1);     \
    }

DOT_32(Q4_0, 18, false)
DOT_32(Q4_1, 20, true)
DOT_32(Q5_0, 22, false)
DOT_32(Q5_1, 24, true)
DOT_32(Q8_0, 34, false)
DOT_32(IQ4_NL, 18, false)
#undef DOT_32
#undef BLOCK_32

/* ---- K types: 256 elements at a time, in two halves of four vectors */

/* The 8 scales S of Q4_K and Q5_K, a byte each, and the minima M, from their 12 bytes; in general
 * registers, where there is nothing else to do.
 *
 * Bits 0..5 of the first 8 bytes are S0..S3 and M0..M3; S4..S7 and M4..M7 are the low and high
 * halves of the last 4 bytes below the top bits of the first 8. */
static inline void scales_mins(const uint8_t *p, __m128i *scales, __m128i *mins)
{
    const uint64_t u = hy__load_u64(p), w = hy__load_u32(p + 8);
    const uint64_t first = u & 0x3f3f3f3f3f3f3f3f;
    const uint64_t second = ((w | w << 28) & 0x0f0f0f0f0f0f0f0f) | (u >> 2 & 0x3030303030303030);
    *scales = _mm_set_epi64x(0, (long long)((first & 0xffffffff) | second << 32));
    *mins = _mm_set_epi64x(0, (long long)(first >> 32 | (second >> 32 << 32)));
}

/* Of the block b at row: d S times the scales of the column; dmin M times its sums is added to
 * *mins. */
static inline __m256 factors_of_q45(const uint8_t *row, const hy__q8 *x, size_t b, __m256 *mins)
{
    const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128((int)hy__load_u32(row)));
    __m128i scales, minima;
    scales_mins(row + 4, &scales, &minima);
    __m256 s = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(scales));
    __m256 m = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(minima));
    m = _mm256_mul_ps(m, _mm256_broadcastss_ps(_mm_movehdup_ps(d)));
    *mins = _mm256_fmadd_ps(m, _mm256_loadu_ps(x->s + 8 * b), *mins);
    s = _mm256_mul_ps(s, _mm256_loadu_ps(x->d + 8 * b));
    return _mm256_mul_ps(s, _mm256_broadcastss_ps(d));
}

/* Products of 64 elements from the low and high halves of 32 bytes. */
static inline void dots_Q4_K(const uint8_t *codes, const int8_t *q, __m256i *even, __m256i *odd)
{
    const __m256i v = load(codes);
    *even = _mm256_maddubs_epi16(and_bytes(v, 15), load(q));
    *odd = _mm256_maddubs_epi16(and_bytes(_mm256_srli_epi16(v, 4), 15), load(q + 32));
}

static float hy__dot_Q4_K_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m256 sum = _mm256_setzero_ps(), sum2 = sum, mins = sum;
    for (size_t b = 0; b < n / 256; b++, row += 144) {
        const int8_t *q = x->q + 256 * b;
        __m256i v[8];
        for (size_t c = 0; c < 4; c++) {
            dots_Q4_K(row + 16 + 32 * c, q + 64 * c, &v[2 * c], &v[2 * c + 1]);
        }
        __m256 factors = factors_of_q45(row, x, b, &mins);
        sum = multiply_add(sum_lanes(v[0], v[1], v[2], v[3]), low_factors(factors), sum);
        sum2 = multiply_add(sum_lanes(v[4], v[5], v[6], v[7]), high_factors(factors), sum2);
    }
    return sum_8(_mm256_sub_ps(_mm256_add_ps(sum, sum2), mins));
}

/* The same, with the fifth bits at bits 0 and 1 of the bytes of `fifth`. */
static inline void dots_Q5_K(const uint8_t *codes, __m256i fifth, const int8_t *q, __m256i *even,
                             __m256i *odd)
{
    const __m256i v = load(codes);
    __m256i low = and_bytes(v, 15), high = and_bytes(_mm256_srli_epi16(v, 4), 15);
    low = _mm256_or_si256(low, and_bytes(_mm256_slli_epi16(fifth, 4), 16));
    high = _mm256_or_si256(high, and_bytes(_mm256_slli_epi16(fifth, 3), 16));
    *even = _mm256_maddubs_epi16(low, load(q));
    *odd = _mm256_maddubs_epi16(high, load(q + 32));
}

static float hy__dot_Q5_K_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m256 sum = _mm256_setzero_ps(), sum2 = sum, mins = sum;
    for (size_t b = 0; b < n / 256; b++, row += 176) {
        const int8_t *q = x->q + 256 * b;
        __m256i fifth = load(row + 16);
        __m256i v[8];
        for (size_t c = 0; c < 4; c++) {
            dots_Q5_K(row + 48 + 32 * c, fifth, q + 64 * c, &v[2 * c], &v[2 * c + 1]);
            fifth = _mm256_srli_epi16(fifth, 2);
        }
        __m256 factors = factors_of_q45(row, x, b, &mins);
        sum = multiply_add(sum_lanes(v[0], v[1], v[2], v[3]), low_factors(factors), sum);
        sum2 = multiply_add(sum_lanes(v[4], v[5], v[6], v[7]), high_factors(factors), sum2);
    }
    return sum_8(_mm256_sub_ps(_mm256_add_ps(sum, sum2), mins));
}

/* Scales of 16 sub-blocks of 16 elements in the order in which sum_lanes leaves their sums: the
 * even ones of each 8 (they are in the low lanes), then the odd ones. */
static inline __m128i to_lanes_of_16(__m128i bytes)
{
    return _mm_shuffle_epi8(bytes,
                            _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
}

/* The sums of 16 sub-blocks times their scales (signed bytes in lane order), d and the column's. */
static inline __m256 multiply_add_16(const __m256i v[8], __m128i scales, float d,
                                     const float *column, __m256 to)
{
    const __m256 c = _mm256_mul_ps(_mm256_loadu_ps(column), _mm256_set1_ps(d));
    __m256 f = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(scales));
    __m256 f2 = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(scales, 8)));
    f = _mm256_mul_ps(f, low_factors(c));
    f2 = _mm256_mul_ps(f2, high_factors(c));
    to = multiply_add(sum_lanes(v[0], v[1], v[2], v[3]), f, to);
    return multiply_add(sum_lanes(v[4], v[5], v[6], v[7]), f2, to);
}

/* 128 elements: two times 32 in the low halves of `low`, then two times 32 in the high ones; above
 * them two bits of `high` each. */
static inline void dots_Q6_K(const uint8_t *low, const uint8_t *high, const int8_t *q, __m256i *v)
{
    const __m256i a = load(low), b = load(low + 32), h = load(high);
    __m256i c0 = _mm256_or_si256(and_bytes(a, 15), and_bytes(_mm256_slli_epi16(h, 4), 48));
    __m256i c1 = _mm256_or_si256(and_bytes(b, 15), and_bytes(_mm256_slli_epi16(h, 2), 48));
    __m256i c2 = _mm256_or_si256(and_bytes(_mm256_srli_epi16(a, 4), 15), and_bytes(h, 48));
    __m256i c3 = _mm256_or_si256(and_bytes(_mm256_srli_epi16(b, 4), 15),
                                 and_bytes(_mm256_srli_epi16(h, 2), 48));
    v[0] = dot_2_biased(c0, 32, load(q));
    v[1] = dot_2_biased(c1, 32, load(q + 32));
    v[2] = dot_2_biased(c2, 32, load(q + 64));
    v[3] = dot_2_biased(c3, 32, load(q + 96));
}

static float hy__dot_Q6_K_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 210) {
        const int8_t *q = x->q + 256 * b;
        __m256i v[8];
        dots_Q6_K(row, row + 128, q, v);
        dots_Q6_K(row + 64, row + 160, q + 128, v + 4);
        __m128i scales = to_lanes_of_16(load_128(row + 192));
        sum = multiply_add_16(v, scales, f16_at(row + 208), x->d + 8 * b, sum);
    }
    return sum_8(sum);
}

/* Scales of Q3_K, signed, from its last 16 bytes: their own are 2..13 of these. */
static inline __m128i scales_Q3_K(__m128i tail)
{
    const __m128i low_at = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    const __m128i top_at =
        _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi8(tail, low_at), _mm_setr_epi32(0, 0, 4, 4));
    __m128i top = _mm_srlv_epi32(_mm_shuffle_epi8(tail, top_at), _mm_setr_epi32(0, 2, 4, 6));
    low = _mm_and_si128(low, _mm_set1_epi8(15));
    top = _mm_slli_epi16(_mm_and_si128(top, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(low, top), _mm_set1_epi8(32));
}

static float hy__dot_Q3_K_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 110) {
        const int8_t *q = x->q + 256 * b;
        __m256i third = load(row);
        __m256i v[8];
        for (size_t half = 0; half < 2; half++) {
            __m256i low = load(row + 32 + 32 * half);
            for (size_t j = 0; j < 4; j++) {
                __m256i codes =
                    _mm256_or_si256(and_bytes(low, 3), _mm256_slli_epi16(and_bytes(third, 1), 2));
                v[4 * half + j] = dot_2_biased(codes, 4, load(q + 128 * half + 32 * j));
                low = _mm256_srli_epi16(low, 2);
                third = _mm256_srli_epi16(third, 1);
            }
        }
        __m128i scales = to_lanes_of_16(scales_Q3_K(load_128(row + 94)));
        sum = multiply_add_16(v, scales, f16_at(row + 108), x->d + 8 * b, sum);
    }
    return sum_8(sum);
}

/* Its minima are for 16 elements, the sums of the column for 32: so those are formed here. */
static float hy__dot_Q2_K_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    const __m256i ones = _mm256_set1_epi8(1);
    __m256 sum = _mm256_setzero_ps(), mins = sum;
    for (size_t b = 0; b < n / 256; b++, row += 84) {
        const int8_t *q = x->q + 256 * b;
        __m256i v[8], sums[8];
        for (size_t half = 0; half < 2; half++) {
            __m256i codes = load(row + 16 + 32 * half);
            for (size_t j = 0; j < 4; j++) {
                const __m256i column = load(q + 128 * half + 32 * j);
                v[4 * half + j] = _mm256_maddubs_epi16(and_bytes(codes, 3), column);
                sums[4 * half + j] = _mm256_maddubs_epi16(ones, column);
                codes = _mm256_srli_epi16(codes, 2);
            }
        }
        __m128i bytes = to_lanes_of_16(load_128(row));
        __m128i s = _mm_and_si128(bytes, _mm_set1_epi8(15));
        __m128i m = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
        sum = multiply_add_16(v, s, f16_at(row + 80), x->d + 8 * b, sum);
        mins = multiply_add_16(sums, m, f16_at(row + 82), x->d + 8 * b, mins);
    }
    return sum_8(_mm256_sub_ps(sum, mins));
}

static float hy__dot_IQ4_XS_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m256 sum = _mm256_setzero_ps(), sum2 = sum;
    for (size_t b = 0; b < n / 256; b++, row += 136) {
        const int8_t *q = x->q + 256 * b;
        /* Scale g: bits 4g.. of bytes 4..7, above them bits 2g.. of bytes 2..3; biased by 32. */
        __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)hy__load_u32(row + 4)),
                                        _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
        __m256i top = _mm256_srlv_epi32(_mm256_set1_epi32(hy__load_u16(row + 2)),
                                        _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
        low = _mm256_and_si256(low, _mm256_set1_epi32(15));
        top = _mm256_slli_epi32(_mm256_and_si256(top, _mm256_set1_epi32(3)), 4);
        __m256i s = _mm256_sub_epi32(_mm256_or_si256(low, top), _mm256_set1_epi32(32));
        float factors[8];
        _mm256_storeu_ps(factors, _mm256_mul_ps(_mm256_cvtepi32_ps(s),
                                                _mm256_mul_ps(_mm256_set1_ps(f16_at(row)),
                                                              _mm256_loadu_ps(x->d + 8 * b))));
        for (size_t g = 0; g < 8; g += 2) {
            __m256i v = levels_of(nibbles(row + 8 + 16 * g));
            __m256i v2 = levels_of(nibbles(row + 24 + 16 * g));
            v = pairs(dot_2_signed(v, load(q + 32 * g)));
            v2 = pairs(dot_2_signed(v2, load(q + 32 * g + 32)));
            sum = multiply_add(v, _mm256_set1_ps(factors[g]), sum);
            sum2 = multiply_add(v2, _mm256_set1_ps(factors[g + 1]), sum2);
        }
    }
    return sum_8(_mm256_add_ps(sum, sum2));
}

/* ---- floats: 32 elements at a time into four sums, then 8, then the rest from copies */

static inline __m256 get_F32(const uint8_t *p)
{
    return _mm256_loadu_ps((const float *)(const void *)p);
}

static inline __m256 get_F16(const uint8_t *p)
{
    return _mm256_cvtph_ps(load_128(p));
}

static inline __m256 get_BF16(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p)), 16));
}

#define DOT_FLOAT(type, bytes)                                                                     \
    static float hy__dot_##type##_avx2(const uint8_t *row, const float *x, uint32_t n)             \
    {                                                                                              \
        __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;                                       \
        size_t i = 0;                                                                              \
        for (; i + 32 <= n; i += 32) {                                                             \
            const uint8_t *p = row + (bytes)*i;                                                    \
            a = _mm256_fmadd_ps(get_##type(p), _mm256_loadu_ps(x + i), a);                         \
            b = _mm256_fmadd_ps(get_##type(p + (bytes)*8), _mm256_loadu_ps(x + i + 8), b);         \
            c = _mm256_fmadd_ps(get_##type(p + (bytes)*16), _mm256_loadu_ps(x + i + 16), c);       \
            d = _mm256_fmadd_ps(get_##type(p + (bytes)*24), _mm256_loadu_ps(x + i + 24), d);       \
        }                                                                                          \
        for (; i + 8 <= n; i += 8) {                                                               \
            a = _mm256_fmadd_ps(get_##type(row + (bytes)*i), _mm256_loadu_ps(x + i), a);           \
        }                                                                                          \
        if (i < n) {                                                                               \
            uint8_t last[8 * (bytes)] = {0};                                                       \
            float last_x[8] = {0.0f};                                                              \
            memcpy(last, row + (bytes)*i, (bytes) * (n - i));                                      \
            memcpy(last_x, x + i, sizeof(float) * (n - i));                                        \
            b = _mm256_fmadd_ps(get_##type(last), _mm256_loadu_ps(last_x), b);                     \
        }                                                                                          \
        return sum_8(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));                     \
    }

DOT_FLOAT(F32, 4)
DOT_FLOAT(F16, 2)
DOT_FLOAT(BF16, 2)
#undef DOT_FLOAT

/* ---- */

#define ENTRY(type) [HY__DOT_##type] = hy__dot_##type##_avx2,
const hy__cpu_table hy__cpu_avx2 = {
    .dot = {HY__CPU_DOT_TYPES(ENTRY)},
    .dot_f32 = {HY__CPU_F32_TYPES(ENTRY)},
};
#undef ENTRY
