/* measure.h: what a GPU does through WebGPU, found by running kernels: its pace, and what it offers
 * beside the native API of GPUs like it.
 *
 * Belongs to the device's thread; nothing is kept. */
#ifndef HY_BACKEND_WEBGPU_MEASURE_H
#define HY_BACKEND_WEBGPU_MEASURE_H

#include "device.h"
#include "halyard/unstable.h"

/* Bytes per second that a kernel reads from a buffer larger than caches are. */
hy_status hy__gpu_read_speed(hy__gpu *gpu, double *bytes_per_second, hy_error *err);

/* The native API of GPUs like this one. */
typedef enum hy__gpu_native {
    HY__NATIVE_CUDA,
    HY__NATIVE_HIP,
    HY__NATIVE_METAL,
    HY__NATIVE_VULKAN,
    HY__N_NATIVE
} hy__gpu_native;
hy__gpu_native hy__gpu_native_of(const hy__gpu_caps *caps);

/* Line i of the table; false behind the last one.  A device on which something went wrong is an
 * error of its own; what a kernel did wrong is not. */
bool hy__gpu_offer_at(uint32_t i, const char **name);
hy_status hy__gpu_try_offer(hy__gpu *gpu, uint32_t i, hy_webgpu_offer *offer, hy_error *err);

/* Tries the ways around WebGPU, with what the table has found of matrix units and packed dot
 * products, and tells of each.  opts: with which the device was opened. */
void hy__gpu_tell_hatches(hy__gpu *gpu, const hy__gpu_opts *opts, const hy_webgpu_offer *units,
                          const hy_webgpu_offer *dot, const hy_webgpu_told *told);

/* For tests, while no other thread measures: what ways around WebGPU are given differs from what
 * their results are compared with. */
extern bool hy__gpu_hatch_fault;

/* For tests, while no other thread measures: lines, as bits, whose kernels compute something else,
 * or do not compile. */
typedef struct hy__gpu_measure_faults {
    uint32_t wrong, broken;
} hy__gpu_measure_faults;
extern hy__gpu_measure_faults hy__gpu_offer_faults;

#endif
