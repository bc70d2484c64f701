/* halyard/qmatmul.h: products with quantized matrices, on a WebGPU device of the caller's.
 *
 *     y[t][r] = sum over c of W[r][c] * x[t][c],     t < n columns
 *
 * W has the rows of a GGUF tensor, in any type that can be decoded; x and y are f32 in buffers of
 * the caller's.  A product is recorded into a compute pass of the caller's, between whatever else is
 * there: nothing is submitted, nothing is waited for.  No session, no model and no file is needed.
 *
 *     hy_qmatmul_pipeline_create(device, &procs, &config, NULL, &pipeline, &err);   // per shape
 *     hy_qmatmul_weights_create(pipeline, rows, bytes, &weights, &err);             // per matrix
 *     hy_qmatmul_dispatch(pipeline, weights, pass, x, 0, y, 0, n, &err);            // per product
 *
 * How it computes: with types whose elements are small integers times a factor (Q4_0, Q4_1, Q5_0,
 * Q5_1, Q8_0, Q4_K, Q5_K, Q6_K) each block of 32 elements of x is rounded to 8 bits, and products
 * are those of integers; or, where the device multiplies matrices of subgroups and there are more
 * than 64 columns, both are rounded to f16.  F32, F16 and BF16 are multiplied as f32 (there as f16
 * too); all other types are kept as F16.  Sums are f32.
 *
 * Which library: Dawn or wgpu-native, of 2026 or later; which one it is, is found from the functions
 * that there are.  Handles are those of the standard webgpu.h, which may be included too and need
 * not be.
 *
 * Threads: a pipeline and its weights belong to one thread at a time, and so does the device during
 * each of these calls.
 *
 * Errors of WebGPU: what these functions create is created within error scopes, whose errors they
 * return; they leave the caller's own scopes as they are.  The loss of the device is told to the
 * callback that the caller has given it; a call that is told of it fails with HY_E_DEVICE_LOST. */
#ifndef HALYARD_QMATMUL_H
#define HALYARD_QMATMUL_H

#include "base.h"
#include "types.h"

HY_BEGIN_DECLS

/* WGPUDevice, WGPUBuffer and WGPUComputePassEncoder of webgpu.h are pointers to these. */
struct WGPUDeviceImpl;
struct WGPUBufferImpl;
struct WGPUComputePassEncoderImpl;

typedef struct hy_qmatmul_pipeline hy_qmatmul_pipeline;
typedef struct hy_qmatmul_weights hy_qmatmul_weights;

/* The functions of the library that the device is of. */
typedef struct hy_qmatmul_procs {
    size_t size;
    /* The function of this name ("wgpuDeviceCreateBuffer"), or NULL: as dlsym and GetProcAddress
     * give it.  Asked for some that only one of the libraries has; called by pipeline_create only. */
    void *(*get_proc)(void *user, const char *name);
    void *user;
} hy_qmatmul_procs;

/* What the device was created with.  Nothing is tested: what is named here is used. */
enum {
    HY_QMATMUL_F16 = 1,        /* the feature shader-f16 */
    HY_QMATMUL_SUBGROUPS = 2,  /* subgroups (wgpu-native: its own feature SUBGROUP) */
    HY_QMATMUL_PACKED_DOT = 4, /* the language's packed_4x8_integer_dot_product, which both have */
    HY_QMATMUL_MATRICES = 8    /* Dawn's chromium-experimental-subgroup-matrix; needs the first two,
                                  and subgroups of 32 lanes */
};

typedef struct hy_qmatmul_config {
    size_t size;
    hy_type type;
    uint32_t rows;     /* of the matrix: elements of a column of y */
    uint32_t cols;     /* elements of a row: of a column of x.  Whole blocks of the type */
    uint32_t batch;    /* most columns of a product, 1 to 4096; 0: 1 */
    uint32_t features; /* HY_QMATMUL_..., 0: none */
    uint32_t subgroup_min, subgroup_max;   /* lanes; needed with SUBGROUPS */
    uint32_t matrix_m, matrix_n, matrix_k; /* needed with MATRICES: f16 factors, f32 sums */
    /* Limits of the device by their names in WebGPU; 0: the default that every device has. */
    uint64_t max_buffer_size;
    uint64_t max_storage_buffer_binding_size;
    uint32_t max_compute_workgroup_storage_size;
    uint32_t max_compute_invocations_per_workgroup;
    uint32_t max_compute_workgroups_per_dimension;
    uint32_t min_storage_buffer_offset_alignment;
} hy_qmatmul_config;

/* Makes the kernels for matrices of one shape and type, and the memory that products need: up to
 * (4 * cols + 256) * batch bytes on the GPU.  Takes as long as the driver compiles half a dozen kernels.
 * The pipeline has a reference to the device, and never destroys it.  env NULL: the operating
 * system's.
 * Errors: HY_E_ARG (a size, a feature or an alignment that cannot be), HY_E_UNSUPPORTED (a type that
 * cannot be decoded, a function that is missing, a device below the limits of WebGPU), HY_E_LIMIT
 * (a column, a batch or a matrix larger than the device's limits), HY_E_NOMEM, HY_E_DEVICE_LOST,
 * HY_E_INTERNAL (the library refuses a kernel: the device lacks what the configuration names). */
HY_API HY_CHECK hy_status hy_qmatmul_pipeline_create(struct WGPUDeviceImpl *device,
                                                     const hy_qmatmul_procs *procs,
                                                     const hy_qmatmul_config *config,
                                                     const hy_env *env, hy_qmatmul_pipeline **out,
                                                     hy_error *err);
/* After all of its weights.  What was recorded with it may still be submitted. */
HY_API void hy_qmatmul_pipeline_destroy(hy_qmatmul_pipeline *pipeline);

/* Brings a matrix to the GPU: `rows` rows of the type, one behind another as in a GGUF file, `bytes`
 * in all (no alignment needed).  They are rearranged and copied before this returns, and written
 * through the device's queue: products that are submitted later see them.
 * Errors: HY_E_ARG (bytes are not those of the shape), HY_E_NOMEM (also of the GPU), HY_E_LIMIT,
 * HY_E_DEVICE_LOST, HY_E_INTERNAL. */
HY_API HY_CHECK hy_status hy_qmatmul_weights_create(hy_qmatmul_pipeline *pipeline, const void *data,
                                                    size_t bytes, hy_qmatmul_weights **out,
                                                    hy_error *err);
/* What was recorded with them may still be submitted. */
HY_API void hy_qmatmul_weights_destroy(hy_qmatmul_weights *weights);

/* Records a product of n columns, 1 to batch, into a compute pass: x is f32 [n][cols], y f32
 * [n][rows].  Both buffers need the usage Storage; x is read only, but bound as memory that is
 * written.  Offsets are in bytes and multiples of min_storage_buffer_offset_alignment (256 where the
 * configuration says nothing).  x and y may overlap.  The pass has another pipeline and another
 * bind group 0 afterwards.  Several products may follow each other in a pass, also with a y that is
 * the x of the next one; WebGPU orders them.
 * Bind groups of recent products are kept, up to 64, and with them references to their buffers: for
 * the same buffers, offsets and n nothing is created.  hy_qmatmul_forget gives them up.
 * Errors, with nothing recorded: HY_E_ARG (n, an offset, a buffer that is too small or of another
 * usage, weights of another pipeline), HY_E_LIMIT, HY_E_DEVICE_LOST, HY_E_INTERNAL. */
HY_API HY_CHECK hy_status hy_qmatmul_dispatch(hy_qmatmul_pipeline *pipeline,
                                              const hy_qmatmul_weights *weights,
                                              struct WGPUComputePassEncoderImpl *pass,
                                              struct WGPUBufferImpl *x, uint64_t x_offset,
                                              struct WGPUBufferImpl *y, uint64_t y_offset,
                                              uint32_t n, hy_error *err);
HY_API void hy_qmatmul_forget(hy_qmatmul_pipeline *pipeline);

HY_END_DECLS

#endif
