/* builder.h: what an architecture's file sees: hyper-parameters and tensors of the file, and
 * operations to build from.
 *
 * Errors stick: after the first failure every call returns 0 and does nothing, and the sentence
 * stays in the builder. So an architecture reads as a list of equations and ends with `return
 * b->status`. */
#ifndef HY_MODEL_BUILDER_H
#define HY_MODEL_BUILDER_H

#include "graph/graph.h"

typedef struct hy__builder {
    const hy_gguf *gguf;
    const char *arch;
    hy__graph *graph;
    hy_status status;
    hy_error error;
    uint32_t layer; /* of the operations to come, or HY__NO_LAYER */
    uint8_t *used;  /* [n_tensors] which tensors the architecture knows */
    bool recurrent; /* set by the architecture */
    uint32_t n_embd, n_ctx_train;
} hy__builder;

/* ---- hyper-parameters: the key is "ARCH.name"; min <= value <= max, else an error with the key
 * and the range.  An array with an entry per layer counts as its entries' common value; layers that
 * differ are refused. */
uint32_t hy__hparam(hy__builder *b, const char *name, uint32_t min, uint32_t max);
uint32_t hy__hparam_or(hy__builder *b, const char *name, uint32_t min, uint32_t max,
                       uint32_t absent);
/* Finite and positive. */
float hy__hparam_f32(hy__builder *b, const char *name);
/* The same; writers say 0 for absent. */
float hy__hparam_f32_or(hy__builder *b, const char *name, float absent);
/* Index of the string "ARCH.name" in the NULL-terminated list; another string is refused. */
uint32_t hy__hparam_choice(hy__builder *b, const char *name, const char *const *choices,
                           uint32_t absent);
/* A failure found by the architecture itself. */
HY_PRINTF(3, 4)
void hy__build_fail(hy__builder *b, hy_status status, const char *fmt, ...);

/* ---- tensors: names are given with a format; in a layer, "blk.LAYER." is put in front.  A vector
 * is any tensor of n elements (converters write [n], [n, 1, 1] or [head, heads]), a matrix has the
 * shape [n, m]; anything else is an error that names the tensor and both shapes. */
HY_PRINTF(3, 4)
hy__id hy__vector(hy__builder *b, uint32_t n, const char *fmt, ...);
HY_PRINTF(4, 5)
hy__id hy__matrix(hy__builder *b, uint32_t n, uint32_t m, const char *fmt, ...);
/* A part of a tensor that holds several: elements first.. of a vector of `all`, rows first.. of a
 * matrix [n, all]. */
hy__id hy__vector_part(hy__builder *b, uint32_t n, uint32_t first, uint32_t all, const char *name);
hy__id hy__matrix_part(hy__builder *b, uint32_t n, uint32_t m, uint32_t first, uint32_t all,
                       const char *name);
/* Plane `plane` of a tensor of `planes` vectors of n elements, whatever dimensions of one are
 * between. */
hy__id hy__plane(hy__builder *b, uint32_t n, uint32_t planes, uint32_t plane, const char *name);
/* The tensor if it is there, else NULL. Does not count as known. */
const hy_gguf_tensor *hy__find(hy__builder *b, const char *name);
/* It may be there, and is not needed. */
void hy__ignore(hy__builder *b, const char *name);
/* Length of dimension `dim` of a tensor that must be there, between min and max. */
uint32_t hy__dim(hy__builder *b, const char *name, uint32_t dim, uint32_t min, uint32_t max);

/* ---- operations; `name` names the result, in a layer with "blk.LAYER." in front. */
hy__id hy__op(hy__builder *b, hy__opcode op, const char *name, const hy__params *params,
              const hy__id *in);
hy__id hy__op1(hy__builder *b, hy__opcode op, const char *name, hy__id a);
hy__id hy__op2(hy__builder *b, hy__opcode op, const char *name, hy__id a, hy__id c);
hy__id hy__op3(hy__builder *b, hy__opcode op, const char *name, hy__id a, hy__id c, hy__id d);
/* The token ids of the chunk; once per graph. */
hy__id hy__tokens(hy__builder *b);
hy__id hy__state(hy__builder *b, const char *name, uint32_t n, bool per_position);
/* matmul with the tensor NAME.weight, plus NAME.bias if the file has one and `bias` allows it. */
hy__id hy__linear(hy__builder *b, const char *name, uint32_t n, uint32_t m, hy__id x, bool bias);
/* RMS norm over each `group` channels with the gain NAME.weight. */
hy__id hy__rms_norm(hy__builder *b, const char *name, uint32_t group, float eps, hy__id x);

/* An architecture: reads its hyper-parameters and builds b->graph, logits set. */
typedef hy_status (*hy__build_fn)(hy__builder *b);
#define HY_ARCH(name) hy_status hy__build_##name(hy__builder *b);
#include "arch.inc"
#undef HY_ARCH

/* Builds and verifies the graph of an open file into an initialised graph.  On success b->recurrent
 * etc. are set; `name` is the static name of the architecture. */
hy_status hy__model_build(const hy_gguf *g, hy__graph *graph, hy__builder *b, hy_error *err);

#endif
