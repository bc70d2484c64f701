/* matmul.c: the phases of matrices: activations into the form the kernels read, panels of rows
 * times columns, epilogue.
 *
 * One column: each panel is read once, from memory to its 16 sums.  Many: some panels are expanded
 * to 8 bits a part of the row at a time, and stay in the cache while all columns pass, tile by
 * tile.  Called by all threads of a session, each with panels of its own. */
#include "cpu.h"

#include "quant/quant.h"

enum {
    PANELS = 4,  /* that are expanded together */
    PART = 1024, /* elements of a row that are expanded together: 4 panels fill half of an L2 of 256
                    KiB */
    ROWS = HY__PANEL_ROWS,
    COLS = HY__TILE_COLS
};

/* ---- scratch memory of a thread */

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Bytes of an expanded panel of n elements, and its parts.  B is 16 at least. */
static uint64_t panel_bytes(uint32_t n)
{
    return aligned((uint64_t)n * ROWS) + 2 * aligned((uint64_t)(n / 16 + 1) * ROWS * sizeof(float));
}

static hy__panel panel_at(char *memory, uint32_t n)
{
    char *a = memory + aligned((uint64_t)n * ROWS);
    return (hy__panel){
        .u = (uint8_t *)memory,
        .a = (float *)(void *)a,
        .c = (float *)(void *)(a + aligned((uint64_t)(n / 16 + 1) * ROWS * sizeof(float)))};
}

static uint64_t f32_panel_bytes(uint32_t n)
{
    return aligned((uint64_t)n * ROWS * sizeof(float));
}

uint64_t hy__cpu_matmul_scratch(uint32_t n)
{
    const uint64_t parts = PANELS * panel_bytes(PART);
    const uint64_t floats =
        f32_panel_bytes(n) + aligned((uint64_t)n * sizeof(float)); /* a panel and a row */
    return HY_MAX(HY_MAX(parts, panel_bytes(n)), floats);
}

/* ---- inputs */

static uint64_t f32_tile_bytes(uint32_t n)
{
    return aligned((uint64_t)n * COLS * sizeof(float));
}

static uint32_t tiles_of(uint32_t cols)
{
    return (cols + COLS - 1) / COLS;
}

/* In 8 bits first, then the list of what is not zero or in f32; a single column in f32 is read
 * where it is. */
uint64_t hy__cpu_input_bytes(const hy__cpu_input *in, uint32_t n, uint32_t cols)
{
    if (cols == 1) {
        return (in->q8 ? hy__q8_bytes(n, 1) : 0) + (in->chosen ? hy__chosen_bytes(n) : 0);
    }
    return tiles_of(cols) *
           ((in->q8 ? hy__q8_bytes(n, COLS) : 0) + (in->f32 ? f32_tile_bytes(n) : 0));
}

/* Where the forms of an input begin: the inputs of a phase lie one behind another. */
static char *input_at(const hy__cpu_session *s, const hy__cpu_phase *p, uint32_t input)
{
    char *at = s->inputs;
    for (uint32_t i = 0; i < input; i++) {
        const hy__id value = p->inputs[i].value;
        at += hy__cpu_input_bytes(&p->inputs[i], s->model->g->values[value].n,
                                  hy__cpu_cols(s, value));
    }
    return at;
}

static char *q8_tile(char *input, uint32_t n, uint32_t tile)
{
    return input + tile * hy__q8_bytes(n, COLS);
}

static float *f32_tile(char *input, bool q8, uint32_t n, uint32_t cols, uint32_t tile)
{
    const uint64_t behind = q8 ? tiles_of(cols) * hy__q8_bytes(n, COLS) : 0;
    return (float *)(void *)(input + behind + tile * f32_tile_bytes(n));
}

/* What a number of columns has in the matrices of a phase that lie in columns. */
static uint64_t spared_bytes(const hy__cpu_model *m, const hy__cpu_phase *p, uint32_t cols)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->p->n_anchor; i++) {
        const hy__node *node = &m->g->nodes[p->p->first + p->p->n_prologue + i];
        const hy__cpu_matrix *w = &m->matrices[node->in[0]];
        if (w->columns) {
            bytes += hy__columns_bytes(w->type, w->m) * cols;
        }
    }
    return bytes;
}

uint64_t hy__cpu_spared_bytes(const void *session, uint32_t phase)
{
    const hy__cpu_session *s = session;
    return s->spared[phase];
}

void hy__cpu_prepare(hy__cpu_session *s, const hy__cpu_phase *p, uint32_t input, uint32_t t0,
                     uint32_t t1)
{
    const hy__cpu_input *in = &p->inputs[input];
    const hy__packed_table *kernels = &s->model->kernels;
    const uint32_t n = s->model->g->values[in->value].n;
    const uint32_t cols = hy__cpu_cols(s, in->value);
    const float *x = hy__cpu_data(s, in->value);
    char *to = input_at(s, p, input);
    if (cols == 1) {
        /* Of many tokens one may be left: only the task that has computed the column has it. */
        if (in->q8 && t0 == 0) {
            kernels->quantize(x, n, to);
            if (in->chosen) {
                const hy__q8 q8 = hy__q8_at(to, n, 1);
                const uint32_t read =
                    s->model->columns->choose(&q8, n, in->chosen, to + hy__q8_bytes(n, 1));
                s->spared[p - s->model->program.phases] += spared_bytes(s->model, p, n - read);
            }
        }
        return;
    }
    for (uint32_t t = t0; t < HY_MIN(t1, cols); t += COLS) {
        const uint32_t now = HY_MIN(cols - t, (uint32_t)COLS);
        if (in->q8) {
            kernels->quantize_tile(x + (size_t)t * n, n, n, now, q8_tile(to, n, t / COLS));
        }
        if (in->f32) {
            s->model->vec->interleave(x + (size_t)t * n, n, n, now,
                                      f32_tile(to, in->q8, n, cols, t / COLS));
        }
    }
}

/* ---- a matrix */

typedef struct job {
    const hy__cpu_session *s;
    const hy__cpu_matrix *w;
    const float *x; /* [cols][n] */
    char *input;    /* x in the forms in which it is read */
    bool q8;        /* 8 bits are among them */
    uint32_t cols;
    float *y; /* [cols][m] */
    char *scratch;
} job;

static const uint8_t *panel_of(const job *j, uint32_t panel)
{
    return j->w->data + (size_t)panel * ROWS * j->w->row_bytes;
}

/* The panel of columns that a panel of 16 rows belongs to, from element k on. */
static const uint8_t *columns_of(const job *j, uint32_t panel, uint32_t k)
{
    const hy_type_info *t = hy_type_find((uint32_t)j->w->type);
    return panel_of(j, panel / HY__COLUMNS_PANELS * HY__COLUMNS_PANELS) +
           (size_t)k / t->block_elems * t->block_bytes * HY__COLUMNS_ROWS;
}

static uint32_t rows_of(const job *j, uint32_t panel)
{
    return HY_MIN(j->w->m - panel * ROWS, (uint32_t)ROWS);
}

/* Decodes the rows of a panel that no kernel reads to [n][16]. */
static const float *decode_panel(const job *j, uint32_t panel)
{
    const uint32_t n = j->w->n;
    float *to = (float *)(void *)j->scratch;
    float *row = (float *)(void *)(j->scratch + f32_panel_bytes(n));
    const hy__type_traits *traits = hy__type_traits_of((uint32_t)j->w->type);
    memset(to, 0, (size_t)f32_panel_bytes(n));
    for (uint32_t r = 0; r < rows_of(j, panel); r++) {
        traits->dequantize_row(panel_of(j, panel) + r * j->w->row_bytes, row, n);
        for (uint32_t k = 0; k < n; k++) {
            to[(size_t)k * ROWS + r] = row[k];
        }
    }
    return to;
}

static const float *expand_f32(const job *j, uint32_t panel)
{
    const int index = j->w->f32_index;
    if (index < 0) {
        return decode_panel(j, panel);
    }
    const hy__expand_f32_fn expand = j->s->model->kernels.expand_f32[index];
    if (!expand) {
        return (const float *)(const void *)panel_of(j, panel); /* packed F32: aligned */
    }
    float *to = (float *)(void *)j->scratch;
    expand(panel_of(j, panel), j->w->n, to);
    return to;
}

/* ---- one column */

static void panel_times_column(const job *j, uint32_t panel, float *y)
{
    const hy__packed_table *kernels = &j->s->model->kernels;
    const uint8_t *data = panel_of(j, panel);
    const uint32_t n = j->w->n;
    if (j->w->index >= 0) {
        const hy__q8 x = hy__q8_at(j->input, n, 1);
        kernels->gemv[j->w->index](data, &x, n, y);
    } else if (j->w->f32_index >= 0) {
        kernels->gemv_f32[j->w->f32_index](data, j->x, n, y);
    } else {
        kernels->gemv_f32[HY__PACKED_F32]((const uint8_t *)decode_panel(j, panel), j->x, n, y);
    }
}

/* Tasks begin where a panel of columns does. */
static void columns_times_column(const job *j, uint32_t first, uint32_t end)
{
    const uint32_t n = j->w->n;
    const hy__q8 x = hy__q8_at(j->input, n, 1);
    const hy__chosen chosen = hy__chosen_at(j->input + hy__q8_bytes(n, 1), n);
    const hy__gemv_columns_fn gemv = j->s->model->columns->gemv[j->w->index];
    for (uint32_t panel = first; panel < end; panel += HY__COLUMNS_PANELS) {
        const uint32_t row = panel * ROWS;
        if (j->w->m - row >= HY__COLUMNS_ROWS) {
            gemv(panel_of(j, panel), &x, &chosen, n, j->y + row);
        } else {
            float y[HY__COLUMNS_ROWS];
            gemv(panel_of(j, panel), &x, &chosen, n, y);
            memcpy(j->y + row, y, (j->w->m - row) * sizeof *y);
        }
    }
}

static void times_column(const job *j, uint32_t first, uint32_t end)
{
    if (j->w->columns) {
        columns_times_column(j, first, end);
        return;
    }
    for (uint32_t panel = first; panel < end; panel++) {
        const uint32_t rows = rows_of(j, panel);
        if (rows == ROWS) {
            panel_times_column(j, panel, j->y + (size_t)panel * ROWS);
        } else {
            float y[ROWS];
            panel_times_column(j, panel, y);
            memcpy(j->y + (size_t)panel * ROWS, y, rows * sizeof *y);
        }
    }
}

/* ---- many columns, f32 */

static void times_columns_f32(const job *j, uint32_t panel)
{
    const float *w = expand_f32(j, panel);
    const uint32_t rows = rows_of(j, panel);
    for (uint32_t t = 0; t < j->cols; t += COLS) {
        const uint32_t now = HY_MIN(j->cols - t, (uint32_t)COLS);
        float sums[COLS][2][ROWS] = {{{0}}};
        j->s->model->kernels.gemm_f32(w, f32_tile(j->input, j->q8, j->w->n, j->cols, t / COLS),
                                      j->w->n, now, &sums[0][0][0]);
        for (uint32_t c = 0; c < now; c++) {
            float *y = j->y + (size_t)(t + c) * j->w->m + (size_t)panel * ROWS;
            for (uint32_t r = 0; r < rows; r++) {
                y[r] = sums[c][0][r] + sums[c][1][r];
            }
        }
    }
}

/* ---- many columns, 8 bits */

/* Expands elements k to k + n of `count` panels, at most four, the first a multiple of four. */
static void expand(const job *j, uint32_t first, uint32_t count, uint32_t k, uint32_t n,
                   const hy__panel *out)
{
    const hy__cpu_model *m = j->s->model;
    const hy_type_info *t = hy_type_find((uint32_t)j->w->type);
    const size_t skip = (size_t)k / t->block_elems * t->block_bytes * ROWS;
    if (j->w->columns) {
        m->columns->expand[j->w->index](columns_of(j, first, k), n, first % HY__COLUMNS_PANELS,
                                        count, out);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        m->kernels.expand[j->w->index](panel_of(j, first + i) + skip, n, &out[i]);
    }
}

/* Elements k to k + n of `count` panels, for all columns.  Panels have all their rows. */
static void part_times_columns(const job *j, uint32_t first, uint32_t count, uint32_t k, uint32_t n)
{
    const hy__packed_table *kernels = &j->s->model->kernels;
    const hy__gemm_fn gemm =
        hy__packed_block(j->w->index) == 16 ? kernels->gemm16 : kernels->gemm32;
    hy__panel panels[PANELS];
    for (uint32_t i = 0; i < count; i++) {
        panels[i] = panel_at(j->scratch + i * panel_bytes(PART), PART);
    }
    expand(j, first, count, k, n, panels);
    for (uint32_t c = 0; c < j->cols; c += COLS) {
        const hy__q8 tile =
            hy__q8_from(hy__q8_at(q8_tile(j->input, j->w->n, c / COLS), j->w->n, COLS), k, COLS);
        for (uint32_t i = 0; i < count; i++) {
            gemm(&panels[i], &tile, n, HY_MIN(j->cols - c, (uint32_t)COLS),
                 j->y + (size_t)c * j->w->m + (size_t)(first + i) * ROWS, j->w->m, k > 0);
        }
    }
}

/* The last panel of a matrix whose rows do not fill it: sums go through memory of our own. */
static void rest_times_columns(const job *j, uint32_t panel)
{
    const hy__packed_table *kernels = &j->s->model->kernels;
    const uint32_t n = j->w->n;
    const hy__gemm_fn gemm =
        hy__packed_block(j->w->index) == 16 ? kernels->gemm16 : kernels->gemm32;
    const hy__panel expanded = panel_at(j->scratch, n);
    expand(j, panel, 1, 0, n, &expanded);
    for (uint32_t c = 0; c < j->cols; c += COLS) {
        const uint32_t now = HY_MIN(j->cols - c, (uint32_t)COLS);
        const hy__q8 tile = hy__q8_at(q8_tile(j->input, n, c / COLS), n, COLS);
        float y[COLS][ROWS];
        gemm(&expanded, &tile, n, now, &y[0][0], ROWS, false);
        for (uint32_t i = 0; i < now; i++) {
            memcpy(j->y + (size_t)(c + i) * j->w->m + (size_t)panel * ROWS, y[i],
                   rows_of(j, panel) * sizeof(float));
        }
    }
}

static void times_columns(const job *j, uint32_t first, uint32_t end)
{
    for (uint32_t panel = first; panel < end && j->w->index < 0; panel++) {
        times_columns_f32(j, panel);
    }
    const uint32_t full = HY_MIN(end, j->w->m / ROWS);
    for (uint32_t panel = first; panel < full && j->w->index >= 0; panel += PANELS) {
        for (uint32_t k = 0; k < j->w->n; k += PART) {
            part_times_columns(j, panel, HY_MIN(full - panel, (uint32_t)PANELS), k,
                               HY_MIN(j->w->n - k, (uint32_t)PART));
        }
    }
    if (full < end && j->w->index >= 0) {
        rest_times_columns(j, full);
    }
}

/* ---- a task */

static uint32_t input_of(const hy__cpu_phase *p, hy__id value)
{
    uint32_t i = 0;
    while (p->inputs[i].value != value) {
        i++;
    }
    return i;
}

void hy__cpu_matmul(hy__cpu_session *s, const hy__cpu_phase *p, const hy__cpu_task *task,
                    uint32_t thread)
{
    const hy__cpu_cluster *cluster = &p->clusters[task->cluster];
    const hy__graph *g = s->model->g;
    uint32_t cols = 0;
    for (uint32_t i = 0; i < cluster->n_anchors; i++) {
        const hy__node *node = &g->nodes[cluster->anchors[i]];
        const uint32_t input = input_of(p, node->in[1]);
        const job j = {.s = s,
                       .w = &s->model->matrices[node->in[0]],
                       .x = hy__cpu_data(s, node->in[1]),
                       .y = hy__cpu_data(s, node->out),
                       .input = input_at(s, p, input),
                       .q8 = p->inputs[input].q8,
                       .cols = cols = hy__cpu_cols(s, node->out),
                       .scratch = hy__cpu_scratch(s, thread)};
        if (j.cols == 1) {
            times_column(&j, task->first, task->end);
        } else {
            times_columns(&j, task->first, task->end);
        }
    }
    const hy__cpu_range r = {0, cols, task->first * ROWS, HY_MIN(task->end * ROWS, cluster->m)};
    for (uint32_t i = 0; i < cluster->n_epilogue; i++) {
        hy__cpu_op(s, &g->nodes[cluster->epilogue[i]], r);
    }
}
