/* plan.h: where everything of a model lives: activations, state, and what a token must read.
 *
 * Immutable once made; belongs to the model. */
#ifndef HY_PLAN_PLAN_H
#define HY_PLAN_PLAN_H

#include "fuse/fuse.h"

/* Sizes and places are in floats.  Results with a column per token lie in one arena, those with a
 * column per output in a second: value v begins at place[v] * columns of its arena and is
 * [columns][n].  Values whose lives do not meet share memory.  The logits have a place of their
 * own, outside of the arenas. */
typedef struct hy__plan {
    hy_env env;
    uint64_t *place;     /* [n_values], meaningful for results */
    uint64_t per_token;  /* size of the first arena per token */
    uint64_t per_output; /* of the second per output */
    uint64_t
        *state_place; /* [n_states]: within the recurrent block, or within the row of a position */
    uint64_t recurrent;    /* size of the recurrent block */
    uint64_t per_position; /* what all KV caches together hold per position */
    uint64_t weight_bytes; /* that decoding one token reads */
} hy__plan;

/* f: phases as ranges of the graph's nodes; memory of a value is given to another one only behind
 * the phase that reads it last, as the operations of a phase may run side by side.  NULL: they run
 * one after another. */
hy_status hy__plan_make(hy__plan *p, const hy__graph *g, const hy__fusion *f, hy_error *err);
void hy__plan_finish(hy__plan *p);

/* Weight bytes that a node reads for one token. */
uint64_t hy__node_weight_bytes(const hy__graph *g, const hy__node *node);
/* Recurrent state bytes that it reads and writes for one token. */
uint64_t hy__node_state_bytes(const hy__graph *g, const hy__node *node);

#endif
