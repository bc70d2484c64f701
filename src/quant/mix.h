/* mix.h: which type each tensor of a model gets in a named mix ("Q4_K_M").
 *
 * The rules are those of llama-quantize without importance matrix, so that files are the same. */
#ifndef HY_QUANT_MIX_H
#define HY_QUANT_MIX_H

#include "base/base.h"
#include "halyard/gguf.h"
#include "halyard/types.h"

typedef struct hy__mix hy__mix;

/* Any case; NULL if there is none. Static storage. */
const hy__mix *hy__mix_by_name(const char *name);
/* The value of general.file_type. */
uint32_t hy__mix_file_type(const hy__mix *mix);

/* What the rules look at besides one tensor; zero-initialise, fill with hy__mix_begin.  Holds no
 * memory. */
typedef struct hy__mix_state {
    const hy__mix *mix;
    bool tied;             /* there is no output.weight: token_embd.weight is the head too */
    bool wide_values;      /* 80-layer models with shared values: attn_v gets more bits */
    uint32_t heads_per_kv; /* query heads that share a key-value head; 0 if unknown */
    uint32_t n_expert;
    uint32_t n_layer;
    uint32_t n_attn_v; /* tensors like attn_v in the model */
    uint32_t i_attn_v; /* of those, seen so far */
    uint32_t i_ffn_down;
} hy__mix_state;

/* Reads what the rules need from the model g.  Errors: HY_E_FORMAT (a key of a wrong type),
 * HY_E_UNSUPPORTED (an architecture that has rules of its own). */
hy_status hy__mix_begin(hy__mix_state *s, const hy__mix *mix, const hy_gguf *g, hy_error *err);

/* The type for the next tensor.  Every tensor must be asked for once, in the order of
 * hy__mix_before: the rules count. Errors: HY_E_FORMAT (an expert tensor without a layer number in
 * its name). */
hy_status hy__mix_next(hy__mix_state *s, const hy_gguf_tensor *t, hy_type *type, hy_error *err);

/* The order of tensors: those without a layer first, then layer by layer, by name within. */
bool hy__mix_before(const hy_gguf_tensor *a, const hy_gguf_tensor *b);

#endif
