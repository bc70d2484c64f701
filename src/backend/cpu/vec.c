/* vec.c: the vector functions of vec.h, compiled once per level of instructions.
 *
 * Plain C11 that compilers turn into vector code: loops over 16 lanes without branches.  Every
 * operation is rounded by itself and every sum has its order written down, so the width of the
 * vectors shows nowhere in the results.  Pure functions; any thread may call them. */
#include "vec.h"

#include <math.h>

#include "halyard/compiler.h"
#include "quant/quant.h"
#include "vec_half.h"
#include "vec_stream.h"

enum { LANES = 16, TILE_COLS = 12, Q8_BLOCK = 32 };

/* ---- exponentials in f32 */

#define INV_LN2 0x1.715476p+0f
#define LN2_HIGH 0x1.63p-1f /* 9 bits: its products with exponents are exact */
#define LN2_LOW -0x1.bd0106p-13f
#define ROUNDER 0x1.8p23f /* adding it leaves the nearest integer in the low bits */

/* x = k ln 2 + r with |r| <= 0.347: returns e^r - 1, *bits = those of ROUNDER + k. |x| < 2^20. */
static inline float exp_reduced(float x, uint32_t *bits)
{
    const float t = x * INV_LN2 + ROUNDER;
    const float k = t - ROUNDER;
    const float r = (x - k * LN2_HIGH) - k * LN2_LOW;
    /* Taylor's series; r^8 / 8! is a tenth of a unit in the last place of the result. */
    float q = 1.0f / 5040.0f;
    q = q * r + 1.0f / 720.0f;
    q = q * r + 1.0f / 120.0f;
    q = q * r + 1.0f / 24.0f;
    q = q * r + 1.0f / 6.0f;
    q = q * r + 0.5f;
    *bits = hy__f32_bits(t);
    return r + r * r * q;
}

/* e^x; 0 and infinity beyond the range of f32, NaN for NaN. */
static inline float exp_f32(float x)
{
    uint32_t bits;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    const float p = exp_reduced(x, &bits);
    /* 2^k as two factors: the result may be subnormal, or infinite, although 1 + p is neither.
     * k + 256 = a + b, and each factor's exponent is that of 2^(a - 128). */
    const uint32_t k = bits - 0x4b400000u + 256u, a = k >> 1, b = k - a;
    return (1.0f + p) * hy__f32_from_bits((a - 1u) << 23) * hy__f32_from_bits((b - 1u) << 23);
}

/* e^x where it is a normal number, |x| <= 87, or x is NaN. */
static inline float exp_normal(float x)
{
    uint32_t bits;
    const float p = exp_reduced(x, &bits);
    return (1.0f + p) * hy__f32_from_bits((bits - 0x4b400000u + 127u) << 23);
}

static inline float magnitude(float x)
{
    return hy__f32_from_bits(hy__f32_bits(x) & 0x7fffffffu);
}

static inline float with_sign_of(float x, float sign)
{
    return hy__f32_from_bits((hy__f32_bits(x) & 0x7fffffffu) | (hy__f32_bits(sign) & 0x80000000u));
}

static inline float sigmoid_f32(float x)
{
    const float e = exp_f32(-magnitude(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* e^(-e^(-1/2) sigmoid(x)): what becomes of a sigmoid below e^-87 does not show in the result. */
static inline float decay_f32(float x)
{
    float a = magnitude(x);
    a = a > 87.0f ? 87.0f : a;
    const float e = exp_normal(-a), sigmoid = (x < 0.0f ? e : 1.0f) / (1.0f + e);
    return exp_normal(-0x1.368b30p-1f * sigmoid);
}

/* By way of m = e^(-2|x|) - 1, which loses nothing near zero: tanh |x| = -m / (2 + m). */
static inline float tanh_f32(float x)
{
    uint32_t bits;
    float a = magnitude(x);
    a = a > 15.0f ? 15.0f : a; /* tanh is 1 from 9.01 on */
    const float p = exp_reduced(-2.0f * a, &bits);
    const float scale = hy__f32_from_bits((bits - 0x4b400000u + 127u) << 23);
    const float m = scale * p + (scale - 1.0f);
    return with_sign_of(m / (2.0f + m), x);
}

/* NaN stays NaN, so that a broken weight shows. */
static inline float positive(float x)
{
    return x <= 0.0f ? 0.0f : x;
}

/* ---- element-wise */

/* y[i] = value for all i; the expression sees i. */
#define EACH(n, value)                                                                             \
    HY_INDEPENDENT                                                                                 \
    for (size_t i = 0; i < (n); i++) {                                                             \
        y[i] = (value);                                                                            \
    }

static void vec_add(float *y, const float *a, const float *b, uint32_t n)
{
    EACH(n, a[i] + b[i])
}

static void vec_mul(float *y, const float *a, const float *b, uint32_t n)
{
    EACH(n, a[i] * b[i])
}

static void vec_lerp(float *y, const float *a, const float *b, const float *t, uint32_t n)
{
    EACH(n, a[i] + (b[i] - a[i]) * t[i])
}

static void vec_tanh(float *y, const float *x, uint32_t n)
{
    EACH(n, tanh_f32(x[i]))
}

static void vec_sigmoid(float *y, const float *x, uint32_t n)
{
    EACH(n, sigmoid_f32(x[i]))
}

static void vec_silu(float *y, const float *x, uint32_t n)
{
    EACH(n, x[i] * sigmoid_f32(x[i]))
}

static void vec_relu2(float *y, const float *x, uint32_t n)
{
    EACH(n, positive(x[i]) * positive(x[i]))
}

static void vec_rwkv7_decay(float *y, const float *x, uint32_t n)
{
    EACH(n, decay_f32(x[i]))
}

static void vec_rwkv7_key(float *y, const float *k, const float *a, const float *k_a, uint32_t n)
{
    EACH(n, k[i] * (1.0f + (a[i] - 1.0f) * k_a[i]))
}

/* ---- sums: element i goes into partial sum i mod 16, partial sums are added in halves */

static inline double fold(const double *sum)
{
    double a[8], b[4];
    for (size_t l = 0; l < 8; l++) {
        a[l] = sum[l] + sum[l + 8];
    }
    for (size_t l = 0; l < 4; l++) {
        b[l] = a[l] + a[l + 4];
    }
    return (b[0] + b[2]) + (b[1] + b[3]);
}

/* *result = sum of `term`, an expression in i. */
#define SUM(result, n, term)                                                                       \
    do {                                                                                           \
        double sum_[LANES] = {0};                                                                  \
        size_t first_ = 0;                                                                         \
        for (; (n)-first_ >= LANES; first_ += LANES) {                                             \
            for (size_t l_ = 0; l_ < LANES; l_++) {                                                \
                const size_t i = first_ + l_;                                                      \
                sum_[l_] += (term);                                                                \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = first_; i < (n); i++) {                                                    \
            sum_[i - first_] += (term);                                                            \
        }                                                                                          \
        *(result) = fold(sum_);                                                                    \
    } while (0)

/* In double precision, which costs little where memory and calls cost most: a sum of squares then
 * neither overflows nor loses small channels next to large ones. */
static double sum_of_squares(const float *x, uint32_t n)
{
    double sum;
    SUM(&sum, n, (double)x[i] * (double)x[i]);
    return sum;
}

static void vec_layer_norm(float *y, const float *x, const float *gain, const float *bias,
                           uint32_t n, float eps)
{
    double mean, var;
    SUM(&mean, n, (double)x[i]);
    mean /= n;
    SUM(&var, n, ((double)x[i] - mean) * ((double)x[i] - mean));
    const double scale = 1.0 / sqrt(var / n + (double)eps);
    EACH(n, (float)(((double)x[i] - mean) * scale * (double)gain[i] + (double)bias[i]))
}

static void vec_rms_norm(float *y, const float *x, const float *gain, uint32_t n, float eps)
{
    const double scale = 1.0 / sqrt(sum_of_squares(x, n) / n + (double)eps);
    EACH(n, (float)((double)x[i] * scale * (double)gain[i]))
}

static void vec_l2_norm(float *y, const float *x, uint32_t n, float eps)
{
    const double length = sqrt(sum_of_squares(x, n));
    const double scale = 1.0 / (length < (double)eps ? (double)eps : length);
    EACH(n, (float)((double)x[i] * scale))
}

static void vec_rwkv7_bonus(float *y_out, const float *y_in, const float *r, const float *k,
                            const float *v, const float *r_k, uint32_t n)
{
    double sum;
    SUM(&sum, n, (double)r[i] * (double)k[i] * (double)r_k[i]);
    float *y = y_out;
    EACH(n, (float)((double)y_in[i] + sum * (double)v[i]))
}

/* ---- rotary positions */

/* Pairs that lie side by side are taken apart and put together in loops of their own: seen in one
 * loop, gcc 12 makes a fused instruction of their difference and sum even where fusing is
 * forbidden.
 */
static void rotate_neighbours(float *y, const float *x, const float *cs, size_t pairs)
{
    for (size_t first = 0; first < pairs; first += LANES) {
        const size_t n = HY_MIN(pairs - first, (size_t)LANES);
        float a[LANES], b[LANES];
        for (size_t i = 0; i < n; i++) {
            const size_t at = 2 * (first + i);
            a[i] = x[at] * cs[at] - x[at + 1] * cs[at + 1];
        }
        for (size_t i = 0; i < n; i++) {
            const size_t at = 2 * (first + i);
            b[i] = x[at] * cs[at + 1] + x[at + 1] * cs[at];
        }
        for (size_t i = 0; i < n; i++) {
            y[2 * (first + i)] = a[i];
            y[2 * (first + i) + 1] = b[i];
        }
    }
}

static void vec_rope(float *y, const float *x, const float *cs, uint32_t n, uint32_t n_rot,
                     bool half_split)
{
    const size_t pairs = n_rot / 2;
    if (half_split) {
        HY_INDEPENDENT
        for (size_t i = 0; i < pairs; i++) {
            const float a = x[i], b = x[i + pairs], cosine = cs[2 * i], sine = cs[2 * i + 1];
            y[i] = a * cosine - b * sine;
            y[i + pairs] = a * sine + b * cosine;
        }
    } else {
        rotate_neighbours(y, x, cs, pairs);
    }
    for (size_t i = 2 * pairs; i < n; i++) {
        y[i] = x[i];
    }
}

/* ---- WKV-7 */

enum { WIDE = 64 }; /* channels of values at a time, whose sums stay in registers */

/* One token's vectors along the keys of S. */
typedef struct token {
    const float *r, *w, *k, *kk, *a;
    size_t n;
} token;

/* Columns of S to their next state, maybe in place: row j has key channel j of them.  A macro, for
 * GCC keeps the sums of a function's arguments in memory; `width` is a constant where it matters.
 */
#define WKV7_COLUMNS(width)                                                                        \
    do {                                                                                           \
        float removed_[WIDE] = {0}, sum_[WIDE] = {0}, past_[WIDE];                                 \
        for (size_t j = 0; j < t->n; j++) {                                                        \
            const float *row_ = from + j * t->n;                                                   \
            const float kk_ = t->kk[j];                                                            \
            for (size_t i = 0; i < (width); i++) {                                                 \
                removed_[i] += row_[i] * kk_;                                                      \
            }                                                                                      \
        }                                                                                          \
        for (size_t j = 0; j < t->n; j++) {                                                        \
            const float *row_ = from + j * t->n;                                                   \
            float *next_ = stream ? past_ : to + j * t->n;                                         \
            const float w_ = t->w[j], k_ = t->k[j], ka_ = t->kk[j] * t->a[j], r_ = t->r[j];        \
            HY_INDEPENDENT                                                                         \
            for (size_t i = 0; i < (width); i++) {                                                 \
                const float x_ = (row_[i] * w_ - removed_[i] * ka_) + v[i] * k_;                   \
                next_[i] = x_;                                                                     \
                sum_[i] += x_ * r_;                                                                \
            }                                                                                      \
            if (stream) {                                                                          \
                hy__stream(to + j * t->n, past_, (width));                                         \
            }                                                                                      \
        }                                                                                          \
        memcpy(y, sum_, (width) * sizeof *sum_);                                                   \
    } while (0)

static inline void wkv7_wide(const token *t, const float *from, float *to, const float *restrict v,
                             float *restrict y, const bool stream)
{
    WKV7_COLUMNS(WIDE);
}

static inline void wkv7_narrow(const token *t, const float *from, float *to,
                               const float *restrict v, float *restrict y, const bool stream,
                               const size_t width)
{
    WKV7_COLUMNS(width);
}

static void wkv7_token(const token *t, const float *from, float *to, const float *v, float *y)
{
    size_t i = 0;
    for (; t->n - i >= WIDE; i += WIDE) {
        wkv7_wide(t, from + i, to + i, v + i, y + i, false);
    }
    if (i < t->n) {
        wkv7_narrow(t, from + i, to + i, v + i, y + i, false, t->n - i);
    }
}

/* The same, past the caches. */
static void wkv7_token_streamed(const token *t, const float *from, float *to, const float *v,
                                float *y)
{
    size_t i = 0;
    for (; t->n - i >= WIDE; i += WIDE) {
        wkv7_wide(t, from + i, to + i, v + i, y + i, true);
    }
    if (i < t->n) {
        wkv7_narrow(t, from + i, to + i, v + i, y + i, true, t->n - i);
    }
    hy__stream_end();
}

static void vec_wkv7(const hy__vec_wkv7 *args)
{
    const float *from = args->state_old;
    for (size_t i = 0; i < args->n_tokens; i++) {
        const size_t at = i * args->stride;
        const token t = {.r = args->r + at,
                         .w = args->w + at,
                         .k = args->k + at,
                         .kk = args->kk + at,
                         .a = args->a + at,
                         .n = args->n};
        if (args->stream && i + 1 == args->n_tokens) {
            wkv7_token_streamed(&t, from, args->state_new, args->v + at, args->y + at);
        } else {
            wkv7_token(&t, from, args->state_new, args->v + at, args->y + at);
        }
        from = args->state_new;
    }
}

/* ---- blocks of KV caches */

enum { BLOCK = HY__ATTENTION_BLOCK };

/* As hy__f32_to_f16, without branches. */
static inline uint16_t f16_of(float x)
{
    const uint32_t bits = hy__f32_bits(x), abs = bits & 0x7fffffffu;
    const uint32_t normal = (abs + 0xc8000fffu + (abs >> 13 & 1u)) >> 13;
    /* Below 2^-14 the sum's last place is that of a subnormal half: the addition rounds. */
    const uint32_t small = hy__f32_bits(hy__f32_from_bits(abs) + 0.5f) - 0x3f000000u;
    uint32_t h = abs < 0x38800000u ? small : normal;
    h = abs >= 0x477ff000u ? 0x7c00u : h;
    h = abs > 0x7f800000u ? 0x7e00u : h;
    return (uint16_t)(h | (bits >> 16 & 0x8000u));
}

/* Where a block has channel c of position i. */
static inline size_t number_at(hy__kv_form form, size_t c, size_t i)
{
    return form.values ? (c / LANES * BLOCK + i) * LANES + c % LANES
                       : (i / LANES * form.dim + c) * LANES + i % LANES;
}

/* Position i's part of a run of 32 channels in Q8_0: bytes to its scale and to code 0 from the
 * beginning of the block; code e is q8_code(form, e) bytes further. */
typedef struct q8_part {
    size_t scale, codes;
} q8_part;

static inline q8_part q8_at(hy__kv_form form, size_t run, size_t i)
{
    if (form.values) {
        const size_t first = run * BLOCK * (2 + Q8_BLOCK);
        return (q8_part){first + 2 * i, first + (size_t)2 * BLOCK + i * LANES};
    }
    const size_t runs = form.dim / Q8_BLOCK;
    const size_t first = (i / LANES * runs + run) * LANES * (2 + Q8_BLOCK);
    return (q8_part){first + 2 * (i % LANES), first + (size_t)2 * LANES + i % LANES};
}

static inline size_t q8_code(hy__kv_form form, size_t e)
{
    return form.values ? e / LANES * BLOCK * LANES + e % LANES : e * LANES;
}

static void write_f32(hy__kv_form form, const float *x, float *block, size_t i)
{
    for (size_t c = 0; c < form.dim; c++) {
        block[number_at(form, c, i)] = x[c];
    }
}

static void write_f16(hy__kv_form form, const float *x, uint16_t *block, size_t i)
{
    for (size_t first = 0; first < form.dim; first += BLOCK) {
        const size_t n = HY_MIN(form.dim - first, (size_t)BLOCK);
        uint16_t h[BLOCK];
        for (size_t c = 0; c < n; c++) {
            h[c] = f16_of(x[first + c]);
        }
        for (size_t c = 0; c < n; c++) {
            block[number_at(form, first + c, i)] = h[c];
        }
    }
}

static void write_q8(hy__kv_form form, const float *x, uint8_t *block, size_t i)
{
    for (size_t run = 0; run < form.dim / Q8_BLOCK; run++, x += Q8_BLOCK) {
        uint8_t row[2 + Q8_BLOCK];
        if (hy__first_not_finite(x, Q8_BLOCK) < Q8_BLOCK ||
            hy__quantize_Q8_0(x, row, Q8_BLOCK) < Q8_BLOCK) {
            /* Nothing that could be encoded: whoever reads it is to notice. */
            memset(row, 0, sizeof row);
            hy__store_u16(row, 0x7e00);
        }
        const q8_part at = q8_at(form, run, i);
        memcpy(block + at.scale, row, 2);
        for (size_t e = 0; e < Q8_BLOCK; e++) {
            block[at.codes + q8_code(form, e)] = row[2 + e];
        }
    }
}

static void vec_kv_write(hy__kv_form form, const float *x, void *block, uint32_t i)
{
    switch (form.type) {
    case HY__KV_F32:
        write_f32(form, x, block, i);
        break;
    case HY__KV_F16:
        write_f16(form, x, block, i);
        break;
    case HY__KV_Q8_0:
        write_q8(form, x, block, i);
        break;
    }
}

static void read_q8(hy__kv_form form, const uint8_t *block, size_t i, float *x)
{
    for (size_t run = 0; run < form.dim / Q8_BLOCK; run++, x += Q8_BLOCK) {
        const q8_part at = q8_at(form, run, i);
        const float d = hy__load_f16(block + at.scale);
        for (size_t e = 0; e < Q8_BLOCK; e++) {
            int8_t code;
            memcpy(&code, block + at.codes + q8_code(form, e), 1);
            x[e] = d * (float)code;
        }
    }
}

static void vec_kv_read(hy__kv_form form, const void *block, uint32_t i, float *x)
{
    const float *f32 = block;
    const uint16_t *f16 = block;
    switch (form.type) {
    case HY__KV_F32:
        for (size_t c = 0; c < form.dim; c++) {
            x[c] = f32[number_at(form, c, i)];
        }
        break;
    case HY__KV_F16:
        for (size_t c = 0; c < form.dim; c++) {
            x[c] = hy__f16_to_f32(f16[number_at(form, c, i)]);
        }
        break;
    case HY__KV_Q8_0:
        read_q8(form, block, i, x);
        break;
    }
}

static void expand_q8_keys(const uint8_t *run, float *out)
{
    float d[LANES];
    hy__halves((const uint16_t *)(const void *)run, d, LANES);
    run += sizeof(uint16_t) * LANES;
    for (size_t e = 0; e < Q8_BLOCK * LANES; e += LANES) {
        hy__scale_codes(run + e, d, out + e);
    }
}

static void expand_q8_values(const uint8_t *run, float *out)
{
    float d[BLOCK];
    hy__halves((const uint16_t *)(const void *)run, d, BLOCK);
    run += sizeof(uint16_t) * BLOCK;
    for (size_t i = 0; i < BLOCK; i++) {
        float same[LANES];
        for (size_t l = 0; l < LANES; l++) {
            same[l] = d[i];
        }
        for (size_t e = i * LANES; e < Q8_BLOCK * BLOCK; e += BLOCK * LANES) {
            hy__scale_codes(run + e, same, out + e);
        }
    }
}

static void vec_kv_expand(hy__kv_form form, const void *block, float *out)
{
    const size_t n = (size_t)hy__kv_numbers(form);
    const size_t run = (size_t)Q8_BLOCK * (form.values ? BLOCK : LANES); /* of Q8_0 */
    const uint8_t *q8 = block;
    switch (form.type) {
    case HY__KV_F32:
        memcpy(out, block, n * sizeof *out);
        break;
    case HY__KV_F16:
        hy__halves(block, out, n);
        break;
    case HY__KV_Q8_0:
        for (size_t at = 0; at < n; at += run, q8 += run / Q8_BLOCK * (2 + Q8_BLOCK)) {
            if (form.values) {
                expand_q8_values(q8, out + at);
            } else {
                expand_q8_keys(q8, out + at);
            }
        }
        break;
    }
}

/* ---- softmax */

static float larger(float a, float b)
{
    return b > a ? b : a;
}

/* Scores to weights relative to the largest score so far. */
static void vec_softmax(hy__vec_softmax *s)
{
    float most[LANES];
    for (size_t l = 0; l < LANES; l++) {
        most[l] = larger(s->weights[l], s->weights[l + LANES]);
    }
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            most[l] = larger(most[l], most[l + half]);
        }
    }
    const float now = larger(s->most, most[0]);
    for (size_t l = 0; l < BLOCK; l++) {
        s->weights[l] = exp_f32(s->weights[l] - now);
    }
    s->rescale = exp_f32(s->most - now);
    s->most = now;
    for (size_t l = 0; l < LANES; l++) {
        s->sum[l] = s->sum[l] * s->rescale + s->weights[l] + s->weights[l + LANES];
    }
}

/* ---- tiles */

static void vec_interleave(const float *x, size_t stride, uint32_t n, uint32_t cols, float *tile)
{
    for (size_t c = 0; c < TILE_COLS; c++) {
        for (size_t i = 0; i < n; i++) {
            tile[(size_t)i * TILE_COLS + c] = c < cols ? x[c * stride + i] : 0.0f;
        }
    }
}

#define TABLE(level) TABLE_(level)
#define TABLE_(level) hy__vec_##level
#define MEMBER(name, args) .name = vec_##name,
const hy__vec TABLE(HY__LEVEL) = {HY__VEC_FUNCTIONS(MEMBER)};
