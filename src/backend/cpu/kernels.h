/* kernels.h: the inner loops of the CPU backend: dot products of encoded weight rows with activations.
 *
 * A level is a set of instructions; each has one table of kernels, filled from plain C upwards.  Kernels are pure functions
 * and may be called from any thread. */
#ifndef HY_BACKEND_CPU_KERNELS_H
#define HY_BACKEND_CPU_KERNELS_H

#include "base/base.h"
#include "halyard/types.h"

/* A column of activations in 8 bits, blocks of 32: x[i] ~ d[i / 32] * q[i], |q| <= 127, d = max|x| / 127 of the block.
 * Columns are padded with zeros to a multiple of 32.  q is 64-byte aligned. */
typedef struct hy__q8 {
    const int8_t *q;  /* [n] */
    const float *d;   /* [n / 32] */
    const float *s;   /* [n / 32] d times the sum of the block's q: for the minimum of Q4_K and its kind */
} hy__q8;

/* Dot product of one encoded row of n elements (a multiple of the type's block, no alignment) with a column. Sums are
 * f32 or wider, in an order that depends on n only. */
typedef float (*hy__cpu_dot_fn)(const uint8_t *row, const hy__q8 *x, uint32_t n);
/* The same for types that are multiplied in f32: F32, F16, BF16. */
typedef float (*hy__cpu_dot_f32_fn)(const uint8_t *row, const float *x, uint32_t n);

/* The types that have kernels of their own: Q type list of dot, and float list of dot_f32.  All other types are decoded to
 * f32 and encoded to Q8_0, row by row. */
#define HY__CPU_DOT_TYPES(X) X(Q8_0) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) X(IQ4_XS)
#define HY__CPU_F32_TYPES(X) X(F32) X(F16) X(BF16)

/* plain.c, x86/avx2.c (AVX2, FMA, F16C), x86/avx512.c (AVX-512 F/BW/VL/VNNI): hy__dot_Q4_K_plain, hy__dot_Q4_K_avx2, ... A
 * level need not have every type. */
#endif
