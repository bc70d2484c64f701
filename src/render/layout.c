/* layout.c: what all dialects have in common: see render.h.  Memory belongs to the hy__layout. */
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

static void take(uint32_t *total, uint32_t *place, uint32_t n)
{
    *place = *total;
    *total += n;
}

static void place_all(hy__layout *l)
{
    for (uint32_t i = 0; i < l->t->n; i++) {
        const hy__expr *e = &l->t->exprs[i];
        const uint32_t n = l->g->values[e->value].n;
        if (e->kind == HY__EXPR_VECTOR) {
            take(&l->n_vectors, &l->place[i], n);
        } else if (e->kind == HY__EXPR_STATE) {
            take(&l->n_states, &l->place[i], n);
        } else if (e->kind == HY__EXPR_ANCHOR) {
            take(&l->n_anchors, &l->place[i], n);
        } else if (e->kind == HY__EXPR_OP && e->root) {
            take(&l->n_roots, &l->place[i], n);
        }
    }
}

hy_status hy__layout_make(hy__layout *l, const hy__graph *g, const hy__phase *p, const hy__tree *t,
                          bool epilogue, const hy__formula *formulas, hy_error *err)
{
    const size_t n = (size_t)t->n + 1;
    *l = (hy__layout){.g = g, .p = p, .t = t, .epilogue = epilogue, .n_slots = 1};
    l->called = hy__calloc(&g->env, n, sizeof *l->called, err);
    l->back = l->called ? hy__calloc(&g->env, 3 * n, sizeof *l->back, err) : NULL;
    l->parts = l->back ? hy__calloc(&g->env, n, sizeof *l->parts, err) : NULL;
    if (!l->parts) {
        hy__layout_finish(l);
        return HY_E_NOMEM;
    }
    l->place = l->back + n;
    l->part = l->place + n;
    mark_called(l, formulas);
    make_parts(l, formulas);
    place_all(l);
    if (l->n_states > 0 && p->cols == HY__PER_OUT) {
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

hy_status hy__render(const char *dialect, const hy__graph *g, const hy__phase *p,
                     const hy__phase_exprs *x, bool epilogue, hy__buf *text, hy_error *err)
{
    static const hy__dialect *const dialects[] = {&hy__dialect_wgsl};
    for (size_t i = 0; i < HY_COUNT(dialects); i++) {
        if (strcmp(dialects[i]->name, dialect) == 0) {
            hy__layout l;
            HY_TRY(hy__layout_make(&l, g, p, epilogue ? &x->epilogue : &x->prologue, epilogue,
                                   dialects[i]->formulas, err));
            const hy_status status = l.n_ops > 0 ? dialects[i]->render(&l, text, err) : HY_OK;
            hy__layout_finish(&l);
            return status;
        }
    }
    return hy__fail(err, HY_E_NOT_FOUND, "kernels are not rendered in \"%.60s\", only in wgsl",
                    dialect);
}
