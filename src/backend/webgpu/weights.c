/* weights.c: where matrices and vectors lie in GPU memory, and how they come there.
 *
 * Matrices lie one behind another in slabs, buffers no larger than the limits of the device, in the
 * order in which a token reads them; one that is larger than what a kernel can bind is cut into
 * chunks of rows.  Rows are packed into pieces of memory that host and device share, and the device
 * copies them from there while the next piece is packed.  Model creation only; one thread calls,
 * all processors pack. */
#include "webgpu.h"

#include "quant/quant.h"

enum { ALIGN = 256, PIECE = 16 << 20, MOST_THREADS = 64 };

/* ---- places */

static void describe(const hy__gpu_model *m, hy__gpu_matrix *x, const hy__value *v)
{
    const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
    x->type = v->tensor->type;
    x->format = m->form >= HY__GPU_FORM_RAW ? hy__gpu_raw_of(x->type) : hy__gpu_format_of(x->type);
    if (x->format->codes && !(m->use & hy__gpu_use_format(x->format))) {
        x->format = hy__gpu_format_of(HY_TYPE_F16);
    }
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

static hy_status describe_all(hy__gpu_model *m, hy_error *err)
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
            describe(m, &m->matrices[node->in[0]], &g->values[node->in[0]]);
        }
    }
    return HY_OK;
}

hy_status hy__gpu_weights_place_phase(hy__gpu_model *m, uint32_t phase, hy_error *err)
{
    HY_TRY(describe_all(m, err));
    return place_phase(m, &m->f->phases[phase], err);
}

hy_status hy__gpu_weights_place(hy__gpu_model *m, hy_error *err)
{
    HY_TRY(describe_all(m, err));
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
    uint8_t *packed; /* [n_threads][packed_bytes]: what a thread packs before it goes to a piece */
    size_t packed_bytes;
    float *decoded; /* [n_threads][n_decoded], of types that are decoded */
    size_t n_decoded;
    uint64_t piece_bytes;
    uint32_t next; /* piece */
    uint64_t done, all;
} upload;

typedef struct pack_job {
    const upload *u;
    const hy__gpu_matrix *x;
    uint32_t first, rows; /* packed as a matrix of `rows` rows */
    uint8_t *to;
    atomic_int status; /* of any that failed */
} pack_job;

static size_t padded(const hy__gpu_matrix *x)
{
    return ((size_t)x->n + 31) / 32 * 32;
}

static uint64_t row_plane_bytes(const hy__gpu_matrix *x, uint32_t k)
{
    return x->format->planes[k] * (uint64_t)padded(x) / 256;
}

/* Rows that a thread takes at a time: they fit into its cache. */
static uint32_t rows_of_thread(const hy__gpu_matrix *x)
{
    return (uint32_t)HY_MAX(65536 / (x->row_bytes + 1), (size_t)1);
}

/* Rows of a piece: planes then begin at multiples of 16.  Rows are never cut, however long. */
static uint32_t rows_of_piece(const hy__gpu_matrix *x)
{
    const uint64_t row = hy__gpu_format_bytes(x->format, x->n, 64) / 64 + 1;
    return (uint32_t)HY_MAX((PIECE - 1024) / row / 64 * 64, (uint64_t)64);
}

/* Memory shared with a device is often written well only in long stretches, and read badly: rows
 * are packed elsewhere first. */
static void pack_rows(void *arg, size_t begin, size_t end, uint32_t thread)
{
    pack_job *j = arg;
    const hy__gpu_matrix *x = j->x;
    const uint32_t n = (uint32_t)(end - begin);
    uint8_t *packed = j->u->packed + thread * j->u->packed_bytes, *to = j->to;
    if (x->n % HY__GPU_BLOCK != 0) {
        memset(packed, 0, (size_t)hy__gpu_format_bytes(x->format, x->n, n));
    }
    const hy_status status = hy__gpu_pack(
        x->format, x->type, x->rows + (j->first + begin) * x->row_bytes, x->row_bytes, x->n, n, 0,
        n, packed, j->u->decoded ? j->u->decoded + thread * j->u->n_decoded : NULL, NULL);
    if (status != HY_OK) {
        atomic_store(&j->status, status);
    }
    for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
        const uint64_t row = row_plane_bytes(x, k);
        memcpy(to + row * begin, packed, (size_t)(row * n));
        packed += hy__gpu_plane_bytes(x->format, x->n, n, k);
        to += hy__gpu_plane_bytes(x->format, x->n, j->rows, k);
    }
}

/* The next piece, once the device has copied what was in it before. */
static hy_status take_piece(upload *u, hy__gpu_piece **piece, void **data, hy_error *err)
{
    hy__gpu *gpu = &u->m->gpu;
    hy__gpu_piece *p = &u->m->pieces[u->next];
    u->next = (u->next + 1) % HY__GPU_PIECES;
    *piece = p;
    return hy__gpu_map_end(gpu, p->buffer, (size_t)u->piece_bytes, &p->mapping, data, err);
}

/* Planes of a part of a chunk's rows go to where they lie among those of the chunk. */
static hy_status send_piece(upload *u, hy__gpu_piece *p, const hy__gpu_matrix *x,
                            const hy__gpu_chunk *c, uint32_t chunk_rows, uint32_t first,
                            uint32_t rows, hy_error *err)
{
    hy__gpu *gpu = &u->m->gpu;
    uint64_t from = 0, to = c->offset;
    gpu->lib.BufferUnmap(p->buffer);
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
        const uint64_t bytes = hy__gpu_plane_bytes(x->format, x->n, rows, k);
        if (bytes > 0) {
            gpu->lib.CommandEncoderCopyBufferToBuffer(encoder, p->buffer, from,
                                                      u->m->slabs[c->slab],
                                                      to + row_plane_bytes(x, k) * first, bytes);
        }
        from += bytes;
        to += hy__gpu_plane_bytes(x->format, x->n, chunk_rows, k);
    }
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    hy__gpu_map_begin(gpu, p->buffer, (size_t)u->piece_bytes, &p->mapping);
    return HY_OK;
}

static hy_status tell(upload *u, uint64_t bytes, hy_error *err)
{
    u->done += bytes;
    hy__gpu_compile_poll(&u->m->compiling);
    return !u->opts->progress || u->opts->progress(u->opts->progress_user, u->done, u->all)
               ? HY_OK
               : hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
}

/* Rows first to first + n - 1 of chunk c, which has `rows`. */
static hy_status load_rows(upload *u, const hy__gpu_matrix *x, uint32_t c, uint32_t rows,
                           uint32_t first, uint32_t n, hy_error *err)
{
    hy__gpu_piece *piece;
    void *data;
    HY_TRY(take_piece(u, &piece, &data, err));
    pack_job j = {.u = u, .x = x, .first = c * x->chunk_rows + first, .rows = n, .to = data};
    atomic_init(&j.status, HY_OK);
    hy__pool_run(u->pool, n, rows_of_thread(x), pack_rows, &j);
    const hy_status status = (hy_status)atomic_load(&j.status);
    if (status != HY_OK) {
        return hy__fail(err, status, "rows of type %s cannot be decoded",
                        hy_type_find((uint32_t)x->type)->name);
    }
    HY_TRY(send_piece(u, piece, x, &x->chunks[c], rows, first, n, err));
    if (u->opts->mapped) {
        hy__advise_drop(x->rows + j.first * x->row_bytes, n * x->row_bytes);
    }
    return tell(u, n * (uint64_t)x->row_bytes, err);
}

static hy_status load_matrix(upload *u, const hy__gpu_matrix *x, hy_error *err)
{
    const uint32_t most = rows_of_piece(x);
    for (uint32_t c = 0; c < x->n_chunks; c++) {
        const uint32_t rows = HY_MIN(x->m - c * x->chunk_rows, x->chunk_rows);
        for (uint32_t first = 0; first < rows; first += most) {
            HY_TRY(load_rows(u, x, c, rows, first, HY_MIN(rows - first, most), err));
        }
    }
    return HY_OK;
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

/* What the largest piece needs. */
static uint64_t piece_bytes(const hy__gpu_model *m)
{
    uint64_t most = 16;
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        const hy__gpu_matrix *x = &m->matrices[i];
        if (x->rows) {
            const uint32_t rows = HY_MIN(rows_of_piece(x), x->m);
            most = HY_MAX(most, hy__gpu_format_bytes(x->format, x->n, rows));
        }
    }
    return most;
}

hy_status hy__gpu_weights_make(hy__gpu_model *m, hy_error *err)
{
    const WGPUBufferUsage usage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst;
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        HY_TRY(hy__gpu_buffer(&m->gpu, HY_MAX(m->slab_bytes[i], (uint64_t)16), usage, "weights",
                              &m->slabs[i], err));
    }
    HY_TRY(hy__gpu_buffer(&m->gpu, m->vectors_bytes, usage, "vectors", &m->vectors, err));
    for (uint32_t i = 0; i < HY__GPU_PIECES; i++) {
        hy__gpu_piece *p = &m->pieces[i];
        HY_TRY(hy__gpu_buffer(&m->gpu, piece_bytes(m),
                              WGPUBufferUsage_MapWrite | WGPUBufferUsage_CopySrc, "uploads",
                              &p->buffer, err));
        hy__gpu_map_begin(&m->gpu, p->buffer, (size_t)piece_bytes(m), &p->mapping);
    }
    return HY_OK;
}

/* ---- through the queue */

/* Rows first to first + n - 1 of chunk c, which has `rows`, packed in `to`. */
static hy_status write_rows(hy__gpu_model *m, const hy__gpu_matrix *x, const WGPUBuffer *slabs,
                            uint32_t c, uint32_t rows, uint32_t first, uint32_t n, uint8_t *to,
                            float *decoded, hy_error *err)
{
    const uint8_t *from = x->rows + ((size_t)c * x->chunk_rows + first) * x->row_bytes;
    uint64_t at = x->chunks[c].offset;
    memset(to, 0, (size_t)hy__gpu_format_bytes(x->format, x->n, n));
    HY_TRY(hy__gpu_pack(x->format, x->type, from, x->row_bytes, x->n, n, 0, n, to, decoded, err));
    for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
        const uint64_t bytes = hy__gpu_plane_bytes(x->format, x->n, n, k);
        if (bytes > 0) {
            m->gpu.lib.QueueWriteBuffer(m->gpu.queue, slabs[x->chunks[c].slab],
                                        at + row_plane_bytes(x, k) * first, to, (size_t)bytes);
        }
        to += bytes;
        at += hy__gpu_plane_bytes(x->format, x->n, rows, k);
    }
    return HY_OK;
}

hy_status hy__gpu_matrix_write(hy__gpu_model *m, const hy__gpu_matrix *x, const WGPUBuffer *slabs,
                               hy_error *err)
{
    const uint32_t most = rows_of_piece(x);
    const size_t bytes = (size_t)hy__gpu_format_bytes(x->format, x->n, HY_MIN(most, x->m));
    uint8_t *packed = hy__alloc(&m->env, bytes, 1, err);
    float *decoded = packed ? hy__calloc(&m->env, padded(x), sizeof *decoded, err) : NULL;
    hy_status status = decoded ? HY_OK : HY_E_NOMEM;
    for (uint32_t c = 0; c < x->n_chunks && status == HY_OK; c++) {
        const uint32_t rows = HY_MIN(x->m - c * x->chunk_rows, x->chunk_rows);
        for (uint32_t first = 0; first < rows && status == HY_OK; first += most) {
            status = write_rows(m, x, slabs, c, rows, first, HY_MIN(rows - first, most), packed,
                                decoded, err);
        }
    }
    hy__free(&m->env, packed);
    hy__free(&m->env, decoded);
    return status;
}

/* ---- all of it */

uint64_t hy__gpu_weights_bytes(const hy__gpu_model *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        sum += m->matrices[i].rows ? m->matrices[i].m * (uint64_t)m->matrices[i].row_bytes : 0;
    }
    return sum;
}

/* What the threads need for the largest rows. */
static hy_status make_room(upload *u, hy_error *err)
{
    const hy__gpu_model *m = u->m;
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        const hy__gpu_matrix *x = &m->matrices[i];
        if (x->rows) {
            const uint64_t packed = hy__gpu_format_bytes(x->format, x->n, rows_of_thread(x));
            u->packed_bytes = HY_MAX(u->packed_bytes, (size_t)(packed + 63) / 64 * 64);
            u->n_decoded =
                x->format->type != x->type ? HY_MAX(u->n_decoded, padded(x)) : u->n_decoded;
        }
    }
    u->packed = hy__alloc_aligned(&m->env, u->n_threads, u->packed_bytes, err);
    if (u->packed && u->n_decoded > 0) {
        u->decoded = hy__alloc(&m->env, u->n_decoded * u->n_threads, sizeof *u->decoded, err);
    }
    return u->packed && (u->decoded || u->n_decoded == 0) ? HY_OK : HY_E_NOMEM;
}

static hy_status load_all(upload *u, hy_error *err)
{
    hy__gpu_model *m = u->m;
    HY_TRY(make_room(u, err));
    HY_TRY(load_vectors(u, err));
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        if (m->matrices[i].rows) {
            HY_TRY(load_matrix(u, &m->matrices[i], err));
        }
    }
    return hy__gpu_finish(&m->gpu, err);
}

static void free_pieces(hy__gpu_model *m)
{
    for (uint32_t i = 0; i < HY__GPU_PIECES; i++) {
        hy__gpu_buffer_free(&m->gpu, m->pieces[i].buffer);
        m->pieces[i].buffer = NULL;
    }
}

hy_status hy__gpu_weights_load(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    upload u = {
        .m = m, .opts = opts, .all = hy__gpu_weights_bytes(m), .piece_bytes = piece_bytes(m)};
    u.n_threads = HY_MIN(hy_cpu_count(), (uint32_t)MOST_THREADS);
    HY_TRY(hy__pool_create(&m->env, u.n_threads, &u.pool, err));
    const hy_status status = load_all(&u, err);
    hy__pool_destroy(u.pool);
    hy__free_aligned(&m->env, u.packed);
    hy__free(&m->env, u.decoded);
    free_pieces(m);
    return status;
}

uint64_t hy__gpu_memory_bytes(const hy__gpu_model *m)
{
    uint64_t bytes = m->vectors_bytes + HY__GPU_PIECES * piece_bytes(m);
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        bytes += m->slab_bytes[i];
    }
    return bytes;
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
    free_pieces(m);
    hy__free(&m->env, m->matrices);
    hy__free(&m->env, m->vector_place);
}
