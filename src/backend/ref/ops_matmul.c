/* ops_matmul.c: matrix times columns, weights decoded row by row to double precision.
 *
 * A row is decoded once per step, whatever its type, and multiplied with every column.  Each
 * product is summed in four interleaved partial sums: the same order for one column as for many. */
#include "ref.h"

#include "halyard/types.h"

typedef struct job {
    hy__ref_session *s;
    const char *rows; /* encoded */
    size_t row_bytes;
    hy_type type;
    uint32_t n, m, cols;
    const double *x; /* [cols][n] */
    float *y;        /* [cols][m] */
} job;

static double total(const double sum[4])
{
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

static double dot1(const double *w, const double *x, uint32_t n)
{
    double sum[4] = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (uint32_t l = 0; l < 4; l++) {
            sum[l] += w[i + l] * x[i + l];
        }
    }
    for (; i < n; i++) {
        sum[i % 4] += w[i] * x[i];
    }
    return total(sum);
}

/* Four columns at once, each exactly as dot1. */
static void dot4(const double *w, const double *x, uint32_t n, double out[4])
{
    const double *x0 = x, *x1 = x + n, *x2 = x1 + n, *x3 = x2 + n;
    double s0[4] = {0, 0, 0, 0}, s1[4] = {0, 0, 0, 0}, s2[4] = {0, 0, 0, 0}, s3[4] = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (uint32_t l = 0; l < 4; l++) {
            s0[l] += w[i + l] * x0[i + l];
            s1[l] += w[i + l] * x1[i + l];
            s2[l] += w[i + l] * x2[i + l];
            s3[l] += w[i + l] * x3[i + l];
        }
    }
    for (; i < n; i++) {
        s0[i % 4] += w[i] * x0[i];
        s1[i % 4] += w[i] * x1[i];
        s2[i % 4] += w[i] * x2[i];
        s3[i % 4] += w[i] * x3[i];
    }
    out[0] = total(s0);
    out[1] = total(s1);
    out[2] = total(s2);
    out[3] = total(s3);
}

static void multiply_rows(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const job *j = arg;
    double *row = hy__ref_scratch(j->s, thread);
    float *decoded = (float *)(row + j->n);
    if (hy__ref_cancelled(j->s)) {
        return;
    }
    for (size_t r = begin; r < end; r++) {
        /* Type and length were checked when the graph was built. */
        (void)hy_dequantize(j->type, j->rows + r * j->row_bytes, decoded, j->n, NULL);
        for (uint32_t i = 0; i < j->n; i++) {
            row[i] = (double)decoded[i];
        }
        uint32_t c = 0;
        for (; c + 4 <= j->cols; c += 4) {
            double out[4];
            dot4(row, j->x + (size_t)c * j->n, j->n, out);
            for (uint32_t k = 0; k < 4; k++) {
                j->y[(size_t)(c + k) * j->m + r] = (float)out[k];
            }
        }
        for (; c < j->cols; c++) {
            j->y[(size_t)c * j->m + r] = (float)dot1(row, j->x + (size_t)c * j->n, j->n);
        }
    }
}

void hy__ref_matmul(hy__ref_session *s, const hy__node *node)
{
    const hy__value *w = &s->model->g->values[node->in[0]];
    const hy_type_info *t = hy_type_find((uint32_t)w->tensor->type);
    const float *x = hy__ref_data(s, node->in[1]);
    const uint32_t cols = hy__ref_cols(s, node->in[1]);
    double *wide = s->columns;
    for (size_t i = 0; s->columns_of != node->in[1] && i < (size_t)cols * w->n; i++) {
        wide[i] = (double)x[i];
    }
    s->columns_of = node->in[1];
    job j = {.s = s, .type = w->tensor->type, .n = w->n, .m = w->m, .cols = cols, .x = wide};
    j.row_bytes = (size_t)w->n / t->block_elems * t->block_bytes;
    j.rows = (const char *)w->tensor->data + w->first / w->n * j.row_bytes;
    j.y = hy__ref_data(s, node->out);
    hy__pool_run(s->pool, w->m, 16, multiply_rows, &j);
}
