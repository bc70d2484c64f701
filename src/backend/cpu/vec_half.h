/* vec_half.h: many f16 or codes of 8 bits to f32, for vec.c: the conversions that compilers do not
 * find instructions for, or no good ones.
 *
 * Conversions are exact, so results are those of hy__f16_to_f32, except that a signalling NaN
 * becomes a quiet one.  Pure functions; any thread may call them. */
#ifndef HY_BACKEND_CPU_VEC_HALF_H
#define HY_BACKEND_CPU_VEC_HALF_H

#include "base/base.h"

#if defined(__F16C__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { HY__EIGHT = 8 }; /* numbers that are converted at once */

static inline void hy__eight_halves(const uint16_t *h, float *x)
{
#if defined(__F16C__)
    _mm256_storeu_ps(x, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)h)));
#elif defined(__ARM_NEON) && defined(__aarch64__)
    vst1q_f32(x, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h))));
    vst1q_f32(x + 4, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + 4))));
#else
    for (size_t i = 0; i < HY__EIGHT; i++) {
        x[i] = hy__f16_to_f32(h[i]);
    }
#endif
}

/* x = d times 16 signed codes. */
static inline void hy__scale_codes(const uint8_t *restrict codes, const float *restrict d,
                                   float *restrict x)
{
#if defined(__F16C__) && defined(__AVX2__)
    for (size_t i = 0; i < 16; i += 8) {
        const __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(codes + i));
        const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(d + i), v));
    }
#elif defined(__ARM_NEON) && defined(__aarch64__)
    for (size_t i = 0; i < 16; i += 8) {
        const int16x8_t q = vmovl_s8(vreinterpret_s8_u8(vld1_u8(codes + i)));
        const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(q)));
        const float32x4_t high = vcvtq_f32_s32(vmovl_s16(vget_high_s16(q)));
        vst1q_f32(x + i, vmulq_f32(vld1q_f32(d + i), low));
        vst1q_f32(x + i + 4, vmulq_f32(vld1q_f32(d + i + 4), high));
    }
#else
    int8_t q[16];
    memcpy(q, codes, sizeof q);
    for (size_t i = 0; i < 16; i++) {
        x[i] = d[i] * (float)q[i];
    }
#endif
}

/* n: a multiple of HY__EIGHT. */
static inline void hy__halves(const uint16_t *restrict h, float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i += HY__EIGHT) {
        hy__eight_halves(h + i, x + i);
    }
}

#endif
