/* cpu.h: the CPU backend: fused phases on packed weights.
 *
 * A model holds the weights as the kernels read them (weights.c) and the phases as stages of tasks (program.c).  A
 * session has a team of threads that goes through all stages of a step together (exec.c): tasks are handed out by a
 * counter, and a barrier lies between stages.  A phase of matrices has a stage for its prologue, column by column,
 * quantized at the end, and one for the matrices, panels of rows by panels of rows with their epilogue (matmul.c); a
 * phase of heads (recurrence, attention) is one stage, heads by heads (heads.c).  What a single operation computes for a
 * range of columns and channels is in ops.c.
 *
 * No result depends on which thread computes it, nor on how many there are. */
#ifndef HY_BACKEND_CPU_CPU_H
#define HY_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "levels.h"

/* ---- weights */

/* A matrix [n, m] as it is multiplied. */
typedef struct hy__cpu_matrix {
    const uint8_t *rows; /* of the file */
    const uint8_t *data; /* packed panels; the same rows where no kernel reads the type; NULL: not packed yet */
    uint64_t place;      /* of the packed panels in the model's memory */
    bool sparse;         /* multiplies squared ReLUs alone: it may lie in columns */
    bool columns;        /* lies in panels of columns (columns.h); else as in packed.h */
    hy_type type;
    int index, f32_index; /* of its kernels (packed.h); both -1: decoded panel by panel */
    size_t row_bytes;
    uint32_t n, m;
} hy__cpu_matrix;

/* ---- phases of matrices */

/* A value that matrices of a phase multiply, and the forms in which they read it. */
typedef struct hy__cpu_input {
    hy__id value;
    bool q8, f32;
    uint32_t chosen; /* B: a single column has a list of its codes that are not zero; 0: none */
} hy__cpu_input;

/* Matrices with as many rows whose results meet in an epilogue: computed together, rows by rows. */
typedef struct hy__cpu_cluster {
    const uint32_t *anchors;  /* [n_anchors] nodes */
    const uint32_t *epilogue; /* [n_epilogue] nodes, in an order in which they can run */
    uint32_t n_anchors, n_epilogue;
    uint32_t m;
    uint32_t least;       /* panels of a task are a multiple of this */
    uint64_t panel_bytes; /* of all its matrices */
} hy__cpu_cluster;

typedef struct hy__cpu_phase {
    const hy__phase *p;
    /* Parts of the prologue that have to be finished for all columns before the next part begins: nodes
     * cuts[i] to cuts[i + 1]. */
    const uint32_t *cuts; /* [n_parts + 1] */
    uint32_t n_parts;
    const hy__cpu_input *inputs; /* [n_inputs] */
    uint32_t n_inputs;
    const hy__cpu_cluster *clusters; /* [n_clusters] */
    uint32_t n_clusters;
    uint32_t n_heads; /* of a phase of heads: ranges of channels that are computed on their own */
} hy__cpu_phase;

/* The phases of a model, in one piece of memory (program.c). */
typedef struct hy__cpu_program {
    void *memory;
    const hy__cpu_phase *phases; /* as many as the fusion has */
    uint32_t n_phases;
    uint32_t n_stages; /* most that a step can have */
} hy__cpu_program;

typedef struct hy__cpu_model {
    hy_env env;
    const hy__graph *g;
    const hy__fusion *f;
    const hy__plan *p;
    const hy__vec *vec;
    hy__packed_table kernels;
    const hy__columns_table *columns; /* NULL: no matrix is in columns */
    hy__cpu_matrix *matrices; /* [n_values]; rows NULL for all that is no matrix */
    float **vectors;          /* [n_values] decoded weight vectors, NULL for all other values */
    void *packed;             /* all packed panels */
    uint64_t packed_bytes;
    hy__cpu_program program;
} hy__cpu_model;

/* weights.c: decodes the vectors, packs the matrices in parallel, and gives the pages of the file back while doing so.
 * Of the matrices that may lie in columns only the first HY__CPU_COUNTED are packed, as if they did not; rest packs all
 * of them as told. */
enum { HY__CPU_COUNTED = 2 };
hy_status hy__cpu_weights(hy__cpu_model *m, const hy__backend_model_opts *opts, hy_error *err);
hy_status hy__cpu_weights_rest(hy__cpu_model *m, const hy__backend_model_opts *opts, bool columns, hy_error *err);
void hy__cpu_weights_finish(hy__cpu_model *m);

/* sparsity.c: whether columns pay, by what the first HY__CPU_COUNTED of these matrices multiply; needs the program. */
bool hy__cpu_sparsity_pays(const hy__cpu_model *m);

/* program.c */
hy_status hy__cpu_program_make(hy__cpu_model *m, hy_error *err);
void hy__cpu_program_finish(hy__cpu_model *m);

/* ---- sessions */

/* Panels first to end of a cluster. */
typedef struct hy__cpu_task {
    uint32_t cluster, first, end;
} hy__cpu_task;

typedef struct hy__cpu_tasks {
    const hy__cpu_task *tasks;
    uint32_t n;
} hy__cpu_tasks;

/* Cosines and sines of the positions of a step, for one list of frequencies and one scale. */
typedef struct hy__cpu_rope {
    hy__id freqs;
    float scale;
    uint32_t n_pairs;
    float *cs; /* [n_batch][n_pairs][2] */
} hy__cpu_rope;

/* A KV cache: [n_heads][n_ctx / HY__ATTENTION_BLOCK, rounded up] blocks (vec.h). */
typedef struct hy__cpu_cache {
    char *data; /* NULL: the state is recurrent */
    hy__kv_form form;
    uint32_t n_heads;
    size_t block_bytes, head_bytes;
} hy__cpu_cache;

typedef struct hy__cpu_session {
    const hy__cpu_model *model;
    hy__backend_opts opts;
    hy__pool *pool;
    float *arena[2]; /* activations per token, per output; see plan.h */
    char *inputs; /* the inputs of the matrices of the phase at hand, in the forms in which they are read */
    char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
    float *recurrent[2]; /* a step reads the current block and writes the other */
    unsigned current;
    hy__cpu_cache *caches; /* [n_states] */
    hy__cpu_rope *ropes;
    uint32_t n_ropes;
    hy__cpu_task *task_memory;
    hy__cpu_tasks *decode, *prefill; /* [n_phases]: tasks of the phases of matrices, for one column and for many */
    atomic_bool stopped; /* something was left out of the step */
    atomic_uint *next;               /* [n_stages] first task nobody has taken */
    uint64_t *spared;                /* [n_phases] bytes of weights that met zeros, of all steps */
    uint64_t *times;                 /* [n_phases + 1] when each phase ended; time 0: when the first began */
    hy__step_args args;              /* of the step at hand */
} hy__cpu_session;

/* session.c */
hy_status hy__cpu_session_create(void *model, const hy__backend_opts *opts, void **out, hy_error *err);
void hy__cpu_session_destroy(void *session);
hy_status hy__cpu_state_read(void *session, uint64_t n_pos, float *data, hy_error *err);
hy_status hy__cpu_state_write(void *session, uint64_t n_pos, const float *data, hy_error *err);
void hy__cpu_commit(void *session);
uint64_t hy__cpu_spared_bytes(const void *session, uint32_t phase);

/* exec.c */
hy_status hy__cpu_step(void *session, const hy__step_args *args, hy_error *err);

/* ---- values at hand */

/* Columns of a value in this step. */
static inline uint32_t hy__cpu_cols(const hy__cpu_session *s, hy__id id)
{
    const hy__cols cols = s->model->g->values[id].cols;
    return cols == HY__PER_T ? s->args.n : cols == HY__PER_OUT ? s->args.n_out : 1;
}
/* [columns][n] of a result, or [n] of a weight vector. */
static inline float *hy__cpu_data(const hy__cpu_session *s, hy__id id)
{
    const hy__graph *g = s->model->g;
    const hy__value *v = &g->values[id];
    if (v->kind == HY__WEIGHT) {
        return s->model->vectors[id];
    }
    if (id == g->logits) {
        return s->args.logits;
    }
    return s->arena[v->cols == HY__PER_OUT] + s->model->p->place[id] * hy__cpu_cols(s, id);
}
/* A recurrent state: as it was before the step, and as it will be. */
static inline float *hy__cpu_state(const hy__cpu_session *s, hy__id id, bool fresh)
{
    const size_t place = (size_t)s->model->p->state_place[s->model->g->values[id].state];
    return s->recurrent[fresh ? 1 - s->current : s->current] + place;
}
static inline const hy__cpu_cache *hy__cpu_cache_of(const hy__cpu_session *s, hy__id id)
{
    return &s->caches[s->model->g->values[id].state];
}
static inline char *hy__cpu_scratch(const hy__cpu_session *s, uint32_t thread)
{
    return s->scratch + s->scratch_bytes * thread;
}
/* Whether the work at hand is not to be done; the step then fails. */
static inline bool hy__cpu_stop(hy__cpu_session *s)
{
    const bool stop = atomic_load_explicit(s->args.cancel, memory_order_relaxed);
    if (stop) {
        atomic_store_explicit(&s->stopped, true, memory_order_relaxed);
    }
    return stop;
}

/* Columns t0 to t1, channels c0 to c1 of a result. */
typedef struct hy__cpu_range {
    uint32_t t0, t1, c0, c1;
} hy__cpu_range;

/* ops.c: computes a range of a node's result.  Channels begin and end between groups. */
void hy__cpu_op(hy__cpu_session *s, const hy__node *node, hy__cpu_range r);
/* Whether an operation reads columns beside the one it computes. */
bool hy__cpu_crosses_columns(hy__opcode op);

/* matmul.c */
/* Bytes of an input of n elements, in all its forms. */
uint64_t hy__cpu_input_bytes(const hy__cpu_input *in, uint32_t n, uint32_t cols);
/* Brings columns of an input, t0 a multiple of HY__TILE_COLS, into the forms in which the matrices read it. */
void hy__cpu_prepare(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t input, uint32_t t0, uint32_t t1);
void hy__cpu_matmul(hy__cpu_session *s, const hy__cpu_phase *p, const hy__cpu_task *task, uint32_t thread);
/* Scratch bytes that a thread needs for matrices of at most n columns. */
uint64_t hy__cpu_matmul_scratch(uint32_t n);

/* heads.c: a range of heads of a phase of heads, `head` of p->n_heads.  Attention has two stages: up to the caches, for
 * all tokens, and from the caches on, in as many tasks as hy__cpu_attention_tasks says. */
void hy__cpu_recurrence(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t head);
void hy__cpu_attention_begin(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t head);
uint32_t hy__cpu_attention_tasks(const hy__cpu_session *s, const hy__cpu_phase *p);
void hy__cpu_attention_end(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t task, uint32_t thread);
uint64_t hy__cpu_heads_scratch(const hy__cpu_model *m);

/* What the queries of one KV head see of a step: q [T][group][dim] and y [T][group][dim_v], columns q_stride and y_stride
 * floats apart; the head's blocks of the caches, position 0 first. */
typedef struct hy__cpu_attention {
    const float *q;
    float *y;
    size_t q_stride, y_stride;
    const char *k, *v;
    hy__kv_form k_form, v_form;
    uint32_t group;
    float scale;
} hy__cpu_attention;

/* attention.c: tokens t0 to t1 of the step, at most hy__cpu_attention_tokens(group). */
void hy__cpu_attend(hy__cpu_session *s, const hy__cpu_attention *a, uint32_t t0, uint32_t t1, float *scratch);
uint32_t hy__cpu_attention_tokens(uint32_t group);
uint64_t hy__cpu_attention_scratch(uint32_t group, uint32_t dim, uint32_t dim_v); /* floats */

#endif
