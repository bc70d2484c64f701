/* weights.c: from the tensors of the file to what the kernels read.
 *
 * Vectors are decoded.  Matrices are packed, panel by panel, by all processors; pages of a mapped
 * file that have been read are given back as packing goes on, so that the weights are never in
 * memory twice. */
#include "cpu.h"

#include "quant/quant.h"

enum { GRAIN_BYTES = 1 << 18 }; /* that a thread packs at a time */

/* Vectors are short and used everywhere: they are decoded once. */
static hy_status decode_vector(hy__cpu_model *m, hy__id id, hy_error *err)
{
    const hy__value *v = &m->g->values[id];
    const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
    if (m->vectors[id]) {
        return HY_OK;
    }
    if (v->first % t->block_elems != 0 || v->n % t->block_elems != 0) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "tensor %s: %u elements of type %s do not begin with a block", v->name,
                        v->n, t->name);
    }
    m->vectors[id] = hy__alloc(&m->env, v->n, sizeof(float), err);
    if (!m->vectors[id]) {
        return HY_E_NOMEM;
    }
    const char *data = (const char *)v->tensor->data + v->first / t->block_elems * t->block_bytes;
    return hy_dequantize(v->tensor->type, data, m->vectors[id], v->n, err);
}

static bool is_packed(const hy__cpu_matrix *x)
{
    return x->index >= 0 || x->f32_index >= 0;
}

static uint32_t panel_rows(const hy__cpu_matrix *x)
{
    return x->columns ? HY__COLUMNS_ROWS : HY__PANEL_ROWS;
}

static uint32_t panels_of(const hy__cpu_matrix *x)
{
    return (x->m + panel_rows(x) - 1) / panel_rows(x);
}

/* A matrix of few long rows takes up to 16 times its bytes in the file.  If the layout is still to
 * be chosen: enough for both. */
static uint64_t packed_bytes(const hy__cpu_matrix *x)
{
    const uint64_t rows = x->sparse ? HY__COLUMNS_ROWS : HY__PANEL_ROWS;
    const uint64_t bytes = (x->m + rows - 1) / rows * rows * x->row_bytes;
    return (bytes + 63) / 64 * 64;
}

static void describe_matrix(hy__cpu_matrix *x, const hy__value *v)
{
    const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
    x->type = v->tensor->type;
    x->index = hy__packed_index(x->type);
    x->f32_index = hy__packed_f32_index(x->type);
    x->n = v->n;
    x->m = v->m;
    x->row_bytes = (size_t)v->n / t->block_elems * t->block_bytes;
    x->rows = (const uint8_t *)v->tensor->data + v->first / v->n * x->row_bytes;
    x->data = is_packed(x) ? NULL : x->rows;
}

typedef struct pack_job {
    const hy__cpu_matrix *from;
    uint8_t *to;
} pack_job;

static void pack_panels(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const pack_job *j = arg;
    const hy__cpu_matrix *x = j->from;
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const uint32_t first = (uint32_t)p * panel_rows(x), n = HY_MIN(x->m - first, panel_rows(x));
        const uint8_t *rows = x->rows + first * x->row_bytes;
        uint8_t *panel = j->to + first * x->row_bytes;
        if (x->columns) {
            hy__columns_pack(x->type, rows, x->row_bytes, n, x->n, panel);
        } else {
            hy__pack_panel(x->type, rows, x->row_bytes, n, x->n, panel);
        }
    }
}

/* A pool to pack with, or NULL: the caller packs alone.  Threads that do not start make loading
 * slower, never impossible: half as many are tried, and so on. */
static hy__pool *packing_pool(const hy_env *env)
{
    hy__pool *pool = NULL;
    uint32_t n = HY_MIN(hy_cpu_count(), 1024u);
    while (n > 1 && hy__pool_create(env, n, &pool, NULL) != HY_OK) {
        n /= 2;
    }
    return pool;
}

/* Packs a matrix and gives the pages of the file back. */
static void pack_matrix(hy__cpu_model *m, hy__cpu_matrix *x, hy__pool *pool, bool mapped)
{
    const pack_job job = {x, (uint8_t *)m->packed + x->place};
    const size_t panel = panel_rows(x) * x->row_bytes;
    hy__pool_run(pool, panels_of(x), HY_MAX(GRAIN_BYTES / panel, (size_t)1), pack_panels,
                 (void *)&job);
    if (mapped) {
        hy__advise_drop(x->rows, x->m * x->row_bytes);
    }
    x->data = job.to;
}

/* Packs the matrices that are not packed yet; put_off: of those that may lie in columns only the
 * first ones. */
static hy_status pack_all(hy__cpu_model *m, const hy__backend_model_opts *opts, bool put_off,
                          hy_error *err)
{
    hy__pool *pool = m->packed_bytes > GRAIN_BYTES ? packing_pool(&m->env) : NULL;
    uint64_t done = 0;
    hy_status status = HY_OK;
    for (uint32_t i = 0, n_sparse = 0; i < m->g->n_values && status == HY_OK; i++) {
        hy__cpu_matrix *x = &m->matrices[i];
        if (!is_packed(x) || (put_off && x->sparse && n_sparse++ >= HY__CPU_COUNTED)) {
            continue;
        }
        done += packed_bytes(x);
        if (x->data) {
            continue;
        }
        pack_matrix(m, x, pool, opts->mapped);
        if (opts->progress && !opts->progress(opts->progress_user, done, m->packed_bytes)) {
            status = hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
        }
    }
    hy__pool_destroy(pool);
    return status;
}

/* Whether a value is a squared ReLU: zero for all that was not above zero. */
static bool is_sparse(const hy__graph *g, hy__id id)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].out == id) {
            return g->nodes[i].op == HY__OP_RELU2;
        }
    }
    return false;
}

/* Matrices that multiply sparse values alone may lie in columns, if that takes no more than a
 * sixteenth of memory for the rows that are missing in the last panel. */
static void find_sparse(hy__cpu_model *m)
{
    const hy__graph *g = m->g;
    for (uint32_t pass = 0; pass < 2 && m->columns; pass++) {
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            const hy__node *node = &g->nodes[i];
            if (node->op != HY__OP_MATMUL) {
                continue;
            }
            hy__cpu_matrix *x = &m->matrices[node->in[0]];
            const bool sparse = is_sparse(g, node->in[1]);
            if (pass == 0 && sparse) {
                const uint32_t missing =
                    (HY__COLUMNS_ROWS - x->m % HY__COLUMNS_ROWS) % HY__COLUMNS_ROWS;
                x->sparse = x->index >= 0 && m->columns->gemv[x->index] && missing <= x->m / 16;
            } else if (pass == 1 && !sparse) {
                x->sparse = false;
            }
        }
    }
}

static hy_status collect(hy__cpu_model *m, hy_error *err)
{
    const hy__graph *g = m->g;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const hy__node *node = &g->nodes[i];
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
            const hy__value *v = &g->values[node->in[k]];
            if (v->kind != HY__WEIGHT) {
                continue;
            }
            if (node->op == HY__OP_MATMUL) {
                describe_matrix(&m->matrices[node->in[k]], v);
            } else if (node->op != HY__OP_EMBED) {
                HY_TRY(decode_vector(m, node->in[k], err));
            }
        }
    }
    return HY_OK;
}

hy_status hy__cpu_weights(hy__cpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    const uint32_t n = m->g->n_values;
    m->vectors = hy__calloc(&m->env, n, sizeof *m->vectors, err);
    m->matrices = m->vectors ? hy__calloc(&m->env, n, sizeof *m->matrices, err) : NULL;
    if (!m->matrices) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        m->matrices[i].index = m->matrices[i].f32_index = -1;
    }
    HY_TRY(collect(m, err));
    find_sparse(m);
    for (uint32_t i = 0; i < n; i++) {
        hy__cpu_matrix *x = &m->matrices[i];
        if (is_packed(x)) {
            x->place = m->packed_bytes;
            m->packed_bytes += packed_bytes(x);
        }
    }
    size_t bytes;
    HY_TRY(hy__size("the packed weights", m->packed_bytes, 1, &bytes, err));
    m->packed = hy__alloc_aligned(&m->env, bytes, 1, err);
    if (!m->packed) {
        return HY_E_NOMEM;
    }
    hy__advise_huge(m->packed, bytes);
    return pack_all(m, opts, true, err);
}

hy_status hy__cpu_weights_rest(hy__cpu_model *m, const hy__backend_model_opts *opts, bool columns,
                               hy_error *err)
{
    for (uint32_t i = 0; i < m->g->n_values && columns; i++) {
        hy__cpu_matrix *x = &m->matrices[i];
        if (x->sparse) {
            x->columns = true;
            x->data = NULL;
        }
    }
    return pack_all(m, opts, false, err);
}

void hy__cpu_weights_finish(hy__cpu_model *m)
{
    for (uint32_t i = 0; m->vectors && i < m->g->n_values; i++) {
        hy__free(&m->env, m->vectors[i]);
    }
    hy__free(&m->env, m->vectors);
    hy__free(&m->env, m->matrices);
    hy__free_aligned(&m->env, m->packed);
}
