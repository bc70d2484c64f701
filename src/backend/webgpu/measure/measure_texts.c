/* measure_texts.c: the .wgsl files of this folder.  Constants. */
#include "measure_texts.h"

const char hy__measure_touch[] = {
#include "touch.wgsl.inc"
};
const char hy__measure_mul_f32[] = {
#include "mul_f32.wgsl.inc"
};
const char hy__measure_mul_f16[] = {
#include "mul_f16.wgsl.inc"
};
const char hy__measure_dot_packed[] = {
#include "dot_packed.wgsl.inc"
};
const char hy__measure_dot_plain[] = {
#include "dot_plain.wgsl.inc"
};
const char hy__measure_sum_subgroup[] = {
#include "sum_subgroup.wgsl.inc"
};
const char hy__measure_sum_workgroup[] = {
#include "sum_workgroup.wgsl.inc"
};
const char hy__measure_atomics[] = {
#include "atomics.wgsl.inc"
};
const char hy__measure_texture[] = {
#include "texture.wgsl.inc"
};
const char hy__measure_stage[] = {
#include "stage.wgsl.inc"
};
const char hy__measure_matrix[] = {
#include "matrix.wgsl.inc"
};
const char hy__measure_mapped[] = {
#include "mapped.wgsl.inc"
};
const char hy__measure_matvec[] = {
#include "matvec.wgsl.inc"
};
