/* attention.c: attention of the tokens of a step, be it one or many.
 *
 * Queries are taken in tiles of 12 rows (a row is a head of a token), keys and values in blocks of
 * 32 positions: both products are those of the matrix kernels for f32, with keys as panels of 16
 * positions and values as panels of 16 channels.  The caches lie in that order (vec.h), so a block
 * is only converted to f32, once for all queries of a task.  The softmax runs along, block by
 * block.
 *
 * What a row gets depends on nothing but itself and the positions that it sees: each column of the
 * kernels is on its own, and the sum over values ends with the last position in sight.  Hence the
 * bits are the same however a text is cut into steps, and memory behind its end never matters.
 * Called by all threads of a session, for tokens and heads of their own. */
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
    float *row;               /* [12][dim] */
    float *block;             /* of keys or of values in f32 */
    float *weights;           /* [BLOCK][12] */
    float *sums;              /* [12][2][16] */
    float *y;                 /* [rows][wide], before the division by the sum of the weights */
    hy__vec_softmax *softmax; /* [rows] */
} work;

static uint32_t up(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Floats of the parts, each a multiple of 16; memory NULL: only counts. */
static uint64_t lay_out(work *w, float *memory, uint32_t rows, uint32_t dim, uint32_t dim_v)
{
    const uint32_t wide = up(dim_v, ROWS);
    const uint64_t sizes[] = {(uint64_t)up(rows, COLS) * dim,
                              (uint64_t)COLS * dim,
                              (uint64_t)BLOCK * HY_MAX(dim, wide),
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
        w->block = memory + at[2];
        w->weights = memory + at[3];
        w->sums = memory + at[4];
        w->y = memory + at[5];
        w->softmax = (hy__vec_softmax *)(void *)(memory + at[6]);
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
    const uint32_t dim = a->k_form.dim;
    for (uint32_t first = 0; first < w->rows; first += COLS) {
        const uint32_t cols = HY_MIN(w->rows - first, (uint32_t)COLS);
        for (uint32_t c = 0; c < cols; c++) {
            const uint32_t row = first + c;
            memcpy(w->row + (size_t)c * dim,
                   a->q + (size_t)(w->t0 + row / a->group) * a->q_stride +
                       (size_t)(row % a->group) * dim,
                   dim * sizeof *w->row);
        }
        w->s->model->vec->interleave(w->row, dim, dim, cols, w->queries + (size_t)first * dim);
    }
}

/* The block with position `first`, of all those at `blocks`, in f32. */
static const float *load_block(const work *w, hy__kv_form form, const char *blocks, uint64_t first)
{
    const char *block = blocks + (size_t)(first / BLOCK) * (size_t)hy__kv_bytes(form);
    if (form.type == HY__KV_F32) {
        return (const float *)(const void *)block;
    }
    w->s->model->vec->kv_expand(form, block, w->block);
    return w->block;
}

/* ---- a tile of queries and a block of positions */

/* Positions of the block that a row sees: those before its own and its own. */
static uint32_t visible(const work *w, uint32_t row, uint64_t first)
{
    const uint64_t end = w->s->args.pos + w->t0 + row / w->a->group + 1;
    return end > first ? (uint32_t)HY_MIN(end - first, (uint64_t)BLOCK) : 0;
}

/* The panel's first position is number p of the block.  Scores out of sight are -HUGE_VALF. */
static void scores_of_panel(const work *w, const float *keys, uint32_t tile, uint32_t cols,
                            uint64_t first, uint32_t p)
{
    const uint32_t dim = w->a->k_form.dim;
    memset(w->sums, 0, sizeof(float) * up(cols, 4) * 2 * ROWS);
    w->s->model->kernels.gemm_f32(keys + (size_t)p * dim, w->queries + (size_t)tile * COLS * dim,
                                  dim, cols, w->sums);
    for (uint32_t c = 0; c < cols; c++) {
        const uint32_t row = tile * COLS + c, n = visible(w, row, first);
        const float *even = w->sums + (size_t)c * 2 * ROWS, *odd = even + ROWS;
        float *to = w->softmax[row].weights + p;
        for (uint32_t r = 0; r < ROWS; r++) {
            to[r] = (even[r] + odd[r]) * w->a->scale;
        }
        for (uint32_t r = n > p ? n - p : 0; r < ROWS; r++) {
            to[r] = -HUGE_VALF;
        }
    }
}

/* Scores and weights of a tile. */
static void weigh(const work *w, const float *keys, uint32_t tile, uint32_t cols, uint64_t first)
{
    for (uint32_t p = 0; p < BLOCK; p += ROWS) {
        scores_of_panel(w, keys, tile, cols, first, p);
    }
    for (uint32_t row = tile * COLS; row < tile * COLS + cols; row++) {
        if (visible(w, row, first) > 0) {
            w->s->model->vec->softmax(&w->softmax[row]);
        }
    }
}

/* The block's first n values for rows row to row + cols. */
static void add_values(const work *w, const float *values, uint32_t row, uint32_t cols, uint32_t n)
{
    const hy__vec_softmax *softmax = w->softmax + row;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t c = 0; c < cols; c++) {
            w->weights[(size_t)i * COLS + c] = softmax[c].weights[i];
        }
    }
    for (uint32_t panel = 0; panel < w->wide; panel += ROWS) {
        memset(w->sums, 0, sizeof(float) * up(cols, 4) * 2 * ROWS);
        w->s->model->kernels.gemm_f32(values + (size_t)panel * BLOCK, w->weights, n, cols, w->sums);
        for (uint32_t c = 0; c < cols; c++) {
            const float *even = w->sums + (size_t)c * 2 * ROWS, *odd = even + ROWS;
            float *y = w->y + (size_t)(row + c) * w->wide + panel;
            for (uint32_t r = 0; r < ROWS; r++) {
                y[r] = y[r] * softmax[c].rescale + (even[r] + odd[r]);
            }
        }
    }
}

/* Rows of a tile that see as many positions of the block are taken together. */
static void add_tile(const work *w, const float *values, uint32_t row, uint32_t end, uint64_t first)
{
    while (row < end) {
        const uint32_t n = visible(w, row, first);
        uint32_t cols = 1;
        while (row + cols < end && visible(w, row + cols, first) == n) {
            cols++;
        }
        if (n > 0) {
            add_values(w, values, row, cols, n);
        }
        row += cols;
    }
}

static void run_block(const work *w, uint64_t first)
{
    const float *keys = load_block(w, w->a->k_form, w->a->k, first);
    for (uint32_t row = 0; row < w->rows; row += COLS) {
        const uint32_t cols = HY_MIN(w->rows - row, (uint32_t)COLS);
        if (visible(w, row + cols - 1, first) > 0) {
            weigh(w, keys, row / COLS, cols, first);
        }
    }
    const float *values = load_block(w, w->a->v_form, w->a->v, first);
    for (uint32_t row = 0; row < w->rows; row += COLS) {
        add_tile(w, values, row, HY_MIN(row + COLS, w->rows), first);
    }
}

static void store(const work *w)
{
    const hy__cpu_attention *a = w->a;
    const uint32_t dim = a->v_form.dim;
    for (uint32_t row = 0; row < w->rows; row++) {
        float *to =
            a->y + (size_t)(w->t0 + row / a->group) * a->y_stride + (size_t)(row % a->group) * dim;
        float sum = 0;
        for (uint32_t l = 0; l < HY_COUNT(w->softmax[row].sum); l++) {
            sum += w->softmax[row].sum[l];
        }
        for (uint32_t c = 0; c < dim; c++) {
            to[c] = w->y[(size_t)row * w->wide + c] / sum;
        }
    }
}

void hy__cpu_attend(hy__cpu_session *s, const hy__cpu_attention *a, uint32_t t0, uint32_t t1,
                    float *scratch)
{
    work w = {.s = s, .a = a, .t0 = t0, .t1 = t1, .rows = (t1 - t0) * a->group};
    const uint64_t end = s->args.pos + t1;
    lay_out(&w, scratch, w.rows, a->k_form.dim, a->v_form.dim);
    load_queries(&w);
    memset(w.weights, 0, sizeof(float) * BLOCK * COLS); /* kernels may read columns in fours */
    memset(w.y, 0, (size_t)w.rows * w.wide * sizeof *w.y);
    for (uint32_t row = 0; row < w.rows; row++) {
        w.softmax[row] = (hy__vec_softmax){.most = -HUGE_VALF};
    }
    for (uint64_t first = 0; first < end && !hy__cpu_stop(s); first += BLOCK) {
        run_block(&w, first);
    }
    store(&w);
}
