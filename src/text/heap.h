/* heap.h: a queue by priority.  Belongs to one call; nothing here is shared between threads. */
#ifndef HY_TEXT_HEAP_H
#define HY_TEXT_HEAP_H

#include "base/base.h"

typedef struct hy__heap_item {
    uint64_t key; /* the smallest comes first */
    uint32_t a, b; /* the user's */
} hy__heap_item;

/* Zero-initialise, finish with hy__heap_finish. */
typedef struct hy__heap {
    hy__heap_item *items;
    size_t n, cap;
} hy__heap;

/* HY_E_NOMEM */
hy_status hy__heap_push(const hy_env *env, hy__heap *h, hy__heap_item item, hy_error *err);
/* h->n must not be 0.  Items with equal keys come in any order. */
hy__heap_item hy__heap_pop(hy__heap *h);
void hy__heap_finish(const hy_env *env, hy__heap *h);

#endif
