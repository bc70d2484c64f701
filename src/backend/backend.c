/* backend.c: the table of backends.  Static data only. */
#include "backend.h"

#include <stdio.h>

static const struct entry {
    const char *name;
    const hy__backend *backend; /* NULL: absent */
    const char *why;
} entries[] = {
#define HY_BACKEND(name) {#name, &hy__backend_##name, NULL},
#define HY_BACKEND_ABSENT(name, why) {#name, NULL, why},
#include "backends.inc"
#undef HY_BACKEND
#undef HY_BACKEND_ABSENT
};

static const struct entry *entry_of(const char *name)
{
    for (size_t i = 0; i < HY_COUNT(entries); i++) {
        if (strcmp(entries[i].name, name) == 0) {
            return &entries[i];
        }
    }
    return NULL;
}

const char *hy_backend_at(size_t i)
{
    return i < HY_COUNT(entries) ? entries[i].name : NULL;
}

const char *hy_backend_absent_reason(const char *name)
{
    const struct entry *e = entry_of(name);
    return e ? e->why : "there is no backend of this name";
}

bool hy_backend_supports(const char *backend, size_t op, hy_type type)
{
    const struct entry *e = entry_of(backend);
    return e && e->backend && op < HY__N_OPS && e->backend->supports((hy__opcode)op, type);
}

hy_status hy__backend_find(const char *name, const hy__backend **out, hy_error *err)
{
    const struct entry *e = entry_of(name);
    if (e && e->backend) {
        *out = e->backend;
        return HY_OK;
    }
    if (e) {
        return hy__fail(err, HY_E_UNSUPPORTED, "backend %s: %s", name, e->why);
    }
    char known[200] = "auto";
    for (size_t i = 0; i < HY_COUNT(entries); i++) {
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, ", %s", entries[i].name);
    }
    return hy__fail(err, HY_E_NOT_FOUND, "there is no backend \"%s\"; these are: %s", name, known);
}

hy_status hy__backend_choose(const hy__backend *after, const hy__backend_model_opts *opts,
                             const hy__backend **out, hy_error *err)
{
    hy_status status = hy__fail(err, HY_E_UNSUPPORTED, "no backend can run here");
    bool behind = after == NULL;
    for (size_t i = 0; i < HY_COUNT(entries) && status == HY_E_UNSUPPORTED; i++) {
        const hy__backend *b = entries[i].backend;
        if (b && behind) {
            *out = b;
            status = b->look ? b->look(opts, err) : HY_OK;
        }
        behind = behind || b == after;
    }
    return status;
}
