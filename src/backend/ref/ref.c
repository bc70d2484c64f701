/* ref.c: models, sessions and steps of the reference backend.  See ref.h. */
#include "ref.h"

#include "halyard/types.h"

static const hy__ref_fn functions[HY__N_OPS] = {
#define HY_OP(name, lower, arity, summary) [HY__OP_##name] = hy__ref_##lower,
#include "graph/ops.inc"
#undef HY_OP
};

static bool supports(hy__opcode op, hy_type type)
{
    const hy_type_info *info = hy_type_find((uint32_t)type);
    return functions[op] != NULL && info != NULL && info->can_decode;
}

/* ---- model */

static void model_finish(hy__ref_model *m)
{
    for (uint32_t i = 0; m->vectors && i < m->g->n_values; i++) {
        hy__free(&m->env, m->vectors[i]);
    }
    hy__free(&m->env, m->vectors);
    m->vectors = NULL;
}

/* Vectors are short and used everywhere: they are decoded once. */
static hy_status decode_vector(hy__ref_model *m, hy__id id, hy_error *err)
{
    const hy__value *v = &m->g->values[id];
    const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
    if (v->first % t->block_elems != 0 || v->n % t->block_elems != 0) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "tensor %s: %u elements of type %s do not begin with a block", v->name,
                        v->n, t->name);
    }
    m->vectors[id] = hy__alloc(&m->env, v->n, sizeof(float), err);
    if (!m->vectors[id]) {
        return HY_E_NOMEM;
    }
    const char *data = (const char *)v->tensor->data + v->first / t->block_elems * t->block_bytes;
    return hy_dequantize(v->tensor->type, data, m->vectors[id], v->n, err);
}

static hy_status model_init(hy__ref_model *m, const hy__graph *g, const hy__plan *p,
                            const hy_env *env, hy_error *err)
{
    memset(m, 0, sizeof *m);
    m->env = *env;
    m->g = g;
    m->p = p;
    m->vectors = hy__calloc(env, g->n_values, sizeof *m->vectors, err);
    hy_status status = m->vectors ? HY_OK : HY_E_NOMEM;
    for (uint32_t i = 0; i < g->n_nodes && status == HY_OK; i++) {
        const hy__node *node = &g->nodes[i];
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs && status == HY_OK; k++) {
            const hy__value *v = &g->values[node->in[k]];
            if (v->kind != HY__WEIGHT) {
                continue;
            }
            if (node->op == HY__OP_MATMUL || node->op == HY__OP_EMBED) {
                m->widest = HY_MAX(m->widest, v->n);
            } else {
                status = decode_vector(m, node->in[k], err);
            }
        }
    }
    if (status != HY_OK) {
        model_finish(m);
        return status;
    }
    return HY_OK;
}

static hy_status model_create(const hy__graph *g, const hy__fusion *f, const hy__exprs *x,
                              const hy__plan *p, const hy__backend_model_opts *opts,
                              const hy_env *env, void **out, hy_error *err)
{
    (void)x; /* operations run one by one */
    (void)f;
    (void)opts;
    *out = NULL;
    hy__ref_model *m = hy__calloc(env, 1, sizeof *m, err);
    if (!m) {
        return HY_E_NOMEM;
    }
    const hy_status status = model_init(m, g, p, env, err);
    if (status != HY_OK) {
        hy__free(env, m);
        return status;
    }
    *out = m;
    return HY_OK;
}

static void model_destroy(void *model)
{
    hy__ref_model *m = model;
    if (!m) {
        return;
    }
    const hy_env env = m->env;
    model_finish(m);
    hy__free(&env, m);
}

/* ---- session */

static void session_destroy(void *session)
{
    hy__ref_session *s = session;
    if (!s) {
        return;
    }
    const hy_env env = s->model->env;
    hy__pool_destroy(s->pool);
    for (uint32_t i = 0; s->caches && i < s->model->g->n_states; i++) {
        hy__free(&env, s->caches[i]);
    }
    hy__free(&env, s->caches);
    hy__free_aligned(&env, s->recurrent[0]);
    hy__free_aligned(&env, s->recurrent[1]);
    hy__free(&env, s->scratch);
    hy__free_aligned(&env, s->columns);
    hy__free(&env, s->arena[0]);
    hy__free(&env, s->arena[1]);
    hy__free(&env, s);
}

/* Doubles that one thread needs beside the arenas: a row of a matrix, the scores of a query, the
 * angles of a column. */
static uint64_t scratch_need(const hy__ref_model *m, uint32_t n_ctx)
{
    uint64_t need = 2 * (uint64_t)m->widest;
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        const hy__node *node = &m->g->nodes[i];
        if (node->op == HY__OP_ATTENTION) {
            need = HY_MAX(need, (uint64_t)n_ctx + m->g->values[node->out].n);
        }
        if (node->op == HY__OP_ROPE) {
            need = HY_MAX(need, (uint64_t)node->params.n_rot);
        }
    }
    return need;
}

static hy_status allocate(hy__ref_session *s, hy_error *err)
{
    const hy__ref_model *m = s->model;
    const hy_env *env = &m->env;
    const hy__backend_opts *o = &s->opts;
    const uint32_t n_out = o->all_logits ? o->n_batch : 1;
    const uint64_t scratch = scratch_need(m, o->n_ctx);
    const uint64_t f32 = sizeof(float), f64 = sizeof(double);
    size_t arena0, arena1, columns, all_scratch, recurrent;
    HY_TRY(hy__size("the activations of tokens", m->p->per_token, f32 * o->n_batch, &arena0, err));
    HY_TRY(hy__size("the activations of outputs", m->p->per_output, f32 * n_out, &arena1, err));
    HY_TRY(hy__size("the inputs of matrices", m->widest, f64 * o->n_batch, &columns, err));
    HY_TRY(hy__size("the threads' scratch memory", scratch, f64 * o->n_threads, &all_scratch, err));
    HY_TRY(hy__size("the recurrent state", m->p->recurrent, f32, &recurrent, err));
    s->scratch_len = (size_t)scratch;
    if (!(s->arena[0] = hy__alloc(env, arena0, 1, err)) ||
        !(s->arena[1] = hy__alloc(env, arena1, 1, err)) ||
        !(s->columns = hy__calloc_aligned(env, columns, 1, err)) ||
        !(s->scratch = hy__alloc(env, all_scratch, 1, err)) ||
        !(s->recurrent[0] = hy__calloc_aligned(env, recurrent, 1, err)) ||
        !(s->recurrent[1] = hy__calloc_aligned(env, recurrent, 1, err)) ||
        !(s->caches = hy__calloc(env, m->g->n_states, sizeof *s->caches, err))) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < m->g->n_states; i++) {
        const hy__value *v = &m->g->values[m->g->states[i]];
        size_t bytes;
        if (!v->per_position) {
            continue;
        }
        HY_TRY(hy__size("a KV cache", o->n_ctx, f32 * v->n, &bytes, err));
        s->caches[i] = hy__alloc(env, bytes, 1, err);
        if (!s->caches[i]) {
            return HY_E_NOMEM;
        }
    }
    return hy__pool_create(env, o->n_threads, &s->pool, err);
}

static hy_status session_create(void *model, const hy__backend_opts *opts, void **out,
                                hy_error *err)
{
    const hy__ref_model *m = model;
    *out = NULL;
    hy__ref_session *s = hy__calloc(&m->env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->model = m;
    s->opts = *opts;
    const hy_status status = allocate(s, err);
    if (status != HY_OK) {
        session_destroy(s);
        return status;
    }
    *out = s;
    return HY_OK;
}

/* ---- step */

uint32_t hy__ref_cols(const hy__ref_session *s, hy__id id)
{
    switch (s->model->g->values[id].cols) {
    case HY__PER_T:
        return s->args.n;
    case HY__PER_OUT:
        return s->args.n_out;
    default:
        return 1;
    }
}

float *hy__ref_data(const hy__ref_session *s, hy__id id)
{
    const hy__graph *g = s->model->g;
    const hy__value *v = &g->values[id];
    if (v->kind == HY__WEIGHT) {
        return s->model->vectors[id];
    }
    if (id == g->logits) {
        return s->args.logits;
    }
    return s->arena[v->cols == HY__PER_OUT] + s->model->p->place[id] * hy__ref_cols(s, id);
}

static size_t state_place(const hy__ref_session *s, hy__id id)
{
    return (size_t)s->model->p->state_place[s->model->g->values[id].state];
}

const float *hy__ref_state_old(const hy__ref_session *s, hy__id id)
{
    return s->recurrent[s->current] + state_place(s, id);
}

float *hy__ref_state_new(const hy__ref_session *s, hy__id id)
{
    return s->recurrent[1 - s->current] + state_place(s, id);
}

double *hy__ref_scratch(const hy__ref_session *s, uint32_t thread)
{
    return s->scratch + s->scratch_len * thread;
}

static hy_status step(void *session, const hy__step_args *args, hy_error *err)
{
    hy__ref_session *s = session;
    const hy__graph *g = s->model->g;
    s->args = *args;
    s->columns_of = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const hy__node *node = &g->nodes[i];
        if (hy__ref_cols(s, node->out) == 0) {
            continue;
        }
        functions[node->op](s, node);
        if (hy__ref_cancelled(s)) {
            return hy__fail(err, HY_E_CANCELLED, "cancelled");
        }
        if (args->trace) {
            const hy__value *v = &g->values[node->out];
            args->trace(args->trace_user, v->name,
                        node->layer == HY__NO_LAYER ? -1 : (int32_t)node->layer, v->n,
                        hy__ref_cols(s, node->out), hy__ref_data(s, node->out));
        }
    }
    return HY_OK;
}

static void commit(void *session)
{
    hy__ref_session *s = session;
    s->current = 1 - s->current;
}

static hy_status state_read(void *session, uint64_t n_pos, float *data, hy_error *err)
{
    const hy__ref_session *s = session;
    const hy__graph *g = s->model->g;
    (void)err; /* nothing here can fail: the memory is ours */
    memcpy(data, s->recurrent[s->current], (size_t)s->model->p->recurrent * sizeof *data);
    data += s->model->p->recurrent;
    for (uint32_t i = 0; i < g->n_states; i++) {
        if (s->caches[i]) {
            const size_t n = (size_t)(n_pos * g->values[g->states[i]].n);
            memcpy(data, s->caches[i], n * sizeof *data);
            data += n;
        }
    }
    return HY_OK;
}

static hy_status state_write(void *session, uint64_t n_pos, const float *data, hy_error *err)
{
    hy__ref_session *s = session;
    const hy__graph *g = s->model->g;
    (void)err;
    float *recurrent = s->recurrent[s->current];
    const size_t n_recurrent = (size_t)s->model->p->recurrent;
    if (!data) {
        memset(recurrent, 0, n_recurrent * sizeof *recurrent);
        return HY_OK;
    }
    memcpy(recurrent, data, n_recurrent * sizeof *data);
    data += n_recurrent;
    for (uint32_t i = 0; i < g->n_states; i++) {
        if (s->caches[i]) {
            const size_t n = (size_t)(n_pos * g->values[g->states[i]].n);
            memcpy(s->caches[i], data, n * sizeof *data);
            data += n;
        }
    }
    return HY_OK;
}

const hy__backend hy__backend_ref = {
    .name = "ref",
    .cache_types = {HY_TYPE_F32},
    .n_cache_types = 1,
    .traces = true,
    .supports = supports,
    .model_create = model_create,
    .model_destroy = model_destroy,
    .session_create = session_create,
    .session_destroy = session_destroy,
    .step = step,
    .commit = commit,
    .state_read = state_read,
    .state_write = state_write,
};
