/* merge.h: joining neighbours, the best pair first, until none fits: the core of both BPE kinds.
 *
 * Belongs to one call of hy_tokenize. */
#ifndef HY_TEXT_MERGE_H
#define HY_TEXT_MERGE_H

#include "heap.h"

#define HY__SYMBOL_END UINT32_MAX

/* A stretch of the text.  len 0: it was joined to one on its left. */
typedef struct hy__symbol {
    uint32_t start, len; /* bytes */
    uint32_t prev, next; /* indices, or HY__SYMBOL_END */
    uint32_t id;         /* the tokenizer's */
} hy__symbol;

/* Zero-initialise, finish with hy__merger_finish; used for any number of words. */
typedef struct hy__merger {
    hy__symbol *symbols;
    size_t n, cap;
    hy__heap heap;
} hy__merger;

/* Whether two neighbours may be joined; if so, how early (lowest first) and the id of the result.
 */
typedef bool (*hy__pair_fn)(const void *user, const hy__symbol *left, const hy__symbol *right,
                            uint32_t *rank, uint32_t *id);

/* Room for n symbols and none there. Error: HY_E_NOMEM */
hy_status hy__merger_begin(const hy_env *env, hy__merger *m, size_t n, hy_error *err);
/* The next symbol, after those added before; at most as many as there is room for. */
void hy__merger_add(hy__merger *m, uint32_t start, uint32_t len, uint32_t id);
/* Joins; of pairs with the same rank the leftmost first.  Symbol 0 stays the first of the list.
 * Error: HY_E_NOMEM. */
hy_status hy__merger_run(const hy_env *env, hy__merger *m, hy__pair_fn pair, const void *user,
                         hy_error *err);
void hy__merger_finish(const hy_env *env, hy__merger *m);

#endif
