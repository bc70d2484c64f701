/* cache.c: see cache.h. */
#include "cache.h"

#include <stdio.h>

#include "base/os.h"

/* A file: these 32 bytes, the key, the value.  Numbers are little-endian. */
enum { MAGIC, KEY_BYTES = 8, VALUE_BYTES = 16, CHECKSUM = 24, HEAD = 32, MOST_BYTES = 64 << 20 };
static const char magic[9] = "HYKERN01", prefix[] = "kernel-";

enum { MOST_PATH = 1024 };

void hy__gpu_cache_open(hy__gpu_cache *c, const hy_env *env, const char *folder)
{
    c->env = *env;
    c->folder = NULL;
    atomic_init(&c->hits, 0);
    atomic_init(&c->misses, 0);
    atomic_init(&c->stored, 0);
    if (folder && folder[0] && strlen(folder) < MOST_PATH - 64 && hy__folder_make(folder)) {
        c->folder = hy__strndup(env, folder, strlen(folder), NULL);
    }
}

void hy__gpu_cache_close(hy__gpu_cache *c)
{
    if (c->folder && atomic_load(&c->stored) > 0) {
        hy__folder_trim(&c->env, c->folder, prefix, HY__GPU_CACHE_BYTES);
    }
    hy__free(&c->env, c->folder);
    c->folder = NULL;
}

static void path_of(const hy__gpu_cache *c, const void *key, size_t n, char path[MOST_PATH])
{
    snprintf(path, MOST_PATH, "%s/%s%016llx", c->folder, prefix,
             (unsigned long long)hy__crc64(0, key, n));
}

/* The whole file, to be freed; NULL: it is not what it should be. */
static uint8_t *read_entry(const hy__gpu_cache *c, const void *key, size_t key_bytes)
{
    const hy_env *env = &c->env;
    char path[MOST_PATH];
    void *file;
    uint64_t bytes;
    path_of(c, key, key_bytes, path);
    if (env->file_open(env->user, path, HY_FILE_READ, &file, &bytes, NULL) != HY_OK) {
        return NULL;
    }
    uint8_t *all = NULL;
    if (bytes > HEAD + key_bytes && bytes <= MOST_BYTES) {
        all = hy__alloc(env, 1, (size_t)bytes, NULL);
    }
    bool good = all && env->file_read(env->user, file, 0, all, (size_t)bytes, NULL) == HY_OK;
    (void)env->file_close(env->user, file, NULL);
    good = good && memcmp(all + MAGIC, magic, 8) == 0 &&
           hy__load_u64(all + KEY_BYTES) == key_bytes &&
           hy__load_u64(all + VALUE_BYTES) == bytes - HEAD - key_bytes &&
           memcmp(all + HEAD, key, key_bytes) == 0 &&
           hy__load_u64(all + CHECKSUM) == hy__crc64(0, all + HEAD, (size_t)bytes - HEAD);
    if (!good) {
        hy__free(env, all);
    }
    return good ? all : NULL;
}

size_t hy__gpu_cache_load(hy__gpu_cache *c, const void *key, size_t key_bytes, void *value,
                          size_t cap)
{
    if (!c->folder || key_bytes == 0 || key_bytes > MOST_BYTES / 2) {
        return 0;
    }
    uint8_t *all = read_entry(c, key, key_bytes);
    const size_t bytes = all ? (size_t)hy__load_u64(all + VALUE_BYTES) : 0;
    if (bytes > 0 && cap >= bytes) {
        memcpy(value, all + HEAD + key_bytes, bytes);
        atomic_fetch_add(&c->hits, 1);
    }
    if (!all) {
        atomic_fetch_add(&c->misses, 1);
    }
    hy__free(&c->env, all);
    return bytes;
}

static hy_status write_entry(const hy__gpu_cache *c, const char *path, const uint8_t *head,
                             const void *key, size_t key_bytes, const void *value, size_t bytes)
{
    const hy_env *env = &c->env;
    void *file;
    uint64_t none;
    HY_TRY(env->file_open(env->user, path, HY_FILE_WRITE, &file, &none, NULL));
    hy_status status = env->file_write(env->user, file, head, HEAD, NULL);
    if (status == HY_OK) {
        status = env->file_write(env->user, file, key, key_bytes, NULL);
    }
    if (status == HY_OK) {
        status = env->file_write(env->user, file, value, bytes, NULL);
    }
    const hy_status closed = env->file_close(env->user, file, NULL);
    return status == HY_OK ? closed : status;
}

void hy__gpu_cache_store(hy__gpu_cache *c, const void *key, size_t key_bytes, const void *value,
                         size_t bytes)
{
    if (!c->folder || key_bytes == 0 || bytes == 0 || key_bytes > MOST_BYTES / 2 ||
        bytes > MOST_BYTES / 2 - HEAD) {
        return;
    }
    uint8_t head[HEAD];
    memcpy(head + MAGIC, magic, 8);
    hy__store_u64(head + KEY_BYTES, key_bytes);
    hy__store_u64(head + VALUE_BYTES, bytes);
    hy__store_u64(head + CHECKSUM, hy__crc64(hy__crc64(0, key, key_bytes), value, bytes));
    /* Written under a name that nobody else uses, threads and processes alike. */
    char path[MOST_PATH], part[MOST_PATH + 40];
    path_of(c, key, key_bytes, path);
    snprintf(part, sizeof part, "%s.%llx.%llx", path,
             (unsigned long long)c->env.clock_ns(c->env.user), (unsigned long long)(uintptr_t)head);
    hy_status status = write_entry(c, part, head, key, key_bytes, value, bytes);
    if (status == HY_OK) {
        status = c->env.file_rename(c->env.user, part, path, NULL);
    }
    if (status == HY_OK) {
        atomic_fetch_add(&c->stored, 1);
    } else {
        c->env.file_remove(c->env.user, part);
    }
}
