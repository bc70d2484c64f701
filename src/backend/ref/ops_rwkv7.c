/* ops_rwkv7.c: token shift, the WKV-7 recurrence and its bonus.  Formulas: graph/ops.inc and
 * model/rwkv7.c. */
#include "ref.h"

void hy__ref_token_shift(hy__ref_session *s, const hy__node *node)
{
    const uint32_t n = s->model->g->values[node->out].n;
    const float *x = hy__ref_data(s, node->in[0]);
    float *y = hy__ref_data(s, node->out);
    const size_t rest = s->args.n - 1;
    memcpy(y, hy__ref_state_old(s, node->in[1]), n * sizeof *y);
    memcpy(y + n, x, rest * n * sizeof *y);
    memcpy(hy__ref_state_new(s, node->in[1]), x + rest * n, n * sizeof *y);
}

typedef struct heads {
    hy__ref_session *s;
    const hy__node *node;
    const float *in[6]; /* [cols][n]: r w k v kk a, or y r k v r_k */
    float *out;
    uint32_t n, head; /* channels, channels of a head */
} heads;

static heads heads_of(hy__ref_session *s, const hy__node *node, uint32_t n_inputs)
{
    heads h = {.s = s, .node = node, .out = hy__ref_data(s, node->out)};
    h.n = s->model->g->values[node->out].n;
    h.head = node->params.group;
    for (uint32_t i = 0; i < n_inputs; i++) {
        h.in[i] = hy__ref_data(s, node->in[i]);
    }
    return h;
}

/* One token of one head: row i of S is a value channel, column j a key channel. */
static void wkv7_token(float *state, uint32_t n, const float *r, const float *w, const float *k,
                       const float *v, const float *kk, const float *a, float *y)
{
    for (uint32_t i = 0; i < n; i++) {
        float *row = state + (size_t)i * n;
        const double removed = hy__ref_dot(row, kk, n);
        const double value = (double)v[i];
        for (uint32_t j = 0; j < n; j++) {
            row[j] = (float)((double)row[j] * (double)w[j] -
                             removed * ((double)kk[j] * (double)a[j]) + value * (double)k[j]);
        }
        y[i] = (float)hy__ref_dot(row, r, n);
    }
}

static void wkv7_heads(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const heads *h = arg;
    const size_t per_head = (size_t)h->head * h->head;
    (void)thread;
    for (size_t head = begin; head < end; head++) {
        float *state = hy__ref_state_new(h->s, h->node->in[6]) + head * per_head;
        memcpy(state, hy__ref_state_old(h->s, h->node->in[6]) + head * per_head,
               per_head * sizeof *state);
        for (uint32_t t = 0; t < h->s->args.n; t++) {
            const size_t at = (size_t)t * h->n + head * h->head;
            wkv7_token(state, h->head, h->in[0] + at, h->in[1] + at, h->in[2] + at, h->in[3] + at,
                       h->in[4] + at, h->in[5] + at, h->out + at);
        }
    }
}

void hy__ref_wkv7(hy__ref_session *s, const hy__node *node)
{
    heads h = heads_of(s, node, 6);
    hy__pool_run(s->pool, h.n / h.head, 1, wkv7_heads, &h);
}

static void bonus_heads(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const heads *h = arg;
    (void)thread;
    for (size_t head = begin; head < end; head++) {
        const float *r_k = h->in[4] + head * h->head;
        for (uint32_t t = 0; t < h->s->args.n; t++) {
            const size_t at = (size_t)t * h->n + head * h->head;
            const float *y = h->in[0] + at, *r = h->in[1] + at, *k = h->in[2] + at,
                        *v = h->in[3] + at;
            double sum = 0;
            for (uint32_t i = 0; i < h->head; i++) {
                sum += (double)r[i] * (double)k[i] * (double)r_k[i];
            }
            for (uint32_t i = 0; i < h->head; i++) {
                h->out[at + i] = (float)((double)y[i] + sum * (double)v[i]);
            }
        }
    }
}

void hy__ref_rwkv7_bonus(hy__ref_session *s, const hy__node *node)
{
    heads h = heads_of(s, node, 5);
    hy__pool_run(s->pool, h.n / h.head, 1, bonus_heads, &h);
}
