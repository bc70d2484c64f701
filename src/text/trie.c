/* trie.c: builds byte tries.  Draft nodes are linked lists that are easy to add to; the finished
 * form lays the children of a node side by side.  The caller owns both; one thread while building.
 */
#include "trie.h"

/* Index 0 is the root, which is nobody's child, so 0 also means "none". */
typedef struct hy__trie_draft {
    uint32_t child, sibling;
    uint32_t value;
    uint8_t byte;
} draft;

static hy_status draft_node(const hy_env *env, hy__trie_builder *b, uint8_t byte, uint32_t *out,
                            hy_error *err)
{
    if (b->n == b->cap) {
        if (b->cap >= UINT32_C(1) << 31) {
            return hy__fail(err, HY_E_LIMIT,
                            "the vocabulary is over the limit of 2^31 different beginnings");
        }
        const uint32_t cap = b->cap ? b->cap * 2 : 1024;
        draft *nodes = hy__realloc(env, b->nodes, cap, sizeof *nodes, err);
        if (!nodes) {
            return HY_E_NOMEM;
        }
        b->nodes = nodes;
        b->cap = cap;
    }
    b->nodes[b->n] = (draft){.value = HY__TRIE_NONE, .byte = byte};
    *out = b->n++;
    return HY_OK;
}

/* The child that was used last is moved to the front: vocabularies are mostly sorted, so it is the
 * next one wanted. */
static uint32_t draft_child(draft *nodes, uint32_t parent, uint8_t byte)
{
    uint32_t before = 0, at = nodes[parent].child;
    while (at && nodes[at].byte != byte) {
        before = at;
        at = nodes[at].sibling;
    }
    if (at && before) {
        nodes[before].sibling = nodes[at].sibling;
        nodes[at].sibling = nodes[parent].child;
        nodes[parent].child = at;
    }
    return at;
}

hy_status hy__trie_add(const hy_env *env, hy__trie_builder *b, hy_str s, uint32_t value,
                       uint32_t *old, hy_error *err)
{
    uint32_t node = 0;
    if (b->n == 0) {
        HY_TRY(draft_node(env, b, 0, &node, err));
    }
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t byte = (uint8_t)s.data[i];
        uint32_t next = draft_child(b->nodes, node, byte);
        if (!next) {
            HY_TRY(draft_node(env, b, byte, &next, err));
            b->nodes[next].sibling = b->nodes[node].child;
            b->nodes[node].child = next;
        }
        node = next;
    }
    *old = b->nodes[node].value;
    if (*old == HY__TRIE_NONE) {
        b->nodes[node].value = value;
    }
    return HY_OK;
}

/* Writes the children of `parent` in the order of their bytes; returns how many. */
static uint32_t sorted_children(const draft *nodes, uint32_t parent, uint32_t out[256])
{
    uint32_t n = 0;
    for (uint32_t at = nodes[parent].child; at; at = nodes[at].sibling) {
        uint32_t i = n++;
        while (i > 0 && nodes[out[i - 1]].byte > nodes[at].byte) {
            out[i] = out[i - 1];
            i--;
        }
        out[i] = at;
    }
    return n;
}

hy_status hy__trie_build(const hy_env *env, const hy__trie_builder *b, hy__trie *t, hy_error *err)
{
    memset(t, 0, sizeof *t);
    const uint32_t n = b->n ? b->n : 1;
    hy__trie_node *nodes = hy__calloc(env, n, sizeof *nodes, err);
    if (!nodes) {
        return HY_E_NOMEM;
    }
    uint32_t *from = hy__alloc(env, n, sizeof *from, err); /* the draft of each node */
    if (!from) {
        hy__free(env, nodes);
        return HY_E_NOMEM;
    }
    nodes[0].value = HY__TRIE_NONE;
    from[0] = 0;
    uint32_t used = 1;
    for (uint32_t i = 0; i < b->n; i++) {
        const draft *d = &b->nodes[from[i]];
        uint32_t children[256];
        const uint32_t n_children = sorted_children(b->nodes, from[i], children);
        nodes[i] = (hy__trie_node){
            .first = used, .value = d->value, .n = (uint16_t)n_children, .byte = d->byte};
        for (uint32_t k = 0; k < n_children; k++) {
            if (i == 0) {
                t->root[b->nodes[children[k]].byte] = used;
            }
            from[used++] = children[k];
        }
    }
    hy__free(env, from);
    t->nodes = nodes;
    t->n_nodes = n;
    return HY_OK;
}

void hy__trie_builder_finish(const hy_env *env, hy__trie_builder *b)
{
    hy__free(env, b->nodes);
    memset(b, 0, sizeof *b);
}

void hy__trie_finish(const hy_env *env, hy__trie *t)
{
    hy__free(env, t->nodes);
    memset(t, 0, sizeof *t);
}
