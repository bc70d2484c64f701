/* heads.c: the phases of heads: the WKV-7 recurrence, attention, with what runs before and behind
 * them.
 *
 * A head is a range of channels that nothing else touches, in every operation of the phase: a
 * thread takes a head through all columns.  A phase that does not divide is one range. */
#include "cpu.h"

typedef struct range_of_heads {
    uint32_t index, count; /* this range, and how many there are */
    uint32_t t0, t1;       /* columns */
} range_of_heads;

/* This range's channels of a value. */
static hy__cpu_range channels(const hy__cpu_session *s, hy__id id, range_of_heads h)
{
    const uint32_t n = s->model->g->values[id].n / h.count;
    return (hy__cpu_range){h.t0, h.t1, n * h.index, n * (h.index + 1)};
}

static void run_ops(hy__cpu_session *s, uint32_t first, uint32_t count, range_of_heads h)
{
    for (uint32_t i = first; i < first + count; i++) {
        const hy__node *node = &s->model->g->nodes[i];
        hy__cpu_op(s, node, channels(s, node->out, h));
    }
}

/* ---- recurrence */

/* Whether the weights that are read between two uses of a state push it out of every cache. */
static bool state_is_cold(const hy__cpu_session *s)
{
    enum { LARGEST_CACHE = 64 << 20 };
    return s->model->p->weight_bytes > LARGEST_CACHE;
}

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
                                   .n = n,
                                   .stream = state_is_cold(s)};
        s->model->vec->wkv7(&args);
    }
}

/* ---- attention */

/* Where what a cache has of a KV head begins. */
static char *head_of(const hy__cpu_cache *cache, uint32_t head)
{
    return cache->data + head * cache->head_bytes;
}

/* Input 1 or 2 to its cache, input 3 or 4: what KV head `head` has of it. */
static void append(hy__cpu_session *s, const hy__node *node, uint32_t input, uint32_t head)
{
    const hy__cpu_cache *cache = hy__cpu_cache_of(s, node->in[input + 2]);
    const uint32_t dim = cache->form.dim, n = s->model->g->values[node->in[input]].n;
    const float *x = hy__cpu_data(s, node->in[input]) + (size_t)head * dim;
    char *blocks = head_of(cache, head);
    /* Positions behind the present one are nobody's until the step is committed. */
    for (uint32_t t = 0; t < s->args.n; t++) {
        const uint64_t pos = s->args.pos + t;
        s->model->vec->kv_write(cache->form, x + (size_t)t * n,
                                blocks + pos / HY__ATTENTION_BLOCK * cache->block_bytes,
                                (uint32_t)(pos % HY__ATTENTION_BLOCK));
    }
}

static hy__cpu_attention describe(const hy__cpu_session *s, const hy__node *node, uint32_t head)
{
    const hy__graph *g = s->model->g;
    const uint32_t group = node->params.n_head / node->params.n_head_kv;
    const hy__cpu_cache *k = hy__cpu_cache_of(s, node->in[3]);
    const hy__cpu_cache *v = hy__cpu_cache_of(s, node->in[4]);
    return (hy__cpu_attention){.q = hy__cpu_data(s, node->in[0]) +
                                    (size_t)head * group * k->form.dim,
                               .y = hy__cpu_data(s, node->out) + (size_t)head * group * v->form.dim,
                               .q_stride = g->values[node->in[0]].n,
                               .y_stride = g->values[node->out].n,
                               .k = head_of(k, head),
                               .v = head_of(v, head),
                               .k_form = k->form,
                               .v_form = v->form,
                               .group = group,
                               .scale = node->params.scale};
}

/* ---- tasks */

static const hy__node *anchor_of(const hy__cpu_session *s, const hy__cpu_phase *p)
{
    return &s->model->g->nodes[p->p->first + p->p->n_prologue];
}

/* All of this range's heads' KV heads. */
static uint32_t kv_heads_of(const hy__node *node, const hy__cpu_phase *p)
{
    return node->params.n_head_kv / p->n_heads;
}

void hy__cpu_recurrence(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t head)
{
    const hy__phase *phase = p->p;
    const range_of_heads h = {head, p->n_heads, 0, s->args.n};
    run_ops(s, phase->first, phase->n_prologue, h);
    wkv7(s, anchor_of(s, p), h);
    run_ops(s, phase->first + phase->n_prologue + 1, phase->n_epilogue, h);
}

void hy__cpu_attention_begin(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t head)
{
    const hy__node *node = anchor_of(s, p);
    const uint32_t n = kv_heads_of(node, p);
    run_ops(s, p->p->first, p->p->n_prologue, (range_of_heads){head, p->n_heads, 0, s->args.n});
    for (uint32_t i = head * n; i < (head + 1) * n; i++) {
        append(s, node, 1, i);
        append(s, node, 2, i);
    }
}

/* Tokens that a task takes. */
static uint32_t tokens_of_task(const hy__cpu_session *s, const hy__cpu_phase *p)
{
    const hy__node *node = anchor_of(s, p);
    return hy__cpu_attention_tokens(node->params.n_head / node->params.n_head_kv);
}

uint32_t hy__cpu_attention_tasks(const hy__cpu_session *s, const hy__cpu_phase *p)
{
    const uint32_t tokens = tokens_of_task(s, p);
    return p->n_heads * ((s->args.n + tokens - 1) / tokens);
}

void hy__cpu_attention_end(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t task,
                           uint32_t thread)
{
    const hy__node *node = anchor_of(s, p);
    const uint32_t n = kv_heads_of(node, p), tokens = tokens_of_task(s, p);
    const uint32_t head = task % p->n_heads, t0 = task / p->n_heads * tokens;
    const uint32_t t1 = HY_MIN(t0 + tokens, s->args.n);
    float *scratch = (float *)(void *)hy__cpu_scratch(s, thread);
    for (uint32_t i = head * n; i < (head + 1) * n; i++) {
        const hy__cpu_attention a = describe(s, node, i);
        hy__cpu_attend(s, &a, t0, t1, scratch);
    }
    run_ops(s, p->p->first + p->p->n_prologue + 1, p->p->n_epilogue,
            (range_of_heads){head, p->n_heads, t0, t1});
}

uint64_t hy__cpu_heads_scratch(const hy__cpu_model *m)
{
    uint64_t need = 0;
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        const hy__node *node = &m->g->nodes[i];
        if (node->op == HY__OP_ATTENTION) {
            const uint32_t n_kv = node->params.n_head_kv;
            const uint32_t dim = m->g->values[node->in[1]].n / n_kv;
            const uint32_t dim_v = m->g->values[node->in[2]].n / n_kv;
            const uint32_t group = node->params.n_head / n_kv;
            need = HY_MAX(need, hy__cpu_attention_scratch(group, dim, dim_v));
        }
    }
    return need * sizeof(float);
}
