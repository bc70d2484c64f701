/* measure_texts.h: kernels that show what a GPU offers (../measure.c), as texts that end with a zero.
 *
 * A first line "// uses" tells what tools/check-wgsl.py must enable. */
#ifndef HY_BACKEND_WEBGPU_MEASURE_TEXTS_H
#define HY_BACKEND_WEBGPU_MEASURE_TEXTS_H

extern const char hy__measure_touch[];
extern const char hy__measure_mul_f32[];
extern const char hy__measure_mul_f16[];
extern const char hy__measure_dot_packed[];
extern const char hy__measure_dot_plain[];
extern const char hy__measure_sum_subgroup[];
extern const char hy__measure_sum_workgroup[];
extern const char hy__measure_atomics[];
extern const char hy__measure_texture[];
extern const char hy__measure_stage[];
extern const char hy__measure_matrix[];
extern const char hy__measure_mapped[];
extern const char hy__measure_matvec[];

#endif
