/* attention.c: attention of many tokens at once, for prefill.
 *
 * Queries are taken in tiles of 12 rows (a row is a head of a token), keys and values in blocks of
 * 32 positions: both products are then those of the matrix kernels for f32, with keys as panels of
 * 16 positions and values as panels of 16 channels.  A block is brought into that form once for all
 * queries of a task.  The softmax runs along, block by block. Single tokens (vec.h) read the caches
 * as they are.  Called by all threads of a session, for tokens and heads of their own. */
#include "cpu.h"

#include <math.h>

enum { BLOCK = HY__ATTENTION_BLOCK, ROWS = HY__PANEL_ROWS, COLS = HY__TILE_COLS };

/* Memory of a task, for up to `rows` rows. */
typedef struct work {
    const hy__cpu_session *s;
    const hy__cpu_attention *a;
    uint32_t t0, t1, rows;
    uint32_t wide;            /* dim_v, filled up to whole panels */
    float *queries;           /* [tiles][dim][12] */
    float *row;               /* [12 rows][dim], or one row of a cache */
    float *keys;              /* [BLOCK / 16][dim][16] */
    float *values;            /* [wide / 16][BLOCK][16] */
    float *weights;           /* [BLOCK][12] */
    float *sums;              /* [12][2][16] */
    float *y;                 /* [rows][wide], before the division by the sum of the weights */
    hy__vec_softmax *softmax; /* [rows] */
} work;

static uint32_t up(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Floats of the parts, each a multiple of 16; parts NULL: only counts. */
static uint64_t lay_out(work *w, float *memory, uint32_t rows, uint32_t dim, uint32_t dim_v)
{
    const uint32_t wide = up(dim_v, ROWS);
    const uint64_t sizes[] = {(uint64_t)up(rows, COLS) * dim,
                              (uint64_t)COLS * HY_MAX(dim, wide),
                              (uint64_t)BLOCK * dim,
                              (uint64_t)BLOCK * wide,
                              BLOCK * COLS,
                              COLS * 2 * ROWS,
                              (uint64_t)rows * wide,
                              (uint64_t)rows * sizeof(hy__vec_softmax) / sizeof(float)};
    uint64_t at[HY_COUNT(sizes)], total = 0;
    for (size_t i = 0; i < HY_COUNT(sizes); i++) {
        at[i] = total;
        total += (sizes[i] + 15) / 16 * 16;
    }
    if (memory) {
        w->wide = wide;
        w->queries = memory + at[0];
        w->row = memory + at[1];
        w->keys = memory + at[2];
        w->values = memory + at[3];
        w->weights = memory + at[4];
        w->sums = memory + at[5];
        w->y = memory + at[6];
        w->softmax = (hy__vec_softmax *)(void *)(memory + at[7]);
    }
    return total;
}

uint32_t hy__cpu_attention_tokens(uint32_t group)
{
    return HY_MAX(96 / group, 1u);
}

uint64_t hy__cpu_attention_scratch(uint32_t group, uint32_t dim, uint32_t dim_v)
{
    return lay_out(NULL, NULL, hy__cpu_attention_tokens(group) * group, dim, dim_v);
}

/* ---- forms */

static void load_queries(const work *w)
{
    const hy__cpu_attention *a = w->a;
    for (uint32_t first = 0; first < w->rows; first += COLS) {
        const uint32_t cols = HY_MIN(w->rows - first, (uint32_t)COLS);
        for (uint32_t c = 0; c < cols; c++) {
            const uint32_t row = first + c;
            memcpy(w->row + (size_t)c * a->dim,
                   a->q + (size_t)(w->t0 + row / a->group) * a->q_stride +
                       (size_t)(row % a->group) * a->dim,
                   a->dim * sizeof *w->row);
        }
        w->s->model->vec->interleave(w->row, a->dim, a->dim, cols,
                                     w->queries + (size_t)first * a->dim);
    }
}

/* Positions from `first` on, at most BLOCK; the rest of the panels is zero. */
static void load_block(const work *w, uint64_t first, uint32_t n)
{
    const hy__cpu_attention *a = w->a;
    const hy__vec *vec = w->s->model->vec;
    if (n < BLOCK) {
        memset(w->keys, 0, (size_t)BLOCK * a->dim * sizeof *w->keys);
        memset(w->values, 0, (size_t)BLOCK * w->wide * sizeof *w->values);
    }
    memset(w->row, 0, w->wide * sizeof *w->row);
    for (uint32_t i = 0; i < n; i++) {
        float *keys = w->keys + (size_t)(i / ROWS) * a->dim * ROWS + i % ROWS;
        vec->kv_read(a->k_type, a->k + (size_t)(first + i) * a->k_stride, w->row, a->dim);
        for (uint32_t c = 0; c < a->dim; c++) {
            keys[(size_t)c * ROWS] = w->row[c];
        }
    }
    memset(w->row, 0, w->wide * sizeof *w->row);
    for (uint32_t i = 0; i < n; i++) {
        vec->kv_read(a->v_type, a->v + (size_t)(first + i) * a->v_stride, w->row, a->dim_v);
        for (uint32_t c = 0; c < w->wide; c += ROWS) {
            memcpy(w->values + ((size_t)c / ROWS * BLOCK + i) * ROWS, w->row + c,
                   ROWS * sizeof *w->row);
        }
    }
}

/* ---- a tile of queries and a block of positions */

static void scores_of_tile(const work *w, uint32_t tile, uint32_t cols, uint64_t first)
{
    const hy__cpu_attention *a = w->a;
    for (uint32_t p = 0; p < BLOCK; p += ROWS) {
        memset(w->sums, 0, sizeof(float) * COLS * 2 * ROWS);
        w->s->model->kernels.gemm_f32(w->keys + (size_t)p * a->dim,
                                      w->queries + (size_t)tile * COLS * a->dim, a->dim, cols,
                                      w->sums);
        for (uint32_t c = 0; c < cols; c++) {
            const uint32_t row = tile * COLS + c;
            const uint64_t pos = w->s->args.pos + w->t0 + row / a->group;
            const float *even = w->sums + (size_t)c * 2 * ROWS, *odd = even + ROWS;
            float *to = w->softmax[row].weights + p;
            for (uint32_t r = 0; r < ROWS; r++) {
                const float score = (even[r] + odd[r]) * a->scale;
                to[r] = first + p + r <= pos ? score : -HUGE_VALF;
            }
        }
    }
}

static void add_values(const work *w, uint32_t tile, uint32_t cols)
{
    for (uint32_t i = 0; i < BLOCK; i++) {
        for (uint32_t c = 0; c < cols; c++) {
            w->weights[(size_t)i * COLS + c] = w->softmax[tile * COLS + c].weights[i];
        }
    }
    for (uint32_t panel = 0; panel < w->wide; panel += ROWS) {
        memset(w->sums, 0, sizeof(float) * COLS * 2 * ROWS);
        w->s->model->kernels.gemm_f32(w->values + (size_t)panel * BLOCK, w->weights, BLOCK, cols,
                                      w->sums);
        for (uint32_t c = 0; c < cols; c++) {
            const uint32_t row = tile * COLS + c;
            const float rescale = w->softmax[row].rescale;
            const float *even = w->sums + (size_t)c * 2 * ROWS, *odd = even + ROWS;
            float *y = w->y + (size_t)row * w->wide + panel;
            for (uint32_t r = 0; r < ROWS; r++) {
                y[r] = y[r] * rescale + (even[r] + odd[r]);
            }
        }
    }
}

static void run_block(const work *w, uint64_t first)
{
    for (uint32_t tile = 0; tile * COLS < w->rows; tile++) {
        const uint32_t cols = HY_MIN(w->rows - tile * COLS, (uint32_t)COLS);
        const uint32_t last = tile * COLS + cols - 1;
        if (first > w->s->args.pos + w->t0 + last / w->a->group) {
            continue; /* the block is behind all of them */
        }
        scores_of_tile(w, tile, cols, first);
        for (uint32_t c = 0; c < cols; c++) {
            w->s->model->vec->softmax(&w->softmax[tile * COLS + c]);
        }
        add_values(w, tile, cols);
    }
}

static void store(const work *w)
{
    const hy__cpu_attention *a = w->a;
    for (uint32_t row = 0; row < w->rows; row++) {
        float *to = a->y + (size_t)(w->t0 + row / a->group) * a->y_stride +
                    (size_t)(row % a->group) * a->dim_v;
        float sum = 0;
        for (uint32_t l = 0; l < HY_COUNT(w->softmax[row].sum); l++) {
            sum += w->softmax[row].sum[l];
        }
        for (uint32_t c = 0; c < a->dim_v; c++) {
            to[c] = w->y[(size_t)row * w->wide + c] / sum;
        }
    }
}

void hy__cpu_attend(hy__cpu_session *s, const hy__cpu_attention *a, uint32_t t0, uint32_t t1,
                    float *scratch)
{
    work w = {.s = s, .a = a, .t0 = t0, .t1 = t1, .rows = (t1 - t0) * a->group};
    const uint64_t end = s->args.pos + t1;
    lay_out(&w, scratch, w.rows, a->dim, a->dim_v);
    load_queries(&w);
    memset(w.y, 0, (size_t)w.rows * w.wide * sizeof *w.y);
    for (uint32_t row = 0; row < w.rows; row++) {
        w.softmax[row] = (hy__vec_softmax){.most = -HUGE_VALF};
    }
    for (uint64_t first = 0; first < end && !hy__cpu_stop(s); first += BLOCK) {
        load_block(&w, first, (uint32_t)HY_MIN(end - first, (uint64_t)BLOCK));
        run_block(&w, first);
    }
    store(&w);
}
