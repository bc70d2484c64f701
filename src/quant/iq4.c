/* iq4.c: IQ4_NL and IQ4_XS: codes of 4 bits that stand for 16 unevenly spaced levels.
 *
 * IQ4_NL: 32 elements, d, codes.  IQ4_XS: 256 elements, d, and a scale of 6 bits for each 32.
 * No state; any thread may call it. */
#include <math.h>

#include "quant/k_fit.h"

enum { SUB = 32, HALF = 16, LEVELS = 16, XS_BLOCK = 256, XS_SUBS = 8 };

const int8_t hy__iq4_levels[LEVELS] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                       1,    13,   25,  38,  53,  69,  89,  113};

/* ---- decoding */

static inline void decode_codes(const uint8_t *codes, float d, float *dst)
{
    for (size_t e = 0; e < HALF; e++) {
        dst[e] = d * (float)hy__iq4_levels[codes[e] & 15];
        dst[HALF + e] = d * (float)hy__iq4_levels[codes[e] >> 4];
    }
}

void hy__dequantize_IQ4_NL(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += SUB, src += 18) {
        decode_codes(src + 2, hy__load_f16(src), dst + i);
    }
}

void hy__dequantize_IQ4_XS(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += XS_BLOCK, src += 136) {
        float d = hy__load_f16(src);
        uint32_t high = hy__load_u16(src + 2);
        for (size_t g = 0; g < XS_SUBS; g++) {
            uint32_t low = (uint32_t)src[4 + g / 2] >> (4 * (g % 2)) & 15;
            int32_t scale = (int32_t)(low | (high >> (2 * g) & 3) << 4) - 32;
            decode_codes(src + 8 + 16 * g, d * (float)scale, dst + i + SUB * g);
        }
    }
}

/* ---- encoding */

/* The level nearest to x, the higher of two that are equally near. */
static uint32_t nearest_level(float x)
{
    if (x <= (float)hy__iq4_levels[0]) {
        return 0;
    }
    if (x >= (float)hy__iq4_levels[LEVELS - 1]) {
        return LEVELS - 1;
    }
    uint32_t below = 0;
    uint32_t above = LEVELS - 1;
    while (above - below > 1) { /* hy__iq4_levels[below] <= x < hy__iq4_levels[above] */
        uint32_t middle = (below + above) / 2;
        if (x < (float)hy__iq4_levels[middle]) {
            above = middle;
        } else {
            below = middle;
        }
    }
    return x - (float)hy__iq4_levels[below] < (float)hy__iq4_levels[above] - x ? below : above;
}

/* With weights w = x^2 and levels q of this inverse scale: *xq = sum w q x, *qq = sum w q q. */
static void level_sums(const float *x, float inverse, float *xq, float *qq)
{
    float sum_xq = 0.0f;
    float sum_qq = 0.0f;
    for (size_t e = 0; e < SUB; e++) {
        float q = (float)hy__iq4_levels[nearest_level(inverse * x[e])];
        float w = x[e] * x[e];
        sum_xq += w * q * x[e];
        sum_qq += w * q * q;
    }
    *xq = sum_xq;
    *qq = sum_qq;
}

/* The scale that keeps most of the weighted energy of 32 elements, over 16 trials; 0 for a zero
 * sub-block. */
static float fit_levels(const float *x)
{
    enum { TRIALS = 7 };
    float extreme = hy__first_extreme(x, SUB);
    if (fabsf(extreme) < HY__FIT_EPSILON) {
        return 0.0f;
    }
    float lowest = (float)hy__iq4_levels[0];
    float d = -extreme / lowest;
    float xq;
    float qq;
    level_sums(x, 1.0f / d, &xq, &qq);
    d = qq > 0.0f ? xq / qq : 0.0f;
    float best = d * xq;
    for (int t = -TRIALS; t <= TRIALS; t++) {
        level_sums(x, ((float)t + lowest) / extreme, &xq, &qq);
        if (qq > 0.0f && xq * xq > best * qq) {
            d = xq / qq;
            best = d * xq;
        }
    }
    return d;
}

static void encode_codes(const float *x, float d, uint8_t *codes)
{
    float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    for (size_t e = 0; e < HALF; e++) {
        uint32_t low = nearest_level(inverse * x[e]);
        uint32_t high = nearest_level(inverse * x[HALF + e]);
        codes[e] = (uint8_t)(low | high << 4);
    }
}

size_t hy__quantize_IQ4_NL(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += SUB, dst += 18) {
        float d = fit_levels(src + i);
        if (!hy__store_f16(dst, d)) {
            return i;
        }
        encode_codes(src + i, d, dst + 2);
    }
    return n;
}

size_t hy__quantize_IQ4_XS(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += XS_BLOCK, dst += 136) {
        float scales[XS_SUBS];
        for (size_t g = 0; g < XS_SUBS; g++) {
            scales[g] = fit_levels(src + i + SUB * g);
        }
        /* Codes are chosen with this unrounded d. */
        float d = -hy__first_extreme(scales, XS_SUBS) / 32.0f;
        if (!hy__store_f16(dst, d)) {
            return i;
        }
        float inverse = d != 0.0f ? 1.0f / d : 0.0f;
        uint32_t high = 0;
        memset(dst + 4, 0, 4);
        for (size_t g = 0; g < XS_SUBS; g++) {
            int32_t scale = hy__clamp_i32(hy__round_even(inverse * scales[g]), -32, 31);
            uint32_t biased = (uint32_t)(scale + 32);
            dst[4 + g / 2] = (uint8_t)(dst[4 + g / 2] | (biased & 15) << (4 * (g % 2)));
            high |= biased >> 4 << (2 * g);
            encode_codes(src + i + SUB * g, d * (float)scale, dst + 8 + 16 * g);
        }
        hy__store_u16(dst + 2, (uint16_t)high);
    }
    return n;
}
