/* transformer.h: the block that Llama and its relatives share; each architecture says how it
 * differs. */
#ifndef HY_MODEL_TRANSFORMER_H
#define HY_MODEL_TRANSFORMER_H

#include "builder.h"

typedef struct hy__transformer {
    bool half_split_rope; /* pairs (j, j + n/2), "NeoX"; otherwise (2j, 2j + 1) */
    bool qk_norm;         /* RMS norm of every query and key head before the rotation */
    bool qkv_bias;        /* the file may have biases of q, k, v */
    bool need_qkv_bias;   /* and must */
    bool other_bias;      /* the file may have biases of the output, gate, up and down matrices */
} hy__transformer;

/* Reads the hyper-parameters of specs "Llama, Qwen2, Qwen3" and builds the whole graph. */
hy_status hy__build_transformer(hy__builder *b, const hy__transformer *t);

/* ffn_down (silu(ffn_gate n) * ffn_up n): c channels, f inside; `bias`: the file may have biases of
 * the three. */
hy__id hy__swiglu(hy__builder *b, uint32_t c, uint32_t f, hy__id n, bool bias);

#endif
