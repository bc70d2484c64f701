/* layout.c: what does not depend on the language: see render.h.  Memory belongs to the hy__layout.
 */
#include "render.h"

static const hy__node *node_of(const hy__layout *l, uint32_t i)
{
    return &l->g->nodes[l->t->exprs[i].node];
}

static bool is_op(const hy__layout *l, uint32_t i)
{
    return l->t->exprs[i].kind == HY__EXPR_OP;
}

uint32_t hy__layout_group(const hy__layout *l, uint32_t i)
{
    const hy__node *node = node_of(l, i);
    return l->t->exprs[i].reach == HY__REACH_GROUP ? node->params.group : l->g->values[node->out].n;
}

/* Whether a sum of the formula needs input k. */
static bool summed(const hy__formula *f, uint32_t k)
{
    const char name[3] = {'$', (char)('0' + k), '\0'};
    for (int s = 0; s < 2; s++) {
        if (f->term[s] && strstr(f->term[s], name)) {
            return true;
        }
    }
    return false;
}

/* Inputs of functions and sums are functions too, and inputs of a shift are needed a column
 * earlier. */
static void mark_called(hy__layout *l, const hy__formula *formulas)
{
    for (uint32_t i = l->t->n; i-- > 0;) {
        if (!is_op(l, i)) {
            continue;
        }
        const hy__node *node = node_of(l, i);
        const bool moves = formulas[node->op].value == NULL;
        l->called[i] = l->called[i] || node->op == HY__OP_ROPE;
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
            const uint32_t in = l->t->exprs[i].in[k];
            l->called[in] =
                l->called[in] || l->called[i] || moves || summed(&formulas[node->op], k);
            l->back[in] =
                HY_MAX(l->back[in], l->back[i] + (node->op == HY__OP_TOKEN_SHIFT && k == 0));
        }
        if (formulas[node->op].term[0]) {
            l->n_slots = HY_MAX(l->n_slots, l->back[i] + 1);
        }
    }
}

/* A workgroup takes one group, if all that looks at groups looks at the same; or whole columns. */
static void widen(hy__part *part, uint32_t group)
{
    part->span = part->span == 0 || part->span == group ? group : part->n;
}

static void make_parts(hy__layout *l, const hy__formula *formulas)
{
    for (uint32_t i = 0; i < l->t->n; i++) {
        if (!is_op(l, i)) {
            continue;
        }
        const uint32_t n = l->g->values[l->t->exprs[i].value].n;
        uint32_t k = 0;
        while (k < l->n_parts && l->parts[k].n != n) {
            k++;
        }
        if (k == l->n_parts) {
            l->parts[l->n_parts++] = (hy__part){n, 0};
        }
        l->part[i] = k;
        if (formulas[node_of(l, i)->op].term[0]) {
            widen(&l->parts[k], hy__layout_group(l, i));
        }
        l->n_ops++;
    }
    /* A rotation needs its partner's sums, but none of its own. */
    for (uint32_t i = 0; i < l->t->n; i++) {
        if (is_op(l, i) && node_of(l, i)->op == HY__OP_ROPE && l->parts[l->part[i]].span > 0) {
            widen(&l->parts[l->part[i]], hy__layout_group(l, i));
        }
    }
}

/* A step of one token needs no column before its own. */
static void make_single(hy__layout *l)
{
    memset(l->back, 0, l->t->n * sizeof *l->back);
    l->n_slots = 1;
}

static bool keeps_state(const hy__layout *l)
{
    for (uint32_t i = 0; i < l->t->n; i++) {
        if (l->t->exprs[i].kind == HY__EXPR_STATE) {
            return true;
        }
    }
    return false;
}

hy_status hy__layout_make(hy__layout *l, const hy__graph *g, const hy__phase *p,
                          const hy__phase_exprs *x, bool epilogue, bool single, bool roots,
                          hy_error *err)
{
    const hy__tree *t = epilogue ? &x->epilogue : &x->prologue;
    const size_t n = (size_t)t->n + 1;
    *l = (hy__layout){.g = g, .p = p, .t = t, .epilogue = epilogue, .single = single, .n_slots = 1};
    l->called = hy__calloc(&g->env, n, sizeof *l->called, err);
    l->back = l->called ? hy__calloc(&g->env, 2 * n, sizeof *l->back, err) : NULL;
    l->parts = l->back ? hy__calloc(&g->env, n, sizeof *l->parts, err) : NULL;
    if (!l->parts) {
        hy__layout_finish(l);
        return HY_E_NOMEM;
    }
    l->part = l->back + n;
    for (uint32_t i = 0; i < t->n; i++) {
        l->called[i] = roots && t->exprs[i].root;
    }
    mark_called(l, hy__wgsl_formulas);
    make_parts(l, hy__wgsl_formulas);
    if (single) {
        make_single(l);
    }
    if (p->cols == HY__PER_OUT && keeps_state(l)) {
        hy__layout_finish(l);
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "a state is kept in a phase that computes only some columns");
    }
    return HY_OK;
}

void hy__layout_finish(hy__layout *l)
{
    hy__free(&l->g->env, l->parts);
    hy__free(&l->g->env, l->back);
    hy__free(&l->g->env, l->called);
    *l = (hy__layout){.g = l->g};
}
