/* cpu.c: models of the CPU backend, and its table of functions.  See cpu.h. */
#include "cpu.h"

#include "halyard/types.h"

static void model_destroy(void *model)
{
    hy__cpu_model *m = model;
    if (!m) {
        return;
    }
    const hy_env env = m->env;
    hy__cpu_weights_finish(m);
    hy__cpu_program_finish(m);
    hy__free(&env, m);
}

static hy_status model_create(const hy__graph *g, const hy__fusion *f, const hy__exprs *x,
                              const hy__plan *p, const hy__backend_model_opts *opts,
                              const hy_env *env, void **out, hy_error *err)
{
    (void)x; /* operations run one by one */
    size_t level = 0;
    *out = NULL;
    HY_TRY(hy__level_find(opts->cpu_level, &level, err));
    hy__cpu_model *m = hy__calloc(env, 1, sizeof *m, err);
    if (!m) {
        return HY_E_NOMEM;
    }
    m->env = *env;
    m->g = g;
    m->f = f;
    m->p = p;
    m->vec = hy__level_vec(level);
    hy__level_packed(level, &m->kernels);
    m->columns = opts->no_sparse ? NULL : hy__level_columns(level);
    hy_status status = hy__cpu_weights(m, opts, err);
    if (status == HY_OK) {
        status = hy__cpu_program_make(m, err);
    }
    if (status == HY_OK) {
        const bool columns = hy__cpu_sparsity_pays(m);
        status = hy__cpu_weights_rest(m, opts, columns, err);
        if (status == HY_OK && columns) { /* tasks and inputs are others then */
            hy__cpu_program_finish(m);
            status = hy__cpu_program_make(m, err);
        }
    }
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

const hy__backend hy__backend_cpu = {
    .name = "cpu",
    .cache_types = {HY_TYPE_F16, HY_TYPE_F32, HY_TYPE_Q8_0},
    .n_cache_types = 3,
    .profiles = true,
    .traces = true,
    .supports = supports,
    .model_create = model_create,
    .model_destroy = model_destroy,
    .session_create = hy__cpu_session_create,
    .session_destroy = hy__cpu_session_destroy,
    .step = hy__cpu_step,
    .commit = hy__cpu_commit,
    .spared_bytes = hy__cpu_spared_bytes,
    .state_read = hy__cpu_state_read,
    .state_write = hy__cpu_state_write,
};
