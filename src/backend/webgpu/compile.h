/* compile.h: pipelines that are compiled while their caller does something else, as many at once as
 * there are cores, since each takes memory.
 *
 * Dawn compiles on threads of its own, one for each pipeline that it is asked for.  wgpu-native has
 * no such call: threads of the environment make the ordinary one, and their errors arrive in scopes
 * that all threads of a device share, so between begin and end nothing else may be created that has
 * a scope (device.h).  Uploads have none.
 *
 * The rest belongs to the device's thread. */
#ifndef HY_BACKEND_WEBGPU_COMPILE_H
#define HY_BACKEND_WEBGPU_COMPILE_H

#include <stdatomic.h>

#include "device.h"

typedef struct hy__gpu_job {
    WGPUShaderModule module;
    WGPUPipelineLayout layout;
    const char *entry; /* also its name in errors; lives until the end */
    WGPUComputePipeline *out;
    /* of Dawn */
    struct hy__gpu_compile *in;
    WGPUFuture future;
    bool done;
    WGPUCreatePipelineAsyncStatus status;
    char message[300];
} hy__gpu_job;

enum { HY__GPU_COMPILE_THREADS = 32 };

/* Begins zeroed; must stay where it is from begin to end. */
typedef struct hy__gpu_compile {
    hy__gpu *gpu; /* NULL: nothing is under way */
    hy__gpu_job *jobs;
    uint32_t n_jobs;
    uint32_t most;    /* at once */
    uint32_t n_done;  /* of Dawn */
    atomic_uint next; /* first job that has not begun */
    void *threads[HY__GPU_COMPILE_THREADS];
    uint32_t n_threads;
} hy__gpu_compile;

/* jobs [n] belong to c until the end. */
void hy__gpu_compile_begin(hy__gpu_compile *c, hy__gpu *gpu, hy__gpu_job *jobs, uint32_t n);
/* Now and then between the two: those that are finished make room for others. */
void hy__gpu_compile_poll(hy__gpu_compile *c);
/* Waits for all of them, and has them in *out, to be released by their owner also after a failure,
 * whose first one is returned.  go_on is asked now and then (NULL: it is not); false ends the
 * waiting, as soon as what has begun is finished, with HY_E_CANCELLED.  Nothing if nothing is under
 * way. */
hy_status hy__gpu_compile_end(hy__gpu_compile *c, bool (*go_on)(void *user), void *user,
                              hy_error *err);

#endif
