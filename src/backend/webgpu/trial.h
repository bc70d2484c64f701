/* trial.h: kernels that are run to see what a GPU does: their result, and the time they take.
 *
 * A trial is what its kernels share: a buffer, and for some a few numbers and a texture.  Belongs
 * to the device's thread. */
#ifndef HY_BACKEND_WEBGPU_TRIAL_H
#define HY_BACKEND_WEBGPU_TRIAL_H

#include "device.h"

enum { HY__GPU_TEXELS = 64 /* of a row, and of a column */ };

/* What kernels find in group 0: binding 0 is the buffer, a read-write storage buffer.  With
 * `numbers`, binding 1 is a uniform vec4<u32>; with `texture`, binding 2 is a texture_2d<f32> of
 * HY__GPU_TEXELS each way, four bytes each as hy__gpu_texel says, and binding 3 a sampler that
 * filters. */
typedef struct hy__gpu_trial {
    hy__gpu *gpu;
    bool numbers, texture;
    WGPUBuffer buffer, uniform;
    uint64_t bytes; /* of the buffer */
    WGPUBindGroupLayout bindings;
    WGPUPipelineLayout layout;
    WGPUBindGroup group;
    WGPUTexture image;
    WGPUTextureView view;
    WGPUSampler sampler;
} hy__gpu_trial;

/* Red, green, blue and alpha. */
void hy__gpu_texel(uint32_t x, uint32_t y, uint8_t texel[4]);

/* `t` begins with gpu, bytes, numbers and texture set, and zeros; a buffer that is set is used, and
 * freed with the rest.  Closing a half-open one is fine. */
hy_status hy__gpu_trial_open(hy__gpu_trial *t, const char *label, hy_error *err);
void hy__gpu_trial_close(hy__gpu_trial *t);

/* The pipeline of an entry of a text, which hy__gpu_module takes; the caller releases it. */
hy_status hy__gpu_trial_compile(hy__gpu_trial *t, const char *code, uint32_t uses,
                                const char *entry, const char *label, WGPUComputePipeline *out,
                                hy_error *err);
void hy__gpu_trial_set(hy__gpu_trial *t, const uint32_t numbers[4]);

/* Nanoseconds of a submission: what the CPU does to encode and submit it, then until it is done. */
typedef struct hy__gpu_times {
    double cpu, rest;
} hy__gpu_times;
/* Puts a piece of work into a pass, n times; an error leaves the pass unsubmitted. */
typedef hy_status (*hy__gpu_record)(void *user, WGPUComputePassEncoder pass, uint32_t n,
                                    hy_error *err);
/* A pass of it, and waiting until it is done. */
hy_status hy__gpu_work_run(hy__gpu *gpu, hy__gpu_record record, void *user, uint32_t n,
                           hy__gpu_times *times, hy_error *err);
/* Nanoseconds of the work once: the median of several differences between a long submission, which
 * has it up to 1 + most times, and a short one, which takes out what submitting and waiting cost.
 * Takes a fraction of a second, more where few pieces do. */
hy_status hy__gpu_work_time(hy__gpu *gpu, hy__gpu_record record, void *user, uint32_t most,
                            double *ns, hy_error *err);

/* n dispatches, each behind the one before it, with bind groups of their own. */
hy_status hy__gpu_trial_run(hy__gpu_trial *t, WGPUComputePipeline pipeline, uint32_t groups,
                            uint32_t n, hy__gpu_times *times, hy_error *err);
/* Nanoseconds of a dispatch, as of hy__gpu_work_time. */
hy_status hy__gpu_trial_time(hy__gpu_trial *t, WGPUComputePipeline pipeline, uint32_t groups,
                             double *ns, hy_error *err);

/* Sorts x. */
double hy__gpu_median(double *x, size_t n);

#endif
