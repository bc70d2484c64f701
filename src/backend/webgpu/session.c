/* session.c: the memory of a session on the GPU, and the bind groups of its dispatches. */
#include "webgpu.h"

enum { STEP_BYTES = 64, MOST_BATCH = 2048, STEP_NS = 400 * 1000 * 1000 };

static const WGPUBufferUsage storage =
    WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc;

/* ---- sizes */

/* Logits of how many tokens a step of n has. */
static uint64_t outputs_of(const hy__gpu_session *s, uint64_t n)
{
    return s->opts.all_logits ? n : 1;
}

static uint64_t arena_bytes(const hy__gpu_session *s, uint64_t n_batch)
{
    const uint64_t n_out = outputs_of(s, n_batch);
    const hy__gpu_model *m = s->model;
    return 4 * (hy__gpu_logits_place(m, n_batch, n_out) + m->g->values[m->g->logits].n * n_out);
}

/* As many tokens a step as asked for, fewer if what they need could not be bound. */
static hy_status choose_batch(hy__gpu_session *s, hy_error *err)
{
    const uint64_t limit = HY_MIN(s->model->gpu.caps.max_binding, s->model->gpu.caps.max_buffer);
    s->n_batch = HY_MIN(s->opts.n_batch, (uint32_t)MOST_BATCH);
    for (;; s->n_batch /= 2) {
        s->arena_bytes = arena_bytes(s, s->n_batch);
        const uint64_t vecs = HY_MAX((uint64_t)s->model->code_vecs * s->n_batch,
                                     3 * (uint64_t)s->model->q8_vecs);
        s->codes_bytes = 16 * HY_MAX(HY_MAX(vecs, s->model->scratch_vecs), (uint64_t)1);
        if (s->arena_bytes <= limit && s->codes_bytes <= limit) {
            return HY_OK;
        }
        if (s->n_batch == 1) {
            return hy__fail(
                err, HY_E_LIMIT,
                "a step needs %llu bytes in one buffer; a kernel of this GPU can use %llu",
                (unsigned long long)s->arena_bytes, (unsigned long long)limit);
        }
    }
}

static hy_status place_caches(hy__gpu_session *s, hy_error *err)
{
    const hy__graph *g = s->model->g;
    uint64_t words = 0;
    for (uint32_t i = 0; i < g->n_states; i++) {
        const hy__value *v = &g->values[g->states[i]];
        if (v->per_position) {
            s->cache_at[i] = words;
            /* Windows of bindings begin at such places. */
            words += ((uint64_t)v->n / 2 * s->opts.n_ctx + 63) / 64 * 64;
        }
    }
    s->cache_bytes = HY_MAX(4 * words, (uint64_t)16);
    const uint64_t limit = HY_MIN(s->model->gpu.caps.max_binding, s->model->gpu.caps.max_buffer);
    return s->cache_bytes <= limit
               ? HY_OK
               : hy__fail(
                     err, HY_E_LIMIT,
                     "the KV caches of %u positions have %llu bytes; a kernel of this GPU can use "
                     "%llu: choose a smaller context",
                     s->opts.n_ctx, (unsigned long long)s->cache_bytes, (unsigned long long)limit);
}

/* ---- cosines and sines of all positions */

static hy_status place_angles(hy__gpu_session *s, hy_error *err)
{
    const hy__graph *g = s->model->g;
    uint64_t n = 0;
    size_t bytes;
    for (uint32_t i = 1; i < g->n_values; i++) {
        if (g->values[i].kind == HY__CONST) {
            s->angles_at[i] = n;
            n += (uint64_t)g->values[i].n * s->opts.n_ctx;
        }
    }
    HY_TRY(hy__size("the angles of all positions", HY_MAX(n, (uint64_t)2), 8, &bytes, err));
    s->angles_bytes = bytes;
    return HY_OK;
}

static hy_status make_angles(hy__gpu_session *s, hy_error *err)
{
    const hy__graph *g = s->model->g;
    const size_t bytes = (size_t)s->angles_bytes;
    HY_TRY(hy__gpu_buffer(&s->model->gpu, bytes, storage, "angles", &s->angles, err));
    float *all = hy__calloc(&g->env, 1, bytes, err);
    if (!all) {
        return HY_E_NOMEM;
    }
    float *at = all;
    for (uint32_t i = 1; i < g->n_values; i++) {
        const hy__value *v = &g->values[i];
        for (uint32_t pos = 0; v->kind == HY__CONST && pos < s->opts.n_ctx; pos++) {
            for (uint32_t k = 0; k < v->n; k++, at += 2) {
                double sine, cosine;
                hy__sincos((double)pos * v->data[k], &sine, &cosine);
                at[0] = (float)cosine;
                at[1] = (float)sine;
            }
        }
    }
    hy__gpu *gpu = &s->model->gpu;
    gpu->lib.QueueWriteBuffer(gpu->queue, s->angles, 0, all, bytes);
    hy__free(&g->env, all);
    return hy__gpu_check(gpu, err);
}

/* ---- places */

static uint64_t place_of(const void *user, const hy__gpu_dispatch *d, const hy__place *p)
{
    const hy__gpu_session *s = user;
    const hy__gpu_model *m = s->model;
    switch (p->where) {
    case HY__AT_VECTOR:
        return m->vector_place[p->value] - d->vectors;
    case HY__AT_RESULT:
        return hy__gpu_result_place(m, p->value, s->n_batch, outputs_of(s, s->n_batch));
    case HY__AT_STATE:
        return m->p->state_place[m->g->values[p->value].state] - d->state;
    case HY__AT_ANGLES:
        return s->angles_at[p->value];
    case HY__AT_OTHER:
        break;
    }
    if (p->part >= HY__GPU_CACHE) {
        const hy__node *node = &m->g->nodes[p->value];
        return s->cache_at[m->g->values[node->in[3 + (p->part - HY__GPU_CACHE)]].state];
    }
    return p->part >= HY__GPU_PLANE
               ? hy__gpu_plane_place(m, d->window, p->value, p->part - HY__GPU_PLANE)
               : p->value;
}

/* ---- bind groups */

static WGPUBindGroupEntry bound_to(const hy__gpu_session *s, const hy__gpu_dispatch *d,
                                   uint32_t buffer, uint32_t parity, WGPUBuffer places, uint64_t at)
{
    const bool one = places == s->decode_places;
    const hy__gpu_model *m = s->model;
    WGPUBindGroupEntry e = {.binding = buffer};
    switch (buffer) {
    case HY__BUFFER_step:
        e.buffer = s->step;
        e.size = 16;
        break;
    case HY__BUFFER_places:
        e.buffer = places;
        e.offset = at;
        e.size = hy__gpu_places_bytes(d);
        break;
    case HY__BUFFER_arena:
        e.buffer = one ? s->arena_one : s->arena;
        e.size = one ? s->arena_one_bytes : s->arena_bytes;
        break;
    case HY__BUFFER_vectors:
    case HY__BUFFER_vectors4:
        e.buffer = m->vectors;
        e.offset = 4 * d->vectors;
        e.size = m->vectors_bytes - e.offset;
        break;
    case HY__BUFFER_state_old:
    case HY__BUFFER_state4:
    case HY__BUFFER_state_new:
        e.buffer = s->state[buffer == HY__BUFFER_state_new ? 1 - parity : parity];
        e.offset = 4 * d->state;
        e.size = s->state_bytes - e.offset;
        break;
    case HY__BUFFER_angles:
        e.buffer = s->angles;
        e.size = s->angles_bytes;
        break;
    case HY__BUFFER_weights:
    case HY__BUFFER_words:
        e.buffer = m->slabs[d->slab];
        e.offset = d->window;
        e.size = d->window_bytes;
        break;
    case HY__BUFFER_codes:
    case HY__BUFFER_coded:
        e.buffer = s->codes;
        e.size = s->codes_bytes;
        break;
    case HY__BUFFER_cache:
    case HY__BUFFER_cache4:
        e.buffer = s->cache;
        e.size = s->cache_bytes;
        break;
    default:
        e.buffer = s->tokens;
        e.size = 4 * (uint64_t)HY__RING;
        break;
    }
    return e;
}

static hy_status make_groups(hy__gpu_session *s, const hy__gpu_program *p, WGPUBuffer places,
                             WGPUBindGroup **out, uint32_t *n_groups, hy_error *err)
{
    hy__gpu_model *m = s->model;
    WGPUBindGroup *groups = hy__calloc(&m->env, 2 * (size_t)p->n + 1, sizeof *groups, err);
    *out = groups;
    if (!groups) {
        return HY_E_NOMEM;
    }
    *n_groups = 2 * p->n;
    for (uint32_t parity = 0; parity < 2; parity++) {
        uint64_t at = 0;
        for (uint32_t i = 0; i < p->n; i++) {
            const hy__gpu_dispatch *d = &p->dispatches[i];
            const hy__gpu_kernel *k = &m->kernels[m->entries[d->entry].kernel];
            WGPUBindGroupEntry entries[HY__N_BUFFERS];
            uint32_t n = 0;
            for (uint32_t b = 0; b < HY__N_BUFFERS; b++) {
                if (k->uses & 1u << b) {
                    entries[n++] = bound_to(s, d, b, parity, places, at);
                }
            }
            groups[parity * p->n + i] = m->gpu.lib.DeviceCreateBindGroup(
                m->gpu.device, &(WGPUBindGroupDescriptor){
                                   .layout = k->bindings, .entryCount = n, .entries = entries});
            at += hy__gpu_places_stride(d);
        }
    }
    return hy__gpu_check(&m->gpu, err);
}

/* ---- life */

static hy_status make_memory(hy__gpu_session *s, hy_error *err)
{
    hy__gpu_model *m = s->model;
    const hy__graph *g = m->g;
    s->cache_at = hy__calloc(&m->env, (size_t)g->n_states + 1, sizeof *s->cache_at, err);
    s->angles_at = s->cache_at ? hy__calloc(&m->env, g->n_values, sizeof *s->angles_at, err) : NULL;
    if (!s->angles_at) {
        return HY_E_NOMEM;
    }
    HY_TRY(choose_batch(s, err));
    HY_TRY(place_caches(s, err));
    HY_TRY(place_angles(s, err));
    s->state_bytes = HY_MAX(4 * m->p->recurrent, (uint64_t)16);
    s->arena_one_bytes = arena_bytes(s, 1);
    const struct {
        WGPUBuffer *buffer;
        uint64_t bytes;
        const char *label;
    } buffers[] = {{&s->arena, s->arena_bytes, "activations"},
                   {&s->arena_one, s->arena_one_bytes, "activations of a token"},
                   {&s->state[0], s->state_bytes, "recurrent state"},
                   {&s->state[1], s->state_bytes, "recurrent state"},
                   {&s->codes, s->codes_bytes, "quantized activations"},
                   {&s->cache, s->cache_bytes, "KV caches"},
                   {&s->tokens, 4 * (uint64_t)HY__RING, "tokens"}};
    for (size_t i = 0; i < HY_COUNT(buffers); i++) {
        HY_TRY(hy__gpu_buffer(&m->gpu, buffers[i].bytes, storage, buffers[i].label,
                              buffers[i].buffer, err));
    }
    HY_TRY(hy__gpu_buffer(&m->gpu, STEP_BYTES, storage | WGPUBufferUsage_Uniform, "step", &s->step,
                          err));
    const uint64_t row = 4 * (uint64_t)g->values[g->logits].n;
    HY_TRY(hy__gpu_buffer(&m->gpu, row * (s->opts.all_logits ? s->n_batch : 1),
                          WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst, "logits", &s->readback,
                          err));
    HY_TRY(make_angles(s, err));
    HY_TRY(hy__gpu_places_make(m, &m->decode, place_of, s, &s->decode_places, err));
    HY_TRY(hy__gpu_places_make(m, &m->prefill, place_of, s, &s->prefill_places, err));
    HY_TRY(make_groups(s, &m->decode, s->decode_places, &s->groups[0], &s->n_groups[0], err));
    return make_groups(s, &m->prefill, s->prefill_places, &s->groups[1], &s->n_groups[1], err);
}

static hy_status make(hy__gpu_session *s, hy_error *err)
{
    hy__gpu_model *m = s->model;
    const hy_status status = make_memory(s, err);
    const uint64_t bytes = s->arena_bytes + s->arena_one_bytes + 2 * s->state_bytes +
                           s->codes_bytes + s->cache_bytes + s->angles_bytes;
    s->generation = m->generation;
    return hy__gpu_advise(&m->gpu, status, err,
                          "the session needs %llu bytes of GPU memory beside %llu of the model: choose a "
                          "smaller context, fewer tokens a step, a smaller model, or the cpu "
                          "backend",
                          (unsigned long long)bytes, (unsigned long long)hy__gpu_memory_bytes(m));
}

hy_status hy__gpu_session_create(void *model, const hy__backend_opts *opts, void **out,
                                 hy_error *err)
{
    hy__gpu_model *m = model;
    *out = NULL;
    hy__gpu_session *s = hy__calloc(&m->env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->model = m;
    s->opts = *opts;
    hy_status status = hy__gpu_model_revive(m, err);
    if (status == HY_OK) {
        status = make(s, err);
    }
    if (status != HY_OK) {
        hy__gpu_session_destroy(s);
        return status;
    }
    *out = s;
    return HY_OK;
}

static void free_groups(hy__gpu_session *s, WGPUBindGroup *groups, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (groups[i]) {
            s->model->gpu.lib.BindGroupRelease(groups[i]);
        }
    }
    hy__free(&s->model->env, groups);
}

/* Everything but what the session was created with. */
static void unmake(hy__gpu_session *s)
{
    hy__gpu_model *m = s->model;
    free_groups(s, s->groups[0], s->n_groups[0]);
    free_groups(s, s->groups[1], s->n_groups[1]);
    const WGPUBuffer buffers[] = {
        s->arena,          s->arena_one,      s->state[0],       s->state[1],       s->codes,
        s->cache,          s->angles,         s->tokens,         s->step,
        s->readback,       s->decode_places,  s->prefill_places, s->times,
        s->ahead.saved[0], s->ahead.saved[1], s->ahead.read[0],  s->ahead.read[1]};
    for (size_t i = 0; i < HY_COUNT(buffers); i++) {
        hy__gpu_buffer_free(&m->gpu, buffers[i]);
    }
    hy__gpu_sample_destroy(&m->gpu, &s->ahead.sample);
    if (s->queries) {
        m->gpu.lib.QuerySetRelease(s->queries);
    }
    hy__free(&m->env, s->cache_at);
    hy__free(&m->env, s->angles_at);
    *s = (hy__gpu_session){.model = m, .opts = s->opts};
}

void hy__gpu_session_destroy(void *session)
{
    hy__gpu_session *s = session;
    if (s) {
        unmake(s);
        hy__free(&s->model->env, s);
    }
}

hy_status hy__gpu_session_check(hy__gpu_session *s, hy_error *err)
{
    HY_TRY(hy__gpu_check(&s->model->gpu, err));
    return s->generation == s->model->generation
               ? HY_OK
               : hy__fail(err, HY_E_DEVICE_LOST, "the GPU was lost while others used it");
}

hy_status hy__gpu_session_revive(void *session, hy_error *err)
{
    hy__gpu_session *s = session;
    HY_TRY(hy__gpu_model_revive(s->model, err));
    if (s->generation == s->model->generation) {
        return HY_OK;
    }
    unmake(s);
    const hy_status status = make(s, err);
    if (status != HY_OK) {
        unmake(s);
    }
    return status;
}

uint32_t hy__gpu_step_tokens(const void *session)
{
    const hy__gpu_session *s = session;
    return HY_MIN(s->n_batch, s->model->chunk);
}

uint32_t hy__gpu_fit_tokens(uint32_t now, uint32_t n, uint64_t ns)
{
    if (ns <= STEP_NS && n < now / 2) {
        return now; /* too few tokens to tell */
    }
    const uint64_t fit = (uint64_t)n * STEP_NS / HY_MAX(ns, (uint64_t)1);
    const uint32_t most = HY_MIN((uint32_t)MOST_BATCH, 16 * n);
    const uint32_t tokens = (uint32_t)HY_MIN(fit, (uint64_t)most);
    return tokens >= 64 ? tokens / 64 * 64 : tokens >= 8 ? tokens / 8 * 8 : HY_MAX(tokens, 1u);
}

/* ---- state */

void hy__gpu_commit(void *session)
{
    hy__gpu_session *s = session;
    s->current = 1 - s->current;
}

/* KV caches as f32, [positions][n] each, to or from `data`. */
static hy_status move_caches(hy__gpu_session *s, uint64_t n_pos, float *out, const float *in,
                             hy_error *err)
{
    const hy__graph *g = s->model->g;
    hy__gpu *gpu = &s->model->gpu;
    for (uint32_t i = 0; i < g->n_states; i++) {
        const hy__value *v = &g->values[g->states[i]];
        if (!v->per_position || n_pos == 0) {
            continue;
        }
        const size_t n = (size_t)(n_pos * v->n), bytes = (n + 1) / 2 * 4;
        uint16_t *halves = hy__calloc(&g->env, 1, bytes, err);
        if (!halves) {
            return HY_E_NOMEM;
        }
        hy_status status = HY_OK;
        if (out) {
            status = hy__gpu_read(gpu, s->cache, 4 * s->cache_at[i], halves, bytes, err);
        }
        for (size_t k = 0; k < n; k++) {
            if (out) {
                out[k] = hy__f16_to_f32(halves[k]);
            } else {
                halves[k] = hy__f32_to_f16(in[k]);
            }
        }
        if (in) {
            gpu->lib.QueueWriteBuffer(gpu->queue, s->cache, 4 * s->cache_at[i], halves, bytes);
            status = hy__gpu_check(gpu, err);
        }
        hy__free(&g->env, halves);
        HY_TRY(status);
        out = out ? out + n : NULL;
        in = in ? in + n : NULL;
    }
    return HY_OK;
}

hy_status hy__gpu_state_read(void *session, uint64_t n_pos, float *data, hy_error *err)
{
    hy__gpu_session *s = session;
    const size_t n = (size_t)s->model->p->recurrent;
    HY_TRY(hy__gpu_session_check(s, err));
    if (n > 0) {
        HY_TRY(hy__gpu_read(&s->model->gpu, s->state[s->current], 0, data, 4 * n, err));
    }
    return move_caches(s, n_pos, data + n, NULL, err);
}

hy_status hy__gpu_state_write(void *session, uint64_t n_pos, const float *data, hy_error *err)
{
    hy__gpu_session *s = session;
    hy__gpu *gpu = &s->model->gpu;
    const size_t n = (size_t)s->model->p->recurrent;
    HY_TRY(hy__gpu_session_check(s, err));
    if (!data) {
        WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
        gpu->lib.CommandEncoderClearBuffer(encoder, s->state[s->current], 0, s->state_bytes);
        HY_TRY(hy__gpu_submit(gpu, encoder, err));
        return hy__gpu_finish(gpu, err); /* also of steps ahead that nobody wants any more */
    }
    if (n > 0) {
        gpu->lib.QueueWriteBuffer(gpu->queue, s->state[s->current], 0, data, 4 * n);
    }
    return move_caches(s, n_pos, NULL, data + n, err);
}
