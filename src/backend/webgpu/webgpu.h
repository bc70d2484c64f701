/* webgpu.h: the WebGPU backend: the phases of a model as dispatches on a GPU.
 *
 * A model has two programs, lists of dispatches: one for steps of a single token (decode), one for
 * steps of many (prefill).  Their kernels are texts (text_*.c) that know shapes but no addresses;
 * dispatches of the same text share a pipeline.  A session has the memory that changes, and a bind
 * group for each dispatch: a step is the same few calls for each dispatch, and nothing else.
 *
 * All activations of a step lie in one buffer, the arena: result v at (place of the plan) *
 * n_batch, [columns] [n], then what has a column per output, then the logits.  Steps of one token
 * have an arena of their own, so that their places are known when kernels are written.  Recurrent state is read from
 * one buffer and written to another; commit changes their roles.
 *
 * A model's device belongs to one thread at a time: every entry (webgpu.c) takes the model's lock.
 *
 * A device that was lost is opened again by the first session that revives: it remakes what the
 * model has on it, and counts its generation up; the other sessions then are of an earlier one, and
 * remake what they have when they revive. */
#ifndef HY_BACKEND_WEBGPU_WEBGPU_H
#define HY_BACKEND_WEBGPU_WEBGPU_H

#include "backend/backend.h"
#include "base/os.h"
#include "compile.h"
#include "formats.h"
#include "render/render.h"
#include "sample.h"

/* ---- weights (weights.c) */

enum { HY__GPU_MOST_SLABS = 256, HY__GPU_PIECES = 4 };
enum {
    HY__GPU_MATRIX_LANES = 32, /* of subgroups whose matrices are used */
    HY__GPU_TILE_SIZES = 3    /* of what a workgroup multiplies with them */
};

/* Memory on its way: host and device have it in turn. */
typedef struct hy__gpu_piece {
    WGPUBuffer buffer;
    hy__gpu_mapping mapping;
} hy__gpu_piece;

/* Where rows first to first + chunk_rows - 1 (fewer in the last one) of a matrix lie. */
typedef struct hy__gpu_chunk {
    uint32_t slab;
    uint64_t offset;
} hy__gpu_chunk;

typedef struct hy__gpu_matrix {
    const hy__gpu_format *format;
    hy_type type;
    const uint8_t *rows; /* of the file; NULL: the value is no matrix */
    size_t row_bytes;
    uint32_t n, m;
    uint32_t chunk_rows; /* rows of a chunk, m if there is one */
    hy__gpu_chunk *chunks;
    uint32_t n_chunks;
} hy__gpu_matrix;

/* ---- programs (program.c) */

typedef struct hy__gpu_kernel {
    hy__buf text;
    uint64_t hash; /* of the text */
    uint32_t uses; /* buffers, as in hy__wgsl */
    uint32_t lanes; /* of a workgroup */
    bool subgroups, dot, matrices;
    WGPUShaderModule module;
    WGPUBindGroupLayout bindings;
    WGPUPipelineLayout layout;
} hy__gpu_kernel;

/* Of hy__gpu_module; kernels with matrices have f16 numbers in them. */
static inline uint32_t hy__gpu_kernel_uses(const hy__gpu_kernel *k)
{
    return (k->subgroups ? HY__GPU_USES_SUBGROUPS : 0) |
           (k->matrices ? HY__GPU_USES_MATRICES | HY__GPU_USES_F16 : 0);
}

typedef struct hy__gpu_entry {
    uint32_t kernel;
    char name[16];
    WGPUComputePipeline pipeline;
} hy__gpu_entry;

typedef struct hy__gpu_dispatch {
    uint32_t entry;
    uint32_t phase;
    uint32_t groups;    /* in x */
    uint32_t cols_each; /* columns of a workgroup: y is their number over this; 0: y is 1 */
    hy__cols cols;
    /* The steps in which it runs: their columns, and positions behind them; most 0: any. */
    uint32_t least_cols, most_cols, least_pos, most_pos;
    hy__place *places; /* [n_places] */
    uint32_t n_places;
    uint32_t slab; /* of the weights */
    uint64_t window, window_bytes;
    uint64_t vectors, state; /* elements of the vectors and of the state where bindings begin */
    uint32_t attention;      /* node whose caches it uses, or UINT32_MAX */
} hy__gpu_dispatch;

/* Whether the dispatch is for steps of so many columns. */
static inline bool hy__gpu_takes(const hy__gpu_dispatch *d, uint32_t cols)
{
    return cols >= d->least_cols && (d->most_cols == 0 || cols <= d->most_cols);
}

/* Workgroups in y where a step of so many columns ends at position `pos`; 0: the dispatch is not for
 * such a step. */
static inline uint32_t hy__gpu_columns(const hy__gpu_dispatch *d, uint32_t cols, uint64_t pos)
{
    if (cols == 0 || !hy__gpu_takes(d, cols) || pos < d->least_pos ||
        (d->most_pos > 0 && pos > d->most_pos)) {
        return 0;
    }
    return d->cols_each ? (cols + d->cols_each - 1) / d->cols_each : 1;
}

typedef struct hy__gpu_program {
    hy__gpu_dispatch *dispatches;
    uint32_t n, cap;
} hy__gpu_program;

/* Numbers of the backend in the uniform buffer of a dispatch (HY__AT_OTHER): what `value` is. */
enum {
    HY__GPU_NUMBER = 0, /* the number itself; parts distinguish equal ones */
    HY__GPU_PLANE =
        1 << 16, /* + plane + 4 * chunk: of matrix `value`, in vec4 for plane 0, else in words */
    HY__GPU_CACHE = 2 << 16 /* + 0 keys, + 1 values of attention node `value`: word of `cache` */
};

typedef struct hy__gpu_model {
    hy_env env;
    const hy__graph *g;
    const hy__fusion *f;
    const hy__exprs *x;
    const hy__plan *p;
    hy__lock *lock;
    char lib_path[256]; /* the library that was opened */
    uint32_t mask;      /* as in hy__gpu_opts */
    char *kernel_cache; /* as in hy__backend_model_opts, or NULL */
    bool mapped;        /* the same */
    uint64_t generation; /* devices that it had before */
    hy__gpu_use use;     /* variants that kernels may use: what self-test and tuner have left */
    hy__gpu_form form;   /* of matrices; its families are not in `mask` */
    hy__gpu_tuning tuning; /* only its numbers are looked at */
    /* From here on: what is made for a device, and again for the next one. */
    hy__gpu gpu;
    hy__gpu_matrix *matrices; /* [n_values] */
    WGPUBuffer slabs[HY__GPU_MOST_SLABS];
    uint64_t slab_bytes[HY__GPU_MOST_SLABS];
    uint32_t n_slabs;
    uint64_t slab_limit;                  /* bytes */
    hy__gpu_piece pieces[HY__GPU_PIECES]; /* of uploads; here, as a lost device may answer late */
    WGPUBuffer vectors;
    uint64_t vectors_bytes;
    uint64_t *vector_place; /* [n_values] element, UINT64_MAX: none */
    hy__gpu_kernel *kernels;
    uint32_t n_kernels, cap_kernels;
    hy__gpu_entry *entries;
    uint32_t n_entries, cap_entries;
    hy__gpu_program decode, prefill;
    hy__gpu_sample_kernels sample_kernels;
    hy__gpu_job *jobs; /* of `compiling`, and of the last one */
    hy__gpu_compile compiling;
    uint32_t only_columns; /* of steps of many tokens: all others need no kernels; 0: any */
    uint32_t workers;   /* invocations that run at once, roughly */
    uint32_t lanes;     /* of a workgroup that multiplies with one column */
    bool wide;          /* kernels of one token read vectors and states by fours */
    /* Values that steps of one token hand over in 8 bits, as matrices read them: [n_values] whether
     * that is wanted, and the vec4 of `codes` where they are; UINT32_MAX: they are in the arena. */
    bool *q8_wanted;
    uint32_t *q8_place;
    uint8_t *q8_slots; /* [n_phases] which of three places a phase leaves such a value in */
    uint32_t q8_vecs; /* most vec4 of such a value, which alternate between three places */
    uint32_t chunk;     /* tokens that a step should take at most: see hy__gpu_fit_tokens */
    uint32_t few_columns;   /* most columns of steps whose matrices subgroups do not multiply */
    uint32_t tile_columns[HY__GPU_TILE_SIZES]; /* from which on tiles have a size at least */
    uint32_t undivided; /* positions of a cache that attention of few tokens does not divide */
    uint32_t code_vecs; /* most vec4 of `codes` that a column of a phase's inputs takes */
    uint64_t tokens;    /* evaluated so far, also ahead and in vain */
    uint64_t scratch_vecs; /* most vec4 of `codes` that a kernel takes for itself */
} hy__gpu_model;

/* If the device was lost: opens it again and remakes everything on it.  HY_E_DEVICE_LOST: that
 * failed, and may be tried again. */
hy_status hy__gpu_model_revive(hy__gpu_model *m, hy_error *err);
/* Where the GPU's memory was full: what can be done about it is added to the sentence. */
hy_status hy__gpu_advise(hy__gpu *gpu, hy_status status, hy_error *err, const char *fmt, ...)
    HY_PRINTF(4, 5);
/* Bytes of GPU memory that the model takes. */
uint64_t hy__gpu_memory_bytes(const hy__gpu_model *m);
/* Decides how the work is divided, from the device, `use`, the plan, and the numbers of `tuning`;
 * lowers limits of the device that are not to be used. */
void hy__gpu_choose(hy__gpu_model *m);
/* Everything that depends on the model and on what the GPU can do (gpu.caps), and on no device:
 * where matrices lie, and the programs. */
hy_status hy__gpu_prepare(hy__gpu_model *m, hy_error *err);

/* Decides where matrices lie; then the programs can be made.  On the device: makes the memory, and
 * fills it. */
hy_status hy__gpu_weights_place(hy__gpu_model *m, hy_error *err);
hy_status hy__gpu_weights_make(hy__gpu_model *m, hy_error *err);
/* For a single phase without a model: where its matrices lie, which then are m->n_slabs buffers of
 * m->slab_bytes; and a matrix into such buffers, through the queue, by the calling thread alone. */
hy_status hy__gpu_weights_place_phase(hy__gpu_model *m, uint32_t phase, hy_error *err);
hy_status hy__gpu_matrix_write(hy__gpu_model *m, const hy__gpu_matrix *x, const WGPUBuffer *slabs,
                               hy_error *err);
uint64_t hy__gpu_weights_bytes(const hy__gpu_model *m); /* of matrices, in the file */
hy_status hy__gpu_weights_load(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err);
void hy__gpu_weights_finish(hy__gpu_model *m);

/* From the model to texts; from those to pipelines, which are being compiled when it returns (see
 * compile.h for what may be done meanwhile); and waiting until they are.  The jobs are freed with
 * the model. */
hy_status hy__gpu_program_make(hy__gpu_model *m, hy_error *err);
/* For steps of one token alone, or of many. */
hy_status hy__gpu_program_make_half(hy__gpu_model *m, bool single, hy_error *err);
/* Of a single phase, for any number of columns, to m->prefill: for who has no model, but a phase. */
hy_status hy__gpu_program_make_phase(hy__gpu_model *m, uint32_t phase, hy_error *err);
/* The modules and layouts of all kernels that have none. */
hy_status hy__gpu_program_modules(hy__gpu_model *m, hy_error *err);
hy_status hy__gpu_program_compile(hy__gpu_model *m, hy_error *err);
hy_status hy__gpu_program_wait(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err);
void hy__gpu_program_finish(hy__gpu_model *m);
/* The dispatches alone. */
void hy__gpu_program_free(hy__gpu_model *m, hy__gpu_program *p);

/* ---- texts (text_matmul.c, text_gemm.c, text_f32.c, text_heads.c, text_walk.c, text_flash.c): they add
 * dispatches to a program */

/* A kernel that is being made for a phase. */
typedef struct hy__gpu_writer {
    hy__gpu_model *m;
    uint32_t phase;
    const hy__phase *p;
    const hy__phase_exprs *x;
    bool single; /* for decode */
    bool one;    /* not for decode, and yet for one column too */
    /* For decode: what dispatches bind, so that numbers of places are the same for all layers. */
    uint64_t vectors, state; /* elements, as in hy__gpu_dispatch */
    uint64_t window;         /* bytes of the weights */
    hy__gpu_program *program;
    hy_error *err;
} hy__gpu_writer;

hy_status hy__gpu_write_matmul(hy__gpu_writer *wr);
/* In the other forms than the best one (text_f32.c). */
hy_status hy__gpu_write_f32(hy__gpu_writer *wr);
hy_status hy__gpu_write_embed(hy__gpu_writer *wr);
hy_status hy__gpu_write_wkv7(hy__gpu_writer *wr);
/* WKV-7 of one token by lanes of subgroups, together with the phase of matrices `before` it, or
 * alone (NULL).  *done: false if it cannot be done so, then nothing was written (text_wkv.c). */
hy_status hy__gpu_write_wkv7_lanes(hy__gpu_writer *wr, const hy__gpu_writer *before, bool *done);
/* Attention of one token and all in front of it in a dispatch for the steps of `range`, by lanes of
 * subgroups; *done as above (text_attend.c). */
hy_status hy__gpu_write_attend_lanes(hy__gpu_writer *wr, const hy__gpu_dispatch *range, bool *done);
hy_status hy__gpu_write_walk(hy__gpu_writer *wr); /* WKV-7 for several tokens */
/* A token's step of WKV-7 for a row of the state, which `each` invocations have in s0 on, vecs vec4
 * of each: behind `let value`, the value of the row; leaves `result`.  Inputs of the head are in
 * workgroup memory, xr xw xk xq and xa = xq * a, their vec4 k of an invocation at from + k * each.
 * late: `result` is that of the token before, as nothing waits for it; its share of an invocation is
 * in `var late`, and this token's is afterwards. */
void hy__gpu_put_wkv7(hy__wgsl *w, uint32_t vecs, uint32_t each, const char *from, bool late);
hy_status hy__gpu_write_attention(hy__gpu_writer *wr);
/* Attention of many tokens by matrices of subgroups for the steps of `range`; *done as above
 * (text_attend_matrix.c). */
hy_status hy__gpu_write_attend_matrices(hy__gpu_writer *wr, const hy__gpu_dispatch *range,
                                        bool *done);
/* Attention by blocks, where the caches have the step's keys and values already (text_flash.c).
 * flash_rest: steps that end at this position or earlier are left to others; UINT32_MAX: all are,
 * then it must not be written. */
uint32_t hy__gpu_flash_rest(const hy__gpu_writer *wr);
hy_status hy__gpu_write_flash(hy__gpu_writer *wr);
/* A prologue or epilogue alone, results to the arena; nothing if it is empty. */
hy_status hy__gpu_write_tree(hy__gpu_writer *wr, bool epilogue);

/* Takes the text and adds a dispatch of entry `name`; more may follow on the same kernel.
 * HY_E_INTERNAL: the text needs more than the limits of the device. */
hy_status hy__gpu_add_kernel(hy__gpu_writer *wr, hy__wgsl *w, uint32_t *kernel);
hy_status hy__gpu_add_dispatch(hy__gpu_writer *wr, const hy__wgsl *w, uint32_t kernel,
                               const char *name, const hy__gpu_dispatch *like);
/* Whether the sums of hy__gpu_write_sum need no memory. */
bool hy__gpu_sums_by_lanes(const hy__gpu_model *m, uint32_t lanes);
/* Whether kernels may be made of lanes that exchange numbers, in this way and for sums. */
bool hy__gpu_by_lanes(const hy__gpu_model *m, hy__gpu_use way);
/* A text with what this GPU can do. */
void hy__gpu_begin(hy__gpu_writer *wr, hy__wgsl *w, uint32_t lanes);
/* Functions, each emitted once: fn sum_LANES(lane, x), the sum over groups of LANES (a power of
 * two) neighbouring invocations, needs the workgroup memory `partial` unless subgroups are used;
 * pair_max and pair_other, the larger and the other number of a pair; those of a format. */
void hy__gpu_write_sum(hy__gpu_writer *wr, hy__wgsl *w, uint32_t lanes, uint32_t *written);
void hy__gpu_write_pairs(hy__gpu_writer *wr, hy__wgsl *w);
void hy__gpu_write_format(hy__wgsl *w, const hy__gpu_format *f, bool *block);
/* Statements behind `var v: vec4<f32>`, of group `g` of four channels, that bring blocks of 32 into
 * 8 bits, eight neighbouring invocations each, and write those of the first n groups to `to`: block
 * b begins at vec4 at + b, its planes `width` apart.  All invocations run them; only where
 * hy__gpu_quantizes_by_shuffles. */
bool hy__gpu_quantizes_by_shuffles(const hy__gpu_model *m);
void hy__gpu_put_q8(hy__wgsl *w, const char *g, uint32_t n, const char *to, const char *at,
                    uint32_t width);
/* Functions that these need; once. */
void hy__gpu_put_quantize(hy__wgsl *w);
/* Whether the phase is to leave value `id` in 8 bits; then it does so and says it by q8_place. */
bool hy__gpu_wants_q8(const hy__gpu_writer *wr, hy__id id);
uint32_t hy__gpu_q8_place(const hy__gpu_writer *wr);
/* Whether a phase's result is read outside of it. */
bool hy__gpu_leaves(const hy__gpu_writer *wr, hy__id id);
/* Value `id` at a channel and column, for an anchor: of the prologue, or of an earlier phase. */
hy__wgsl_text hy__gpu_value(hy__gpu_writer *wr, hy__wgsl *w, const hy__wgsl_tree *prologue,
                            hy__id id, const char *channel, const char *column);
/* Where a value begins in the activations of a session that takes n_batch tokens a step and has
 * logits of n_out: element. */
uint64_t hy__gpu_result_place(const hy__gpu_model *m, hy__id id, uint64_t n_batch, uint64_t n_out);
/* Elements up to the logits, and with them. */
uint64_t hy__gpu_logits_place(const hy__gpu_model *m, uint64_t n_batch, uint64_t n_out);
/* Where plane `part` % 4 of chunk `part` / 4 begins behind byte `window`: in vec4 for plane 0, else
 * in words. */
uint64_t hy__gpu_plane_place(const hy__gpu_model *m, uint64_t window, hy__id id, uint32_t part);
/* The numbers of the places of all dispatches of a program, as place_of gives them, in a buffer:
 * those of a dispatch are hy__gpu_places_bytes, and take hy__gpu_places_stride up to the next. */
typedef uint64_t (*hy__gpu_place_of)(const void *user, const hy__gpu_dispatch *d,
                                     const hy__place *p);
uint64_t hy__gpu_places_bytes(const hy__gpu_dispatch *d);
uint64_t hy__gpu_places_stride(const hy__gpu_dispatch *d);
hy_status hy__gpu_places_make(hy__gpu_model *m, const hy__gpu_program *p,
                              hy__gpu_place_of place_of, const void *user, WGPUBuffer *out,
                              hy_error *err);
/* Widens what a dispatch binds of the weights to a chunk of a matrix; false: it lies elsewhere or
 * is too much. */
bool hy__gpu_matrix_window(const hy__gpu_model *m, const hy__gpu_matrix *x, uint32_t chunk,
                           hy__gpu_dispatch *d);

/* ---- sessions (session.c, exec.c) */

typedef struct hy__gpu_session {
    hy__gpu_model *model;
    hy__backend_opts opts;
    uint64_t generation; /* of the model when what follows was made */
    uint32_t n_batch; /* tokens that a step takes at most */
    WGPUBuffer arena; /* of steps of many tokens */
    WGPUBuffer arena_one, state[2], codes, cache, angles, tokens, step, decode_places, prefill_places;
    WGPUBuffer readback;
    WGPUQuerySet queries; /* of the times of phases; made when they are first asked for */
    WGPUBuffer times;
    uint64_t arena_bytes, arena_one_bytes, state_bytes, codes_bytes, cache_bytes, angles_bytes;
    uint64_t *cache_at;             /* [n_states] words */
    uint64_t *angles_at;            /* [n_values] elements */
    WGPUBindGroup *groups[2];       /* [parity * dispatches + dispatch] of decode, prefill */
    uint32_t n_groups[2];
    uint32_t current;               /* state that a step reads */
    struct {
        bool has_sampler;
        uint64_t sampler_id, pos; /* of the first step that is not submitted */
        hy__gpu_sample sample;
        WGPUBuffer saved[2], read[2]; /* of batches, even and odd ones */
        uint32_t steps[2], submitted, collected;
        uint64_t submission[2]; /* as in hy__gpu_map */
    } ahead;
} hy__gpu_session;

hy_status hy__gpu_session_create(void *model, const hy__backend_opts *opts, void **out,
                                 hy_error *err);
void hy__gpu_session_destroy(void *session);
hy_status hy__gpu_session_revive(void *session, hy_error *err);
/* hy__gpu_check, and whether the session is of this device. */
hy_status hy__gpu_session_check(hy__gpu_session *s, hy_error *err);
/* Dispatches first to end - 1 of the program for args->n tokens. */
void hy__gpu_encode(hy__gpu_session *s, const hy__step_args *args, uint32_t first, uint32_t end,
                    WGPUComputePassEncoder pass);
hy_status hy__gpu_ahead_begin(void *session, const hy_sampler *sampler, uint64_t sampler_id,
                              const hy_token *tokens, size_t n, hy_error *err);
hy_status hy__gpu_ahead_submit(void *session, uint32_t n, hy_error *err);
hy_status hy__gpu_ahead_collect(void *session, hy_token *out, hy_error *err);
hy_status hy__gpu_ahead_rewind(void *session, hy_error *err);
hy_status hy__gpu_step(void *session, const hy__step_args *args, hy_error *err);
void hy__gpu_commit(void *session);
hy_status hy__gpu_state_read(void *session, uint64_t n_pos, float *data, hy_error *err);
hy_status hy__gpu_state_write(void *session, uint64_t n_pos, const float *data, hy_error *err);
uint32_t hy__gpu_step_tokens(const void *session);
/* Tokens that steps should take behind one of n tokens that took so long, if it was `now` before:
 * as many as take 0.4 s, which is submitted in eight pieces or more.  Longer work makes systems reset
 * a GPU, and screens stand still. */
uint32_t hy__gpu_fit_tokens(uint32_t now, uint32_t n, uint64_t ns);

/* ---- products for other programs (qmatmul.c) */

/* The dispatch of a product of n columns that multiplies, the first one if there are several, and
 * the model that it is of; for who measures or tests. */
struct hy_qmatmul_pipeline;
const hy__gpu_dispatch *hy__qmatmul_dispatch_of(const struct hy_qmatmul_pipeline *pipeline,
                                                uint32_t n, const hy__gpu_model **model);
/* The same matrix in other memory, by the GPU alone: those who measure read more than caches hold. */
struct hy_qmatmul_weights;
hy_status hy__qmatmul_weights_copy(const struct hy_qmatmul_weights *from,
                                   struct hy_qmatmul_weights **out, hy_error *err);

/* ---- facts (inspect.c, read.c) */

extern const hy__backend_gpu hy__gpu_facts;
const char *hy__gpu_api_name(WGPUBackendType type); /* "Vulkan" */
/* hy_device_native (native.c). */
hy_status hy__gpu_native_handle(hy__gpu *gpu, size_t i, hy_native_handle *handle, hy_error *err);
/* A dispatch as hy_model_gpu_kernel tells of it. */
void hy__gpu_dispatch_text(const hy__gpu_model *m, const hy__gpu_dispatch *d, char *text,
                           size_t cap);
hy_status hy__gpu_measure_read(void *model, double *bytes_per_second, hy_error *err);

#endif
