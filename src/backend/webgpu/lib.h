/* lib.h: a WebGPU library that was opened while running: Dawn or wgpu-native.
 *
 * One table of functions serves both; where they differ (section by section in lib.c: which calls
 * run callbacks, how one waits, what features are called), the functions of this file absorb the
 * difference.  A library that was opened stays in memory until the process ends; use of one
 * instance is for one thread at a time. */
#ifndef HY_BACKEND_WEBGPU_LIB_H
#define HY_BACKEND_WEBGPU_LIB_H

#include "abi.h"
#include "base/base.h"

typedef enum hy__gpu_flavour { HY__GPU_DAWN, HY__GPU_WGPU, HY__GPU_N_NAMES } hy__gpu_flavour;

typedef struct hy__gpu_lib {
#define HY__WGPU_MEMBER(result, name, args) result(*name) args;
    HY__WGPU_FUNCTIONS(HY__WGPU_MEMBER)
    HY__WGPU_EXTRAS(HY__WGPU_MEMBER)
#undef HY__WGPU_MEMBER
    hy__gpu_flavour flavour;
    bool foreign; /* for a device that others made: there is no instance to wait with */
    void *handle;
    char path[256]; /* what was opened */
} hy__gpu_lib;

/* Libraries that have a name, by flavour: "dawn", "wgpu". */
extern const char *const hy__gpu_names[HY__GPU_N_NAMES];

/* name: one of those, NULL (whichever is found, Dawn first), or a path.  folder: where names are
 * looked for before the system's own places, or NULL.  HY_E_UNSUPPORTED says what was tried and why
 * each failed. */
hy_status hy__gpu_lib_open(hy__gpu_lib *lib, const char *name, const char *folder, hy_error *err);
/* A library that others opened, whose functions `get` gives by their names.  HY_E_UNSUPPORTED names
 * the first one that is missing. */
typedef void *(*hy__gpu_get)(void *user, const char *name);
hy_status hy__gpu_lib_adopt(hy__gpu_lib *lib, hy__gpu_get get, void *user, hy_error *err);
void hy__gpu_lib_close(hy__gpu_lib *lib);

/* "Dawn", or "wgpu-native" with its version. */
void hy__gpu_lib_name(const hy__gpu_lib *lib, char *name, size_t cap);

static inline WGPUStringView hy__gpu_text(const char *text)
{
    return (WGPUStringView){text, text ? strlen(text) : 0};
}

/* Waits until *done is set by a callback: of `future`, or of anything that `device` (may be NULL)
 * has under way.  submission: wgpu-native waits for this one and those before it; NULL: for all of
 * them.  False: the library gave up waiting. */
bool hy__gpu_lib_wait(const hy__gpu_lib *lib, WGPUInstance instance, WGPUDevice device,
                      WGPUFuture future, const uint64_t *submission, const bool *done);
/* The mode that callbacks must be given to for hy__gpu_lib_wait. */
WGPUCallbackMode hy__gpu_lib_mode(const hy__gpu_lib *lib);
/* Runs callbacks that are due, without waiting. */
void hy__gpu_lib_poll(const hy__gpu_lib *lib, WGPUInstance instance, WGPUDevice device);

#endif
