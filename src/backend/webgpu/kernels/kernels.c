/* kernels.c: the .wgsl files of this folder.  Constants. */
#include "kernels.h"

const char hy__kernel_block[] = {
#include "block.wgsl.inc"
};
const char hy__kernel_format_Q4_0[] = {
#include "format_Q4_0.wgsl.inc"
};
const char hy__kernel_format_Q4_1[] = {
#include "format_Q4_1.wgsl.inc"
};
const char hy__kernel_format_Q5_0[] = {
#include "format_Q5_0.wgsl.inc"
};
const char hy__kernel_format_Q5_1[] = {
#include "format_Q5_1.wgsl.inc"
};
const char hy__kernel_format_Q8_0[] = {
#include "format_Q8_0.wgsl.inc"
};
const char hy__kernel_format_Q4_K[] = {
#include "format_Q4_K.wgsl.inc"
};
const char hy__kernel_format_Q5_K[] = {
#include "format_Q5_K.wgsl.inc"
};
const char hy__kernel_format_Q6_K[] = {
#include "format_Q6_K.wgsl.inc"
};
const char hy__kernel_format_F32[] = {
#include "format_F32.wgsl.inc"
};
const char hy__kernel_format_F16[] = {
#include "format_F16.wgsl.inc"
};
const char hy__kernel_format_BF16[] = {
#include "format_BF16.wgsl.inc"
};
