/* avx512.c: dot products with AVX-512 F, BW, DQ, VL and VNNI: 64 products in one instruction.
 *
 * The weights of a type are taken as codes of 8 bits without sign, code = value + bias, because
 * vpdpbusd multiplies those with signed activations; bias times the sum of the activations is then
 * subtracted, in integers.  Four such vectors, 256 elements, are summed within their lanes of 128
 * bits to one vector of 16 integers, which is converted and multiplied with the scales once.  Types
 * with a minimum for each 32 elements multiply it with the sums of the column (hy__q8, s).
 *
 * Reads no byte outside the row and the column.  No state; any thread may call these. */
#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/q45.h"

/* ---- pieces */

static inline __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m128i load_128(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* The same 32 bytes in both halves. */
static inline __m512i load_twice(const void *p)
{
    return _mm512_broadcast_i64x4(load_256(p));
}

/* 64-bit elements: `low` in the low half, `high` in the high half. */
static inline __m512i halves(long long low, long long high)
{
    return _mm512_set_epi64(high, high, high, high, low, low, low, low);
}

/* In each 32 bits, the products of 4 codes and 4 activations. */
static inline __m512i dot_4(__m512i codes, __m512i x)
{
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, x);
}

static inline __m512i dot_4_biased(__m512i codes, char bias, __m512i x)
{
    return _mm512_sub_epi32(dot_4(codes, x), dot_4(_mm512_set1_epi8(bias), x));
}

/* Lane l of the result: the sums of lane l of a, b, c, d.  The sums of any two neighbours must fit
 * 16 bits: they do if 8 |value| 127 < 2^15. */
static inline __m512i sum_lanes_16(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ones = _mm512_set1_epi16(1);
    __m512i ab = _mm512_madd_epi16(_mm512_packs_epi32(a, b), ones);
    __m512i cd = _mm512_madd_epi16(_mm512_packs_epi32(c, d), ones);
    return _mm512_madd_epi16(_mm512_packs_epi32(ab, cd), ones);
}

/* The same for any sums. */
static inline __m512i sum_lanes(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* Factors of 8 blocks of 32 elements (the low 8), to where sum_lanes puts their sums: element k of
 * lanes 0 and 1 belongs to block 2k, of lanes 2 and 3 to block 2k + 1. */
static inline __m512 to_lanes(__m512 factors)
{
    const __m512i from = _mm512_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6, 1, 3, 5, 7, 1, 3, 5, 7);
    return _mm512_permutexvar_ps(from, factors);
}

/* 16 bytes for blocks of 16 elements to that place: element k of lane l belongs to block 4k + l. */
static inline __m128i to_lanes_of_16(__m128i bytes)
{
    return _mm_shuffle_epi8(bytes,
                            _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}

static inline __m512 multiply_add(__m512i sums, __m512 factors, __m512 to)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), factors, to);
}

/* Scales of 8 blocks of a column. */
static inline __m512 column_scales(const float *d)
{
    return _mm512_zextps256_ps512(_mm256_loadu_ps(d));
}

/* ... and, in the high half, their sums. */
static inline __m512 column_scales_sums(const float *d, const float *s)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(d)), _mm256_loadu_ps(s), 1);
}

static inline float sum_8(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

static inline __m256 high_half(__m512 v)
{
    return _mm512_extractf32x8_ps(v, 1);
}

static inline float sum_16(__m512 v)
{
    return sum_8(_mm256_add_ps(_mm512_castps512_ps256(v), high_half(v)));
}

/* The f16 at p. */
static inline float f16_at(const uint8_t *p)
{
    __m256i h = _mm256_castsi128_si256(_mm_cvtsi32_si128(hy__load_u16(p)));
    return _mm512_cvtss_f32(_mm512_cvtph_ps(h));
}

/* ---- types with blocks of 32: 8 blocks at a time */

/* The f16 of the first 16 (only 8 are wanted where a block has one). */
static inline __m512 f16_of(__m512i words)
{
    return _mm512_cvtph_ps(_mm512_castsi512_si256(words));
}

static inline __m512i index_8(__m128i index)
{
    return _mm512_zextsi128_si512(index);
}

static inline __m512i index_16(__m256i index)
{
    return _mm512_zextsi256_si512(index);
}

/* Scales of 8 blocks of 18 bytes: words 0, 9, 18, ... of the 64 first. */
static inline __m512 scales_18(const uint8_t *row)
{
    const __m512i from = index_8(_mm_setr_epi16(0, 9, 18, 27, 36, 45, 54, 63));
    return f16_of(_mm512_permutex2var_epi16(load(row), from, load(row + 64)));
}

/* Scales, then minima, of 8 blocks of 20 bytes: from their words 0..31 and 40..71. */
static inline __m512 scales_20(const uint8_t *row)
{
    const __m512i from =
        index_16(_mm256_setr_epi16(0, 10, 20, 30, 32, 42, 52, 62, 1, 11, 21, 31, 33, 43, 53, 63));
    return f16_of(_mm512_permutex2var_epi16(load(row), from, load(row + 80)));
}

/* Blocks of 22 bytes: from words 0..31, 33..64 and 56..87. */
static inline __m512 scales_22(const uint8_t *row)
{
    const __m512i from = index_8(_mm_setr_epi16(0, 11, 22, 32, 43, 54, 0, 0));
    const __m512i then = index_8(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 32 + 10, 32 + 21));
    __m512i words = _mm512_permutex2var_epi16(load(row), from, load(row + 66));
    return f16_of(_mm512_permutex2var_epi16(words, then, load(row + 112)));
}

/* Blocks of 24 bytes with minima: from words 0..31, 36..67 and 64..95. */
static inline __m512 scales_24(const uint8_t *row)
{
    const __m512i from =
        index_16(_mm256_setr_epi16(0, 12, 24, 32, 44, 56, 0, 0, 1, 13, 25, 33, 45, 57, 0, 0));
    const __m512i then = index_16(_mm256_setr_epi16(0, 1, 2, 3, 4, 5, 32 + 8, 32 + 20, 8, 9, 10, 11,
                                                    12, 13, 32 + 9, 32 + 21));
    __m512i words = _mm512_permutex2var_epi16(load(row), from, load(row + 72));
    return f16_of(_mm512_permutex2var_epi16(words, then, load(row + 128)));
}

/* Blocks of 34 bytes: two from each 68. */
static inline __m512 scales_34(const uint8_t *row)
{
    const __m512i from = index_8(_mm_setr_epi16(0, 17, 32, 49, 0, 0, 0, 0));
    const __m512i then = index_8(_mm_setr_epi16(0, 1, 2, 3, 32, 49, 0, 0));
    const __m512i last = index_8(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 32, 49));
    __m512i words = _mm512_permutex2var_epi16(load(row), from, load(row + 68));
    words = _mm512_permutex2var_epi16(words, then, load(row + 136));
    return f16_of(_mm512_permutex2var_epi16(words, last, load(row + 204)));
}

/* The codes of two blocks from 16 bytes each: low halves, then high halves. */
static inline __m512i nibbles(const uint8_t *a, const uint8_t *b)
{
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_broadcastsi128_si256(load_128(a))),
                                   _mm256_broadcastsi128_si256(load_128(b)), 1);
    v = _mm512_srlv_epi64(v, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0));
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

/* Bit e of the 4 bytes at a is the fifth of code e of the first block. */
static inline __m512i add_fifth(__m512i codes, const uint8_t *a, const uint8_t *b)
{
    __mmask64 fifth = (uint64_t)hy__load_u32(b) << 32 | hy__load_u32(a);
    return _mm512_mask_add_epi8(codes, fifth, codes, _mm512_set1_epi8(16));
}

/* The levels of IQ4_NL and IQ4_XS, plus 128. */
static inline __m512i levels_of(__m512i codes)
{
    const __m512i levels = _mm512_broadcast_i32x4(
        _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15));
    return _mm512_shuffle_epi8(levels, codes);
}

static inline __m512i dots_Q4_0(const uint8_t *a, const uint8_t *b, __m512i x)
{
    return dot_4_biased(nibbles(a + 2, b + 2), 8, x);
}

static inline __m512i dots_Q4_1(const uint8_t *a, const uint8_t *b, __m512i x)
{
    return dot_4(nibbles(a + 4, b + 4), x);
}

static inline __m512i dots_Q5_0(const uint8_t *a, const uint8_t *b, __m512i x)
{
    return dot_4_biased(add_fifth(nibbles(a + 6, b + 6), a + 2, b + 2), 16, x);
}

static inline __m512i dots_Q5_1(const uint8_t *a, const uint8_t *b, __m512i x)
{
    return dot_4(add_fifth(nibbles(a + 8, b + 8), a + 4, b + 4), x);
}

static inline __m512i dots_Q8_0(const uint8_t *a, const uint8_t *b, __m512i x)
{
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(load_256(a + 2)), load_256(b + 2), 1);
    return dot_4_biased(_mm512_xor_si512(v, _mm512_set1_epi8(-128)), -128, x);
}

static inline __m512i dots_IQ4_NL(const uint8_t *a, const uint8_t *b, __m512i x)
{
    return dot_4_biased(levels_of(nibbles(a + 2, b + 2)), -128, x);
}

/* Two numbers for blocks of 32 elements, 8 lanes each. */
static inline __m512 two_factors(float a, float b)
{
    return _mm512_insertf32x8(_mm512_set1_ps(a), _mm256_set1_ps(b), 1);
}

/* A kernel: `bytes` of a block, the sum of four vectors of products, where the scales are, and
 * whether there is a minimum behind each.  Blocks behind the last 8 go in pairs; the last one may
 * be alone: its partner is itself, times zeros. */
#define DOT_32(type, bytes, sums_of, scales_of, has_min)                                           \
    static float hy__dot_##type##_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)          \
    {                                                                                              \
        __m512 sum = _mm512_setzero_ps();                                                          \
        __m512 mins = _mm512_setzero_ps();                                                         \
        float min = 0.0f;                                                                          \
        const size_t blocks = n / 32;                                                              \
        size_t b = 0;                                                                              \
        for (; b + 8 <= blocks; b += 8, row += 8 * (bytes)) {                                      \
            const int8_t *q = x->q + 32 * b;                                                       \
            __m512i dots =                                                                         \
                sums_of(dots_##type(row, row + (bytes), load(q)),                                  \
                        dots_##type(row + 2 * (bytes), row + 3 * (bytes), load(q + 64)),           \
                        dots_##type(row + 4 * (bytes), row + 5 * (bytes), load(q + 128)),          \
                        dots_##type(row + 6 * (bytes), row + 7 * (bytes), load(q + 192)));         \
            __m512 factors =                                                                       \
                _mm512_mul_ps(scales_of(row), (has_min) ? column_scales_sums(x->d + b, x->s + b)   \
                                                        : column_scales(x->d + b));                \
            if (has_min) {                                                                         \
                mins = _mm512_add_ps(mins, factors);                                               \
            }                                                                                      \
            sum = multiply_add(dots, to_lanes(factors), sum);                                      \
        }                                                                                          \
        for (; b < blocks; b += 2, row += 2 * (bytes)) {                                           \
            const bool two = b + 1 < blocks;                                                       \
            const uint8_t *second = two ? row + (bytes) : row;                                     \
            __m512i q = _mm512_maskz_loadu_epi8(two ? ~0ull : 0xffffffffull, x->q + 32 * b);       \
            float d = f16_at(row) * x->d[b];                                                       \
            float d2 = two ? f16_at(second) * x->d[b + 1] : 0.0f;                                  \
            sum = multiply_add(dots_##type(row, second, q), two_factors(d, d2), sum);              \
            if (has_min) {                                                                         \
                min += f16_at(row + 2) * x->s[b];                                                  \
                min += two ? f16_at(second + 2) * x->s[b + 1] : 0.0f;                              \
            }                                                                                      \
        }                                                                                          \
        return sum_16(sum) + ((has_min) ? sum_8(high_half(mins)) + min : 0.0f);                    \
    }

DOT_32(Q4_0, 18, sum_lanes_16, scales_18, false)
DOT_32(Q4_1, 20, sum_lanes_16, scales_20, true)
DOT_32(Q5_0, 22, sum_lanes_16, scales_22, false)
DOT_32(Q5_1, 24, sum_lanes_16, scales_24, true)
DOT_32(Q8_0, 34, sum_lanes, scales_34, false)
DOT_32(IQ4_NL, 18, sum_lanes, scales_18, false)
#undef DOT_32

/* ---- K types: 256 elements at a time; part c of 4 is elements 64c..64c+63 */

/* The low halves of the 32 bytes at codes, then the high ones. */
static inline __m512i nibbles_of_32(const uint8_t *codes)
{
    return _mm512_srlv_epi64(load_twice(codes), halves(0, 4));
}

static inline __m512i dots_Q4_K(const uint8_t *row, const int8_t *q, size_t c)
{
    __m512i codes = _mm512_and_si512(nibbles_of_32(row + 16 + 32 * c), _mm512_set1_epi8(15));
    return dot_4(codes, load(q + 64 * c));
}

static float hy__dot_Q4_K_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    __m256 mins = _mm256_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 144) {
        const int8_t *q = x->q + 256 * b;
        __m512 factors = _mm512_castps256_ps512(factors_of_q45(row, x, b, &mins));
        __m512i dots = sum_lanes_16(dots_Q4_K(row, q, 0), dots_Q4_K(row, q, 1),
                                    dots_Q4_K(row, q, 2), dots_Q4_K(row, q, 3));
        sum = multiply_add(dots, to_lanes(factors), sum);
    }
    return sum_16(sum) - sum_8(mins);
}

/* mask ? a : b, bit by bit. */
static inline __m512i blend(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi64(mask, a, b, 0xCA);
}

/* Bits 2c (first half) and 2c + 1 (second half) of `fifth` move to bit 4. */
static inline __m512i dots_Q5_K(const uint8_t *row, __m512i fifth, const int8_t *q, int c)
{
    __m512i high = _mm512_rolv_epi64(fifth, halves((4 - 2 * c) & 63, (3 - 2 * c) & 63));
    __m512i codes = blend(_mm512_set1_epi8(15), nibbles_of_32(row + 48 + 32 * c), high);
    return dot_4(_mm512_and_si512(codes, _mm512_set1_epi8(31)), load(q + 64 * c));
}

static float hy__dot_Q5_K_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    __m256 mins = _mm256_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 176) {
        const int8_t *q = x->q + 256 * b;
        const __m512i fifth = load_twice(row + 16);
        __m512 factors = _mm512_castps256_ps512(factors_of_q45(row, x, b, &mins));
        __m512i dots = sum_lanes_16(dots_Q5_K(row, fifth, q, 0), dots_Q5_K(row, fifth, q, 1),
                                    dots_Q5_K(row, fifth, q, 2), dots_Q5_K(row, fifth, q, 3));
        sum = multiply_add(dots, to_lanes(factors), sum);
    }
    return sum_16(sum) - sum_8(mins);
}

/* Scales of 16 sub-blocks (signed bytes in lane order) times that of the block, d, and the
 * column's. */
static inline __m512 factors_of_16(__m128i scales, float d, const float *column)
{
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales));
    __m512 c = _mm512_mul_ps(to_lanes(column_scales(column)), _mm512_set1_ps(d));
    return _mm512_mul_ps(s, c);
}

/* Low halves of `low` (64 elements), and above them two bits of `high`: from bits 2j and 2j + 2 of
 * its first and second half, j = 0 or 2. */
static inline __m512i dots_Q6_K(__m512i low, __m512i high, int j, const int8_t *q)
{
    high = _mm512_rolv_epi64(high, halves((4 - 2 * j) & 63, (2 - 2 * j) & 63));
    __m512i codes = blend(_mm512_set1_epi8(15), low, high);
    return dot_4_biased(_mm512_and_si512(codes, _mm512_set1_epi8(63)), 32, load(q));
}

static float hy__dot_Q6_K_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 210) {
        const int8_t *q = x->q + 256 * b;
        const __m512i low = load(row), low2 = load(row + 64);
        const __m512i high = load_twice(row + 128), high2 = load_twice(row + 160);
        __m512i dots = sum_lanes_16(dots_Q6_K(low, high, 0, q),
                                    dots_Q6_K(_mm512_srli_epi64(low, 4), high, 2, q + 64),
                                    dots_Q6_K(low2, high2, 0, q + 128),
                                    dots_Q6_K(_mm512_srli_epi64(low2, 4), high2, 2, q + 192));
        __m128i scales = to_lanes_of_16(load_128(row + 192));
        sum = multiply_add(dots, factors_of_16(scales, f16_at(row + 208), x->d + 8 * b), sum);
    }
    return sum_16(sum);
}

/* Two bits of the codes of half c / 2, from bits 4 (c % 2) and 4 (c % 2) + 2; a third from bits 2c
 * and 2c + 1 of `third`. */
static inline __m512i dots_Q3_K(const uint8_t *codes, __m512i third, const int8_t *q, int c)
{
    __m512i low =
        _mm512_srlv_epi64(load_twice(codes + 32 * (c / 2)), halves(4 * (c % 2), 4 * (c % 2) + 2));
    __m512i high = _mm512_rolv_epi64(third, halves((2 - 2 * c) & 63, (1 - 2 * c) & 63));
    __m512i v = blend(_mm512_set1_epi8(3), low, high);
    return dot_4_biased(_mm512_and_si512(v, _mm512_set1_epi8(7)), 4, load(q + 64 * c));
}

/* Scales of Q3_K, signed, from its last 16 bytes: their own are 2..13 of these. */
static inline __m128i scales_Q3_K(__m128i tail)
{
    const __m128i low_at = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    const __m128i top_at =
        _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi8(tail, low_at), _mm_setr_epi32(0, 0, 4, 4));
    __m128i top = _mm_rolv_epi32(_mm_shuffle_epi8(tail, top_at), _mm_setr_epi32(4, 2, 0, 30));
    low = _mm_and_si128(low, _mm_set1_epi8(15));
    top = _mm_and_si128(top, _mm_set1_epi8(48));
    return _mm_sub_epi8(_mm_or_si128(low, top), _mm_set1_epi8(32));
}

static float hy__dot_Q3_K_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 110) {
        const int8_t *q = x->q + 256 * b;
        const __m512i third = load_twice(row);
        __m512i dots =
            sum_lanes_16(dots_Q3_K(row + 32, third, q, 0), dots_Q3_K(row + 32, third, q, 1),
                         dots_Q3_K(row + 32, third, q, 2), dots_Q3_K(row + 32, third, q, 3));
        __m128i scales = to_lanes_of_16(scales_Q3_K(load_128(row + 94)));
        sum = multiply_add(dots, factors_of_16(scales, f16_at(row + 108), x->d + 8 * b), sum);
    }
    return sum_16(sum);
}

static inline __m512i dots_Q2_K(const uint8_t *codes, const int8_t *q, int c)
{
    __m512i v =
        _mm512_srlv_epi64(load_twice(codes + 32 * (c / 2)), halves(4 * (c % 2), 4 * (c % 2) + 2));
    return dot_4(_mm512_and_si512(v, _mm512_set1_epi8(3)), load(q + 64 * c));
}

/* Its minima are for 16 elements, the sums of the column for 32: so those are formed here. */
static float hy__dot_Q2_K_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512 sum = _mm512_setzero_ps();
    __m512 mins = _mm512_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 84) {
        const int8_t *q = x->q + 256 * b;
        __m512i dots = sum_lanes_16(dots_Q2_K(row + 16, q, 0), dots_Q2_K(row + 16, q, 1),
                                    dots_Q2_K(row + 16, q, 2), dots_Q2_K(row + 16, q, 3));
        __m512i sums = sum_lanes_16(dot_4(ones, load(q)), dot_4(ones, load(q + 64)),
                                    dot_4(ones, load(q + 128)), dot_4(ones, load(q + 192)));
        __m128i bytes = to_lanes_of_16(load_128(row));
        __m128i s = _mm_and_si128(bytes, _mm_set1_epi8(15));
        __m128i m = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
        sum = multiply_add(dots, factors_of_16(s, f16_at(row + 80), x->d + 8 * b), sum);
        mins = multiply_add(sums, factors_of_16(m, f16_at(row + 82), x->d + 8 * b), mins);
    }
    return sum_16(_mm512_sub_ps(sum, mins));
}

static inline __m512i dots_IQ4_XS(const uint8_t *row, const int8_t *q, size_t c)
{
    __m512i v = _mm512_castsi256_si512(load_256(row + 8 + 32 * c));
    v = _mm512_shuffle_i64x2(v, v, _MM_SHUFFLE(1, 1, 0, 0));
    v = _mm512_srlv_epi64(v, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0));
    v = levels_of(_mm512_and_si512(v, _mm512_set1_epi8(15)));
    return dot_4_biased(v, -128, load(q + 64 * c));
}

static float hy__dot_IQ4_XS_avx512(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t b = 0; b < n / 256; b++, row += 136) {
        const int8_t *q = x->q + 256 * b;
        __m512i dots = sum_lanes(dots_IQ4_XS(row, q, 0), dots_IQ4_XS(row, q, 1),
                                 dots_IQ4_XS(row, q, 2), dots_IQ4_XS(row, q, 3));
        /* Scale g: bits 4g.. of bytes 4..7, above them bits 2g.. of bytes 2..3; biased by 32. */
        __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)hy__load_u32(row + 4)),
                                        _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
        __m256i top = _mm256_rolv_epi32(_mm256_set1_epi32(hy__load_u16(row + 2)),
                                        _mm256_setr_epi32(4, 2, 0, 30, 28, 26, 24, 22));
        __m256i s = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                    _mm256_and_si256(top, _mm256_set1_epi32(48)));
        __m256 factors = _mm256_mul_ps(
            _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_set1_epi32(32))),
            _mm256_mul_ps(_mm256_set1_ps(f16_at(row)), _mm256_loadu_ps(x->d + 8 * b)));
        sum = multiply_add(dots, to_lanes(_mm512_castps256_ps512(factors)), sum);
    }
    return sum_16(sum);
}

/* ---- floats: 64 elements at a time into four sums, then 16, then the rest by mask */

static inline __m512 get_F32(const uint8_t *row, size_t i, __mmask16 m)
{
    return _mm512_maskz_loadu_ps(m, row + 4 * i);
}

static inline __m512 get_F16(const uint8_t *row, size_t i, __mmask16 m)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, row + 2 * i));
}

static inline __m512 get_BF16(const uint8_t *row, size_t i, __mmask16 m)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, row + 2 * i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#define DOT_FLOAT(type)                                                                            \
    static float hy__dot_##type##_avx512(const uint8_t *row, const float *x, uint32_t n)           \
    {                                                                                              \
        const __mmask16 all = 0xffff;                                                              \
        __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;                                       \
        size_t i = 0;                                                                              \
        for (; i + 64 <= n; i += 64) {                                                             \
            a = _mm512_fmadd_ps(get_##type(row, i, all), _mm512_loadu_ps(x + i), a);               \
            b = _mm512_fmadd_ps(get_##type(row, i + 16, all), _mm512_loadu_ps(x + i + 16), b);     \
            c = _mm512_fmadd_ps(get_##type(row, i + 32, all), _mm512_loadu_ps(x + i + 32), c);     \
            d = _mm512_fmadd_ps(get_##type(row, i + 48, all), _mm512_loadu_ps(x + i + 48), d);     \
        }                                                                                          \
        for (; i < n; i += 16) {                                                                   \
            const __mmask16 m = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : all;               \
            a = _mm512_fmadd_ps(get_##type(row, i, m), _mm512_maskz_loadu_ps(m, x + i), a);        \
        }                                                                                          \
        return sum_16(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));                    \
    }

DOT_FLOAT(F32)
DOT_FLOAT(F16)
DOT_FLOAT(BF16)
#undef DOT_FLOAT

/* ---- */

#define ENTRY(type) [HY__DOT_##type] = hy__dot_##type##_avx512,
const hy__cpu_table hy__cpu_avx512 = {
    .dot = {HY__CPU_DOT_TYPES(ENTRY)},
    .dot_f32 = {HY__CPU_F32_TYPES(ENTRY)},
};
#undef ENTRY
