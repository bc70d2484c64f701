/* legacy.c: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: 32 elements, one scale, for the _1 types also a
 * minimum.
 *
 * A block is d (f16), for _1 types m (f16), for 5-bit types the fifth bits (u32, bit e for element
 * e), then the codes: element e below 16 in the low half of byte e, element e from 16 in the high
 * half of byte e - 16; Q8_0 has one signed byte each. Encoders compute codes with the f32 scale,
 * before it is rounded to f16: so the reference does. No state; any thread may call it. */
#include "quant/quant.h"

enum { BLOCK = 32, HALF = 16 };

/* ---- decoding.  `fifth` is NULL for 4-bit types. */

static inline int32_t code_at(const uint8_t *codes, const uint8_t *fifth, size_t e)
{
    int32_t low = e < HALF ? codes[e] & 15 : codes[e - HALF] >> 4;
    return fifth ? low | (fifth[e / 8] >> (e % 8) & 1) << 4 : low;
}

static inline void decode_symmetric(const uint8_t *codes, const uint8_t *fifth, float d,
                                    int32_t bias, float *dst)
{
    for (size_t e = 0; e < BLOCK; e++) {
        dst[e] = d * (float)(code_at(codes, fifth, e) - bias);
    }
}

static inline void decode_affine(const uint8_t *codes, const uint8_t *fifth, float d, float m,
                                 float *dst)
{
    for (size_t e = 0; e < BLOCK; e++) {
        dst[e] = d * (float)code_at(codes, fifth, e) + m;
    }
}

void hy__dequantize_Q4_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 18) {
        decode_symmetric(src + 2, NULL, hy__load_f16(src), 8, dst + i);
    }
}

void hy__dequantize_Q4_1(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 20) {
        decode_affine(src + 4, NULL, hy__load_f16(src), hy__load_f16(src + 2), dst + i);
    }
}

void hy__dequantize_Q5_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 22) {
        decode_symmetric(src + 6, src + 2, hy__load_f16(src), 16, dst + i);
    }
}

void hy__dequantize_Q5_1(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 24) {
        decode_affine(src + 8, src + 4, hy__load_f16(src), hy__load_f16(src + 2), dst + i);
    }
}

void hy__dequantize_Q8_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 34) {
        float d = hy__load_f16(src);
        for (size_t e = 0; e < BLOCK; e++) {
            int32_t q = src[2 + e] < 128 ? src[2 + e] : src[2 + e] - 256;
            dst[i + e] = d * (float)q;
        }
    }
}

/* ---- encoding */

/* 0 for a scale of 0; may overflow to infinity for subnormal scales. */
static inline float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

static inline void put_code(uint8_t *codes, uint8_t *fifth, size_t e, uint32_t q)
{
    if (e < HALF) {
        codes[e] = (uint8_t)(q & 15);
    } else {
        codes[e - HALF] = (uint8_t)(codes[e - HALF] | (q & 15) << 4);
    }
    if (fifth) {
        fifth[e / 8] = (uint8_t)(fifth[e / 8] | (q >> 4 & 1) << (e % 8));
    }
}

/* The extreme element becomes code 0; `levels` is 16 or 32. */
static void encode_symmetric(const float *x, int32_t levels, float d, uint8_t *codes,
                             uint8_t *fifth)
{
    float inv = inverse(d);
    float bias = (float)(levels / 2) + 0.5f;
    for (size_t e = 0; e < BLOCK; e++) {
        /* An overflow counts as 0: the low byte of INT32_MIN. */
        int32_t q = hy__truncate(x[e] * inv + bias);
        q = q == INT32_MIN ? 0 : q;
        put_code(codes, fifth, e, (uint32_t)HY_MIN(levels - 1, q));
    }
}

static void encode_affine(const float *x, int32_t levels, float d, float m, uint8_t *codes,
                          uint8_t *fifth)
{
    float inv = inverse(d);
    for (size_t e = 0; e < BLOCK; e++) {
        int32_t q = hy__truncate((x[e] - m) * inv + 0.5f);
        q = q == INT32_MIN ? 0 : q;
        put_code(codes, fifth, e, (uint32_t)HY_MIN(levels - 1, q));
    }
}

/* Smallest element, and how far the largest is above it. */
static float range_of(const float *x, float *min)
{
    float lo = x[0];
    float hi = x[0];
    for (size_t e = 1; e < BLOCK; e++) {
        lo = x[e] < lo ? x[e] : lo;
        hi = x[e] > hi ? x[e] : hi;
    }
    *min = lo;
    return hi - lo;
}

size_t hy__quantize_Q4_0(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 18) {
        float d = hy__first_extreme(src + i, BLOCK) / -8.0f;
        if (!hy__store_f16(dst, d)) {
            return i;
        }
        encode_symmetric(src + i, 16, d, dst + 2, NULL);
    }
    return n;
}

size_t hy__quantize_Q4_1(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 20) {
        float m;
        float d = range_of(src + i, &m) / 15.0f;
        if (!hy__store_f16(dst, d) || !hy__store_f16(dst + 2, m)) {
            return i;
        }
        encode_affine(src + i, 16, d, m, dst + 4, NULL);
    }
    return n;
}

size_t hy__quantize_Q5_0(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 22) {
        float d = hy__first_extreme(src + i, BLOCK) / -16.0f;
        if (!hy__store_f16(dst, d)) {
            return i;
        }
        hy__store_u32(dst + 2, 0);
        encode_symmetric(src + i, 32, d, dst + 6, dst + 2);
    }
    return n;
}

size_t hy__quantize_Q5_1(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 24) {
        float m;
        float d = range_of(src + i, &m) / 31.0f;
        if (!hy__store_f16(dst, d) || !hy__store_f16(dst + 2, m)) {
            return i;
        }
        hy__store_u32(dst + 4, 0);
        encode_affine(src + i, 32, d, m, dst + 8, dst + 4);
    }
    return n;
}

/* To the nearest integer, ties away from zero, |x| < 2^22.  The sum x + 0.5 may round up to the
 * next integer (for the float just below 0.5), hence the comparison of the exact remainder. */
static int32_t round_away(float x)
{
    int32_t q = hy__truncate(x);
    if (q == INT32_MIN) {
        return 0;
    }
    float rest = x - (float)q;
    return rest >= 0.5f ? q + 1 : rest <= -0.5f ? q - 1 : q;
}

size_t hy__quantize_Q8_0(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 34) {
        float v = hy__first_extreme(src + i, BLOCK);
        float d = (v < 0.0f ? -v : v) / 127.0f;
        if (!hy__store_f16(dst, d)) {
            return i;
        }
        float inv = inverse(d);
        for (size_t e = 0; e < BLOCK; e++) {
            dst[2 + e] = (uint8_t)round_away(src[i + e] * inv);
        }
    }
    return n;
}
