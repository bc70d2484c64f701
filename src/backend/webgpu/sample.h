/* sample.h: from logits to the next token, on the GPU.
 *
 * What is drawn is what hy_sampler_pick draws from the same logits, unless the random number, or
 * top_p, is within 2^-30 of the sum of probabilities where one token ends; greedy always agrees.
 * The same token comes on every GPU.
 *
 * Belongs to the device's thread. */
#ifndef HY_BACKEND_WEBGPU_SAMPLE_H
#define HY_BACKEND_WEBGPU_SAMPLE_H

#include "compile.h"
#include "session/sampler.h"

/* The token of position p is ring[p % HY__GPU_RING]. */
enum { HY__GPU_RING = 8192 };

/* Words of the buffer that says what a step is about; 16 of them, the others are not touched here.
 */
enum {
    HY__GPU_STEP_N_TOKENS,  /* becomes 1 */
    HY__GPU_STEP_N_OUTPUTS, /* becomes 1 */
    HY__GPU_STEP_POS,     /* of its first token, the one that the logits follow; becomes one more */
    HY__GPU_STEP_FAILURE, /* once it is not 0, nothing of all this happens any more */
    HY__GPU_STEP_WORDS = 16
};

/* Values of HY__GPU_STEP_FAILURE: when hy_sampler_pick would fail with HY_E_NUMERIC. */
enum {
    HY__GPU_FAILED_NUMBER = 1, /* a logit is not a number, or infinite */
    HY__GPU_FAILED_NONE = 2    /* every logit is -inf, suppressed or forbidden */
};

/* The caller's, which must outlive the kernels: storage, and zero beyond what the caller has
 * written. */
typedef struct hy__gpu_sample_buffers {
    WGPUBuffer step, ring, logits;
    uint64_t logits_offset; /* bytes, a multiple of 256; f32 [n_vocab] */
} hy__gpu_sample_buffers;

/* The kernels in the order in which they run: two of greedy, then three of the rest. */
#define HY__GPU_SAMPLE_KERNELS(X) X(greedy_part) X(greedy_end) X(make_keys) X(find_best) X(draw)
enum {
#define HY__GPU_SAMPLE_KERNEL(name) HY__GPU_SAMPLE_##name,
    HY__GPU_SAMPLE_KERNELS(HY__GPU_SAMPLE_KERNEL)
#undef HY__GPU_SAMPLE_KERNEL
        HY__GPU_SAMPLE_N_KERNELS
};

/* What all samplers of a device share.  Begins zeroed; whatever a sampler needs is added when it is
 * created, since compiling takes time. */
typedef struct hy__gpu_sample_kernels {
    WGPUBindGroupLayout bindings;
    WGPUPipelineLayout layout;
    WGPUShaderModule module;
    WGPUComputePipeline pipelines[HY__GPU_SAMPLE_N_KERNELS];
} hy__gpu_sample_kernels;

/* What has to be compiled for all of them: HY__GPU_SAMPLE_N_KERNELS jobs, put behind the *n of jobs
 * that there are; *n is raised. */
hy_status hy__gpu_sample_jobs(hy__gpu *gpu, hy__gpu_sample_kernels *kernels, hy__gpu_job *jobs,
                              uint32_t *n, hy_error *err);
/* The text of the kernels. */
const char *hy__gpu_sample_text(size_t *len);
void hy__gpu_sample_kernels_free(hy__gpu *gpu, hy__gpu_sample_kernels *kernels);

typedef struct hy__gpu_sample {
    const hy__gpu_sample_kernels *kernels;
    WGPUBindGroup group;
    WGPUBuffer params, tables, keys, maxima, found;
    uint32_t n_groups; /* of the kernels that share the vocabulary */
    bool greedy;
} hy__gpu_sample;

/* HY_E_UNSUPPORTED, with the reason, for a sampler that must work on the CPU.  The sampler is not
 * needed afterwards, the kernels are. */
hy_status hy__gpu_sample_create(hy__gpu *gpu, hy__gpu_sample_kernels *kernels,
                                const hy_sampler *sampler, uint32_t n_vocab,
                                const hy__gpu_sample_buffers *buffers, hy__gpu_sample *out,
                                hy_error *err);
/* A zeroed one is fine. */
void hy__gpu_sample_destroy(hy__gpu *gpu, hy__gpu_sample *sample);
/* Draws the token that follows the step's, in a pass behind the kernels that make the logits. */
void hy__gpu_sample_encode(hy__gpu *gpu, const hy__gpu_sample *sample, WGPUComputePassEncoder pass);

#endif
