/* selftest.h: which variants of kernels compute what they should on a GPU.
 *
 * Each unit (units.h) that a model has use for is computed with all variants that the GPU has; if
 * the result is not that of `ref`, without them, and then with one more at a time: those that make
 * it wrong are left out from then on, with a warning that names them.  It works on devices of its
 * own, which may be lost; as units wait for compilers, several are computed at once.  Results are
 * kept in a folder, and looked up there the next time; a file that is damaged, or of another
 * adapter, driver, version or kernel, counts as none.
 *
 * One thread, which starts others and waits for them. */
#ifndef HY_BACKEND_WEBGPU_SELFTEST_H
#define HY_BACKEND_WEBGPU_SELFTEST_H

#include "units.h"

enum { HY__GPU_MOST_WHY = 400 };

typedef struct hy__gpu_verdict {
    hy__gpu_use possible; /* what the device has, and neither mask nor tuner takes away */
    hy__gpu_use dropped;  /* of those: found wrong */
    uint64_t passed;      /* units, as bits */
    char why[HY__GPU_MOST_VARIANTS][HY__GPU_MOST_WHY]; /* of those that were dropped */
} hy__gpu_verdict;

/* Variants that the device has and no mask takes away; not yet tested. */
hy__gpu_use hy__gpu_possible(const hy__gpu *gpu);
/* What results of a GPU are kept under: the name of their file, of adapter, driver, library and
 * mask; the key also of versions. */
void hy__gpu_key(const hy__gpu *gpu, uint64_t *name, uint64_t *key);
/* opts: those that gpu was opened with.  tuning: what the tuner changed, or NULL.  units: as of hy__gpu_units_of.  folder: the folder, or
 * NULL.  HY_E_UNSUPPORTED: a unit is wrong without any variant. */
hy_status hy__gpu_selftest(const hy__gpu *gpu, const hy__gpu_opts *opts,
                           const hy__gpu_tuning *tuning, uint64_t units, const char *folder,
                           hy__gpu_verdict *v, hy_error *err);

/* ---- results in a file (verdicts.c) */

/* Reads what was kept under this key into v, whose `possible` is set; nothing if there is no such
 * file or it cannot be used. */
void hy__gpu_verdict_load(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                          hy__gpu_verdict *v);
/* Fails silently: then the test runs again the next time. */
void hy__gpu_verdict_save(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                          const hy__gpu_verdict *v);

#endif
