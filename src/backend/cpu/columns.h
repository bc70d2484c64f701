/* columns.h: a second layout for matrices whose input is mostly zeros: the results of a squared ReLU.
 *
 * Rows are taken in panels of 128, which have exactly the bytes of their rows.  A panel is a list of blocks along the
 * row, as in the file; a block holds the scales of its rows, packed as in packed.h for each 16 rows, and then its codes
 * column by column: all rows of a column lie together, 64 bytes of 4 bits each.  So a column whose activation is zero
 * is neither read nor multiplied.  Further bits of the codes (Q5_K, Q6_K ...) are columns of their own behind them.
 *
 * Row r of a column lies at position hy__columns_position(r), so that bytes of four columns interleave to rows in
 * their order.  Positions p and p + 64 share a byte of 4 bits, p + 32 i one of 2 bits; single bits lie in their order.
 *
 * Numbers are those of packed.h, bit by bit: what is left out of a sum of integers is zero.
 *
 * Kernels are pure functions and may be called from any thread. */
#ifndef HY_BACKEND_CPU_COLUMNS_H
#define HY_BACKEND_CPU_COLUMNS_H

#include "packed.h"

enum {
    HY__COLUMNS_ROWS = 128,
    HY__COLUMNS_PANELS = HY__COLUMNS_ROWS / HY__PANEL_ROWS /* panels of packed.h in one of these */
};

/* The types that have this layout: X(type, B, elements of a block, bytes of its scales, bits of a code, further bits) */
#define HY__COLUMNS_TYPES(X)                                                                                           \
    X(Q8_0, 32, 32, 2, 8, 0) X(Q4_0, 32, 32, 2, 4, 0) X(Q4_1, 32, 32, 4, 4, 0) X(Q5_0, 32, 32, 2, 4, 1)                \
    X(Q5_1, 32, 32, 4, 4, 1) X(Q4_K, 32, 256, 16, 4, 0) X(Q5_K, 32, 256, 16, 4, 1) X(Q6_K, 16, 256, 18, 4, 2)          \
    X(IQ4_NL, 32, 32, 2, 4, 0) X(IQ4_XS, 32, 256, 8, 4, 0)

static inline uint32_t hy__columns_position(uint32_t r)
{
    return (r & 0x43) | (r & 0x0c) << 2 | (r & 0x30) >> 2;
}

/* Packs up to 128 rows (the rest become zero bytes) of n elements that lie row_bytes apart; columns.c.  A type of the
 * list. */
void hy__columns_pack(hy_type type, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t n, uint8_t *panel);

/* Bytes of the codes that a column of m rows has. */
uint64_t hy__columns_bytes(hy_type type, uint32_t m);

/* The columns whose code is not zero, in groups of four that do not cross blocks of B elements; the last group of a
 * block is filled up with codes 0 of its last column. */
typedef struct hy__chosen {
    const uint8_t *groups; /* [n / B] groups of each block */
    const uint8_t *cols;   /* [4 * groups] place in the block */
    const int8_t *q;       /* [4 * groups] */
} hy__chosen;

uint64_t hy__chosen_bytes(uint32_t n);
hy__chosen hy__chosen_at(const void *memory, uint32_t n);

/* Whether a block with this many groups is read whole: memory is faster from the beginning to the end than here and
 * there. */
static inline bool hy__columns_whole(uint32_t block, uint32_t groups)
{
    return 4 * groups > block / 8 * 3;
}

/* Chooses the columns of x, n elements of it, a multiple of 32, for B 16 or 32.  Returns how many are read. */
typedef uint32_t (*hy__choose_fn)(const hy__q8 *x, uint32_t n, uint32_t block, void *memory);
/* y[r] = row r times the column, 128 rows. */
typedef void (*hy__gemv_columns_fn)(const uint8_t *panel, const hy__q8 *x, const hy__chosen *chosen, uint32_t n,
                                    float *y);
/* Panels first to first + count - 1 (of packed.h), at most four, within rows 0 to 63 or rows 64 to 127, expanded. */
typedef void (*hy__expand_columns_fn)(const uint8_t *panel, uint32_t n, uint32_t first, uint32_t count,
                                      const hy__panel *out);

/* By position of packed.h; NULL where a level lacks them. */
typedef struct hy__columns_table {
    hy__choose_fn choose;
    hy__gemv_columns_fn gemv[HY__N_PACKED];
    hy__expand_columns_fn expand[HY__N_PACKED];
} hy__columns_table;

extern const hy__columns_table hy__columns_avx2;   /* x86/columns_avx2.c */
extern const hy__columns_table hy__columns_avx512; /* x86/columns_avx512.c */

#endif
