/* heads.c: the phases of heads: the WKV-7 recurrence, attention, with what runs before and behind
 * them.
 *
 * A head is a range of channels that nothing else touches, in every operation of the phase: a
 * thread takes a head through all columns.  A phase that does not divide is one range. */
#include "cpu.h"

typedef struct range_of_heads {
    uint32_t index, count; /* this range, and how many there are */
} range_of_heads;

/* This head's channels of a value, all columns. */
static hy__cpu_range channels(const hy__cpu_session *s, hy__id id, range_of_heads h)
{
    const uint32_t n = s->model->g->values[id].n / h.count;
    return (hy__cpu_range){0, hy__cpu_cols(s, id), n * h.index, n * (h.index + 1)};
}

static void run_ops(hy__cpu_session *s, uint32_t first, uint32_t count, range_of_heads h)
{
    for (uint32_t i = first; i < first + count; i++) {
        const hy__node *node = &s->model->g->nodes[i];
        hy__cpu_op(s, node, channels(s, node->out, h));
    }
}

/* ---- recurrence */

static void wkv7(hy__cpu_session *s, const hy__node *node, range_of_heads h)
{
    const uint32_t n = node->params.group;
    const uint32_t stride = s->model->g->values[node->out].n;
    const hy__cpu_range r = channels(s, node->out, h);
    for (uint32_t c = r.c0; c < r.c1; c += n) {
        const size_t state = (size_t)c * n; /* head c / n, [n][n] each */
        const hy__vec_wkv7 args = {.r = hy__cpu_data(s, node->in[0]) + c,
                                   .w = hy__cpu_data(s, node->in[1]) + c,
                                   .k = hy__cpu_data(s, node->in[2]) + c,
                                   .v = hy__cpu_data(s, node->in[3]) + c,
                                   .kk = hy__cpu_data(s, node->in[4]) + c,
                                   .a = hy__cpu_data(s, node->in[5]) + c,
                                   .y = hy__cpu_data(s, node->out) + c,
                                   .stride = stride,
                                   .state_old = hy__cpu_state(s, node->in[6], false) + state,
                                   .state_new = hy__cpu_state(s, node->in[6], true) + state,
                                   .n_tokens = s->args.n,
                                   .n = n};
        s->model->vec->wkv7(&args);
    }
}

/* ---- attention */

/* Appends what this head has to say to a cache; returns where its numbers of position 0 are. */
static const char *append(hy__cpu_session *s, hy__id from, hy__id cache, uint32_t first,
                          uint32_t dim, size_t *stride)
{
    const hy__kv_type type = hy__cpu_kv_type(s, cache);
    const uint32_t n = s->model->g->values[cache].n;
    char *rows = s->caches[s->model->g->values[cache].state] + hy__kv_bytes(type, first);
    const float *x = hy__cpu_data(s, from) + first;
    *stride = hy__kv_bytes(type, n);
    /* Rows behind the position are nobody's until the step is committed. */
    for (uint32_t t = 0; t < s->args.n; t++) {
        s->model->vec->kv_write(type, x + (size_t)t * n, rows + (s->args.pos + t) * *stride, dim);
    }
    return rows;
}

static void attend(hy__cpu_session *s, const hy__node *node, uint32_t kv_head, char *scratch)
{
    const hy__graph *g = s->model->g;
    const hy__params *p = &node->params;
    const uint32_t group = p->n_head / p->n_head_kv;
    const uint32_t n_q = g->values[node->in[0]].n, n_y = g->values[node->out].n;
    const uint32_t dim = g->values[node->in[1]].n / p->n_head_kv;
    const uint32_t dim_v = g->values[node->in[2]].n / p->n_head_kv;
    hy__vec_attention a = {.k_type = hy__cpu_kv_type(s, node->in[3]),
                           .v_type = hy__cpu_kv_type(s, node->in[4]),
                           .n_head = group,
                           .dim = dim,
                           .dim_v = dim_v,
                           .scale = p->scale,
                           .scratch = (float *)(void *)scratch};
    a.k = append(s, node->in[1], node->in[3], kv_head * dim, dim, &a.k_stride);
    a.v = append(s, node->in[2], node->in[4], kv_head * dim_v, dim_v, &a.v_stride);
    for (uint32_t t = 0; t < s->args.n && !hy__cpu_stop(s); t++) {
        a.q = hy__cpu_data(s, node->in[0]) + (size_t)t * n_q + (size_t)kv_head * group * dim;
        a.y = hy__cpu_data(s, node->out) + (size_t)t * n_y + (size_t)kv_head * group * dim_v;
        a.pos = s->args.pos + t;
        s->model->vec->attention(&a);
    }
}

void hy__cpu_heads(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t head, uint32_t thread)
{
    const hy__phase *phase = p->p;
    const uint32_t anchor = phase->first + phase->n_prologue;
    const hy__node *node = &s->model->g->nodes[anchor];
    const range_of_heads h = {head, p->n_heads};
    run_ops(s, phase->first, phase->n_prologue, h);
    if (phase->kind == HY__PHASE_WKV7) {
        wkv7(s, node, h);
    } else {
        const uint32_t kv_heads = node->params.n_head_kv / p->n_heads;
        for (uint32_t i = 0; i < kv_heads; i++) {
            attend(s, node, head * kv_heads + i, hy__cpu_scratch(s, thread));
        }
    }
    run_ops(s, anchor + 1, phase->n_epilogue, h);
}

size_t hy__cpu_heads_scratch(const hy__cpu_model *m)
{
    size_t need = 0;
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        const hy__node *node = &m->g->nodes[i];
        if (node->op == HY__OP_ATTENTION) {
            const uint32_t n_kv = node->params.n_head_kv;
            const uint32_t dim = m->g->values[node->in[1]].n / n_kv;
            const uint32_t dim_v = m->g->values[node->in[2]].n / n_kv;
            const uint32_t group = node->params.n_head / n_kv;
            need = HY_MAX(need, hy__vec_attention_scratch(group, HY_MAX(dim, dim_v)));
        }
    }
    return need * sizeof(float);
}
