/* render.h: a phase's prologue or epilogue as the text of a kernel, in the language of a device.
 *
 * layout.c decides what does not depend on the language: which operations one dispatch computes,
 * over which channels a workgroup sums, where every value lies.  Each dialect then has a renderer
 * (wgsl.c) and a list of formulas, one for each operation (wgsl.inc).  What a phase's anchors
 * compute is a buffer here: their kernels are written by hand, by the backend that has them.
 *
 * Pure functions of a graph and its trees, for any thread. */
#ifndef HY_RENDER_RENDER_H
#define HY_RENDER_RENDER_H

#include "fuse/expr.h"

/* An operation of a tree in a dialect.  $0 to $6 are its inputs at the channel at hand, $g how many
 * channels a sum runs over, $e its epsilon, $s a sum, $m.x and $m.y what was made of its sums. */
typedef struct hy__formula {
    const char *value;   /* NULL: it looks at other columns or channels, the renderer knows how */
    const char *term[2]; /* of a first and a second sum; NULL: none */
    const char *stat[2]; /* what is made of each sum */
} hy__formula;

/* Operations with the same number of channels: one dispatch, an invocation per channel and column,
 * or with sums a workgroup per span and column. */
typedef struct hy__part {
    uint32_t n;    /* channels */
    uint32_t span; /* channels of a workgroup; 0: no sums, workgroups of any channels */
} hy__part;

typedef struct hy__layout {
    const hy__graph *g;
    const hy__phase *p;
    const hy__tree *t;
    bool epilogue;
    bool *called;   /* [t->n] needed at other channels or columns, or in a sum: a function */
    uint32_t *back; /* [t->n] from how many columns before its own an operation is needed */
    /* [t->n] where it begins.  Vectors and states: an element of their common buffer; anchors, and
     * results of operations that are roots: channels, to be multiplied with the columns. */
    uint32_t *place;
    uint32_t *part; /* [t->n] of operations */
    hy__part *parts;
    uint32_t n_parts;
    uint32_t n_slots; /* columns whose sums a workgroup keeps: its own, the one before, ... */
    uint32_t n_ops, n_vectors, n_anchors, n_states, n_roots;
} hy__layout;

/* Channels that an operation sums over. */
uint32_t hy__layout_group(const hy__layout *l, uint32_t i);
/* HY_E_UNSUPPORTED: a state would be kept where only some of the columns are computed. */
hy_status hy__layout_make(hy__layout *l, const hy__graph *g, const hy__phase *p, const hy__tree *t,
                          bool epilogue, const hy__formula *formulas, hy_error *err);
void hy__layout_finish(hy__layout *l);

typedef struct hy__dialect {
    const char *name;
    const hy__formula *formulas; /* [HY__N_OPS] */
    hy_status (*render)(const hy__layout *l, hy__buf *text, hy_error *err);
} hy__dialect;
extern const hy__dialect hy__dialect_wgsl;

/* The kernel of a prologue or epilogue; text stays empty if there is no operation.  HY_E_NOT_FOUND:
 * no such dialect. */
hy_status hy__render(const char *dialect, const hy__graph *g, const hy__phase *p,
                     const hy__phase_exprs *x, bool epilogue, hy__buf *text, hy_error *err);

#endif
