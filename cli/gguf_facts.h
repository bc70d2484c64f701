/* gguf_facts.h: what a GGUF file says about itself, for info and bench.  Reads only; any thread. */
#ifndef HY_CLI_GGUF_FACTS_H
#define HY_CLI_GGUF_FACTS_H

#include "cli.h"

typedef struct type_share {
    const hy_type_info *type;
    uint64_t n; /* tensors */
    uint64_t elems;
    uint64_t bytes;
} type_share;

enum { MAX_TYPES = 64 };

typedef struct gguf_facts {
    type_share types[MAX_TYPES]; /* the largest first */
    size_t n_types;
    uint64_t elems; /* of all tensors */
    uint64_t bytes;
} gguf_facts;

void gguf_count(const hy_gguf *g, gguf_facts *f);
/* "Q4_K_M", from general.file_type; "" if it is not there or not known. */
const char *gguf_file_type(const hy_gguf *g);
/* A metadata value as text: an array as its type and count, a long string cut. False if memory is
 * out. */
bool gguf_value_text(const hy_gguf *g, size_t key, text *out);
/* The same as JSON: arrays of up to 16 elements whole, larger ones as {"array":TYPE,"count":N}.
 * NULL: out of memory. */
json_t *gguf_value_json(const hy_gguf *g, size_t key);

#endif
