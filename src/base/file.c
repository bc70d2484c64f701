/* file.c: whole files on top of an environment's file callbacks. */
#include "base.h"

/* path + suffix; free with hy__free. */
static char *path_with(const hy_env *env, const char *path, const char *suffix, hy_error *err)
{
    hy__buf b = {0};
    if (hy__buf_append(env, &b, path, strlen(path), err) != HY_OK ||
        hy__buf_append(env, &b, suffix, strlen(suffix), err) != HY_OK) {
        hy__buf_finish(env, &b);
        return NULL;
    }
    return b.data;
}

hy_status hy__out_open(hy__out_file *f, const hy_env *env, const char *path, hy_error *err)
{
    memset(f, 0, sizeof *f);
    f->env = *env;
    f->path = path_with(env, path, "", err);
    f->part = f->path ? path_with(env, path, ".part", err) : NULL;
    hy_status status = f->part ? HY_OK : HY_E_NOMEM;
    if (status == HY_OK) {
        uint64_t bytes;
        status = env->file_open(env->user, f->part, HY_FILE_WRITE, &f->file, &bytes, err);
    }
    if (status != HY_OK) {
        hy__free(env, f->path);
        hy__free(env, f->part);
        memset(f, 0, sizeof *f);
    }
    return status;
}

hy_status hy__out_write(hy__out_file *f, const void *data, size_t n, hy_error *err)
{
    const hy_status status =
        n == 0 ? HY_OK : f->env.file_write(f->env.user, f->file, data, n, err);
    return status == HY_OK ? HY_OK : hy__wrap(err, status, "%s", f->part);
}

hy_status hy__out_commit(hy__out_file *f, hy_error *err)
{
    hy_status status = f->env.file_close(f->env.user, f->file, err);
    if (status != HY_OK) {
        status = hy__wrap(err, status, "%s", f->part);
    } else {
        status = f->env.file_rename(f->env.user, f->part, f->path, err);
    }
    if (status != HY_OK) {
        f->env.file_remove(f->env.user, f->part);
    }
    hy__free(&f->env, f->path);
    hy__free(&f->env, f->part);
    memset(f, 0, sizeof *f);
    return status;
}

void hy__out_abandon(hy__out_file *f)
{
    if (!f->part) { /* the handle is the environment's: it may be NULL and open */
        return;
    }
    /* The file is thrown away: whether its last bytes could be written does not matter. */
    (void)f->env.file_close(f->env.user, f->file, NULL);
    f->env.file_remove(f->env.user, f->part);
    hy__free(&f->env, f->path);
    hy__free(&f->env, f->part);
    memset(f, 0, sizeof *f);
}
