/* halyard/model.h: a loaded model.
 *
 * A model is immutable: any number of sessions in any number of threads may use it at once.  It
 * must outlive them. */
#ifndef HALYARD_MODEL_H
#define HALYARD_MODEL_H

#include "chat.h"

HY_BEGIN_DECLS

typedef struct hy_model hy_model;

typedef struct hy_model_opts {
    size_t size;
    const char *backend;  /* names: hy_backend_at; NULL or "auto": the best one that works here.  If
                             one should but does not, a warning says why (hy_env.log), and the next
                             one is taken; GPUs made of software are only used by name */
    bool no_mmap;         /* read the file into memory instead of mapping it */
    hy_progress progress; /* bytes; may be NULL */
    void *progress_user;
    const char *cpu_level; /* instructions that the CPU backend may use: "plain", "avx2", "avxvnni",
                              "avx512", "neon", "i8mm"; NULL: the best that this machine has */
    const char *no_fuse;   /* for finding faults: fusions to leave out, divided by commas, or "all";
                              results differ by rounding at most; names: halyard plan --why */
    bool no_sparse;        /* for measurements: multiply the zeros of squared ReLUs like all else;
                              results are the same */
    const char *webgpu_lib; /* of the WebGPU backend: the library to open, "dawn", "wgpu" or a path;
                               NULL: the first that is found */
    const char *webgpu_dir; /* folder where it is looked for before the system's places, or NULL */
    const char *gpu_mask;   /* what is to be taken as missing although the GPU has it, divided by
                               commas: no-subgroups, no-f16, no-dot, no-matrices, no-timestamps,
                               no-fours, no-invocations, no-shared, no-bindings, no-formats,
                               no-draws, no-tuned (what hy_webgpu_tune chose), floor, and where
                               no_fuse is "all" no-codes, no-planes, no-lanes (matrices in f32, as
                               they lie in the file, by one invocation a row); or NULL */
    const char *kernel_cache; /* folder where compiled kernels of the WebGPU backend are kept, and
                                 how its self-test ended on this GPU, and where a choice of
                                 hy_webgpu_tune is looked for; it is made if it is missing; NULL:
                                 nothing is kept */
} hy_model_opts;

/* Loads and verifies a GGUF model.  Errors: those of hy_gguf_open and hy_tokenizer_create;
 * HY_E_UNSUPPORTED (architecture, tensor type, backend or CPU level, named), HY_E_NOT_FOUND (there
 * is no backend or fusion of this name), HY_E_CANCELLED (by progress), HY_E_FORMAT (a
 * hyper-parameter out of range, a tensor missing, of the wrong shape or unknown, named). A file
 * without vocabulary loads; hy_model_tokenizer is then NULL. */
HY_API HY_CHECK hy_status hy_model_load(const char *path, const hy_model_opts *opts,
                                        const hy_env *env, hy_model **out, hy_error *err);
/* The same from bytes that the caller keeps alive and unchanged until destroy. */
HY_API HY_CHECK hy_status hy_model_load_memory(const void *data, size_t bytes,
                                               const hy_model_opts *opts, const hy_env *env,
                                               hy_model **out, hy_error *err);
HY_API void hy_model_destroy(hy_model *m);

HY_API const hy_gguf *hy_model_gguf(const hy_model *m);
HY_API const hy_tokenizer *hy_model_tokenizer(const hy_model *m); /* or NULL */
HY_API const char *hy_model_arch(const hy_model *m);              /* "rwkv7" */
HY_API const char *hy_model_backend(const hy_model *m);           /* "ref" */

typedef struct hy_model_info {
    size_t size; /* set by the caller */
    uint32_t n_layer;
    uint32_t n_embd;
    uint32_t n_vocab;            /* length of the logits */
    uint32_t n_ctx_train;        /* 0: no limit (recurrent) */
    bool recurrent;              /* the state does not grow with the position */
    uint64_t n_params;           /* elements of all tensors */
    uint64_t weight_bytes;       /* of all tensors, encoded */
    uint64_t token_bytes;        /* weights and state that decoding one token must read or write, at
                                    position 0 */
    uint64_t state_bytes;        /* of one session: recurrent part */
    uint64_t kv_bytes_per_token; /* of the KV cache if it is f32; 0 for recurrent models */
    uint64_t fingerprint;        /* of metadata and tensor samples: what a state file is tied to */
} hy_model_info;
HY_API void hy_model_get_info(const hy_model *m, hy_model_info *info);

/* Backends by name, index 0.. until NULL; and why one cannot be used here, NULL if it can. Static
 * storage. */
HY_API const char *hy_backend_at(size_t i);
HY_API const char *hy_backend_absent_reason(const char *name);

HY_END_DECLS

#endif
