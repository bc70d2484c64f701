/* selftest.c: units on the GPU against `ref`: see selftest.h. */
#include "selftest.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "probe.h"

typedef struct tester {
    const hy__gpu *gpu; /* of the model that wants to know */
    const hy__gpu_opts *opts;
    hy__gpu_tuning tuning;
    hy__gpu_verdict *v;
    hy__gpu_model bench; /* its device is the test's own, and stays where it is */
    bool open;
    hy_env env;
} tester;

static const hy__gpu_use by_matrices = HY__GPU_USE_MATRICES | HY__GPU_USE_MATRIX_ATTENTION;

hy__gpu_use hy__gpu_possible(const hy__gpu *gpu)
{
    const hy__gpu_caps *c = &gpu->caps;
    hy__gpu_use use = 0;
    hy__gpu_variant v;
    for (uint32_t i = 0; hy__gpu_variant_at(i, &v); i++) {
        use |= gpu->mask & v.mask ? 0 : (hy__gpu_use)1 << i;
    }
    for (size_t k = 0; hy__gpu_format_at(k); k++) {
        const hy__gpu_use whole = hy__gpu_use_format(hy__gpu_format_at(k));
        use &= use & whole ? UINT64_MAX : ~hy__gpu_use_dot(hy__gpu_format_at(k));
    }
    if (!c->subgroups) {
        use &= ~(hy__gpu_use)(HY__GPU_USE_SUMS | HY__GPU_USE_TOTALS | HY__GPU_USE_QUANTIZE);
    }
    if (!c->subgroups || c->subgroup_min < 8) {
        use &=
            ~(hy__gpu_use)(HY__GPU_USE_QUANTIZE | HY__GPU_USE_RECURRENCE | HY__GPU_USE_ATTENTION);
    }
    if (c->matrix_k == 0 || c->subgroup_min != HY__GPU_MATRIX_LANES ||
        c->subgroup_max != HY__GPU_MATRIX_LANES) {
        use &= ~by_matrices;
    }
    if (c->invocations <= HY__GPU_FLOOR_INVOCATIONS) {
        use &= ~(hy__gpu_use)HY__GPU_USE_INVOCATIONS;
    }
    if (c->workgroup_bytes <= HY__GPU_FLOOR_SHARED) {
        use &= ~(hy__gpu_use)HY__GPU_USE_SHARED;
    }
    if (c->storage_buffers < 10) {
        use &= ~(hy__gpu_use)HY__GPU_USE_FOURS;
    }
    if (HY_MIN(c->max_binding, c->max_buffer) <= HY__GPU_FLOOR_BINDING) {
        use &= ~(hy__gpu_use)HY__GPU_USE_BINDINGS;
    }
    return use;
}

/* ---- a tiny model on the bench */

/* Everything but the device. */
static void clear_bench(hy__gpu_model *m)
{
    hy__gpu_program_finish(m);
    if (m->g) {
        hy__gpu_weights_finish(m);
    }
    const size_t behind = offsetof(hy__gpu_model, matrices);
    m->g = NULL;
    m->f = NULL;
    m->x = NULL;
    m->p = NULL;
    memset((char *)m + behind, 0, sizeof *m - behind);
}

/* The texts of a tiny model's kernels; the device is not needed. */
static hy_status write_texts(tester *s, const hy__gpu_tiny *t, hy__gpu_use use, hy_error *err)
{
    hy__gpu_model *m = &s->bench;
    m->env = t->env;
    m->g = &t->graph;
    m->f = &t->fusion;
    m->x = &t->exprs;
    m->p = &t->plan;
    m->use = use;
    m->tuning = s->tuning;
    m->gpu.caps = s->gpu->caps;
    hy__gpu_choose(m);
    m->few_columns = HY__GPU_UNIT_COLUMNS;
    for (uint32_t i = 0; i < HY__GPU_TILE_SIZES; i++) {
        m->tile_columns[i] = m->few_columns + i * HY__GPU_UNIT_SIZES;
    }
    m->only_columns = t->n_many;
    m->undivided = hy__gpu_tiny_tokens(t) - 2; /* of all tokens the last one divides its cache */
    HY_TRY(hy__gpu_weights_place(m, err));
    return hy__gpu_program_make(m, err);
}

static hy_status make_on_bench(tester *s, const hy__gpu_tiny *t, hy__gpu_use use, hy_error *err)
{
    const hy__backend_model_opts opts = {0};
    /* Without the sampler, whose kernels are compiled together with those of a model. */
    HY_TRY(write_texts(s, t, use & ~(hy__gpu_use)HY__GPU_USE_DRAWS, err));
    HY_TRY(hy__gpu_weights_make(&s->bench, err));
    HY_TRY(hy__gpu_program_compile(&s->bench, err));
    HY_TRY(hy__gpu_weights_load(&s->bench, &opts, err));
    return hy__gpu_program_wait(&s->bench, &opts, err);
}

/* The whole sequence; logits [tokens][n]. */
static hy_status play(const hy__backend *b, void *model, const hy__gpu_tiny *t, float *logits,
                      hy_error *err)
{
    const uint32_t tokens = hy__gpu_tiny_tokens(t), n = t->graph.values[t->graph.logits].n;
    const hy__backend_opts opts = {.n_ctx = tokens,
                                   .n_batch = t->n_many,
                                   .n_threads = 1,
                                   .all_logits = true,
                                   .cache_k = b->cache_types[0],
                                   .cache_v = b->cache_types[0]};
    const atomic_bool never = false;
    hy_token ids[HY__GPU_UNIT_COLUMNS + HY__GPU_TILE_SIZES * HY__GPU_UNIT_SIZES];
    void *session;
    HY_TRY(b->session_create(model, &opts, &session, err));
    hy_status status = HY_OK;
    for (uint32_t pos = 0, k = 0; pos < tokens && status == HY_OK; k++) {
        const hy__step_args args = {.tokens = ids,
                                    .n = k < t->n_steps ? t->n_many : 1,
                                    .n_out = k < t->n_steps ? t->n_many : 1,
                                    .pos = pos,
                                    .logits = logits + (size_t)pos * n,
                                    .cancel = &never};
        for (uint32_t i = 0; i < args.n; i++) {
            ids[i] = (hy_token)((pos + i) % t->n_rows);
        }
        status = b->step(session, &args, err);
        if (status == HY_OK) {
            b->commit(session);
        }
        pos += args.n;
    }
    b->session_destroy(session);
    return status;
}

static hy_status play_ref(hy__gpu_tiny *t, bool rounded, float *logits, hy_error *err)
{
    const hy__backend_model_opts opts = {0};
    const void *given = t->tensors[0].data;
    void *model;
    HY_TRY(hy__backend_ref.model_create(&t->graph, &t->fusion, &t->exprs, &t->plan, &opts, &t->env,
                                        &model, err));
    if (rounded) {
        t->tensors[0].data = t->rounded;
    }
    const hy_status status = play(&hy__backend_ref, model, t, logits, err);
    t->tensors[0].data = given;
    hy__backend_ref.model_destroy(model);
    return status;
}

/* HY_E_MISMATCH with the first result that is too far away, or no number. */
static hy_status compare(const hy__gpu_tiny *t, const float *got, const float *want,
                         const float *bounds, hy_error *err)
{
    const uint32_t n = t->graph.values[t->graph.logits].n;
    for (size_t i = 0; i < (size_t)n * hy__gpu_tiny_tokens(t); i++) {
        if (!(fabsf(got[i] - want[i]) <= bounds[i])) {
            return hy__fail(err, HY_E_MISMATCH, "%g where %g is right, in a step of %s",
                            (double)got[i], (double)want[i],
                            i / n < t->n_steps * t->n_many ? "many tokens" : "one token");
        }
    }
    return HY_OK;
}

/* How the matrix of a format's unit lies in memory: in that format, or in F16. */
static const hy__gpu_format *format_on(const hy__gpu_model *m, const hy__gpu_tiny *t)
{
    for (uint32_t i = 0; t->rounded && i < m->g->n_values; i++) {
        if (m->matrices[i].rows == t->data[1]) {
            return m->matrices[i].format;
        }
    }
    return NULL;
}

static hy_status run_model(tester *s, uint32_t unit, hy__gpu_use use, hy_error *err)
{
    hy__gpu_tiny t = {0};
    float *all = NULL;
    hy_status status = hy__gpu_tiny_make(&t, unit, false, &s->env, err);
    if (status == HY_OK) {
        const size_t n = (size_t)t.graph.values[t.graph.logits].n * hy__gpu_tiny_tokens(&t);
        all = hy__calloc(&s->env, 3 * n, sizeof *all, err);
        status = all ? make_on_bench(s, &t, use, err) : HY_E_NOMEM;
        float *want = all + n, *bounds = want + n;
        const hy__gpu_format *f = status == HY_OK ? format_on(&s->bench, &t) : NULL;
        if (status == HY_OK) {
            status = play(&hy__backend_webgpu, &s->bench, &t, all, err);
        }
        if (status == HY_OK) {
            status = play_ref(&t, f && f->codes, want, err);
        }
        if (status == HY_OK) {
            status = hy__gpu_tiny_bounds(&t, want, f && f->type == t.tensors[1].type, bounds, err);
        }
        status = status == HY_OK ? compare(&t, all, want, bounds, err) : status;
    }
    clear_bench(&s->bench);
    hy__free(&s->env, all);
    hy__gpu_tiny_finish(&t);
    return status;
}

/* ---- tokens that are drawn */

enum { VOCAB = 5000, DRAWS = 4 };

typedef struct drawing {
    hy__gpu_sample_kernels kernels;
    hy__gpu_sample sample;
    WGPUBuffer step, ring, logits;
    float numbers[VOCAB];
} drawing;

static hy_status make_drawing(hy__gpu *gpu, drawing *d, const hy_sampler *sampler, hy_error *err)
{
    const WGPUBufferUsage usage =
        WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc;
    const uint32_t step[HY__GPU_STEP_WORDS] = {1, 1, 0, 0}, first = 7;
    uint32_t random = 1;
    for (uint32_t i = 0; i < VOCAB; i++) {
        /* Some that are equal, some that may not be. */
        random = random * 1664525 + 1013904223;
        d->numbers[i] = i % 91 == 5 ? -INFINITY : (float)(random >> 20) * 0x1p-8f - 10;
    }
    HY_TRY(hy__gpu_buffer(gpu, sizeof step, usage, "a step", &d->step, err));
    HY_TRY(hy__gpu_buffer(gpu, 4 * HY__GPU_RING, usage, "tokens", &d->ring, err));
    HY_TRY(hy__gpu_buffer(gpu, sizeof d->numbers, usage, "logits", &d->logits, err));
    gpu->lib.QueueWriteBuffer(gpu->queue, d->step, 0, step, sizeof step);
    gpu->lib.QueueWriteBuffer(gpu->queue, d->ring, 0, &first, sizeof first);
    gpu->lib.QueueWriteBuffer(gpu->queue, d->logits, 0, d->numbers, sizeof d->numbers);
    const hy__gpu_sample_buffers buffers = {.step = d->step, .ring = d->ring, .logits = d->logits};
    return hy__gpu_sample_create(gpu, &d->kernels, sampler, VOCAB, &buffers, &d->sample, err);
}

static hy_status compare_draws(hy__gpu *gpu, drawing *d, const hy_sampler *sampler, hy_error *err)
{
    const hy__gpu_lib *lib = &gpu->lib;
    uint32_t drawn[DRAWS + 1];
    hy_token tokens[DRAWS + 1] = {7};
    float mu = 0;
    HY_TRY(make_drawing(gpu, d, sampler, err));
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    for (uint32_t i = 0; i < DRAWS; i++) {
        hy__gpu_sample_encode(gpu, &d->sample, pass);
    }
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    HY_TRY(hy__gpu_read(gpu, d->ring, 0, drawn, sizeof drawn, err));
    for (uint32_t i = 1; i <= DRAWS; i++) {
        HY_TRY(hy_sampler_pick(sampler, d->numbers, VOCAB, tokens, i, i, &mu, &tokens[i], err));
        if (drawn[i] != (uint32_t)tokens[i]) {
            return hy__fail(err, HY_E_MISMATCH, "token %u where %u is right", drawn[i],
                            (uint32_t)tokens[i]);
        }
    }
    return HY_OK;
}

static hy_status run_draws(tester *s, hy_error *err)
{
    hy__gpu *gpu = &s->bench.gpu;
    drawing *d = hy__calloc(&s->env, 1, sizeof *d, err);
    hy_status status = d ? HY_OK : HY_E_NOMEM;
    for (int greedy = 0; greedy < 2 && status == HY_OK; greedy++) {
        const hy_sampler_opts opts = {.size = sizeof opts,
                                      .greedy = greedy,
                                      .seed = 3,
                                      .top_k = 60,
                                      .top_p = 0.97f,
                                      .min_p = 0.01f,
                                      .temperature = 1.5f,
                                      .repeat_penalty = 1.5f};
        hy_sampler *sampler = NULL;
        status = hy_sampler_create(&opts, NULL, &s->env, &sampler, err);
        status = status == HY_OK ? compare_draws(gpu, d, sampler, err) : status;
        hy_sampler_destroy(sampler);
        hy__gpu_sample_destroy(gpu, &d->sample);
        hy__gpu_buffer_free(gpu, d->step);
        hy__gpu_buffer_free(gpu, d->ring);
        hy__gpu_buffer_free(gpu, d->logits);
        d->step = d->ring = d->logits = NULL;
    }
    if (d) {
        hy__gpu_sample_kernels_free(gpu, &d->kernels);
    }
    hy__free(&s->env, d);
    return status;
}

/* ---- one unit */

/* All that can be bound; software has to fill it with zeros, so a little more than the floor. */
static hy_status run_bindings(tester *s, hy_error *err)
{
    hy__gpu *gpu = &s->bench.gpu;
    const uint64_t least = HY__GPU_FLOOR_BINDING + (1 << 20);
    const uint64_t most = HY_MIN(s->gpu->caps.max_binding, s->gpu->caps.max_buffer);
    const hy_status status =
        gpu->caps.type == WGPUAdapterType_CPU ? HY_E_NOMEM : hy__gpu_probe_binding(gpu, most, err);
    return status == HY_E_NOMEM ? hy__gpu_probe_binding(gpu, HY_MIN(least, most), err) : status;
}

static hy_status run_unit(tester *s, uint32_t i, hy__gpu_use use, hy_error *err)
{
    hy_status status = HY_OK;
    hy__gpu_unit u;
    if (!s->open) {
        HY_TRY(hy__gpu_open(&s->bench.gpu, s->opts, &s->env, err));
        s->open = true;
    }
    if (i == HY__GPU_UNIT_BINDINGS) {
        status = use & HY__GPU_USE_BINDINGS ? run_bindings(s, err) : HY_OK;
    } else if (i == HY__GPU_UNIT_DRAWS) {
        status = use & HY__GPU_USE_DRAWS ? run_draws(s, err) : HY_OK;
    } else if (hy__gpu_unit_at(i, &u) && (u.needs & ~use) == 0) {
        /* What is done by matrices has units of its own, and is tested without them too. */
        status = run_model(s, i, use & (u.uses | ~by_matrices), err);
    }
    /* After an error a device is of no use. */
    const hy_status after = hy__gpu_check(&s->bench.gpu, status == HY_OK ? err : NULL);
    if (after != HY_OK) {
        hy__gpu_close(&s->bench.gpu);
        s->open = false;
    }
    return status == HY_OK ? after : status;
}

/* Whether a failure is one of what was tested. */
static bool is_fault(hy_status status)
{
    return status == HY_E_MISMATCH || status == HY_E_INTERNAL || status == HY_E_NUMERIC ||
           status == HY_E_DEVICE_LOST;
}

/* ---- all of them */

static void drop(tester *s, const hy__gpu_unit *u, uint32_t k, const hy_error *why)
{
    s->v->dropped |= (hy__gpu_use)1 << k;
    snprintf(s->v->why[k], sizeof s->v->why[k], "%s: %.300s", u->name, why->text);
}

/* Variants of a unit in the order in which they build on each other: reading a format, then the
 * list, then what works on codes.  Returns how many. */
static uint32_t order_of(const hy__gpu_unit *u, hy__gpu_use all, uint32_t order[])
{
    const hy__gpu_use plain = ((hy__gpu_use)1 << HY__GPU_N_PLAIN) - 1;
    const hy__gpu_use whole = all & ~plain & (u->format ? hy__gpu_use_format(u->format) : ~plain);
    const hy__gpu_use turns[] = {whole, all & plain, all & ~plain & ~whole};
    uint32_t n = 0;
    for (size_t turn = 0; turn < HY_COUNT(turns); turn++) {
        for (uint32_t k = 0; k < HY__GPU_MOST_VARIANTS; k++) {
            if (turns[turn] >> k & 1) {
                order[n++] = k;
            }
        }
    }
    return n;
}

/* Whether all is right without a single one, which is then dropped. */
static hy_status find_one(tester *s, uint32_t i, const hy__gpu_unit *u, const uint32_t *order,
                          uint32_t n, const hy_error *first, bool *found, hy_error *err)
{
    while (n-- > 0) {
        const hy__gpu_use one = (hy__gpu_use)1 << order[n];
        hy_error why;
        const hy_status status = run_unit(s, i, s->v->possible & ~s->v->dropped & ~one, &why);
        if (status == HY_OK) {
            drop(s, u, order[n], first);
            *found = true;
            return HY_OK;
        }
        if (!is_fault(status)) {
            return hy__fail(err, status, "%s", why.text);
        }
    }
    return HY_OK;
}

/* Which of a unit's variants make it wrong: the only one, or those that do when they are added one
 * by one to a unit that is right.  first: what was wrong with all. */
static hy_status find_faults(tester *s, uint32_t i, const hy__gpu_unit *u, const hy_error *first,
                             hy_error *err)
{
    const hy__gpu_use all = s->v->possible & ~s->v->dropped;
    hy__gpu_use use = all & ~u->uses;
    uint32_t order[HY__GPU_MOST_VARIANTS];
    const uint32_t n = order_of(u, all & u->uses, order);
    bool found = false;
    hy_error why;
    HY_TRY(find_one(s, i, u, order, n, first, &found, err));
    if (found) {
        return HY_OK;
    }
    hy_status status = run_unit(s, i, use, &why);
    if (is_fault(status)) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%s computes wrong with %s, even the simplest kernels (%s: %s)",
                        s->gpu->caps.adapter, s->gpu->caps.library, u->name, why.text);
    }
    for (uint32_t k = 0; status == HY_OK && k < n; k++) {
        const hy__gpu_use one = (hy__gpu_use)1 << order[k];
        status = run_unit(s, i, use | one, &why);
        if (is_fault(status)) {
            drop(s, u, order[k], &why);
            status = HY_OK;
        } else {
            use |= one;
        }
    }
    return status == HY_OK ? HY_OK : hy__fail(err, status, "%s", why.text);
}

/* Until every unit was right with what is left. */
static hy_status run_all(tester *s, uint64_t units, hy_error *err)
{
    hy__gpu_verdict *v = s->v;
    hy__gpu_unit u;
    for (uint32_t i = 0; hy__gpu_unit_at(i, &u); i++) {
        const hy__gpu_use before = v->dropped;
        hy_error why;
        if (!((units & ~v->passed) >> i & 1)) {
            continue;
        }
        const hy_status status = run_unit(s, i, v->possible & ~v->dropped, &why);
        if (is_fault(status)) {
            HY_TRY(find_faults(s, i, &u, &why, err));
        } else if (status != HY_OK) {
            return hy__fail(err, status, "%s", why.text);
        }
        v->passed |= UINT64_C(1) << i;
        hy__gpu_unit other;
        for (uint32_t k = 0; v->dropped != before && k < i && hy__gpu_unit_at(k, &other); k++) {
            if (other.uses & v->dropped & ~before) {
                v->passed &= ~(UINT64_C(1) << k);
            }
        }
        if (v->dropped != before) {
            i = UINT32_MAX; /* from the beginning */
        }
    }
    return HY_OK;
}

/* ---- several at once */

static void tester_destroy(tester *s)
{
    if (s) {
        const hy_env env = s->env;
        if (s->open) {
            hy__gpu_close(&s->bench.gpu);
        }
        hy__lock_destroy(&env, s->bench.lock);
        hy__free(&env, s);
    }
}

static hy_status tester_create(const hy__gpu *gpu, const hy__gpu_opts *opts,
                               const hy__gpu_tuning *tuning, hy__gpu_verdict *v, tester **out,
                               hy_error *err)
{
    tester *s = hy__calloc(&gpu->env, 1, sizeof *s, err);
    *out = s;
    if (!s) {
        return HY_E_NOMEM;
    }
    *s = (tester){.gpu = gpu, .opts = opts, .tuning = *tuning, .v = v, .env = gpu->env};
    s->bench.env = gpu->env;
    s->bench.lock = hy__lock_create(&gpu->env, err);
    return s->bench.lock ? HY_OK : HY_E_NOMEM;
}

enum { MOST_TESTERS = 8 };

/* Testers with a device and a thread each. */
typedef struct crew {
    const hy__gpu *gpu;
    const hy__gpu_opts *opts;
    const hy__gpu_tuning *tuning;
    hy__gpu_verdict *v; /* read only */
    uint64_t units;
    atomic_uint next;
    _Atomic(uint64_t) passed;
} crew;

static void crew_work(void *arg)
{
    crew *c = arg;
    tester *s;
    hy__gpu_unit u;
    hy_error why;
    hy_status status = tester_create(c->gpu, c->opts, c->tuning, c->v, &s, NULL);
    for (uint32_t i; status == HY_OK && hy__gpu_unit_at(i = atomic_fetch_add(&c->next, 1), &u);) {
        if (c->units >> i & 1 && run_unit(s, i, c->v->possible & ~c->v->dropped, &why) == HY_OK) {
            atomic_fetch_or(&c->passed, UINT64_C(1) << i);
        }
    }
    tester_destroy(s);
}

/* Most of the time of a unit is spent on compiling its kernels, and most GPUs compute right: all
 * units are tried at the same time.  What fails here is looked into by run_all. */
static void run_together(tester *s, uint64_t units)
{
    const hy_env *env = &s->env;
    crew c = {.gpu = s->gpu,
              .opts = s->opts,
              .tuning = &s->tuning,
              .v = s->v,
              .units = units & ~s->v->passed};
    void *threads[MOST_TESTERS];
    uint32_t n = 0, n_units = 0;
    for (uint32_t i = 0; i < 64; i++) {
        n_units += c.units >> i & 1;
    }
    atomic_init(&c.next, 0);
    atomic_init(&c.passed, 0);
    const uint32_t most = HY_MIN(HY_MIN(hy_cpu_count(), (uint32_t)MOST_TESTERS), n_units);
    while (n + 1 < most &&
           env->thread_start(env->user, crew_work, &c, &threads[n], NULL) == HY_OK) {
        n++;
    }
    if (n > 0) {
        crew_work(&c);
    }
    for (uint32_t i = 0; i < n; i++) {
        env->thread_join(env->user, threads[i]);
    }
    s->v->passed |= atomic_load(&c.passed);
}

/* ---- the test */

void hy__gpu_key(const hy__gpu *gpu, uint64_t *name, uint64_t *key)
{
    const hy__gpu_caps *c = &gpu->caps;
    const uint32_t mask = gpu->mask & ~(uint32_t)HY__GPU_NO_TUNED;
    const hy_env *env = &gpu->env;
    void *file;
    uint64_t bytes = 0, crc = hy__crc64(c->identity, c->library, strlen(c->library));
    crc = hy__crc64(crc, gpu->lib.path, strlen(gpu->lib.path));
    *name = hy__crc64(crc, &mask, sizeof mask);
    /* Dawn tells no version. */
    if (env->file_open(env->user, gpu->lib.path, HY_FILE_READ, &file, &bytes, NULL) == HY_OK) {
        (void)env->file_close(env->user, file, NULL);
    }
    crc = hy__crc64(*name, &bytes, sizeof bytes);
    *key = hy__crc64(crc, hy_version(), strlen(hy_version()));
}

/* Of everything that the results depend on but the numbers of units. */
static hy_status make_key(tester *s, uint64_t *name, uint64_t *key, hy_error *err)
{
    uint64_t crc;
    hy__gpu_key(s->gpu, name, &crc);
    if (hy__gpu_tunes(&s->tuning)) {
        *name = hy__crc64(*name, &s->tuning.without, sizeof s->tuning.without);
        *name = hy__crc64(*name, s->tuning.numbers, sizeof s->tuning.numbers);
    }
    crc = hy__crc64(crc, &s->v->possible, sizeof s->v->possible);
    size_t len;
    const char *sampler = hy__gpu_sample_text(&len);
    crc = hy__crc64(crc, sampler, len);
    hy_status status = HY_OK;
    hy__gpu_unit u;
    for (uint32_t i = 0; status == HY_OK && hy__gpu_unit_at(i, &u); i++) {
        hy__gpu_tiny t = {0};
        if (!u.model) {
            continue;
        }
        status = hy__gpu_tiny_make(&t, i, true, &s->env, err);
        status = status == HY_OK ? write_texts(s, &t, s->v->possible, err) : status;
        for (uint32_t k = 0; k < s->bench.n_kernels; k++) {
            crc = hy__crc64(crc, s->bench.kernels[k].text.data, s->bench.kernels[k].text.len);
        }
        clear_bench(&s->bench);
        hy__gpu_tiny_finish(&t);
    }
    *key = crc;
    return status;
}

static void warn(const tester *s, uint64_t units)
{
    hy__gpu_use met = 0;
    hy__gpu_unit u;
    for (uint32_t i = 0; hy__gpu_unit_at(i, &u); i++) {
        met |= units >> i & 1 ? u.uses : 0;
    }
    hy__gpu_variant variant;
    for (uint32_t i = 0; hy__gpu_variant_at(i, &variant); i++) {
        if (s->v->dropped & met & (hy__gpu_use)1 << i) {
            hy__message(&s->env, HY_LOG_WARN, "%s, %s: %s (%s) are wrong (%s), so %s",
                        s->gpu->caps.adapter, s->gpu->caps.library, variant.what, variant.name,
                        s->v->why[i], variant.instead);
        }
    }
}

hy_status hy__gpu_selftest(const hy__gpu *gpu, const hy__gpu_opts *opts,
                           const hy__gpu_tuning *tuning, uint64_t units, const char *folder,
                           hy__gpu_verdict *v, hy_error *err)
{
    static const hy__gpu_tuning none = {0};
    uint64_t name = 0, key = 0;
    bool ran = false;
    const bool injected = hy__gpu_is_injected(), keeps = folder && !injected;
    hy__gpu_opts own = *opts;
    tester *s;
    own.hardware = false; /* the adapter has been taken */
    tuning = tuning ? tuning : &none;
    *v = (hy__gpu_verdict){.possible = hy__gpu_possible(gpu) & ~tuning->without};
    hy_status status = tester_create(gpu, &own, tuning, v, &s, err);
    if (status == HY_OK && keeps) {
        status = make_key(s, &name, &key, err);
        if (status == HY_OK) {
            hy__gpu_verdict_load(&s->env, folder, name, key, v);
        }
    }
    if (status == HY_OK) {
        ran = (units & ~v->passed) != 0;
        if (!injected) {
            run_together(s, units);
        }
        status = run_all(s, units, err);
    }
    if (status == HY_OK && ran && keeps) {
        hy__gpu_verdict_save(&s->env, folder, name, key, v);
    }
    if (status == HY_OK) {
        warn(s, units);
    }
    tester_destroy(s);
    return status;
}
