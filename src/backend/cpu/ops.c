/* ops.c: what an operation that is no matrix and keeps no matrix state computes, for a range of
 * columns and channels.
 *
 * The arithmetic is that of the vector functions (vec.h); here is where the numbers lie.  Called by
 * all threads of a session, each with ranges of its own. */
#include "cpu.h"

#include "quant/quant.h"

typedef void (*op_fn)(hy__cpu_session *s, const hy__node *node, hy__cpu_range r);

/* Channel c of column t of a node's input (a vector has one column), or of its result. */
static float *at(const hy__cpu_session *s, hy__id id, uint32_t t, uint32_t c)
{
    const hy__value *v = &s->model->g->values[id];
    return hy__cpu_data(s, id) + (v->kind == HY__RESULT ? (size_t)t * v->n : 0) + c;
}

/* ---- element-wise: what each of them is called with, column by column */

#define X0 at(s, node->in[0], t, r.c0)
#define X1 at(s, node->in[1], t, r.c0)
#define X2 at(s, node->in[2], t, r.c0)
#define ELEMENTWISE(name, ...)                                                                     \
    static void op_##name(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)               \
    {                                                                                              \
        for (uint32_t t = r.t0; t < r.t1; t++) {                                                   \
            s->model->vec->name(at(s, node->out, t, r.c0), __VA_ARGS__, r.c1 - r.c0);              \
        }                                                                                          \
    }
ELEMENTWISE(add, X0, X1)
ELEMENTWISE(mul, X0, X1)
ELEMENTWISE(lerp, X0, X1, X2)
ELEMENTWISE(tanh, X0)
ELEMENTWISE(sigmoid, X0)
ELEMENTWISE(silu, X0)
ELEMENTWISE(relu2, X0)
ELEMENTWISE(rwkv7_decay, X0)
ELEMENTWISE(rwkv7_key, X0, X1, X2)
#undef ELEMENTWISE
#undef X0
#undef X1
#undef X2

/* ---- by groups of channels */

static uint32_t group_of(const hy__cpu_session *s, const hy__node *node)
{
    const uint32_t group = node->params.group;
    return group ? group : s->model->g->values[node->out].n;
}

#define EACH_GROUP(s, node, r, t, c, group)                                                        \
    for (uint32_t t = (r).t0; t < (r).t1; t++)                                                     \
        for (uint32_t c = (r).c0; c < (r).c1; c += (group))

static void op_group_norm(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const uint32_t group = group_of(s, node);
    EACH_GROUP(s, node, r, t, c, group)
    {
        s->model->vec->layer_norm(at(s, node->out, t, c), at(s, node->in[0], t, c),
                                  at(s, node->in[1], t, c), at(s, node->in[2], t, c), group,
                                  node->params.eps);
    }
}

static void op_layer_norm(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    op_group_norm(s, node, r); /* one group: the whole column */
}

static void op_rms_norm(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const uint32_t group = group_of(s, node);
    EACH_GROUP(s, node, r, t, c, group)
    {
        s->model->vec->rms_norm(at(s, node->out, t, c), at(s, node->in[0], t, c),
                                at(s, node->in[1], t, 0), group, node->params.eps);
    }
}

static void op_l2_norm(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const uint32_t group = group_of(s, node);
    EACH_GROUP(s, node, r, t, c, group)
    {
        s->model->vec->l2_norm(at(s, node->out, t, c), at(s, node->in[0], t, c), group,
                               node->params.eps);
    }
}

static void op_rwkv7_bonus(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const uint32_t group = group_of(s, node);
    EACH_GROUP(s, node, r, t, c, group)
    {
        s->model->vec->rwkv7_bonus(at(s, node->out, t, c), at(s, node->in[0], t, c),
                                   at(s, node->in[1], t, c), at(s, node->in[2], t, c),
                                   at(s, node->in[3], t, c), at(s, node->in[4], t, c), group);
    }
}

static const hy__cpu_rope *rope_of(const hy__cpu_session *s, const hy__node *node)
{
    uint32_t i = 0; /* session.c made one for every node */
    while (s->ropes[i].freqs != node->in[1] || s->ropes[i].scale != node->params.scale) {
        i++;
    }
    return &s->ropes[i];
}

static void op_rope(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const uint32_t group = group_of(s, node);
    const hy__cpu_rope *rope = rope_of(s, node);
    EACH_GROUP(s, node, r, t, c, group)
    {
        s->model->vec->rope(at(s, node->out, t, c), at(s, node->in[0], t, c),
                            rope->cs + (size_t)t * rope->n_pairs * 2, group, node->params.n_rot,
                            node->params.half_split);
    }
}

/* ---- across columns */

static void op_token_shift(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const size_t bytes = (r.c1 - r.c0) * sizeof(float);
    for (uint32_t t = r.t0; t < r.t1; t++) {
        memcpy(at(s, node->out, t, r.c0),
               t == 0 ? hy__cpu_state(s, node->in[1], false) + r.c0
                      : at(s, node->in[0], t - 1, r.c0),
               bytes);
        if (t + 1 == s->args.n) {
            memcpy(hy__cpu_state(s, node->in[1], true) + r.c0, at(s, node->in[0], t, r.c0), bytes);
        }
    }
}

static void op_select(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    for (uint32_t t = r.t0; t < r.t1; t++) {
        memcpy(at(s, node->out, t, r.c0), at(s, node->in[0], s->args.n - s->args.n_out + t, r.c0),
               (r.c1 - r.c0) * sizeof(float));
    }
}

/* Rows are decoded whole: ranges are all channels. */
static void op_embed(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    const hy__value *table = &s->model->g->values[node->in[0]];
    const hy_type_info *t = hy_type_find((uint32_t)table->tensor->type);
    const size_t row_bytes = (size_t)table->n / t->block_elems * t->block_bytes;
    for (uint32_t i = r.t0; i < r.t1; i++) {
        const char *row = (const char *)table->tensor->data + row_bytes * (size_t)s->args.tokens[i];
        /* Type and length were checked when the graph was built. */
        (void)hy_dequantize(table->tensor->type, row, at(s, node->out, i, 0), table->n, NULL);
    }
}

/* Anchors are the work of matmul.c and heads.c. */
#define op_matmul NULL
#define op_wkv7 NULL
#define op_attention NULL
static const op_fn functions[HY__N_OPS] = {
#define HY_OP(name, lower, arity, summary) [HY__OP_##name] = op_##lower,
#include "graph/ops.inc"
#undef HY_OP
};

void hy__cpu_op(hy__cpu_session *s, const hy__node *node, hy__cpu_range r)
{
    functions[node->op](s, node, r);
}

bool hy__cpu_crosses_columns(hy__opcode op)
{
    return op == HY__OP_TOKEN_SHIFT || op == HY__OP_SELECT;
}
