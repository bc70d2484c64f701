/* ops_basic.c: embedding, norms, element-wise operations of the reference backend.
 *
 * Formulas: graph/ops.inc.  Columns are independent; the pool takes some each. */
#include "ref.h"

#include <math.h>

#include "halyard/types.h"

/* A loop over the columns of a node's result. */
typedef struct columns {
    hy__ref_session *s;
    const hy__node *node;
    const float *in[HY__MAX_INPUTS]; /* column 0 */
    size_t step[HY__MAX_INPUTS];     /* from column to column; 0 for weight vectors */
    float *out;
    uint32_t n; /* channels of the result */
} columns;

static void each_column(hy__ref_session *s, const hy__node *node, hy__pool_fn run)
{
    const hy__graph *g = s->model->g;
    columns c = {
        .s = s, .node = node, .out = hy__ref_data(s, node->out), .n = g->values[node->out].n};
    for (uint32_t i = 0; i < hy__ops[node->op].n_inputs; i++) {
        const hy__value *v = &g->values[node->in[i]];
        if (v->kind == HY__RESULT || (v->kind == HY__WEIGHT && v->m == 1)) {
            c.in[i] = hy__ref_data(s, node->in[i]);
            c.step[i] = v->kind == HY__RESULT ? v->n : 0;
        }
    }
    hy__pool_run(s->pool, hy__ref_cols(s, node->out), 1, run, &c);
}

static const float *column(const columns *c, uint32_t input, size_t col)
{
    return c->in[input] + c->step[input] * col;
}

/* ---- embedding */

static void embed_columns(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const columns *c = arg;
    const hy__value *table = &c->s->model->g->values[c->node->in[0]];
    const hy_type_info *t = hy_type_find((uint32_t)table->tensor->type);
    const size_t row_bytes = (size_t)c->n / t->block_elems * t->block_bytes;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const char *row =
            (const char *)table->tensor->data + row_bytes * (size_t)c->s->args.tokens[i];
        /* Type and length were checked when the graph was built. */
        (void)hy_dequantize(table->tensor->type, row, c->out + i * c->n, c->n, NULL);
    }
}

void hy__ref_embed(hy__ref_session *s, const hy__node *node)
{
    each_column(s, node, embed_columns);
}

/* ---- norms */

static double mean_of(const float *x, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    return sum / n;
}

static void group_norm_columns(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const columns *c = arg;
    const uint32_t group = c->node->params.group ? c->node->params.group : c->n;
    (void)thread;
    for (size_t col = begin; col < end; col++) {
        for (uint32_t first = 0; first < c->n; first += group) {
            const float *x = column(c, 0, col) + first;
            const float *gain = c->in[1] + first, *bias = c->in[2] + first;
            float *y = c->out + col * c->n + first;
            const double mean = mean_of(x, group);
            double var = 0;
            for (uint32_t i = 0; i < group; i++) {
                var += ((double)x[i] - mean) * ((double)x[i] - mean);
            }
            const double scale = 1 / sqrt(var / group + (double)c->node->params.eps);
            for (uint32_t i = 0; i < group; i++) {
                y[i] = (float)(((double)x[i] - mean) * scale * (double)gain[i] + (double)bias[i]);
            }
        }
    }
}

void hy__ref_group_norm(hy__ref_session *s, const hy__node *node)
{
    each_column(s, node, group_norm_columns);
}

void hy__ref_layer_norm(hy__ref_session *s, const hy__node *node)
{
    each_column(s, node, group_norm_columns); /* one group: the whole column */
}

static void rms_norm_columns(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const columns *c = arg;
    const uint32_t group = c->node->params.group;
    (void)thread;
    for (size_t col = begin; col < end; col++) {
        for (uint32_t first = 0; first < c->n; first += group) {
            const float *x = column(c, 0, col) + first, *gain = c->in[1];
            float *y = c->out + col * c->n + first;
            const double mean = hy__ref_dot(x, x, group) / group;
            const double scale = 1 / sqrt(mean + (double)c->node->params.eps);
            for (uint32_t i = 0; i < group; i++) {
                y[i] = (float)((double)x[i] * scale * (double)gain[i]);
            }
        }
    }
}

void hy__ref_rms_norm(hy__ref_session *s, const hy__node *node)
{
    each_column(s, node, rms_norm_columns);
}

static void l2_norm_columns(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const columns *c = arg;
    const uint32_t group = c->node->params.group;
    (void)thread;
    for (size_t col = begin; col < end; col++) {
        for (uint32_t first = 0; first < c->n; first += group) {
            const float *x = column(c, 0, col) + first;
            float *y = c->out + col * c->n + first;
            const double length = sqrt(hy__ref_dot(x, x, group));
            const double scale = 1 / fmax(length, (double)c->node->params.eps);
            for (uint32_t i = 0; i < group; i++) {
                y[i] = (float)((double)x[i] * scale);
            }
        }
    }
}

void hy__ref_l2_norm(hy__ref_session *s, const hy__node *node)
{
    each_column(s, node, l2_norm_columns);
}

/* ---- element-wise: the expression sees the inputs' elements as a, b, d (doubles) */

#define ELEMENTWISE(name, n_inputs, expression)                                                    \
    static void name##_columns(void *arg, size_t begin, size_t end, uint32_t thread)               \
    {                                                                                              \
        const columns *c = arg;                                                                    \
        (void)thread;                                                                              \
        for (size_t col = begin; col < end; col++) {                                               \
            const float *in0 = column(c, 0, col);                                                  \
            const float *in1 = (n_inputs) > 1 ? column(c, 1, col) : in0;                           \
            const float *in2 = (n_inputs) > 2 ? column(c, 2, col) : in0;                           \
            float *y = c->out + col * c->n;                                                        \
            for (uint32_t i = 0; i < c->n; i++) {                                                  \
                const double a = (double)in0[i], b = (double)in1[i], d = (double)in2[i];           \
                (void)b;                                                                           \
                (void)d;                                                                           \
                y[i] = (float)(expression);                                                        \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    void hy__ref_##name(hy__ref_session *s, const hy__node *node)                                  \
    {                                                                                              \
        each_column(s, node, name##_columns);                                                      \
    }

ELEMENTWISE(lerp, 3, a + (b - a) * d)
ELEMENTWISE(add, 2, a + b)
ELEMENTWISE(mul, 2, a *b)
ELEMENTWISE(tanh, 1, hy__tanh(a))
ELEMENTWISE(sigmoid, 1, hy__sigmoid(a))
ELEMENTWISE(silu, 1, a *hy__sigmoid(a))
ELEMENTWISE(relu2, 1,
            a <= 0 ? 0 : a * a) /* NaN stays NaN, so that a broken weight shows in the logits */
ELEMENTWISE(rwkv7_decay, 1, hy__exp(-0.60653065971263342 * hy__sigmoid(a))) /* exp(-1/2) */
ELEMENTWISE(rwkv7_key, 3, a *(1 + (b - 1) * d))

/* ---- selection */

void hy__ref_select(hy__ref_session *s, const hy__node *node)
{
    const uint32_t n = s->model->g->values[node->out].n;
    const float *x = hy__ref_data(s, node->in[0]);
    memcpy(hy__ref_data(s, node->out), x + (size_t)n * (s->args.n - s->args.n_out),
           (size_t)n * s->args.n_out * sizeof *x);
}
