/* cpu.c: models of the CPU backend.  Everything else is shared with the reference backend: see
 * backend/ref/ref.h. */
#include "cpu.h"

static hy_status model_create(const hy__graph *g, const hy__plan *p,
                              const hy__backend_model_opts *opts, const hy_env *env, void **out,
                              hy_error *err)
{
    size_t level = 0;
    *out = NULL;
    HY_TRY(hy__cpu_level_find(opts->cpu_level, &level, err));
    hy__cpu_model *m = hy__calloc(env, 1, sizeof *m, err);
    if (!m) {
        return HY_E_NOMEM;
    }
    const hy_status status = hy__ref_model_init(&m->base, g, p, env, err);
    if (status != HY_OK) {
        hy__free(env, m);
        return status;
    }
    hy__cpu_fill(level, &m->kernels);
    m->base.functions[HY__OP_MATMUL] = hy__cpu_matmul;
    m->base.column_bytes = hy__cpu_column_bytes(m->base.widest);
    *out = m;
    return HY_OK;
}

static void model_destroy(void *model)
{
    hy__cpu_model *m = model;
    if (!m) {
        return;
    }
    const hy_env env = m->base.env;
    hy__ref_model_finish(&m->base);
    hy__free(&env, m);
}

const hy__backend hy__backend_cpu = {
    .name = "cpu",
    .supports = hy__ref_supports,
    .model_create = model_create,
    .model_destroy = model_destroy,
    .session_create = hy__ref_session_create,
    .session_destroy = hy__ref_session_destroy,
    .step = hy__ref_step,
    .commit = hy__ref_commit,
    .state_read = hy__ref_state_read,
    .state_write = hy__ref_state_write,
};
