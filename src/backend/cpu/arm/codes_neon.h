/* codes_neon.h: packed blocks taken apart with NEON: codes and factors of each type, for
 * packed_neon.c.
 *
 * A part of a block is the 32 or 64 elements that gemv takes at once.  codes_T(b, g, e, k, v):
 * elements 16 e + 4 k to 16 e + 4 k + 3 of part g of the block b, of the rows 4 v to 4 v + 3, as
 * signed bytes u - BIAS_T.  factors_T(b, i): a and c of block i of B elements in it.  e, k and v
 * are constants, so that choices vanish.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_ARM_CODES_NEON_H
#define HY_BACKEND_CPU_ARM_CODES_NEON_H

#include <arm_neon.h>

#include "backend/cpu/packed.h"
#include "halyard/compiler.h"
#include "quant/quant.h"

/* ---- bytes */

/* Four bytes of each of four rows: granule i of a field of codes. */
static HY_INLINE uint8x16_t four(const uint8_t *field, uint32_t i, int v)
{
    return vld1q_u8(field + (size_t)64 * i + 16 * v);
}

/* A byte of each of 16 rows: byte i of a field of scales. */
static HY_INLINE uint8x16_t byte_of(const uint8_t *field, uint32_t i)
{
    return vld1q_u8(field + (size_t)16 * i);
}

static HY_INLINE uint8x16_t masked(uint8x16_t x, int mask)
{
    return vandq_u8(x, vdupq_n_u8((uint8_t)mask));
}

/* By any n, to the left if it is negative. */
static HY_INLINE uint8x16_t right(uint8x16_t x, uint32_t n)
{
    return vshlq_u8(x, vdupq_n_s8((int8_t)(0 - n)));
}

static HY_INLINE int8x16_t nibble(uint8x16_t bytes, bool high)
{
    return vreinterpretq_s8_u8(high ? vshrq_n_u8(bytes, 4) : masked(bytes, 15));
}

/* ---- factors: a lane for each row */

typedef struct factors {
    float32x4_t a[4], c[4];
} factors;

typedef struct rows16 {
    float32x4_t v[4];
} rows16;

static HY_INLINE rows16 f16_rows(const uint8_t *p)
{
    const float16x8_t low = vreinterpretq_f16_u8(vld1q_u8(p));
    const float16x8_t high = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    return (rows16){{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
                     vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)}};
}

/* Each byte goes to the top of a lane, whose value as a fraction it then is. */
static HY_INLINE rows16 s8_rows(uint8x16_t bytes)
{
    static const uint8_t place[4][16] = {
        {99, 99, 99, 0, 99, 99, 99, 1, 99, 99, 99, 2, 99, 99, 99, 3},
        {99, 99, 99, 4, 99, 99, 99, 5, 99, 99, 99, 6, 99, 99, 99, 7},
        {99, 99, 99, 8, 99, 99, 99, 9, 99, 99, 99, 10, 99, 99, 99, 11},
        {99, 99, 99, 12, 99, 99, 99, 13, 99, 99, 99, 14, 99, 99, 99, 15}};
    rows16 out;
    for (int v = 0; v < 4; v++) {
        const uint8x16_t top = vqtbl1q_u8(bytes, vld1q_u8(place[v]));
        out.v[v] = vcvtq_n_f32_s32(vreinterpretq_s32_u8(top), 24);
    }
    return out;
}

/* a = d S, c = a * offset. */
static HY_INLINE factors symmetric(rows16 a, float offset)
{
    factors f;
    for (int v = 0; v < 4; v++) {
        f.a[v] = a.v[v];
        f.c[v] = vmulq_n_f32(a.v[v], offset);
    }
    return f;
}

static HY_INLINE rows16 product(rows16 x, rows16 y)
{
    for (int v = 0; v < 4; v++) {
        x.v[v] = vmulq_f32(x.v[v], y.v[v]);
    }
    return x;
}

static HY_INLINE factors affine(rows16 a, rows16 c)
{
    return (factors){{a.v[0], a.v[1], a.v[2], a.v[3]}, {c.v[0], c.v[1], c.v[2], c.v[3]}};
}

/* d and -c, as Q4_1 and Q5_1 begin. */
static HY_INLINE factors scale_and_minimum(const uint8_t *b)
{
    rows16 c = f16_rows(b + 32);
    for (int v = 0; v < 4; v++) {
        c.v[v] = vnegq_f32(c.v[v]);
    }
    return affine(f16_rows(b), c);
}

/* ---- blocks of 32 elements */

enum { BIAS_Q8_0 = 128, BIAS_Q4_0 = 0, BIAS_Q4_1 = 0, BIAS_Q5_0 = 16, BIAS_Q5_1 = 16 };

static HY_INLINE int8x16_t codes_Q8_0(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    (void)g;
    return vreinterpretq_s8_u8(four(b + 32, (uint32_t)(4 * e + k), v));
}

static HY_INLINE factors factors_Q8_0(const uint8_t *b, uint32_t i)
{
    (void)i;
    return symmetric(f16_rows(b), 128.0f);
}

static HY_INLINE int8x16_t codes_Q4_0(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    (void)g;
    return nibble(four(b + 32, (uint32_t)k, v), e == 1);
}

static HY_INLINE factors factors_Q4_0(const uint8_t *b, uint32_t i)
{
    (void)i;
    return symmetric(f16_rows(b), 8.0f);
}

static HY_INLINE int8x16_t codes_Q4_1(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    (void)g;
    return nibble(four(b + 64, (uint32_t)k, v), e == 1);
}

static HY_INLINE factors factors_Q4_1(const uint8_t *b, uint32_t i)
{
    (void)i;
    return scale_and_minimum(b);
}

/* The fifth bits of a row are 32 in a row.  Bytes of ones where they are 0 go into the high half of
 * the code, which so becomes smaller by 16. */
static HY_INLINE int8x16_t with_fifth(const uint8_t *fifth, const uint8_t *codes, int e, int k,
                                      int v)
{
    static const uint8_t place[4][16] = {{0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12},
                                         {1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13},
                                         {2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14},
                                         {3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15}};
    const uint32_t bit = k % 2 == 0 ? 0x08040201 : 0x80402010;
    const uint8x16_t clear = vmvnq_u8(four(fifth, 0, v));
    const uint8x16_t byte = vqtbl1q_u8(clear, vld1q_u8(place[2 * e + k / 2]));
    const uint8x16_t less = vtstq_u8(byte, vreinterpretq_u8_u32(vdupq_n_u32(bit)));
    const uint8x16_t low = four(codes, (uint32_t)k, v);
    return vreinterpretq_s8_u8(e == 0 ? vsliq_n_u8(low, less, 4) : vsriq_n_u8(less, low, 4));
}

static HY_INLINE int8x16_t codes_Q5_0(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    (void)g;
    return with_fifth(b + 32, b + 96, e, k, v);
}

static HY_INLINE factors factors_Q5_0(const uint8_t *b, uint32_t i)
{
    (void)i;
    return symmetric(f16_rows(b), 16.0f);
}

static HY_INLINE int8x16_t codes_Q5_1(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    (void)g;
    return with_fifth(b + 64, b + 128, e, k, v);
}

static HY_INLINE factors factors_Q5_1(const uint8_t *b, uint32_t i)
{
    (void)i;
    return scale_and_minimum(b);
}

/* ---- codes that stand for levels */

enum { BIAS_IQ4_NL = 128, BIAS_IQ4_XS = 128 };

static HY_INLINE int8x16_t level(uint8x16_t bytes, bool high)
{
    return vqtbl1q_s8(vld1q_s8(hy__iq4_levels), vreinterpretq_u8_s8(nibble(bytes, high)));
}

static HY_INLINE int8x16_t codes_IQ4_NL(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    (void)g;
    return level(four(b + 32, (uint32_t)k, v), e == 1);
}

static HY_INLINE factors factors_IQ4_NL(const uint8_t *b, uint32_t i)
{
    (void)i;
    return symmetric(f16_rows(b), 128.0f);
}

static HY_INLINE int8x16_t codes_IQ4_XS(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    return level(four(b + 128, 4 * g + (uint32_t)k, v), e == 1);
}

/* Of 6 bits biased by 32: four from a half byte, and two. */
static HY_INLINE rows16 six_bits(uint8x16_t low, uint8x16_t high)
{
    const uint8x16_t s = masked(vsliq_n_u8(low, high, 4), 63);
    return s8_rows(vsubq_u8(s, vdupq_n_u8(32)));
}

static HY_INLINE factors factors_IQ4_XS(const uint8_t *b, uint32_t i)
{
    const int16x8_t by = vdupq_n_s16((int16_t)(0 - 2 * i)); /* of 16 bits of a row: down */
    const uint16x8_t h0 = vshlq_u16(vreinterpretq_u16_u8(vld1q_u8(b + 32)), by);
    const uint16x8_t h1 = vshlq_u16(vreinterpretq_u16_u8(vld1q_u8(b + 48)), by);
    const uint8x16_t high = vuzp1q_u8(vreinterpretq_u8_u16(h0), vreinterpretq_u8_u16(h1));
    const uint8x16_t low = right(byte_of(b + 64, i / 2), 4 * (i % 2));
    return symmetric(product(f16_rows(b), six_bits(low, high)), 128.0f);
}

/* ---- Q2_K, Q3_K: part g of 32 elements is 2 bits of 32 bytes */

enum { BIAS_Q2_K = 0, BIAS_Q3_K = 0, BIAS_Q4_K = 0, BIAS_Q5_K = 0, BIAS_Q6_K = 0 };

static HY_INLINE uint8x16_t two_bits(const uint8_t *field, uint32_t g, int e, int k, int v)
{
    return right(four(field, g / 4 * 8 + (uint32_t)(4 * e + k), v), 2 * (g % 4));
}

static HY_INLINE int8x16_t codes_Q2_K(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    return vreinterpretq_s8_u8(masked(two_bits(b + 256, g, e, k, v), 3));
}

static HY_INLINE factors factors_Q2_K(const uint8_t *b, uint32_t i)
{
    const uint8x16_t s = byte_of(b, i);
    return affine(product(f16_rows(b + 1280), s8_rows(masked(s, 15))),
                  product(f16_rows(b + 1312), s8_rows(vshrq_n_u8(s, 4))));
}

static HY_INLINE int8x16_t codes_Q3_K(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    const uint8x16_t third = right(four(b, (uint32_t)(4 * e + k), v), g);
    const uint8x16_t codes = vsliq_n_u8(two_bits(b + 512, g, e, k, v), third, 2);
    return vreinterpretq_s8_u8(masked(codes, 7));
}

static HY_INLINE factors factors_Q3_K(const uint8_t *b, uint32_t i)
{
    const uint8_t *scales = b + 1536;
    const uint8x16_t low = right(byte_of(scales, i % 8), i < 8 ? 0 : 4);
    const uint8x16_t high = right(byte_of(scales, 8 + i % 4), i / 4 * 2);
    return symmetric(product(f16_rows(b + 1728), six_bits(low, high)), 4.0f);
}

/* ---- Q4_K, Q5_K: part g of 64 elements is both halves of 32 bytes */

static HY_INLINE uint8x16_t four_q45(const uint8_t *field, uint32_t g, int e, int k, int v)
{
    return four(field, 8 * g + (uint32_t)(e % 2 * 4 + k), v);
}

static HY_INLINE int8x16_t codes_Q4_K(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    return nibble(four_q45(b + 256, g, e, k, v), e >= 2);
}

/* Scale and minimum i of 8 (hy__q45_scale_min). */
static HY_INLINE factors factors_Q4_K(const uint8_t *b, uint32_t i)
{
    const uint8_t *scales = b + 64;
    uint8x16_t s, m;
    if (i < 4) {
        s = masked(byte_of(scales, i), 63);
        m = masked(byte_of(scales, i + 4), 63);
    } else {
        const uint8x16_t both = byte_of(scales, i + 4);
        s = vsliq_n_u8(both, vshrq_n_u8(byte_of(scales, i - 4), 6), 4);
        m = vsriq_n_u8(vshrq_n_u8(byte_of(scales, i), 2), both, 4);
    }
    return affine(product(f16_rows(b), s8_rows(s)), product(f16_rows(b + 32), s8_rows(m)));
}

/* The fifth bits are bits 2 g and 2 g + 1 of 32 bytes. */
static HY_INLINE int8x16_t codes_Q5_K(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    const uint8x16_t fifth = four(b + 256, (uint32_t)(e % 2 * 4 + k), v);
    const uint8x16_t low = four_q45(b + 768, g, e, k, v);
    const uint8x16_t codes = e < 2 ? vsliq_n_u8(low, right(fifth, 2 * g), 4)
                                   : vsriq_n_u8(right(fifth, 2 * g - 3), low, 4);
    return vreinterpretq_s8_u8(masked(codes, 31));
}

static HY_INLINE factors factors_Q5_K(const uint8_t *b, uint32_t i)
{
    return factors_Q4_K(b, i);
}

/* ---- Q6_K: part g of 128 elements is 2 bits of 32 bytes above 4 of 64 */

static HY_INLINE int8x16_t codes_Q6_K(const uint8_t *b, uint32_t g, int e, int k, int v)
{
    const uint8x16_t low = four(b, 16 * g + (uint32_t)(e % 4 * 4 + k), v);
    const uint8x16_t high = four(b + 2048, 8 * g + (uint32_t)(e % 2 * 4 + k), v);
    const int j = e / 2;
    const uint8x16_t top = j % 2 == 1 ? vshrq_n_u8(high, 2) : high;
    const uint8x16_t codes = j < 2 ? vsliq_n_u8(low, top, 4) : vsriq_n_u8(top, low, 4);
    return vreinterpretq_s8_u8(j == 3 ? codes : masked(codes, 63));
}

static HY_INLINE factors factors_Q6_K(const uint8_t *b, uint32_t i)
{
    return symmetric(product(f16_rows(b + 3328), s8_rows(byte_of(b + 3072, i))), 32.0f);
}

#endif
