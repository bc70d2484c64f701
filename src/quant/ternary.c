/* ternary.c: TQ1_0 and TQ2_0: 256 elements that are -d, 0 or d.
 *
 * No state; any thread may call it. */
#include "quant/quant.h"

enum { BLOCK = 256 };

/* Digit `place` (0 is the most significant) of the fraction byte / 256 in base 3.  A byte holds
 * five digits as the fraction's upper bound, so that a multiplication by 3^place modulo 256 brings
 * the digit to the front. */
static inline int32_t base3_digit(uint8_t byte, size_t place)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    uint32_t fraction = (uint32_t)byte * power[place] & 255;
    return (int32_t)(fraction * 3 >> 8);
}

/* `count` bytes hold places * count elements: all first digits, then all second ones, ... */
static float *decode_digits(const uint8_t *bytes, size_t count, size_t places, float d, float *dst)
{
    for (size_t place = 0; place < places; place++) {
        for (size_t b = 0; b < count; b++) {
            *dst++ = (float)(base3_digit(bytes[b], place) - 1) * d;
        }
    }
    return dst;
}

/* 32 + 16 bytes of five digits, 4 bytes of four digits, d. */
void hy__dequantize_TQ1_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 54) {
        float d = hy__load_f16(src + 52);
        dst = decode_digits(src, 32, 5, d, dst);
        dst = decode_digits(src + 32, 16, 5, d, dst);
        dst = decode_digits(src + 48, 4, 4, d, dst);
    }
}

/* 64 bytes of four codes of 2 bits, d: 128 elements share 32 bytes, element 32 j + l in bits 2j,
 * 2j+1 of byte l. */
void hy__dequantize_TQ2_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 66) {
        float d = hy__load_f16(src + 64);
        for (size_t e = 0; e < BLOCK; e++) {
            int32_t q = src[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32)) & 3;
            dst[i + e] = (float)(q - 1) * d;
        }
    }
}
