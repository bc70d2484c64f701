/* sampler.h: what is in a sampler, for a backend that samples where the logits are.
 *
 * The rules of the chain are those of sampler.c.  Nothing here changes: any thread may use it. */
#ifndef HY_SESSION_SAMPLER_H
#define HY_SESSION_SAMPLER_H

#include "base/base.h"
#include "halyard/sampler.h"

typedef struct hy__candidate {
    double logit;
    hy_token id;
} hy__candidate;

/* Pointers are the sampler's, and live as long as it. */
typedef struct hy__sampler_view {
    uint64_t id;          /* no other sampler of this process has it */
    hy_sampler_opts opts; /* defaults filled in; of the bias, n_bias and bias count */
    bool penalties;       /* whether the history matters */
    double log_min_p;     /* natural logarithm; 0 if min_p is off */
    uint64_t random_key;  /* of the seed: the bits of a position are mix(key + (position + 1) G) */
    const hy__candidate *bias; /* ascending id, an id more than once perhaps; logit is added */
    size_t n_bias;
    const uint32_t *allowed; /* bit i: token i may be sampled; NULL: every token */
    uint32_t n_allowed;      /* tokens that `allowed` speaks of; those beyond may not be sampled */
} hy__sampler_view;

hy__sampler_view hy__sampler_look(const hy_sampler *s);

/* Keeps a sampler until hy__sampler_drop, also when its owner destroys it. */
const hy_sampler *hy__sampler_hold(const hy_sampler *s);
void hy__sampler_drop(const hy_sampler *s); /* NULL is fine */

/* How many candidates top_k leaves of a vocabulary, when the chain begins with it. */
uint32_t hy__sampler_top_k(const hy_sampler_opts *opts, uint32_t n_vocab);

#endif
