/* webgpu.c: models of the WebGPU backend, and its table of functions.  See webgpu.h. */
#include "webgpu.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "halyard/types.h"
#include "tune.h"

/* ---- life */

/* Everything but what a device is opened with again; handles of sessions can still be released. */
static void unmake(hy__gpu_model *m)
{
    const hy__gpu_lib lib = m->gpu.lib;
    hy__gpu_program_finish(m);
    hy__gpu_sample_kernels_free(&m->gpu, &m->sample_kernels);
    hy__gpu_weights_finish(m);
    hy__gpu_close(&m->gpu);
    /* Other threads may be reading where the lock is: what lies before stays untouched. */
    memset((char *)m + offsetof(hy__gpu_model, gpu), 0,
           sizeof *m - offsetof(hy__gpu_model, gpu));
    m->gpu.lib = lib;
}

static void model_destroy(void *model)
{
    hy__gpu_model *m = model;
    if (m) {
        unmake(m);
        hy__lock_destroy(&m->env, m->lock);
        hy__free(&m->env, m->kernel_cache);
        const hy_env env = m->env;
        hy__free(&env, m);
    }
}

/* Invocations, roughly: a software adapter has few processors; a GPU as many as stay busy. */
static uint32_t workers_of(const hy__gpu_caps *caps)
{
    return 256 * (caps->type == WGPUAdapterType_CPU ? 4 : 264);
}

/* A buffer that is read by fours is bound twice, and its parts must begin at fours. */
static bool reads_by_fours(const hy__gpu_model *m)
{
    bool wide = m->use & HY__GPU_USE_FOURS;
    for (uint32_t i = 0; i < m->g->n_states; i++) {
        wide = wide && m->p->state_place[i] % 4 == 0;
    }
    return wide;
}

hy_status hy__gpu_advise(hy__gpu *gpu, hy_status status, hy_error *err, const char *fmt, ...)
{
    if (status == HY_E_NOMEM && gpu->full && err) {
        const size_t n = strlen(err->text);
        va_list args;
        snprintf(err->text + n, sizeof err->text - n, "; ");
        va_start(args, fmt);
        vsnprintf(err->text + strlen(err->text), sizeof err->text - strlen(err->text), fmt, args);
        va_end(args);
    }
    return status;
}

void hy__gpu_choose(hy__gpu_model *m)
{
    m->workers = workers_of(&m->gpu.caps);
    m->lanes = 256;
    m->wide = reads_by_fours(m);
    const bool software = m->gpu.caps.type == WGPUAdapterType_CPU;
    m->chunk = software ? 8 : 32; /* until a step was measured */
    m->undivided = software ? 32 : 1024;
    m->few_columns = 64;
    for (uint32_t i = 0; i < HY__GPU_TILE_SIZES; i++) {
        m->tile_columns[i] = UINT32_MAX; /* as the GPU is kept busy */
    }
#define HY_GPU_NUMBER(id, name, field, what, a, b, c)                                              \
    m->field = m->tuning.numbers[HY__GPU_NUMBER_##id] ? m->tuning.numbers[HY__GPU_NUMBER_##id]     \
                                                      : m->field;
#include "variants.inc"
    if (!(m->use & HY__GPU_USE_BINDINGS)) {
        m->gpu.caps.max_binding = HY_MIN(m->gpu.caps.max_binding, (uint64_t)HY__GPU_FLOOR_BINDING);
    }
    if (!(m->use & HY__GPU_USE_INVOCATIONS)) {
        m->gpu.caps.invocations =
            HY_MIN(m->gpu.caps.invocations, (uint32_t)HY__GPU_FLOOR_INVOCATIONS);
    }
    if (!(m->use & HY__GPU_USE_SHARED)) {
        m->gpu.caps.workgroup_bytes =
            HY_MIN(m->gpu.caps.workgroup_bytes, (uint32_t)HY__GPU_FLOOR_SHARED);
    }
}

hy_status hy__gpu_prepare(hy__gpu_model *m, hy_error *err)
{
    hy__gpu_choose(m);
    HY_TRY(hy__gpu_weights_place(m, err));
    return hy__gpu_program_make(m, err);
}

/* The choice is forgotten, and said to be wrong. */
static void forget(hy__gpu_model *m, hy__gpu_choice *c, const char *folder, uint64_t name,
                   uint64_t key)
{
    m->tuning = c->tuning = (hy__gpu_tuning){0};
    for (uint32_t i = 0; i < c->n_gains; i++) {
        hy__gpu_gain *g = &c->gains[i];
        g->outcome = g->outcome == HY__GPU_CHANGED ? HY__GPU_WRONG : g->outcome;
    }
    (void)hy__gpu_choice_save(&m->env, folder, name, key, c, NULL);
}

/* With what the tuner chose before, which is forgotten if the GPU computes more wrong with it. */
static hy_status test_tuned(hy__gpu_model *m, const hy__gpu_opts *gpu, const char *folder,
                            hy__gpu_verdict *v, hy_error *err)
{
    const uint64_t units = hy__gpu_units_of(m->g);
    uint64_t name, key;
    hy__gpu_choice *c = hy__calloc(&m->env, 1, sizeof *c, err);
    if (!c) {
        return HY_E_NOMEM;
    }
    hy__gpu_key(&m->gpu, &name, &key);
    hy__gpu_choice_load(&m->env, folder, name, key, c);
    m->tuning = c->tuning;
    hy_status status = hy__gpu_selftest(&m->gpu, gpu, &m->tuning, units, folder, v, err);
    if (hy__gpu_tunes(&m->tuning) &&
        (status == HY_E_UNSUPPORTED || (status == HY_OK && v->dropped))) {
        const hy__gpu_use dropped = status == HY_OK ? v->dropped : ~(hy__gpu_use)0;
        status = hy__gpu_selftest(&m->gpu, gpu, NULL, units, folder, v, err);
        if (status != HY_OK || dropped & ~v->dropped) {
            forget(m, c, folder, name, key);
        } else {
            v->possible &= ~m->tuning.without;
        }
    }
    hy__free(&m->env, c);
    return status;
}

static hy_status select_variants(hy__gpu_model *m, const hy__gpu_opts *gpu, const char *folder,
                                 hy_error *err)
{
    hy__gpu_verdict *v = hy__calloc(&m->env, 1, sizeof *v, err);
    if (!v) {
        return HY_E_NOMEM;
    }
    const bool tuned = folder && !(m->gpu.mask & HY__GPU_NO_TUNED);
    const hy_status status =
        tuned ? test_tuned(m, gpu, folder, v, err)
              : hy__gpu_selftest(&m->gpu, gpu, NULL, hy__gpu_units_of(m->g), folder, v, err);
    m->use = v->possible & ~v->dropped;
    hy__free(&m->env, v);
    return status;
}

/* On a device that is open, with the variants that it may use. */
static hy_status make(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    HY_TRY(hy__gpu_prepare(m, err));
    HY_TRY(hy__gpu_advise(&m->gpu, hy__gpu_weights_make(m, err), err,
                          "the model needs %llu bytes of GPU memory: choose a smaller model or "
                          "smaller types of weights, or the cpu backend",
                          (unsigned long long)hy__gpu_memory_bytes(m)));
    HY_TRY(hy__gpu_program_compile(m, err));
    HY_TRY(hy__gpu_weights_load(m, opts, err));
    return hy__gpu_program_wait(m, opts, err);
}

static hy_status create(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    hy__gpu_opts gpu = {.lib = opts->webgpu_lib,
                        .folder = opts->webgpu_dir,
                        .cache = opts->kernel_cache,
                        .hardware = opts->hardware};
    HY_TRY(hy__gpu_mask_parse(opts->gpu_mask, &gpu.mask, err));
    m->form = hy__gpu_form_of(&gpu.mask);
    HY_TRY(hy__gpu_open(&m->gpu, &gpu, &m->env, err));
    m->mask = gpu.mask;
    m->mapped = opts->mapped;
    memcpy(m->lib_path, m->gpu.lib.path, sizeof m->lib_path);
    if (opts->kernel_cache) {
        const size_t bytes = strlen(opts->kernel_cache) + 1;
        m->kernel_cache = hy__alloc(&m->env, bytes, 1, err);
        if (!m->kernel_cache) {
            return HY_E_NOMEM;
        }
        memcpy(m->kernel_cache, opts->kernel_cache, bytes);
    }
    HY_TRY(select_variants(m, &gpu, opts->kernel_cache, err));
    return make(m, opts, err);
}

hy_status hy__gpu_model_revive(hy__gpu_model *m, hy_error *err)
{
    if (!m->gpu.lost || !m->lib_path[0]) { /* who tests or tunes has no model to remake */
        return hy__gpu_check(&m->gpu, err);
    }
    hy_error why = {HY_OK, ""};
    char loss[sizeof m->gpu.message];
    memcpy(loss, m->gpu.message, sizeof loss);
    unmake(m);
    const hy__gpu_lib lib = m->gpu.lib;
    const hy__gpu_opts gpu = {.lib = m->lib_path, .mask = m->mask, .cache = m->kernel_cache};
    const hy__backend_model_opts opts = {.mapped = m->mapped};
    hy_status status = hy__gpu_open(&m->gpu, &gpu, &m->env, &why);
    if (status == HY_OK) {
        status = make(m, &opts, &why);
    }
    if (status == HY_OK) {
        m->generation++;
        return HY_OK;
    }
    unmake(m);
    m->gpu.lib = lib;
    m->gpu.lost = true;
    memcpy(m->gpu.message, loss, sizeof loss);
    return hy__fail(err, HY_E_DEVICE_LOST, "the GPU was lost (%.150s) and cannot be used again: %s",
                    loss, why.text);
}

static hy_status model_create(const hy__graph *g, const hy__fusion *f, const hy__exprs *x,
                              const hy__plan *p, const hy__backend_model_opts *opts,
                              const hy_env *env, void **out, hy_error *err)
{
    *out = NULL;
    hy__gpu_model *m = hy__calloc(env, 1, sizeof *m, err);
    if (!m) {
        return HY_E_NOMEM;
    }
    m->env = *env;
    m->g = g;
    m->f = f;
    m->x = x;
    m->p = p;
    m->lock = hy__lock_create(env, err);
    const hy_status status = m->lock ? create(m, opts, err) : HY_E_NOMEM;
    if (status != HY_OK) {
        model_destroy(m);
        return status;
    }
    *out = m;
    return HY_OK;
}

/* Whether a library is there; GPUs are looked for by model_create, as that takes time. */
static hy_status look(const hy__backend_model_opts *opts, hy_error *err)
{
    hy__gpu_lib lib;
    uint32_t mask;
    HY_TRY(hy__gpu_mask_parse(opts->gpu_mask, &mask, err));
    HY_TRY(hy__gpu_lib_open(&lib, opts->webgpu_lib, opts->webgpu_dir, err));
    hy__gpu_lib_close(&lib);
    return HY_OK;
}

/* ---- entries: under the model's lock */

/* Evaluates `call` in an entry for `session`. */
#define UNDER_LOCK(call)                                                                           \
    hy__lock *const lock = ((hy__gpu_session *)session)->model->lock;                              \
    hy__lock_take(lock);                                                                           \
    const hy_status status = (call);                                                               \
    hy__lock_leave(lock);                                                                          \
    return status

static hy_status session_create(void *model, const hy__backend_opts *opts, void **out,
                                hy_error *err)
{
    hy__lock *const lock = ((hy__gpu_model *)model)->lock;
    hy__lock_take(lock);
    const hy_status status = hy__gpu_session_create(model, opts, out, err);
    hy__lock_leave(lock);
    return status;
}

static void session_destroy(void *session)
{
    if (session) {
        hy__lock *const lock = ((hy__gpu_session *)session)->model->lock;
        hy__lock_take(lock);
        hy__gpu_session_destroy(session);
        hy__lock_leave(lock);
    }
}

static hy_status step(void *session, const hy__step_args *args, hy_error *err)
{
    UNDER_LOCK(hy__gpu_step(session, args, err));
}

static hy_status ahead_begin(void *session, const hy_sampler *sampler, uint64_t sampler_id,
                             const hy_token *tokens, size_t n, hy_error *err)
{
    UNDER_LOCK(hy__gpu_ahead_begin(session, sampler, sampler_id, tokens, n, err));
}

static hy_status ahead_submit(void *session, uint32_t n, hy_error *err)
{
    UNDER_LOCK(hy__gpu_ahead_submit(session, n, err));
}

static hy_status ahead_collect(void *session, hy_token *out, hy_error *err)
{
    UNDER_LOCK(hy__gpu_ahead_collect(session, out, err));
}

static hy_status ahead_rewind(void *session, hy_error *err)
{
    UNDER_LOCK(hy__gpu_ahead_rewind(session, err));
}

static hy_status state_read(void *session, uint64_t n_pos, float *data, hy_error *err)
{
    UNDER_LOCK(hy__gpu_state_read(session, n_pos, data, err));
}

static hy_status state_write(void *session, uint64_t n_pos, const float *data, hy_error *err)
{
    UNDER_LOCK(hy__gpu_state_write(session, n_pos, data, err));
}

static hy_status revive(void *session, hy_error *err)
{
    UNDER_LOCK(hy__gpu_session_revive(session, err));
}

/* Every operation, and matrices of every type that can be decoded. */
static bool supports(hy__opcode op, hy_type type)
{
    const hy_type_info *info = hy_type_find((uint32_t)type);
    return op < HY__N_OPS && info != NULL && info->can_decode;
}

const hy__backend hy__backend_webgpu = {
    .name = "webgpu",
    .cache_types = {HY_TYPE_F16},
    .n_cache_types = 1,
    .profiles = true,
    .supports = supports,
    .look = look,
    .model_create = model_create,
    .model_destroy = model_destroy,
    .session_create = session_create,
    .session_destroy = session_destroy,
    .step = step,
    .commit = hy__gpu_commit,
    .step_tokens = hy__gpu_step_tokens,
    .ahead_begin = ahead_begin,
    .ahead_submit = ahead_submit,
    .ahead_collect = ahead_collect,
    .ahead_rewind = ahead_rewind,
    .state_read = state_read,
    .state_write = state_write,
    .revive = revive,
    .gpu = &hy__gpu_facts,
};
