/* session.h: the inside of sessions and states. */
#ifndef HY_SESSION_SESSION_H
#define HY_SESSION_SESSION_H

#include "model/model.h"

/* Steps that the backend takes without waiting for the host.  A session that is stepped with the
 * very token that was drawn from its logits begins it: from then on the backend draws the tokens,
 * some steps ahead, and sample, append and step only hand them out.  Whoever does anything else
 * (another token, another sampler, logits, a snapshot) brings the backend back to where the session
 * is: hy__ahead_settle. */
typedef struct hy__ahead {
    bool active;
    bool off; /* the sampler off_id must work on the host, or logits are looked at */
    uint64_t off_id;
    const hy_sampler *sampler; /* that drew `sampled` at position sampled_at; NULL: none */
    uint64_t sampler_id;
    hy_token sampled;
    size_t sampled_at;
    size_t start; /* position of the first step of the batch at hand */
    size_t next;  /* of the first one that was not submitted */
    uint32_t n;   /* steps of the batch at hand; what they drew: */
    hy_token drawn[HY__MOST_AHEAD];
    uint32_t in_flight; /* steps of the batch behind it; 0: there is none */
    uint32_t size;      /* of the next batch */
} hy__ahead;

struct hy_session {
    const hy_model *model;
    hy_session_opts opts; /* resolved; names of types are constants */
    void *backend;        /* the backend's session */
    hy_type cache_k, cache_v;
    hy_token *tokens; /* [n_done evaluated, then n_pending queued] */
    size_t n_done, n_pending, cap;
    float *logits;      /* [rows][vocab] */
    uint32_t n_logits;  /* valid rows */
    size_t logits_from; /* with all_logits: no rows of the positions before */
    float mu;           /* mirostat */
    atomic_bool cancel;
    hy_trace trace;
    void *trace_user;
    hy_profile profile;
    void *profile_user;
    hy__ahead ahead;
};

/* session.c: evaluates at most `most` pending tokens. */
hy_status hy__session_step(hy_session *s, size_t most, hy_step *step, hy_error *err);

/* ahead.c.  The pending token, if the backend drew it or can draw what follows; *done: it was
 * evaluated. */
hy_status hy__ahead_step(hy_session *s, bool *done, hy_error *err);
/* The token that the backend drew behind the last one; false: the host must. */
bool hy__ahead_sample(hy_session *s, const hy_sampler *sampler, hy_token *out);
/* The host drew this one. */
void hy__ahead_sampled(hy_session *s, const hy_sampler *sampler, hy_token token);
/* The backend is where the session is; logits: and the logits of the last token are there. */
hy_status hy__ahead_settle(hy_session *s, bool logits, hy_error *err);

struct hy_state {
    hy_env env;
    uint64_t fingerprint; /* of the model */
    uint64_t recurrent;   /* floats, as of the model's plan */
    uint64_t per_position;
    uint64_t n_tokens;
    uint64_t n_logits; /* vocabulary size, or 0: no logits at this point */
    float mu;
    hy_token *tokens; /* [n_tokens] */
    float *logits;    /* [n_logits] */
    float *data;      /* [recurrent + n_tokens * per_position], as of hy__backend.state_read */
};

/* A state with uninitialised arrays of these sizes. */
hy_status hy__state_create(const hy_model *m, uint64_t n_tokens, bool logits, hy_state **out,
                           hy_error *err);

#endif
