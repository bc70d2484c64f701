/* packed_plain.c: the kernels of packed.h in plain C, for machines without a level of their own,
 * and the measure of all other levels.
 *
 * A block of a row is put together again from its panel, and taken apart into codes, factors and
 * offsets by one function per type.  Pure functions; any thread may call them. */
#include "packed.h"

#include "quant/quant.h"

enum { ROWS = HY__PANEL_ROWS, COLS = HY__TILE_COLS, MOST_BYTES = 210, MOST_ELEMS = 256 };

/* A block of one row: w = a * u - c, by 16 or 32 elements. */
typedef struct affine {
    uint8_t u[MOST_ELEMS];
    float a[16], c[16];
} affine;

typedef void (*affine_fn)(const uint8_t *b, affine *out);

/* ---- codes of 32 elements */

/* Element e below 16 in the low half of byte e, element 16 + e in the high half. */
static void nibbles(const uint8_t *codes, uint8_t *u)
{
    for (int e = 0; e < 16; e++) {
        u[e] = codes[e] & 15;
        u[16 + e] = codes[e] >> 4;
    }
}

static void fifth_bits(uint32_t bits, uint8_t *u)
{
    for (int e = 0; e < 32; e++) {
        u[e] |= (uint8_t)((bits >> e & 1) << 4);
    }
}

static void levels(const uint8_t *codes, uint8_t *u)
{
    for (int e = 0; e < 16; e++) {
        u[e] = (uint8_t)(hy__iq4_levels[codes[e] & 15] + 128);
        u[16 + e] = (uint8_t)(hy__iq4_levels[codes[e] >> 4] + 128);
    }
}

static void scale(affine *out, int i, float a, float offset)
{
    out->a[i] = a;
    out->c[i] = a * offset; /* exact: few bits times few bits */
}

/* ---- blocks */

static void affine_Q8_0(const uint8_t *b, affine *out)
{
    scale(out, 0, hy__load_f16(b), 128);
    for (int e = 0; e < 32; e++) {
        out->u[e] = b[2 + e] ^ 0x80;
    }
}

static void affine_Q4_0(const uint8_t *b, affine *out)
{
    scale(out, 0, hy__load_f16(b), 8);
    nibbles(b + 2, out->u);
}

static void affine_Q4_1(const uint8_t *b, affine *out)
{
    out->a[0] = hy__load_f16(b);
    out->c[0] = -hy__load_f16(b + 2);
    nibbles(b + 4, out->u);
}

static void affine_Q5_0(const uint8_t *b, affine *out)
{
    scale(out, 0, hy__load_f16(b), 16);
    nibbles(b + 6, out->u);
    fifth_bits(hy__load_u32(b + 2), out->u);
}

static void affine_Q5_1(const uint8_t *b, affine *out)
{
    out->a[0] = hy__load_f16(b);
    out->c[0] = -hy__load_f16(b + 2);
    nibbles(b + 8, out->u);
    fifth_bits(hy__load_u32(b + 4), out->u);
}

static void affine_IQ4_NL(const uint8_t *b, affine *out)
{
    scale(out, 0, hy__load_f16(b), 128);
    levels(b + 2, out->u);
}

static void affine_IQ4_XS(const uint8_t *b, affine *out)
{
    const uint32_t high = hy__load_u16(b + 2);
    for (int g = 0; g < 8; g++) {
        const uint32_t low = (uint32_t)b[4 + g / 2] >> (4 * (g % 2)) & 15;
        const int32_t factor = (int32_t)(low | (high >> (2 * g) & 3) << 4) - 32;
        scale(out, g, hy__load_f16(b) * (float)factor, 128);
        levels(b + 8 + 16 * g, out->u + 32 * g);
    }
}

/* Codes of 2 bits: 128 elements share 32 bytes, element 32 j + l in bits 2j, 2j + 1 of byte l. */
static void affine_Q2_K(const uint8_t *b, affine *out)
{
    for (int e = 0; e < 256; e++) {
        out->u[e] = b[16 + 32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
    }
    for (int i = 0; i < 16; i++) {
        out->a[i] = hy__load_f16(b + 80) * (float)(b[i] & 15);
        out->c[i] = hy__load_f16(b + 82) * (float)(b[i] >> 4);
    }
}

static void affine_Q3_K(const uint8_t *b, affine *out)
{
    for (int e = 0; e < 256; e++) {
        const int low = b[32 + 32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
        out->u[e] = (uint8_t)(low | (b[e % 32] >> (e / 32) & 1) << 2);
    }
    for (int i = 0; i < 16; i++) {
        scale(out, i, hy__load_f16(b + 108) * (float)hy__q3_scale(b + 96, (size_t)i), 4);
    }
}

/* fifth NULL: Q4_K. */
static void affine_q45(const uint8_t *b, const uint8_t *fifth, const uint8_t *codes, affine *out)
{
    for (int e = 0; e < 256; e++) {
        const int low = codes[32 * (e / 64) + e % 32] >> (4 * (e / 32 % 2)) & 15;
        out->u[e] = (uint8_t)(fifth ? low | (fifth[e % 32] >> (e / 32) & 1) << 4 : low);
    }
    for (int g = 0; g < 8; g++) {
        uint32_t factor, min;
        hy__q45_scale_min(b + 4, (size_t)g, &factor, &min);
        out->a[g] = hy__load_f16(b) * (float)factor;
        out->c[g] = hy__load_f16(b + 2) * (float)min;
    }
}

static void affine_Q4_K(const uint8_t *b, affine *out)
{
    affine_q45(b, NULL, b + 16, out);
}

static void affine_Q5_K(const uint8_t *b, affine *out)
{
    affine_q45(b, b + 16, b + 48, out);
}

/* Of 128 elements, the low halves of 0..63 are in the low halves of 64 bytes, those of 64..127 in
 * the high ones. */
static void affine_Q6_K(const uint8_t *b, affine *out)
{
    for (int e = 0; e < 256; e++) {
        const int low = b[64 * (e / 128) + e % 64] >> (4 * (e / 64 % 2)) & 15;
        const int high = b[128 + 32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
        out->u[e] = (uint8_t)(low | high << 4);
    }
    for (int i = 0; i < 16; i++) {
        const int32_t factor = b[192 + i] < 128 ? b[192 + i] : b[192 + i] - 256;
        scale(out, i, hy__load_f16(b + 208) * (float)factor, 32);
    }
}

/* ---- panels */

static void expand(const uint8_t *panel, uint32_t n, const hy__panel *out, hy_type type,
                   affine_fn take_apart, uint32_t block)
{
    const hy_type_info *t = hy_type_find((uint32_t)type);
    const uint32_t elems = t->block_elems;
    for (uint32_t k = 0; k < n; k += elems, panel += (size_t)t->block_bytes * ROWS) {
        for (uint32_t r = 0; r < ROWS; r++) {
            uint8_t b[MOST_BYTES];
            affine x;
            hy__unpack_block(type, panel, r, b);
            take_apart(b, &x);
            for (uint32_t e = 0; e < elems; e++) {
                out->u[((size_t)(k + e) / 4 * ROWS + r) * 4 + e % 4] = x.u[e];
            }
            for (uint32_t i = 0; i < elems / block; i++) {
                out->a[(size_t)(k / block + i) * ROWS + r] = x.a[i];
                out->c[(size_t)(k / block + i) * ROWS + r] = x.c[i];
            }
        }
    }
}

static int32_t dot(const uint8_t *u, const int8_t *q, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t e = 0; e < n; e++) {
        sum += u[e] * q[e];
    }
    return sum;
}

static void gemv(const uint8_t *panel, const hy__q8 *x, uint32_t n, float *y, hy_type type,
                 affine_fn take_apart, uint32_t block)
{
    const hy_type_info *t = hy_type_find((uint32_t)type);
    const uint32_t elems = t->block_elems;
    const float *s = block == 16 ? x->s16 : x->s;
    memset(y, 0, ROWS * sizeof *y);
    for (uint32_t k = 0; k < n; k += elems, panel += (size_t)t->block_bytes * ROWS) {
        for (uint32_t r = 0; r < ROWS; r++) {
            uint8_t bytes[MOST_BYTES];
            affine w;
            hy__unpack_block(type, panel, r, bytes);
            take_apart(bytes, &w);
            for (uint32_t i = 0; i < elems / block; i++) {
                const uint32_t at = k + i * block;
                const float sum = (float)dot(w.u + i * block, x->q + at, block);
                y[r] += sum * w.a[i] * x->d[at / 32];
                y[r] -= w.c[i] * s[at / block];
            }
        }
    }
}

#define TYPE(type, block)                                                                          \
    static void expand_##type(const uint8_t *panel, uint32_t n, const hy__panel *out)              \
    {                                                                                              \
        expand(panel, n, out, HY_TYPE_##type, affine_##type, block);                               \
    }                                                                                              \
    static void gemv_##type(const uint8_t *panel, const hy__q8 *x, uint32_t n, float *y)           \
    {                                                                                              \
        gemv(panel, x, n, y, HY_TYPE_##type, affine_##type, block);                                \
    }
HY__PACKED_TYPES(TYPE)
#undef TYPE

/* ---- many columns */

static void gemm(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                 size_t stride, bool more, uint32_t block)
{
    const float *s = block == 16 ? x->s16 : x->s;
    for (uint32_t t = 0; t < cols; t++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            float sum = more ? y[t * stride + r] : 0;
            for (uint32_t b = 0; b < n / block; b++) {
                int32_t part = 0;
                for (uint32_t k4 = b * block / 4; k4 < (b + 1) * block / 4; k4++) {
                    part += dot(w->u + ((size_t)k4 * ROWS + r) * 4,
                                x->q + ((size_t)k4 * COLS + t) * 4, 4);
                }
                const size_t at = (size_t)b * ROWS + r;
                sum += (float)part * w->a[at] * x->d[(size_t)b * block / 32 * COLS + t];
                sum -= w->c[at] * s[(size_t)b * COLS + t];
            }
            y[t * stride + r] = sum;
        }
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

/* ---- numbers */

static float load_F32(const uint8_t *p)
{
    return hy__f32_from_bits(hy__load_u32(p));
}

static float load_F16(const uint8_t *p)
{
    return hy__load_f16(p);
}

static float load_BF16(const uint8_t *p)
{
    return hy__f32_from_bits((uint32_t)hy__load_u16(p) << 16);
}

/* A step's two sums stay in registers. */
static void gemm_f32(const float *w, const float *x, uint32_t n, uint32_t cols, float *sums)
{
    for (size_t t = 0; t < cols; t++) {
        float even[ROWS], odd[ROWS];
        memcpy(even, sums + 2 * t * ROWS, sizeof even);
        memcpy(odd, sums + (2 * t + 1) * ROWS, sizeof odd);
        size_t k = 0;
        for (; k + 2 <= n; k += 2) {
            const float a = x[k * COLS + t], b = x[(k + 1) * COLS + t];
            for (size_t r = 0; r < ROWS; r++) {
                even[r] += w[k * ROWS + r] * a;
                odd[r] += w[(k + 1) * ROWS + r] * b;
            }
        }
        for (size_t r = 0; r < ROWS && k < n; r++) {
            even[r] += w[k * ROWS + r] * x[k * COLS + t];
        }
        memcpy(sums + 2 * t * ROWS, even, sizeof even);
        memcpy(sums + (2 * t + 1) * ROWS, odd, sizeof odd);
    }
}

#define NUMBER(type, bytes)                                                                        \
    static void gemv_##type(const uint8_t *panel, const float *x, uint32_t n, float *y)            \
    {                                                                                              \
        float sums[2][ROWS] = {{0}};                                                               \
        for (uint32_t k = 0; k < n; k++) {                                                         \
            for (uint32_t r = 0; r < ROWS; r++) {                                                  \
                sums[k % 2][r] += load_##type(panel + ((size_t)k * ROWS + r) * (bytes)) * x[k];    \
            }                                                                                      \
        }                                                                                          \
        for (uint32_t r = 0; r < ROWS; r++) {                                                      \
            y[r] = sums[0][r] + sums[1][r];                                                        \
        }                                                                                          \
    }
NUMBER(F32, 4)
NUMBER(F16, 2)
NUMBER(BF16, 2)
#undef NUMBER

static void expand_F16(const uint8_t *panel, uint32_t n, float *out)
{
    for (size_t i = 0; i < (size_t)n * ROWS; i++) {
        out[i] = load_F16(panel + 2 * i);
    }
}

static void expand_BF16(const uint8_t *panel, uint32_t n, float *out)
{
    for (size_t i = 0; i < (size_t)n * ROWS; i++) {
        out[i] = load_BF16(panel + 2 * i);
    }
}

/* ---- columns to 8 bits */

typedef struct parts {
    int8_t *q;
    float *d, *s, *s16;
    int32_t *sum;
} parts;

static parts parts_of(void *memory, uint32_t n, uint32_t cols)
{
    char *p = memory;
    const hy__q8 x = hy__q8_at(memory, n, cols);
#define AT(member) ((void *)(p + ((const char *)x.member - p)))
    return (parts){AT(q), AT(d), AT(s), AT(s16), AT(sum)};
#undef AT
}

/* 32 elements. */
static void quantize_block(const float *x, int8_t *q, float *d, int32_t *halves)
{
    uint32_t most = 0; /* bits of the largest magnitude: in the order of their values, NaN last */
    for (int e = 0; e < 32; e++) {
        const uint32_t bits = hy__f32_bits(x[e]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    const float max = hy__f32_from_bits(most);
    halves[0] = halves[1] = 0;
    if (!(max >= 0x1p-100f && most < 0x7f800000u)) {
        /* Too small to be scaled by a normal number, or not finite: then the result shows it. */
        memset(q, 0, 32);
        *d = most < 0x7f800000u ? 0.0f : hy__f32_from_bits(0x7fc00000u);
        return;
    }
    const float to_code = 127.0f / max;
    for (int e = 0; e < 32; e++) {
        const int32_t code = hy__round_even(x[e] * to_code);
        q[e] = (int8_t)code;
        halves[e / 16] += code;
    }
    *d = max / 127.0f;
}

/* Column t of `cols` interleaved ones. */
static void quantize_into(const float *x, uint32_t n, parts to, uint32_t t, uint32_t cols)
{
    for (uint32_t k = 0; k < n; k += 32) {
        float block[32] = {0};
        int8_t q[32];
        int32_t halves[2];
        const size_t b = (size_t)k / 32;
        float d;
        memcpy(block, x + k, HY_MIN(n - k, 32u) * sizeof *x);
        quantize_block(block, q, &d, halves);
        for (size_t k4 = 0; k4 < 8; k4++) {
            memcpy(to.q + ((b * 8 + k4) * cols + t) * 4, q + 4 * k4, 4);
        }
        to.d[b * cols + t] = d;
        to.s[b * cols + t] = d * (float)(halves[0] + halves[1]);
        to.s16[2 * b * cols + t] = d * (float)halves[0];
        to.s16[(2 * b + 1) * cols + t] = d * (float)halves[1];
        to.sum[b * cols + t] = halves[0] + halves[1];
    }
}

static void quantize(const float *x, uint32_t n, void *memory)
{
    quantize_into(x, n, parts_of(memory, n, 1), 0, 1);
}

static void quantize_tile(const float *x, size_t stride, uint32_t n, uint32_t cols, void *memory)
{
    if (cols < COLS) {
        memset(memory, 0, (size_t)hy__q8_bytes(n, COLS));
    }
    for (uint32_t t = 0; t < cols; t++) {
        quantize_into(x + t * stride, n, parts_of(memory, n, COLS), t, COLS);
    }
}

const hy__packed_table hy__packed_plain = {HY__PACKED_PRODUCTS, HY__PACKED_OTHERS};
