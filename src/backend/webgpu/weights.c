/* weights.c: where matrices and vectors lie in GPU memory, and how they come there.
 *
 * Matrices lie one behind another in slabs, buffers no larger than the limits of the device, in the
 * order in which a token reads them; one that is larger than what a kernel can bind is cut into
 * chunks of rows.  Rows are packed into a piece of staging memory that is written to the device and
 * used again.  Model creation only; one thread calls, all processors pack. */
#include "webgpu.h"

#include "quant/quant.h"

enum { ALIGN = 256, STAGING = 16 << 20, MOST_THREADS = 64 };

/* ---- places */

static void describe(hy__gpu_matrix *x, const hy__value *v)
{
    const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
    x->type = v->tensor->type;
    x->format = hy__gpu_format_of(x->type);
    x->n = v->n;
    x->m = v->m;
    x->row_bytes = (size_t)v->n / t->block_elems * t->block_bytes;
    x->rows = (const uint8_t *)v->tensor->data + v->first / v->n * x->row_bytes;
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static hy_status place_chunk(hy__gpu_model *m, uint64_t bytes, hy__gpu_chunk *c, hy_error *err)
{
    if (m->n_slabs == 0 || m->slab_bytes[m->n_slabs - 1] + bytes > m->slab_limit) {
        if (m->n_slabs == HY__GPU_MOST_SLABS) {
            return hy__fail(err, HY_E_LIMIT, "the weights do not fit into %d buffers of %llu bytes",
                            HY__GPU_MOST_SLABS, (unsigned long long)m->slab_limit);
        }
        m->n_slabs++;
    }
    c->slab = m->n_slabs - 1;
    c->offset = m->slab_bytes[c->slab];
    m->slab_bytes[c->slab] += aligned(bytes);
    return HY_OK;
}

static hy_status place_matrix(hy__gpu_model *m, hy__gpu_matrix *x, uint32_t chunk_rows,
                              hy_error *err)
{
    x->chunk_rows = chunk_rows;
    x->n_chunks = (x->m + chunk_rows - 1) / chunk_rows;
    x->chunks = hy__calloc(&m->env, x->n_chunks, sizeof *x->chunks, err);
    if (!x->chunks) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < x->n_chunks; i++) {
        const uint32_t rows = HY_MIN(x->m - i * chunk_rows, chunk_rows);
        HY_TRY(place_chunk(m, hy__gpu_format_bytes(x->format, x->n, rows), &x->chunks[i], err));
    }
    return HY_OK;
}

/* Most rows of a matrix that can be bound with as many of each of `together` bytes a row. */
static uint32_t rows_that_fit(const hy__gpu_model *m, uint32_t rows, uint64_t together)
{
    const uint64_t limit = HY_MIN(m->gpu.caps.max_binding, m->slab_limit) - (1 << 16);
    const uint64_t most = limit / together / 64 * 64;
    return most >= rows ? rows : (uint32_t)HY_MAX(most, (uint64_t)1);
}

/* The matrices of a phase lie together; those of as many rows are cut at the same rows. */
static hy_status place_phase(hy__gpu_model *m, const hy__phase *p, hy_error *err)
{
    const uint32_t first = p->first + p->n_prologue, end = first + p->n_anchor;
    uint64_t all = 0;
    for (uint32_t i = first; i < end; i++) {
        const hy__gpu_matrix *x = &m->matrices[m->g->nodes[i].in[0]];
        all += x->chunks ? 0 : aligned(hy__gpu_format_bytes(x->format, x->n, x->m));
    }
    if (m->n_slabs > 0 && all <= m->slab_limit &&
        m->slab_bytes[m->n_slabs - 1] + all > m->slab_limit && m->n_slabs < HY__GPU_MOST_SLABS) {
        m->n_slabs++;
    }
    for (uint32_t i = first; i < end; i++) {
        hy__gpu_matrix *x = &m->matrices[m->g->nodes[i].in[0]];
        uint64_t row = 0;
        for (uint32_t k = first; k < end; k++) {
            const hy__gpu_matrix *other = &m->matrices[m->g->nodes[k].in[0]];
            row += other->m == x->m ? hy__gpu_format_bytes(other->format, other->n, 1) : 0;
        }
        if (!x->chunks) {
            HY_TRY(place_matrix(m, x, rows_that_fit(m, x->m, row), err));
        }
    }
    return HY_OK;
}

static hy_status place_vectors(hy__gpu_model *m, hy_error *err)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        m->vector_place[i] = UINT64_MAX;
    }
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        const hy__node *node = &m->g->nodes[i];
        const bool matrix = node->op == HY__OP_MATMUL || node->op == HY__OP_EMBED;
        for (uint32_t k = matrix; k < hy__ops[node->op].n_inputs; k++) {
            const hy__value *v = &m->g->values[node->in[k]];
            if (v->kind == HY__WEIGHT && m->vector_place[node->in[k]] == UINT64_MAX) {
                m->vector_place[node->in[k]] = n;
                /* Bindings may begin at each. */
                n += ((uint64_t)v->n + 63) / 64 * 64;
            }
        }
    }
    m->vectors_bytes = HY_MAX(4 * n, (uint64_t)16);
    if (m->vectors_bytes > m->gpu.caps.max_binding) {
        return hy__fail(err, HY_E_LIMIT,
                        "the vectors of the model have %llu bytes; a kernel of this "
                        "GPU can read %llu",
                        (unsigned long long)m->vectors_bytes,
                        (unsigned long long)m->gpu.caps.max_binding);
    }
    return HY_OK;
}

hy_status hy__gpu_weights_place(hy__gpu_model *m, hy_error *err)
{
    const hy__graph *g = m->g;
    m->slab_limit = m->gpu.caps.max_buffer / ALIGN * ALIGN;
    m->matrices = hy__calloc(&m->env, g->n_values, sizeof *m->matrices, err);
    m->vector_place =
        m->matrices ? hy__calloc(&m->env, g->n_values, sizeof *m->vector_place, err) : NULL;
    if (!m->vector_place) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const hy__node *node = &g->nodes[i];
        if (node->op == HY__OP_MATMUL || node->op == HY__OP_EMBED) {
            describe(&m->matrices[node->in[0]], &g->values[node->in[0]]);
        }
    }
    for (uint32_t i = 0; i < m->f->n_phases; i++) {
        const hy__phase *p = &m->f->phases[i];
        if (p->kind == HY__PHASE_MATMUL || p->kind == HY__PHASE_EMBED) {
            HY_TRY(place_phase(m, p, err));
        }
    }
    return place_vectors(m, err);
}

/* ---- uploads */

typedef struct upload {
    hy__gpu_model *m;
    const hy__backend_model_opts *opts;
    hy__pool *pool;
    uint32_t n_threads;
    uint8_t *staging;
    uint64_t done, all, unfinished;
} upload;

typedef struct pack_job {
    const hy__gpu_matrix *x;
    uint32_t first, rows; /* packed as a matrix of `rows` rows */
    uint8_t *to;
    float *scratch; /* [threads][padded] */
    hy_status *status;
} pack_job;

static void pack_rows(void *arg, size_t begin, size_t end, uint32_t thread)
{
    const pack_job *j = arg;
    const hy__gpu_matrix *x = j->x;
    const size_t padded = ((size_t)x->n + 31) / 32 * 32;
    const hy_status status =
        hy__gpu_pack(x->format, x->type, x->rows + (j->first + begin) * x->row_bytes, x->row_bytes,
                     x->n, j->rows, (uint32_t)begin, (uint32_t)(end - begin), j->to,
                     j->scratch ? j->scratch + thread * padded : NULL, NULL);
    if (status != HY_OK) {
        j->status[thread] = status;
    }
}

/* Planes of a part of a chunk's rows go to where they lie among those of the chunk. */
static hy_status write_planes(upload *u, const hy__gpu_matrix *x, const hy__gpu_chunk *c,
                              uint32_t chunk_rows, uint32_t first, uint32_t rows)
{
    hy__gpu *gpu = &u->m->gpu;
    uint64_t from = 0, to = c->offset;
    for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
        const uint64_t bytes = hy__gpu_plane_bytes(x->format, x->n, rows, k);
        const uint64_t before =
            x->format->planes[k] * (((uint64_t)x->n + 31) / 32 * 32) / 256 * first;
        if (bytes > 0) {
            gpu->lib.QueueWriteBuffer(gpu->queue, u->m->slabs[c->slab], to + before,
                                      u->staging + from, (size_t)bytes);
        }
        from += bytes;
        to += hy__gpu_plane_bytes(x->format, x->n, chunk_rows, k);
    }
    return HY_OK;
}

/* The library keeps what was written until the device has it: it is waited for now and then. */
static hy_status settle(upload *u, uint64_t bytes, hy_error *err)
{
    u->done += bytes;
    u->unfinished += bytes;
    if (u->unfinished >= 4 * (uint64_t)STAGING) {
        u->unfinished = 0;
        HY_TRY(hy__gpu_submit(
            &u->m->gpu, u->m->gpu.lib.DeviceCreateCommandEncoder(u->m->gpu.device, NULL), err));
        HY_TRY(hy__gpu_finish(&u->m->gpu, err));
    }
    if (u->opts->progress && !u->opts->progress(u->opts->progress_user, u->done, u->all)) {
        return hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
    }
    return hy__gpu_check(&u->m->gpu, err);
}

/* Rows at a time: what fits into the staging memory, and planes then begin at multiples of 16. */
static uint32_t rows_of_staging(const hy__gpu_matrix *x)
{
    const uint64_t row = hy__gpu_format_bytes(x->format, x->n, 64) / 64 + 1;
    return (uint32_t)HY_MAX((STAGING - 1024) / row / 64 * 64, (uint64_t)64);
}

/* Rows are never cut, however long they are. */
static uint64_t staging_bytes(const hy__gpu_model *m)
{
    uint64_t most = STAGING;
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        const hy__gpu_matrix *x = &m->matrices[i];
        if (x->rows) {
            most = HY_MAX(most, hy__gpu_format_bytes(x->format, x->n, rows_of_staging(x)));
        }
    }
    return most;
}

static hy_status load_matrix(upload *u, hy__gpu_matrix *x, hy_error *err)
{
    const uint32_t threads = u->n_threads;
    const size_t padded = ((size_t)x->n + 31) / 32 * 32;
    hy_status statuses[MOST_THREADS] = {HY_OK};
    float *scratch = NULL;
    if (x->format->type != x->type) {
        scratch = hy__alloc(&u->m->env, padded * threads, sizeof *scratch, err);
        if (!scratch) {
            return HY_E_NOMEM;
        }
    }
    hy_status status = HY_OK;
    const uint32_t most = rows_of_staging(x);
    for (uint32_t c = 0; c < x->n_chunks && status == HY_OK; c++) {
        const uint32_t row0 = c * x->chunk_rows, rows = HY_MIN(x->m - row0, x->chunk_rows);
        for (uint32_t first = 0; first < rows && status == HY_OK; first += most) {
            const uint32_t n = HY_MIN(rows - first, most);
            const pack_job j = {x, row0 + first, n, u->staging, scratch, statuses};
            memset(u->staging, 0, (size_t)hy__gpu_format_bytes(x->format, x->n, n));
            hy__pool_run(u->pool, n, HY_MAX(65536 / (x->row_bytes + 1), (size_t)1), pack_rows,
                         (void *)&j);
            for (uint32_t t = 0; t < threads; t++) {
                status = statuses[t] != HY_OK ? statuses[t] : status;
            }
            if (status == HY_OK) {
                status = write_planes(u, x, &x->chunks[c], rows, first, n);
            }
            if (status == HY_OK) {
                status = settle(u, n * (uint64_t)x->row_bytes, err);
            }
        }
    }
    if (u->opts->mapped) {
        hy__advise_drop(x->rows, x->m * x->row_bytes);
    }
    hy__free(&u->m->env, scratch);
    return status;
}

static hy_status load_vectors(upload *u, hy_error *err)
{
    hy__gpu_model *m = u->m;
    float *all = hy__calloc(&m->env, (size_t)m->vectors_bytes / 4, sizeof *all, err);
    hy_status status = all ? HY_OK : HY_E_NOMEM;
    for (uint32_t i = 0; i < m->g->n_values && status == HY_OK; i++) {
        const hy__value *v = &m->g->values[i];
        if (m->vector_place[i] == UINT64_MAX) {
            continue;
        }
        const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
        if (v->first % t->block_elems != 0 || v->n % t->block_elems != 0) {
            status = hy__fail(err, HY_E_UNSUPPORTED,
                              "tensor %s: %u elements of type %s do not begin with a block",
                              v->name, v->n, t->name);
            break;
        }
        const char *data =
            (const char *)v->tensor->data + v->first / t->block_elems * t->block_bytes;
        status = hy_dequantize(v->tensor->type, data, all + m->vector_place[i], v->n, err);
    }
    if (status == HY_OK) {
        m->gpu.lib.QueueWriteBuffer(m->gpu.queue, m->vectors, 0, all, (size_t)m->vectors_bytes);
        status = hy__gpu_check(&m->gpu, err);
    }
    hy__free(&m->env, all);
    return status;
}

static hy_status make_buffers(hy__gpu_model *m, hy_error *err)
{
    const WGPUBufferUsage usage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst;
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        HY_TRY(hy__gpu_buffer(&m->gpu, HY_MAX(m->slab_bytes[i], (uint64_t)16), usage, "weights",
                              &m->slabs[i], err));
    }
    return hy__gpu_buffer(&m->gpu, m->vectors_bytes, usage, "vectors", &m->vectors, err);
}

static hy_status load_all(upload *u, hy_error *err)
{
    hy__gpu_model *m = u->m;
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        if (m->matrices[i].rows) {
            u->all += m->matrices[i].m * (uint64_t)m->matrices[i].row_bytes;
        }
    }
    HY_TRY(load_vectors(u, err));
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        if (m->matrices[i].rows) {
            HY_TRY(load_matrix(u, &m->matrices[i], err));
        }
    }
    return hy__gpu_finish(&m->gpu, err);
}

hy_status hy__gpu_weights_load(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    upload u = {.m = m, .opts = opts};
    size_t staging;
    HY_TRY(make_buffers(m, err));
    HY_TRY(hy__size("the staging of weights", 1, staging_bytes(m), &staging, err));
    u.staging = hy__alloc(&m->env, 1, staging, err);
    if (!u.staging) {
        return HY_E_NOMEM;
    }
    u.n_threads = HY_MIN(hy_cpu_count(), (uint32_t)MOST_THREADS);
    hy_status status = hy__pool_create(&m->env, u.n_threads, &u.pool, err);
    if (status == HY_OK) {
        status = load_all(&u, err);
        hy__pool_destroy(u.pool);
    }
    hy__free(&m->env, u.staging);
    return status;
}

void hy__gpu_weights_finish(hy__gpu_model *m)
{
    for (uint32_t i = 0; m->matrices && i < m->g->n_values; i++) {
        hy__free(&m->env, m->matrices[i].chunks);
    }
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        hy__gpu_buffer_free(&m->gpu, m->slabs[i]);
    }
    hy__gpu_buffer_free(&m->gpu, m->vectors);
    hy__free(&m->env, m->matrices);
    hy__free(&m->env, m->vector_place);
}
