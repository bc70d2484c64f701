/* graph.h: a model as a list of operations over named values.
 *
 * A graph describes one chunk of T tokens; T is symbolic, so one graph serves prefill and decode.
 * It is built once per model by an architecture's file (through model/builder.h), verified, and
 * immutable from then on: any thread may read it. */
#ifndef HY_GRAPH_GRAPH_H
#define HY_GRAPH_GRAPH_H

#include "base/base.h"
#include "halyard/gguf.h"

typedef enum hy__opcode {
#define HY_OP(name, lower, arity, summary) HY__OP_##name,
#include "ops.inc"
#undef HY_OP
    HY__N_OPS
} hy__opcode;

#define HY__MAX_INPUTS 7

typedef struct hy__op_info {
    const char *name;
    const char *summary;
    uint32_t n_inputs;
} hy__op_info;
extern const hy__op_info hy__ops[HY__N_OPS];

typedef enum hy__kind {
    HY__WEIGHT, /* a tensor of the file, or a part of one */
    HY__CONST,  /* numbers computed at load */
    HY__STATE,  /* kept from chunk to chunk */
    HY__TOKENS, /* the token ids of the chunk; there is one such value */
    HY__RESULT  /* what an operation computes */
} hy__kind;

typedef enum hy__cols {
    HY__ONE,    /* one column: weights, constants, recurrent state */
    HY__PER_T,  /* a column per token of the chunk */
    HY__PER_OUT /* a column per token whose logits are wanted */
} hy__cols;

/* Index of a value. 0 is no value: what a failed builder returns. */
typedef uint32_t hy__id;

typedef struct hy__value {
    char name[64];
    hy__kind kind;
    hy__cols cols;
    uint32_t n;                   /* length of a column; of a matrix: its inputs */
    uint32_t m;                   /* outputs of a matrix, 1 for all others */
    const hy_gguf_tensor *tensor; /* WEIGHT: where it is; owned by the file */
    uint64_t first;               /* WEIGHT: first element in the tensor */
    double *data;                 /* CONST: [n], owned by the graph */
    uint32_t state;               /* STATE: number among the states */
    bool per_position;            /* STATE: [position][n] (KV cache) instead of [n] */
} hy__value;

/* What an operation needs beside its inputs; unused fields are 0. */
typedef struct hy__params {
    float eps;
    float scale;    /* attention: factor of the scores; rope: factor of cosine and sine */
    uint32_t group; /* channels that belong together: a head, or the whole column */
    uint32_t n_head, n_head_kv;
    uint32_t n_rot;  /* rope: rotated channels at the beginning of each head */
    bool half_split; /* rope: pairs are (j, j + n_rot/2) instead of (2j, 2j + 1) */
} hy__params;

#define HY__NO_LAYER UINT32_MAX

typedef struct hy__node {
    hy__opcode op;
    uint32_t layer; /* or HY__NO_LAYER */
    hy__id in[HY__MAX_INPUTS];
    hy__id out;
    hy__params params;
} hy__node;

typedef struct hy__graph {
    hy_env env;
    hy__value *values; /* [n_values]; number 0 is unused */
    uint32_t n_values, cap_values;
    hy__node *nodes; /* [n_nodes], in an order in which they can run */
    uint32_t n_nodes, cap_nodes;
    hy__id tokens;
    hy__id *states; /* [n_states] values of kind STATE, in the order of their numbers */
    uint32_t n_states, cap_states;
    hy__id logits; /* the result, [vocab, O] */
    uint32_t n_layer;
} hy__graph;

void hy__graph_init(hy__graph *g, const hy_env *env);
void hy__graph_finish(hy__graph *g);

/* All return 0 after writing err: HY_E_NOMEM, or HY_E_FORMAT if the inputs do not fit the operation
 * (hostile hyper-parameters come this far). */
hy__id hy__graph_add_weight(hy__graph *g, const hy_gguf_tensor *t, uint64_t first, uint32_t n,
                            uint32_t m, hy_error *err);
hy__id hy__graph_add_const(hy__graph *g, const char *name, uint32_t n,
                           hy_error *err); /* zeros, to be filled */
hy__id hy__graph_add_state(hy__graph *g, const char *name, uint32_t n, bool per_position,
                           hy_error *err);
hy__id hy__graph_add_tokens(hy__graph *g, hy_error *err);
/* `in` holds as many ids as the operation has inputs. */
hy__id hy__graph_add_op(hy__graph *g, hy__opcode op, uint32_t layer, const char *name,
                        const hy__id *in, const hy__params *params, hy_error *err);

/* The shape rule of an operation (shapes.c): what its result looks like, or false with the reason
 * in `why`. */
typedef struct hy__shape {
    hy__cols cols;
    uint32_t n;
} hy__shape;
bool hy__op_shape(const hy__graph *g, const hy__node *node, hy__shape *out, char *why,
                  size_t why_cap);

/* Checks a finished graph from scratch (verify.c): every input is computed before it is used, every
 * result is used, shapes and kinds follow the rules, weights lie inside their tensors, every state
 * is touched by exactly one operation. HY_E_INTERNAL names the node or value. */
hy_status hy__graph_verify(const hy__graph *g, hy_error *err);

#endif
