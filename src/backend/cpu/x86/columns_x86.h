/* columns_x86.h: what panels of columns need beside products, for columns_avx2.c and
 * columns_avx512.c.
 *
 * No state; any thread may call these. */
#ifndef HY_BACKEND_CPU_X86_COLUMNS_X86_H
#define HY_BACKEND_CPU_X86_COLUMNS_X86_H

#include <immintrin.h>

#include "backend/cpu/columns.h"
#include "halyard/compiler.h"

enum { AHEAD = 512 }; /* elements that are asked for before they are multiplied */

/* A type, constant. */
typedef struct shape {
    uint32_t block, elems, factor_bytes, bits, more_bits;
    bool levels; /* codes are places in the table of IQ4 */
} shape;

/* Bytes that a column has of codes, and of further bits. */
static HY_INLINE size_t columns_bytes(shape t)
{
    return (size_t)16 * t.bits;
}

static HY_INLINE size_t further_bytes(shape t)
{
    return (size_t)16 * t.more_bits;
}

static HY_INLINE size_t block_bytes(shape t)
{
    return (size_t)HY__COLUMNS_ROWS * t.factor_bytes +
           (size_t)16 * t.elems * (t.bits + t.more_bits);
}

/* Where the columns of a block are: codes and their further bits. */
typedef struct columns {
    const uint8_t *low, *high;
} columns;

static HY_INLINE columns columns_from(shape t, const uint8_t *panel_block)
{
    const uint8_t *low = panel_block + (size_t)HY__COLUMNS_ROWS * t.factor_bytes;
    return (columns){low, low + columns_bytes(t) * t.elems};
}

/* ---- reading ahead: the processor cannot guess which columns come, the list tells */

typedef struct cursor {
    const uint8_t *block; /* of the panel; at its end the next panel begins */
    const uint8_t *cols;
    uint32_t b; /* block of B elements of the row */
} cursor;

/* Into the second level of cache: the first can wait for fewer lines at a time. */
static HY_INLINE void fetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)p + i, _MM_HINT_T1);
    }
}

/* Asks for the scales and chosen columns of a block of B elements, and moves on to the next. */
static HY_INLINE void read_ahead(shape t, cursor *at, const hy__chosen *x, uint32_t n)
{
    const uint32_t per_block = t.elems / t.block, b = at->b % per_block;
    const size_t lines = (size_t)2 * t.factor_bytes, some = (lines + per_block - 1) / per_block;
    const columns from = columns_from(t, at->block);
    fetch(at->block + 64 * some * b, 64 * some);
    const uint32_t chosen = 4u * x->groups[at->b];
    if (hy__columns_whole(t.block, x->groups[at->b])) {
        fetch(from.low + columns_bytes(t) * t.block * b, columns_bytes(t) * t.block);
        fetch(from.high + further_bytes(t) * t.block * b, further_bytes(t) * t.block);
    } else {
        for (uint32_t i = 0; i < chosen; i++) {
            const size_t col = (size_t)t.block * b + at->cols[i];
            fetch(from.low + columns_bytes(t) * col, columns_bytes(t));
            fetch(from.high + further_bytes(t) * col, further_bytes(t));
        }
    }
    at->cols += chosen;
    at->b++;
    if (b + 1 == per_block) {
        at->block += block_bytes(t);
    }
    if (at->b == n / t.block) {
        at->b = 0;
        at->cols = x->cols;
    }
}

/* ---- which columns */

static uint32_t choose(const hy__q8 *x, uint32_t n, uint32_t block, void *memory)
{
    const hy__chosen to = hy__chosen_at(memory, n);
    uint8_t *groups = memory, *cols = groups + (to.cols - to.groups);
    int8_t *q = (int8_t *)groups + (to.q - (const int8_t *)to.groups);
    uint32_t read = 0, at = 0; /* at: where the next group goes */
    for (uint32_t k = 0; k < n; k += block) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(x->q + (k & ~31u)));
        const __m256i zeros = _mm256_cmpeq_epi8(v, _mm256_setzero_si256());
        uint32_t mask = ~(uint32_t)_mm256_movemask_epi8(zeros);
        mask = block == 32 ? mask : mask >> (k & 16) & 0xffff;
        uint32_t i = at;
        for (; mask != 0; mask &= mask - 1, i++) {
            const uint32_t col = (uint32_t)_mm_popcnt_u32((mask - 1) & ~mask); /* zeros below */
            cols[i] = (uint8_t)col;
            q[i] = x->q[k + col];
        }
        const uint32_t found = i - at;
        for (; i % 4 != 0; i++) {
            cols[i] = cols[i - 1];
            q[i] = 0;
        }
        groups[k / block] = (uint8_t)((i - at) / 4);
        read += hy__columns_whole(block, groups[k / block]) ? block : found;
        at = i;
    }
    return read;
}

#endif
