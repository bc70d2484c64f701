/* special.h: finds tokens that are looked for in the raw text, before it is cut into words.
 *
 * A matcher is constant once made: any thread may use it. */
#ifndef HY_TEXT_SPECIAL_H
#define HY_TEXT_SPECIAL_H

#include "halyard/tokenizer.h"
#include "trie.h"

typedef struct hy__special {
    hy__trie trie;  /* values: ranks */
    uint32_t *fail; /* per node: the node of the longest proper ending of its string that is in the
                       trie */
    uint32_t
        *shorter;   /* per node: the node of the longest proper ending that is a token; 0: none */
    hy_token *ids;  /* by rank: the longest first, of equally long ones the lowest id */
    uint32_t *lens; /* by rank, bytes */
    uint32_t n;
} hy__special;

typedef struct hy__span {
    uint32_t start, len; /* bytes */
    hy_token id;
} hy__span;

/* texts[i] (not empty, at most INT32_MAX bytes) is token ids[i], ids rising; of equal texts the
 * first counts. Errors: HY_E_NOMEM, HY_E_LIMIT. */
hy_status hy__special_init(const hy_env *env, hy__special *m, const hy_str *texts,
                           const hy_token *ids, uint32_t n, hy_error *err);
void hy__special_finish(const hy_env *env, hy__special *m);

/* The occurrences that are replaced when each token in the order of rank replaces all of its
 * occurrences, leftmost first, in what the ones before have left.  In the order of the text;
 * hy__free *spans.  len <= INT32_MAX. Time: len, times the logarithm of the number of occurrences.
 * Error: HY_E_NOMEM. */
hy_status hy__special_find(const hy_env *env, const hy__special *m, const char *text, size_t len,
                           hy__span **spans, size_t *n_spans, hy_error *err);

#endif
