/* vec_attention.h: how attention uses its scratch memory, for vec.c and for kv.c, which says how
 * much that is.
 *
 * First the block's rows of keys and values as floats, then what a query keeps between blocks.
 * Types only. */
#ifndef HY_BACKEND_CPU_VEC_ATTENTION_H
#define HY_BACKEND_CPU_VEC_ATTENTION_H

#include "vec.h"

enum { HY__ATTENTION_BLOCK = 32 }; /* positions that are looked at together; two vectors of 16 */

/* The running softmax of one query head. */
typedef struct hy__vec_softmax {
    float weights[HY__ATTENTION_BLOCK]; /* of this block: scores, then their exponentials */
    float sum[16];                      /* of all weights so far, by position mod 16 */
    float most;    /* the largest score so far, which weights are relative to */
    float rescale; /* what this block's maximum makes of older weights */
} hy__vec_softmax;

#endif
