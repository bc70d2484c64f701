/* quantize_avx512.h: activations in 8 bits with AVX-512, for packed_avx512.c.
 *
 * Sixteen blocks of 32 elements are taken together, those of a column or the same block of several
 * columns: block i is lane i of everything there is one of per block.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_X86_QUANTIZE_AVX512_H
#define HY_BACKEND_CPU_X86_QUANTIZE_AVX512_H

#include <immintrin.h>

#include "backend/cpu/packed.h"
#include "halyard/compiler.h"

/* ---- 16 vectors to one: lane i is the largest element, or the sum, of vector i (modular) */

static HY_INLINE __m512i combine(bool largest, __m512i a, __m512i b)
{
    return largest ? _mm512_max_epi32(a, b) : _mm512_add_epi32(a, b);
}

static HY_INLINE __m512i fold_4(bool largest, const __m512i v[4])
{
    const __m512i ab =
        combine(largest, _mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i cd =
        combine(largest, _mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return combine(largest, _mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

static HY_INLINE __m512i fold_lanes(bool largest, __m512i a, __m512i b)
{
    return combine(largest, _mm512_shuffle_i32x4(a, b, _MM_SHUFFLE(2, 0, 2, 0)),
                   _mm512_shuffle_i32x4(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
}

static HY_INLINE __m512i fold_16(bool largest, const __m512i v[16])
{
    const __m512i low = fold_lanes(largest, fold_4(largest, v), fold_4(largest, v + 4));
    const __m512i high = fold_lanes(largest, fold_4(largest, v + 8), fold_4(largest, v + 12));
    return fold_lanes(largest, low, high);
}

/* ---- scales */

typedef struct block_scales {
    __m512 d;
    __m512 to_code;
    __mmask16 codes; /* blocks with codes other than 0 */
} block_scales;

/* most: the bits of the largest magnitudes, in the order of their values with NaN last.  Blocks too
 * small to be scaled by a normal number become 0; one that is not finite becomes NaN. */
static HY_INLINE block_scales scales_of(__m512i most)
{
    const __m512 max = _mm512_castsi512_ps(most), top = _mm512_set1_ps(127.0f);
    const __m512i infinite = _mm512_set1_epi32(0x7f800000);
    const __mmask16 bad = _mm512_cmpge_epi32_mask(most, infinite);
    const __mmask16 codes =
        _mm512_cmp_ps_mask(max, _mm512_set1_ps(0x1p-100f), _CMP_GE_OQ) & (__mmask16)~bad;
    const __m512 d = _mm512_maskz_div_ps(codes, max, top);
    return (block_scales){
        _mm512_mask_mov_ps(d, bad, _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000))),
        _mm512_maskz_div_ps(codes, top, max), codes};
}

static HY_INLINE __m512i magnitudes(__m512 x)
{
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

static HY_INLINE __m512i codes_of(__m512 x, float to_code)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(to_code)));
}

/* Which of 16 elements from i on there are, of n. */
static HY_INLINE __mmask16 rest_mask(size_t i, size_t n)
{
    return i + 16 <= n ? 0xffff : i < n ? (__mmask16)((1u << (n - i)) - 1) : 0;
}

/* Those elements, zero for the others; all zero unless `any`. */
static HY_INLINE __m512 elements(const float *x, size_t i, size_t n, bool any)
{
    return _mm512_maskz_loadu_ps(any ? rest_mask(i, n) : 0, x + HY_MIN(i, n));
}

/* ---- a column */

/* Blocks b to b + count - 1, at most 16, of a column of n elements. */
static void quantize_blocks(const float *x, size_t n, size_t b, size_t count, const hy__q8 *out)
{
    __m512i low[16], high[16];
    _Alignas(64) float to_code[16];
    for (size_t i = 0; i < 16; i++) {
        const size_t e = 32 * (b + i);
        low[i] =
            _mm512_max_epi32(magnitudes(_mm512_maskz_loadu_ps(rest_mask(e, n), x + e)),
                             magnitudes(_mm512_maskz_loadu_ps(rest_mask(e + 16, n), x + e + 16)));
    }
    const block_scales scales = scales_of(fold_16(true, low));
    _mm512_store_ps(to_code, scales.to_code);
    for (size_t i = 0; i < 16; i++) {
        const size_t e = 32 * (b + i);
        const bool any = (scales.codes >> i & 1) != 0;
        low[i] = codes_of(elements(x, e, n, any), to_code[i]);
        high[i] = codes_of(elements(x, e + 16, n, any), to_code[i]);
        if (i < count) {
            int8_t *q = (int8_t *)out->q + e;
            _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(low[i]));
            _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm512_cvtepi32_epi8(high[i]));
        }
    }
    const __m512i s0 = fold_16(false, low), s1 = fold_16(false, high);
    const __m512i sum = _mm512_add_epi32(s0, s1);
    const __mmask16 m = rest_mask(0, count);
    const __m512 f0 = _mm512_mul_ps(scales.d, _mm512_cvtepi32_ps(s0));
    const __m512 f1 = _mm512_mul_ps(scales.d, _mm512_cvtepi32_ps(s1));
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    float *s16 = (float *)out->s16 + 2 * b;
    _mm512_mask_storeu_ps((float *)out->d + b, m, scales.d);
    _mm512_mask_storeu_ps((float *)out->s + b, m, _mm512_mul_ps(scales.d, _mm512_cvtepi32_ps(sum)));
    _mm512_mask_storeu_epi32((int32_t *)out->sum + b, m, sum);
    _mm512_mask_storeu_ps(s16, rest_mask(0, 2 * count), _mm512_permutex2var_ps(f0, first, f1));
    _mm512_mask_storeu_ps(s16 + 16, rest_mask(16, 2 * count),
                          _mm512_permutex2var_ps(f0, second, f1));
}

static void quantize(const float *x, uint32_t n, void *memory)
{
    const hy__q8 out = hy__q8_at(memory, n, 1);
    const size_t blocks = ((size_t)n + 31) / 32;
    for (size_t b = 0; b < blocks; b += 16) {
        quantize_blocks(x, n, b, HY_MIN(blocks - b, 16), &out);
    }
}

/* ---- a tile */

/* Four columns of a block: their codes from [4 columns][8][4] to [8][12][4], and their sums.  In
 * the vectors the low half is of the elements 0 to 15, the high half of 16 to 31. */
static HY_INLINE void put_4(const int8_t *codes, const float *d4, int8_t *q, float *s, float *s16,
                            int32_t *sum)
{
    const __m256i *c = (const __m256i *)(const void *)codes;
    const __m256i a = _mm256_load_si256(c), b = _mm256_load_si256(c + 1);
    const __m256i e = _mm256_load_si256(c + 2), f = _mm256_load_si256(c + 3);
    const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    const __m256i ef0 = _mm256_unpacklo_epi32(e, f), ef1 = _mm256_unpackhi_epi32(e, f);
    const __m256i v[4] = {_mm256_unpacklo_epi64(ab0, ef0), _mm256_unpackhi_epi64(ab0, ef0),
                          _mm256_unpacklo_epi64(ab1, ef1), _mm256_unpackhi_epi64(ab1, ef1)};
    __m256i sums = _mm256_setzero_si256();
    for (size_t k = 0; k < 4; k++) {
        int8_t *to = q + 4 * HY__TILE_COLS * k;
        _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(v[k]));
        _mm_storeu_si128((__m128i *)(void *)(to + 16 * HY__TILE_COLS),
                         _mm256_extracti128_si256(v[k], 1));
        sums = _mm256_dpbusd_epi32(sums, _mm256_set1_epi8(1), v[k]);
    }
    const __m128i s0 = _mm256_castsi256_si128(sums), s1 = _mm256_extracti128_si256(sums, 1);
    const __m128i both = _mm_add_epi32(s0, s1);
    const __m128 d = _mm_loadu_ps(d4);
    _mm_storeu_si128((__m128i *)(void *)sum, both);
    _mm_storeu_ps(s, _mm_mul_ps(d, _mm_cvtepi32_ps(both)));
    _mm_storeu_ps(s16, _mm_mul_ps(d, _mm_cvtepi32_ps(s0)));
    _mm_storeu_ps(s16 + HY__TILE_COLS, _mm_mul_ps(d, _mm_cvtepi32_ps(s1)));
}

/* Block b of a tile, x at its first element; n elements from there on. */
static void quantize_tile_block(const float *x, size_t stride, size_t n, uint32_t cols, size_t b,
                                const hy__q8 *out)
{
    __m512i most[16];
    _Alignas(64) int8_t codes[HY__TILE_COLS][32];
    _Alignas(64) float to_code[16], d[16];
    for (size_t t = 0; t < 16; t++) {
        most[t] = _mm512_setzero_si512();
        if (t < cols) {
            const float *column = x + t * stride;
            most[t] = _mm512_max_epi32(magnitudes(elements(column, 0, n, true)),
                                       magnitudes(elements(column, 16, n, true)));
        }
    }
    const block_scales scales = scales_of(fold_16(true, most));
    _mm512_store_ps(to_code, scales.to_code);
    _mm512_store_ps(d, scales.d);
    memset(codes, 0, sizeof codes);
    for (size_t t = 0; t < cols; t++) {
        const bool any = (scales.codes >> t & 1) != 0;
        const __m512 x0 = elements(x + t * stride, 0, n, any);
        const __m512 x1 = elements(x + t * stride, 16, n, any);
        __m128i *to = (__m128i *)(void *)codes[t];
        _mm_store_si128(to, _mm512_cvtepi32_epi8(codes_of(x0, to_code[t])));
        _mm_store_si128(to + 1, _mm512_cvtepi32_epi8(codes_of(x1, to_code[t])));
    }
    const size_t at = HY__TILE_COLS * b;
    _mm512_mask_storeu_ps((float *)out->d + at, 0x0fff, scales.d);
    for (size_t t = 0; t < HY__TILE_COLS; t += 4) {
        put_4(codes[t], d + t, (int8_t *)out->q + 32 * at + 4 * t, (float *)out->s + at + t,
              (float *)out->s16 + 2 * at + t, (int32_t *)out->sum + at + t);
    }
}

static void quantize_tile(const float *x, size_t stride, uint32_t n, uint32_t cols, void *memory)
{
    const hy__q8 out = hy__q8_at(memory, n, HY__TILE_COLS);
    for (size_t e = 0; e < n; e += 32) {
        quantize_tile_block(x + e, stride, n - e, cols, e / 32, &out);
    }
}

#endif
