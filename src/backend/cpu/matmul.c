/* matmul.c: matrix times columns by the kernels of a level.
 *
 * Threads take ranges of rows; a row is multiplied with every column while it is in the cache.
 * Each product is one call of a kernel, so it depends neither on the threads nor on the other
 * columns. */
#include "cpu.h"

#include "quant/quant.h"

typedef struct job {
    hy__ref_session *s;
    const hy__cpu_table *kernels;
    const uint8_t *rows; /* encoded */
    size_t row_bytes;
    hy_type type;
    uint32_t n, m, cols;
    const float *x;      /* [cols][n] */
    size_t column_bytes; /* of a column in 8 bits */
    float *y;            /* [cols][m] */
} job;

static void quantize_columns(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const job *j = arg;
    (void)thread;
    for (size_t c = begin; c < end; c++) {
        hy__cpu_quantize(j->x + c * j->n, j->n, (char *)j->s->columns + c * j->column_bytes);
    }
}

static void rows_q8(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const job *j = arg;
    const hy__cpu_dot_fn dot = j->kernels->dot[hy__cpu_dot_index(j->type)];
    (void)thread;
    if (hy__ref_cancelled(j->s)) {
        return;
    }
    for (size_t r = begin; r < end; r++) {
        for (uint32_t c = 0; c < j->cols; c++) {
            const hy__q8 x =
                hy__cpu_column((const char *)j->s->columns + c * j->column_bytes, j->n);
            j->y[(size_t)c * j->m + r] = dot(j->rows + r * j->row_bytes, &x, j->n);
        }
    }
}

/* The float types; any other is decoded first. */
static void rows_f32(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const job *j = arg;
    const int index = hy__cpu_dot_f32_index(j->type);
    const hy__cpu_dot_f32_fn dot = j->kernels->dot_f32[index < 0 ? HY__DOT_F32 : index];
    float *decoded = (float *)(void *)hy__ref_scratch(j->s, thread);
    if (hy__ref_cancelled(j->s)) {
        return;
    }
    for (size_t r = begin; r < end; r++) {
        const uint8_t *row = j->rows + r * j->row_bytes;
        if (index < 0) {
            /* Type and length were checked when the graph was built. */
            hy__type_traits_of((uint32_t)j->type)->dequantize_row(row, decoded, j->n);
            row = (const uint8_t *)decoded;
        }
        for (uint32_t c = 0; c < j->cols; c++) {
            j->y[(size_t)c * j->m + r] = dot(row, j->x + (size_t)c * j->n, j->n);
        }
    }
}

/* Rows that a thread takes at a time: enough to be worth handing out, few enough that all threads
 * end together.  A small matrix stays in the calling thread. */
static size_t grain_of(const job *j)
{
    const size_t worth = 32768; /* products and bytes */
    const size_t row = ((size_t)j->n * j->cols + j->row_bytes) / 2;
    return HY_MAX(worth / HY_MAX(row, (size_t)1), (size_t)1);
}

void hy__cpu_matmul(hy__ref_session *s, const hy__node *node)
{
    const hy__cpu_model *model = (const hy__cpu_model *)(const void *)s->model;
    const hy__value *w = &s->model->g->values[node->in[0]];
    const hy_type_info *t = hy_type_find((uint32_t)w->tensor->type);
    job j = {.s = s,
             .kernels = &model->kernels,
             .type = w->tensor->type,
             .n = w->n,
             .m = w->m,
             .cols = hy__ref_cols(s, node->in[1]),
             .x = hy__ref_data(s, node->in[1]),
             .column_bytes = hy__cpu_column_bytes(w->n),
             .y = hy__ref_data(s, node->out)};
    j.row_bytes = (size_t)w->n / t->block_elems * t->block_bytes;
    j.rows = (const uint8_t *)w->tensor->data + w->first / w->n * j.row_bytes;
    if (hy__cpu_dot_index(j.type) < 0) {
        hy__pool_run(s->pool, j.m, grain_of(&j), rows_f32, &j);
        return;
    }
    if (s->columns_of != node->in[1]) {
        hy__pool_run(s->pool, j.cols, 4, quantize_columns, &j);
        s->columns_of = node->in[1];
    }
    hy__pool_run(s->pool, j.m, grain_of(&j), rows_q8, &j);
}
