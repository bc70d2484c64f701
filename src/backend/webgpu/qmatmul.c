/* qmatmul.c: products with one matrix on a device of others: see halyard/qmatmul.h.
 *
 * A pipeline is a model of a table, a matrix and a choice of columns, of which only the phase of the
 * matrix is written, for several tokens: a dispatch that brings x into the form in which kernels
 * read it, which is left in `codes`, then one for each chunk of the matrix.  Of the activations the
 * first one reads x only and the others write y only, both from their place 0 on, so that `arena` is
 * the caller's x in one and the caller's y in the others. */
#include "halyard/qmatmul.h"

#include "selftest.h"

enum {
    MOST_BATCH = 4096,
    STEP_STRIDE = 256, /* bytes, the most that uniform buffers are aligned to */
    MOST_GROUPS = 64,
    MOST_DISPATCHES = 32, /* of a product; groups of one never push out each other */
    TABLE = 0,
    MATRIX = 1
};

/* A bind group of a dispatch.  Its buffer is referenced: no other has the same address. */
typedef struct bound {
    WGPUBindGroup group;
    const hy_qmatmul_weights *weights; /* NULL: it reads x */
    WGPUBuffer buffer;
    uint64_t offset, used; /* the product that used it last */
    uint32_t dispatch, n;
} bound;

struct hy_qmatmul_pipeline {
    hy__graph graph;
    hy__fusion fusion;
    hy__exprs exprs;
    hy__plan plan;
    hy_gguf_tensor tensors[2];
    hy__gpu_model model;
    hy__id matrix;
    uint32_t rows, cols, batch;
    uint64_t codes_bytes, products;
    WGPUBuffer codes, steps, places; /* steps: the numbers of steps of 1, 2, ... columns */
    bound groups[MOST_GROUPS];
    uint32_t n_groups;
};

struct hy_qmatmul_weights {
    hy_qmatmul_pipeline *pipeline;
    WGPUBuffer slabs[HY__GPU_MOST_SLABS]; /* as of the model, which has none itself */
};

/* ---- the caller's device */

static bool is_power_of_two(uint32_t x)
{
    return x > 0 && (x & (x - 1)) == 0;
}

static hy_status check_features(const hy_qmatmul_config *c, hy_error *err)
{
    const uint32_t all = HY_QMATMUL_F16 | HY_QMATMUL_SUBGROUPS | HY_QMATMUL_PACKED_DOT |
                         HY_QMATMUL_MATRICES;
    const uint32_t below = HY_QMATMUL_F16 | HY_QMATMUL_SUBGROUPS;
    if (c->features & ~all) {
        return hy__fail(err, HY_E_ARG, "there are no features 0x%x", c->features & ~all);
    }
    if (c->features & HY_QMATMUL_SUBGROUPS &&
        (!is_power_of_two(c->subgroup_min) || !is_power_of_two(c->subgroup_max) ||
         c->subgroup_min > c->subgroup_max || c->subgroup_max > 128)) {
        return hy__fail(err, HY_E_ARG, "subgroups of %u to %u lanes cannot be", c->subgroup_min,
                        c->subgroup_max);
    }
    if (c->features & HY_QMATMUL_MATRICES) {
        const uint32_t shape[] = {c->matrix_m, c->matrix_n, c->matrix_k};
        if ((c->features & below) != below) {
            return hy__fail(err, HY_E_ARG, "matrices of subgroups need f16 and subgroups");
        }
        for (size_t i = 0; i < HY_COUNT(shape); i++) {
            if (shape[i] != 8 && shape[i] != 16) {
                return hy__fail(err, HY_E_ARG,
                                "matrices of subgroups of %u x %u x %u are not known", shape[0],
                                shape[1], shape[2]);
            }
        }
    }
    return HY_OK;
}

static hy_status check_shape(const hy_qmatmul_config *c, hy_error *err)
{
    const hy_type_info *t = hy_type_find((uint32_t)c->type);
    if (!t || !t->can_decode) {
        return hy__fail(err, HY_E_UNSUPPORTED, "a matrix of type %s cannot be decoded",
                        t ? t->name : "unknown");
    }
    if (c->rows == 0 || c->cols == 0 || c->cols % t->block_elems != 0) {
        return hy__fail(err, HY_E_ARG, "a matrix of %u rows of %u elements cannot be of type %s",
                        c->rows, c->cols, t->name);
    }
    if (c->batch > MOST_BATCH) {
        return hy__fail(err, HY_E_ARG, "a batch has %d columns at most, not %u", MOST_BATCH,
                        c->batch);
    }
    return HY_OK;
}

/* What the configuration says of the device. */
static hy_status take_caps(const hy_qmatmul_config *c, hy__gpu_caps *caps, hy_error *err)
{
    *caps = (hy__gpu_caps){.adapter = "the GPU", .type = WGPUAdapterType_Unknown};
    hy__gpu_caps_mask(caps, HY__GPU_FLOOR);
    caps->f16 = c->features & HY_QMATMUL_F16;
    caps->subgroups = c->features & HY_QMATMUL_SUBGROUPS;
    caps->dot = c->features & HY_QMATMUL_PACKED_DOT;
    if (caps->subgroups) {
        caps->subgroup_min = c->subgroup_min;
        caps->subgroup_max = c->subgroup_max;
    }
    if (c->features & HY_QMATMUL_MATRICES) {
        caps->matrix_m = c->matrix_m;
        caps->matrix_n = c->matrix_n;
        caps->matrix_k = c->matrix_k;
    }
    const struct {
        uint32_t given, *limit;
    } limits[] = {{c->max_compute_workgroup_storage_size, &caps->workgroup_bytes},
                  {c->max_compute_invocations_per_workgroup, &caps->invocations},
                  {c->max_compute_workgroups_per_dimension, &caps->max_workgroups},
                  {c->min_storage_buffer_offset_alignment, &caps->storage_align}};
    for (size_t i = 0; i < HY_COUNT(limits); i++) {
        *limits[i].limit = limits[i].given ? limits[i].given : *limits[i].limit;
    }
    caps->max_buffer = c->max_buffer_size ? c->max_buffer_size : caps->max_buffer;
    caps->max_binding = c->max_storage_buffer_binding_size ? c->max_storage_buffer_binding_size
                                                           : caps->max_binding;
    /* Windows of weights begin at multiples of 256. */
    return is_power_of_two(caps->storage_align) && caps->storage_align >= 4 &&
                   caps->storage_align <= 256
               ? HY_OK
               : hy__fail(err, HY_E_ARG, "offsets of bindings cannot be aligned to %u bytes",
                          caps->storage_align);
}

static hy_status adopt(hy_qmatmul_pipeline *p, WGPUDevice device, const hy_qmatmul_procs *procs,
                       const hy_qmatmul_config *c, hy_error *err)
{
    hy__gpu_model *m = &p->model;
    hy__gpu_caps caps;
    HY_TRY(check_shape(c, err));
    HY_TRY(check_features(c, err));
    HY_TRY(take_caps(c, &caps, err));
    const uint32_t mask = caps.dot ? 0 : (uint32_t)HY__GPU_NO_DOT;
    HY_TRY(hy__gpu_adopt(&m->gpu, device, &caps, mask, procs->get_proc, procs->user, &m->env, err));
    p->rows = c->rows;
    p->cols = c->cols;
    p->batch = HY_MAX(c->batch, 1u);
    m->use = hy__gpu_possible(&m->gpu) & ~(hy__gpu_use)HY__GPU_USE_DRAWS;
    return HY_OK;
}

/* Not all calls have scopes of their own: errors of the others are those of what lies between these
 * two.  Returns `status`, or the error if that is HY_OK. */
static void begin_scope(hy_qmatmul_pipeline *p)
{
    hy__gpu *gpu = &p->model.gpu;
    gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
}

static hy_status end_scope(hy_qmatmul_pipeline *p, const char *what, hy_status status,
                           hy_error *err)
{
    const hy_status own = hy__gpu_pop_scope(&p->model.gpu, what, status == HY_OK ? err : NULL);
    return status == HY_OK ? own : status;
}

/* ---- the model of one matrix */

static hy__id add_matrix(hy_qmatmul_pipeline *p, uint32_t which, hy_type type, uint32_t n,
                         uint32_t m, hy_error *err)
{
    static const char *const names[] = {"table", "matrix"};
    static const uint64_t nothing = 0; /* data come with the weights */
    const hy_type_info *info = hy_type_find((uint32_t)type);
    hy_gguf_tensor *x = &p->tensors[which];
    *x = (hy_gguf_tensor){.name = names[which], .type = type, .n_dims = 2, .ne = {n, m, 1, 1}};
    x->n_elems = (uint64_t)n * m;
    x->bytes = x->n_elems / info->block_elems * info->block_bytes;
    x->data = &nothing;
    return hy__graph_add_weight(&p->graph, x, 0, n, m, err);
}

static hy__id add_op(hy_qmatmul_pipeline *p, hy__opcode op, const char *name, hy__id a, hy__id b,
                     hy_error *err)
{
    const hy__id in[] = {a, b};
    return a == 0 || (b == 0 && hy__ops[op].n_inputs > 1)
               ? 0
               : hy__graph_add_op(&p->graph, op, 0, name, in, NULL, err);
}

static hy_status make_graph(hy_qmatmul_pipeline *p, hy_type type, hy_error *err)
{
    hy__graph *g = &p->graph;
    hy_error own = {HY_E_INTERNAL, ""}; /* a graph that fails says why only here */
    g->n_layer = 1;
    const hy__id tokens = hy__graph_add_tokens(g, &own);
    const hy__id table = tokens ? add_matrix(p, TABLE, HY_TYPE_F32, p->cols, 1, &own) : 0;
    const hy__id x = add_op(p, HY__OP_EMBED, "x", table, tokens, &own);
    p->matrix = x ? add_matrix(p, MATRIX, type, p->cols, p->rows, &own) : 0;
    const hy__id y = add_op(p, HY__OP_MATMUL, "y", p->matrix, x, &own);
    g->logits = add_op(p, HY__OP_SELECT, "last", y, 0, &own);
    if (g->logits == 0) {
        return hy__fail(err, own.code, "%s", own.text);
    }
    HY_TRY(hy__graph_verify(g, err));
    /* No rules: the matrix stays alone. */
    HY_TRY(hy__fuse(&p->fusion, g, 0, err));
    HY_TRY(hy__fusion_apply(&p->fusion, g, err));
    HY_TRY(hy__exprs_make(&p->exprs, &p->fusion, g, err));
    return hy__plan_make(&p->plan, g, &p->fusion, err);
}

/* Where the matrix lies, and its kernels' texts. */
static hy_status make_program(hy_qmatmul_pipeline *p, hy_error *err)
{
    hy__gpu_model *m = &p->model;
    uint32_t phase = 0;
    m->g = &p->graph;
    m->f = &p->fusion;
    m->x = &p->exprs;
    m->p = &p->plan;
    while (phase + 1 < p->fusion.n_phases && p->fusion.phases[phase].kind != HY__PHASE_MATMUL) {
        phase++;
    }
    hy__gpu_choose(m);
    HY_TRY(hy__gpu_weights_place_phase(m, phase, err));
    HY_TRY(hy__gpu_program_make_phase(m, phase, err));
    for (uint32_t i = 0; i < m->prefill.n; i++) {
        if (m->prefill.dispatches[i].groups > m->gpu.caps.max_workgroups) {
            return hy__fail(err, HY_E_LIMIT, "%u rows need more workgroups than %u", p->rows,
                            m->gpu.caps.max_workgroups);
        }
    }
    if (m->matrices[p->matrix].n_chunks >= MOST_DISPATCHES) {
        return hy__fail(err, HY_E_LIMIT, "the matrix would be cut into %u parts",
                        m->matrices[p->matrix].n_chunks);
    }
    return HY_OK;
}

static hy_status make_pipelines(hy_qmatmul_pipeline *p, hy_error *err)
{
    hy__gpu_model *m = &p->model;
    hy_status status = hy__gpu_program_modules(m, err);
    for (uint32_t i = 0; i < m->prefill.n && status == HY_OK; i++) {
        hy__gpu_entry *e = &m->entries[m->prefill.dispatches[i].entry];
        const hy__gpu_kernel *k = &m->kernels[e->kernel];
        if (!e->pipeline && m->prefill.dispatches[i].least_cols <= p->batch) {
            status = hy__gpu_pipeline(&m->gpu, k->module, e->name, k->layout,
                                      "a product with a matrix", &e->pipeline, err);
        }
    }
    return status;
}

/* ---- memory */

static uint64_t place_of(const void *user, const hy__gpu_dispatch *d, const hy__place *place)
{
    const hy__gpu_model *m = user;
    return place->where == HY__AT_RESULT ? 0
           : place->part >= HY__GPU_PLANE
               ? hy__gpu_plane_place(m, d->window, place->value, place->part - HY__GPU_PLANE)
               : place->value;
}

static hy_status check_binding(const hy_qmatmul_pipeline *p, const char *what, uint64_t bytes,
                               hy_error *err)
{
    const hy__gpu_caps *caps = &p->model.gpu.caps;
    const uint64_t limit = HY_MIN(caps->max_binding, caps->max_buffer);
    return bytes <= limit ? HY_OK
                          : hy__fail(err, HY_E_LIMIT,
                                     "%u columns of %s have %llu bytes; a kernel of this GPU can "
                                     "use %llu",
                                     p->batch, what, (unsigned long long)bytes,
                                     (unsigned long long)limit);
}

static hy_status make_steps(hy_qmatmul_pipeline *p, hy_error *err)
{
    enum { WORDS = STEP_STRIDE / 4 };
    hy__gpu *gpu = &p->model.gpu;
    const size_t bytes = (size_t)p->batch * STEP_STRIDE;
    uint32_t *all = hy__calloc(&p->model.env, bytes, 1, err);
    hy_status status = all ? HY_OK : HY_E_NOMEM;
    for (uint32_t i = 0; i < p->batch && all; i++) {
        all[(size_t)WORDS * i] = all[(size_t)WORDS * i + 1] = i + 1;
    }
    if (status == HY_OK) {
        status = hy__gpu_buffer(gpu, bytes, WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst,
                                "numbers of columns", &p->steps, err);
    }
    if (status == HY_OK) {
        gpu->lib.QueueWriteBuffer(gpu->queue, p->steps, 0, all, bytes);
    }
    hy__free(&p->model.env, all);
    return status;
}

static hy_status make_memory(hy_qmatmul_pipeline *p, hy_error *err)
{
    hy__gpu_model *m = &p->model;
    p->codes_bytes = 16 * (uint64_t)m->code_vecs * p->batch;
    HY_TRY(check_binding(p, "x", 4 * (uint64_t)p->cols * p->batch, err));
    HY_TRY(check_binding(p, "y", 4 * (uint64_t)p->rows * p->batch, err));
    HY_TRY(check_binding(p, "rounded numbers", p->codes_bytes, err));
    HY_TRY(hy__gpu_buffer(&m->gpu, p->codes_bytes, WGPUBufferUsage_Storage, "rounded numbers",
                          &p->codes, err));
    HY_TRY(hy__gpu_places_make(m, &m->prefill, place_of, m, &p->places, err));
    return make_steps(p, err);
}

/* ---- pipelines */

static hy_status make(hy_qmatmul_pipeline *p, WGPUDevice device, const hy_qmatmul_procs *procs,
                      const hy_qmatmul_config *config, hy_error *err)
{
    HY_TRY(adopt(p, device, procs, config, err));
    HY_TRY(make_graph(p, config->type, err));
    HY_TRY(make_program(p, err));
    begin_scope(p);
    hy_status status = make_memory(p, err);
    if (status == HY_OK) {
        status = make_pipelines(p, err);
    }
    return end_scope(p, "products with a matrix", status, err);
}

hy_status hy_qmatmul_pipeline_create(struct WGPUDeviceImpl *device, const hy_qmatmul_procs *procs,
                                     const hy_qmatmul_config *config, const hy_env *env,
                                     hy_qmatmul_pipeline **out, hy_error *err)
{
    hy_env own;
    *out = NULL;
    if (!device || !procs || procs->size < sizeof *procs || !procs->get_proc || !config ||
        config->size < sizeof *config) {
        return hy__fail(err, HY_E_ARG,
                        "a device, its functions and a configuration with its size are needed");
    }
    hy__env_resolve(&own, env);
    hy_qmatmul_pipeline *p = hy__calloc(&own, 1, sizeof *p, err);
    if (!p) {
        return HY_E_NOMEM;
    }
    p->model.env = own;
    hy__graph_init(&p->graph, &own);
    const hy_status status = make(p, device, procs, config, err);
    if (status != HY_OK) {
        hy_qmatmul_pipeline_destroy(p);
        return status;
    }
    *out = p;
    return HY_OK;
}

/* Released and not destroyed: what was recorded may have them. */
static void release(const hy_qmatmul_pipeline *p, WGPUBuffer buffer)
{
    if (buffer) {
        p->model.gpu.lib.BufferRelease(buffer);
    }
}

void hy_qmatmul_pipeline_destroy(hy_qmatmul_pipeline *p)
{
    if (!p) {
        return;
    }
    hy_qmatmul_forget(p);
    release(p, p->codes);
    release(p, p->places);
    release(p, p->steps);
    hy__gpu_program_finish(&p->model);
    if (p->model.g) {
        p->model.n_slabs = 0; /* weights have their own */
        hy__gpu_weights_finish(&p->model);
    }
    hy__gpu_close(&p->model.gpu);
    if (p->plan.place) {
        hy__plan_finish(&p->plan);
    }
    if (p->exprs.phases) {
        hy__exprs_finish(&p->exprs);
    }
    if (p->fusion.phases) {
        hy__fusion_finish(&p->fusion);
    }
    hy__graph_finish(&p->graph);
    const hy_env env = p->model.env;
    hy__free(&env, p);
}

/* ---- weights */

/* Of data, or of what other weights have on the GPU. */
static hy_status make_weights(hy_qmatmul_weights *w, const void *data,
                              const hy_qmatmul_weights *like, hy_error *err)
{
    hy__gpu_model *m = &w->pipeline->model;
    hy__gpu_matrix x = m->matrices[w->pipeline->matrix];
    const WGPUBufferUsage usage =
        WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc;
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        HY_TRY(hy__gpu_buffer(&m->gpu, HY_MAX(m->slab_bytes[i], (uint64_t)16), usage, "a matrix",
                              &w->slabs[i], err));
    }
    if (!like) {
        x.rows = data;
        return hy__gpu_matrix_write(m, &x, w->slabs, err);
    }
    WGPUCommandEncoder encoder = m->gpu.lib.DeviceCreateCommandEncoder(m->gpu.device, NULL);
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        m->gpu.lib.CommandEncoderCopyBufferToBuffer(encoder, like->slabs[i], 0, w->slabs[i], 0,
                                                    m->gpu.lib.BufferGetSize(w->slabs[i]));
    }
    return hy__gpu_submit(&m->gpu, encoder, err);
}

static hy_status create_weights(hy_qmatmul_pipeline *p, const void *data,
                                const hy_qmatmul_weights *like, hy_qmatmul_weights **out,
                                hy_error *err)
{
    *out = NULL;
    hy_qmatmul_weights *w = hy__calloc(&p->model.env, 1, sizeof *w, err);
    if (!w) {
        return HY_E_NOMEM;
    }
    w->pipeline = p;
    begin_scope(p);
    const hy_status status = end_scope(p, "a matrix", make_weights(w, data, like, err), err);
    if (status != HY_OK) {
        hy_qmatmul_weights_destroy(w);
        return status;
    }
    *out = w;
    return HY_OK;
}

hy_status hy_qmatmul_weights_create(hy_qmatmul_pipeline *pipeline, const void *data, size_t bytes,
                                    hy_qmatmul_weights **out, hy_error *err)
{
    const hy_gguf_tensor *t = &pipeline->tensors[MATRIX];
    *out = NULL;
    if (!data || bytes != t->bytes) {
        return hy__fail(err, HY_E_ARG, "%u rows of %u elements of type %s have %llu bytes, not %llu",
                        pipeline->rows, pipeline->cols, hy_type_find((uint32_t)t->type)->name,
                        (unsigned long long)t->bytes, (unsigned long long)(data ? bytes : 0));
    }
    return create_weights(pipeline, data, NULL, out, err);
}

hy_status hy__qmatmul_weights_copy(const hy_qmatmul_weights *from, hy_qmatmul_weights **out,
                                   hy_error *err)
{
    return create_weights(from->pipeline, NULL, from, out, err);
}

static void unbind(hy_qmatmul_pipeline *p, uint32_t i)
{
    p->model.gpu.lib.BindGroupRelease(p->groups[i].group);
    p->model.gpu.lib.BufferRelease(p->groups[i].buffer);
    p->groups[i] = p->groups[--p->n_groups];
}

void hy_qmatmul_weights_destroy(hy_qmatmul_weights *w)
{
    if (!w) {
        return;
    }
    hy_qmatmul_pipeline *p = w->pipeline;
    for (uint32_t i = p->n_groups; i-- > 0;) {
        if (p->groups[i].weights == w) {
            unbind(p, i);
        }
    }
    for (uint32_t i = 0; i < p->model.n_slabs; i++) {
        release(p, w->slabs[i]);
    }
    hy__free(&p->model.env, w);
}

void hy_qmatmul_forget(hy_qmatmul_pipeline *p)
{
    while (p->n_groups > 0) {
        unbind(p, p->n_groups - 1);
    }
}

/* ---- products */

/* Where the numbers of dispatch i begin. */
static uint64_t places_at(const hy_qmatmul_pipeline *p, uint32_t i)
{
    uint64_t at = 0;
    for (uint32_t k = 0; k < i; k++) {
        at += hy__gpu_places_stride(&p->model.prefill.dispatches[k]);
    }
    return at;
}

static WGPUBindGroupEntry entry_of(const hy_qmatmul_pipeline *p, const bound *b, uint32_t buffer)
{
    const hy__gpu_dispatch *d = &p->model.prefill.dispatches[b->dispatch];
    WGPUBindGroupEntry e = {.binding = buffer};
    switch (buffer) {
    case HY__BUFFER_step:
        e.buffer = p->steps;
        e.offset = (uint64_t)STEP_STRIDE * (b->n - 1);
        e.size = 16;
        break;
    case HY__BUFFER_places:
        e.buffer = p->places;
        e.offset = places_at(p, b->dispatch);
        e.size = hy__gpu_places_bytes(d);
        break;
    case HY__BUFFER_weights:
    case HY__BUFFER_words:
        e.buffer = b->weights->slabs[d->slab];
        e.offset = d->window;
        e.size = d->window_bytes;
        break;
    case HY__BUFFER_codes:
    case HY__BUFFER_coded:
        e.buffer = p->codes;
        e.size = p->codes_bytes;
        break;
    default: /* arena */
        e.buffer = b->buffer;
        e.offset = b->offset;
        e.size = 4 * (uint64_t)b->n * (b->weights ? p->rows : p->cols);
        break;
    }
    return e;
}

static hy_status check_buffer(const hy_qmatmul_pipeline *p, const bound *b, hy_error *err)
{
    const hy__gpu_lib *lib = &p->model.gpu.lib;
    const char *name = b->weights ? "y" : "x";
    const uint64_t bytes = 4 * (uint64_t)b->n * (b->weights ? p->rows : p->cols);
    const uint64_t all = lib->BufferGetSize(b->buffer);
    if (!(lib->BufferGetUsage(b->buffer) & WGPUBufferUsage_Storage)) {
        return hy__fail(err, HY_E_ARG, "the buffer of %s lacks the usage Storage", name);
    }
    if (b->offset > all || bytes > all - b->offset) {
        return hy__fail(err, HY_E_ARG,
                        "%u columns of %s have %llu bytes from byte %llu on; their buffer has %llu",
                        b->n, name, (unsigned long long)bytes, (unsigned long long)b->offset,
                        (unsigned long long)all);
    }
    return HY_OK;
}

static hy_status bind(hy_qmatmul_pipeline *p, bound *b, hy_error *err)
{
    hy__gpu_model *m = &p->model;
    const hy__gpu_dispatch *d = &m->prefill.dispatches[b->dispatch];
    const hy__gpu_kernel *k = &m->kernels[m->entries[d->entry].kernel];
    WGPUBindGroupEntry entries[HY__N_BUFFERS];
    uint32_t n = 0;
    HY_TRY(check_buffer(p, b, err));
    for (uint32_t i = 0; i < HY__N_BUFFERS; i++) {
        if (k->uses & 1u << i) {
            entries[n++] = entry_of(p, b, i);
        }
    }
    begin_scope(p);
    b->group = m->gpu.lib.DeviceCreateBindGroup(
        m->gpu.device,
        &(WGPUBindGroupDescriptor){.layout = k->bindings, .entryCount = n, .entries = entries});
    const hy_status status =
        end_scope(p, b->weights ? "a binding of y" : "a binding of x", HY_OK, err);
    if (status != HY_OK) {
        if (b->group) {
            m->gpu.lib.BindGroupRelease(b->group);
        }
        return status;
    }
    m->gpu.lib.BufferAddRef(b->buffer);
    return HY_OK;
}

/* The bind group like `want`, made if there is none; the one that was not used for longest goes. */
static hy_status find_group(hy_qmatmul_pipeline *p, const bound *want, WGPUBindGroup *out,
                            hy_error *err)
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        bound *b = &p->groups[i];
        if (b->dispatch == want->dispatch && b->n == want->n && b->weights == want->weights &&
            b->buffer == want->buffer && b->offset == want->offset) {
            b->used = p->products;
            *out = b->group;
            return HY_OK;
        }
        oldest = b->used < p->groups[oldest].used ? i : oldest;
    }
    bound made = *want;
    HY_TRY(bind(p, &made, err));
    if (p->n_groups == MOST_GROUPS) {
        unbind(p, oldest);
    }
    p->groups[p->n_groups++] = made;
    *out = made.group;
    return HY_OK;
}

/* Whether a dispatch reads x and leaves it in `codes`, and does not multiply. */
static bool brings_x(const hy__gpu_model *m, const hy__gpu_dispatch *d)
{
    return m->kernels[m->entries[d->entry].kernel].uses & 1u << HY__BUFFER_codes;
}

const hy__gpu_dispatch *hy__qmatmul_dispatch_of(const hy_qmatmul_pipeline *p, uint32_t n,
                                                const hy__gpu_model **model)
{
    const hy__gpu_program *all = &p->model.prefill;
    const hy__gpu_dispatch *d = all->dispatches;
    while (d < all->dispatches + all->n &&
           (hy__gpu_columns(d, n, 0) == 0 || brings_x(&p->model, d))) {
        d++;
    }
    *model = &p->model;
    return d < all->dispatches + all->n ? d : NULL;
}

/* The bind groups of all dispatches of a product. */
static hy_status find_groups(hy_qmatmul_pipeline *p, const bound *x, const bound *y,
                             WGPUBindGroup groups[MOST_DISPATCHES], hy_error *err)
{
    const hy__gpu_model *m = &p->model;
    uint32_t n = 0;
    p->products++;
    for (uint32_t i = 0; i < m->prefill.n; i++) {
        const hy__gpu_dispatch *d = &m->prefill.dispatches[i];
        const bool reads_x = brings_x(m, d);
        if (hy__gpu_columns(d, x->n, 0) == 0) {
            continue;
        }
        bound want = reads_x ? *x : *y;
        want.dispatch = i;
        want.used = p->products;
        if (n == MOST_DISPATCHES) {
            return hy__fail(err, HY_E_INTERNAL, "a product has too many dispatches");
        }
        HY_TRY(find_group(p, &want, &groups[n++], err));
    }
    return HY_OK;
}

static hy_status check_product(const hy_qmatmul_pipeline *p, const hy_qmatmul_weights *weights,
                               const void *pass, const bound *x, const bound *y, hy_error *err)
{
    const uint32_t align = p->model.gpu.caps.storage_align;
    if (!pass || !x->buffer || !y->buffer) {
        return hy__fail(err, HY_E_ARG, "a product needs a pass and buffers of x and y");
    }
    if (!weights || weights->pipeline != p) {
        return hy__fail(err, HY_E_ARG, "the weights are not of this pipeline");
    }
    if (x->n == 0 || x->n > p->batch) {
        return hy__fail(err, HY_E_ARG, "a product of %u columns is none of 1 to %u", x->n,
                        p->batch);
    }
    if (x->offset % align != 0 || y->offset % align != 0) {
        return hy__fail(err, HY_E_ARG,
                        "x and y begin at bytes %llu and %llu, which are no multiples of %u",
                        (unsigned long long)x->offset, (unsigned long long)y->offset, align);
    }
    return HY_OK;
}

hy_status hy_qmatmul_dispatch(hy_qmatmul_pipeline *pipeline, const hy_qmatmul_weights *weights,
                              struct WGPUComputePassEncoderImpl *pass, struct WGPUBufferImpl *x,
                              uint64_t x_offset, struct WGPUBufferImpl *y, uint64_t y_offset,
                              uint32_t n, hy_error *err)
{
    hy__gpu_model *m = &pipeline->model;
    const bound from = {.buffer = x, .offset = x_offset, .n = n};
    const bound to = {.buffer = y, .offset = y_offset, .n = n, .weights = weights};
    WGPUBindGroup groups[MOST_DISPATCHES];
    HY_TRY(check_product(pipeline, weights, pass, &from, &to, err));
    HY_TRY(find_groups(pipeline, &from, &to, groups, err));
    for (uint32_t i = 0, k = 0; i < m->prefill.n; i++) {
        const hy__gpu_dispatch *d = &m->prefill.dispatches[i];
        const uint32_t columns = hy__gpu_columns(d, n, 0);
        if (columns > 0) {
            m->gpu.lib.ComputePassEncoderSetPipeline(pass, m->entries[d->entry].pipeline);
            m->gpu.lib.ComputePassEncoderSetBindGroup(pass, 0, groups[k++], 0, NULL);
            hy__gpu_dispatch_groups(&m->gpu, pass, d->groups, columns);
        }
    }
    return HY_OK;
}
