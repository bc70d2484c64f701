/* merge.c: joins neighbours in the order of their rank, n log n.  The caller owns the merger; one
 * thread at a time. */
#include "merge.h"

hy_status hy__merger_begin(const hy_env *env, hy__merger *m, size_t n, hy_error *err)
{
    if (n > m->cap) {
        hy__symbol *symbols = hy__realloc(env, m->symbols, n, sizeof *symbols, err);
        if (!symbols) {
            return HY_E_NOMEM;
        }
        m->symbols = symbols;
        m->cap = n;
    }
    m->n = 0;
    return HY_OK;
}

void hy__merger_add(hy__merger *m, uint32_t start, uint32_t len, uint32_t id)
{
    const uint32_t i = (uint32_t)m->n++;
    m->symbols[i] = (hy__symbol){start, len, i ? i - 1 : HY__SYMBOL_END, HY__SYMBOL_END, id};
    if (i) {
        m->symbols[i - 1].next = i;
    }
}

/* Queues the pair that begins at `left`: a is the length of both together, b the id of the result.
 */
static hy_status queue_pair(const hy_env *env, hy__merger *m, uint32_t left, hy__pair_fn pair,
                            const void *user, hy_error *err)
{
    const hy__symbol *l = &m->symbols[left];
    if (l->next == HY__SYMBOL_END) {
        return HY_OK;
    }
    const hy__symbol *r = &m->symbols[l->next];
    uint32_t rank, id;
    if (!pair(user, l, r, &rank, &id)) {
        return HY_OK;
    }
    return hy__heap_push(env, &m->heap,
                         (hy__heap_item){(uint64_t)rank << 32 | left, l->len + r->len, id}, err);
}

hy_status hy__merger_run(const hy_env *env, hy__merger *m, hy__pair_fn pair, const void *user,
                         hy_error *err)
{
    m->heap.n = 0;
    for (size_t i = 0; i + 1 < m->n; i++) {
        HY_TRY(queue_pair(env, m, (uint32_t)i, pair, user, err));
    }
    while (m->heap.n) {
        const hy__heap_item item = hy__heap_pop(&m->heap);
        const uint32_t left = (uint32_t)item.key;
        hy__symbol *l = &m->symbols[left];
        /* Symbols only grow, so the sum of lengths is that of the queue only if both are still as
         * they were. */
        if (l->len == 0 || l->next == HY__SYMBOL_END ||
            l->len + m->symbols[l->next].len != item.a) {
            continue;
        }
        hy__symbol *r = &m->symbols[l->next];
        l->len += r->len;
        l->id = item.b;
        r->len = 0;
        l->next = r->next;
        if (l->next != HY__SYMBOL_END) {
            m->symbols[l->next].prev = left;
        }
        HY_TRY(queue_pair(env, m, left, pair, user, err));
        if (l->prev != HY__SYMBOL_END) {
            HY_TRY(queue_pair(env, m, l->prev, pair, user, err));
        }
    }
    return HY_OK;
}

void hy__merger_finish(const hy_env *env, hy__merger *m)
{
    hy__free(env, m->symbols);
    hy__heap_finish(env, &m->heap);
    memset(m, 0, sizeof *m);
}
