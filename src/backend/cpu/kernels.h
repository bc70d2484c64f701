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

/* The types that have kernels of their own, for columns in 8 bits and for columns in f32.  Rows of all other types are
 * decoded and multiplied as F32. */
#define HY__CPU_DOT_TYPES(X) X(Q8_0) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) X(IQ4_XS)
#define HY__CPU_F32_TYPES(X) X(F32) X(F16) X(BF16)

/* Positions in the two lists: HY__DOT_Q8_0 is 0, HY__DOT_F32 is 0. */
enum {
#define HY__CPU_POSITION(type) HY__DOT_##type,
    HY__CPU_DOT_TYPES(HY__CPU_POSITION) HY__CPU_N_DOT
};
enum { HY__CPU_F32_TYPES(HY__CPU_POSITION) HY__CPU_N_DOT_F32 };
#undef HY__CPU_POSITION

/* The kernels of a level: hy__dot_Q4_K_avx2 at dot[HY__DOT_Q4_K].  NULL: not at this level. */
typedef struct hy__cpu_table {
    hy__cpu_dot_fn dot[HY__CPU_N_DOT];
    hy__cpu_dot_f32_fn dot_f32[HY__CPU_N_DOT_F32];
} hy__cpu_table;

extern const hy__cpu_table hy__cpu_plain;  /* plain.c; complete */
extern const hy__cpu_table hy__cpu_avx2;   /* x86/avx2.c: AVX2, FMA, F16C */
extern const hy__cpu_table hy__cpu_avx512; /* x86/avx512.c: AVX-512 F, BW, DQ, VL, VNNI, and those of AVX2 */

/* The levels, the least first: plain, avx2, avx512. */
enum { HY__CPU_N_LEVELS = 3 };

/* dispatch.c.  Names by number, NULL behind the last; whether this machine (and this build) has a level; the table of
 * a level alone, which may have gaps; and one without gaps, of the level and those below it. */
const char *hy__cpu_level_name(size_t level);
bool hy__cpu_level_here(size_t level);
const hy__cpu_table *hy__cpu_level_table(size_t level);
void hy__cpu_fill(size_t level, hy__cpu_table *out);
/* By name, NULL: the best one here.  HY_E_UNSUPPORTED if this machine lacks it, HY_E_NOT_FOUND lists the names. */
hy_status hy__cpu_level_find(const char *name, size_t *level, hy_error *err);
/* Position of a type in the list of dot or dot_f32, or -1. */
int hy__cpu_dot_index(hy_type type);
int hy__cpu_dot_f32_index(hy_type type);

/* quantize.c: the bytes of a column of n elements in 8 bits, a multiple of 64; where its parts are (column: 64-byte
 * aligned); and filling it.  A block with an element that is not finite becomes NaN. */
size_t hy__cpu_column_bytes(uint32_t n);
hy__q8 hy__cpu_column(const void *column, uint32_t n);
void hy__cpu_quantize(const float *x, uint32_t n, void *column);
#endif
