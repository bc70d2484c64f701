/* expr.h: what a phase computes around its anchors, as expression trees, and what it reads and
 * writes.
 *
 * The prologue computes what the anchors read, the epilogue what leaves the phase.  Both are lists
 * of expressions in an order in which they can run; an expression that several others use stands
 * there once, so a "tree" has shared branches.  Leaves are what exists before the tree runs.  A
 * phase of a single operation (map) has no anchor: its operation is the epilogue.
 *
 * Belongs to a model, is made behind hy__fusion_apply (node numbers are those of the graph), and is
 * immutable from then on. */
#ifndef HY_FUSE_EXPR_H
#define HY_FUSE_EXPR_H

#include "fuse.h"

typedef enum hy__expr_kind {
    HY__EXPR_OP,     /* an operation of the phase */
    HY__EXPR_ANCHOR, /* what an anchor of the phase computes */
    HY__EXPR_COLUMN, /* computed by an earlier phase, or for an epilogue by its own prologue */
    HY__EXPR_VECTOR, /* a weight vector */
    HY__EXPR_CONST,  /* numbers computed at load */
    HY__EXPR_STATE   /* of the one operation that uses it */
} hy__expr_kind;

/* How much of its inputs an operation needs for one channel of its result. */
typedef enum hy__reach { HY__REACH_CHANNEL, HY__REACH_GROUP, HY__REACH_COLUMN } hy__reach;

typedef struct hy__expr {
    hy__expr_kind kind;
    hy__reach reach;             /* OP */
    hy__id value;                /* that it stands for */
    uint32_t node;               /* OP, ANCHOR: that computes it */
    uint32_t in[HY__MAX_INPUTS]; /* OP: places in the same tree, lower than its own */
    uint32_t uses;               /* by operations of the same tree */
    bool root;                   /* needed outside of the tree too */
} hy__expr;

typedef struct hy__tree {
    hy__expr *exprs; /* [n] */
    uint32_t n;
} hy__tree;

typedef struct hy__ids {
    hy__id *ids; /* [n], each once, in the order of their first use */
    uint32_t n;
} hy__ids;

typedef struct hy__phase_exprs {
    hy__tree prologue, epilogue; /* an epilogue begins with the anchors, in their order */
    hy__ids inputs;              /* results of earlier phases, and the tokens */
    hy__ids outputs;             /* results that later phases or the caller read */
    hy__ids weights, states;
} hy__phase_exprs;

typedef struct hy__exprs {
    hy_env env;
    hy__phase_exprs *phases; /* [n_phases of the fusion] */
    hy__expr *exprs;         /* of all trees */
    hy__id *ids;             /* of all lists */
} hy__exprs;

hy_status hy__exprs_make(hy__exprs *x, const hy__fusion *f, const hy__graph *g, hy_error *err);
void hy__exprs_finish(hy__exprs *x);

/* Checks trees and lists against the graph without trusting hy__exprs_make: every operation of a
 * phase is in the tree of its place once and uses what the graph says, every leaf exists before the
 * tree runs, what others read is a root, and the lists hold what crosses the phase's border.
 * HY_E_INTERNAL names the phase. */
hy_status hy__exprs_verify(const hy__exprs *x, const hy__fusion *f, const hy__graph *g,
                           hy_error *err);

hy__reach hy__op_reach(const hy__graph *g, const hy__node *node);

/* Whether expression i is written out: it leaves the tree, or several others use it.  Others are
 * written where they are used. */
bool hy__expr_written(const hy__tree *t, uint32_t i);
/* Appends such an expression: "(add x (mul anchor0 gate))".  Values of the phase's own layer are
 * called by their names without "blk.LAYER."; ":64" behind an operation is its group. */
hy_status hy__expr_text(const hy__graph *g, const hy__phase *p, const hy__tree *t, uint32_t i,
                        hy__buf *text, hy_error *err);
/* The name of a value as trees of the phase show it, with "+FIRST" for a later part of a tensor. */
void hy__expr_name(const hy__graph *g, const hy__phase *p, hy__id id, char *buf, size_t cap);

#endif
