/* pack.c: from rows of the file to panels of 16 rows, and where the parts of quantized columns are.
 *
 * The list of fields is all that there is to know about a type's packed layout (packed.h).  Pure
 * functions; any thread may call them. */
#include "packed.h"

/* A part of a block, as it lies in the file. */
typedef struct field {
    uint16_t bytes;
    uint16_t granule; /* bytes of one row that stay together: 1, 2 or 4; 0: no field */
} field;

enum { MOST_FIELDS = 4, ROWS = HY__PANEL_ROWS };

/* The fields of a block, in their order in the file: scales in f16 by 2 bytes, bytes of scales one
 * by one, codes by 4 bytes. */
static const struct format {
    hy_type type;
    uint16_t block_bytes;
    field fields[MOST_FIELDS];
} formats[] = {
    {HY_TYPE_Q8_0, 34, {{2, 2}, {32, 4}}},
    {HY_TYPE_Q4_0, 18, {{2, 2}, {16, 4}}},
    {HY_TYPE_Q4_1, 20, {{4, 2}, {16, 4}}},
    {HY_TYPE_Q5_0, 22, {{2, 2}, {20, 4}}},
    {HY_TYPE_Q5_1, 24, {{4, 2}, {20, 4}}},
    {HY_TYPE_Q2_K, 84, {{16, 1}, {64, 4}, {4, 2}}},
    {HY_TYPE_Q3_K, 110, {{96, 4}, {12, 1}, {2, 2}}},
    {HY_TYPE_Q4_K, 144, {{4, 2}, {12, 1}, {128, 4}}},
    {HY_TYPE_Q5_K, 176, {{4, 2}, {12, 1}, {160, 4}}},
    {HY_TYPE_Q6_K, 210, {{192, 4}, {16, 1}, {2, 2}}},
    {HY_TYPE_IQ4_NL, 18, {{2, 2}, {16, 4}}},
    {HY_TYPE_IQ4_XS, 136, {{4, 2}, {4, 1}, {128, 4}}},
};

static void interleave1(const uint8_t *const *rows, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < ROWS; r++) {
            *to++ = rows[r][i];
        }
    }
}

static void interleave2(const uint8_t *const *rows, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i += 2) {
        for (size_t r = 0; r < ROWS; r++, to += 2) {
            memcpy(to, rows[r] + i, 2);
        }
    }
}

static void interleave4(const uint8_t *const *rows, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i += 4) {
        for (size_t r = 0; r < ROWS; r++, to += 4) {
            memcpy(to, rows[r] + i, 4);
        }
    }
}

/* The next n bytes of all rows, which move on behind them.  Returns where the next field goes. */
static uint8_t *interleave(const uint8_t **rows, size_t n, uint32_t granule, uint8_t *to)
{
    if (granule == 1) {
        interleave1(rows, n, to);
    } else if (granule == 2) {
        interleave2(rows, n, to);
    } else {
        interleave4(rows, n, to);
    }
    for (size_t r = 0; r < ROWS; r++) {
        rows[r] += n;
    }
    return to + n * ROWS;
}

static const struct format *format_of(hy_type type)
{
    for (size_t i = 0; i < HY_COUNT(formats); i++) {
        if (formats[i].type == type) {
            return &formats[i];
        }
    }
    return NULL;
}

/* Sixteen rows. */
static void pack_full(hy_type type, const uint8_t *const *rows, size_t row_bytes, uint8_t *panel)
{
    const uint8_t *at[ROWS];
    memcpy(at, rows, sizeof at);
    const struct format *f = format_of(type);
    if (!f) { /* numbers: a row is one field */
        interleave(at, row_bytes, type == HY_TYPE_F32 ? 4 : 2, panel);
        return;
    }
    for (size_t done = 0; done < row_bytes; done += f->block_bytes) {
        for (size_t i = 0; i < MOST_FIELDS && f->fields[i].granule > 0; i++) {
            panel = interleave(at, f->fields[i].bytes, f->fields[i].granule, panel);
        }
    }
}

/* A panel that is not full: its rows, each of them alone.  Byte i of a row of a field lies at i /
 * granule * granule * 16
 * + i % granule. */
static void pack_row(hy_type type, const uint8_t *row, size_t row_bytes, uint32_t r, uint8_t *panel)
{
    const struct format *f = format_of(type);
    const struct format numbers = {.fields = {{0, type == HY_TYPE_F32 ? 4 : 2}}};
    const size_t block = f ? f->block_bytes : row_bytes;
    f = f ? f : &numbers;
    for (size_t done = 0; done < row_bytes; done += block) {
        for (size_t i = 0; i < MOST_FIELDS && f->fields[i].granule > 0; i++) {
            const size_t granule = f->fields[i].granule;
            const size_t bytes = f == &numbers ? row_bytes : f->fields[i].bytes;
            for (size_t k = 0; k < bytes; k += granule) {
                memcpy(panel + k * ROWS + r * granule, row + k, granule);
            }
            row += bytes;
            panel += bytes * ROWS;
        }
    }
}

void hy__pack_panel(hy_type type, const uint8_t *rows, size_t row_bytes, uint32_t n_rows,
                    uint32_t n, uint8_t *panel)
{
    const uint8_t *at[ROWS];
    (void)n; /* row_bytes says the same: rows lie one behind another */
    if (n_rows == ROWS) {
        for (size_t r = 0; r < ROWS; r++) {
            at[r] = rows + r * row_bytes;
        }
        pack_full(type, at, row_bytes, panel);
        return;
    }
    memset(panel, 0, ROWS * row_bytes);
    for (uint32_t r = 0; r < n_rows; r++) {
        pack_row(type, rows + r * row_bytes, row_bytes, r, panel);
    }
}

void hy__unpack_block(hy_type type, const uint8_t *panel, uint32_t r, uint8_t *block)
{
    const struct format *f = format_of(type);
    for (size_t i = 0; i < MOST_FIELDS && f->fields[i].granule > 0; i++) {
        const size_t granule = f->fields[i].granule;
        for (size_t k = 0; k < f->fields[i].bytes; k += granule) {
            memcpy(block + k, panel + k * ROWS + r * granule, granule);
        }
        block += f->fields[i].bytes;
        panel += f->fields[i].bytes * (size_t)ROWS;
    }
}

/* ---- blocks in parts, for columns.c */

enum { CODES = 4 }; /* granule of a block's codes, which are one field */

size_t hy__codes_at(hy_type type)
{
    const field *fields = format_of(type)->fields;
    size_t at = 0;
    for (; fields->granule != CODES; fields++) {
        at += fields->bytes;
    }
    return at;
}

void hy__pack_factors(hy_type type, const uint8_t *const blocks[HY__PANEL_ROWS], uint8_t *to)
{
    const struct format *f = format_of(type);
    const uint8_t *at[ROWS];
    memcpy(at, blocks, sizeof at);
    for (size_t i = 0; i < MOST_FIELDS && f->fields[i].granule > 0; i++) {
        if (f->fields[i].granule != CODES) {
            to = interleave(at, f->fields[i].bytes, f->fields[i].granule, to);
            continue;
        }
        for (size_t r = 0; r < ROWS; r++) {
            at[r] += f->fields[i].bytes;
        }
    }
}

/* ---- the lists of types */

int hy__packed_index(hy_type type)
{
    switch (type) {
#define CASE(name, block)                                                                          \
    case HY_TYPE_##name:                                                                           \
        return HY__PACKED_##name;
        HY__PACKED_TYPES(CASE)
    default:
        return -1;
    }
}

int hy__packed_f32_index(hy_type type)
{
    switch (type) {
        HY__PACKED_F32_TYPES(CASE)
#undef CASE
    default:
        return -1;
    }
}

uint32_t hy__packed_block(int index)
{
    static const uint8_t blocks[] = {
#define BLOCK(name, block) block,
        HY__PACKED_TYPES(BLOCK)
#undef BLOCK
    };
    return blocks[index];
}

/* ---- quantized columns: five arrays, one behind another */

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static uint64_t blocks_of(uint32_t n)
{
    return ((uint64_t)n + 31) / 32;
}

uint64_t hy__q8_bytes(uint32_t n, uint32_t cols)
{
    const uint64_t b = blocks_of(n) * cols;
    return aligned(32 * b) + 3 * aligned(4 * b) + aligned(8 * b);
}

hy__q8 hy__q8_at(const void *memory, uint32_t n, uint32_t cols)
{
    const uint64_t b = blocks_of(n) * cols;
    const char *d = (const char *)memory + aligned(32 * b);
    const char *s = d + aligned(4 * b), *s16 = s + aligned(4 * b), *sum = s16 + aligned(8 * b);
    return (hy__q8){.q = memory,
                    .d = (const void *)d,
                    .s = (const void *)s,
                    .s16 = (const void *)s16,
                    .sum = (const void *)sum};
}
