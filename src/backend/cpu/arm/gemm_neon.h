/* gemm_neon.h: expanded panels times tiles of up to 12 columns, for packed_neon.c and
 * packed_i8mm.c.
 *
 * Eight rows and all columns are multiplied at once: 24 of 32 registers are sums of integers, and a
 * register of codes or of activations serves 12 or 2 of them.  Sums in f32 stay in memory, for they
 * are needed once a block.  The file that includes this defines tile_dots before.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_ARM_GEMM_NEON_H
#define HY_BACKEND_CPU_ARM_GEMM_NEON_H

#include <arm_neon.h>

#include "backend/cpu/packed.h"
#include "halyard/compiler.h"

/* dots[t][0..1]: the products of 8 rows at u ([steps][16][4], of which 8) with columns t of q
 * ([steps][12][4]), of 4 groups columns; sum: of each column's whole block. */
static HY_INLINE void tile_dots(const uint8_t *u, const int8_t *q, const int32_t *sum, int steps,
                                int groups, int32x4_t dots[HY__TILE_COLS][2]);

/* clang-format off */
#define SCALE(l, r)                                                                                                    \
    out = sums[4 * g + (l)] + 4 * (r);                                                                                 \
    scaled = vmulq_f32(vcvtq_f32_s32(dots[4 * g + (l)][r]), vld1q_f32(a + 4 * (r)));                                   \
    scaled = vfmaq_laneq_f32(vld1q_f32(out), scaled, d4, l);                                                           \
    vst1q_f32(out, vfmsq_laneq_f32(scaled, vld1q_f32(c + 4 * (r)), s4, l));
/* clang-format on */

/* Adds a block of 8 rows to their sums. */
static HY_INLINE void tile_scale(int32x4_t dots[HY__TILE_COLS][2], const float *a, const float *c,
                                 const float *d, const float *s, int groups, float (*sums)[16])
{
    for (int g = 0; g < groups; g++) {
        const float32x4_t d4 = vld1q_f32(d + 4 * g), s4 = vld1q_f32(s + 4 * g);
        float32x4_t scaled;
        float *out;
        SCALE(0, 0)
        SCALE(0, 1)
        SCALE(1, 0)
        SCALE(1, 1)
        SCALE(2, 0)
        SCALE(2, 1)
        SCALE(3, 0)
        SCALE(3, 1)
    }
}
#undef SCALE

/* groups: of 4 columns; constant, as block is. */
static HY_INLINE void gemm_groups(const hy__panel *w, const hy__q8_tile *x, uint32_t n,
                                  float (*sums)[16], int block, int groups)
{
    const float *s = block == 16 ? x->s16 : x->s;
    const size_t blocks = n / (uint32_t)block;
    for (size_t b = 0; b < blocks; b++) {
        const size_t in_32 = (size_t)HY__TILE_COLS * (b * (size_t)block / 32);
        for (size_t r = 0; r < 16; r += 8) {
            int32x4_t dots[HY__TILE_COLS][2];
            tile_dots(w->u + 16 * (size_t)block * b + 4 * r,
                      x->q + HY__TILE_COLS * (size_t)block * b, x->sum + in_32, block / 4, groups,
                      dots);
            tile_scale(dots, w->a + 16 * b + r, w->c + 16 * b + r, x->d + in_32,
                       s + HY__TILE_COLS * b, groups, (float(*)[16])(sums[0] + r));
        }
    }
}

static HY_INLINE void gemm(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols,
                           float *y, size_t stride, bool more, int block)
{
    float sums[HY__TILE_COLS][16];
    for (size_t t = 0; t < HY__TILE_COLS; t++) {
        if (more && t < cols) {
            memcpy(sums[t], y + t * stride, sizeof sums[t]);
        } else {
            memset(sums[t], 0, sizeof sums[t]);
        }
    }
    if (cols <= 4) {
        gemm_groups(w, x, n, sums, block, 1);
    } else if (cols <= 8) {
        gemm_groups(w, x, n, sums, block, 2);
    } else {
        gemm_groups(w, x, n, sums, block, 3);
    }
    for (size_t t = 0; t < cols; t++) {
        memcpy(y + t * stride, sums[t], sizeof sums[t]);
    }
}

static void gemm16(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                   size_t stride, bool more)
{
    gemm(w, x, n, cols, y, stride, more, 16);
}

static void gemm32(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                   size_t stride, bool more)
{
    gemm(w, x, n, cols, y, stride, more, 32);
}

#endif
