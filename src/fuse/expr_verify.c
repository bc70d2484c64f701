/* expr_verify.c: checks expression trees against the graph without trusting what made them. */
#include "expr.h"

typedef struct check {
    const hy__graph *g;
    uint32_t *reads;   /* [n_values] by all nodes, and by the caller */
    uint32_t *made_by; /* [n_values] node that computes it, n_nodes: none */
    uint32_t *marks;   /* [n_values] of the list at hand */
    uint32_t mark;
    uint32_t phase; /* at hand */
    hy_error *err;
} check;

static hy_status bad(const check *c, hy__id id, const char *what)
{
    return hy__fail(c->err, HY_E_INTERNAL, "trees of phase %u: %s %s", c->phase,
                    id < c->g->n_values ? c->g->values[id].name : "a value", what);
}

/* Nodes of a tree, with this many anchors right before them. */
typedef struct range {
    uint32_t begin, end, anchors;
} range;

static bool leaf_fits(const check *c, const hy__expr *e, const range *r)
{
    const hy__value *v = &c->g->values[e->value];
    const uint32_t node = c->made_by[e->value];
    switch (e->kind) {
    case HY__EXPR_ANCHOR:
        return node == e->node && node < r->begin && node >= r->begin - r->anchors;
    case HY__EXPR_COLUMN:
        return v->kind == HY__RESULT && node < r->begin - r->anchors;
    case HY__EXPR_VECTOR:
        return v->kind == HY__WEIGHT && v->m == 1;
    case HY__EXPR_CONST:
        return v->kind == HY__CONST;
    case HY__EXPR_STATE:
        return v->kind == HY__STATE && e->uses == 1;
    case HY__EXPR_OP:
        break;
    }
    return false;
}

static hy_status check_op(const check *c, const hy__tree *t, uint32_t i, uint32_t node)
{
    const hy__expr *e = &t->exprs[i];
    const hy__node *n = &c->g->nodes[node];
    if (e->node != node || e->value != n->out) {
        return bad(c, e->value, "is not where its operation runs");
    }
    if (e->reach != hy__op_reach(c->g, n)) {
        return bad(c, e->value, "has a wrong reach");
    }
    for (uint32_t k = 0; k < hy__ops[n->op].n_inputs; k++) {
        if (e->in[k] >= i || t->exprs[e->in[k]].value != n->in[k]) {
            return bad(c, e->value, "has an input that the graph does not know");
        }
    }
    return HY_OK;
}

/* Uses of expression i by operations of its own tree. */
static uint32_t count_uses(const check *c, const hy__tree *t, uint32_t i)
{
    uint32_t uses = 0;
    for (uint32_t k = i + 1; k < t->n; k++) {
        const hy__expr *e = &t->exprs[k];
        for (uint32_t j = 0;
             e->kind == HY__EXPR_OP && j < hy__ops[c->g->nodes[e->node].op].n_inputs; j++) {
            uses += e->in[j] == i;
        }
    }
    return uses;
}

static hy_status check_tree(const check *c, const hy__tree *t, const range *r)
{
    uint32_t node = r->begin;
    for (uint32_t i = 0; i < t->n; i++) {
        const hy__expr *e = &t->exprs[i];
        if (e->value == 0 || e->value >= c->g->n_values) {
            return bad(c, e->value, "does not exist");
        }
        const bool op = e->kind == HY__EXPR_OP;
        if (op && node == r->end) {
            return bad(c, e->value, "is an operation of another place");
        }
        if (op) {
            HY_TRY(check_op(c, t, i, node++));
        } else if (!leaf_fits(c, e, r)) {
            return bad(c, e->value, "is a leaf that does not exist before its tree");
        }
        if ((i < r->anchors) != (e->kind == HY__EXPR_ANCHOR) ||
            (i < r->anchors && e->node != r->begin - r->anchors + i)) {
            return bad(c, e->value, "is not in the place of an anchor");
        }
        if (e->uses != count_uses(c, t, i) || (e->uses == 0 && !op && i >= r->anchors)) {
            return bad(c, e->value, "is not used as often as it says");
        }
        const bool wanted = c->reads[e->value] > e->uses;
        if ((op || i < r->anchors) ? e->root != wanted : e->root) {
            return bad(c, e->value, wanted ? "is read outside and no root" : "is no root");
        }
    }
    return node == r->end ? HY_OK : bad(c, c->g->nodes[node].out, "is in no tree");
}

/* The list holds each value of a kind that nodes first to end - 1 read from outside, and no
 * other. */
static hy_status check_list(check *c, const hy__ids *list, uint32_t first, uint32_t end,
                            bool (*wanted)(const hy__value *v))
{
    uint32_t found = 0;
    const uint32_t listed = ++c->mark, counted = ++c->mark;
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->ids[i] >= c->g->n_values || c->marks[list->ids[i]] == listed) {
            return bad(c, list->ids[i], "is listed twice");
        }
        c->marks[list->ids[i]] = listed;
    }
    for (uint32_t i = first; i < end; i++) {
        const hy__node *node = &c->g->nodes[i];
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
            const hy__id id = node->in[k];
            const bool inside = c->made_by[id] >= first && c->made_by[id] < end;
            if (!wanted(&c->g->values[id]) || inside) {
                continue;
            }
            if (c->marks[id] != listed && c->marks[id] != counted) {
                return bad(c, id, "is read and not listed");
            }
            found += c->marks[id] == listed;
            c->marks[id] = counted;
        }
    }
    return found == list->n ? HY_OK
                            : bad(c, list->ids[0], "is in a list with one that is not read");
}

static bool is_column(const hy__value *v)
{
    return v->kind == HY__RESULT || v->kind == HY__TOKENS;
}

static bool is_weight(const hy__value *v)
{
    return v->kind == HY__WEIGHT;
}

static bool is_state(const hy__value *v)
{
    return v->kind == HY__STATE;
}

static hy_status check_phase(check *c, const hy__phase *p, const hy__phase_exprs *x)
{
    const uint32_t anchors = p->kind == HY__PHASE_MAP ? 0 : p->n_anchor;
    const uint32_t body = p->first + p->n_prologue;
    const uint32_t end = body + p->n_anchor + p->n_epilogue;
    HY_TRY(check_tree(c, &x->prologue, &(range){p->first, body, 0}));
    HY_TRY(check_tree(c, &x->epilogue, &(range){body + anchors, end, anchors}));
    HY_TRY(check_list(c, &x->inputs, p->first, end, is_column));
    HY_TRY(check_list(c, &x->weights, p->first, end, is_weight));
    HY_TRY(check_list(c, &x->states, p->first, end, is_state));
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->epilogue.n; i++) {
        const hy__expr *e = &x->epilogue.exprs[i];
        if (e->root && (n == x->outputs.n || x->outputs.ids[n++] != e->value)) {
            return bad(c, e->value, "leaves the phase and is not listed");
        }
    }
    return n == x->outputs.n ? HY_OK : bad(c, x->outputs.ids[n], "is listed and does not leave");
}

hy_status hy__exprs_verify(const hy__exprs *x, const hy__fusion *f, const hy__graph *g,
                           hy_error *err)
{
    check c = {.g = g, .err = err};
    c.reads = hy__calloc(&g->env, 3 * (size_t)g->n_values, sizeof *c.reads, err);
    if (!c.reads) {
        return HY_E_NOMEM;
    }
    c.made_by = c.reads + g->n_values;
    c.marks = c.made_by + g->n_values;
    for (hy__id id = 0; id < g->n_values; id++) {
        c.made_by[id] = g->n_nodes;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        c.made_by[g->nodes[i].out] = i;
        for (uint32_t k = 0; k < hy__ops[g->nodes[i].op].n_inputs; k++) {
            c.reads[g->nodes[i].in[k]]++;
        }
    }
    c.reads[g->logits]++;
    hy_status status = HY_OK;
    for (c.phase = 0; c.phase < f->n_phases && status == HY_OK; c.phase++) {
        status = check_phase(&c, &f->phases[c.phase], &x->phases[c.phase]);
    }
    hy__free(&g->env, c.reads);
    return status;
}
