/* cache.h: compiled kernels in a folder, for libraries that ask for them: Dawn does, wgpu-native
 * has no such thing (below both, drivers keep a cache of their own).
 *
 * One file for each key, named after a hash of it.  A file holds its key, its value and a checksum
 * of both; whatever is damaged, unfinished or of another key counts as missing.  What cannot be
 * written is not kept: a cache has no errors.  Keys name the library's version and the driver, so
 * that nothing has to be thrown away when they change; the oldest files go when all are more than
 * HY__GPU_CACHE_BYTES.
 *
 * Load and store are called by any thread, several at once; several processes may share a folder.
 */
#ifndef HY_BACKEND_WEBGPU_CACHE_H
#define HY_BACKEND_WEBGPU_CACHE_H

#include <stdatomic.h>

#include "base/base.h"

enum { HY__GPU_CACHE_BYTES = 256 << 20 };

/* A zeroed one is closed: it has nothing and keeps nothing. */
typedef struct hy__gpu_cache {
    hy_env env;
    char *folder;                     /* or NULL */
    atomic_uint hits, misses, stored; /* so far */
} hy__gpu_cache;

/* Makes the folder if it is missing, for this user alone; closed if that fails, or folder is NULL.
 */
void hy__gpu_cache_open(hy__gpu_cache *c, const hy_env *env, const char *folder);
/* Also deletes the oldest files if there are too many bytes. */
void hy__gpu_cache_close(hy__gpu_cache *c);

/* Bytes of the value of a key, which is copied to `value` if `cap` is enough; 0: there is none. */
size_t hy__gpu_cache_load(hy__gpu_cache *c, const void *key, size_t key_bytes, void *value,
                          size_t cap);
void hy__gpu_cache_store(hy__gpu_cache *c, const void *key, size_t key_bytes, const void *value,
                         size_t bytes);

#endif
