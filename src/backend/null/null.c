/* null.c: a backend that prepares nothing and computes nothing: models can be loaded, verified and
 * planned with it on any machine, at no cost.  Nothing here owns memory. */
#include "backend/backend.h"

static bool supports(hy__opcode op, hy_type type)
{
    (void)op;
    (void)type;
    return false;
}

static hy_status model_create(const hy__graph *g, const hy__fusion *f, const hy__exprs *x,
                              const hy__plan *p, const hy__backend_model_opts *opts,
                              const hy_env *env, void **out, hy_error *err)
{
    (void)x; /* operations run one by one */
    (void)f;
    (void)opts;
    (void)g;
    (void)p;
    (void)env;
    (void)err;
    *out = NULL;
    return HY_OK;
}

static void destroy(void *object)
{
    (void)object;
}

static hy_status session_create(void *model, const hy__backend_opts *opts, void **out,
                                hy_error *err)
{
    (void)model;
    (void)opts;
    *out = NULL;
    return hy__fail(err, HY_E_UNSUPPORTED, "backend null: plans models and computes nothing");
}

/* Steps and states belong to sessions, of which there are none. */
const hy__backend hy__backend_null = {
    .name = "null",
    .cache_types = {HY_TYPE_F32},
    .n_cache_types = 1,
    .supports = supports,
    .model_create = model_create,
    .model_destroy = destroy,
    .session_create = session_create,
    .session_destroy = destroy,
};
