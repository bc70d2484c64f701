/* packed.h: the matrices of the CPU backend: how weights and activations lie in memory, and the kernels
 * that multiply them.
 *
 * Rows are taken in panels of 16.  A packed panel has exactly the bytes of its 16 rows: block by block along
 * the row, and within a block field by field, each field of the file's block format is interleaved over the
 * rows in granules: [length / granule][16 rows][granule bytes] (pack.c has the one list of fields).  So a
 * panel is read once from its beginning to its end, a vector holds 16 rows, and no sum crosses lanes.  All
 * levels of instructions share the layout.  Rows behind the last one are zero bytes.
 *
 * Numbers.  An encoded weight of block b of its row (B = 16 or 32 elements, see the list) is
 *     w = a[b] * u - c[b],   u an integer, 0 <= u <= 255,
 * with a and c in f32.  Symmetric types have c = a * offset.  Activations are quantized in blocks of 32
 * (hy__q8).  A level with fused multiply-add computes exactly, per row, over the blocks in order,
 *     acc = fma((float)dot(u, q) * a, d, acc);  acc = fma(-c, s, acc);
 * with dot in integers, d and s those of the activations' block (s16 where B is 16), acc 0 at the start.
 * Float weights: two sums, of the even and of the odd columns, each acc = fma(w, x, acc) in order; the result
 * is even + odd.  So results do not depend on the level, the number of columns, tiles or threads.  The plain
 * level rounds the product and the sum separately.
 *
 * Kernels are pure functions and may be called from any thread.  n counts elements of a row from the
 * beginning of the panel given, a multiple of the type's block. */
#ifndef HY_BACKEND_CPU_PACKED_H
#define HY_BACKEND_CPU_PACKED_H

#include "base/base.h"
#include "halyard/types.h"

enum {
    HY__PANEL_ROWS = 16, /* rows of a panel */
    HY__TILE_COLS = 12   /* columns of a tile of activations */
};

/* ---- the types that have kernels of their own: X(type, B).  All others are decoded to f32, panel by panel. */
#define HY__PACKED_TYPES(X)                                                                                            \
    X(Q8_0, 32) X(Q4_0, 32) X(Q4_1, 32) X(Q5_0, 32) X(Q5_1, 32) X(Q2_K, 16) X(Q3_K, 16) X(Q4_K, 32) X(Q5_K, 32)        \
    X(Q6_K, 16) X(IQ4_NL, 32) X(IQ4_XS, 32)
#define HY__PACKED_F32_TYPES(X) X(F32, 1) X(F16, 1) X(BF16, 1)

/* Positions: HY__PACKED_Q8_0 is 0; HY__PACKED_F32 is 0. */
enum {
#define HY__PACKED_POSITION(type, block) HY__PACKED_##type,
    HY__PACKED_TYPES(HY__PACKED_POSITION) HY__N_PACKED
};
enum { HY__PACKED_F32_TYPES(HY__PACKED_POSITION) HY__N_PACKED_F32 };
#undef HY__PACKED_POSITION

/* Position of a type, or -1; B of a position. */
int hy__packed_index(hy_type type);
int hy__packed_f32_index(hy_type type);
uint32_t hy__packed_block(int index);

/* ---- packing (pack.c) */

/* Packs up to 16 rows (n_rows; the rest become zero bytes) of n elements that lie row_bytes apart.  Every type of
 * both lists. */
void hy__pack_panel(hy_type type, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t n, uint8_t *panel);

/* The bytes of one block of row r, as they are in the file; panel: where the block begins.  Types of the first list. */
void hy__unpack_block(hy_type type, const uint8_t *panel, uint32_t r, uint8_t *block);

/* For columns.h: where the codes begin in a block of the file, and all of 16 blocks that is not codes, packed.  Types of
 * the first list. */
size_t hy__codes_at(hy_type type);
void hy__pack_factors(hy_type type, const uint8_t *const blocks[HY__PANEL_ROWS], uint8_t *to);

/* ---- activations */

/* One column in 8 bits: x[i] ~ d[i / 32] * q[i], |q| <= 127, d = max|x| / 127 of the block.  Padded with zeros to a
 * multiple of 32.  Arrays begin at multiples of 64 bytes. */
typedef struct hy__q8 {
    const int8_t *q;    /* [n] */
    const float *d;     /* [n / 32] */
    const float *s;     /* [n / 32] d * the sum of the block's q */
    const float *s16;   /* [n / 16] d * the sum of the q of half a block */
    const int32_t *sum; /* [n / 32] the sum of the block's q */
} hy__q8;

/* Twelve columns, interleaved: the same arrays as [n / 4][12][4], [n / 32][12], [n / 32][12], [n / 16][12],
 * [n / 32][12].  Missing columns are zero. */
typedef hy__q8 hy__q8_tile;

/* Bytes of a column or of a tile of n elements, a multiple of 64, and where its parts are (memory: 64-byte aligned). */
uint64_t hy__q8_bytes(uint32_t n, uint32_t cols); /* cols 1 or HY__TILE_COLS */
hy__q8 hy__q8_at(const void *memory, uint32_t n, uint32_t cols);
/* The part of a column or tile from element k on, a multiple of 32. */
static inline hy__q8 hy__q8_from(hy__q8 x, uint32_t k, uint32_t cols)
{
    const size_t b = (size_t)k / 32 * cols;
    return (hy__q8){x.q + 32 * b, x.d + b, x.s + b, x.s16 + 2 * b, x.sum + b};
}

/* ---- expanded panels: what the kernels for many columns read */

typedef struct hy__panel {
    uint8_t *u; /* [n / 4][16][4] */
    float *a;   /* [n / B][16] */
    float *c;   /* [n / B][16] */
} hy__panel;

/* ---- kernels */

/* y[r] = row r times the column, 16 rows. */
typedef void (*hy__gemv_fn)(const uint8_t *panel, const hy__q8 *x, uint32_t n, float *y);
typedef void (*hy__gemv_f32_fn)(const uint8_t *panel, const float *x, uint32_t n, float *y);
/* Packed to expanded.  f32: to [n][16]. */
typedef void (*hy__expand_fn)(const uint8_t *panel, uint32_t n, const hy__panel *out);
typedef void (*hy__expand_f32_fn)(const uint8_t *panel, uint32_t n, float *out);
/* y[t * stride + r] = row r times column t, cols <= 12 columns of the tile; more: y holds the sums of the elements
 * before, which are continued.  For f32, x is [n][12] and a sum in progress is two numbers: y is then [12][2][16]
 * (even, odd) without a stride, and hy__gemm_f32_fn always continues: zero it first, add the two at the end.  n is
 * even but in the last part. */
typedef void (*hy__gemm_fn)(const hy__panel *w, const hy__q8_tile *x, uint32_t n, uint32_t cols, float *y,
                            size_t stride, bool more);
typedef void (*hy__gemm_f32_fn)(const float *w, const float *x, uint32_t n, uint32_t cols, float *sums);
/* A column to 8 bits; cols columns that lie stride floats apart to a tile.  A block with an element that is not finite
 * becomes NaN (d, s, s16 NaN, q 0); a block smaller than 2^-100 becomes 0. */
typedef void (*hy__quantize_column_fn)(const float *x, uint32_t n, void *memory);
typedef void (*hy__quantize_tile_fn)(const float *x, size_t stride, uint32_t n, uint32_t cols, void *memory);

typedef struct hy__packed_table {
    hy__gemv_fn gemv[HY__N_PACKED];
    hy__expand_fn expand[HY__N_PACKED];
    hy__gemv_f32_fn gemv_f32[HY__N_PACKED_F32];
    hy__expand_f32_fn expand_f32[HY__N_PACKED_F32]; /* of F32 itself: NULL, a packed panel is its own expansion */
    hy__gemm_fn gemm16, gemm32;                     /* by B */
    hy__gemm_f32_fn gemm_f32;
    hy__quantize_column_fn quantize;
    hy__quantize_tile_fn quantize_tile;
} hy__packed_table;

/* Members of the table of a file whose functions are named as the members are, with the type behind: products of
 * codes, and everything else. */
#define HY__PACKED_GEMV(type, block) [HY__PACKED_##type] = gemv_##type,
#define HY__PACKED_EXPAND(type, block) [HY__PACKED_##type] = expand_##type,
#define HY__PACKED_PRODUCTS .gemv = {HY__PACKED_TYPES(HY__PACKED_GEMV)}, .gemm16 = gemm16, .gemm32 = gemm32
#define HY__PACKED_OTHERS                                                                                              \
    .expand = {HY__PACKED_TYPES(HY__PACKED_EXPAND)}, .gemv_f32 = {HY__PACKED_F32_TYPES(HY__PACKED_GEMV)},              \
    .expand_f32 = {[HY__PACKED_F16] = expand_F16, [HY__PACKED_BF16] = expand_BF16}, .gemm_f32 = gemm_f32,              \
    .quantize = quantize, .quantize_tile = quantize_tile

/* NULL in a table: the level below has it. */
extern const hy__packed_table hy__packed_plain;   /* packed_plain.c; complete */
extern const hy__packed_table hy__packed_avx2;    /* x86/packed_avx2.c: AVX2, FMA, F16C */
extern const hy__packed_table hy__packed_avxvnni; /* the same source with the 256-bit vpdpbusd */
extern const hy__packed_table hy__packed_avx512;  /* x86/packed_avx512.c: AVX-512 F, BW, DQ, VL, VNNI */
extern const hy__packed_table hy__packed_neon;    /* arm/packed_neon.c: AArch64 with dotprod */
extern const hy__packed_table hy__packed_i8mm;    /* arm/packed_i8mm.c */

#endif
