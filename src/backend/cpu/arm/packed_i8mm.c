/* packed_i8mm.c: products of expanded panels with AArch64's products of matrices of bytes.
 *
 * One instruction multiplies 2 rows with 2 columns, 8 elements of each, bytes without sign by bytes
 * with sign: half as many multiplications as with dot products, and codes need no correction.
 * Everything else is that of the level below: a single column has nothing to gain.
 *
 * No state; any thread may call these. */
#include "backend/cpu/arm/gemm_neon.h"

/* Rows (or columns) 0 and 1, or 2 and 3, of four: the 4 bytes of x, then those of y. */
static HY_INLINE int8x16_t pair(const void *x, const void *y, bool second)
{
    const int32x4_t a = vreinterpretq_s32_u8(vld1q_u8(x)), b = vreinterpretq_s32_u8(vld1q_u8(y));
    return vreinterpretq_s8_s32(second ? vzip2q_s32(a, b) : vzip1q_s32(a, b));
}

static HY_INLINE uint8x16_t row_pair(const uint8_t *u, bool second)
{
    return vreinterpretq_u8_s8(pair(u, u + 64, second));
}

/* sums[p][c]: rows 2 p and 2 p + 1 times columns 2 c and 2 c + 1, row by row. */
static HY_INLINE void multiply(const uint8_t *u, const int8_t *q, int groups,
                               int32x4_t sums[4][HY__TILE_COLS / 2])
{
    const uint8x16_t r0 = row_pair(u, false), r1 = row_pair(u, true);
    const uint8x16_t r2 = row_pair(u + 16, false), r3 = row_pair(u + 16, true);
    for (int c = 0; c < 2 * groups; c++) {
        const int8_t *p = q + 16 * (c / 2);
        const int8x16_t columns = pair(p, p + 4 * HY__TILE_COLS, c % 2 == 1);
        sums[0][c] = vusmmlaq_s32(sums[0][c], r0, columns);
        sums[1][c] = vusmmlaq_s32(sums[1][c], r1, columns);
        sums[2][c] = vusmmlaq_s32(sums[2][c], r2, columns);
        sums[3][c] = vusmmlaq_s32(sums[3][c], r3, columns);
    }
}

static HY_INLINE void tile_dots(const uint8_t *u, const int8_t *q, const int32_t *sum, int steps,
                                int groups, int32x4_t dots[HY__TILE_COLS][2])
{
    (void)sum;
    int32x4_t sums[4][HY__TILE_COLS / 2];
    for (int c = 0; c < 2 * groups; c++) {
        sums[0][c] = sums[1][c] = sums[2][c] = sums[3][c] = vdupq_n_s32(0);
    }
    for (int i = 0; i < steps; i += 2) {
        multiply(u + 64 * i, q + 4 * HY__TILE_COLS * i, groups, sums);
    }
    for (int c = 0; c < 2 * groups; c++) {
        dots[2 * c][0] = vuzp1q_s32(sums[0][c], sums[1][c]);
        dots[2 * c][1] = vuzp1q_s32(sums[2][c], sums[3][c]);
        dots[2 * c + 1][0] = vuzp2q_s32(sums[0][c], sums[1][c]);
        dots[2 * c + 1][1] = vuzp2q_s32(sums[2][c], sums[3][c]);
    }
}

const hy__packed_table hy__packed_i8mm = {.gemm16 = gemm16, .gemm32 = gemm32};
