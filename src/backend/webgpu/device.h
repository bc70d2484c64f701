/* device.h: a GPU through WebGPU: what it can do, memory on it, kernels, and how errors of it reach
 * the caller.
 *
 * Errors: WebGPU reports most of them later, through callbacks.  Functions that create something
 * wait for the report of their own call; everything else is noticed by the next hy__gpu_check,
 * which names the first error since the device was made.  After an error nothing is submitted any
 * more (wgpu-native ends the process otherwise).  A lost device is HY_E_DEVICE_LOST from then on.
 *
 * Belongs to one thread at a time. */
#ifndef HY_BACKEND_WEBGPU_DEVICE_H
#define HY_BACKEND_WEBGPU_DEVICE_H

#include "cache.h"
#include "lib.h"
#include "variants.h"

/* Bytes that every device can bind, and that its workgroups have; invocations of those. */
enum {
    HY__GPU_FLOOR_BINDING = 128 << 20,
    HY__GPU_FLOOR_SHARED = 16384,
    HY__GPU_FLOOR_INVOCATIONS = 256
};

typedef struct hy__gpu_caps {
    char library[64], adapter[128];
    uint64_t identity; /* differs where adapter, driver or what they offer differ */
    WGPUBackendType backend;
    WGPUAdapterType type;
    uint32_t vendor; /* its PCI number */
    bool f16, subgroups, dot, timestamps;
    /* Rows, columns and depth of the matrices of f16, with sums in f32, that subgroups multiply; 0
     * without such. */
    uint32_t matrix_m, matrix_n, matrix_k;
    uint32_t subgroup_min, subgroup_max;                   /* lanes; 0 without subgroups */
    uint64_t max_buffer, max_binding;                      /* bytes */
    uint32_t storage_buffers;                              /* bindings of a kernel */
    uint32_t workgroup_bytes, invocations, max_workgroups; /* of a workgroup; per dimension */
    uint32_t storage_align, uniform_align;                 /* of offsets of bindings */
    /* Buffers of kernels that the host maps too, and those in memory of the host's; false where the
     * device was not asked for. */
    bool mappable, borrows;
} hy__gpu_caps;

/* Takes away what the mask names. */
void hy__gpu_caps_mask(hy__gpu_caps *caps, uint32_t mask);

typedef struct hy__gpu_opts {
    const char *lib, *folder; /* as for hy__gpu_lib_open */
    uint32_t mask;            /* of what must not be used although the adapter has it */
    const char *cache;        /* folder for compiled kernels (cache.h), or NULL */
    bool hardware;            /* a GPU that is made of software is none; none is HY_E_NOT_FOUND */
    bool shared;              /* memory that host and GPU share is wanted, where there is such */
} hy__gpu_opts;

/* What tests let go wrong, once: the how-manieth submit or buffer from now on; 0: none. */
typedef struct hy__gpu_faults {
    uint64_t lost_before; /* the submit before which the device is lost */
    uint64_t lost_behind; /* the submit whose work is lost with the device */
    uint64_t no_memory;   /* the buffer that does not fit any more */
    bool as_hardware;     /* a GPU that is made of software counts as one that is not */
} hy__gpu_faults;
extern hy__gpu_faults hy__gpu_faults_at_opening; /* of the next device that is opened */

typedef struct hy__gpu {
    hy_env env;
    hy__gpu_lib lib;
    hy__gpu_caps caps;
    hy__gpu_cache cache;
    uint32_t mask; /* as in hy__gpu_opts */
    WGPUInstance instance;
    WGPUAdapter adapter;
    WGPUDevice device;
    WGPUQueue queue;
    WGPUBuffer readback; /* kept: making one is slow */
    uint64_t readback_bytes;
    double ns_per_tick; /* of timestamps */
    uint64_t submits, dispatches;
    uint64_t submission; /* the last one as wgpu-native numbers them; 0: none, or another library */
    uint64_t serial; /* no other device of this process has it: an earlier one may have been here */
    hy__gpu_faults faults;
    bool full; /* a buffer did not fit */
    atomic_bool lost;
    _Atomic(WGPUErrorType) failed; /* the first error, or 0 */
    char message[300];             /* of it, or of the loss */
} hy__gpu;

/* HY_E_UNSUPPORTED: no library, no adapter, or one below the limits that WebGPU guarantees.  The
 * object must stay where it is until closed; closing a zeroed or half-open one is fine. */
hy_status hy__gpu_open(hy__gpu *gpu, const hy__gpu_opts *opts, const hy_env *env, hy_error *err);
void hy__gpu_close(hy__gpu *gpu);
/* A device that others made, with a reference of its own: closing it gives up that, and nothing
 * else.  get, user: as for hy__gpu_lib_adopt.  caps: what the device was made with.  Errors outside
 * of scopes and its loss are told to those who made it, and not noticed here; nothing can be read
 * from it or waited for.  HY_E_UNSUPPORTED as for hy__gpu_open. */
hy_status hy__gpu_adopt(hy__gpu *gpu, WGPUDevice device, const hy__gpu_caps *caps, uint32_t mask,
                        hy__gpu_get get, void *user, const hy_env *env, hy_error *err);

/* The first error since the device was made: HY_E_DEVICE_LOST, HY_E_NOMEM or HY_E_INTERNAL. */
hy_status hy__gpu_check(hy__gpu *gpu, hy_error *err);
/* Gives the device up: whatever is asked of it from now on is HY_E_DEVICE_LOST with this sentence.
 */
void hy__gpu_lose(hy__gpu *gpu, const char *why);
/* Ends an error scope: the first error since it was pushed, as a status; `what` begins the
 * sentence. */
hy_status hy__gpu_pop_scope(hy__gpu *gpu, const char *what, hy_error *err);
/* A text of the library in one line: it draws its errors over several. */
void hy__gpu_keep_text(char *to, size_t cap, WGPUStringView text);

/* Memory on the device, zeroed, a multiple of 4 bytes; HY_E_NOMEM with the number of bytes, and
 * gpu->full. */
hy_status hy__gpu_buffer(hy__gpu *gpu, uint64_t bytes, WGPUBufferUsage usage, const char *label,
                         WGPUBuffer *out, hy_error *err);
/* A buffer that is `memory` of the host's, of a device that borrows; memory and bytes: multiples of
 * HY__GPU_BORROW_ALIGN.  The memory is the library's until it calls `done`, on any thread, some
 * time behind hy__gpu_buffer_free or hy__gpu_close.  Where this fails it may never call it, and the
 * memory has to stay. */
enum { HY__GPU_BORROW_ALIGN = 65536 };
hy_status hy__gpu_buffer_borrow(hy__gpu *gpu, void *memory, uint64_t bytes, WGPUBufferUsage usage,
                                const char *label, WGPUBuffer *out, void (*done)(void *user),
                                void *user, hy_error *err);
void hy__gpu_buffer_free(hy__gpu *gpu, WGPUBuffer buffer); /* NULL is fine */
/* Asks for the beginning of a buffer with MapWrite; gives it, once the device no longer reads from
 * it, for writing until BufferUnmap.  The mapping stays where it is until the device is closed,
 * even where the buffer is freed before. */
typedef struct hy__gpu_mapping {
    WGPUFuture future;
    uint64_t submission; /* as in hy__gpu_map */
    bool done;
    WGPUMapAsyncStatus status;
    char message[200];
} hy__gpu_mapping;
void hy__gpu_map_begin(hy__gpu *gpu, WGPUBuffer buffer, size_t bytes, hy__gpu_mapping *mapping);
hy_status hy__gpu_map_end(hy__gpu *gpu, WGPUBuffer buffer, size_t bytes, hy__gpu_mapping *mapping,
                          void **data, hy_error *err);
/* The beginning of a buffer with MapRead, once what wrote it is done: gpu->submission behind the
 * hy__gpu_submit of that. */
hy_status hy__gpu_map(hy__gpu *gpu, WGPUBuffer buffer, uint64_t submission, void *data,
                      size_t bytes, hy_error *err);
/* Any buffer with CopySrc; waits.  offset and bytes: multiples of 4. */
hy_status hy__gpu_read(hy__gpu *gpu, WGPUBuffer buffer, uint64_t offset, void *data, size_t bytes,
                       hy_error *err);

/* A kernel from WGSL without `enable` and `requires` lines, which are put in front as the library
 * wants them. */
enum { HY__GPU_USES_F16 = 1, HY__GPU_USES_SUBGROUPS = 2, HY__GPU_USES_MATRICES = 4 };
enum { HY__GPU_HEAD = 160 }; /* bytes of those lines */
void hy__gpu_head(hy__gpu_flavour flavour, uint32_t uses, char head[HY__GPU_HEAD]);
hy_status hy__gpu_module(hy__gpu *gpu, const char *code, size_t len, uint32_t uses,
                         const char *label, WGPUShaderModule *out, hy_error *err);
hy_status hy__gpu_pipeline(hy__gpu *gpu, WGPUShaderModule module, const char *entry,
                           WGPUPipelineLayout layout, const char *label, WGPUComputePipeline *out,
                           hy_error *err);

/* A dispatch of x times y workgroups, counted. */
static inline void hy__gpu_dispatch_groups(hy__gpu *gpu, WGPUComputePassEncoder pass, uint32_t x,
                                           uint32_t y)
{
    gpu->lib.ComputePassEncoderDispatchWorkgroups(pass, x, y, 1);
    gpu->dispatches++;
}

/* Ends the encoder (which is released) and submits it. */
hy_status hy__gpu_submit(hy__gpu *gpu, WGPUCommandEncoder encoder, hy_error *err);
/* Waits until everything submitted is done. */
hy_status hy__gpu_finish(hy__gpu *gpu, hy_error *err);

#endif
