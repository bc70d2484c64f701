/* quantize_avx2.h: activations in 8 bits with AVX2, for packed_avx2.c.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_X86_QUANTIZE_AVX2_H
#define HY_BACKEND_CPU_X86_QUANTIZE_AVX2_H

#include "backend/cpu/x86/gemm_avx2.h"

#ifndef DPBUSD /* the level with AVX-VNNI has these from the one below */

/* A block in 8 bits. */
typedef struct q8_block {
    __m256i q;
    float d;
    int32_t sum[2]; /* of its halves */
} q8_block;

static HY_INLINE __m256i magnitudes(const float *x)
{
    const __m256i v = load(x);
    return _mm256_and_si256(v, _mm256_set1_epi32(0x7fffffff));
}

/* The bits of the largest magnitude of 32 elements: in the order of their values, NaN last. */
static HY_INLINE uint32_t largest(const float *x)
{
    const __m256i a = _mm256_max_epi32(magnitudes(x), magnitudes(x + 8));
    const __m256i b = _mm256_max_epi32(magnitudes(x + 16), magnitudes(x + 24));
    const __m256i ab = _mm256_max_epi32(a, b);
    __m128i v = _mm_max_epi32(_mm256_castsi256_si128(ab), _mm256_extracti128_si256(ab, 1));
    v = _mm_max_epi32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(1, 0, 3, 2)));
    v = _mm_max_epi32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(v);
}

static HY_INLINE __m256i codes_of(const float *x, __m256 to_code)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), to_code));
}

static HY_INLINE q8_block quantize_block(const float *x)
{
    const uint32_t most = largest(x);
    const float max = hy__f32_from_bits(most);
    if (!(max >= 0x1p-100f && most < 0x7f800000u)) {
        /* Too small to be scaled by a normal number, or not finite: then the result shows it. */
        const float d = most < 0x7f800000u ? 0.0f : hy__f32_from_bits(0x7fc00000u);
        return (q8_block){_mm256_setzero_si256(), d, {0, 0}};
    }
    const __m256 to_code = _mm256_set1_ps(127.0f / max);
    const __m256i a = _mm256_packs_epi32(codes_of(x, to_code), codes_of(x + 8, to_code));
    const __m256i b = _mm256_packs_epi32(codes_of(x + 16, to_code), codes_of(x + 24, to_code));
    q8_block out = {_mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b),
                                                _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)),
                    max / 127.0f,
                    {0, 0}};
    __m256i sums = pairs(_mm256_maddubs_epi16(_mm256_set1_epi8(1), out.q));
    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32(sums, _MM_SHUFFLE(1, 0, 3, 2)));
    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32(sums, _MM_SHUFFLE(2, 3, 0, 1)));
    out.sum[0] = _mm_cvtsi128_si32(_mm256_castsi256_si128(sums));
    out.sum[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(sums, 1));
    return out;
}

/* The same at element i of n, with zeros behind the last. */
static HY_INLINE q8_block quantize_block_at(const float *x, size_t i, size_t n)
{
    if (n - i >= 32) {
        return quantize_block(x + i);
    }
    float rest[32] = {0};
    memcpy(rest, x + i, (n - i) * sizeof *x);
    return quantize_block(rest);
}

/* What there is besides the codes, for column t of cols in block b. */
static HY_INLINE void put_scales(const q8_block *v, size_t b, size_t t, size_t cols,
                                 const hy__q8 *out)
{
    ((float *)out->d)[b * cols + t] = v->d;
    ((float *)out->s)[b * cols + t] = v->d * (float)(v->sum[0] + v->sum[1]);
    ((float *)out->s16)[2 * b * cols + t] = v->d * (float)v->sum[0];
    ((float *)out->s16)[(2 * b + 1) * cols + t] = v->d * (float)v->sum[1];
    ((int32_t *)out->sum)[b * cols + t] = v->sum[0] + v->sum[1];
}

static void quantize(const float *x, uint32_t n, void *memory)
{
    const hy__q8 out = hy__q8_at(memory, n, 1);
    for (size_t i = 0; i < n; i += 32) {
        const q8_block v = quantize_block_at(x, i, n);
        store_256((int8_t *)out.q + i, v.q);
        put_scales(&v, i / 32, 0, 1, &out);
    }
}

/* Four columns of a block to [8][12][4]. */
static HY_INLINE void put_4(const q8_block *v, int8_t *q)
{
    const __m256i ab0 = _mm256_unpacklo_epi32(v[0].q, v[1].q);
    const __m256i ab1 = _mm256_unpackhi_epi32(v[0].q, v[1].q);
    const __m256i cd0 = _mm256_unpacklo_epi32(v[2].q, v[3].q);
    const __m256i cd1 = _mm256_unpackhi_epi32(v[2].q, v[3].q);
    const __m256i to[4] = {_mm256_unpacklo_epi64(ab0, cd0), _mm256_unpackhi_epi64(ab0, cd0),
                           _mm256_unpacklo_epi64(ab1, cd1), _mm256_unpackhi_epi64(ab1, cd1)};
    for (size_t k = 0; k < 4; k++) {
        int8_t *low = q + 4 * HY__TILE_COLS * k, *high = low + 16 * HY__TILE_COLS;
        _mm_storeu_si128((__m128i *)(void *)low, _mm256_castsi256_si128(to[k]));
        _mm_storeu_si128((__m128i *)(void *)high, _mm256_extracti128_si256(to[k], 1));
    }
}

static void quantize_tile(const float *x, size_t stride, uint32_t n, uint32_t cols, void *memory)
{
    const hy__q8 out = hy__q8_at(memory, n, HY__TILE_COLS);
    for (size_t i = 0; i < n; i += 32) {
        for (size_t t = 0; t < HY__TILE_COLS; t += 4) {
            q8_block v[4];
            for (size_t j = 0; j < 4; j++) {
                v[j] = t + j < cols ? quantize_block_at(x + (t + j) * stride, i, n)
                                    : (q8_block){_mm256_setzero_si256(), 0.0f, {0, 0}};
                put_scales(&v[j], i / 32, t + j, HY__TILE_COLS, &out);
            }
            put_4(v, (int8_t *)out.q + HY__TILE_COLS * i + 4 * t);
        }
    }
}

#endif

#endif
