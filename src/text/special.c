/* special.c: all occurrences of many strings in one pass (Aho and Corasick's automaton), and which
 * of them count.
 *
 * "Replace the longest token everywhere, then the next" would be one pass per token.  Here a queue
 * holds, for every place where a token ends, the longest one that may still be taken; the best of
 * the queue is taken if its bytes are free, and otherwise makes room for the next shorter one that
 * ends there.  Constant after hy__special_init. */
#include "special.h"

#include "heap.h"

static hy_status rank_texts(const hy_env *env, hy__special *m, hy__trie_builder *b,
                            const hy_str *texts, const hy_token *ids, uint32_t n, hy__heap *order,
                            hy_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const hy__heap_item item = {(uint64_t)(uint32_t)~texts[i].len << 32 | i, i, 0};
        HY_TRY(hy__heap_push(env, order, item, err));
    }
    for (uint32_t rank = 0; rank < n; rank++) {
        const uint32_t i = hy__heap_pop(order).a;
        m->ids[rank] = ids[i];
        m->lens[rank] = (uint32_t)texts[i].len;
        uint32_t old;
        HY_TRY(hy__trie_add(env, b, texts[i], rank, &old, err));
    }
    return hy__trie_build(env, b, &m->trie, err);
}

static void link_endings(hy__special *m)
{
    const hy__trie *t = &m->trie;
    /* Nodes are in the order of depth, so what a node falls back to is ready before it. */
    for (uint32_t node = 0; node < t->n_nodes; node++) {
        for (uint32_t child = t->nodes[node].first; child < t->nodes[node].first + t->nodes[node].n;
             child++) {
            uint32_t f = 0;
            if (node != 0) {
                uint32_t at = m->fail[node];
                while (!(f = hy__trie_child(t, at, t->nodes[child].byte)) && at) {
                    at = m->fail[at];
                }
            }
            m->fail[child] = f;
            m->shorter[child] = t->nodes[f].value != HY__TRIE_NONE ? f : m->shorter[f];
        }
    }
}

hy_status hy__special_init(const hy_env *env, hy__special *m, const hy_str *texts,
                           const hy_token *ids, uint32_t n, hy_error *err)
{
    memset(m, 0, sizeof *m);
    if (n == 0) {
        return HY_OK;
    }
    hy__trie_builder builder = {0};
    hy__heap order = {0};
    hy_status status = HY_E_NOMEM;
    m->n = n;
    m->ids = hy__alloc(env, n, sizeof *m->ids, err);
    m->lens = m->ids ? hy__alloc(env, n, sizeof *m->lens, err) : NULL;
    if (m->lens) {
        status = rank_texts(env, m, &builder, texts, ids, n, &order, err);
    }
    if (status == HY_OK) {
        m->fail = hy__calloc(env, m->trie.n_nodes, sizeof *m->fail, err);
        m->shorter = m->fail ? hy__calloc(env, m->trie.n_nodes, sizeof *m->shorter, err) : NULL;
        status = m->shorter ? HY_OK : HY_E_NOMEM;
    }
    hy__trie_builder_finish(env, &builder);
    hy__heap_finish(env, &order);
    if (status != HY_OK) {
        hy__special_finish(env, m);
        return status;
    }
    link_endings(m);
    return HY_OK;
}

void hy__special_finish(const hy_env *env, hy__special *m)
{
    hy__trie_finish(env, &m->trie);
    hy__free(env, m->fail);
    hy__free(env, m->shorter);
    hy__free(env, m->ids);
    hy__free(env, m->lens);
    memset(m, 0, sizeof *m);
}

/* Puts the longest token that ends at each place into the queue, as (rank, end) with its node. */
static hy_status scan(const hy_env *env, const hy__special *m, const char *text, size_t len,
                      hy__heap *queue, hy_error *err)
{
    uint32_t state = 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t next;
        while (!(next = hy__trie_child(&m->trie, state, (uint8_t)text[i])) && state) {
            state = m->fail[state];
        }
        state = next;
        const uint32_t node =
            m->trie.nodes[state].value != HY__TRIE_NONE ? state : m->shorter[state];
        if (node) {
            const hy__heap_item item = {(uint64_t)m->trie.nodes[node].value << 32 | (i + 1), node,
                                        0};
            HY_TRY(hy__heap_push(env, queue, item, err));
        }
    }
    return HY_OK;
}

static bool is_taken(const uint8_t *taken, size_t i)
{
    return taken[i / 8] >> i % 8 & 1;
}

/* Empties the queue; what was taken goes to `found`, by place. */
static hy_status take(const hy_env *env, const hy__special *m, uint8_t *taken, hy__heap *queue,
                      hy__heap *found, hy_error *err)
{
    while (queue->n) {
        const hy__heap_item item = hy__heap_pop(queue);
        const uint32_t rank = (uint32_t)(item.key >> 32), end = (uint32_t)item.key;
        const uint32_t start = end - m->lens[rank];
        /* What was taken before is at least as long: if it overlaps, it holds an end of this one.
         */
        if (is_taken(taken, end - 1)) {
            continue;
        }
        if (is_taken(taken, start)) {
            const uint32_t node = m->shorter[item.a];
            if (node) {
                const hy__heap_item next = {(uint64_t)m->trie.nodes[node].value << 32 | end, node,
                                            0};
                HY_TRY(hy__heap_push(env, queue, next, err));
            }
            continue;
        }
        for (uint32_t i = start; i < end; i++) {
            taken[i / 8] |= (uint8_t)(1u << i % 8);
        }
        HY_TRY(hy__heap_push(env, found, (hy__heap_item){start, rank, 0}, err));
    }
    return HY_OK;
}

hy_status hy__special_find(const hy_env *env, const hy__special *m, const char *text, size_t len,
                           hy__span **spans, size_t *n_spans, hy_error *err)
{
    *spans = NULL;
    *n_spans = 0;
    if (m->n == 0) {
        return HY_OK;
    }
    hy__heap queue = {0}, found = {0};
    hy_status status = scan(env, m, text, len, &queue, err);
    if (status == HY_OK && queue.n) {
        uint8_t *taken = hy__calloc(env, len / 8 + 1, 1, err);
        status = taken ? take(env, m, taken, &queue, &found, err) : HY_E_NOMEM;
        hy__free(env, taken);
    }
    if (status == HY_OK && found.n) {
        *spans = hy__alloc(env, found.n, sizeof **spans, err);
        status = *spans ? HY_OK : HY_E_NOMEM;
    }
    if (status == HY_OK) {
        while (found.n) {
            const hy__heap_item item = hy__heap_pop(&found);
            (*spans)[(*n_spans)++] =
                (hy__span){(uint32_t)item.key, m->lens[item.a], m->ids[item.a]};
        }
    }
    hy__heap_finish(env, &queue);
    hy__heap_finish(env, &found);
    return status;
}
