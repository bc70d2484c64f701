/* traced.h: a step of the reference backend with everything that it computed, on a fused model of
 * the repository: what the trees of its phases are compared with.
 *
 * Functions fail the running test where something goes wrong.  One thread. */
#ifndef HY_TESTS_TRACED_H
#define HY_TESTS_TRACED_H

#include "plan/plan.h"
#include "support/fused.h"

/* The step: TRACED_TOKENS tokens behind TRACED_BEFORE others, logits of the last TRACED_OUTPUTS. */
enum { TRACED_TOKENS = 5, TRACED_OUTPUTS = 3, TRACED_BEFORE = 2 };

typedef struct traced {
    fused l;
    hy__plan plan;
    float **results;  /* [n_nodes] [columns][n] */
    float *state_old; /* the recurrent block before the step, after it */
    float *state_new;
    uint32_t n_traced;
} traced;

void traced_run(traced *t, const char *path, uint32_t rules);
void traced_finish(traced *t);

/* Numbers of an expression: [cols][n], or [n] for vectors and constants; free(at). */
typedef struct numbers {
    double *at;
    uint32_t n, cols;
} numbers;

/* Zeros, as many as a value has. */
numbers traced_zeros(const hy__value *v);
/* What a leaf of a tree was in that step. */
numbers traced_leaf(const traced *t, const hy__expr *e);

#endif
