/* trie.h: byte strings as a tree, to find those that begin at a place of a text.
 *
 * Built once, then constant: readable from any thread. */
#ifndef HY_TEXT_TRIE_H
#define HY_TEXT_TRIE_H

#include "base/base.h"

#define HY__TRIE_NONE UINT32_MAX

typedef struct hy__trie_node {
    uint32_t first; /* of its children, which lie side by side in the order of their bytes */
    uint32_t value; /* HY__TRIE_NONE: no string ends here */
    uint16_t n;     /* children */
    uint8_t byte;   /* that leads here */
} hy__trie_node;

/* Node 0 is the root; nodes are in the order of their depth. */
typedef struct hy__trie {
    hy__trie_node *nodes;
    uint32_t n_nodes;
    uint32_t root[256]; /* children of the root by byte; 0: none */
} hy__trie;

/* What a trie is built from.  Zero-initialise, finish with hy__trie_builder_finish. */
typedef struct hy__trie_builder {
    struct hy__trie_draft *nodes;
    uint32_t n, cap;
} hy__trie_builder;

/* Enters a string (copied) with a value other than HY__TRIE_NONE.  *old is the value that was there
 * before, which then stays, or HY__TRIE_NONE.  Errors: HY_E_NOMEM, HY_E_LIMIT (2^31 nodes). */
hy_status hy__trie_add(const hy_env *env, hy__trie_builder *b, hy_str s, uint32_t value,
                       uint32_t *old, hy_error *err);
/* Makes the trie; the builder may be empty, and is not needed afterwards. Error: HY_E_NOMEM. */
hy_status hy__trie_build(const hy_env *env, const hy__trie_builder *b, hy__trie *t, hy_error *err);
void hy__trie_builder_finish(const hy_env *env, hy__trie_builder *b);
void hy__trie_finish(const hy_env *env, hy__trie *t);

/* The child of any node, or 0. */
static inline uint32_t hy__trie_child(const hy__trie *t, uint32_t node, uint8_t byte)
{
    if (node == 0) {
        return t->root[byte];
    }
    uint32_t low = t->nodes[node].first, n = t->nodes[node].n;
    while (n > 4) {
        const uint32_t half = n / 2;
        if (t->nodes[low + half].byte <= byte) {
            low += half;
            n -= half;
        } else {
            n = half;
        }
    }
    for (uint32_t i = low; i < low + n; i++) {
        if (t->nodes[i].byte == byte) {
            return i;
        }
    }
    return 0;
}

#endif
