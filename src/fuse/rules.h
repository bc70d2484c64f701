/* rules.h: what the rules say about a node, for fuse.c. */
#ifndef HY_FUSE_RULES_H
#define HY_FUSE_RULES_H

#include "fuse.h"

/* Where a node that is no anchor may go: `behind` and `before` are sets (1 << kind) of phase kinds
 * whose epilogue or prologue may take it. Behind is tried first. */
typedef struct hy__fate {
    hy__rule rule;
    uint32_t behind, before;
} hy__fate;

/* Whether an operation begins a phase, and of which kind. */
bool hy__anchor_kind(hy__opcode op, hy__phase_kind *kind);

/* made_by[id]: the node that computes value id. */
hy__fate hy__rule_for(const hy__graph *g, const uint32_t *made_by, uint32_t node);

#endif
