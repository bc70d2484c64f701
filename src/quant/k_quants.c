/* k_quants.c: Q2_K to Q6_K: 256 elements with a scale in f16, and sub-blocks of 16 or 32 with
 * scales of 4 to 8 bits.
 *
 * Q2_K, Q4_K, Q5_K: value = d * S * code - dmin * M; Q3_K, Q6_K: value = d * S * code.  Encoding is
 * in three steps: fit each sub-block alone (k_fit.c), round scales to their few bits, choose the
 * codes again for the rounded scales. No state; any thread may call it. */
#include <math.h>

#include "quant/k_fit.h"

enum { BLOCK = 256 };

/* ---- codes of 2 bits: 128 elements share 32 bytes, element 32 j + l in bits 2j, 2j+1 of byte l */

/* Where the bytes of the 16 elements 16 g... begin, and by how much they are shifted. */
static inline size_t group_2bit(size_t g)
{
    return 32 * (g / 8) + 16 * (g % 2);
}

static inline int shift_2bit(size_t g)
{
    return (int)(2 * (g % 8 / 2));
}

static void put_2bit(uint8_t *p, const uint8_t *codes)
{
    for (size_t half = 0; half < 2; half++) {
        for (size_t l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * half + l;
            p[32 * half + l] =
                (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
    }
}

/* ---- codes of 4 bits: 64 elements share 32 bytes, the first 32 in the low halves */

static void put_4bit(uint8_t *p, const uint8_t *codes)
{
    for (size_t pair = 0; pair < 4; pair++) {
        for (size_t l = 0; l < 32; l++) {
            const uint8_t *c = codes + 64 * pair + l;
            p[32 * pair + l] = (uint8_t)((c[0] & 15) | (c[32] & 15) << 4);
        }
    }
}

/* ---- Q2_K: scales (low half S, high half M) 16, codes 64, d, dmin */

void hy__dequantize_Q2_K(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 84) {
        float d = hy__load_f16(src + 80);
        float dmin = hy__load_f16(src + 82);
        for (size_t g = 0; g < 16; g++) {
            const uint8_t *codes = src + 16 + group_2bit(g);
            const int shift = shift_2bit(g);
            float scale = d * (float)(src[g] & 15);
            float min = dmin * (float)(src[g] >> 4);
            for (size_t e = 0; e < 16; e++) {
                dst[i + 16 * g + e] = scale * (float)(codes[e] >> shift & 3) - min;
            }
        }
    }
}

/* Codes of one sub-block for rounded scale and minimum; a scale of 0 leaves those of the fit. */
static void recode_affine(size_t n, const float *x, float scale, float min, int32_t top,
                          uint8_t *codes)
{
    if (scale == 0.0f) {
        return;
    }
    for (size_t e = 0; e < n; e++) {
        codes[e] = (uint8_t)hy__clamp_i32(hy__round_even((x[e] + min) / scale), 0, top);
    }
}

/* The largest of n values, at least 0. */
static float largest(const float *v, size_t n)
{
    float max = 0.0f;
    for (size_t i = 0; i < n; i++) {
        max = v[i] > max ? v[i] : max;
    }
    return max;
}

size_t hy__quantize_Q2_K(const float *src, uint8_t *dst, size_t n)
{
    static const hy__affine_search search = {-0.5f, 0.1f, 15, true};
    for (size_t i = 0; i < n; i += BLOCK, dst += 84) {
        const float *x = src + i;
        float scales[16];
        float mins[16];
        uint8_t codes[BLOCK];
        for (size_t g = 0; g < 16; g++) {
            float weights[16];
            for (size_t e = 0; e < 16; e++) {
                weights[e] = fabsf(x[16 * g + e]);
            }
            scales[g] =
                hy__fit_affine(16, x + 16 * g, weights, 3, &search, codes + 16 * g, &mins[g]);
        }
        float max_scale = largest(scales, 16);
        float max_min = largest(mins, 16);
        if (!hy__store_f16(dst + 80, max_scale / 15.0f) ||
            !hy__store_f16(dst + 82, max_min / 15.0f)) {
            return i;
        }
        float to_scale = max_scale > 0.0f ? 15.0f / max_scale : 0.0f;
        float to_min = max_min > 0.0f ? 15.0f / max_min : 0.0f;
        float d = hy__load_f16(dst + 80);
        float dmin = hy__load_f16(dst + 82);
        for (size_t g = 0; g < 16; g++) {
            uint32_t s = (uint32_t)hy__round_even(to_scale * scales[g]);
            uint32_t m = (uint32_t)hy__round_even(to_min * mins[g]);
            dst[g] = (uint8_t)(s | m << 4);
            recode_affine(16, x + 16 * g, d * (float)(dst[g] & 15), dmin * (float)(dst[g] >> 4), 3,
                          codes + 16 * g);
        }
        put_2bit(dst + 16, codes);
    }
    return n;
}

/* ---- Q3_K: third bits 32 (bit e / 32 of byte e % 32), low bits 64, scales 12, d */

static void put_q3_scale(uint8_t *s, size_t g, uint32_t biased)
{
    if (g < 8) {
        s[g] = (uint8_t)(s[g] | (biased & 15));
    } else {
        s[g - 8] = (uint8_t)(s[g - 8] | (biased & 15) << 4);
    }
    s[8 + g % 4] = (uint8_t)(s[8 + g % 4] | biased >> 4 << (2 * (g / 4)));
}

void hy__dequantize_Q3_K(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 110) {
        float d = hy__load_f16(src + 108);
        for (size_t g = 0; g < 16; g++) {
            const uint8_t *low = src + 32 + group_2bit(g);
            const uint8_t *high = src + 16 * (g % 2);
            const int low_shift = shift_2bit(g), high_shift = (int)(g / 2);
            float scale = d * (float)hy__q3_scale(src + 96, g);
            for (size_t e = 0; e < 16; e++) {
                int32_t code = (low[e] >> low_shift & 3) | (high[e] >> high_shift & 1) << 2;
                dst[i + 16 * g + e] = scale * (float)(code - 4);
            }
        }
    }
}

/* As recode_affine, for codes biased by half. */
static void recode_symmetric(size_t n, const float *x, float scale, int32_t half, uint8_t *codes)
{
    if (scale == 0.0f) {
        return;
    }
    for (size_t e = 0; e < n; e++) {
        codes[e] = (uint8_t)(hy__clamp_i32(hy__round_even(x[e] / scale), -half, half - 1) + half);
    }
}

size_t hy__quantize_Q3_K(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 110) {
        const float *x = src + i;
        float scales[16];
        uint8_t codes[BLOCK];
        for (size_t g = 0; g < 16; g++) {
            scales[g] = hy__fit_symmetric_descent(16, x + 16 * g, 4, codes + 16 * g);
        }
        memset(dst, 0, 110);
        float extreme = hy__first_extreme(scales, 16);
        if (extreme != 0.0f) {
            float inverse = -32.0f / extreme;
            if (!hy__store_f16(dst + 108, 1.0f / inverse)) {
                return i;
            }
            for (size_t g = 0; g < 16; g++) {
                int32_t s = hy__clamp_i32(hy__round_even(inverse * scales[g]), -32, 31);
                put_q3_scale(dst + 96, g, (uint32_t)(s + 32));
            }
        }
        float d = hy__load_f16(dst + 108);
        for (size_t g = 0; g < 16; g++) {
            recode_symmetric(16, x + 16 * g, d * (float)hy__q3_scale(dst + 96, g), 4,
                             codes + 16 * g);
        }
        for (size_t e = 0; e < BLOCK; e++) {
            dst[e % 32] = (uint8_t)(dst[e % 32] | (codes[e] >> 2) << (e / 32));
        }
        put_2bit(dst + 32, codes);
    }
    return n;
}

/* ---- Q4_K and Q5_K: d, dmin, scales 12; Q5_K: fifth bits 32 (bit e / 32 of byte e % 32); codes
 * 128 */

/* For g = 0..7 in this order. */
static void put_scale_min(uint8_t *s, size_t g, uint32_t scale, uint32_t min)
{
    if (g < 4) {
        s[g] = (uint8_t)scale;
        s[g + 4] = (uint8_t)min;
    } else {
        s[g + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
        s[g - 4] = (uint8_t)(s[g - 4] | scale >> 4 << 6);
        s[g] = (uint8_t)(s[g] | min >> 4 << 6);
    }
}

/* `fifth` is NULL for Q4_K. */
static inline void decode_q45(const uint8_t *src, const uint8_t *fifth, const uint8_t *codes,
                              float *dst)
{
    float d = hy__load_f16(src);
    float dmin = hy__load_f16(src + 2);
    for (size_t g = 0; g < 8; g++) {
        uint32_t s;
        uint32_t m;
        hy__q45_scale_min(src + 4, g, &s, &m);
        float scale = d * (float)s;
        float min = dmin * (float)m;
        for (size_t l = 0; l < 32; l++) {
            uint32_t q = (uint32_t)codes[32 * (g / 2) + l] >> (4 * (g % 2)) & 15;
            if (fifth) {
                q |= ((uint32_t)fifth[l] >> g & 1) << 4;
            }
            dst[32 * g + l] = scale * (float)q - min;
        }
    }
}

void hy__dequantize_Q4_K(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 144) {
        decode_q45(src, NULL, src + 16, dst + i);
    }
}

void hy__dequantize_Q5_K(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 176) {
        decode_q45(src, src + 16, src + 48, dst + i);
    }
}

/* Writes the 16 bytes of scales and the codes of one block.  False if a scale does not fit f16. */
static bool encode_q45(const float *x, int32_t top, const hy__affine_search *search, uint8_t *dst,
                       uint8_t codes[BLOCK])
{
    float scales[8];
    float mins[8];
    for (size_t g = 0; g < 8; g++) {
        const float *sub = x + 32 * g;
        float weights[32];
        float sum = 0.0f;
        for (size_t e = 0; e < 32; e++) {
            sum += sub[e] * sub[e];
        }
        float rms = sqrtf(sum / 32.0f);
        for (size_t e = 0; e < 32; e++) {
            weights[e] = rms + fabsf(sub[e]);
        }
        scales[g] = hy__fit_affine(32, sub, weights, top, search, codes + 32 * g, &mins[g]);
    }
    float max_scale = largest(scales, 8);
    float max_min = largest(mins, 8);
    if (!hy__store_f16(dst, max_scale / 63.0f) || !hy__store_f16(dst + 2, max_min / 63.0f)) {
        return false;
    }
    float to_scale = max_scale > 0.0f ? 63.0f / max_scale : 0.0f;
    float to_min = max_min > 0.0f ? 63.0f / max_min : 0.0f;
    for (size_t g = 0; g < 8; g++) {
        /* A negative scale counts as the largest: the reference stores it as a byte first. */
        uint32_t s = (uint8_t)hy__round_even(to_scale * scales[g]);
        uint32_t m = (uint8_t)hy__round_even(to_min * mins[g]);
        put_scale_min(dst + 4, g, HY_MIN(63, s), HY_MIN(63, m));
    }
    float d = hy__load_f16(dst);
    float dmin = hy__load_f16(dst + 2);
    for (size_t g = 0; g < 8; g++) {
        uint32_t s;
        uint32_t m;
        hy__q45_scale_min(dst + 4, g, &s, &m);
        recode_affine(32, x + 32 * g, d * (float)s, dmin * (float)m, top, codes + 32 * g);
    }
    return true;
}

size_t hy__quantize_Q4_K(const float *src, uint8_t *dst, size_t n)
{
    static const hy__affine_search search = {-1.0f, 0.1f, 20, false};
    for (size_t i = 0; i < n; i += BLOCK, dst += 144) {
        uint8_t codes[BLOCK];
        if (!encode_q45(src + i, 15, &search, dst, codes)) {
            return i;
        }
        put_4bit(dst + 16, codes);
    }
    return n;
}

size_t hy__quantize_Q5_K(const float *src, uint8_t *dst, size_t n)
{
    static const hy__affine_search search = {-0.5f, 0.1f, 15, false};
    for (size_t i = 0; i < n; i += BLOCK, dst += 176) {
        uint8_t codes[BLOCK];
        if (!encode_q45(src + i, 31, &search, dst, codes)) {
            return i;
        }
        memset(dst + 16, 0, 32);
        for (size_t e = 0; e < BLOCK; e++) {
            dst[16 + e % 32] = (uint8_t)(dst[16 + e % 32] | (codes[e] >> 4) << (e / 32));
        }
        put_4bit(dst + 48, codes);
    }
    return n;
}

/* ---- Q6_K: low halves 128, high bits 64, scales i8 16, d */

static inline int32_t signed_byte(uint8_t b)
{
    return b < 128 ? b : b - 256;
}

void hy__dequantize_Q6_K(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 210) {
        float d = hy__load_f16(src + 208);
        for (size_t g = 0; g < 16; g++) {
            /* Of 128 elements, 0..63 are in the low halves of 64 bytes and 64..127 in the high
             * ones. */
            const uint8_t *low = src + 64 * (g / 8) + 16 * (g % 4);
            const uint8_t *high = src + 128 + group_2bit(g);
            const int low_shift = g % 8 < 4 ? 0 : 4, high_shift = shift_2bit(g);
            float scale = d * (float)signed_byte(src[192 + g]);
            for (size_t e = 0; e < 16; e++) {
                int32_t code = (low[e] >> low_shift & 15) | (high[e] >> high_shift & 3) << 4;
                dst[i + 16 * g + e] = scale * (float)(code - 32);
            }
        }
    }
}

size_t hy__quantize_Q6_K(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 210) {
        const float *x = src + i;
        float scales[16];
        uint8_t codes[BLOCK];
        for (size_t g = 0; g < 16; g++) {
            scales[g] = hy__fit_symmetric(16, x + 16 * g, 32, codes + 16 * g);
        }
        memset(dst, 0, 210);
        float extreme = hy__first_extreme(scales, 16);
        if (fabsf(extreme) < HY__FIT_EPSILON) {
            continue;
        }
        float inverse = -128.0f / extreme;
        if (!hy__store_f16(dst + 208, 1.0f / inverse)) {
            return i;
        }
        float d = hy__load_f16(dst + 208);
        uint8_t high[BLOCK];
        for (size_t g = 0; g < 16; g++) {
            dst[192 + g] = (uint8_t)HY_MIN(127, hy__round_even(inverse * scales[g]));
            recode_symmetric(16, x + 16 * g, d * (float)signed_byte(dst[192 + g]), 32,
                             codes + 16 * g);
        }
        for (size_t e = 0; e < BLOCK; e++) {
            size_t at = 64 * (e / 128) + e % 64;
            dst[at] = (uint8_t)(dst[at] | (codes[e] & 15) << (4 * (e % 128 / 64)));
            high[e] = codes[e] >> 4;
        }
        put_2bit(dst + 128, high);
    }
    return n;
}
