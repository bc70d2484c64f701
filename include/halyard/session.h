/* halyard/session.h: one sequence of tokens going through a model.
 *
 * A session is used by one thread at a time; only hy_session_cancel may come from another.
 *
 *     append tokens -> step until none is pending -> logits / sample -> append the token -> step
 * ...
 *
 * A step either completes or leaves the session as it was: after any error, cancellation and failed
 * allocation included, the session is at the position of its last good step and can go on.  Only
 * the logits of that step are gone, unless the failed one was cancelled before it began. */
#ifndef HALYARD_SESSION_H
#define HALYARD_SESSION_H

#include "model.h"
#include "sampler.h"

HY_BEGIN_DECLS

typedef struct hy_session hy_session;

typedef struct hy_session_opts {
    size_t size;
    uint32_t n_ctx;   /* most tokens of a transformer's sequence; 0: the model's own, at most 4096.
                         Recurrent: no limit */
    uint32_t n_batch; /* most tokens in one step; 0: 512, or 64 with all_logits */
    uint32_t n_threads; /* 0: 1 */
    bool all_logits;    /* keep logits of every position of a step, not only of the last token */
    /* Types of the KV cache's keys and values: "f32", "f16", "q8_0"; NULL: the backend's own.  Less
     * memory, less exact; recurrent models have no cache. */
    const char *cache_type_k, *cache_type_v;
} hy_session_opts;

/* Errors: HY_E_NOMEM, HY_E_THREAD, HY_E_ARG, HY_E_LIMIT, HY_E_UNSUPPORTED (a cache type that the
 * backend does not have), HY_E_DEVICE_LOST (and the GPU cannot be opened again). */
HY_API HY_CHECK hy_status hy_session_create(const hy_model *m, const hy_session_opts *opts,
                                            hy_session **out, hy_error *err);
HY_API void hy_session_destroy(hy_session *s);
HY_API const hy_model *hy_session_model(const hy_session *s);

/* Queues tokens behind those still pending; copies them.
 * Errors: HY_E_CONTEXT (with both numbers; nothing was queued), HY_E_ARG (an id outside the
 * vocabulary, with its index), HY_E_NOMEM. */
HY_API HY_CHECK hy_status hy_session_append(hy_session *s, const hy_token *ids, size_t n,
                                            hy_error *err);

typedef struct hy_step {
    uint32_t done; /* tokens that this step evaluated */
    uint32_t
        n_logits;   /* rows of logits it left: `done` with all_logits (less those that
                       hy_session_logits_from leaves out), else 1 if nothing is pending, else 0 */
    size_t pending; /* tokens still queued */
} hy_step;

/* Evaluates at most n_batch pending tokens.  Without pending tokens: HY_OK, done 0, and the logits
 * stay. Errors: HY_E_CANCELLED (hy_session_cancel was called; the tokens are still pending),
 * HY_E_NUMERIC, HY_E_NOMEM.  A GPU that is lost on the way is opened again and the session rebuilt:
 * the same tokens come, later, and hy_env.log gets a warning; HY_E_DEVICE_LOST is for one that stays
 * away, or is lost more than three times within a minute, and a later step tries again. */
HY_API HY_CHECK hy_status hy_session_step(hy_session *s, hy_step *step, hy_error *err);

/* With all_logits: steps from now on leave rows only of positions `first` and later, and save the
 * work of the others; the last of a step's rows is still that of its last token.  0: of all, as at
 * the beginning.  Stays over hy_session_reset and hy_session_restore; no part of a fork.  Without
 * all_logits it changes nothing. */
HY_API void hy_session_logits_from(hy_session *s, size_t first);

/* Makes the running step, or the next one, return HY_E_CANCELLED.  Callable from any thread and
 * from a signal handler. */
HY_API void hy_session_cancel(hy_session *s);

/* f32 [n_vocab], row 0 <= row < n_logits of the last step; NULL if there is none. Valid until the
 * next step, restore or destroy. */
HY_API const float *hy_session_logits(const hy_session *s, uint32_t row);

/* Draws from the last row of logits.  The token is not appended.  Errors: HY_E_ARG (no logits),
 * those of hy_sampler_pick. */
HY_API HY_CHECK hy_status hy_session_sample(hy_session *s, const hy_sampler *sampler, hy_token *out,
                                            hy_error *err);

/* Tokens evaluated so far, oldest first; valid until the next call. */
HY_API const hy_token *hy_session_tokens(const hy_session *s, size_t *n);
HY_API uint32_t hy_session_n_ctx(const hy_session *s); /* 0: no limit */
/* What the KV cache grows by per token, in its types; 0 for recurrent models. */
HY_API uint64_t hy_session_kv_bytes_per_token(const hy_session *s);

/* Back to an empty sequence; drops pending tokens and logits. */
HY_API void hy_session_reset(hy_session *s);

/* ---- state as a value: position, tokens, recurrent state or KV cache, mirostat's mu, last logits.
 * A state is immutable, may be shared by threads, and outlives its session; its model must outlive
 * it.  A session on a GPU keeps the memory of the state that it was restored from last. */
typedef struct hy_state hy_state;

/* Of the evaluated tokens; pending ones are not part of it. */
HY_API HY_CHECK hy_status hy_session_snapshot(const hy_session *s, hy_state **out, hy_error *err);
/* Puts a session of the same model there; drops its pending tokens.  On error the session is
 * unchanged. Errors: HY_E_MISMATCH (other model), HY_E_CONTEXT (longer than this session's n_ctx),
 * HY_E_NOMEM. */
HY_API HY_CHECK hy_status hy_session_restore(hy_session *s, const hy_state *state, hy_error *err);
/* A second session at the same place, with the same options. */
HY_API HY_CHECK hy_status hy_session_fork(const hy_session *s, hy_session **out, hy_error *err);
HY_API void hy_state_destroy(hy_state *state);
HY_API size_t hy_state_n_tokens(const hy_state *state);

/* File format: docs/formats/state.md.  Saving writes "PATH.part" and renames it.
 * Loading: HY_E_MISMATCH (another model or format version), HY_E_TRUNCATED, HY_E_CORRUPT (checksum,
 * structure), HY_E_IO. */
HY_API HY_CHECK hy_status hy_state_save(const hy_state *state, const char *path, hy_error *err);
HY_API HY_CHECK hy_status hy_state_load(const hy_model *m, const char *path, hy_state **out,
                                        hy_error *err);
/* The same in memory; *data is freed by hy_state_free_bytes. */
HY_API HY_CHECK hy_status hy_state_to_bytes(const hy_state *state, void **data, size_t *bytes,
                                            hy_error *err);
HY_API HY_CHECK hy_status hy_state_from_bytes(const hy_model *m, const void *data, size_t bytes,
                                              hy_state **out, hy_error *err);
HY_API void hy_state_free_bytes(const hy_state *state, void *data);

HY_END_DECLS

#endif
