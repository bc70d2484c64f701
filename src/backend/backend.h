/* backend.h: what a backend does for the rest: prepare a model's weights, run steps, read and write
 * state.
 *
 * A backend model is immutable and shared by threads; a backend session is used by one thread at a
 * time. */
#ifndef HY_BACKEND_BACKEND_H
#define HY_BACKEND_BACKEND_H

#include <stdatomic.h>

#include "fuse/expr.h"
#include "graph/graph.h"
#include "halyard/sampler.h"
#include "halyard/unstable.h"
#include "plan/plan.h"

/* What a caller may ask of a backend's model. */
typedef struct hy__backend_model_opts {
    const char *cpu_level; /* as in hy_model_opts; read by the CPU backend alone */
    const char *webgpu_lib, *webgpu_dir, *gpu_mask; /* as in hy_model_opts; WebGPU backend */
    const char *kernel_cache;
    bool hardware; /* nobody named the backend: no GPU that is made of software */
    bool no_sparse;       /* zeros of activations are multiplied like all else; CPU backend */
    bool mapped;          /* the weights lie in file mappings: hy__advise_drop is allowed */
    hy_progress progress; /* or NULL: told the bytes of weights that are ready */
    void *progress_user;
} hy__backend_model_opts;

typedef struct hy__backend_opts {
    uint32_t n_ctx;   /* positions that KV caches hold; 0 for recurrent models */
    uint32_t n_batch; /* most tokens in a step */
    uint32_t n_threads;
    bool all_logits;          /* steps may ask for logits of every token, not only of the last */
    hy_type cache_k, cache_v; /* of KV caches: among the backend's cache_types */
} hy__backend_opts;

enum { HY__MOST_CACHE_TYPES = 4, HY__MOST_AHEAD = 32 };

/* One step: n tokens at positions pos, pos + 1, ... */
typedef struct hy__step_args {
    const hy_token *tokens; /* [n], each below the vocabulary's size */
    uint32_t n;
    uint32_t n_out; /* logits of the last n_out tokens are wanted */
    uint64_t pos;
    float *logits;             /* [n_out][vocab] */
    const atomic_bool *cancel; /* looked at often; set: return HY_E_CANCELLED soon */
    hy_trace trace;            /* or NULL */
    void *trace_user;
    hy_profile profile; /* or NULL; NULL where the backend does not profile */
    void *profile_user;
} hy__step_args;

/* What a backend for GPUs tells about a model's device; see the functions hy_model_gpu_
 * and hy_device_native of unstable.h. */
typedef struct hy__backend_gpu {
    void (*info)(const void *model, hy_webgpu_info *info);
    void (*counts)(const void *model, hy_gpu_counts *counts);
    bool (*draws)(const void *model); /* whether ahead_begin may work; NULL: it may */
    bool (*kernel)(const void *model, uint32_t phase, bool many, uint32_t k, char *text,
                   size_t cap);
    hy_status (*native)(void *model, size_t i, hy_native_handle *handle, hy_error *err);
    hy_status (*measure_read)(void *model, double *bytes_per_second, hy_error *err);
} hy__backend_gpu;

typedef struct hy__backend {
    const char *name;
    /* Types that KV caches can have, keys and values alike; the first is the default. */
    hy_type cache_types[HY__MOST_CACHE_TYPES];
    uint32_t n_cache_types;
    bool profiles; /* whether steps run phase by phase and call `profile` */
    bool traces;   /* whether steps can call `trace` */
    /* Whether it runs the operation, on a matrix of this type where it reads one. */
    bool (*supports)(hy__opcode op, hy_type type);
    /* Whether it runs a phase as one; the operations of the others come as phases of their own.
     * NULL: every phase. */
    hy__takes_fn takes;

    /* Whether what it needs may be there, where nobody named it: quick, and without a trace if not;
     * HY_E_UNSUPPORTED says what is missing.  model_create still may find that it is not, and says
     * HY_E_NOT_FOUND if there is nothing to say.  NULL: it runs on every machine. */
    hy_status (*look)(const hy__backend_model_opts *opts, hy_error *err);

    /* Prepares the weights. graph, fusion, trees and plan outlive the result, opts need not. */
    hy_status (*model_create)(const hy__graph *g, const hy__fusion *f, const hy__exprs *x,
                              const hy__plan *p, const hy__backend_model_opts *opts,
                              const hy_env *env, void **out, hy_error *err);
    void (*model_destroy)(void *model);

    hy_status (*session_create)(void *model, const hy__backend_opts *opts, void **out,
                                hy_error *err);
    void (*session_destroy)(void *session);

    /* Computes a step without changing the state that others see; commit then makes it the state.
     * Without commit the next step begins where this one began. */
    hy_status (*step)(void *session, const hy__step_args *args, hy_error *err);
    void (*commit)(void *session);
    /* Most tokens that a step takes now; NULL: n_batch of the session's options. */
    uint32_t (*step_tokens)(const void *session);
    /* As hy_session_spared_bytes; NULL: always 0. */
    uint64_t (*spared_bytes)(const void *session, uint32_t phase);

    /* Steps that the backend takes without the host, drawing the tokens itself; NULL: it cannot.
     * begin: tokens [n] are those so far and the one to be evaluated next; HY_E_UNSUPPORTED: not
     * with this sampler.  submit: n <= HY__MOST_AHEAD more steps; at most two batches are on their
     * way. collect: what the steps of the oldest batch drew.  rewind: the state is again what it
     * was before the batch that was collected last. */
    hy_status (*ahead_begin)(void *session, const hy_sampler *sampler, uint64_t sampler_id,
                             const hy_token *tokens, size_t n, hy_error *err);
    hy_status (*ahead_submit)(void *session, uint32_t n, hy_error *err);
    hy_status (*ahead_collect)(void *session, hy_token *out, hy_error *err);
    hy_status (*ahead_rewind)(void *session, hy_error *err);

    /* The state as f32: the recurrent block (plan order), then every KV cache as [n_pos][n].  write
     * makes it the state; data NULL: all zeros, n_pos 0. */
    hy_status (*state_read)(void *session, uint64_t n_pos, float *data, hy_error *err);
    hy_status (*state_write)(void *session, uint64_t n_pos, const float *data, hy_error *err);

    /* After HY_E_DEVICE_LOST, which every entry of the session then returns: makes it usable again;
     * its state is anything, its options are as before.  NULL: nothing can be lost. */
    hy_status (*revive)(void *session, hy_error *err);

    const hy__backend_gpu *gpu; /* NULL: it is none for GPUs */
} hy__backend;

#define HY_BACKEND(name) extern const hy__backend hy__backend_##name;
#define HY_BACKEND_ABSENT(name, why)
#include "backends.inc"
#undef HY_BACKEND
#undef HY_BACKEND_ABSENT

/* By name.  HY_E_UNSUPPORTED says why not, HY_E_NOT_FOUND lists the names. */
hy_status hy__backend_find(const char *name, const hy__backend **out, hy_error *err);
/* The one that is taken where none is named: the first for which `look` is fine, from that on that
 * follows `after` (NULL: all).  HY_E_NOT_FOUND, too: an option is wrong. */
hy_status hy__backend_choose(const hy__backend *after, const hy__backend_model_opts *opts,
                             const hy__backend **out, hy_error *err);

#endif
