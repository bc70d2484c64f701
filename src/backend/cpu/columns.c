/* columns.c: from rows of the file to panels of columns (columns.h).
 *
 * Pure functions; any thread may call them. */
#include "columns.h"

enum { ROWS = HY__COLUMNS_ROWS, MOST_ELEMS = 256, MOST_BYTES = 210 };

static const struct format {
    hy_type type;
    uint16_t elems, factor_bytes;
    uint8_t bits, more_bits;
} formats[] = {
#define FORMAT(type, block, elems, factors, bits, more)                                            \
    {HY_TYPE_##type, elems, factors, bits, more},
    HY__COLUMNS_TYPES(FORMAT)
#undef FORMAT
};

static const struct format *format_of(hy_type type)
{
    const struct format *f = formats;
    while (f->type != type) {
        f++;
    }
    return f;
}

/* ---- codes of a row: `low` has 4 or 8 bits of each, `high` those above */

/* Element e below half of n in the low half of byte e, the others in the high halves. */
static void nibbles(const uint8_t *codes, uint32_t n, uint8_t *low)
{
    for (uint32_t e = 0; e < n / 2; e++) {
        low[e] = codes[e] & 15;
        low[n / 2 + e] = codes[e] >> 4;
    }
}

static void fifth_bits(const uint8_t *words, uint8_t *high)
{
    const uint32_t bits = hy__load_u32(words);
    for (uint32_t e = 0; e < 32; e++) {
        high[e] = bits >> e & 1;
    }
}

/* Element n i + e has bits `bits` i and further of byte e. */
static void spread(const uint8_t *bytes, uint32_t n, uint32_t bits, uint8_t *to)
{
    for (uint32_t i = 0; i < 8 / bits; i++) {
        for (uint32_t e = 0; e < n; e++) {
            to[i * n + e] = bytes[e] >> bits * i & ((1 << bits) - 1);
        }
    }
}

static void take_apart(hy_type type, const uint8_t *codes, uint8_t *low, uint8_t *high)
{
    switch (type) {
    case HY_TYPE_Q8_0: /* without sign */
        for (uint32_t e = 0; e < 32; e++) {
            low[e] = codes[e] ^ 0x80;
        }
        break;
    case HY_TYPE_Q5_0:
    case HY_TYPE_Q5_1:
        fifth_bits(codes, high);
        nibbles(codes + 4, 32, low);
        break;
    case HY_TYPE_Q5_K:
        spread(codes, 32, 1, high);
        codes += 32; /* the rest is as in Q4_K */
        /* fallthrough */
    case HY_TYPE_Q4_K:
        for (uint32_t p = 0; p < 4; p++) {
            nibbles(codes + (size_t)32 * p, 64, low + (size_t)64 * p);
        }
        break;
    case HY_TYPE_Q6_K:
        for (uint32_t h = 0; h < 2; h++) {
            nibbles(codes + (size_t)64 * h, 128, low + (size_t)128 * h);
            spread(codes + 128 + (size_t)32 * h, 32, 2, high + (size_t)128 * h);
        }
        break;
    case HY_TYPE_IQ4_XS:
        for (uint32_t g = 0; g < 8; g++) {
            nibbles(codes + (size_t)16 * g, 32, low + (size_t)32 * g);
        }
        break;
    default:
        nibbles(codes, 32, low);
        break;
    }
}

/* ---- columns */

typedef uint8_t codes_of_rows[ROWS][MOST_ELEMS];

/* The bytes that column e has of the rows, for all e: *joined[i] is byte i of every column. */
static void join_rows(codes_of_rows codes, uint32_t elems, uint32_t bits)
{
    const uint32_t bytes = 16 * bits, per_byte = 8 / bits;
    if (bits == 8) {
        return;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t joined[MOST_ELEMS] = {0};
        for (uint32_t k = 0; k < per_byte; k++) {
            const uint8_t *row = codes[bits == 1 ? per_byte * i + k : i + bytes * k];
            for (uint32_t e = 0; e < elems; e++) {
                joined[e] |= (uint8_t)(row[e] << bits * k);
            }
        }
        memcpy(codes[i], joined, elems); /* no later byte needs what was there */
    }
}

/* Swaps the parts of a and b that differ in bit `shift` of their places. */
static void swap_bits(uint64_t *a, uint64_t *b, uint32_t shift, uint64_t mask)
{
    const uint64_t t = ((*a >> shift) ^ *b) & mask;
    *b ^= t;
    *a ^= t << shift;
}

/* Eight columns of eight bytes; from and to are the first bytes of theirs, apart as given. */
static void turn_8(const uint8_t *from, size_t from_stride, uint8_t *to, size_t to_stride)
{
    uint64_t v[8];
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = hy__load_u64(from + i * from_stride);
    }
    for (uint32_t i = 0; i < 4; i++) {
        swap_bits(&v[i], &v[i + 4], 32, 0x00000000ffffffffu);
    }
    for (uint32_t i = 0; i < 8; i += 4) {
        swap_bits(&v[i], &v[i + 2], 16, 0x0000ffff0000ffffu);
        swap_bits(&v[i + 1], &v[i + 3], 16, 0x0000ffff0000ffffu);
    }
    for (uint32_t i = 0; i < 8; i += 2) {
        swap_bits(&v[i], &v[i + 1], 8, 0x00ff00ff00ff00ffu);
    }
    for (uint32_t i = 0; i < 8; i++) {
        hy__store_u64(to + i * to_stride, v[i]);
    }
}

/* Writes the columns; codes are used up.  Returns where they end. */
static uint8_t *write_columns(codes_of_rows codes, uint32_t elems, uint32_t bits, uint8_t *to)
{
    const size_t bytes = (size_t)16 * bits;
    join_rows(codes, elems, bits);
    for (size_t i = 0; i < bytes; i += 8) {
        for (size_t e = 0; e < elems; e += 8) {
            turn_8(&codes[i][e], MOST_ELEMS, to + e * bytes + i, bytes);
        }
    }
    return to + elems * bytes;
}

/* One block of all rows. */
static void pack_block(const struct format *f, const uint8_t *const rows[ROWS], uint8_t *to)
{
    codes_of_rows low, high;
    const size_t at = hy__codes_at(f->type);
    for (uint32_t r = 0; r < ROWS; r += HY__PANEL_ROWS) {
        hy__pack_factors(f->type, rows + r, to);
        to += (size_t)HY__PANEL_ROWS * f->factor_bytes;
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        const uint32_t p = hy__columns_position(r);
        take_apart(f->type, rows[r] + at, low[p], high[p]);
    }
    to = write_columns(low, f->elems, f->bits, to);
    if (f->more_bits > 0) {
        write_columns(high, f->elems, f->more_bits, to);
    }
}

void hy__columns_pack(hy_type type, const uint8_t *rows, size_t row_bytes, uint32_t n_rows,
                      uint32_t n, uint8_t *panel)
{
    static const uint8_t zero[MOST_BYTES];
    const struct format *f = format_of(type);
    const size_t block_bytes =
        f->factor_bytes + (size_t)f->elems * ((size_t)f->bits + f->more_bits) / 8;
    const uint8_t *at[ROWS];
    for (uint32_t k = 0; k < n; k += f->elems, rows += block_bytes, panel += ROWS * block_bytes) {
        for (uint32_t r = 0; r < ROWS; r++) {
            at[r] = r < n_rows ? rows + r * row_bytes : zero;
        }
        pack_block(f, at, panel);
    }
}

uint64_t hy__columns_bytes(hy_type type, uint32_t m)
{
    const struct format *f = format_of(type);
    return ((uint64_t)m + ROWS - 1) / ROWS * 16 * ((uint64_t)f->bits + f->more_bits);
}

/* ---- chosen columns: three arrays, one behind another */

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

uint64_t hy__chosen_bytes(uint32_t n)
{
    return aligned((uint64_t)n / 16 + 1) + 2 * aligned(n);
}

hy__chosen hy__chosen_at(const void *memory, uint32_t n)
{
    const uint8_t *cols = (const uint8_t *)memory + aligned((size_t)n / 16 + 1);
    return (hy__chosen){memory, cols, (const int8_t *)(cols + aligned((size_t)n))};
}
