/* greedy.h: greedy text of a session, and whether another backend chooses the same.  One thread. */
#ifndef HY_CLI_GREEDY_H
#define HY_CLI_GREEDY_H

#include "generate.h"

/* The same tokens in every run: a linear congruential sequence over the vocabulary. */
hy_token greedy_arbitrary(uint64_t *state, uint32_t n_vocab);
/* Appends the tokens and evaluates all that is pending. */
hy_status greedy_evaluate(hy_session *s, const hy_token *ids, size_t n, hy_error *err);
/* Evaluates n tokens, each the sampler's choice behind those before it but ids[0]; they are put to
 * ids[1] to ids[n - 1]. */
hy_status greedy_generate(hy_session *s, const hy_sampler *greedy, hy_token *ids, size_t n,
                          hy_error *err);
/* Of the tokens, equal on every machine. */
uint64_t greedy_hash(const hy_token *ids, size_t n);

typedef struct greedy_check {
    size_t n;     /* tokens that were compared */
    size_t agree; /* those that the other backend chooses too */
    double lead;  /* the most by which it prefers another, over the rms of its logits */
} greedy_check;
/* Lets the model of `e`, which is to have no session, choose behind ids[0..i], for i < n - 1, and
 * compares with ids[i + 1].  An exit code; a line is printed unless it is 0. */
int greedy_compare(engine *e, const hy_token *ids, size_t n, greedy_check *out);

#endif
