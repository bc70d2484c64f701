/* q45.h: the scales of Q4_K and Q5_K, for every level from AVX2 on.  Included by the files of those
 * levels only: they are compiled with the instructions it needs. */
#ifndef HY_BACKEND_CPU_X86_Q45_H
#define HY_BACKEND_CPU_X86_Q45_H

#include <immintrin.h>

#include "backend/cpu/kernels.h"

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

#endif
