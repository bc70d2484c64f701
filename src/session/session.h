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
    const hy_sampler *sampler; /* that drew `sampled` at position sampled_at; held; NULL: none */
    uint64_t sampler_id;
    hy_token sampled;
    size_t sampled_at;
    size_t start; /* position of the first step of the batch at hand */
    size_t next;  /* of the first one that was not submitted */
    uint32_t n;   /* steps of the batch at hand; what they drew: */
    hy_token drawn[HY__MOST_AHEAD];
    uint32_t in_flight; /* steps of the batch behind it; 0: there is none */
    uint32_t size;      /* of the next batch */
    uint64_t since_ns;  /* when the last batch was done */
} hy__ahead;

/* What a session is made again from whose device was lost: the last state that the host has, the
 * tokens since, and in which steps they were evaluated: the same steps leave the same numbers.
 * Nothing is kept for backends that lose nothing. */
enum { HY__MOST_LOSSES = 3 }; /* within a minute; one more is an error */
typedef struct hy__kept {
    const hy_state *state; /* of position `at`; held; NULL: all zeros, as at the beginning */
    size_t at;
    struct hy__kept_run {
        uint32_t tokens; /* of each step */
        uint32_t steps;
    } *runs; /* since then, [n_runs] */
    size_t n_runs, cap;
    uint64_t since_ns; /* when that was */
    bool stale;        /* the backend is not where the session is */
    bool given_up;     /* and there were so many losses that it is left so for a while */
    uint64_t losses[HY__MOST_LOSSES]; /* when the last ones were, oldest first; 0: never */
} hy__kept;

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
    size_t expected; /* as of hy_session_expect */
    hy__ahead ahead;
    hy__kept kept;
};

/* session.c: evaluates n pending tokens, n <= the most of a step, and leaves logits of the last
 * n_out.  again: the caller saw them evaluated before: nothing cancels or watches it. */
hy_status hy__session_evaluate(hy_session *s, uint32_t n, uint32_t n_out, bool again,
                               hy_error *err);

/* kept.c.  Room for what the next step adds: before it. */
hy_status hy__kept_reserve(hy_session *s, hy_error *err);
/* A step of n tokens was evaluated; n steps of one token are taken back. */
void hy__kept_step(hy_session *s, uint32_t n);
void hy__kept_undo(hy_session *s, size_t n);
/* The session is at n_done now, with this state; NULL: at the beginning. */
void hy__kept_begin(hy_session *s, const hy_state *state);
/* Whether so much was done since the state that it is time for another; taking it, where the
 * backend is where the session is. */
bool hy__kept_due(const hy_session *s);
hy_status hy__kept_refresh(hy_session *s, hy_error *err);
/* Behind a call of the backend that failed: if the device was lost, makes the backend's session
 * again, where this one is; true: the call can be made once more.  Else *status is what to return,
 * and the next attempt begins with hy__kept_ready. */
bool hy__kept_revive(hy_session *s, hy_status *status, hy_error *err);
/* Before the backend is asked for anything: it is where the session is, or will be. */
hy_status hy__kept_ready(hy_session *s, hy_error *err);
void hy__kept_finish(hy_session *s);

/* ahead.c.  The pending token, if the backend drew it or can draw what follows; *done: it was
 * evaluated. */
hy_status hy__ahead_step(hy_session *s, bool *done, hy_error *err);
/* The token that the backend drew behind the last one; false: the host must. */
bool hy__ahead_sample(hy_session *s, const hy_sampler *sampler, hy_token *out);
/* The host drew this one. */
void hy__ahead_sampled(hy_session *s, const hy_sampler *sampler, hy_token token);
/* The backend is where the session is; logits: and the logits of the last token are there. */
hy_status hy__ahead_settle(hy_session *s, bool logits, hy_error *err);
/* Forgets what the backend has under way; finish: and who drew the last token. */
void hy__ahead_forget(hy_session *s);
void hy__ahead_finish(hy_session *s);

struct hy_state {
    hy_env env;
    atomic_uint holders;
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
/* Keeps a state until hy__state_drop, also when its owner destroys it. */
const hy_state *hy__state_hold(const hy_state *state);
void hy__state_drop(const hy_state *state); /* NULL is fine */

#endif
