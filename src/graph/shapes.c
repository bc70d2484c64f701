/* shapes.c: what each operation asks of its inputs, and the shape of its result.  Pure functions.
 *
 * Builder and verifier both use these rules; hyper-parameters of hostile files end here at the
 * latest. */
#include "graph.h"

#include <stdio.h>

typedef struct rule {
    const hy__graph *g;
    const hy__node *node;
    hy__shape *out;
    char *why;
    size_t why_cap;
} rule;

static const hy__value *input(const rule *r, uint32_t i)
{
    return &r->g->values[r->node->in[i]];
}

HY_PRINTF(2, 3)
static bool refuse(const rule *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->why, r->why_cap, fmt, args);
    va_end(args);
    return false;
}

static bool result(const rule *r, hy__cols cols, uint32_t n)
{
    r->out->cols = cols;
    r->out->n = n;
    return true;
}

/* Input i is computed, a column per token (or per output). */
static bool want_columns(const rule *r, uint32_t i)
{
    const hy__value *v = input(r, i);
    return (v->kind == HY__RESULT && v->cols != HY__ONE && v->n > 0) ||
           refuse(r, "input %u (%s) is not computed per token", i, v->name);
}

/* Input i is computed, a column per token.  What depends on the position or keeps a state has to
 * see every token, not only those whose logits are wanted. */
static bool want_tokens(const rule *r, uint32_t i)
{
    const hy__value *v = input(r, i);
    return want_columns(r, i) &&
           (v->cols == HY__PER_T || refuse(r, "input %u (%s) leaves out tokens", i, v->name));
}

/* Input i is computed and of the same shape as input 0. */
static bool want_like_first(const rule *r, uint32_t i)
{
    const hy__value *a = input(r, 0), *b = input(r, i);
    if (!want_columns(r, i)) {
        return false;
    }
    return (a->n == b->n && a->cols == b->cols) ||
           refuse(r, "%s has %u channels, %s has %u", a->name, a->n, b->name, b->n);
}

/* Input i is a weight vector of n elements. */
static bool want_vector(const rule *r, uint32_t i, uint32_t n)
{
    const hy__value *v = input(r, i);
    return (v->kind == HY__WEIGHT && v->m == 1 && v->n == n) ||
           refuse(r, "%s must be a vector of %u elements", v->name, n);
}

static bool want_vector_or_like_first(const rule *r, uint32_t i)
{
    return input(r, i)->kind == HY__WEIGHT ? want_vector(r, i, input(r, 0)->n)
                                           : want_like_first(r, i);
}

/* Input 0 is computed, and the channels divide into groups. */
static bool want_groups(const rule *r)
{
    const uint32_t group = r->node->params.group;
    if (!want_columns(r, 0)) {
        return false;
    }
    return (group > 0 && input(r, 0)->n % group == 0) ||
           refuse(r, "%u channels do not divide into groups of %u", input(r, 0)->n, group);
}

static bool want_state(const rule *r, uint32_t i, uint64_t n, bool per_position)
{
    const hy__value *v = input(r, i);
    return (v->kind == HY__STATE && v->n == n && v->per_position == per_position) ||
           refuse(r, "%s must be a state of %llu elements", v->name, (unsigned long long)n);
}

static bool like_first(const rule *r)
{
    return result(r, input(r, 0)->cols, input(r, 0)->n);
}

static bool shape_embed(const rule *r)
{
    const hy__value *table = input(r, 0);
    if (table->kind != HY__WEIGHT || input(r, 1)->kind != HY__TOKENS) {
        return refuse(r, "needs a table and the tokens");
    }
    return result(r, HY__PER_T, table->n);
}

static bool shape_layer_norm(const rule *r)
{
    return want_columns(r, 0) && want_vector(r, 1, input(r, 0)->n) &&
           want_vector(r, 2, input(r, 0)->n) && like_first(r);
}

static bool shape_group_norm(const rule *r)
{
    return want_groups(r) && shape_layer_norm(r);
}

static bool shape_rms_norm(const rule *r)
{
    return want_groups(r) && want_vector(r, 1, r->node->params.group) && like_first(r);
}

static bool shape_l2_norm(const rule *r)
{
    return want_groups(r) && like_first(r);
}

static bool shape_token_shift(const rule *r)
{
    return want_tokens(r, 0) && want_state(r, 1, input(r, 0)->n, false) && like_first(r);
}

static bool shape_lerp(const rule *r)
{
    return want_columns(r, 0) && want_like_first(r, 1) && want_vector_or_like_first(r, 2) &&
           like_first(r);
}

static bool shape_matmul(const rule *r)
{
    const hy__value *w = input(r, 0), *x = input(r, 1);
    if (w->kind != HY__WEIGHT || !want_columns(r, 1)) {
        return refuse(r, "needs a matrix and columns");
    }
    if (w->n != x->n) {
        return refuse(r, "%s takes %u inputs, %s has %u channels", w->name, w->n, x->name, x->n);
    }
    return result(r, x->cols, w->m);
}

static bool shape_add(const rule *r)
{
    return want_columns(r, 0) && want_vector_or_like_first(r, 1) && like_first(r);
}

static bool shape_mul(const rule *r)
{
    return shape_add(r);
}

static bool shape_unary(const rule *r)
{
    return want_columns(r, 0) && like_first(r);
}
#define shape_tanh shape_unary
#define shape_sigmoid shape_unary
#define shape_silu shape_unary
#define shape_relu2 shape_unary
#define shape_rwkv7_decay shape_unary

static bool shape_rwkv7_key(const rule *r)
{
    return want_columns(r, 0) && want_like_first(r, 1) && want_vector(r, 2, input(r, 0)->n) &&
           like_first(r);
}

static bool shape_wkv7(const rule *r)
{
    if (!want_tokens(r, 0)) {
        return false;
    }
    for (uint32_t i = 0; i < 6; i++) {
        if (!want_like_first(r, i)) {
            return false;
        }
    }
    return want_groups(r) &&
           want_state(r, 6, (uint64_t)input(r, 0)->n * r->node->params.group, false) &&
           like_first(r);
}

static bool shape_rwkv7_bonus(const rule *r)
{
    if (!want_tokens(r, 0)) {
        return false;
    }
    for (uint32_t i = 0; i < 4; i++) {
        if (!want_like_first(r, i)) {
            return false;
        }
    }
    return want_groups(r) && want_vector(r, 4, input(r, 0)->n) && like_first(r);
}

static bool shape_rope(const rule *r)
{
    const hy__params *p = &r->node->params;
    if (!want_tokens(r, 0) || !want_groups(r)) {
        return false;
    }
    if (p->n_rot == 0 || p->n_rot % 2 != 0 || p->n_rot > p->group ||
        input(r, 1)->kind != HY__CONST || input(r, 1)->n != p->n_rot / 2) {
        return refuse(r, "cannot rotate %u of %u channels with %u frequencies", p->n_rot, p->group,
                      input(r, 1)->n);
    }
    return like_first(r);
}

static bool shape_attention(const rule *r)
{
    const hy__params *p = &r->node->params;
    if (!want_tokens(r, 0) || !want_tokens(r, 1) || !want_tokens(r, 2)) {
        return false;
    }
    const hy__value *q = input(r, 0), *k = input(r, 1), *v = input(r, 2);
    if (p->n_head == 0 || p->n_head_kv == 0 || p->n_head % p->n_head_kv != 0 ||
        q->n % p->n_head != 0 || k->n % p->n_head_kv != 0 || v->n % p->n_head_kv != 0 ||
        q->n / p->n_head != k->n / p->n_head_kv) {
        return refuse(
            r, "%u query heads in %u channels do not go with %u key heads in %u and values in %u",
            p->n_head, q->n, p->n_head_kv, k->n, v->n);
    }
    return want_state(r, 3, k->n, true) && want_state(r, 4, v->n, true) &&
           result(r, q->cols, v->n / p->n_head_kv * p->n_head);
}

static bool shape_select(const rule *r)
{
    return want_tokens(r, 0) && result(r, HY__PER_OUT, input(r, 0)->n);
}

bool hy__op_shape(const hy__graph *g, const hy__node *node, hy__shape *out, char *why,
                  size_t why_cap)
{
    const rule r = {g, node, out, why, why_cap};
    for (uint32_t i = 0; i < hy__ops[node->op].n_inputs; i++) {
        if (node->in[i] == 0 || node->in[i] >= g->n_values) {
            return refuse(&r, "input %u is missing", i);
        }
    }
    switch (node->op) {
#define HY_OP(name, lower, arity, summary)                                                         \
    case HY__OP_##name:                                                                            \
        return shape_##lower(&r);
#include "ops.inc"
#undef HY_OP
    case HY__N_OPS:
        break;
    }
    return refuse(&r, "no such operation");
}
