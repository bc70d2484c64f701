/* formats.c: from rows of the file to the planes of GPU formats: see formats.h.  Pure functions. */
#include "formats.h"

#include "kernels/kernels.h"
#include "quant/quant.h"

enum { B = HY__GPU_BLOCK };

/* ---- parts of a block */

/* The low four bits of 32 codes: byte i holds those of elements i and 16 + i. */
static void put_nibbles(const uint8_t codes[B], uint8_t *to)
{
    for (size_t i = 0; i < 16; i++) {
        to[i] = (uint8_t)((codes[i] & 15) | (codes[16 + i] & 15) << 4);
    }
}

/* Bit `shift` of each of 32 bytes: bit i of a little-endian word is that of byte i. */
static void put_bits(const uint8_t bytes[B], uint32_t shift, uint8_t *to)
{
    for (size_t i = 0; i < 4; i++) {
        const uint64_t bits = hy__load_u64(bytes + 8 * i) >> shift & UINT64_C(0x0101010101010101);
        /* Bit 8 k goes to bit 56 + k; no two products meet. */
        to[i] = (uint8_t)(bits * UINT64_C(0x0102040810204080) >> 56);
    }
}

/* ---- rows */

static void pack_Q4_0(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    for (size_t b = 0; b < n / B; b++, row += 18) {
        memcpy(planes[1] + 2 * b, row, 2);
        memcpy(planes[0] + 16 * b, row + 2, 16);
    }
}

static void pack_Q4_1(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    for (size_t b = 0; b < n / B; b++, row += 20) {
        memcpy(planes[1] + 4 * b, row, 4);
        memcpy(planes[0] + 16 * b, row + 4, 16);
    }
}

static void pack_Q5_0(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    for (size_t b = 0; b < n / B; b++, row += 22) {
        memcpy(planes[1] + 2 * b, row, 2);
        memcpy(planes[2] + 4 * b, row + 2, 4);
        memcpy(planes[0] + 16 * b, row + 6, 16);
    }
}

static void pack_Q5_1(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    for (size_t b = 0; b < n / B; b++, row += 24) {
        memcpy(planes[1] + 4 * b, row, 4);
        memcpy(planes[2] + 4 * b, row + 4, 4);
        memcpy(planes[0] + 16 * b, row + 8, 16);
    }
}

static void pack_Q8_0(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    for (size_t b = 0; b < n / B; b++, row += 34) {
        memcpy(planes[1] + 2 * b, row, 2);
        memcpy(planes[0] + 32 * b, row + 2, 32);
    }
}

/* Sub-block s of the 128 bytes of nibbles of Q4_K and Q5_K. */
static void codes_of_k(const uint8_t *qs, size_t s, uint8_t codes[B])
{
    for (size_t i = 0; i < B; i++) {
        codes[i] = s % 2 ? qs[s / 2 * B + i] >> 4 : qs[s / 2 * B + i] & 15;
    }
}

/* A factor as f16; what does not fit becomes the largest number. */
static void put_factor(float x, uint8_t *to)
{
    const uint16_t half = hy__f32_to_f16(x);
    hy__store_u16(to, (half & 0x7fff) == 0x7c00 ? (uint16_t)(half - 1) : half);
}

/* Factors and offsets of the sub-blocks of Q4_K and Q5_K, multiplied out: kernels would spend as
 * much on six bits as on the products. */
static void put_factors_of_k(const uint8_t *block, uint8_t *to)
{
    const float d = hy__f16_to_f32(hy__load_u16(block));
    const float dmin = hy__f16_to_f32(hy__load_u16(block + 2));
    for (size_t s = 0; s < 8; s++) {
        uint32_t scale, min;
        hy__q45_scale_min(block + 4, s, &scale, &min);
        put_factor(d * (float)scale, to + 4 * s);
        put_factor(dmin * (float)min, to + 4 * s + 2);
    }
}

static void pack_Q4_K(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    uint8_t codes[B];
    for (size_t b = 0; b < n / 256; b++, row += 144) {
        put_factors_of_k(row, planes[1] + 32 * b);
        for (size_t s = 0; s < 8; s++) {
            codes_of_k(row + 16, s, codes);
            put_nibbles(codes, planes[0] + 128 * b + 16 * s);
        }
    }
}

static void pack_Q5_K(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    uint8_t codes[B];
    for (size_t b = 0; b < n / 256; b++, row += 176) {
        put_factors_of_k(row, planes[1] + 32 * b);
        for (size_t s = 0; s < 8; s++) {
            codes_of_k(row + 48, s, codes);
            put_nibbles(codes, planes[0] + 128 * b + 16 * s);
            put_bits(row + 16, (uint32_t)s, planes[2] + 32 * b + 4 * s);
        }
    }
}

/* Eight codes at a time.  Bits 4 and 5 of 32 codes become a word for each half: in byte j, bits 2 k
 * and 2 k + 1 are those of element 4 k + j. */
static void pack_Q6_K(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES])
{
    for (size_t b = 0; b < n / 256; b++, row += 210) {
        const float d = hy__f16_to_f32(hy__load_u16(row + 208));
        for (size_t i = 0; i < 16; i++) {
            put_factor(d * (float)(int8_t)row[192 + i], planes[1] + 32 * b + 2 * i);
        }
        for (size_t s = 0; s < 8; s++) {
            const uint8_t *low = row + s / 4 * 64 + s % 2 * B, *high = row + 128 + s / 4 * B;
            uint8_t *nibbles = planes[0] + 128 * b + 16 * s, *pairs = planes[2] + 64 * b + 8 * s;
            uint64_t four[4], two[4];
            for (size_t i = 0; i < 4; i++) {
                four[i] =
                    hy__load_u64(low + 8 * i) >> (s % 4 / 2 * 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
                two[i] = hy__load_u64(high + 8 * i) >> (s % 4 * 2) & UINT64_C(0x0303030303030303);
            }
            for (size_t i = 0; i < 2; i++) {
                hy__store_u64(nibbles + 8 * i, four[i] | four[2 + i] << 4);
                const uint64_t both = two[2 * i] | two[2 * i + 1] << 4;
                hy__store_u32(pairs + 4 * i, (uint32_t)(both | both >> 30));
            }
        }
    }
}

/* ---- the list */

/* X(type, codes, halves, offset, vec4 and words of a raw block, bytes of the planes for 256
 * elements) */
#define FORMATS(X)                                                                                 \
    X(Q4_0, true, false, true, 2, 5, 128, 16, 0)                                                   \
    X(Q4_1, true, false, true, 2, 5, 128, 32, 0)                                                   \
    X(Q5_0, true, false, true, 2, 6, 128, 16, 32)                                                  \
    X(Q5_1, true, false, true, 2, 6, 128, 32, 32)                                                  \
    X(Q8_0, true, false, false, 3, 9, 256, 16, 0)                                                  \
    X(Q4_K, true, false, true, 2, 5, 128, 32, 0)                                                   \
    X(Q5_K, true, false, true, 2, 6, 128, 32, 32)                                                  \
    X(Q6_K, true, true, true, 2, 7, 128, 32, 64)                                                   \
    X(F32, false, false, false, 1, 4, 1024, 0, 0)                                                  \
    X(F16, false, false, false, 1, 4, 512, 0, 0)                                                   \
    X(BF16, false, false, false, 1, 4, 512, 0, 0)
#define pack_F32 NULL
#define pack_F16 NULL
#define pack_BF16 NULL

static const hy__gpu_format formats[] = {
#define FORMAT(name_, codes_, halves_, offset_, vecs, words, p0, p1, p2)                           \
    {.type = HY_TYPE_##name_,                                                                      \
     .name = #name_,                                                                               \
     .wgsl = hy__kernel_format_##name_,                                                            \
     .codes = codes_,                                                                              \
     .halves = halves_,                                                                            \
     .offset = offset_,                                                                            \
     .raw_vecs = vecs,                                                                             \
     .raw_words = words,                                                                           \
     .planes = {p0, p1, p2},                                                                       \
     .pack = pack_##name_},
    FORMATS(FORMAT)
#undef FORMAT
};

const hy__gpu_format *hy__gpu_format_at(size_t i)
{
    return i < HY_COUNT(formats) ? &formats[i] : NULL;
}

/* X(type, elements of a block and of a group that has one scale) */
#define RAW_FORMATS(X)                                                                             \
    X(Q4_0, 32, 32)                                                                                \
    X(Q4_1, 32, 32)                                                                                \
    X(Q5_0, 32, 32)                                                                                \
    X(Q5_1, 32, 32)                                                                                \
    X(Q8_0, 32, 32)                                                                                \
    X(Q2_K, 256, 16)                                                                               \
    X(Q3_K, 256, 16)                                                                               \
    X(Q4_K, 256, 32)                                                                               \
    X(Q5_K, 256, 32)                                                                               \
    X(Q6_K, 256, 16)                                                                               \
    X(IQ4_NL, 32, 32)                                                                              \
    X(IQ4_XS, 256, 32)                                                                             \
    X(MXFP4, 32, 32)                                                                               \
    X(TQ1_0, 256, 256)                                                                             \
    X(TQ2_0, 256, 256)                                                                             \
    X(Q2_0, 64, 64)                                                                                \
    X(F32, 32, 32)                                                                                 \
    X(F16, 32, 32)                                                                                 \
    X(BF16, 32, 32)

/* Bytes for 256 elements. */
enum {
#define BYTES_OF_256(name, id, elems, bytes, codec) BYTES_##name = 256 / elems * bytes,
    HY_TYPE_LIST(BYTES_OF_256)
#undef BYTES_OF_256
};

static const hy__gpu_format raw_formats[] = {
#define RAW_FORMAT(name_, elements_, group_)                                                       \
    {.type = HY_TYPE_##name_,                                                                      \
     .name = "raw_" #name_,                                                                        \
     .wgsl = hy__kernel_raw_##name_,                                                               \
     .planes = {BYTES_##name_},                                                                    \
     .elements = elements_,                                                                        \
     .group = group_},
    RAW_FORMATS(RAW_FORMAT)
#undef RAW_FORMAT
};

/* Those of other types are decoded to F16. */
static const hy__gpu_format *find(const hy__gpu_format *list, size_t n, hy_type type)
{
    const hy__gpu_format *decoded = NULL;
    for (size_t i = 0; i < n; i++) {
        if (list[i].type == type) {
            return &list[i];
        }
        decoded = list[i].type == HY_TYPE_F16 ? &list[i] : decoded;
    }
    return decoded;
}

const hy__gpu_format *hy__gpu_format_of(hy_type type)
{
    return find(formats, HY_COUNT(formats), type);
}

const hy__gpu_format *hy__gpu_raw_of(hy_type type)
{
    return find(raw_formats, HY_COUNT(raw_formats), type);
}

static uint64_t padded(uint32_t n)
{
    return ((uint64_t)n + B - 1) / B * B;
}

/* Of a row; planes of rows are not padded. */
static uint64_t row_plane_bytes(const hy__gpu_format *f, uint32_t n, uint32_t k)
{
    return f->planes[k] * padded(n) / 256;
}

uint64_t hy__gpu_plane_bytes(const hy__gpu_format *f, uint32_t n, uint32_t m, uint32_t k)
{
    return (row_plane_bytes(f, n, k) * m + 15) / 16 * 16;
}

uint64_t hy__gpu_format_bytes(const hy__gpu_format *f, uint32_t n, uint32_t m)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
        sum += hy__gpu_plane_bytes(f, n, m, k);
    }
    return sum;
}

static hy_status decode_row(hy_type type, const uint8_t *row, uint32_t n, uint8_t *to,
                            float *scratch, hy_error *err)
{
    HY_TRY(hy_dequantize(type, row, scratch, n, err));
    for (uint32_t i = 0; i < n; i++) {
        hy__store_u16(to + 2 * (size_t)i, hy__f32_to_f16(scratch[i]));
    }
    return HY_OK;
}

hy_status hy__gpu_pack(const hy__gpu_format *f, hy_type type, const uint8_t *rows, size_t row_bytes,
                       uint32_t n, uint32_t m, uint32_t first, uint32_t n_rows, uint8_t *to,
                       float *scratch, hy_error *err)
{
    uint8_t *planes[HY__GPU_PLANES];
    for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
        planes[k] = to + row_plane_bytes(f, n, k) * first;
        to += hy__gpu_plane_bytes(f, n, m, k);
    }
    for (uint32_t r = 0; r < n_rows; r++, rows += row_bytes) {
        if (f->type == type && !f->pack) {
            memcpy(planes[0], rows, row_bytes);
        } else if (f->type == type) {
            f->pack(rows, n, planes);
        } else {
            HY_TRY(decode_row(type, rows, n, planes[0], scratch, err));
        }
        for (uint32_t k = 0; k < HY__GPU_PLANES; k++) {
            planes[k] += row_plane_bytes(f, n, k);
        }
    }
    return HY_OK;
}
