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
const char hy__kernel_raw[] = {
#include "raw.wgsl.inc"
};
const char hy__kernel_raw_Q4_0[] = {
#include "raw_Q4_0.wgsl.inc"
};
const char hy__kernel_raw_Q4_1[] = {
#include "raw_Q4_1.wgsl.inc"
};
const char hy__kernel_raw_Q5_0[] = {
#include "raw_Q5_0.wgsl.inc"
};
const char hy__kernel_raw_Q5_1[] = {
#include "raw_Q5_1.wgsl.inc"
};
const char hy__kernel_raw_Q8_0[] = {
#include "raw_Q8_0.wgsl.inc"
};
const char hy__kernel_raw_Q2_K[] = {
#include "raw_Q2_K.wgsl.inc"
};
const char hy__kernel_raw_Q3_K[] = {
#include "raw_Q3_K.wgsl.inc"
};
const char hy__kernel_raw_Q4_K[] = {
#include "raw_Q4_K.wgsl.inc"
};
const char hy__kernel_raw_Q5_K[] = {
#include "raw_Q5_K.wgsl.inc"
};
const char hy__kernel_raw_Q6_K[] = {
#include "raw_Q6_K.wgsl.inc"
};
const char hy__kernel_raw_IQ4_NL[] = {
#include "raw_IQ4_NL.wgsl.inc"
};
const char hy__kernel_raw_IQ4_XS[] = {
#include "raw_IQ4_XS.wgsl.inc"
};
const char hy__kernel_raw_MXFP4[] = {
#include "raw_MXFP4.wgsl.inc"
};
const char hy__kernel_raw_TQ1_0[] = {
#include "raw_TQ1_0.wgsl.inc"
};
const char hy__kernel_raw_TQ2_0[] = {
#include "raw_TQ2_0.wgsl.inc"
};
const char hy__kernel_raw_Q2_0[] = {
#include "raw_Q2_0.wgsl.inc"
};
const char hy__kernel_raw_F32[] = {
#include "raw_F32.wgsl.inc"
};
const char hy__kernel_raw_F16[] = {
#include "raw_F16.wgsl.inc"
};
const char hy__kernel_raw_BF16[] = {
#include "raw_BF16.wgsl.inc"
};
