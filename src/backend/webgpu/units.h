/* units.h: what the self-test computes: models of a phase or two, with the numbers in them that
 * kernels get wrong.
 *
 * A unit is played as a sequence: steps of many tokens, then steps of one.  Every token is a row of
 * the tables, so that rows are cases.  Rows for matrices in codes come twice: as the GPU gets them,
 * and rounded to 8 bits as its kernels must round them, which is what `ref` gets.  So what kernels
 * compute is known almost to the last bit, and a single wrong code shows. */
#ifndef HY_BACKEND_WEBGPU_UNITS_H
#define HY_BACKEND_WEBGPU_UNITS_H

#include "webgpu.h"

/* Most columns in the self-test that subgroups do not multiply as matrices, and after how many more
 * their tiles have the next size. */
enum { HY__GPU_UNIT_COLUMNS = 30, HY__GPU_UNIT_SIZES = 20 };

/* X(ID, name, variants that its kernels may use).  All but the last two may also use the variants
 * of sums, and those in 8 bits the variants of Q8_0.  Units of formats are
 * numbered behind these, in the order of hy__gpu_format_at. */
#define HY__GPU_UNITS(X)                                                                           \
    X(TREES, "norms and sums", HY__GPU_USE_FOURS)                                                  \
    X(SHARED, "long inputs", HY__GPU_USE_SHARED)                                                   \
    X(CODES, "results in 8 bits", HY__GPU_USE_QUANTIZE)                                            \
    X(WKV7, "recurrence", HY__GPU_USE_FOURS | HY__GPU_USE_RECURRENCE | HY__GPU_USE_INVOCATIONS)    \
    X(WKV7_CODES, "recurrence in 8 bits",                                                          \
      HY__GPU_USE_FOURS | HY__GPU_USE_RECURRENCE | HY__GPU_USE_INVOCATIONS | HY__GPU_USE_QUANTIZE) \
    X(ATTENTION, "attention", HY__GPU_USE_ATTENTION)                                               \
    X(ATTENTION_CODES, "attention in 8 bits", HY__GPU_USE_ATTENTION | HY__GPU_USE_QUANTIZE)        \
    X(ATTENTION_MATRICES, "attention by matrices", HY__GPU_USE_MATRIX_ATTENTION)                   \
    X(MATRICES, "small tiles of matrices", HY__GPU_USE_MATRICES)                                   \
    X(MATRICES_LARGE, "large tiles of matrices", HY__GPU_USE_MATRICES)                             \
    X(MATRICES_WIDE, "wide tiles of matrices", HY__GPU_USE_MATRICES)                               \
    X(BINDINGS, "large bindings", HY__GPU_USE_BINDINGS)                                            \
    X(DRAWS, "sampler", HY__GPU_USE_DRAWS)
enum {
#define HY__GPU_UNIT(id, name, uses) HY__GPU_UNIT_##id,
    HY__GPU_UNITS(HY__GPU_UNIT)
#undef HY__GPU_UNIT
        HY__GPU_N_PLAIN_UNITS,
    HY__GPU_MOST_UNITS = 40,
    HY__GPU_MOST_TENSORS = 24
};

typedef struct hy__gpu_unit {
    const char *name;
    hy__gpu_use uses;
    hy__gpu_use needs; /* without which there is nothing to test */
    const hy__gpu_format *format; /* or NULL */
    bool model;                   /* a graph, else something of its own */
} hy__gpu_unit;
/* Unit i = 0..; false behind the last one. */
bool hy__gpu_unit_at(uint32_t i, hy__gpu_unit *u);
/* Those that a model has use for, as bits; g NULL: all. */
uint64_t hy__gpu_units_of(const hy__graph *g);

typedef struct hy__gpu_tiny {
    hy_env env;
    hy__graph graph; /* in the order of the phases */
    hy__fusion fusion;
    hy__exprs exprs;
    hy__plan plan;
    hy_gguf_tensor tensors[HY__GPU_MOST_TENSORS];
    void *data[HY__GPU_MOST_TENSORS]; /* of them */
    uint32_t n_tensors;
    bool empty;      /* tensors have no data: good enough for texts */
    float *rounded;  /* of table 0, what 8 bits make of it; NULL: nothing is rounded */
    uint32_t n_rows; /* of tables: token t of the sequence is row t % n_rows */
    uint32_t n_many, n_steps, n_single; /* n_steps steps of n_many tokens, then n_single of one */
    double relative; /* error that is allowed, of the largest result of a token */
    bool calm;       /* tables have no huge numbers */
    uint64_t random;
} hy__gpu_tiny;

/* Unit i, which must be a model.  Zeroed or made, hy__gpu_tiny_finish it. */
hy_status hy__gpu_tiny_make(hy__gpu_tiny *t, uint32_t i, bool empty, const hy_env *env,
                            hy_error *err);
void hy__gpu_tiny_finish(hy__gpu_tiny *t);
uint32_t hy__gpu_tiny_tokens(const hy__gpu_tiny *t);
/* What results may differ by, [tokens][logits].  exact: the weights were not decoded to F16. */
hy_status hy__gpu_tiny_bounds(const hy__gpu_tiny *t, const float *want, bool exact, float *bounds,
                              hy_error *err);

#endif
