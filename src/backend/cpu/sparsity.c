/* sparsity.c: whether it pays to leave out the zeros of squared ReLUs: see columns.h.
 *
 * The layout that can do it is slower where most numbers are not zero, as in a model that was not
 * trained.  So every model is asked: a few tokens go through its first layers, and what of their
 * activations is not zero is counted.  Called while a model is made, by one thread. */
#include "cpu.h"

enum {
    TOKENS = 16,
    PAYS_BELOW = 3 /* one in so many not zero */
};

typedef struct count {
    const hy__cpu_model *m;
    uint32_t wanted; /* activations to go */
    uint64_t n, n_not_zero;
    atomic_bool enough; /* the step must not go on: later matrices are not packed yet */
} count;

/* Matrices that may lie in columns, or those of them that multiply the value of this name. */
static uint32_t n_sparse(const hy__cpu_model *m, const char *name)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        const hy__node *node = &m->g->nodes[i];
        n += node->op == HY__OP_MATMUL && m->matrices[node->in[0]].sparse &&
             (!name || strcmp(m->g->values[node->in[1]].name, name) == 0);
    }
    return n;
}

static void look(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                 const float *data)
{
    count *c = user;
    (void)layer;
    if (c->wanted == 0 || n_sparse(c->m, name) == 0) {
        return;
    }
    for (size_t i = 0; i < (size_t)n * n_cols; i++) {
        c->n_not_zero += data[i] != 0;
    }
    c->n += (uint64_t)n * n_cols;
    atomic_store(&c->enough, --c->wanted == 0);
}

/* From everywhere in the tables of embeddings. */
static void spread_tokens(const hy__cpu_model *m, hy_token tokens[TOKENS])
{
    uint32_t n = UINT32_MAX;
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        const hy__node *node = &m->g->nodes[i];
        n = node->op == HY__OP_EMBED ? HY_MIN(n, m->g->values[node->in[0]].m) : n;
    }
    for (uint32_t i = 0; i < TOKENS; i++) {
        tokens[i] = (hy_token)(((uint64_t)i * n + n / 2) / TOKENS);
    }
}

bool hy__cpu_sparsity_pays(const hy__cpu_model *m)
{
    const hy__backend_opts opts = {.n_ctx = TOKENS,
                                   .n_batch = TOKENS,
                                   .n_threads = hy_cpu_count(),
                                   .cache_k = HY_TYPE_F16,
                                   .cache_v = HY_TYPE_F16};
    void *session = NULL;
    hy_token tokens[TOKENS];
    count c = {.m = m, .wanted = HY_MIN(n_sparse(m, NULL), (uint32_t)HY__CPU_COUNTED)};
    /* What cannot be measured does not keep a model from loading: both layouts are right. */
    if (c.wanted == 0 || hy__cpu_session_create((void *)(uintptr_t)m, &opts, &session, NULL)) {
        return c.wanted > 0;
    }
    spread_tokens(m, tokens);
    atomic_init(&c.enough, false);
    const hy__step_args args = {
        .tokens = tokens, .n = TOKENS, .cancel = &c.enough, .trace = look, .trace_user = &c};
    (void)hy__cpu_step(session, &args, NULL); /* cancelled when enough was seen */
    hy__cpu_session_destroy(session);
    return c.n_not_zero * PAYS_BELOW <= c.n;
}
