/* expr.c: from phases to expression trees, and those to text.  Memory belongs to the hy__exprs. */
#include "expr.h"

#include <stdio.h>

hy__reach hy__op_reach(const hy__graph *g, const hy__node *node)
{
    switch (node->op) {
    case HY__OP_LAYER_NORM:
        return HY__REACH_COLUMN;
    case HY__OP_GROUP_NORM:
    case HY__OP_RMS_NORM:
    case HY__OP_L2_NORM:
    case HY__OP_RWKV7_BONUS:
    case HY__OP_ROPE:
        return node->params.group == g->values[node->out].n ? HY__REACH_COLUMN : HY__REACH_GROUP;
    default:
        return HY__REACH_CHANNEL;
    }
}

/* ---- making */

typedef struct maker {
    hy__exprs *x;
    const hy__graph *g;
    uint32_t *made_by;   /* [n_values] node that computes it */
    uint32_t *last_read; /* [n_values] last node that reads it; n_nodes: the caller does */
    uint32_t *seen;      /* [n_values] number of the tree or phase that has it, counted from 1 */
    uint32_t *place;     /* [n_values] in that tree */
    uint32_t n_seen;     /* trees and phases so far */
    uint32_t n_exprs, n_ids;
} maker;

static uint32_t n_inputs(const hy__node *node)
{
    return hy__ops[node->op].n_inputs;
}

static hy__expr *add(maker *m, hy__tree *t, hy__expr_kind kind, hy__id value)
{
    m->seen[value] = m->n_seen;
    m->place[value] = t->n++;
    hy__expr *e = &m->x->exprs[m->n_exprs++];
    *e = (hy__expr){.kind = kind, .value = value};
    return e;
}

static hy__expr_kind leaf_kind(const hy__value *v)
{
    switch (v->kind) {
    case HY__WEIGHT:
        return HY__EXPR_VECTOR;
    case HY__CONST:
        return HY__EXPR_CONST;
    case HY__STATE:
        return HY__EXPR_STATE;
    default:
        return HY__EXPR_COLUMN;
    }
}

/* Nodes first to first + n - 1 as a tree behind `anchors` nodes before them. */
static void make_tree(maker *m, hy__tree *t, uint32_t first, uint32_t n, uint32_t anchors)
{
    m->n_seen++;
    *t = (hy__tree){&m->x->exprs[m->n_exprs], 0};
    const uint32_t end = first + n;
    for (uint32_t i = first - anchors; i < first; i++) {
        hy__expr *e = add(m, t, HY__EXPR_ANCHOR, m->g->nodes[i].out);
        e->node = i;
        e->root = m->last_read[e->value] >= end;
    }
    for (uint32_t i = first; i < end; i++) {
        const hy__node *node = &m->g->nodes[i];
        hy__expr made = {.kind = HY__EXPR_OP, .node = i, .value = node->out};
        for (uint32_t k = 0; k < n_inputs(node); k++) {
            if (m->seen[node->in[k]] != m->n_seen) {
                (void)add(m, t, leaf_kind(&m->g->values[node->in[k]]), node->in[k]);
            }
            made.in[k] = m->place[node->in[k]];
            t->exprs[made.in[k]].uses++;
        }
        made.reach = hy__op_reach(m->g, node);
        made.root = m->last_read[node->out] >= end;
        *add(m, t, HY__EXPR_OP, node->out) = made;
    }
}

/* The list of what nodes first to end - 1 read of one kind, from outside. */
static void make_list(maker *m, hy__ids *list, uint32_t first, uint32_t end, hy__expr_kind kind)
{
    m->n_seen++;
    *list = (hy__ids){&m->x->ids[m->n_ids], 0};
    for (uint32_t i = first; i < end; i++) {
        for (uint32_t k = 0; k < n_inputs(&m->g->nodes[i]); k++) {
            const hy__id id = m->g->nodes[i].in[k];
            const hy__value *v = &m->g->values[id];
            const bool inside = v->kind == HY__RESULT && m->made_by[id] >= first;
            if (!inside && leaf_kind(v) == kind && m->seen[id] != m->n_seen) {
                m->seen[id] = m->n_seen;
                list->ids[list->n++] = id;
            }
        }
    }
    m->n_ids += list->n;
}

static void make_phase(maker *m, const hy__phase *p, hy__phase_exprs *x)
{
    const uint32_t anchors = p->kind == HY__PHASE_MAP ? 0 : p->n_anchor;
    const uint32_t body = p->first + p->n_prologue;
    const uint32_t end = body + p->n_anchor + p->n_epilogue;
    make_tree(m, &x->prologue, p->first, p->n_prologue, 0);
    make_tree(m, &x->epilogue, body + anchors, end - body - anchors, anchors);
    make_list(m, &x->inputs, p->first, end, HY__EXPR_COLUMN);
    make_list(m, &x->weights, p->first, end, HY__EXPR_VECTOR);
    make_list(m, &x->states, p->first, end, HY__EXPR_STATE);
    x->outputs = (hy__ids){&m->x->ids[m->n_ids], 0};
    for (uint32_t i = 0; i < x->epilogue.n; i++) {
        if (x->epilogue.exprs[i].root) {
            x->outputs.ids[x->outputs.n++] = x->epilogue.exprs[i].value;
        }
    }
    m->n_ids += x->outputs.n;
}

hy_status hy__exprs_make(hy__exprs *x, const hy__fusion *f, const hy__graph *g, hy_error *err)
{
    size_t most = g->n_nodes; /* an expression, or an entry of a list, for each result and input */
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        most += n_inputs(&g->nodes[i]);
    }
    *x = (hy__exprs){.env = f->env};
    maker m = {.x = x, .g = g};
    m.made_by = hy__calloc(&x->env, 4 * (size_t)g->n_values, sizeof *m.made_by, err);
    x->phases = m.made_by ? hy__calloc(&x->env, f->n_phases, sizeof *x->phases, err) : NULL;
    x->exprs = x->phases ? hy__alloc(&x->env, most, sizeof *x->exprs, err) : NULL;
    x->ids = x->exprs ? hy__alloc(&x->env, most, sizeof *x->ids, err) : NULL;
    const hy_status status = x->ids ? HY_OK : HY_E_NOMEM;
    if (status == HY_OK) {
        m.last_read = m.made_by + g->n_values;
        m.seen = m.last_read + g->n_values;
        m.place = m.seen + g->n_values;
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            m.made_by[g->nodes[i].out] = i;
            for (uint32_t k = 0; k < n_inputs(&g->nodes[i]); k++) {
                m.last_read[g->nodes[i].in[k]] = i;
            }
        }
        m.last_read[g->logits] = g->n_nodes;
        for (uint32_t i = 0; i < f->n_phases; i++) {
            make_phase(&m, &f->phases[i], &x->phases[i]);
        }
    } else {
        hy__exprs_finish(x);
    }
    hy__free(&g->env, m.made_by);
    return status;
}

void hy__exprs_finish(hy__exprs *x)
{
    if (x->env.size != 0) {
        hy__free(&x->env, x->phases);
        hy__free(&x->env, x->exprs);
        hy__free(&x->env, x->ids);
    }
    memset(x, 0, sizeof *x);
}

/* ---- text */

void hy__expr_name(const hy__graph *g, const hy__phase *p, hy__id id, char *buf, size_t cap)
{
    const hy__value *v = &g->values[id];
    const char *name = v->name;
    char layer[32];
    const int n = snprintf(layer, sizeof layer, "blk.%u.", p->layer);
    if (p->layer != HY__NO_LAYER && strncmp(name, layer, (size_t)n) == 0) {
        name += n;
    }
    if (v->kind == HY__WEIGHT && v->first > 0) {
        snprintf(buf, cap, "%s+%llu", name, (unsigned long long)v->first);
    } else {
        snprintf(buf, cap, "%s", name);
    }
}

bool hy__expr_written(const hy__tree *t, uint32_t i)
{
    const hy__expr *e = &t->exprs[i];
    return e->root || (e->kind == HY__EXPR_OP && e->uses > 1);
}

/* An input, or with `open` the expression itself. */
static hy_status write_expr(const hy__graph *g, const hy__phase *p, const hy__tree *t, uint32_t i,
                            bool open, hy__buf *text, hy_error *err)
{
    const hy__expr *e = &t->exprs[i];
    char part[128];
    if (e->kind == HY__EXPR_ANCHOR) {
        snprintf(part, sizeof part, "anchor%u", i);
    } else if (e->kind != HY__EXPR_OP || (!open && hy__expr_written(t, i))) {
        hy__expr_name(g, p, e->value, part, sizeof part);
    } else {
        const hy__node *node = &g->nodes[e->node];
        snprintf(part, sizeof part, "(%s", hy__ops[node->op].name);
        HY_TRY(hy__buf_append(&g->env, text, part, strlen(part), err));
        if (e->reach == HY__REACH_GROUP) {
            snprintf(part, sizeof part, ":%u", node->params.group);
            HY_TRY(hy__buf_append(&g->env, text, part, strlen(part), err));
        }
        for (uint32_t k = 0; k < n_inputs(node); k++) {
            HY_TRY(hy__buf_append(&g->env, text, " ", 1, err));
            HY_TRY(write_expr(g, p, t, e->in[k], false, text, err));
        }
        snprintf(part, sizeof part, ")");
    }
    return hy__buf_append(&g->env, text, part, strlen(part), err);
}

hy_status hy__expr_text(const hy__graph *g, const hy__phase *p, const hy__tree *t, uint32_t i,
                        hy__buf *text, hy_error *err)
{
    return write_expr(g, p, t, i, true, text, err);
}
