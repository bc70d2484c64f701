/* env.c: filling in an environment, and memory through it.  Callable from any thread. */
#include "base.h"

#include <stdio.h>

void hy__env_resolve(hy_env *dst, const hy_env *src)
{
    hy_env own;
    memset(&own, 0, sizeof own);
    if (src) {
        memcpy(&own, src, HY_MIN(src->size, sizeof own));
    }
    hy_env os;
    hy__os_env(&os);
#define DEFAULT(member)                                                                            \
    if (!own.member) {                                                                             \
        own.member = os.member;                                                                    \
    }
    DEFAULT(mem_alloc)
    DEFAULT(mem_realloc)
    DEFAULT(mem_free)
    DEFAULT(file_open)
    DEFAULT(file_read)
    DEFAULT(file_write)
    DEFAULT(file_close)
    DEFAULT(file_map)
    DEFAULT(file_unmap)
    DEFAULT(file_rename)
    DEFAULT(file_remove)
    DEFAULT(clock_ns)
    DEFAULT(thread_start)
    DEFAULT(thread_join)
#undef DEFAULT
    own.size = sizeof own;
    *dst = own;
}

static bool byte_count(size_t count, size_t elem, size_t extra, size_t *bytes)
{
    if (elem != 0 && count > (SIZE_MAX - extra) / elem) {
        return false;
    }
    *bytes = count * elem + extra;
    if (*bytes == 0) {
        *bytes = 1;
    }
    /* Differences of pointers into the block must stay representable. */
    return *bytes <= (size_t)PTRDIFF_MAX;
}

hy_status hy__size(const char *what, uint64_t count, uint64_t elem, size_t *bytes, hy_error *err)
{
    uint64_t n = UINT64_MAX;
    const bool counted = hy__mul_u64(count, elem, &n);
    if (!counted || n > (uint64_t)PTRDIFF_MAX) {
        return hy__fail(err, HY_E_NOMEM,
                        "out of memory: %s would take %s%llu bytes, a block here has %llu at most",
                        what, counted ? "" : "more than ", (unsigned long long)n,
                        (unsigned long long)PTRDIFF_MAX);
    }
    *bytes = (size_t)n;
    return HY_OK;
}

static void *no_memory(hy_error *err, size_t count, size_t elem)
{
    hy__fail(err, HY_E_NOMEM, "out of memory: %zu x %zu bytes", count, elem);
    return NULL;
}

void *hy__alloc(const hy_env *env, size_t count, size_t elem, hy_error *err)
{
    size_t bytes;
    void *p = byte_count(count, elem, 0, &bytes) ? env->mem_alloc(env->user, bytes) : NULL;
    return p ? p : no_memory(err, count, elem);
}

void *hy__calloc(const hy_env *env, size_t count, size_t elem, hy_error *err)
{
    void *p = hy__alloc(env, count, elem, err);
    if (p) {
        memset(p, 0, count * elem);
    }
    return p;
}

void *hy__realloc(const hy_env *env, void *ptr, size_t count, size_t elem, hy_error *err)
{
    size_t bytes;
    void *p = byte_count(count, elem, 0, &bytes) ? env->mem_realloc(env->user, ptr, bytes) : NULL;
    return p ? p : no_memory(err, count, elem);
}

void hy__free(const hy_env *env, void *ptr)
{
    if (ptr) {
        env->mem_free(env->user, ptr);
    }
}

/* The block begins somewhere before the aligned pointer; where is kept just in front of it. */
#define ALIGNMENT ((size_t)64)

void *hy__alloc_aligned(const hy_env *env, size_t count, size_t elem, hy_error *err)
{
    size_t bytes;
    const size_t extra = ALIGNMENT + sizeof(void *);
    void *block = byte_count(count, elem, extra, &bytes) ? env->mem_alloc(env->user, bytes) : NULL;
    if (!block) {
        return no_memory(err, count, elem);
    }
    char *first = (char *)block + sizeof(void *);
    char *p = first + (ALIGNMENT - (uintptr_t)first % ALIGNMENT) % ALIGNMENT;
    memcpy(p - sizeof(void *), &block, sizeof block);
    return p;
}

void *hy__calloc_aligned(const hy_env *env, size_t count, size_t elem, hy_error *err)
{
    void *p = hy__alloc_aligned(env, count, elem, err);
    if (p) {
        memset(p, 0, count * elem);
    }
    return p;
}

void hy__free_aligned(const hy_env *env, void *ptr)
{
    if (ptr) {
        void *block;
        memcpy(&block, (char *)ptr - sizeof(void *), sizeof block);
        env->mem_free(env->user, block);
    }
}

char *hy__strndup(const hy_env *env, const char *s, size_t len, hy_error *err)
{
    if (len == SIZE_MAX) {
        return no_memory(err, len, 1);
    }
    char *copy = hy__alloc(env, len + 1, 1, err);
    if (copy) {
        if (len) {
            memcpy(copy, s, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

hy_status hy__buf_append(const hy_env *env, hy__buf *b, const void *data, size_t n, hy_error *err)
{
    if (n >= b->cap - b->len || b->cap == 0) {
        if (n > (size_t)PTRDIFF_MAX / 2 - b->len) {
            return hy__fail(err, HY_E_NOMEM, "out of memory: %zu + %zu bytes", b->len, n);
        }
        size_t cap = HY_MAX(b->len + n + 1, b->cap + b->cap / 2);
        cap = HY_MAX(cap, (size_t)64);
        char *grown = hy__realloc(env, b->data, cap, 1, err);
        if (!grown) {
            return HY_E_NOMEM;
        }
        b->data = grown;
        b->cap = cap;
    }
    if (n) {
        memcpy(b->data + b->len, data, n);
    }
    b->len += n;
    b->data[b->len] = '\0';
    return HY_OK;
}

void hy__buf_finish(const hy_env *env, hy__buf *b)
{
    hy__free(env, b->data);
    memset(b, 0, sizeof *b);
}

void hy__message(const hy_env *env, hy_log_level level, const char *fmt, ...)
{
    if (!env->log) {
        return;
    }
    char text[500];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    env->log(env->user, level, text);
}
