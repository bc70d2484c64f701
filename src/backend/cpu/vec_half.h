/* vec_half.h: many f16 to f32, for vec.c: the one conversion that compilers do not find an
 * instruction for.
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

enum { HY__HALVES = 8 }; /* that are converted at once */

static inline void hy__eight_halves(const uint16_t *h, float *x)
{
#if defined(__F16C__)
    _mm256_storeu_ps(x, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)h)));
#elif defined(__ARM_NEON) && defined(__aarch64__)
    vst1q_f32(x, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h))));
    vst1q_f32(x + 4, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + 4))));
#else
    for (size_t i = 0; i < HY__HALVES; i++) {
        x[i] = hy__f16_to_f32(h[i]);
    }
#endif
}

/* n: a multiple of HY__HALVES. */
static inline void hy__halves(const uint16_t *restrict h, float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i += HY__HALVES) {
        hy__eight_halves(h + i, x + i);
    }
}

#endif
