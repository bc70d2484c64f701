/* halyard/types.h: tensor encodings of GGUF files, exact decoding, reference encoding. */
#ifndef HALYARD_TYPES_H
#define HALYARD_TYPES_H

#include "base.h"

HY_BEGIN_DECLS

/* name, GGUF type id, elements per block, bytes per block, codec.
 * codec: FULL = decoded and encoded here, DECODE = decoded only, SIZE = only its size is known.
 * This is the one list of types; the codecs are in src/quant/, one file per family. */
#define HY_TYPE_LIST(X)                                                                            \
    X(F32, 0, 1, 4, FULL)                                                                          \
    X(F16, 1, 1, 2, FULL)                                                                          \
    X(Q4_0, 2, 32, 18, FULL)                                                                       \
    X(Q4_1, 3, 32, 20, FULL)                                                                       \
    X(Q5_0, 6, 32, 22, FULL)                                                                       \
    X(Q5_1, 7, 32, 24, FULL)                                                                       \
    X(Q8_0, 8, 32, 34, FULL)                                                                       \
    X(Q8_1, 9, 32, 36, SIZE)                                                                       \
    X(Q2_K, 10, 256, 84, FULL)                                                                     \
    X(Q3_K, 11, 256, 110, FULL)                                                                    \
    X(Q4_K, 12, 256, 144, FULL)                                                                    \
    X(Q5_K, 13, 256, 176, FULL)                                                                    \
    X(Q6_K, 14, 256, 210, FULL)                                                                    \
    X(Q8_K, 15, 256, 292, SIZE)                                                                    \
    X(IQ2_XXS, 16, 256, 66, DECODE)                                                                \
    X(IQ2_XS, 17, 256, 74, DECODE)                                                                 \
    X(IQ3_XXS, 18, 256, 98, DECODE)                                                                \
    X(IQ1_S, 19, 256, 50, DECODE)                                                                  \
    X(IQ4_NL, 20, 32, 18, FULL)                                                                    \
    X(IQ3_S, 21, 256, 110, DECODE)                                                                 \
    X(IQ2_S, 22, 256, 82, DECODE)                                                                  \
    X(IQ4_XS, 23, 256, 136, FULL)                                                                  \
    X(I8, 24, 1, 1, SIZE)                                                                          \
    X(I16, 25, 1, 2, SIZE)                                                                         \
    X(I32, 26, 1, 4, SIZE)                                                                         \
    X(I64, 27, 1, 8, SIZE)                                                                         \
    X(F64, 28, 1, 8, SIZE)                                                                         \
    X(IQ1_M, 29, 256, 56, DECODE)                                                                  \
    X(BF16, 30, 1, 2, FULL)                                                                        \
    X(TQ1_0, 34, 256, 54, DECODE)                                                                  \
    X(TQ2_0, 35, 256, 66, DECODE)                                                                  \
    X(MXFP4, 39, 32, 17, FULL)                                                                     \
    X(NVFP4, 40, 64, 36, SIZE)                                                                     \
    X(Q1_0, 41, 128, 18, SIZE)                                                                     \
    X(Q2_0, 42, 64, 18, FULL)

typedef enum hy_type {
#define HY_TYPE_ENUM(name, id, elems, bytes, codec) HY_TYPE_##name = id,
    HY_TYPE_LIST(HY_TYPE_ENUM)
#undef HY_TYPE_ENUM
} hy_type;

typedef struct hy_type_info {
    const char *name; /* "Q4_K"; static storage */
    hy_type type;
    uint32_t block_elems; /* elements in one block along a row */
    uint32_t block_bytes; /* bytes of one block */
    bool can_decode;      /* hy_dequantize works */
    bool can_encode;      /* hy_quantize works */
} hy_type_info;

/* What is known of type `id` (a GGUF type id); NULL for ids that do not exist or were removed. */
HY_API const hy_type_info *hy_type_find(uint32_t id);
/* The same by name, upper or lower case; NULL if there is none. */
HY_API const hy_type_info *hy_type_by_name(const char *name);

/* Decodes `n` elements (a multiple of block_elems) of `type` at `src` (no alignment needed) to
 * `dst`. Exact: the value that the format defines, rounded once to f32 per arithmetic step of its
 * formula. Errors: HY_E_UNSUPPORTED (type without decoder), HY_E_ARG (n no multiple). */
HY_API hy_status hy_dequantize(hy_type type, const void *src, float *dst, size_t n, hy_error *err);

/* Encodes `n` elements, one or more whole rows whose length is a multiple of block_elems.
 * Byte-identical to llama-quantize without importance matrix. Errors: as above, and HY_E_NUMERIC if
 * the input or a resulting scale is not finite. */
HY_API hy_status hy_quantize(hy_type type, const float *src, void *dst, size_t n, hy_error *err);

HY_END_DECLS

#endif
