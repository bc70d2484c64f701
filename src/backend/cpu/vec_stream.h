/* vec_stream.h: stores that go past the caches, for vec.c.
 *
 * An ordinary store to memory that is not in a cache reads the line first, and pushes another one
 * out: half of the traffic of a state that is rewritten once per token.  Where the level has no
 * such stores, they are ordinary ones.  Any thread may call these, for memory of its own. */
#ifndef HY_BACKEND_CPU_VEC_STREAM_H
#define HY_BACKEND_CPU_VEC_STREAM_H

#include "base/base.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif

/* Copies n floats; fastest where `to` begins at a multiple of 64 bytes. */
static inline void hy__stream(float *restrict to, const float *restrict from, size_t n)
{
    size_t i = 0;
#if defined(__AVX512F__)
    for (; (uintptr_t)to % 64 == 0 && n - i >= 16; i += 16) {
        _mm512_stream_ps(to + i, _mm512_loadu_ps(from + i));
    }
#elif defined(__AVX__)
    for (; (uintptr_t)to % 32 == 0 && n - i >= 8; i += 8) {
        _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
    }
#endif
    memcpy(to + i, from + i, (n - i) * sizeof *to);
}

/* Such stores are in no order with others until this. */
static inline void hy__stream_end(void)
{
#if defined(__AVX__)
    _mm_sfence();
#endif
}

#endif
