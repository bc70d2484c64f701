/* verify.c: checks a finished graph without trusting whoever built it. */
#include "graph.h"

typedef struct use {
    uint32_t writes; /* operations that compute the value */
    uint32_t reads;
} use;

static hy_status check_node(const hy__graph *g, const hy__node *node, uint32_t i, use *uses,
                            hy_error *err)
{
    hy__shape shape;
    char why[200];
    if ((unsigned)node->op >= HY__N_OPS) {
        return hy__fail(err, HY_E_INTERNAL, "node %u: no such operation (%d)", i, (int)node->op);
    }
    const char *op = hy__ops[node->op].name;
    if (!hy__op_shape(g, node, &shape, why, sizeof why)) {
        return hy__fail(err, HY_E_INTERNAL, "node %u (%s): %s", i, op, why);
    }
    for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
        const hy__value *v = &g->values[node->in[k]];
        if (v->kind == HY__RESULT && uses[node->in[k]].writes == 0) {
            return hy__fail(err, HY_E_INTERNAL, "node %u (%s): %s is used before it is computed", i,
                            op, v->name);
        }
        uses[node->in[k]].reads++;
    }
    if (node->out == 0 || node->out >= g->n_values || g->values[node->out].kind != HY__RESULT) {
        return hy__fail(err, HY_E_INTERNAL, "node %u (%s): has no result", i, op);
    }
    const hy__value *out = &g->values[node->out];
    if (out->cols != shape.cols || out->n != shape.n) {
        return hy__fail(err, HY_E_INTERNAL, "node %u (%s): %s has %u channels, the rule says %u", i,
                        op, out->name, out->n, shape.n);
    }
    if (uses[node->out].writes++ > 0) {
        return hy__fail(err, HY_E_INTERNAL, "node %u (%s): %s is computed twice", i, op, out->name);
    }
    return HY_OK;
}

/* What is wrong with a value that no operation computes, or NULL. */
static const char *flaw_of(const hy__graph *g, hy__id id)
{
    const hy__value *v = &g->values[id];
    uint64_t end;
    switch (v->kind) {
    case HY__WEIGHT:
        if (!v->tensor || v->n == 0 || v->m == 0 ||
            !hy__add_u64(v->first, (uint64_t)v->n * v->m, &end) || end > v->tensor->n_elems) {
            return "is not inside its tensor";
        }
        return v->m > 1 && (v->tensor->ne[0] != v->n || v->first % v->n != 0)
                   ? "does not consist of rows of its tensor"
                   : NULL;
    case HY__CONST:
        return v->data ? NULL : "has no numbers";
    case HY__STATE:
        return v->state < g->n_states && g->states[v->state] == id ? NULL
                                                                   : "is not among the states";
    case HY__TOKENS:
        return id == g->tokens ? NULL : "is a second value of tokens";
    case HY__RESULT:
        return NULL;
    }
    return "is of no kind";
}

static hy_status check_values(const hy__graph *g, const use *uses, hy_error *err)
{
    for (hy__id id = 1; id < g->n_values; id++) {
        const hy__value *v = &g->values[id];
        const char *flaw = flaw_of(g, id);
        if (flaw) {
            return hy__fail(err, HY_E_INTERNAL, "%s %s", v->name, flaw);
        }
        if (v->kind == HY__RESULT && uses[id].writes != 1) {
            return hy__fail(err, HY_E_INTERNAL, "%s is never computed", v->name);
        }
        if (v->kind == HY__STATE && uses[id].reads != 1) {
            /* Two owners of a state would make its value depend on the order in which they run. */
            return hy__fail(err, HY_E_INTERNAL,
                            "state %s is touched by %u operations instead of one", v->name,
                            uses[id].reads);
        }
        if (v->kind == HY__RESULT && uses[id].reads == 0 && id != g->logits) {
            return hy__fail(err, HY_E_INTERNAL, "%s is computed but never used", v->name);
        }
    }
    return HY_OK;
}

hy_status hy__graph_verify(const hy__graph *g, hy_error *err)
{
    if (g->logits == 0 || g->logits >= g->n_values || g->values[g->logits].kind != HY__RESULT ||
        g->values[g->logits].cols != HY__PER_OUT) {
        return hy__fail(err, HY_E_INTERNAL, "the graph has no logits");
    }
    use *uses = hy__calloc(&g->env, g->n_values, sizeof *uses, err);
    if (!uses) {
        return HY_E_NOMEM;
    }
    hy_status status = HY_OK;
    for (uint32_t i = 0; i < g->n_nodes && status == HY_OK; i++) {
        status = check_node(g, &g->nodes[i], i, uses, err);
    }
    if (status == HY_OK) {
        status = check_values(g, uses, err);
    }
    hy__free(&g->env, uses);
    return status;
}
