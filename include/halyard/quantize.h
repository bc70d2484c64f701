/* halyard/quantize.h: a GGUF file into another encoding. */
#ifndef HALYARD_QUANTIZE_H
#define HALYARD_QUANTIZE_H

#include "base.h"

HY_BEGIN_DECLS

typedef struct hy_quantize_opts {
    size_t size;
    uint32_t n_threads;    /* 0: 1 */
    bool allow_requantize; /* decode and encode again tensors that are already quantized */
    hy_progress progress;  /* bytes of the input; may be NULL */
    void *progress_user;
    /* Called for each tensor when its type is decided; may be NULL. Type ids of types.h. */
    void (*on_tensor)(void *user, const char *name, uint32_t type_from, uint32_t type_to);
    void *on_tensor_user;
} hy_quantize_opts;

/* Names of the mixes, "Q4_K_M", "Q8_0", ...: index 0.. until NULL. Static storage. */
HY_API const char *hy_quantize_mix_name(size_t i);

/* Writes the model `in` to `out` with the mix named `mix` (any case).  Which type each tensor gets
 * is what llama-quantize does.  Errors: those of reading and writing, HY_E_ARG (unknown mix, in ==
 * out), HY_E_UNSUPPORTED (already quantized without allow_requantize), HY_E_NUMERIC (a tensor that
 * is not finite, named). */
HY_API HY_CHECK hy_status hy_quantize_file(const char *in, const char *out, const char *mix,
                                           const hy_quantize_opts *opts, const hy_env *env,
                                           hy_error *err);

HY_END_DECLS

#endif
