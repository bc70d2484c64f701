/* tiny_models.h: models of every architecture with a few thousand weights, made by the tests, to be
 * damaged at will.
 *
 * A tiny_model is a list of keys and tensors; tiny_bytes makes the GGUF file of it.  Weights are a
 * function of the tensor's name and the element's index, so that two models with the same tensor
 * hold the same numbers.  A program ends at once if something here cannot work: these are helpers
 * of tests and generators, used by one thread at a time. */
#ifndef HY_TESTS_TINY_MODELS_H
#define HY_TESTS_TINY_MODELS_H

#include "halyard/halyard.h"

typedef enum tiny_arch { TINY_RWKV7, TINY_LLAMA, TINY_QWEN2, TINY_QWEN3, TINY_N_ARCHS } tiny_arch;
const char *tiny_arch_name(tiny_arch arch);

typedef struct tiny_shape {
    uint32_t c, f, n_layer;          /* channels, feed-forward channels */
    uint32_t n_head, n_head_kv, key; /* transformers */
    uint32_t head_size, rank;        /* rwkv7 */
    uint32_t rows;                   /* of the embedding */
    bool vocab; /* with a vocabulary of 262 pieces; rows must be at least that */
} tiny_shape;
extern const tiny_shape tiny_usual;    /* two layers, 32 rows, several heads */
extern const tiny_shape tiny_least;    /* one layer, 8 rows: a file of about 4 KiB */
extern const tiny_shape tiny_odd;      /* rows and columns that are no multiples of anything */
extern const tiny_shape tiny_speaking; /* tiny_usual with a vocabulary */

#define TINY_MOST_ARRAY 300

typedef struct tiny_key {
    char name[64];
    hy_gguf_type type; /* UINT32, FLOAT32, STRING, or ARRAY of elem */
    hy_gguf_type elem; /* UINT32, INT32, FLOAT32 or STRING */
    uint32_t number;
    float real;
    char text[64];
    size_t n;
    uint32_t numbers[TINY_MOST_ARRAY];
    float reals[TINY_MOST_ARRAY];
    char texts[TINY_MOST_ARRAY][12];
} tiny_key;

typedef struct tiny_tensor {
    char name[64];
    hy_type type; /* values are encoded where the library can; zeros otherwise */
    uint32_t n_dims;
    uint64_t ne[4];
    float *values; /* [product of ne when it was added] */
    size_t n_values;
} tiny_tensor;

typedef struct tiny_model {
    tiny_key *keys;
    size_t n_keys;
    tiny_tensor *tensors;
    size_t n_tensors;
} tiny_model;

void tiny_make(tiny_model *m, tiny_arch arch, const tiny_shape *shape);
void tiny_free(tiny_model *m);

/* Key names may begin with "." for that of the architecture: ".block_count". */
void tiny_set_u32(tiny_model *m, const char *key, uint32_t value);
void tiny_set_f32(tiny_model *m, const char *key, float value);
void tiny_set_str(tiny_model *m, const char *key, const char *value);
void tiny_set_u32_array(tiny_model *m, const char *key, const uint32_t *values, size_t n);
/* Removes a key or a tensor, which must be there. */
void tiny_drop(tiny_model *m, const char *name);
/* Must be there; valid until the next change of the list. */
tiny_tensor *tiny_find(tiny_model *m, const char *name);
/* ne[1] = 0: a vector. */
tiny_tensor *tiny_add(tiny_model *m, const char *name, uint64_t ne0, uint64_t ne1);

/* The file; free() it. */
void *tiny_bytes(const tiny_model *m, size_t *len);
/* The usual way: make, bytes, free. */
void *tiny_file(tiny_arch arch, const tiny_shape *shape, size_t *len);

#endif
