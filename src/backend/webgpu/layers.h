/* layers.h: models whose layers have the sizes of real ones, with made-up weights: what the tuner
 * times kernels with.
 *
 * Each is a model file in memory that goes the way of every model file, so that its phases are those
 * of real models.  A step of one token reads every weight once: with as many layers as are more than
 * the caches of a GPU hold, each weight comes from memory.  One thread. */
#ifndef HY_BACKEND_WEBGPU_LAYERS_H
#define HY_BACKEND_WEBGPU_LAYERS_H

#include "fuse/expr.h"
#include "plan/plan.h"

/* What is in a layer; all are multiples of 256, but for heads and layers. */
typedef struct hy__gpu_layer_sizes {
    const char *arch; /* "rwkv7" or "llama" */
    uint32_t n_embd, n_ff, n_vocab, n_layer;
    uint32_t head, n_head_kv; /* channels of a head; heads of keys, of llama */
    hy_type type, better;     /* of most matrices; of those that get more bits in mixtures */
} hy__gpu_layer_sizes;

typedef struct hy__gpu_layers {
    hy_env env;
    uint8_t *file;
    uint64_t bytes; /* of it */
    hy_gguf *gguf;
    hy__graph graph;
    hy__fusion fusion;
    hy__exprs exprs;
    hy__plan plan;
} hy__gpu_layers;

/* Bytes of the matrices of a layer. */
uint64_t hy__gpu_layer_bytes(const hy__gpu_layer_sizes *s, const hy_env *env);
/* Zeroed or made, hy__gpu_layers_finish it. */
hy_status hy__gpu_layers_make(hy__gpu_layers *l, const hy__gpu_layer_sizes *s, const hy_env *env,
                              hy_error *err);
void hy__gpu_layers_finish(hy__gpu_layers *l);

#endif
