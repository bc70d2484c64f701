/* fuse.h: the fusion compiler: from operations to phases.
 *
 * A phase is one pass over some weights or some state, with work before it (the prologue: what its
 * inputs still need) and behind it (the epilogue: what happens to each result).  Between phases
 * lies a barrier of the device, inside there is none: so fewer phases are faster.  Phases are
 * numbered in the order in which they run.
 *
 * A fusion belongs to a model and is immutable once made. */
#ifndef HY_FUSE_FUSE_H
#define HY_FUSE_FUSE_H

#include "graph/graph.h"

typedef enum hy__rule {
#define HY_RULE(name, lower, text) HY__RULE_##name,
#include "rules.inc"
#undef HY_RULE
    HY__N_RULES
} hy__rule;

#define HY__ALL_RULES ((1u << HY__N_RULES) - 1)

typedef struct hy__rule_info {
    const char *name;
    const char *text;
} hy__rule_info;
extern const hy__rule_info hy__rules[HY__N_RULES];

typedef enum hy__phase_kind {
    HY__PHASE_EMBED,     /* rows of a table */
    HY__PHASE_MATMUL,    /* one or more matrices */
    HY__PHASE_WKV7,      /* the recurrence, head by head */
    HY__PHASE_ATTENTION, /* attention, head by head */
    HY__PHASE_MAP        /* a single operation that joined nothing */
} hy__phase_kind;
extern const char *const hy__phase_kinds[];

typedef struct hy__phase {
    hy__phase_kind kind;
    uint32_t layer; /* or HY__NO_LAYER */
    hy__cols cols;  /* of its results */
    uint32_t first; /* place in `order` of its first node: prologue, anchors, epilogue */
    uint32_t n_prologue, n_anchor, n_epilogue;
} hy__phase;

/* Why a node is where it is. */
typedef struct hy__reason {
    hy__rule rule; /* the rule that joined it or was asked last; HY__N_RULES: an anchor, no rule was
                      asked */
    bool joined;
    const char *why; /* refusal: static sentence */
} hy__reason;

typedef struct hy__fusion {
    hy_env env;
    hy__phase *phases; /* [n_phases] */
    uint32_t n_phases;
    uint32_t
        *order; /* [n_nodes] node numbers, phase after phase, in an order in which they can run */
    hy__reason *reasons; /* [n_nodes] */
} hy__fusion;

/* The set of all rules but those named, divided by commas; "all" names every rule, NULL none.
 * HY_E_NOT_FOUND lists the names. */
hy_status hy__rules_without(const char *names, uint32_t *rules, hy_error *err);

/* rules: bit (1 << rule) turns a rule on. */
hy_status hy__fuse(hy__fusion *f, const hy__graph *g, uint32_t rules, hy_error *err);
void hy__fusion_finish(hy__fusion *f);

/* Puts the graph's nodes into the order of the phases: node `first` of a phase is then node `first`
 * of the graph. */
hy_status hy__fusion_apply(hy__fusion *f, hy__graph *g, hy_error *err);

/* Whether a backend runs a phase as one. */
typedef bool (*hy__takes_fn)(const hy__graph *g, const hy__phase *p);

/* Dissolves the phases that a backend declines: each of their operations becomes a phase of its
 * own, in the same order.  Behind hy__fusion_apply, so that takes can look at the phase's nodes. */
hy_status hy__fusion_decline(hy__fusion *f, const hy__graph *g, hy__takes_fn takes, hy_error *err);

/* Checks a fusion against its graph without trusting hy__fuse: every node is in exactly one phase,
 * the order can run, a prologue feeds only its own phase, an epilogue works on what its own phase
 * computes. HY_E_INTERNAL names the phase. */
hy_status hy__fusion_verify(const hy__fusion *f, const hy__graph *g, hy_error *err);

/* Most phases that one layer has, and phases outside of layers. */
uint32_t hy__phases_per_layer(const hy__fusion *f, uint32_t n_layer);
uint32_t hy__phases_outside(const hy__fusion *f);

#endif
