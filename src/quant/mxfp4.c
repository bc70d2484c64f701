/* mxfp4.c: MXFP4 of the OCP microscaling formats: 32 elements of 4 bits (E2M1) with a shared power
 * of two.
 *
 * Byte 0 is the exponent E of the scale 2^(E - 127), E = 255 is NaN; then 16 bytes of codes,
 * element e below 16 in the low half of byte e, the others in the high halves.  Levels are kept
 * doubled, so they are integers, and the scale halved. No state; any thread may call it. */
#include <math.h>

#include "quant/quant.h"

enum { BLOCK = 32, HALF = 16, LEVELS = 16, NOT_A_NUMBER = 255 };

static const int8_t doubled_levels[LEVELS] = {0, 1,  2,  3,  4,  6,  8,  12,
                                              0, -1, -2, -3, -4, -6, -8, -12};

/* 2^(E - 128): subnormal for E = 0 and 1. */
static float half_scale(uint32_t exponent)
{
    if (exponent == NOT_A_NUMBER) {
        return hy__f32_from_bits(0x7FC00000u);
    }
    return hy__f32_from_bits(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

void hy__dequantize_MXFP4(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 17) {
        float d = half_scale(src[0]);
        for (size_t e = 0; e < HALF; e++) {
            dst[i + e] = d * (float)doubled_levels[src[1 + e] & 15];
            dst[i + HALF + e] = d * (float)doubled_levels[src[1 + e] >> 4];
        }
    }
}

/* The first of the nearest levels. */
static uint32_t nearest_level(float x, float d)
{
    uint32_t best = 0;
    float best_error = fabsf((float)doubled_levels[0] * d - x);
    for (uint32_t q = 1; q < LEVELS; q++) {
        float error = fabsf((float)doubled_levels[q] * d - x);
        if (error < best_error) {
            best = q;
            best_error = error;
        }
    }
    return best;
}

/* The exponent byte for a block whose largest magnitude is `extreme`: the largest level, 6, is 2
 * binades above 1.  The logarithm is rounded to f32 before it is cut, as in the reference: just
 * below a high power of two this gives the next exponent.  Below 2^-125 the byte wraps around; all
 * codes are 0 then. */
static uint32_t shared_exponent(float extreme)
{
    if (extreme == 0.0f) {
        return 0;
    }
    float log2_extreme = (float)(hy__log((double)extreme) * 1.4426950408889634074);
    return (uint32_t)((int32_t)floorf(log2_extreme) - 2 + 127) & 255;
}

size_t hy__quantize_MXFP4(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += 17) {
        uint32_t exponent = shared_exponent(fabsf(hy__first_extreme(src + i, BLOCK)));
        if (exponent == NOT_A_NUMBER) {
            return i;
        }
        float d = half_scale(exponent);
        dst[0] = (uint8_t)exponent;
        for (size_t e = 0; e < HALF; e++) {
            uint32_t low = nearest_level(src[i + e], d);
            uint32_t high = nearest_level(src[i + HALF + e], d);
            dst[1 + e] = (uint8_t)(low | high << 4);
        }
    }
    return n;
}
