/* k_fit.h: fitting the scale (and minimum) of one sub-block, the expensive half of the K encoders.
 *
 * All arithmetic is f32 in ascending order of elements: the encoded bytes are defined by that.  No
 * state; any thread. */
#ifndef HY_QUANT_K_FIT_H
#define HY_QUANT_K_FIT_H

#include "quant/quant.h"

/* Elements below this count as zero: their squares vanish in f32. */
#define HY__FIT_EPSILON 1e-15f
/* Largest sub-block. */
#define HY__FIT_MAX 32

/* Which trial scales fit_affine looks at, and what it minimises. */
typedef struct hy__affine_search {
    float first; /* trial s uses (first + step * s + top) levels over the range */
    float step;
    int32_t last;  /* s = 0 .. last */
    bool absolute; /* weighted absolute instead of squared error */
} hy__affine_search;

/* Fits x[e] ~ scale * code[e] - *minimum with codes 0..top and *minimum >= 0; n <= HY__FIT_MAX.
 * Returns the scale, 0 if all elements are equal or positive and equal. */
float hy__fit_affine(size_t n, const float *x, const float *weights, int32_t top,
                     const hy__affine_search *search, uint8_t *codes, float *minimum);

/* Fits x[e] ~ scale * (code[e] - half) with codes 0..2*half-1, weights x^2.  Returns the scale; 0
 * with codes 0 for a zero sub-block. */
float hy__fit_symmetric(size_t n, const float *x, int32_t half, uint8_t *codes);

/* The same by coordinate descent; slower and better for few levels (Q3_K). */
float hy__fit_symmetric_descent(size_t n, const float *x, int32_t half, uint8_t *codes);

#endif
