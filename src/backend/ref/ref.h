/* ref.h: the reference backend: one plain C function per operation, sums in double precision.
 *
 * It is the oracle of every other backend.  Every result is a function of its own column alone,
 * summed in an order that depends on nothing else: so results do not depend on the number of
 * threads, nor on how a prompt is cut into chunks. */
#ifndef HY_BACKEND_REF_REF_H
#define HY_BACKEND_REF_REF_H

#include "backend/backend.h"

typedef struct hy__ref_session hy__ref_session;

/* One operation of the step at hand. */
typedef void (*hy__ref_fn)(hy__ref_session *s, const hy__node *node);

typedef struct hy__ref_model {
    hy_env env;
    const hy__graph *g;
    const hy__plan *p;
    float **vectors; /* [n_values] decoded weight vectors, NULL for all other values */
    uint32_t widest; /* longest column that is multiplied with a matrix */
} hy__ref_model;

struct hy__ref_session {
    const hy__ref_model *model;
    hy__backend_opts opts;
    hy__pool *pool;
    float *arena[2]; /* activations per token, per output; see plan.h */
    /* [n_batch][widest]: the columns at hand as matmul reads them; and which value they are, 0:
     * none.  Matrices that share an input come one after another. */
    double *columns;
    hy__id columns_of;
    double *scratch; /* [threads][scratch_len] */
    size_t scratch_len;
    float *recurrent[2]; /* a step reads the current block and writes the other */
    unsigned current;
    float **caches;     /* [n_states] KV caches [n_ctx][n], NULL for recurrent states */
    hy__step_args args; /* of the step at hand */
};

#define HY_OP(name, lower, arity, summary)                                                         \
    void hy__ref_##lower(hy__ref_session *s, const hy__node *node);
#include "graph/ops.inc"
#undef HY_OP

/* Columns of a value in this step: n, n_out or 1. */
uint32_t hy__ref_cols(const hy__ref_session *s, hy__id id);
/* [columns][n] of a result, or [n] of a weight vector. */
float *hy__ref_data(const hy__ref_session *s, hy__id id);
/* A recurrent state: as it was before the step, and as it will be. */
const float *hy__ref_state_old(const hy__ref_session *s, hy__id id);
float *hy__ref_state_new(const hy__ref_session *s, hy__id id);
double *hy__ref_scratch(const hy__ref_session *s, uint32_t thread);
static inline bool hy__ref_cancelled(const hy__ref_session *s)
{
    return atomic_load_explicit(s->args.cancel, memory_order_relaxed);
}

/* Sum of a[i] b[i] in four interleaved partial sums, which a compiler can vectorise without
 * changing the order. */
static inline double hy__ref_dot(const float *a, const float *b, uint32_t n)
{
    double sum[4] = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (uint32_t l = 0; l < 4; l++) {
            sum[l] += (double)a[i + l] * (double)b[i + l];
        }
    }
    for (; i < n; i++) {
        sum[i % 4] += (double)a[i] * (double)b[i];
    }
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

#endif
