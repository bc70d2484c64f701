/* heap.c: a binary heap.  The caller owns it; one thread at a time. */
#include "heap.h"

hy_status hy__heap_push(const hy_env *env, hy__heap *h, hy__heap_item item, hy_error *err)
{
    if (h->n == h->cap) {
        if (h->cap > SIZE_MAX / 2) {
            return hy__fail(err, HY_E_NOMEM, "no memory for a queue of %zu entries", h->cap);
        }
        const size_t cap = h->cap ? h->cap * 2 : 64;
        hy__heap_item *items = hy__realloc(env, h->items, cap, sizeof *items, err);
        if (!items) {
            return HY_E_NOMEM;
        }
        h->items = items;
        h->cap = cap;
    }
    size_t i = h->n++;
    while (i > 0) {
        const size_t parent = (i - 1) / 2;
        if (h->items[parent].key <= item.key) {
            break;
        }
        h->items[i] = h->items[parent];
        i = parent;
    }
    h->items[i] = item;
    return HY_OK;
}

hy__heap_item hy__heap_pop(hy__heap *h)
{
    const hy__heap_item top = h->items[0];
    const hy__heap_item item = h->items[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n) {
            break;
        }
        if (child + 1 < h->n && h->items[child + 1].key < h->items[child].key) {
            child++;
        }
        if (item.key <= h->items[child].key) {
            break;
        }
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = item;
    return top;
}

void hy__heap_finish(const hy_env *env, hy__heap *h)
{
    hy__free(env, h->items);
    memset(h, 0, sizeof *h);
}
