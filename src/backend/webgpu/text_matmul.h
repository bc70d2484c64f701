/* text_matmul.h: what the kernels of a phase of matrices have in common, for one token
 * (text_matvec.c) and for several (text_gemm.c).
 *
 * Matrices with as many rows whose results meet in the epilogue are a job; a workgroup works on one
 * job at a time.  Model creation only; one thread. */
#ifndef HY_BACKEND_WEBGPU_TEXT_MATMUL_H
#define HY_BACKEND_WEBGPU_TEXT_MATMUL_H

#include "webgpu.h"

enum {
    HY__MM_Q8_VECS = 3, /* vec4 of a block of 32 in 8 bits: two of codes, one of factors */
    HY__MM_MOST_INPUTS = 16,
    HY__MM_MOST_LEAVES = 32, /* of an epilogue that are read before it; more are read in it */
    HY__MM_MOST_ANCHORS = 32
};

/* An input of matrices in the form in which they read it. */
typedef struct hy__mm_input {
    hy__id value;
    uint32_t unit;     /* elements that are read together: 0: blocks of 32 in 8 bits; else numbers,
                          4 or 8 of a vec4 of weights in one token, 32 in many */
    uint32_t n, units; /* elements; units, blocks of 32 if 0 */
    uint32_t at;       /* vec4 from the beginning of the job's, or of a column of `codes` */
} hy__mm_input;

typedef struct hy__mm_job {
    uint32_t anchors[HY__MM_MOST_ANCHORS]; /* number among the phase's */
    uint32_t inputs[HY__MM_MOST_ANCHORS];  /* of each anchor: number in `input` */
    uint32_t n_anchors;
    hy__mm_input input[HY__MM_MOST_INPUTS];
    uint32_t n_inputs, vecs; /* vec4 of all inputs */
    uint32_t rows, chunk_rows, n_chunks;
    uint32_t lanes;  /* of a row */
    uint64_t bytes;  /* of a row of all matrices */
    bool *only;      /* [epilogue.n] */
} hy__mm_job;

typedef struct hy__mm {
    hy__gpu_writer *wr;
    const hy__graph *g;
    hy__mm_job *jobs;
    uint32_t n_jobs;
    hy__layout prologue, epilogue;
    hy__wgsl_tree pt, et;
    bool *stored; /* [prologue.n] */
    hy__mm_input phase_input[HY__MM_MOST_INPUTS * 2]; /* of all jobs, for many tokens: at in `codes` */
    uint32_t n_phase_inputs, vecs;                    /* vec4 of a column in `codes` */
} hy__mm;

/* Jobs first to end - 1, or rows of a chunk of a single job. */
typedef struct hy__mm_piece {
    uint32_t first, end, chunk;
} hy__mm_piece;

/* Finds the jobs of a phase; hy__mm_end frees them. */
hy_status hy__mm_begin(hy__mm *mk, hy__gpu_writer *wr);
void hy__mm_end(hy__mm *mk);
const hy__gpu_matrix *hy__mm_matrix(const hy__mm *mk, uint32_t anchor);
uint32_t hy__mm_input_vecs(const hy__mm_input *in);
/* Functions of the formats of some jobs, and of products with them. */
void hy__mm_put_formats(hy__mm *mk, hy__wgsl *w, const hy__mm_job *jobs, uint32_t n_jobs,
                        bool with_products);
/* Variables atK: where the planes of a chunk of the job's matrices begin. */
void hy__mm_put_planes(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t chunk);
/* Widens what a dispatch binds of the weights to a chunk of a job. */
void hy__mm_window(const hy__mm *mk, const hy__mm_job *j, uint32_t chunk, hy__gpu_dispatch *d);
/* Rows of a job's chunk. */
uint32_t hy__mm_rows(const hy__mm_job *j, uint32_t chunk);

/* The kernel of a piece for one token, and its dispatch (text_matvec.c). */
hy_status hy__mm_write_one(hy__mm *mk, const hy__mm_piece *p);
/* For several tokens (text_gemm.c): the dispatch that computes the prologue and leaves the inputs
 * in `codes`, and those of a piece. */
hy_status hy__mm_write_inputs(hy__mm *mk);
hy_status hy__mm_write_columns(hy__mm *mk, const hy__mm_piece *p);
/* For several tokens: fn finishN(c, t, v..., leaves), what the epilogue makes of the results of job
 * N at channel c of column t; fn leavesN(c, t), what it reads for that.  Only where this returns
 * true there are leaves. */
bool hy__mm_put_finish(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t number);
bool hy__mm_has_leaves(hy__mm *mk, const hy__mm_job *j);
/* A kernel of 256 invocations up to where the prologue's sums are made and its results are stored;
 * `column` is where the inputs of its column t begin, vecs vec4 a column. */
void hy__mm_begin_inputs(hy__mm *mk, hy__wgsl *w, uint32_t vecs);

/* With matrices that subgroups multiply (text_matrix.c), for steps of `least` columns or more:
 * whether that is possible for a phase, its inputs, and a piece. */
bool hy__mm_by_matrices(const hy__mm *mk);
hy_status hy__mm_write_halves(hy__mm *mk, uint32_t least);
hy_status hy__mm_write_matrices(hy__mm *mk, const hy__mm_piece *p, uint32_t least);

/* ---- matrices in the kernel of heads behind them (text_matvec.c)
 *
 * Second halves of LoRAs are small, and a head needs its own rows of them only: so the kernel of
 * the heads multiplies them.  Results are in workgroup memory jointNUMBER, an element a channel of the
 * head, and in the arena if a phase other than that of the heads reads them. */

typedef struct hy__mm_joined hy__mm_joined;
/* wr: of the phase of matrices; heads: the phase behind it, with `channels` channels of `n` each.
 * w: its kernel, of w->lanes invocations.  *out: NULL if the phases cannot be joined. */
hy_status hy__mm_join(hy__gpu_writer *wr, hy__wgsl *w, uint32_t heads, uint32_t channels,
                      uint32_t n, hy__mm_joined **out);
void hy__mm_joined_destroy(hy__mm_joined *j);
/* Number of a result, the same in all layers that compute alike; UINT32_MAX: it is none. */
uint32_t hy__mm_joined_number(const hy__mm_joined *j, hy__id value);
/* Binds the weights. */
void hy__mm_joined_window(const hy__mm_joined *j, hy__gpu_dispatch *d);
/* Functions and memory; then statements of main, where id.x is the head: reads of weights, and what
 * leaves the results there, for all invocations. */
void hy__mm_joined_functions(hy__mm_joined *j);
void hy__mm_joined_prefetch(hy__mm_joined *j);
void hy__mm_joined_compute(hy__mm_joined *j);

#endif
