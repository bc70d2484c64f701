/* session.h: the inside of sessions and states. */
#ifndef HY_SESSION_SESSION_H
#define HY_SESSION_SESSION_H

#include "model/model.h"

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
};

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
