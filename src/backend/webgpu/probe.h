/* probe.h: what a GPU tells only by running a kernel.
 *
 * Belongs to the device's thread; nothing is kept. */
#ifndef HY_BACKEND_WEBGPU_PROBE_H
#define HY_BACKEND_WEBGPU_PROBE_H

#include "device.h"

/* One kernel, run once: `code` declares @group(0) @binding(0) as a read-write storage buffer, its
 * entry is "main".  The buffer begins with `data` (a multiple of 4 bytes), which is replaced by
 * what the kernel left. */
hy_status hy__gpu_run_once(hy__gpu *gpu, const char *code, uint32_t uses, const char *label,
                           uint32_t n_workgroups, void *data, size_t bytes, hy_error *err);

/* Whether a kernel reads and writes all of a binding of so many bytes, a multiple of 4:
 * HY_E_MISMATCH says where it does not. */
hy_status hy__gpu_probe_binding(hy__gpu *gpu, uint64_t bytes, hy_error *err);

/* Fills in the size of subgroups where the library has not told it.  Without an answer that makes
 * sense the device counts as one without subgroups; only what ends its use is an error. */
hy_status hy__gpu_probe_subgroups(hy__gpu *gpu, hy_error *err);

#endif
