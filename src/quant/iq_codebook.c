/* iq_codebook.c: the types whose codes are numbers of points in a codebook: IQ1_S IQ1_M IQ2_XXS
 * IQ2_XS IQ2_S IQ3_XXS IQ3_S.
 *
 * All have 256 elements.  A point is 8 (IQ1, IQ2) or 4 (IQ3) levels; IQ2 and IQ3 add a sign for
 * each element.  Sub-blocks of 32 or 16 elements have a scale of 3 or 4 bits.  The codebooks are
 * constants of the format, in iq_grids.inc, one number per point with 2 or 3 bits per level. No
 * state; any thread may call it. */
#include "quant/quant.h"

/* static const uint16_t iq1_grid[2048], iq2_xxs_grid[256], iq2_xs_grid[512], iq2_s_grid[1024],
 * iq3_xxs_grid[256], iq3_s_grid[512] */
#include "quant/iq_grids.inc"

enum { BLOCK = 256, SUB = 32 };

/* ---- points */

/* Eight elements of an IQ2 point; bit k of `signs` set: element k is negative. */
static inline void put_iq2(uint16_t point, uint32_t signs, float scale, float *dst)
{
    static const int8_t level[4] = {8, 25, 43, 0};
    for (size_t k = 0; k < 8; k++) {
        float v = scale * (float)level[point >> (2 * k) & 3];
        dst[k] = signs >> k & 1 ? -v : v;
    }
}

/* Four elements of an IQ3 point; the levels of IQ3_XXS and IQ3_S differ. */
static inline void put_iq3(uint16_t point, const int8_t level[8], uint32_t signs, float scale,
                           float *dst)
{
    for (size_t k = 0; k < 4; k++) {
        float v = scale * (float)level[point >> (3 * k) & 7];
        dst[k] = signs >> k & 1 ? -v : v;
    }
}

/* Eight elements of an IQ1 point (levels -1, 0, 1), shifted by an eighth up or down. */
static inline void put_iq1(uint16_t point, bool down, float scale, float *dst)
{
    float shift = down ? -0.125f : 0.125f;
    for (size_t k = 0; k < 8; k++) {
        dst[k] = scale * ((float)((int32_t)(point >> (2 * k) & 3) - 1) + shift);
    }
}

/* Where only seven of eight signs are stored, their number of negatives is even. */
static inline uint32_t eight_signs(uint32_t seven)
{
    uint32_t parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1) << 7;
}

/* ---- IQ2 */

/* d; for each 32 elements four numbers of points (u8) and a word: 4 x 7 signs, then the scale in
 * the top 4 bits. */
void hy__dequantize_IQ2_XXS(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 66) {
        float d = hy__load_f16(src);
        for (size_t g = 0; g < BLOCK / SUB; g++) {
            const uint8_t *points = src + 2 + 8 * g;
            uint32_t word = hy__load_u32(points + 4);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
            for (size_t p = 0; p < 4; p++) {
                uint32_t signs = eight_signs(word >> (7 * p) & 127);
                put_iq2(iq2_xxs_grid[points[p]], signs, scale, dst + i + SUB * g + 8 * p);
            }
        }
    }
}

/* d; 32 x u16 (number of the point in 9 bits, 7 signs); 16 scales of 4 bits. */
void hy__dequantize_IQ2_XS(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 74) {
        float d = hy__load_f16(src);
        for (size_t p = 0; p < BLOCK / 8; p++) {
            uint32_t code = hy__load_u16(src + 2 + 2 * p);
            uint32_t s = (uint32_t)src[66 + p / 4] >> (4 * (p / 2 % 2)) & 15;
            float scale = d * (0.5f + (float)s) * 0.25f;
            put_iq2(iq2_xs_grid[code & 511], eight_signs(code >> 9), scale, dst + i + 8 * p);
        }
    }
}

/* d; low bytes of 32 numbers; 32 bytes of signs; the two high bits of four numbers in each of 8
 * bytes; 16 scales of 4 bits. */
void hy__dequantize_IQ2_S(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 82) {
        float d = hy__load_f16(src);
        for (size_t p = 0; p < BLOCK / 8; p++) {
            uint32_t high = (uint32_t)src[66 + p / 4] >> (2 * (p % 4)) & 3;
            uint32_t s = (uint32_t)src[74 + p / 4] >> (4 * (p / 2 % 2)) & 15;
            float scale = d * (0.5f + (float)s) * 0.25f;
            put_iq2(iq2_s_grid[src[2 + p] | high << 8], src[34 + p], scale, dst + i + 8 * p);
        }
    }
}

/* ---- IQ3 */

/* d; 64 numbers of points (u8); for each 32 elements a word: 4 x 7 signs, then the scale in the top
 * 4 bits. */
void hy__dequantize_IQ3_XXS(const uint8_t *src, float *dst, size_t n)
{
    static const int8_t level[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    for (size_t i = 0; i < n; i += BLOCK, src += 98) {
        float d = hy__load_f16(src);
        for (size_t p = 0; p < BLOCK / 4; p++) {
            uint32_t word = hy__load_u32(src + 66 + 4 * (p / 8));
            uint32_t signs = eight_signs(word >> (7 * (p / 2 % 4)) & 127) >> (4 * (p % 2));
            float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            put_iq3(iq3_xxs_grid[src[2 + p]], level, signs, scale, dst + i + 4 * p);
        }
    }
}

/* d; low bytes of 64 numbers; the ninth bits of eight numbers in each of 8 bytes; 32 bytes of
 * signs; 8 scales of 4 bits. */
void hy__dequantize_IQ3_S(const uint8_t *src, float *dst, size_t n)
{
    static const int8_t level[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    for (size_t i = 0; i < n; i += BLOCK, src += 110) {
        float d = hy__load_f16(src);
        for (size_t p = 0; p < BLOCK / 4; p++) {
            uint32_t high = (uint32_t)src[66 + p / 8] >> (p % 8) & 1;
            uint32_t signs = (uint32_t)src[74 + p / 2] >> (4 * (p % 2));
            uint32_t s = (uint32_t)src[106 + p / 16] >> (4 * (p / 8 % 2)) & 15;
            put_iq3(iq3_s_grid[src[2 + p] | high << 8], level, signs, d * (float)(1 + 2 * s),
                    dst + i + 4 * p);
        }
    }
}

/* ---- IQ1 */

/* d; low bytes of 32 numbers; for each 32 elements a u16: the three high bits of four numbers, a
 * scale of 3 bits, the shift. */
void hy__dequantize_IQ1_S(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 50) {
        float d = hy__load_f16(src);
        for (size_t p = 0; p < BLOCK / 8; p++) {
            uint32_t word = hy__load_u16(src + 34 + 2 * (p / 4));
            uint32_t high = word >> (3 * (p % 4)) & 7;
            float scale = d * (float)(2 * (word >> 12 & 7) + 1);
            put_iq1(iq1_grid[src[p + 2] | high << 8], word >> 15 != 0, scale, dst + i + 8 * p);
        }
    }
}

/* Low bytes of 32 numbers; for each 8 elements 4 bits: three high bits and the shift; four u16 with
 * four scales of 3 bits each, whose top 4 bits together are d, the lowest first. */
void hy__dequantize_IQ1_M(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK, src += 56) {
        uint32_t d_bits = 0;
        for (size_t w = 0; w < 4; w++) {
            d_bits |= (uint32_t)(hy__load_u16(src + 48 + 2 * w) >> 12) << (4 * w);
        }
        float d = hy__f16_to_f32((uint16_t)d_bits);
        for (size_t p = 0; p < BLOCK / 8; p++) {
            uint32_t extra = (uint32_t)src[32 + p / 2] >> (4 * (p % 2)) & 15;
            uint32_t s = (uint32_t)hy__load_u16(src + 48 + 2 * (p / 8)) >> (3 * (p / 2 % 4)) & 7;
            float scale = d * (float)(2 * s + 1);
            put_iq1(iq1_grid[src[p] | (extra & 7) << 8], extra >> 3 != 0, scale, dst + i + 8 * p);
        }
    }
}
