/* float.c: F32, F16 and BF16, the types without blocks.
 *
 * No state; any thread may call it. */
#include "quant/quant.h"

void hy__dequantize_F32(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = hy__f32_from_bits(hy__load_u32(src + 4 * i));
    }
}

size_t hy__quantize_F32(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hy__store_u32(dst + 4 * i, hy__f32_bits(src[i]));
    }
    return n;
}

void hy__dequantize_F16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = hy__load_f16(src + 2 * i);
    }
}

size_t hy__quantize_F16(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!hy__store_f16(dst + 2 * i, src[i])) {
            return i;
        }
    }
    return n;
}

void hy__dequantize_BF16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = hy__bf16_to_f32(hy__load_u16(src + 2 * i));
    }
}

size_t hy__quantize_BF16(const float *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = hy__f32_to_bf16(src[i]);
        if ((h & 0x7F80u) == 0x7F80u) {
            return i;
        }
        hy__store_u16(dst + 2 * i, h);
    }
    return n;
}
