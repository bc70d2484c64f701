/* vec.h: everything of the CPU backend that is not a matrix: norms, element-wise work, the recurrence, attention.
 *
 * One source (vec.c), compiled once per level of instructions: loops over 16 lanes in a fixed order, without
 * fused multiply-add, so every level gives the same bits.  Sums over a column go into 16 partial sums (element
 * i into sum i mod 16) in f32 or wider, combined in a fixed tree.  Functions work in place too (y may be any input)
 * unless said otherwise; they are pure and may be called from any thread.  Formulas: graph/ops.inc; the oracle is
 * backend/ref. */
#ifndef HY_BACKEND_CPU_VEC_H
#define HY_BACKEND_CPU_VEC_H

#include "base/base.h"

/* One head of the recurrence over T tokens.  Columns lie `stride` floats apart; N = head size.  Reads state_old,
 * writes state_new ([N][N], may not overlap; row j belongs to key channel j: the transpose of what backend/ref has). */
typedef struct hy__vec_wkv7 {
    const float *r, *w, *k, *v, *kk, *a; /* [T] columns, first channel of the head */
    float *y;
    size_t stride;
    const float *state_old;
    float *state_new;
    uint32_t n_tokens, n; /* T, N */
    bool stream;          /* state_new will not be read soon: write it past the caches (same numbers) */
} hy__vec_wkv7;

typedef enum hy__kv_type { HY__KV_F32, HY__KV_F16, HY__KV_Q8_0 } hy__kv_type;

enum { HY__ATTENTION_BLOCK = 32 }; /* positions that are looked at together; two vectors of 16 */

/* What a cache holds of one KV head: `dim` numbers per position (Q8_0: a multiple of 32), keys or values.  It lies
 * in blocks of 32 positions, one behind the other, and a block as the matrix kernels read it:
 *     keys      [32 / 16][dim][16 positions]
 *     values    [dim / 16, rounded up][32 positions][16 channels]
 * of f32 or f16; what is behind the last channel is never looked at.  Q8_0 quantizes 32 channels of a position,
 * and has for each run of 32 channels, of keys in each of the two panels:
 *     keys      f16 scales [16 positions], codes [32 channels][16 positions]
 *     values    f16 scales [32 positions], codes [32 / 16][32 positions][16 channels]
 * So numbers come one by one out of a block in the order in which the kernels want them, and all types in the same. */
typedef struct hy__kv_form {
    hy__kv_type type;
    bool values;
    uint32_t dim;
} hy__kv_form;

/* The running softmax of one query head. */
typedef struct hy__vec_softmax {
    float weights[HY__ATTENTION_BLOCK]; /* of this block: scores, then their exponentials */
    float sum[16];                      /* of all weights so far, by position mod 16 */
    float most;    /* the largest score so far, which weights are relative to */
    float rescale; /* what this block's maximum makes of older weights */
} hy__vec_softmax;

#define HY__VEC_FUNCTIONS(X)                                                                                           \
    X(add, (float *y, const float *a, const float *b, uint32_t n))                                                     \
    X(mul, (float *y, const float *a, const float *b, uint32_t n))                                                     \
    X(lerp, (float *y, const float *a, const float *b, const float *t, uint32_t n))                                    \
    X(tanh, (float *y, const float *x, uint32_t n))                                                                    \
    X(sigmoid, (float *y, const float *x, uint32_t n))                                                                 \
    X(silu, (float *y, const float *x, uint32_t n))                                                                    \
    X(relu2, (float *y, const float *x, uint32_t n))                                                                   \
    X(rwkv7_decay, (float *y, const float *x, uint32_t n))                                                             \
    X(rwkv7_key, (float *y, const float *k, const float *a, const float *k_a, uint32_t n))                             \
    /* over the n channels given: a whole column or one group */                                                       \
    X(layer_norm, (float *y, const float *x, const float *gain, const float *bias, uint32_t n, float eps))             \
    X(rms_norm, (float *y, const float *x, const float *gain, uint32_t n, float eps))                                  \
    X(l2_norm, (float *y, const float *x, uint32_t n, float eps))                                                      \
    X(rwkv7_bonus, (float *out, const float *y, const float *r, const float *k, const float *v, const float *r_k,      \
                    uint32_t n))                                                                                       \
    /* one head: cs [n_rot / 2][2] cosine and sine of the position; n the head's channels */                           \
    X(rope, (float *y, const float *x, const float *cs, uint32_t n, uint32_t n_rot, bool half_split))                  \
    X(wkv7, (const hy__vec_wkv7 * args))                                                                               \
    /* a block's scores in `weights`, -HUGE_VALF where a position is out of sight, to weights relative to the largest  \
     * score so far, which becomes theirs; `most` begins with -HUGE_VALF */                                            \
    X(softmax, (hy__vec_softmax * s))                                                                     \
    /* a block of a KV cache: position i of it, dim numbers; all of it to f32, in the order of the block */             \
    X(kv_write, (hy__kv_form form, const float *x, void *block, uint32_t i))                                           \
    X(kv_read, (hy__kv_form form, const void *block, uint32_t i, float *x))                                            \
    X(kv_expand, (hy__kv_form form, const void *block, float *out))                                                    \
    /* cols columns stride floats apart to [n][12], missing columns zero */                                            \
    X(interleave, (const float *x, size_t stride, uint32_t n, uint32_t cols, float *tile))

typedef struct hy__vec {
#define HY__VEC_MEMBER(name, args) void(*name) args;
    HY__VEC_FUNCTIONS(HY__VEC_MEMBER)
#undef HY__VEC_MEMBER
} hy__vec;

/* The table of each level that the build has: hy__vec_plain, hy__vec_avx2, hy__vec_avx512, hy__vec_neon. */
extern const hy__vec hy__vec_plain, hy__vec_avx2, hy__vec_avx512, hy__vec_neon;

/* Numbers of a block of a KV cache, with those behind the last channel, and its bytes. */
uint64_t hy__kv_numbers(hy__kv_form form);
uint64_t hy__kv_bytes(hy__kv_form form);

#endif
