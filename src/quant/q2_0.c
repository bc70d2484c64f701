/* q2_0.c: Q2_0: 64 elements of 2 bits, -d, 0, d or 2 d.
 *
 * A block is d (f16), then 16 bytes of codes, element e in bits 2 (e % 4) and above of byte e / 4.
 * No state; any thread may call it. */
#include "quant/quant.h"

enum { BLOCK = 64, BLOCK_BYTES = 18 };

void hy__dequantize_Q2_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += BLOCK_BYTES) {
        float d = hy__load_f16(src);
        for (size_t e = 0; e < BLOCK; e++) {
            int32_t code = src[2 + e / 4] >> (2 * (e % 4)) & 3;
            dst[i + e] = (float)(code - 1) * d;
        }
    }
}

/* The code of a share -1..1 of the largest magnitude, halves away from zero.  The encoder makes no
 * use of code 3.  Where the inverse scale overflowed, the share is infinite or NaN and the
 * reference's code is 0. */
static uint32_t code_of(float share)
{
    if (share <= -0.5f || !(share < 2.0f)) {
        return 0;
    }
    return share < 0.5f ? 1 : 2;
}

size_t hy__quantize_Q2_0(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, dst += BLOCK_BYTES) {
        float extreme = hy__first_extreme(src + i, BLOCK);
        float d = extreme < 0.0f ? -extreme : extreme;
        if (!hy__store_f16(dst, d)) {
            return i;
        }
        float inverse = d > 0.0f ? 1.0f / d : 0.0f;
        memset(dst + 2, 0, BLOCK_BYTES - 2);
        for (size_t e = 0; e < BLOCK; e++) {
            uint32_t code = code_of(src[i + e] * inverse);
            dst[2 + e / 4] = (uint8_t)(dst[2 + e / 4] | code << (2 * (e % 4)));
        }
    }
    return n;
}
