/* traced.c: see traced.h. */
#include "support/traced.h"

#include "backend/backend.h"
#include "halyard/types.h"

static void record(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                   const float *data)
{
    traced *t = user;
    (void)layer;
    assert_string_equal(name, t->l.graph.values[t->l.graph.nodes[t->n_traced].out].name);
    float *copy = malloc((size_t)n * n_cols * sizeof *copy);
    memcpy(copy, data, (size_t)n * n_cols * sizeof *copy);
    t->results[t->n_traced++] = copy;
}

void traced_run(traced *t, const char *path, uint32_t rules)
{
    static const hy_token ids[TRACED_BEFORE + TRACED_TOKENS] = {34, 5, 17, 30, 9, 9, 21};
    const hy__backend_model_opts none = {0};
    const hy__backend_opts opts = {
        .n_ctx = 16, .n_batch = TRACED_TOKENS, .n_threads = 1, .all_logits = true};
    hy_env env;
    hy_error err;
    void *model, *session;
    atomic_bool cancel;
    atomic_init(&cancel, false);
    hy__env_resolve(&env, NULL);
    memset(t, 0, sizeof *t);
    fused_load(&t->l, path, rules);
    const hy__graph *g = &t->l.graph;
    assert_ok(hy__plan_make(&t->plan, g, &t->l.fusion, &err), &err);
    const hy__backend *ref = &hy__backend_ref;
    assert_ok(ref->model_create(g, &t->l.fusion, &t->l.exprs, &t->plan, &none, &env, &model, &err),
              &err);
    assert_ok(ref->session_create(model, &opts, &session, &err), &err);
    t->results = calloc(g->n_nodes, sizeof *t->results);
    t->state_old = calloc(t->plan.recurrent + 1, sizeof *t->state_old);
    t->state_new = calloc(t->plan.recurrent + 1, sizeof *t->state_new);
    float *logits = calloc((size_t)TRACED_OUTPUTS * g->values[g->logits].n, sizeof *logits);
    hy__step_args args = {
        .tokens = ids, .n = TRACED_BEFORE, .n_out = 1, .logits = logits, .cancel = &cancel};
    assert_ok(ref->step(session, &args, &err), &err);
    ref->commit(session);
    assert_ok(ref->state_read(session, 0, t->state_old, &err), &err);
    args = (hy__step_args){.tokens = ids + TRACED_BEFORE,
                           .n = TRACED_TOKENS,
                           .n_out = TRACED_OUTPUTS,
                           .pos = TRACED_BEFORE,
                           .logits = logits,
                           .cancel = &cancel,
                           .trace = record,
                           .trace_user = t};
    assert_ok(ref->step(session, &args, &err), &err);
    ref->commit(session);
    assert_ok(ref->state_read(session, 0, t->state_new, &err), &err);
    assert_int_equal(t->n_traced, g->n_nodes);
    free(logits);
    ref->session_destroy(session);
    ref->model_destroy(model);
}

void traced_finish(traced *t)
{
    for (uint32_t i = 0; i < t->l.graph.n_nodes; i++) {
        free(t->results[i]);
    }
    free(t->results);
    free(t->state_old);
    free(t->state_new);
    hy__plan_finish(&t->plan);
    fused_unload(&t->l);
}

static uint32_t columns(hy__cols cols)
{
    return cols == HY__PER_T ? TRACED_TOKENS : cols == HY__PER_OUT ? TRACED_OUTPUTS : 1;
}

numbers traced_zeros(const hy__value *v)
{
    numbers x = {NULL, v->n, columns(v->cols)};
    x.at = calloc((size_t)x.n * x.cols, sizeof *x.at);
    assert_non_null(x.at);
    return x;
}

static uint32_t node_of(const hy__graph *g, hy__id id)
{
    uint32_t i = 0;
    while (g->nodes[i].out != id) {
        i++;
    }
    return i;
}

numbers traced_leaf(const traced *t, const hy__expr *e)
{
    const hy__graph *g = &t->l.graph;
    const hy__value *v = &g->values[e->value];
    numbers x = traced_zeros(v);
    if (v->kind == HY__RESULT) {
        const float *traced_value = t->results[node_of(g, e->value)];
        for (size_t i = 0; i < (size_t)x.n * x.cols; i++) {
            x.at[i] = (double)traced_value[i];
        }
    } else if (v->kind == HY__WEIGHT) {
        const hy_type_info *type = hy_type_find((uint32_t)v->tensor->type);
        float *decoded = calloc(v->n, sizeof *decoded);
        const char *data =
            (const char *)v->tensor->data + v->first / type->block_elems * type->block_bytes;
        assert_ok(hy_dequantize(v->tensor->type, data, decoded, v->n, NULL), NULL);
        for (uint32_t i = 0; i < v->n; i++) {
            x.at[i] = (double)decoded[i];
        }
        free(decoded);
    } else if (v->kind == HY__CONST) {
        memcpy(x.at, v->data, v->n * sizeof *x.at);
    } else {
        assert_int_equal(v->kind, HY__STATE);
        for (uint32_t i = 0; i < v->n; i++) {
            x.at[i] = (double)t->state_old[t->plan.state_place[v->state] + i];
        }
    }
    return x;
}
