/* quant.h: what the block codecs share and what kernels may look up.
 *
 * The list of types is HY_TYPE_LIST in halyard/types.h; this header turns it into declarations,
 * types.c into a table. A codec is two functions named after the type, in the file of its family.
 * Codecs hold no state and allocate nothing: every function here may be called from any thread. */
#ifndef HY_QUANT_QUANT_H
#define HY_QUANT_QUANT_H

#include "base/base.h"
#include "halyard/types.h"

/* Decodes n elements (a multiple of the type's block_elems) from encoded bytes of any alignment. */
typedef void (*hy__dequantize_fn)(const uint8_t *src, float *dst, size_t n);

/* Encodes n finite elements (a multiple of block_elems).  Returns n, or the index of the first
 * element of the first block whose scale (or, for the float types, value) does not fit the type;
 * that block and those after it are then unspecified. Blocks do not depend on each other, so any
 * split into whole blocks gives the same bytes. */
typedef size_t (*hy__quantize_fn)(const float *src, uint8_t *dst, size_t n);

typedef struct hy__type_traits {
    hy_type_info info;
    hy__dequantize_fn dequantize_row; /* NULL if the type has no decoder */
    hy__quantize_fn quantize_row;     /* NULL if the type has no encoder */
} hy__type_traits;

/* NULL for ids that do not exist. Static storage. */
const hy__type_traits *hy__type_traits_of(uint32_t id);

/* hy__dequantize_Q4_0, hy__quantize_Q4_0, ... as the codec column of the list says. */
#define HY__DECLARE_SIZE(name)
#define HY__DECLARE_DECODE(name)                                                                   \
    void hy__dequantize_##name(const uint8_t *src, float *dst, size_t n);
#define HY__DECLARE_FULL(name)                                                                     \
    HY__DECLARE_DECODE(name)                                                                       \
    size_t hy__quantize_##name(const float *src, uint8_t *dst, size_t n);
#define HY__DECLARE(name, id, elems, bytes, codec) HY__DECLARE_##codec(name)
HY_TYPE_LIST(HY__DECLARE)
#undef HY__DECLARE

/* Index of the first element that is not finite; n if all are. */
size_t hy__first_not_finite(const float *x, size_t n);

/* ---- how blocks are laid out, for codecs and kernels */

/* IQ4_NL and IQ4_XS: what the codes stand for. */
extern const int8_t hy__iq4_levels[16];

/* Q3_K: scale g of 16: 6 bits, biased by 32; the low 4 bits of 0..7 and 8..15 share bytes 0..7, the
 * high 2 of g are in byte 8 + g % 4. */
static inline int32_t hy__q3_scale(const uint8_t *s, size_t g)
{
    int32_t low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    int32_t high = s[8 + g % 4] >> (2 * (g / 4)) & 3;
    return (low | high << 4) - 32;
}

/* Q4_K and Q5_K: scale and minimum g of 8, 6 bits each.  Bytes 0..3 and 4..7 hold those of 0..3;
 * the low halves of 4..7 are in bytes 8..11, their top two bits in the top bits of bytes 0..7. */
static inline void hy__q45_scale_min(const uint8_t *s, size_t g, uint32_t *scale, uint32_t *min)
{
    if (g < 4) {
        *scale = s[g] & 63u;
        *min = s[g + 4] & 63u;
    } else {
        *scale = (s[g + 4] & 15u) | (uint32_t)(s[g - 4] >> 6) << 4;
        *min = (uint32_t)(s[g + 4] >> 4) | (uint32_t)(s[g] >> 6) << 4;
    }
}

/* ---- small steps of the reference arithmetic */

/* The f16 at p. */
static inline float hy__load_f16(const uint8_t *p)
{
    return hy__f16_to_f32(hy__load_u16(p));
}

/* Stores d as f16; false if it is not finite there. */
static inline bool hy__store_f16(uint8_t *p, float d)
{
    uint16_t h = hy__f32_to_f16(d);
    hy__store_u16(p, h);
    return (h & 0x7C00u) != 0x7C00u;
}

/* To the nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves the integer in the
 * low mantissa bits. Larger values and NaN give some integer of 23 bits, the same on every machine.
 */
static inline int32_t hy__round_even(float x)
{
    uint32_t bits = hy__f32_bits(x + 12582912.0f);
    return (int32_t)(bits & 0x7FFFFFu) - 0x400000;
}

/* Towards zero; values that do not fit give INT32_MIN, as x86 does it.  Scales so small that their
 * inverse overflows come here, and files must not depend on the machine that wrote them. */
static inline int32_t hy__truncate(float x)
{
    if (!(x >= -2147483648.0f && x < 2147483648.0f)) {
        return INT32_MIN;
    }
    return (int32_t)x;
}

static inline int32_t hy__clamp_i32(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* The element of largest magnitude, the first of them, with its sign; 0 if n is 0. */
static inline float hy__first_extreme(const float *x, size_t n)
{
    float extreme = 0.0f;
    float magnitude = 0.0f;
    for (size_t i = 0; i < n; i++) {
        float a = x[i] < 0.0f ? -x[i] : x[i];
        if (a > magnitude) {
            magnitude = a;
            extreme = x[i];
        }
    }
    return extreme;
}

#endif
