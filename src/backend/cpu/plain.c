/* plain.c: dot products in plain C, one for every type of the lists in kernels.h.
 *
 * Codes of a block are unpacked to signed bytes, multiplied and summed as integers, which is exact;
 * blocks are summed in double precision, in order.  Pure functions; any thread may call them. */
#include "kernels.h"

#include "quant/quant.h"

/* ---- integer sums */

static inline int32_t dot16(const int8_t *w, const int8_t *q)
{
    int32_t sum = 0;
    for (int e = 0; e < 16; e++) {
        sum += w[e] * q[e];
    }
    return sum;
}

static inline int32_t dot32(const int8_t *w, const int8_t *q)
{
    int32_t sum = 0;
    for (int e = 0; e < 32; e++) {
        sum += w[e] * q[e];
    }
    return sum;
}

static inline int32_t sum16(const int8_t *q)
{
    int32_t sum = 0;
    for (int e = 0; e < 16; e++) {
        sum += q[e];
    }
    return sum;
}

/* ---- codes of 32 elements */

/* Element e below 16 in the low half of byte e, element 16 + e in the high half. */
static inline void nibbles(const uint8_t *codes, int bias, int8_t w[32])
{
    for (int e = 0; e < 16; e++) {
        w[e] = (int8_t)((codes[e] & 15) - bias);
        w[16 + e] = (int8_t)((codes[e] >> 4) - bias);
    }
}

static inline void nibbles_and_fifth(const uint8_t *codes, const uint8_t *fifth, int bias,
                                     int8_t w[32])
{
    const uint32_t bits = hy__load_u32(fifth);
    for (int e = 0; e < 16; e++) {
        w[e] = (int8_t)(((codes[e] & 15) | (int)(bits >> e & 1) << 4) - bias);
        w[16 + e] = (int8_t)((codes[e] >> 4 | (int)(bits >> (16 + e) & 1) << 4) - bias);
    }
}

static inline void levels(const uint8_t *codes, int8_t w[32])
{
    for (int e = 0; e < 16; e++) {
        w[e] = hy__iq4_levels[codes[e] & 15];
        w[16 + e] = hy__iq4_levels[codes[e] >> 4];
    }
}

/* ---- blocks: b encoded, q, d, s of the same elements of the column */

static inline double block_Q8_0(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t w[32];
    (void)s;
    memcpy(w, b + 2, sizeof w);
    return (double)hy__load_f16(b) * (double)d[0] * dot32(w, q);
}

static inline double block_Q4_0(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t w[32];
    (void)s;
    nibbles(b + 2, 8, w);
    return (double)hy__load_f16(b) * (double)d[0] * dot32(w, q);
}

static inline double block_Q4_1(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t w[32];
    nibbles(b + 4, 0, w);
    return (double)hy__load_f16(b) * (double)d[0] * dot32(w, q) +
           (double)hy__load_f16(b + 2) * (double)s[0];
}

static inline double block_Q5_0(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t w[32];
    (void)s;
    nibbles_and_fifth(b + 6, b + 2, 16, w);
    return (double)hy__load_f16(b) * (double)d[0] * dot32(w, q);
}

static inline double block_Q5_1(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t w[32];
    nibbles_and_fifth(b + 8, b + 4, 0, w);
    return (double)hy__load_f16(b) * (double)d[0] * dot32(w, q) +
           (double)hy__load_f16(b + 2) * (double)s[0];
}

static inline double block_IQ4_NL(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t w[32];
    (void)s;
    levels(b + 2, w);
    return (double)hy__load_f16(b) * (double)d[0] * dot32(w, q);
}

static inline double block_IQ4_XS(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    const uint32_t high = hy__load_u16(b + 2);
    double sum = 0;
    (void)s;
    for (int g = 0; g < 8; g++) {
        int8_t w[32];
        const uint32_t low = (uint32_t)b[4 + g / 2] >> (4 * (g % 2)) & 15;
        const int32_t scale = (int32_t)(low | (high >> (2 * g) & 3) << 4) - 32;
        levels(b + 8 + 16 * g, w);
        sum += (double)d[g] * (scale * dot32(w, q + 32 * g));
    }
    return (double)hy__load_f16(b) * sum;
}

/* Codes of 2 bits: 128 elements share 32 bytes, element 32 j + l in bits 2j, 2j + 1 of byte l. */
static inline double block_Q2_K(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    double sum = 0, least = 0;
    (void)s; /* minima are of 16 elements */
    for (int g = 0; g < 8; g++) {
        int8_t w[32];
        const uint8_t *codes = b + 16 + 32 * (g / 4), *scales = b + 2 * g;
        for (int l = 0; l < 32; l++) {
            w[l] = (int8_t)(codes[l] >> (2 * (g % 4)) & 3);
        }
        sum += (double)d[g] *
               ((scales[0] & 15) * dot16(w, q) + (scales[1] & 15) * dot16(w + 16, q + 16));
        least += (double)d[g] * ((scales[0] >> 4) * sum16(q) + (scales[1] >> 4) * sum16(q + 16));
        q += 32;
    }
    return (double)hy__load_f16(b + 80) * sum - (double)hy__load_f16(b + 82) * least;
}

static inline double block_Q3_K(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    double sum = 0;
    (void)s;
    for (int g = 0; g < 8; g++) {
        int8_t w[32];
        const uint8_t *low = b + 32 + 32 * (g / 4);
        for (int l = 0; l < 32; l++) {
            w[l] = (int8_t)(((low[l] >> (2 * (g % 4)) & 3) | (b[l] >> g & 1) << 2) - 4);
        }
        sum += (double)d[g] * (hy__q3_scale(b + 96, 2 * (size_t)g) * dot16(w, q) +
                               hy__q3_scale(b + 96, 2 * (size_t)g + 1) * dot16(w + 16, q + 16));
        q += 32;
    }
    return (double)hy__load_f16(b + 108) * sum;
}

/* fifth NULL: Q4_K. */
static inline double block_q45(const uint8_t *b, const uint8_t *fifth, const uint8_t *codes,
                               const int8_t *q, const float *d, const float *s)
{
    double sum = 0, least = 0;
    for (int g = 0; g < 8; g++) {
        int8_t w[32];
        uint32_t scale, min;
        hy__q45_scale_min(b + 4, (size_t)g, &scale, &min);
        for (int l = 0; l < 32; l++) {
            const int low = codes[32 * (g / 2) + l] >> (4 * (g % 2)) & 15;
            w[l] = (int8_t)(fifth ? low | (fifth[l] >> g & 1) << 4 : low);
        }
        sum += (double)d[g] * ((int32_t)scale * dot32(w, q + 32 * g));
        least += (double)s[g] * (int32_t)min;
    }
    return (double)hy__load_f16(b) * sum - (double)hy__load_f16(b + 2) * least;
}

static inline double block_Q4_K(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    return block_q45(b, NULL, b + 16, q, d, s);
}

static inline double block_Q5_K(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    return block_q45(b, b + 16, b + 48, q, d, s);
}

/* Of 128 elements, the low halves of 0..63 are in the low halves of 64 bytes, those of 64..127 in
 * the high ones. */
static inline double block_Q6_K(const uint8_t *b, const int8_t *q, const float *d, const float *s)
{
    int8_t scales[16];
    double sum = 0;
    (void)s;
    memcpy(scales, b + 192, sizeof scales);
    for (int g = 0; g < 8; g++) {
        int8_t w[32];
        const uint8_t *low = b + 64 * (g / 4) + 32 * (g % 2), *high = b + 128 + 32 * (g / 4);
        const int low_shift = g % 4 < 2 ? 0 : 4, high_shift = 2 * (g % 4);
        for (int l = 0; l < 32; l++) {
            w[l] = (int8_t)(((low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4) - 32);
        }
        sum += (double)d[g] *
               (scales[2 * g] * dot16(w, q) + scales[2 * g + 1] * dot16(w + 16, q + 16));
        q += 32;
    }
    return (double)hy__load_f16(b + 208) * sum;
}

/* ---- rows */

static inline float load_F32(const uint8_t *p)
{
    return hy__f32_from_bits(hy__load_u32(p));
}

static inline float load_F16(const uint8_t *p)
{
    return hy__load_f16(p);
}

static inline float load_BF16(const uint8_t *p)
{
    return hy__bf16_to_f32(hy__load_u16(p));
}

#define ROW(type, elems, bytes)                                                                    \
    static float dot_##type(const uint8_t *row, const hy__q8 *x, uint32_t n)                       \
    {                                                                                              \
        double sum = 0;                                                                            \
        for (uint32_t i = 0; i < n; i += (elems), row += (bytes)) {                                \
            sum += block_##type(row, x->q + i, x->d + i / 32, x->s + i / 32);                      \
        }                                                                                          \
        return (float)sum;                                                                         \
    }

/* Four interleaved partial sums, which a compiler can vectorise without changing the order. */
#define ROW_F32(type, bytes)                                                                       \
    static float dot_##type(const uint8_t *row, const float *x, uint32_t n)                        \
    {                                                                                              \
        double sum[4] = {0, 0, 0, 0};                                                              \
        uint32_t i = 0;                                                                            \
        for (; i + 4 <= n; i += 4) {                                                               \
            for (uint32_t l = 0; l < 4; l++) {                                                     \
                const float w = load_##type(row + (size_t)(bytes) * (i + l));                      \
                sum[l] += (double)w * (double)x[i + l];                                            \
            }                                                                                      \
        }                                                                                          \
        for (; i < n; i++) {                                                                       \
            sum[i % 4] += (double)load_##type(row + (size_t)(bytes)*i) * (double)x[i];             \
        }                                                                                          \
        return (float)((sum[0] + sum[2]) + (sum[1] + sum[3]));                                     \
    }

ROW(Q8_0, 32, 34)
ROW(Q4_0, 32, 18)
ROW(Q4_1, 32, 20)
ROW(Q5_0, 32, 22)
ROW(Q5_1, 32, 24)
ROW(IQ4_NL, 32, 18)
ROW(IQ4_XS, 256, 136)
ROW(Q2_K, 256, 84)
ROW(Q3_K, 256, 110)
ROW(Q4_K, 256, 144)
ROW(Q5_K, 256, 176)
ROW(Q6_K, 256, 210)
ROW_F32(F32, 4)
ROW_F32(F16, 2)
ROW_F32(BF16, 2)

#define ENTRY(type) [HY__DOT_##type] = dot_##type,
const hy__cpu_table hy__cpu_plain = {
    .dot = {HY__CPU_DOT_TYPES(ENTRY)},
    .dot_f32 = {HY__CPU_F32_TYPES(ENTRY)},
};
