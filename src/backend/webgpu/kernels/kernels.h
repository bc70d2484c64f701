/* kernels.h: the .wgsl files of this folder, as texts that end with a zero. */
#ifndef HY_BACKEND_WEBGPU_KERNELS_KERNELS_H
#define HY_BACKEND_WEBGPU_KERNELS_KERNELS_H

extern const char hy__kernel_block[];
extern const char hy__kernel_format_Q4_0[];
extern const char hy__kernel_format_Q4_1[];
extern const char hy__kernel_format_Q5_0[];
extern const char hy__kernel_format_Q5_1[];
extern const char hy__kernel_format_Q8_0[];
extern const char hy__kernel_format_Q4_K[];
extern const char hy__kernel_format_Q5_K[];
extern const char hy__kernel_format_Q6_K[];
extern const char hy__kernel_format_F32[];
extern const char hy__kernel_format_F16[];
extern const char hy__kernel_format_BF16[];
extern const char hy__kernel_raw[];
extern const char hy__kernel_raw_Q4_0[];
extern const char hy__kernel_raw_Q4_1[];
extern const char hy__kernel_raw_Q5_0[];
extern const char hy__kernel_raw_Q5_1[];
extern const char hy__kernel_raw_Q8_0[];
extern const char hy__kernel_raw_Q2_K[];
extern const char hy__kernel_raw_Q3_K[];
extern const char hy__kernel_raw_Q4_K[];
extern const char hy__kernel_raw_Q5_K[];
extern const char hy__kernel_raw_Q6_K[];
extern const char hy__kernel_raw_IQ4_NL[];
extern const char hy__kernel_raw_IQ4_XS[];
extern const char hy__kernel_raw_MXFP4[];
extern const char hy__kernel_raw_TQ1_0[];
extern const char hy__kernel_raw_TQ2_0[];
extern const char hy__kernel_raw_Q2_0[];
extern const char hy__kernel_raw_F32[];
extern const char hy__kernel_raw_F16[];
extern const char hy__kernel_raw_BF16[];

#endif
