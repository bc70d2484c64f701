/* graph.c: making a graph.  Memory belongs to the graph; one thread builds it. */
#include "graph.h"

#include <stdio.h>

const hy__op_info hy__ops[HY__N_OPS] = {
#define HY_OP(name, lower, arity, summary) [HY__OP_##name] = {#lower, summary, arity},
#include "ops.inc"
#undef HY_OP
};

void hy__graph_init(hy__graph *g, const hy_env *env)
{
    memset(g, 0, sizeof *g);
    g->env = *env;
    g->n_values = 1; /* id 0 is no value */
}

void hy__graph_finish(hy__graph *g)
{
    for (uint32_t i = 1; i < g->n_values; i++) {
        hy__free(&g->env, g->values[i].data);
    }
    hy__free(&g->env, g->values);
    hy__free(&g->env, g->nodes);
    hy__free(&g->env, g->states);
    memset(g, 0, sizeof *g);
}

/* Room for one more of *items, which hold n of cap. */
static bool grow(const hy_env *env, void **items, uint32_t n, uint32_t *cap, size_t elem,
                 hy_error *err)
{
    if (n < *cap) {
        return true;
    }
    const uint32_t more = *cap ? *cap * 2 : 64;
    void *p = hy__realloc(env, *items, more, elem, err);
    if (!p) {
        return false;
    }
    *items = p;
    *cap = more;
    return true;
}

static hy__value *add_value(hy__graph *g, const char *name, hy__kind kind, hy_error *err)
{
    void *values = g->values;
    if (!grow(&g->env, &values, g->n_values, &g->cap_values, sizeof *g->values, err)) {
        return NULL;
    }
    g->values = values;
    hy__value *v = &g->values[g->n_values++];
    memset(v, 0, sizeof *v);
    snprintf(v->name, sizeof v->name, "%s", name);
    v->kind = kind;
    v->m = 1;
    return v;
}

static hy__id id_of(const hy__graph *g, const hy__value *v)
{
    return (hy__id)(v - g->values);
}

hy__id hy__graph_add_weight(hy__graph *g, const hy_gguf_tensor *t, uint64_t first, uint32_t n,
                            uint32_t m, hy_error *err)
{
    hy__value *v = add_value(g, t->name, HY__WEIGHT, err);
    if (!v) {
        return 0;
    }
    v->tensor = t;
    v->first = first;
    v->n = n;
    v->m = m;
    return id_of(g, v);
}

hy__id hy__graph_add_const(hy__graph *g, const char *name, uint32_t n, hy_error *err)
{
    hy__value *v = add_value(g, name, HY__CONST, err);
    if (!v) {
        return 0;
    }
    v->n = n;
    v->data = hy__calloc(&g->env, n, sizeof *v->data, err);
    return v->data ? id_of(g, v) : 0;
}

hy__id hy__graph_add_state(hy__graph *g, const char *name, uint32_t n, bool per_position,
                           hy_error *err)
{
    void *states = g->states;
    if (!grow(&g->env, &states, g->n_states, &g->cap_states, sizeof *g->states, err)) {
        return 0;
    }
    g->states = states;
    hy__value *v = add_value(g, name, HY__STATE, err);
    if (!v) {
        return 0;
    }
    v->n = n;
    v->per_position = per_position;
    v->state = g->n_states;
    g->states[g->n_states++] = id_of(g, v);
    return id_of(g, v);
}

hy__id hy__graph_add_tokens(hy__graph *g, hy_error *err)
{
    hy__value *v = add_value(g, "tokens", HY__TOKENS, err);
    if (!v) {
        return 0;
    }
    v->n = 1;
    v->cols = HY__PER_T;
    g->tokens = id_of(g, v);
    return g->tokens;
}

hy__id hy__graph_add_op(hy__graph *g, hy__opcode op, uint32_t layer, const char *name,
                        const hy__id *in, const hy__params *params, hy_error *err)
{
    hy__node node = {.op = op, .layer = layer};
    memcpy(node.in, in, hy__ops[op].n_inputs * sizeof *in);
    if (params) {
        node.params = *params;
    }
    hy__shape shape;
    char why[200];
    if (!hy__op_shape(g, &node, &shape, why, sizeof why)) {
        hy__fail(err, HY_E_FORMAT, "%s (%s): %s", name, hy__ops[op].name, why);
        return 0;
    }
    void *nodes = g->nodes;
    if (!grow(&g->env, &nodes, g->n_nodes, &g->cap_nodes, sizeof *g->nodes, err)) {
        return 0;
    }
    g->nodes = nodes;
    hy__value *v = add_value(g, name, HY__RESULT, err);
    if (!v) {
        return 0;
    }
    v->cols = shape.cols;
    v->n = shape.n;
    node.out = id_of(g, v);
    g->nodes[g->n_nodes++] = node;
    return node.out;
}
