/* ops_attention.c: rotary positions and causal attention over the KV cache.  Formulas:
 * graph/ops.inc, model/transformer.c. */
#include "ref.h"

#include <math.h>

typedef struct job {
    hy__ref_session *s;
    const hy__node *node;
    const float *x; /* rope: input; attention: queries */
    float *y;
    uint32_t n;          /* channels of x */
    uint32_t key, value; /* channels of a head of keys and of values */
    uint32_t nk, nv;     /* channels of a position in the caches */
    const float *k_cache, *v_cache;
} job;

static void rope_columns(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const job *j = arg;
    const hy__params *p = &j->node->params;
    const double *freqs = j->s->model->g->values[j->node->in[1]].data;
    const uint32_t pairs = p->n_rot / 2;
    double *cosine = hy__ref_scratch(j->s, thread), *sine = cosine + pairs;
    for (size_t t = begin; t < end; t++) {
        for (uint32_t i = 0; i < pairs; i++) {
            hy__sincos((double)(j->s->args.pos + t) * freqs[i], &sine[i], &cosine[i]);
        }
        const float *x = j->x + t * j->n;
        float *y = j->y + t * j->n;
        memcpy(y, x, j->n * sizeof *y);
        for (uint32_t first = 0; first < j->n; first += p->group) {
            for (uint32_t i = 0; i < pairs; i++) {
                const uint32_t ia = first + (p->half_split ? i : 2 * i);
                const uint32_t ib = p->half_split ? ia + pairs : ia + 1;
                const double a = (double)x[ia], b = (double)x[ib], scale = (double)p->scale;
                y[ia] = (float)((a * cosine[i] - b * sine[i]) * scale);
                y[ib] = (float)((a * sine[i] + b * cosine[i]) * scale);
            }
        }
    }
}

void hy__ref_rope(hy__ref_session *s, const hy__node *node)
{
    job j = {
        .s = s, .node = node, .x = hy__ref_data(s, node->in[0]), .y = hy__ref_data(s, node->out)};
    j.n = s->model->g->values[node->out].n;
    hy__pool_run(s->pool, s->args.n, 1, rope_columns, &j);
}

/* One query of one head over positions 0..last. */
static void attend(const job *j, const float *q, float *y, uint32_t kv_head, size_t last,
                   double *scores, double *sum)
{
    const float *k = j->k_cache + (size_t)kv_head * j->key,
                *v = j->v_cache + (size_t)kv_head * j->value;
    double most = -HUGE_VAL, norm = 0;
    for (size_t i = 0; i <= last; i++) {
        scores[i] = hy__ref_dot(q, k + i * j->nk, j->key) * (double)j->node->params.scale;
        most = fmax(most, scores[i]);
    }
    for (uint32_t c = 0; c < j->value; c++) {
        sum[c] = 0;
    }
    for (size_t i = 0; i <= last; i++) {
        const double weight = hy__exp(scores[i] - most);
        norm += weight;
        for (uint32_t c = 0; c < j->value; c++) {
            sum[c] += weight * (double)v[i * j->nv + c];
        }
    }
    for (uint32_t c = 0; c < j->value; c++) {
        y[c] = (float)(sum[c] / norm);
    }
}

/* Items are (token, head). */
static void attention_heads(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const job *j = arg;
    const hy__params *p = &j->node->params;
    double *scores = hy__ref_scratch(j->s, thread);
    for (size_t item = begin; item < end && !hy__ref_cancelled(j->s); item++) {
        const size_t t = item / p->n_head;
        const uint32_t head = (uint32_t)(item % p->n_head);
        attend(j, j->x + t * j->n + (size_t)head * j->key, j->y + (t * p->n_head + head) * j->value,
               head / (p->n_head / p->n_head_kv), (size_t)j->s->args.pos + t, scores,
               scores + j->s->opts.n_ctx);
    }
}

void hy__ref_attention(hy__ref_session *s, const hy__node *node)
{
    const hy__graph *g = s->model->g;
    const hy__params *p = &node->params;
    job j = {
        .s = s, .node = node, .x = hy__ref_data(s, node->in[0]), .y = hy__ref_data(s, node->out)};
    j.n = g->values[node->in[0]].n;
    j.nk = g->values[node->in[1]].n;
    j.nv = g->values[node->in[2]].n;
    j.key = j.nk / p->n_head_kv;
    j.value = j.nv / p->n_head_kv;
    float *k_cache = s->caches[g->values[node->in[3]].state];
    float *v_cache = s->caches[g->values[node->in[4]].state];
    /* Rows behind the position are nobody's until the step is committed. */
    memcpy(k_cache + s->args.pos * j.nk, hy__ref_data(s, node->in[1]),
           (size_t)s->args.n * j.nk * sizeof *k_cache);
    memcpy(v_cache + s->args.pos * j.nv, hy__ref_data(s, node->in[2]),
           (size_t)s->args.n * j.nv * sizeof *v_cache);
    j.k_cache = k_cache;
    j.v_cache = v_cache;
    hy__pool_run(s->pool, (size_t)s->args.n * p->n_head, 1, attention_heads, &j);
}
