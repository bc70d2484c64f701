/* halyard/sampler.h: from logits to the next token.
 *
 * A sampler is immutable and may be shared.  What changes (the tokens so far, mirostat's mu)
 * belongs to the session. Randomness is a function of (seed, position): a restored or forked
 * session goes on with the same text, and the same seed gives the same text on every machine. */
#ifndef HALYARD_SAMPLER_H
#define HALYARD_SAMPLER_H

#include "tokenizer.h"

HY_BEGIN_DECLS

typedef struct hy_logit_bias {
    hy_token token;
    float bias; /* added to the logit; -INFINITY forbids the token */
} hy_logit_bias;

/* Order of the chain: suppressed tokens, logit_bias, penalties, then greedy, or mirostat, or
 * top_k, typical_p, top_p, min_p, temperature, draw. */
typedef struct hy_sampler_opts {
    size_t size;
    bool greedy;       /* take the largest logit (after bias and penalties); ties: the smaller id */
    float temperature; /* 0: 0.8 */
    int32_t top_k;     /* 0: 40; negative: off */
    float top_p;       /* 0: 0.95; >= 1: off */
    float min_p;       /* 0: 0.05; negative: off */
    float typical_p;   /* 0 or >= 1: off */
    int32_t penalty_last_n;  /* tokens looked back at; 0: 64; negative: all */
    float repeat_penalty;    /* 0 or 1: off */
    float presence_penalty;  /* 0: off */
    float frequency_penalty; /* 0: off */
    int32_t
        mirostat; /* 0: off, 2: mirostat v2 (then top_k, typical_p, top_p, min_p are not used) */
    float mirostat_tau;              /* 0: 5 */
    float mirostat_eta;              /* 0: 0.1 */
    uint64_t seed;                   /* used as it is, 0 too */
    const hy_logit_bias *logit_bias; /* copied */
    size_t n_logit_bias;
} hy_sampler_opts;

typedef struct hy_sampler hy_sampler;

/* t may be NULL: then every id may be sampled.  Errors: HY_E_ARG names the field and its range. */
HY_API HY_CHECK hy_status hy_sampler_create(const hy_sampler_opts *opts, const hy_tokenizer *t,
                                            const hy_env *env, hy_sampler **out, hy_error *err);
HY_API void hy_sampler_destroy(hy_sampler *s);

/* One draw. logits f32 [n_vocab] are not changed.  history: the tokens so far, oldest first, for
 * the penalties; position: number of tokens before the one drawn, the random number depends on it.
 * mu: mirostat's state, in and out; start it with 0 (= 2 tau); may be NULL without mirostat.
 * Errors: HY_E_NUMERIC if a logit is NaN or all are -inf, HY_E_NOMEM. */
HY_API HY_CHECK hy_status hy_sampler_pick(const hy_sampler *s, const float *logits,
                                          uint32_t n_vocab, const hy_token *history,
                                          size_t n_history, uint64_t position, float *mu,
                                          hy_token *out, hy_error *err);

HY_END_DECLS

#endif
