/* rows_avx512.h: vectors of AVX-512 in which 16 rows lie side by side, for packed_avx512.c and
 * columns_avx512.c.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_X86_ROWS_AVX512_H
#define HY_BACKEND_CPU_X86_ROWS_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "halyard/compiler.h"

static HY_INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* The same 4 activations for each row. */
static HY_INLINE __m512i four(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm512_set1_epi32(v);
}

static HY_INLINE __m512i bytes_and(__m512i v, int mask)
{
    return _mm512_and_si512(v, _mm512_set1_epi8((char)mask));
}

/* 16 numbers in f16, of a row each. */
static HY_INLINE __m512 f16_rows(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* 16 bytes, of a row each, without or with sign. */
static HY_INLINE __m512 u8_rows(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

static HY_INLINE __m512 s8_rows(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

static HY_INLINE __m512 negative(__m512 v)
{
    return _mm512_xor_ps(v, _mm512_set1_ps(-0.0f));
}

#endif
