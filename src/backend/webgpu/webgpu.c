/* webgpu.c: models of the WebGPU backend, and its table of functions.  See webgpu.h. */
#include "webgpu.h"

#include "halyard/types.h"

static void model_destroy(void *model)
{
    hy__gpu_model *m = model;
    if (!m) {
        return;
    }
    const hy_env env = m->env;
    hy__gpu_program_finish(m);
    hy__gpu_sample_kernels_free(&m->gpu, &m->sample_kernels);
    hy__gpu_weights_finish(m);
    hy__gpu_close(&m->gpu);
    hy__free(&env, m);
}

/* Invocations, roughly: a software adapter has few processors; a GPU as many as stay busy. */
static uint32_t workers_of(const hy__gpu_caps *caps)
{
    return 256 * (caps->type == WGPUAdapterType_CPU ? 16 : 264);
}

/* A buffer that is read by fours is bound twice, and its parts must begin at fours. */
static bool reads_by_fours(const hy__gpu_model *m)
{
    bool wide = m->gpu.caps.storage_buffers >= 10;
    for (uint32_t i = 0; i < m->g->n_states; i++) {
        wide = wide && m->p->state_place[i] % 4 == 0;
    }
    return wide;
}

static hy_status create(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    hy__gpu_opts gpu = {
        .lib = opts->webgpu_lib, .folder = opts->webgpu_dir, .cache = opts->kernel_cache};
    HY_TRY(hy__gpu_mask_parse(opts->gpu_mask, &gpu.mask, err));
    HY_TRY(hy__gpu_open(&m->gpu, &gpu, &m->env, err));
    m->workers = workers_of(&m->gpu.caps);
    m->lanes = 256;
    m->wide = reads_by_fours(m);
    HY_TRY(hy__gpu_weights_place(m, err));
    HY_TRY(hy__gpu_program_make(m, err));
    HY_TRY(hy__gpu_weights_make(m, err));
    HY_TRY(hy__gpu_program_compile(m, err));
    HY_TRY(hy__gpu_weights_load(m, opts, err));
    return hy__gpu_program_wait(m, opts, err);
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
    const hy_status status = create(m, opts, err);
    if (status != HY_OK) {
        model_destroy(m);
        return status;
    }
    *out = m;
    return HY_OK;
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
    .model_create = model_create,
    .model_destroy = model_destroy,
    .session_create = hy__gpu_session_create,
    .session_destroy = hy__gpu_session_destroy,
    .step = hy__gpu_step,
    .commit = hy__gpu_commit,
    .step_tokens = hy__gpu_step_tokens,
    .ahead_begin = hy__gpu_ahead_begin,
    .ahead_submit = hy__gpu_ahead_submit,
    .ahead_collect = hy__gpu_ahead_collect,
    .ahead_rewind = hy__gpu_ahead_rewind,
    .state_read = hy__gpu_state_read,
    .state_write = hy__gpu_state_write,
    .gpu = &hy__gpu_facts,
};
