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
#include "backend/cpu/x86/q45.h"

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

/* 16 bytes at a in the low lane, 16 at b in the high one. */
static inline __m256i load_two(const void *a, const void *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(a)), load_128(b), 1);
}

static inline __m256i low_nibbles(__m256i v)
{
    return and_bytes(v, 15);
}

static inline __m256i high_nibbles(__m256i v)
{
    return and_bytes(_mm256_srli_epi16(v, 4), 15);
}

/* The levels of IQ4_NL and IQ4_XS. */
static inline __m256i levels_of(__m256i codes)
{
    const __m256i levels = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    return _mm256_shuffle_epi8(levels, codes);
}

/* 16 in each byte of a lane whose bit is set in two bytes of that lane: `byte` and the next. */
static inline __m256i fifth_bits(__m256i v, char byte)
{
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    const __m256i next = _mm256_setr_epi64x(0, 0x0101010101010101, 0, 0x0101010101010101);
    v = _mm256_shuffle_epi8(v, _mm256_add_epi8(next, _mm256_set1_epi8(byte)));
    return and_bytes(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), 16);
}

/* pair_*: 32-bit sums of the products of block a and activations x in the low lane, of b and y in
 * the high one.  As the low halves of a block's 16 bytes are its first elements and the high ones
 * its last, lanes hold one block each, and half as many vectors have to be summed. */
static inline __m256i pair_Q4_0(const uint8_t *a, const uint8_t *b, const int8_t *x,
                                const int8_t *y)
{
    const __m256i v = load_two(a + 2, b + 2);
    __m256i first = dot_2_biased(low_nibbles(v), 8, load_two(x, y));
    __m256i last = dot_2_biased(high_nibbles(v), 8, load_two(x + 16, y + 16));
    return pairs(_mm256_add_epi16(first, last));
}

static inline __m256i pair_Q4_1(const uint8_t *a, const uint8_t *b, const int8_t *x,
                                const int8_t *y)
{
    const __m256i v = load_two(a + 4, b + 4);
    __m256i first = _mm256_maddubs_epi16(low_nibbles(v), load_two(x, y));
    __m256i last = _mm256_maddubs_epi16(high_nibbles(v), load_two(x + 16, y + 16));
    return pairs(_mm256_add_epi16(first, last));
}

static inline __m256i pair_Q5_0(const uint8_t *a, const uint8_t *b, const int8_t *x,
                                const int8_t *y)
{
    const __m256i v = load_two(a + 6, b + 6), fifth = load_two(a + 2, b + 2);
    __m256i first = _mm256_or_si256(low_nibbles(v), fifth_bits(fifth, 0));
    __m256i last = _mm256_or_si256(high_nibbles(v), fifth_bits(fifth, 2));
    first = dot_2_biased(first, 16, load_two(x, y));
    last = dot_2_biased(last, 16, load_two(x + 16, y + 16));
    return pairs(_mm256_add_epi16(first, last));
}

static inline __m256i pair_Q5_1(const uint8_t *a, const uint8_t *b, const int8_t *x,
                                const int8_t *y)
{
    const __m256i v = load_two(a + 8, b + 8), fifth = load_two(a + 4, b + 4);
    __m256i first = _mm256_or_si256(low_nibbles(v), fifth_bits(fifth, 0));
    __m256i last = _mm256_or_si256(high_nibbles(v), fifth_bits(fifth, 2));
    first = _mm256_maddubs_epi16(first, load_two(x, y));
    last = _mm256_maddubs_epi16(last, load_two(x + 16, y + 16));
    return pairs(_mm256_add_epi16(first, last));
}

/* The 16 bytes of codes at a and b themselves: two products fill 16 bits here. */
static inline __m256i pair_of_levels(const uint8_t *a, const uint8_t *b, const int8_t *x,
                                     const int8_t *y)
{
    const __m256i v = load_two(a, b);
    __m256i first = dot_2_signed(levels_of(low_nibbles(v)), load_two(x, y));
    __m256i last = dot_2_signed(levels_of(high_nibbles(v)), load_two(x + 16, y + 16));
    return _mm256_add_epi32(pairs(first), pairs(last));
}

static inline __m256i pair_IQ4_NL(const uint8_t *a, const uint8_t *b, const int8_t *x,
                                  const int8_t *y)
{
    return pair_of_levels(a + 2, b + 2, x, y);
}

/* The f16 at p and the seven behind it, `step` bytes apart; gathered in general registers, where
 * there is little else to do. */
static inline __m256 eight_f16(const uint8_t *p, size_t step)
{
    uint64_t low = 0, high = 0;
    for (size_t i = 0; i < 4; i++) {
        low |= (uint64_t)hy__load_u16(p + i * step) << (16 * i);
        high |= (uint64_t)hy__load_u16(p + (4 + i) * step) << (16 * i);
    }
    return _mm256_cvtph_ps(_mm_set_epi64x((long long)high, (long long)low));
}

/* Factors 2k in the low lane, 2k + 1 in the high one. */
static inline __m256 factors_of_pair(__m256 factors, int k)
{
    const int a = 2 * k, b = 2 * k + 1;
    return _mm256_permutevar8x32_ps(factors, _mm256_setr_epi32(a, a, a, a, b, b, b, b));
}

/* sum + the products of blocks 2k and 2k + 1 of the 8 at row. */
#define PAIR_OF_8(type, bytes, k, sum)                                                             \
    multiply_add(pair_##type(row + 2 * (k) * (bytes), row + (2 * (k) + 1) * (bytes), q + 64 * (k), \
                             q + 64 * (k) + 32),                                                   \
                 factors_of_pair(factors, (k)), (sum))

/* A kernel: `bytes` of a block, and whether a minimum is behind its scale.  8 blocks at a time,
 * then single ones: as a pair with itself whose second factor is 0. */
#define DOT_32(type, bytes, has_min)                                                               \
    static float hy__dot_##type##_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)            \
    {                                                                                              \
        __m256 sum = _mm256_setzero_ps(), sum2 = sum, mins = sum;                                  \
        float min = 0.0f;                                                                          \
        const int8_t *q = x->q;                                                                    \
        const size_t blocks = n / 32;                                                              \
        size_t b = 0;                                                                              \
        for (; b + 8 <= blocks; b += 8, row += 8 * (bytes), q += 256) {                            \
            const __m256 factors =                                                                 \
                _mm256_mul_ps(eight_f16(row, (bytes)), _mm256_loadu_ps(x->d + b));                 \
            sum = PAIR_OF_8(type, bytes, 0, sum);                                                  \
            sum2 = PAIR_OF_8(type, bytes, 1, sum2);                                                \
            sum = PAIR_OF_8(type, bytes, 2, sum);                                                  \
            sum2 = PAIR_OF_8(type, bytes, 3, sum2);                                                \
            if (has_min) {                                                                         \
                mins =                                                                             \
                    _mm256_fmadd_ps(eight_f16(row + 2, (bytes)), _mm256_loadu_ps(x->s + b), mins); \
            }                                                                                      \
        }                                                                                          \
        for (; b < blocks; b++, row += (bytes), q += 32) {                                         \
            const float d = f16_at(row) * x->d[b];                                                 \
            sum = multiply_add(pair_##type(row, row, q, q),                                        \
                               _mm256_setr_ps(d, d, d, d, 0, 0, 0, 0), sum);                       \
            if (has_min) {                                                                         \
                min += f16_at(row + 2) * x->s[b];                                                  \
            }                                                                                      \
        }                                                                                          \
        return sum_8(_mm256_add_ps(_mm256_add_ps(sum, sum2), mins)) + min;                         \
    }

DOT_32(Q4_0, 18, false)
DOT_32(Q4_1, 20, true)
DOT_32(Q5_0, 22, false)
DOT_32(Q5_1, 24, true)
DOT_32(IQ4_NL, 18, false)
#undef DOT_32
#undef PAIR_OF_8

/* sum + the products of a block of Q8_0. */
static inline __m256 add_Q8_0(const uint8_t *block, const int8_t *q, float d, __m256 sum)
{
    __m256i dots = pairs(dot_2_signed(load(block + 2), load(q)));
    return multiply_add(dots, _mm256_set1_ps(f16_at(block) * d), sum);
}

static float hy__dot_Q8_0_avx2(const uint8_t *row, const hy__q8 *x, uint32_t n)
{
    __m256 sum = _mm256_setzero_ps(), sum2 = sum;
    const int8_t *q = x->q;
    const size_t blocks = n / 32;
    size_t b = 0;
    for (; b + 2 <= blocks; b += 2, row += 68, q += 64) {
        sum = add_Q8_0(row, q, x->d[b], sum);
        sum2 = add_Q8_0(row + 34, q + 32, x->d[b + 1], sum2);
    }
    if (b < blocks) {
        sum = add_Q8_0(row, q, x->d[b], sum);
    }
    return sum_8(_mm256_add_ps(sum, sum2));
}

/* ---- K types: 256 elements at a time, in two halves of four vectors */

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
        const __m256 factors =
            _mm256_mul_ps(_mm256_cvtepi32_ps(s), _mm256_mul_ps(_mm256_set1_ps(f16_at(row)),
                                                               _mm256_loadu_ps(x->d + 8 * b)));
        for (int k = 0; k < 4; k += 2) {
            const uint8_t *codes = row + 8 + 32 * k;
            const int8_t *c = q + 64 * k;
            __m256i dots = pair_of_levels(codes, codes + 16, c, c + 32);
            __m256i dots2 = pair_of_levels(codes + 32, codes + 48, c + 64, c + 96);
            sum = multiply_add(dots, factors_of_pair(factors, k), sum);
            sum2 = multiply_add(dots2, factors_of_pair(factors, k + 1), sum2);
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
