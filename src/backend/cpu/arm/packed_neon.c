/* packed_neon.c: products of packed panels with NEON and the 8-bit dot products of AArch64.
 *
 * A register holds 4 codes of each of 4 rows, and a dot product multiplies it with 4 activations
 * for all of them, so that a row is a lane from the first product to the result.
 *
 * No state; any thread may call these. */
#include "backend/cpu/arm/codes_neon.h"
#include "backend/cpu/arm/gemm_neon.h"

/* ---- one column */

/* Lane k of q; a constant, so one of the cases remains. */
static HY_INLINE int32x4_t dot_lane(int32x4_t sum, int8x16_t codes, int8x16_t q, int k)
{
    switch (k) {
    case 0:
        return vdotq_laneq_s32(sum, codes, q, 0);
    case 1:
        return vdotq_laneq_s32(sum, codes, q, 1);
    case 2:
        return vdotq_laneq_s32(sum, codes, q, 2);
    default:
        return vdotq_laneq_s32(sum, codes, q, 3);
    }
}

typedef struct dots4 {
    int32x4_t v[4];
} dots4;

/* Integers stay exact: what the codes' bias takes away is added in the beginning. */
static HY_INLINE dots4 dots_of(int bias, const int32_t *sum)
{
    const int32x4_t begin = vdupq_n_s32(bias == 0 ? 0 : bias * *sum);
    return (dots4){{begin, begin, begin, begin}};
}

/* One block of B elements, of 16 rows. */
static HY_INLINE void add_block(float32x4_t sums[4], const dots4 *p, factors f, float d, float s)
{
    for (int v = 0; v < 4; v++) {
        const float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(p->v[v]), f.a[v]);
        sums[v] = vfmaq_n_f32(sums[v], scaled, d);
        sums[v] = vfmsq_n_f32(sums[v], f.c[v], s);
    }
}

/* Groups e0 and e1 of 16 elements of part g, side by side: they often are in the same bytes.  q: of
 * the part. */
#define DOT(type, k, r)                                                                            \
    p0->v[r] = dot_lane(p0->v[r], codes_##type(b, g, e0, k, r), q0, k);                            \
    p1->v[r] = dot_lane(p1->v[r], codes_##type(b, g, e1, k, r), q1, k);
#define DOTS_OF_4(type, k) DOT(type, k, 0) DOT(type, k, 1) DOT(type, k, 2) DOT(type, k, 3)
#define DOTS(type)                                                                                 \
    static HY_INLINE void dots_##type(const uint8_t *b, const int8_t *q, uint32_t g, int e0,       \
                                      int e1, dots4 *p0, dots4 *p1)                                \
    {                                                                                              \
        const int8x16_t q0 = vld1q_s8(q + 16 * e0), q1 = vld1q_s8(q + 16 * e1);                    \
        DOTS_OF_4(type, 0) DOTS_OF_4(type, 1) DOTS_OF_4(type, 2) DOTS_OF_4(type, 3)                \
    }

/* Adds part g of a block: PART_B_WIDTH.  The loop over parts is one: across them a compiler would
 * find bytes that are read twice, and run out of registers. */
#define PART_BEGIN(type)                                                                           \
    static HY_INLINE void part_##type(const uint8_t *b, const hy__q8 *x, uint32_t g,               \
                                      float32x4_t sums[4])
#define PART_32_32(type)                                                                           \
    PART_BEGIN(type)                                                                               \
    {                                                                                              \
        dots4 p = dots_of(BIAS_##type, x->sum + g);                                                \
        dots_##type(b, x->q + (size_t)32 * g, g, 0, 1, &p, &p);                                    \
        add_block(sums, &p, factors_##type(b, g), x->d[g], x->s[g]);                               \
    }
#define PART_16_32(type)                                                                           \
    PART_BEGIN(type)                                                                               \
    {                                                                                              \
        dots4 p0 = dots_of(0, NULL), p1 = p0;                                                      \
        dots_##type(b, x->q + (size_t)32 * g, g, 0, 1, &p0, &p1);                                  \
        add_block(sums, &p0, factors_##type(b, 2 * g), x->d[g], x->s16[2 * g]);                    \
        add_block(sums, &p1, factors_##type(b, 2 * g + 1), x->d[g], x->s16[2 * g + 1]);            \
    }
#define PART_32_64(type)                                                                           \
    PART_BEGIN(type)                                                                               \
    {                                                                                              \
        dots4 p0 = dots_of(0, NULL), p1 = p0;                                                      \
        dots_##type(b, x->q + (size_t)64 * g, g, 0, 2, &p0, &p1);                                  \
        dots_##type(b, x->q + (size_t)64 * g, g, 1, 3, &p0, &p1);                                  \
        add_block(sums, &p0, factors_##type(b, 2 * g), x->d[2 * g], x->s[2 * g]);                  \
        add_block(sums, &p1, factors_##type(b, 2 * g + 1), x->d[2 * g + 1], x->s[2 * g + 1]);      \
    }
/* Four times 32 elements; each has code of its own, and comes in turn. */
#define QUARTER(type, j)                                                                           \
    case j: {                                                                                      \
        dots4 p0 = dots_of(0, NULL), p1 = p0;                                                      \
        dots_##type(b, x->q + (size_t)128 * g, g, 2 * (j), 2 * (j) + 1, &p0, &p1);                 \
        add_block(sums, &p0, factors_##type(b, 2 * i), x->d[i], x->s16[2 * i]);                    \
        add_block(sums, &p1, factors_##type(b, 2 * i + 1), x->d[i], x->s16[2 * i + 1]);            \
        break;                                                                                     \
    }
#define PART_16_128(type)                                                                          \
    PART_BEGIN(type)                                                                               \
    {                                                                                              \
        for (uint32_t i = 4 * g; i < 4 * g + 4; i++) {                                             \
            switch (i % 4) {                                                                       \
                QUARTER(type, 0)                                                                   \
                QUARTER(type, 1)                                                                   \
                QUARTER(type, 2)                                                                   \
                QUARTER(type, 3)                                                                   \
            }                                                                                      \
        }                                                                                          \
    }

#define GEMV(type, elems, bytes, width)                                                            \
    static void gemv_##type(const uint8_t *panel, const hy__q8 *x, uint32_t n, float *y)           \
    {                                                                                              \
        float32x4_t sums[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};    \
        hy__q8 at = *x;                                                                            \
        for (uint32_t i = 0; i < n; i += (elems), panel += 16 * (bytes)) {                         \
            for (uint32_t g = 0; g < (elems) / (width); g++) {                                     \
                part_##type(panel, &at, g, sums);                                                  \
            }                                                                                      \
            at = hy__q8_from(at, elems, 1);                                                        \
        }                                                                                          \
        for (int v = 0; v < 4; v++) {                                                              \
            vst1q_f32(y + 4 * v, sums[v]);                                                         \
        }                                                                                          \
    }

/* ---- to an expanded panel */

static HY_INLINE void put_codes(uint8_t *u, int8x16_t codes, int bias)
{
    vst1q_u8(u, vaddq_u8(vreinterpretq_u8_s8(codes), vdupq_n_u8((uint8_t)bias)));
}

static HY_INLINE void put_factors(const hy__panel *out, uint32_t i, factors f)
{
    for (uint32_t v = 0; v < 4; v++) {
        vst1q_f32(out->a + (size_t)16 * i + 4 * v, f.a[v]);
        vst1q_f32(out->c + (size_t)16 * i + 4 * v, f.c[v]);
    }
}

#define EXPAND_4(type, e, k)                                                                       \
    for (int v = 0; v < 4; v++) {                                                                  \
        put_codes(u + 256 * (e) + 64 * (k) + 16 * v, codes_##type(panel, g, e, k, v),              \
                  BIAS_##type);                                                                    \
    }
#define GROUP(type, e)                                                                             \
    EXPAND_4(type, e, 0) EXPAND_4(type, e, 1) EXPAND_4(type, e, 2) EXPAND_4(type, e, 3)
#define GROUPS_32(type) GROUP(type, 0) GROUP(type, 1)
#define GROUPS_64(type) GROUPS_32(type) GROUP(type, 2) GROUP(type, 3)
#define GROUPS_128(type) GROUPS_64(type) GROUP(type, 4) GROUP(type, 5) GROUP(type, 6) GROUP(type, 7)
#define EXPAND(type, block, elems, bytes, width)                                                   \
    static void expand_##type(const uint8_t *panel, uint32_t n, const hy__panel *out)              \
    {                                                                                              \
        hy__panel at = *out;                                                                       \
        for (uint32_t i = 0; i < n; i += (elems), panel += 16 * (bytes)) {                         \
            for (uint32_t g = 0; g < (elems) / (width); g++) {                                     \
                uint8_t *u = at.u + (size_t)(16 * (width)) * g;                                    \
                GROUPS_##width(type)                                                               \
            }                                                                                      \
            for (uint32_t f = 0; f < (elems) / (block); f++) {                                     \
                put_factors(&at, f, factors_##type(panel, f));                                     \
            }                                                                                      \
            at.u += 16 * (elems);                                                                  \
            at.a += 16 * (elems) / (block);                                                        \
            at.c += 16 * (elems) / (block);                                                        \
        }                                                                                          \
    }

/* type; B; elements and bytes of a row's block; elements of a part */
#define KERNELS(type, block, elems, bytes, width)                                                  \
    DOTS(type)                                                                                     \
    PART_##block##_##width(type) GEMV(type, elems, bytes, width)                                   \
        EXPAND(type, block, elems, bytes, width)

KERNELS(Q8_0, 32, 32, 34, 32)
KERNELS(Q4_0, 32, 32, 18, 32)
KERNELS(Q4_1, 32, 32, 20, 32)
KERNELS(Q5_0, 32, 32, 22, 32)
KERNELS(Q5_1, 32, 32, 24, 32)
KERNELS(Q2_K, 16, 256, 84, 32)
KERNELS(Q3_K, 16, 256, 110, 32)
KERNELS(Q4_K, 32, 256, 144, 64)
KERNELS(Q5_K, 32, 256, 176, 64)
KERNELS(Q6_K, 16, 256, 210, 128)
KERNELS(IQ4_NL, 32, 32, 18, 32)
KERNELS(IQ4_XS, 32, 256, 136, 32)

#undef GEMV
#undef EXPAND

/* ---- many columns */

/* Codes of blocks of 32 may have 8 bits: they are taken as u - 128, and 128 times the activations'
 * sum is added in the beginning.  Those of blocks of 16 have 6 at most. */
#define STEP(l)                                                                                    \
    dots[4 * g + (l)][0] = vdotq_laneq_s32(dots[4 * g + (l)][0], u0, q4, l);                       \
    dots[4 * g + (l)][1] = vdotq_laneq_s32(dots[4 * g + (l)][1], u1, q4, l);
static HY_INLINE void tile_dots(const uint8_t *u, const int8_t *q, const int32_t *sum, int steps,
                                int groups, int32x4_t dots[HY__TILE_COLS][2])
{
    const bool biased = steps == 8;
    const uint8x16_t bias = vdupq_n_u8(biased ? 128 : 0);
    for (int t = 0; t < 4 * groups; t++) {
        dots[t][0] = dots[t][1] = vdupq_n_s32(biased ? 128 * sum[t] : 0);
    }
    for (int i = 0; i < steps; i++, u += 64, q += 4 * HY__TILE_COLS) {
        const int8x16_t u0 = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(u), bias));
        const int8x16_t u1 = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(u + 16), bias));
        for (int g = 0; g < groups; g++) {
            const int8x16_t q4 = vld1q_s8(q + 16 * g);
            STEP(0)
            STEP(1)
            STEP(2)
            STEP(3)
        }
    }
}
#undef STEP

/* ---- floats */

static HY_INLINE rows16 get_F32(const uint8_t *panel, size_t i)
{
    const float *p = (const float *)(const void *)(panel + 64 * i);
    return (rows16){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}

static HY_INLINE rows16 get_F16(const uint8_t *panel, size_t i)
{
    return f16_rows(panel + 32 * i);
}

static HY_INLINE rows16 get_BF16(const uint8_t *panel, size_t i)
{
    const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(panel + 32 * i));
    const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(panel + 32 * i + 16));
    return (rows16){{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16)),
                     vreinterpretq_f32_u32(vshll_high_n_u16(low, 16)),
                     vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16)),
                     vreinterpretq_f32_u32(vshll_high_n_u16(high, 16))}};
}

static HY_INLINE void add_column(rows16 *sums, rows16 w, float x)
{
    for (int v = 0; v < 4; v++) {
        sums->v[v] = vfmaq_n_f32(sums->v[v], w.v[v], x);
    }
}

#define GEMV_F32(type)                                                                             \
    static void gemv_##type(const uint8_t *panel, const float *x, uint32_t n, float *y)            \
    {                                                                                              \
        const float32x4_t zero = vdupq_n_f32(0);                                                   \
        rows16 even = {{zero, zero, zero, zero}}, odd = even;                                      \
        size_t i = 0;                                                                              \
        for (; i + 2 <= n; i += 2) {                                                               \
            add_column(&even, get_##type(panel, i), x[i]);                                         \
            add_column(&odd, get_##type(panel, i + 1), x[i + 1]);                                  \
        }                                                                                          \
        if (i < n) {                                                                               \
            add_column(&even, get_##type(panel, i), x[i]);                                         \
        }                                                                                          \
        for (int v = 0; v < 4; v++) {                                                              \
            vst1q_f32(y + 4 * v, vaddq_f32(even.v[v], odd.v[v]));                                  \
        }                                                                                          \
    }
#define EXPAND_F32(type)                                                                           \
    static void expand_##type(const uint8_t *panel, uint32_t n, float *out)                        \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            const rows16 w = get_##type(panel, i);                                                 \
            for (int v = 0; v < 4; v++) {                                                          \
                vst1q_f32(out + 16 * i + 4 * v, w.v[v]);                                           \
            }                                                                                      \
        }                                                                                          \
    }

GEMV_F32(F32)
GEMV_F32(F16)
GEMV_F32(BF16)
EXPAND_F32(F16)
EXPAND_F32(BF16)

#undef GEMV_F32
#undef EXPAND_F32

#define STEP(l)                                                                                    \
    acc[4 * g + (l)][0] = vfmaq_laneq_f32(acc[4 * g + (l)][0], w0, x4, l);                         \
    acc[4 * g + (l)][1] = vfmaq_laneq_f32(acc[4 * g + (l)][1], w1, x4, l);
/* Every other element of 8 rows; sums are those of all columns, 32 floats apart.  groups: of 4
 * columns, constant. */
static HY_INLINE void gemm_f32_rows(const float *w, const float *x, uint32_t n, int groups,
                                    float *sums)
{
    float32x4_t acc[HY__TILE_COLS][2];
    for (int t = 0; t < 4 * groups; t++) {
        acc[t][0] = vld1q_f32(sums + 32 * t);
        acc[t][1] = vld1q_f32(sums + 32 * t + 4);
    }
    for (uint32_t i = 0; i < n; i += 2, w += 32, x += (size_t)2 * HY__TILE_COLS) {
        const float32x4_t w0 = vld1q_f32(w), w1 = vld1q_f32(w + 4);
        for (int g = 0; g < groups; g++) {
            const float32x4_t x4 = vld1q_f32(x + 4 * g);
            STEP(0)
            STEP(1)
            STEP(2)
            STEP(3)
        }
    }
    for (int t = 0; t < 4 * groups; t++) {
        vst1q_f32(sums + 32 * t, acc[t][0]);
        vst1q_f32(sums + 32 * t + 4, acc[t][1]);
    }
}
#undef STEP

static void gemm_f32(const float *w, const float *x, uint32_t n, uint32_t cols, float *sums)
{
    for (uint32_t odd = 0; odd < HY_MIN(n, 2); odd++) {
        for (size_t r = 0; r < 16; r += 8) {
            const float *from = w + 16 * odd + r, *with = x + (size_t)HY__TILE_COLS * odd;
            float *to = sums + 16 * odd + r;
            if (cols <= 4) {
                gemm_f32_rows(from, with, n - odd, 1, to);
            } else if (cols <= 8) {
                gemm_f32_rows(from, with, n - odd, 2, to);
            } else {
                gemm_f32_rows(from, with, n - odd, 3, to);
            }
        }
    }
}

/* ---- activations in 8 bits */

typedef struct q8_block {
    int8x16_t q[2];
    float d, s, s16[2];
    int32_t sum;
} q8_block;

/* Four registers of integers of 8 bits to one. */
static HY_INLINE int8x16_t bytes_of(const int32x4_t v[4])
{
    const int16x8_t low = vuzp1q_s16(vreinterpretq_s16_s32(v[0]), vreinterpretq_s16_s32(v[1]));
    const int16x8_t high = vuzp1q_s16(vreinterpretq_s16_s32(v[2]), vreinterpretq_s16_s32(v[3]));
    return vuzp1q_s8(vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high));
}

static q8_block quantize_block(const float *x)
{
    uint32x4_t largest =
        vdupq_n_u32(0); /* bits of magnitudes: in the order of their values, NaN last */
    float32x4_t v[8];
    for (int i = 0; i < 8; i++) {
        v[i] = vld1q_f32(x + 4 * i);
        largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(v[i])));
    }
    const uint32_t most = vmaxvq_u32(largest);
    const float max = hy__f32_from_bits(most);
    q8_block out = {{vdupq_n_s8(0), vdupq_n_s8(0)}, 0, 0, {0, 0}, 0};
    if (!(max >= 0x1p-100f && most < 0x7f800000u)) {
        const float d = most < 0x7f800000u ? 0.0f : hy__f32_from_bits(0x7fc00000u);
        out.d = out.s = out.s16[0] = out.s16[1] = d;
        return out;
    }
    int32x4_t codes[8];
    const float to_code = 127.0f / max;
    for (int i = 0; i < 8; i++) {
        codes[i] = vcvtnq_s32_f32(vmulq_n_f32(v[i], to_code));
    }
    out.d = max / 127.0f;
    for (int h = 0; h < 2; h++) {
        out.q[h] = bytes_of(codes + 4 * h);
        const int32_t sum = vaddlvq_s8(out.q[h]);
        out.s16[h] = out.d * (float)sum;
        out.sum += sum;
    }
    out.s = out.d * (float)out.sum;
    return out;
}

/* Elements from i on of n, of which there may be less than a block. */
static q8_block quantize_part(const float *x, uint32_t i, uint32_t n)
{
    float rest[32] = {0};
    if (n - i >= 32) {
        return quantize_block(x + i);
    }
    memcpy(rest, x + i, (n - i) * sizeof *x);
    return quantize_block(rest);
}

static void quantize(const float *x, uint32_t n, void *memory)
{
    const hy__q8 to = hy__q8_at(memory, n, 1);
    for (uint32_t i = 0; i < n; i += 32) {
        const q8_block b = quantize_part(x, i, n);
        const size_t at = i / 32;
        vst1q_s8((int8_t *)to.q + i, b.q[0]);
        vst1q_s8((int8_t *)to.q + i + 16, b.q[1]);
        ((float *)to.d)[at] = b.d;
        ((float *)to.s)[at] = b.s;
        ((float *)to.s16)[2 * at] = b.s16[0];
        ((float *)to.s16)[2 * at + 1] = b.s16[1];
        ((int32_t *)to.sum)[at] = b.sum;
    }
}

static HY_INLINE void put_lanes(int8_t *q, int8x16_t codes)
{
    const int32x4_t v = vreinterpretq_s32_s8(codes);
    const int32_t lanes[4] = {vgetq_lane_s32(v, 0), vgetq_lane_s32(v, 1), vgetq_lane_s32(v, 2),
                              vgetq_lane_s32(v, 3)};
    for (int k = 0; k < 4; k++) {
        memcpy(q + 4 * HY__TILE_COLS * k, &lanes[k], sizeof lanes[k]);
    }
}

static void put_in_tile(const hy__q8_tile *to, size_t block, size_t t, const q8_block *b)
{
    const size_t at = HY__TILE_COLS * block + t;
    int8_t *q = (int8_t *)to->q + (size_t)32 * HY__TILE_COLS * block + 4 * t;
    put_lanes(q, b->q[0]);
    put_lanes(q + 16 * HY__TILE_COLS, b->q[1]);
    ((float *)to->d)[at] = b->d;
    ((float *)to->s)[at] = b->s;
    ((float *)to->s16)[at + HY__TILE_COLS * block] = b->s16[0];
    ((float *)to->s16)[at + HY__TILE_COLS * (block + 1)] = b->s16[1];
    ((int32_t *)to->sum)[at] = b->sum;
}

static void quantize_tile(const float *x, size_t stride, uint32_t n, uint32_t cols, void *memory)
{
    const q8_block none = {{vdupq_n_s8(0), vdupq_n_s8(0)}, 0, 0, {0, 0}, 0};
    const hy__q8_tile to = hy__q8_at(memory, n, HY__TILE_COLS);
    for (uint32_t i = 0; i < n; i += 32) {
        for (size_t t = 0; t < HY__TILE_COLS; t++) {
            const q8_block b = t < cols ? quantize_part(x + t * stride, i, n) : none;
            put_in_tile(&to, i / 32, t, &b);
        }
    }
}

/* ---- */

const hy__packed_table hy__packed_neon = {HY__PACKED_PRODUCTS, HY__PACKED_OTHERS};
