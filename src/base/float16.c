/* float16.c: rounding to 16-bit floating point, by integer arithmetic on the bits. */
#include "base.h"

uint16_t hy__f32_to_f16(float f)
{
    const uint32_t bits = hy__f32_bits(f);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t abs = bits & 0x7fffffff;
    if (abs > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00);
    }
    if (abs >= 0x477ff000) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    }
    uint32_t kept;   /* result before rounding */
    uint32_t lost;   /* the bits cut off, at the top of 32 */
    if (abs < 0x38800000) { /* below 2^-14: subnormal half */
        if (abs < 0x33000000) { /* below 2^-25 */
            return sign;
        }
        const uint32_t shift = 126 - (abs >> 23); /* 14..24 */
        const uint32_t mantissa = (abs & 0x7fffff) | 0x800000;
        kept = mantissa >> shift;
        lost = mantissa << (32 - shift);
    } else {
        kept = (abs - 0x38000000) >> 13;
        lost = abs << 19;
    }
    if (lost > 0x80000000u || (lost == 0x80000000u && (kept & 1))) {
        kept++;
    }
    return (uint16_t)(sign | kept);
}

uint16_t hy__f32_to_bf16(float f)
{
    const uint32_t bits = hy__f32_bits(f);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
