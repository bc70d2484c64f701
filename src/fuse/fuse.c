/* fuse.c: from operations to phases.
 *
 * Every node gets a level: the number of barriers before its result is there.  An anchor (a matrix,
 * a recurrence, attention) is one level above its inputs.  Work behind an anchor (epilogue) stays
 * on the anchor's level; work before one (prologue) floats: it has the level of its inputs, and
 * goes wherever its consumers are.  If they are in several phases, or in one that does not take it,
 * it becomes a phase of its own, and the levels are computed again: each round settles at least one
 * more node, so rounds end.  Phases are the anchors of a level. */
#include <stdio.h>

#include "rules.h"

#define NOWHERE UINT32_MAX

typedef struct work {
    const hy__graph *g;
    uint32_t rules;
    uint32_t *made_by; /* [n_values] node that computes it */
    uint32_t *level;   /* [n_nodes] */
    uint32_t
        *phase; /* [n_nodes] number of an anchor node that stands for the phase; NOWHERE: floats */
    uint32_t *group; /* [2 * (n_nodes + 2)] first matrix of each level, by columns; NOWHERE: none */
    bool *alone;     /* [n_nodes] settled: a phase of its own */
    hy__reason *reasons; /* [n_nodes] */
} work;

static bool is_result(const hy__graph *g, hy__id id)
{
    return g->values[id].kind == HY__RESULT;
}

static uint32_t n_inputs(const hy__node *node)
{
    return hy__ops[node->op].n_inputs;
}

/* The highest level among the inputs of a node, 0 without any. */
static uint32_t inputs_level(const work *w, const hy__node *node)
{
    uint32_t level = 0;
    for (uint32_t k = 0; k < n_inputs(node); k++) {
        if (is_result(w->g, node->in[k])) {
            level = HY_MAX(level, w->level[w->made_by[node->in[k]]]);
        }
    }
    return level;
}

static void stand_alone(work *w, uint32_t i, hy__rule rule, const char *why)
{
    w->alone[i] = true;
    w->reasons[i] = (hy__reason){rule, false, why};
}

/* The phase of this level that an anchor joins: that of the first matrix, or itself. */
static uint32_t find_group(work *w, uint32_t i, hy__phase_kind kind, uint32_t level)
{
    if (kind != HY__PHASE_MATMUL || !(w->rules >> HY__RULE_GROUP & 1)) {
        return i;
    }
    uint32_t *group = &w->group[2 * level + (w->g->values[w->g->nodes[i].out].cols == HY__PER_OUT)];
    if (*group == NOWHERE) {
        *group = i;
    }
    return *group;
}

/* Whether node i may run behind the phase that computes its last inputs: those come from one phase
 * of an allowed kind, have the shape of the result, and nothing floats. */
static bool may_follow(const work *w, uint32_t i, uint32_t kinds, uint32_t level, uint32_t *phase,
                       const char **why)
{
    const hy__node *node = &w->g->nodes[i];
    const hy__value *out = &w->g->values[node->out];
    *phase = NOWHERE;
    for (uint32_t k = 0; k < n_inputs(node); k++) {
        const hy__value *v = &w->g->values[node->in[k]];
        if (v->kind != HY__RESULT) {
            continue;
        }
        const uint32_t maker = w->made_by[node->in[k]];
        if (w->phase[maker] == NOWHERE) {
            *why = "an input is computed only before another phase";
            return false;
        }
        if (w->level[maker] < level) {
            continue;
        }
        hy__phase_kind kind = HY__PHASE_MAP;
        if (w->alone[w->phase[maker]] || !hy__anchor_kind(w->g->nodes[w->phase[maker]].op, &kind) ||
            !(kinds >> kind & 1)) {
            *why = "the phase of its last input is of another kind";
            return false;
        }
        if (*phase != NOWHERE && *phase != w->phase[maker]) {
            *why = "its last inputs come from different phases";
            return false;
        }
        if (v->n != out->n || v->cols != out->cols) {
            *why = "its last input has another shape";
            return false;
        }
        *phase = w->phase[maker];
    }
    return *phase != NOWHERE;
}

/* Levels, and the phases of everything that does not float. */
static void place_node(work *w, uint32_t i)
{
    const hy__node *node = &w->g->nodes[i];
    const uint32_t level = inputs_level(w, node);
    hy__phase_kind kind;
    w->phase[i] = i;
    w->level[i] = level + 1;
    if (hy__anchor_kind(node->op, &kind)) {
        w->phase[i] = find_group(w, i, kind, level + 1);
        w->reasons[i] = w->phase[i] == i ? (hy__reason){HY__N_RULES, true, NULL}
                                         : (hy__reason){HY__RULE_GROUP, true, NULL};
        return;
    }
    if (w->alone[i]) {
        return;
    }
    const hy__fate fate = hy__rule_for(w->g, w->made_by, i);
    const char *why = "no phase takes it";
    uint32_t phase;
    if (!(w->rules >> fate.rule & 1)) {
        stand_alone(w, i, fate.rule, "the rule is off");
        return;
    }
    if (fate.behind && may_follow(w, i, fate.behind, level, &phase, &why)) {
        w->phase[i] = phase;
        w->level[i] = level;
        w->reasons[i] = (hy__reason){fate.rule, true, NULL};
    } else if (fate.before) {
        w->phase[i] = NOWHERE;
        w->level[i] = level;
        w->reasons[i] = (hy__reason){fate.rule, true, NULL};
    } else {
        stand_alone(w, i, fate.rule, why);
    }
}

/* Finds the phase of every floating node, consumers first.  False if one found none: it is then
 * alone. */
static bool land(work *w, uint32_t *wanted)
{
    bool all = true;
    /* wanted[i]: the phase of all consumers of node i; NOWHERE: none yet */
    for (uint32_t i = 0; i < w->g->n_nodes; i++) {
        wanted[i] = NOWHERE;
    }
    for (uint32_t i = w->g->n_nodes; i-- > 0;) {
        if (w->phase[i] == NOWHERE) {
            hy__phase_kind kind = HY__PHASE_MAP;
            const hy__fate fate = hy__rule_for(w->g, w->made_by, i);
            const uint32_t phase = wanted[i];
            if (phase == NOWHERE || phase == w->g->n_nodes) {
                stand_alone(w, i, fate.rule, "several phases need it");
            } else if (!hy__anchor_kind(w->g->nodes[phase].op, &kind) ||
                       !(fate.before >> kind & 1)) {
                stand_alone(w, i, fate.rule, "the phase that needs it does not take it");
            } else {
                w->phase[i] = phase;
            }
            all = all && !w->alone[i];
        }
        const uint32_t phase = w->alone[i] ? w->g->n_nodes : w->phase[i];
        for (uint32_t k = 0; k < n_inputs(&w->g->nodes[i]); k++) {
            if (is_result(w->g, w->g->nodes[i].in[k])) {
                uint32_t *want = &wanted[w->made_by[w->g->nodes[i].in[k]]];
                *want = *want == NOWHERE || *want == phase ? phase
                                                           : w->g->n_nodes; /* n_nodes: several */
            }
        }
    }
    return all;
}

static void settle(work *w, uint32_t *wanted)
{
    const uint32_t n = w->g->n_nodes;
    do {
        for (uint32_t i = 0; i < 2 * (n + 2); i++) {
            w->group[i] = NOWHERE;
        }
        for (uint32_t i = 0; i < n; i++) {
            place_node(w, i);
        }
    } while (!land(w, wanted));
}

/* ---- writing the result down */

/* Prologue 0, anchor 1, epilogue 2. */
static uint32_t role_of(const work *w, uint32_t i)
{
    hy__phase_kind kind;
    if (w->alone[i] || hy__anchor_kind(w->g->nodes[i].op, &kind)) {
        return 1;
    }
    return w->level[i] < w->level[w->phase[i]] ? 0 : 2;
}

/* Turns how many there are of each of n kinds into where those of each begin. */
static void begins(uint32_t *counts, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t count = counts[i];
        counts[i] = at;
        at += count;
    }
}

/* Phases in the order of their levels, within a level in the order of the graph.  number[i]: that
 * of the phase whose anchor is node i; scratch: [3 * (n_nodes + 2)]. */
static void write_phases(hy__fusion *f, const work *w, uint32_t *number, uint32_t *scratch)
{
    const hy__graph *g = w->g;
    const uint32_t n = g->n_nodes;
    memset(scratch, 0, ((size_t)n + 2) * sizeof *scratch);
    for (uint32_t i = 0; i < n; i++) {
        scratch[w->level[i]] += w->phase[i] == i;
    }
    begins(scratch, n + 2);
    for (uint32_t i = 0; i < n; i++) {
        if (w->phase[i] != i) {
            continue;
        }
        number[i] = scratch[w->level[i]]++;
        hy__phase *p = &f->phases[number[i]];
        *p = (hy__phase){.kind = HY__PHASE_MAP, .layer = g->nodes[i].layer};
        if (!w->alone[i]) {
            (void)hy__anchor_kind(g->nodes[i].op, &p->kind);
        }
        p->cols = g->values[g->nodes[i].out].cols;
        f->n_phases++;
    }
    memset(scratch, 0, 3 * (size_t)f->n_phases * sizeof *scratch);
    for (uint32_t i = 0; i < n; i++) {
        hy__phase *p = &f->phases[number[w->phase[i]]];
        uint32_t *const counts[] = {&p->n_prologue, &p->n_anchor, &p->n_epilogue};
        const uint32_t role = role_of(w, i);
        (*counts[role])++;
        scratch[3 * number[w->phase[i]] + role]++;
    }
    begins(scratch, 3 * f->n_phases);
    for (uint32_t i = 0; i < f->n_phases; i++) {
        f->phases[i].first = scratch[3 * i];
    }
    for (uint32_t i = 0; i < n; i++) {
        f->order[scratch[3 * number[w->phase[i]] + role_of(w, i)]++] = i;
    }
    memcpy(f->reasons, w->reasons, n * sizeof *f->reasons);
}

hy_status hy__fuse(hy__fusion *f, const hy__graph *g, uint32_t rules, hy_error *err)
{
    memset(f, 0, sizeof *f);
    f->env = g->env;
    const uint32_t n = g->n_nodes;
    work w = {.g = g, .rules = rules};
    /* made_by, level, phase, group, wanted (then the phases' numbers), scratch */
    const size_t words = (size_t)g->n_values + 3 * (size_t)n + 5 * ((size_t)n + 2);
    uint32_t *block = hy__calloc(&g->env, words, sizeof *block, err);
    w.alone = block ? hy__calloc(&g->env, n, sizeof *w.alone, err) : NULL;
    w.reasons = w.alone ? hy__calloc(&g->env, n, sizeof *w.reasons, err) : NULL;
    f->phases = w.reasons ? hy__calloc(&g->env, n, sizeof *f->phases, err) : NULL;
    f->order = f->phases ? hy__calloc(&g->env, n, sizeof *f->order, err) : NULL;
    f->reasons = f->order ? hy__calloc(&g->env, n, sizeof *f->reasons, err) : NULL;
    const hy_status status = f->reasons ? HY_OK : HY_E_NOMEM;
    if (status == HY_OK) {
        w.made_by = block;
        w.level = w.made_by + g->n_values;
        w.phase = w.level + n;
        w.group = w.phase + n;
        for (uint32_t i = 0; i < n; i++) {
            w.made_by[g->nodes[i].out] = i;
        }
        uint32_t *wanted = w.group + 2 * ((size_t)n + 2);
        settle(&w, wanted);
        write_phases(f, &w, wanted, wanted + n);
    } else {
        hy__fusion_finish(f);
    }
    hy__free(&g->env, w.reasons);
    hy__free(&g->env, w.alone);
    hy__free(&g->env, block);
    return status;
}

void hy__fusion_finish(hy__fusion *f)
{
    if (f->env.size != 0) {
        hy__free(&f->env, f->phases);
        hy__free(&f->env, f->order);
        hy__free(&f->env, f->reasons);
    }
    memset(f, 0, sizeof *f);
}

hy_status hy__fusion_apply(hy__fusion *f, hy__graph *g, hy_error *err)
{
    hy__node *nodes = hy__alloc(&g->env, g->n_nodes, sizeof *nodes, err);
    hy__reason *reasons = nodes ? hy__alloc(&g->env, g->n_nodes, sizeof *reasons, err) : NULL;
    if (!reasons) {
        hy__free(&g->env, nodes);
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        nodes[i] = g->nodes[f->order[i]];
        reasons[i] = f->reasons[f->order[i]];
        f->order[i] = i; /* every entry is read once, in its own round or before */
    }
    hy__free(&g->env, g->nodes);
    hy__free(&f->env, f->reasons);
    g->nodes = nodes;
    g->cap_nodes = g->n_nodes;
    f->reasons = reasons;
    return HY_OK;
}

/* ---- phases that a backend declines */

static uint32_t n_members(const hy__phase *p)
{
    return p->n_prologue + p->n_anchor + p->n_epilogue;
}

/* Every operation of a phase as a phase of its own; returns how many. */
static uint32_t dissolve(const hy__phase *p, const hy__graph *g, hy__phase *out,
                         hy__reason *reasons)
{
    const uint32_t n = n_members(p);
    for (uint32_t k = 0; k < n; k++) {
        const hy__node *node = &g->nodes[p->first + k];
        out[k] = (hy__phase){.kind = HY__PHASE_MAP,
                             .layer = node->layer,
                             .cols = g->values[node->out].cols,
                             .first = p->first + k,
                             .n_anchor = 1};
        (void)hy__anchor_kind(node->op, &out[k].kind);
        hy__reason *reason = &reasons[p->first + k];
        if (reason->rule != HY__N_RULES) {
            *reason = (hy__reason){reason->rule, false, "the backend declines the phase"};
        }
    }
    return n;
}

hy_status hy__fusion_decline(hy__fusion *f, const hy__graph *g, hy__takes_fn takes, hy_error *err)
{
    hy__phase *phases = hy__calloc(&f->env, g->n_nodes, sizeof *phases, err);
    uint32_t n = 0;
    if (!phases) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < f->n_phases; i++) {
        const hy__phase *p = &f->phases[i];
        if (n_members(p) == 1 || takes(g, p)) {
            phases[n++] = *p; /* a single operation is what declining would make of it */
        } else {
            n += dissolve(p, g, &phases[n], f->reasons);
        }
    }
    hy__free(&f->env, f->phases);
    f->phases = phases;
    f->n_phases = n;
    return HY_OK;
}

static uint32_t count_layer(const hy__fusion *f, uint32_t layer)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_phases; i++) {
        n += f->phases[i].layer == layer;
    }
    return n;
}

uint32_t hy__phases_per_layer(const hy__fusion *f, uint32_t n_layer)
{
    uint32_t most = 0;
    for (uint32_t layer = 0; layer < n_layer; layer++) {
        most = HY_MAX(most, count_layer(f, layer));
    }
    return most;
}

uint32_t hy__phases_outside(const hy__fusion *f)
{
    return count_layer(f, HY__NO_LAYER);
}
