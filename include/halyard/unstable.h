/* halyard/unstable.h: looking inside.  May change with every version; not part of halyard.h.
 * Include it by name. */
#ifndef HALYARD_UNSTABLE_H
#define HALYARD_UNSTABLE_H

#include "session.h"

HY_BEGIN_DECLS

/* ---- operations and who can run them */

/* Operations by name and in one line, index 0.. until NULL. Static storage. */
HY_API const char *hy_op_at(size_t i);
HY_API const char *hy_op_summary(size_t i);
/* Whether the operation reads a matrix of the file, whose tensor type then matters. */
HY_API bool hy_op_reads_matrix(size_t i);
/* Whether `backend` (a name of hy_backend_at) runs operation i on weights of `type`; false for
 * absent backends. */
HY_API bool hy_backend_supports(const char *backend, size_t op, hy_type type);

/* ---- levels of instructions of the CPU backend */

/* Names, index 0.. until NULL, and each in one line. Static storage. */
HY_API const char *hy_cpu_level_at(size_t i);
HY_API const char *hy_cpu_level_summary(size_t i);
/* Whether this library has the level's kernels, and whether this machine can run them too. */
HY_API bool hy_cpu_level_built(size_t i);
HY_API bool hy_cpu_level_here(size_t i);
/* The level whose kernel a model at `level` (one that is built) runs for operation `op`: itself or
 * a level below it.  Where the operation reads a matrix, on weights of `type`, for one column or
 * for many; NULL: they are decoded to f32 first. */
HY_API const char *hy_cpu_kernel(size_t level, size_t op, hy_type type, bool many);
/* The same for matrices behind a squared ReLU, in panels of columns that leave its zeros out; NULL:
 * there is no such kernel, zeros are multiplied like all else. */
HY_API const char *hy_cpu_columns_kernel(size_t level, hy_type type);

/* ---- GPUs through WebGPU */

/* WebGPU libraries that are known by name, index 0.. until NULL. Static storage. */
HY_API const char *hy_webgpu_library_at(size_t i);

typedef struct hy_webgpu_info {
    size_t size;       /* set by the caller */
    char library[64];  /* "Dawn", or "wgpu-native" with its version */
    char path[256];    /* what was opened */
    char adapter[128]; /* name of the GPU */
    const char *api;   /* below WebGPU: "Vulkan", "Metal", "D3D12", "null" or "unknown" */
    const char *kind;  /* "discrete", "integrated", "software" or "unknown" */
    bool f16, subgroups, packed_dot, timestamps;
    uint32_t subgroup_min, subgroup_max; /* lanes; 0 without subgroups */
    uint64_t max_buffer_bytes, max_binding_bytes;
    uint32_t storage_buffers;         /* of a kernel */
    uint32_t workgroup_bytes;         /* of memory that a workgroup shares */
    uint32_t workgroup_invocations;   /* most threads of a workgroup */
    uint32_t max_workgroups;          /* in each dimension */
    uint32_t storage_alignment_bytes; /* of the offset of a binding */
    uint32_t uniform_alignment_bytes;
} hy_webgpu_info;
/* Opens a library and a device of it, and says what is there.  library: a name of
 * hy_webgpu_library_at, a path, or NULL for the first that is found; folder: where names are looked
 * for before the system's own places, or NULL.  mask: names, divided by commas, of what is to be
 * taken as missing, or NULL; HY_E_NOT_FOUND lists them.  HY_E_UNSUPPORTED: no library, no GPU, or
 * one below the limits that WebGPU guarantees. */
HY_API HY_CHECK hy_status hy_webgpu_probe(const char *library, const char *folder, const char *mask,
                                          const hy_env *env, hy_webgpu_info *info, hy_error *err);

/* What a model runs on; false, without touching *info: not on a GPU.  As for all functions with a
 * model's GPU, no session of the model may be in a call meanwhile. */
HY_API bool hy_model_gpu_info(const hy_model *m, hy_webgpu_info *info);

typedef struct hy_gpu_counts {
    size_t size;         /* set by the caller */
    uint64_t dispatches; /* of kernels, all since the model was loaded */
    uint64_t submits;    /* of commands */
    uint64_t tokens;     /* evaluated, also those drawn ahead that nobody wanted */
} hy_gpu_counts;
HY_API bool hy_model_gpu_counts(const hy_model *m, hy_gpu_counts *counts);

/* Kernel k of those that run one after the other for phase i, in steps of one token or of many:
 * its entry, formats of the matrices, and what it uses, as in "main Q4_K F16, 256 lanes, dot,
 * subgroups".  False: there are no more, or the model runs on no GPU. */
HY_API bool hy_model_gpu_kernel(const hy_model *m, uint32_t i, bool many, uint32_t k, char *text,
                                size_t cap);

/* Bytes per second that the GPU reads from a buffer of up to 1 GiB, more than its caches hold: the
 * ceiling of token generation.  Takes well under a second.  HY_E_UNSUPPORTED: not on a GPU. */
HY_API HY_CHECK hy_status hy_model_gpu_read_speed(hy_model *m, double *bytes_per_second,
                                                  hy_error *err);

/* A handle of the API below WebGPU. */
typedef struct hy_native_handle {
    size_t size;      /* set by the caller */
    const char *api;  /* "Vulkan" or "Metal" */
    const char *kind; /* "VkInstance", "VkDevice", "vkGetInstanceProcAddr" (a pointer to that
                         function), "MTLDevice", "MTLCommandQueue" */
    void *handle;     /* the library's: valid until the model is destroyed or its GPU is lost */
} hy_native_handle;
/* Handle i = 0.. of the GPU that a model runs on: whatever the WebGPU library gives, by functions
 * of its own.  Who uses it does as that API asks, and leaves the queue to the library while a session
 * of the model is in a call.  HY_E_UNSUPPORTED: it gives none, or the model runs on no GPU;
 * HY_E_NOT_FOUND: there are no more; HY_E_DEVICE_LOST. */
HY_API HY_CHECK hy_status hy_device_native(hy_model *m, size_t i, hy_native_handle *handle,
                                           hy_error *err);

/* What kernels may do in more than one way, and what the self-test found of it. */
typedef struct hy_webgpu_variant {
    size_t size;         /* of this structure */
    const char *name;    /* "dot-Q4_K" */
    const char *what;    /* "packed dot products with Q4_K" */
    const char *state;   /* "passed", "failed", "missing": the GPU lacks it, or "masked" */
    const char *why;     /* it failed, else "" */
    const char *instead; /* "bytes are multiplied one by one": what is done if it did not pass */
} hy_webgpu_variant;
typedef void (*hy_webgpu_each)(void *user, const hy_webgpu_variant *v);
/* Opens a device as hy_webgpu_probe does, tests all kernels on it, and tells of every variant; what
 * was found before is taken from the folder kernel_cache and kept there, if it is not NULL.
 * HY_E_UNSUPPORTED also: the GPU computes wrong without any variant. */
HY_API HY_CHECK hy_status hy_webgpu_selftest(const char *library, const char *folder,
                                             const char *mask, const char *kernel_cache,
                                             const hy_env *env, hy_webgpu_each each, void *user,
                                             hy_error *err);

/* What one thing that kernels do is worth on a GPU, or what a number of theirs would be: the time of
 * a step as it is by default, and with this changed. */
typedef struct hy_webgpu_gain {
    size_t size;       /* of this structure */
    const char *name;  /* "dot-Q4_K", or "lanes/2": half of a number */
    const char *what;  /* "packed dot products with Q4_K" */
    const char *where; /* what was timed: "a token of Llama"; "": nothing */
    const char *state; /* "kept" as it is by default; "changed": left out, or the number is the other
                          one; "wrong": the other way computes something else; "unused": none of
                          what was timed does it; "untimed": there was no time */
    double ns;         /* by default; 0: not timed */
    double other_ns;   /* without it, or with the other number */
} hy_webgpu_gain;
typedef void (*hy_webgpu_gain_fn)(void *user, const hy_webgpu_gain *gain);

/* What the tuner found. */
typedef struct hy_webgpu_tuning {
    size_t size;     /* set by the caller */
    bool made;       /* it has run on this GPU, with this driver, library and version */
    char when[32];   /* as hy_webgpu_tune was told */
    double seconds;  /* that it took */
    char path[1200]; /* of the file that keeps it; "": none */
} hy_webgpu_tuning;
/* Opens a device as hy_webgpu_probe does, times kernels on it that the self-test found right, and
 * chooses the fastest for all models that are loaded with the folder kernel_cache from now on,
 * unless their mask has "no-tuned".  Tells of everything that was timed.  when: one word that is kept
 * with the choice, such as the date.  Takes up to 20 s where the self-test has run before.
 * HY_E_UNSUPPORTED as for hy_webgpu_selftest; HY_E_IO: the choice cannot be kept. */
HY_API HY_CHECK hy_status hy_webgpu_tune(const char *library, const char *folder, const char *mask,
                                         const char *kernel_cache, const hy_env *env,
                                         const char *when, hy_webgpu_tuning *tuning,
                                         hy_webgpu_gain_fn each, void *user, hy_error *err);
/* The same of what was kept before; nothing is timed. */
HY_API HY_CHECK hy_status hy_webgpu_tuned(const char *library, const char *folder, const char *mask,
                                          const char *kernel_cache, const hy_env *env,
                                          hy_webgpu_tuning *tuning, hy_webgpu_gain_fn each,
                                          void *user, hy_error *err);

/* What a GPU does through WebGPU, found by running kernels on it. */
typedef struct hy_webgpu_facts {
    size_t size; /* set by the caller */
    double read_bytes_per_second;
    double dispatch_gpu_ns; /* of one that waits for the one before it, on the GPU */
    double dispatch_cpu_ns; /* to encode and submit one */
    double round_trip_ns;   /* of a small one, up to its result in the host's memory */
    const char *native;     /* what GPUs like this are programmed with: "CUDA", "HIP", ... */
} hy_webgpu_facts;

/* Something that native APIs of GPUs have, and what there is of it here. */
typedef struct hy_webgpu_offer {
    size_t size;        /* of this structure */
    const char *name;   /* "fp16" */
    const char *what;   /* "FP16 arithmetic" */
    const char *state;  /* "works": the result of the kernel was right; "wrong": it was not, or not
                           without it; "failed": it could not be run; "missing": the GPU lacks it;
                           "masked"; "none": there is no such thing in WGSL */
    char why[600];      /* it does not work, else "" */
    const char *unit;   /* of both rates: "flop/s" */
    const char *of;     /* what the rate is of: "multiply-adds of f16" */
    double rate;        /* 0: it does not work */
    const char *beside; /* how the same work was done without it; NULL: it was not */
    double beside_rate;
    const char *native; /* what the native API has for it */
} hy_webgpu_offer;

/* A way around WebGPU. */
typedef struct hy_webgpu_hatch {
    size_t size;       /* of this structure */
    const char *name;  /* "spirv" */
    const char *what;  /* "SPIR-V modules" */
    const char *state; /* "open": it was used and the result was right; "offered": the library has
                          it, and it could not be used; "closed" */
    char why[600];     /* it is so, one sentence */
    const char *unit;  /* of both rates: "B/s"; NULL: it has no rate */
    const char *of;    /* what the rate is of: "from the host to a kernel" */
    double rate;       /* 0: it is not open, or has no rate */
    const char *beside; /* the ordinary way: "through the queue" */
    double beside_rate; /* what it gains is rate over this */
} hy_webgpu_hatch;

typedef struct hy_webgpu_told {
    void *user;
    void (*offer)(void *user, const hy_webgpu_offer *offer);
    void (*hatch)(void *user, const hy_webgpu_hatch *hatch);
} hy_webgpu_told;
/* Opens a device as hy_webgpu_probe does, measures it and tells of every offer and hatch.  Takes a
 * few seconds. */
HY_API HY_CHECK hy_status hy_webgpu_measure(const char *library, const char *folder,
                                            const char *mask, const hy_env *env,
                                            hy_webgpu_facts *facts, const hy_webgpu_told *told,
                                            hy_error *err);

/* ---- what a model does for a token */

/* Where an operation runs within its phase. */
typedef enum hy_plan_role { HY_PROLOGUE = 0, HY_ANCHOR = 1, HY_EPILOGUE = 2 } hy_plan_role;

typedef struct hy_plan_op {
    size_t size;        /* set by the caller */
    const char *op;     /* name of the operation */
    const char *result; /* name of what it computes */
    int32_t layer;      /* -1: outside of the layers */
    uint32_t n;         /* channels of the result */
    bool per_output;    /* runs only for positions whose logits are wanted */
    uint32_t n_inputs;
    const char *inputs[8];
    const char *weight_type; /* of the matrix it reads, NULL without */
    uint64_t weight_bytes;   /* read from weights for one token: the matrix, or one row of an
                                embedding, and vectors */
    uint64_t state_bytes;    /* recurrent state read and written for one token */
    uint32_t phase;          /* number of the phase it runs in */
    hy_plan_role role;
    const char *rule;      /* of the fusion compiler: the rule that was asked; NULL: none */
    const char *rule_text; /* what the rule does */
    const char *refusal;   /* why the rule did not join it; NULL: it did */
} hy_plan_op;

/* One pass over some weights or state, with the work before it (prologue) and behind it (epilogue).
 */
typedef struct hy_plan_phase {
    size_t size;      /* set by the caller */
    const char *kind; /* "matmul", "wkv7", "attention", "embed", or "map": a single operation */
    int32_t layer;    /* -1: outside of the layers */
    bool per_output;
    uint32_t first_op; /* its operations are first_op and those behind it, in this order: */
    uint32_t n_prologue, n_anchor, n_epilogue;
} hy_plan_phase;

typedef struct hy_plan_info {
    size_t size; /* set by the caller */
    uint32_t n_ops;
    uint32_t n_layer;
    uint64_t weight_bytes; /* read for one token */
    uint64_t state_bytes;  /* of a session, recurrent part */
    uint64_t kv_bytes_per_token;
    uint64_t scratch_bytes_per_token;  /* activations alive at once, per token of a step */
    uint64_t scratch_bytes_per_output; /* per position whose logits are wanted, logits included */
    uint32_t n_phases;
    uint32_t phases_per_layer; /* of the layer that has most */
    uint32_t phases_outside;   /* outside of the layers */
} hy_plan_info;

HY_API void hy_model_plan(const hy_model *m, hy_plan_info *info);
/* Phase 0 <= i < n_phases. */
HY_API void hy_model_plan_phase(const hy_model *m, uint32_t i, hy_plan_phase *phase);
/* Operation 0 <= i < n_ops, in the order in which they run. Strings belong to the model. */
HY_API void hy_model_plan_op(const hy_model *m, uint32_t i, hy_plan_op *op);

/* What crosses a phase's border, and what it computes around its anchors. */
typedef enum hy_plan_list {
    HY_PLAN_INPUTS,  /* results of earlier phases, and the tokens */
    HY_PLAN_OUTPUTS, /* results that later phases or the caller read */
    HY_PLAN_WEIGHTS, /* matrices and vectors */
    HY_PLAN_STATES   /* read and written */
} hy_plan_list;

typedef struct hy_plan_value {
    size_t size; /* set by the caller */
    const char *name;
    const char *type; /* of a weight: its tensor's; else NULL */
    uint32_t n, m;    /* channels; of a matrix: inputs and outputs */
    uint64_t first;   /* of a weight: first element within its tensor */
} hy_plan_value;
/* Number k of a list of phase i; false behind the last one.  Strings belong to the model. */
HY_API bool hy_model_plan_value(const hy_model *m, uint32_t i, hy_plan_list list, uint32_t k,
                                hy_plan_value *value);

typedef struct hy_plan_tree {
    size_t size;        /* set by the caller */
    const char *result; /* name of what it computes; belongs to the model */
    bool leaves;        /* needed outside of the tree; else only written out as several use it */
    char *text;         /* "(add x (mul anchor0 gate))"; free with hy_model_plan_free */
} hy_plan_tree;
/* Tree k of the prologue (HY_PROLOGUE) or epilogue of phase i.  HY_E_NOT_FOUND behind the last one.
 */
HY_API HY_CHECK hy_status hy_model_plan_tree(const hy_model *m, uint32_t i, hy_plan_role role,
                                             uint32_t k, hy_plan_tree *tree, hy_error *err);
/* The same prologue or epilogue as the text of a kernel; what the phase's matrices, recurrence or
 * attention compute is one of its inputs.  dialect: "wgsl".  *text is NULL if there is nothing to
 * compute; free with hy_model_plan_free.  HY_E_NOT_FOUND: no such dialect. */
HY_API HY_CHECK hy_status hy_model_plan_kernel(const hy_model *m, uint32_t i, hy_plan_role role,
                                               const char *dialect, char **text, hy_error *err);
HY_API void hy_model_plan_free(const hy_model *m, char *text);

/* ---- kernels of the WebGPU backend */

/* Adapters that are only described, which differ in what kernels depend on, index 0.. until NULL.
 * Static storage. */
HY_API const char *hy_webgpu_adapter_at(size_t i);

typedef struct hy_webgpu_kernel {
    const char *program;   /* "decode": steps of one token, or "prefill": of many */
    uint32_t phase;        /* that runs it first, as of hy_model_plan_phase */
    uint32_t number;       /* 1.. of its kernels that are new there */
    const char *dawn_head; /* lines that Dawn wants in front of the text */
    const char *wgpu_head; /* and wgpu-native */
    const char *text;
} hy_webgpu_kernel;
/* Strings are valid during the call. */
typedef void (*hy_webgpu_kernel_fn)(void *user, const hy_webgpu_kernel *kernel);
/* Calls fn for every kernel that the WebGPU backend would run for the model on such an adapter:
 * each text once, those of decode first.  mask: as for hy_webgpu_probe.  Needs no GPU.  Any backend
 * may be the model's, but one may divide operations into phases in its own way; "null" has those of
 * the WebGPU backend.  HY_E_NOT_FOUND lists the adapters. */
HY_API HY_CHECK hy_status hy_model_webgpu_kernels(const hy_model *m, const char *adapter,
                                                  const char *mask, hy_webgpu_kernel_fn fn,
                                                  void *user, hy_error *err);

/* ---- intermediate values */

/* Called after each operation of a step with its result, f32 [n_cols][n], valid during the call. */
typedef void (*hy_trace)(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                         const float *data);
/* trace NULL: none.  Backends that cannot show intermediate values return HY_E_UNSUPPORTED. */
HY_API hy_status hy_session_set_trace(hy_session *s, hy_trace trace, void *user, hy_error *err);

/* Whether the backend draws tokens itself, steps ahead of the host, for a session that is stepped
 * with what it draws. */
HY_API bool hy_model_draws_ahead(const hy_model *m);
/* A hint: the session will not have more than n_tokens tokens, and no steps are taken ahead beyond
 * them; 0, as at the beginning: nobody knows. */
HY_API void hy_session_expect(hy_session *s, size_t n_tokens);

/* ---- times */

/* Called by hy_session_step behind the work of a step, once for each phase that ran, in their
 * order: its number as of hy_model_plan_phase, the tokens of the step, and when it began and ended
 * by the clock of the model's environment.  A cancelled step calls nothing. */
typedef void (*hy_profile)(void *user, uint32_t phase, uint32_t n_tokens, uint64_t begin_ns,
                           uint64_t end_ns);
/* profile NULL: none.  HY_E_UNSUPPORTED: the backend does not run phases. */
HY_API hy_status hy_session_set_profile(hy_session *s, hy_profile profile, void *user,
                                        hy_error *err);

/* Bytes of weights of a phase that all steps so far did not read, because they met zeros. */
HY_API uint64_t hy_session_spared_bytes(const hy_session *s, uint32_t phase);

HY_END_DECLS

#endif
