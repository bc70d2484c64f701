/* formats.h: how matrices lie in GPU memory, and the WGSL that reads them.
 *
 * A row is cut into blocks of 32 elements (the last one padded with zeros).  A format keeps the
 * parts of its blocks in planes: plane k of a matrix holds part k of all blocks, row after row, so
 * that neighbouring invocations read neighbouring memory.  All planes together have the bytes of
 * the file's rows, but the factors of K types: those are multiplied out and stored as f16, 4 bytes a
 * block.
 *
 * Numbers, of formats with codes: element i of a block is w = a * u - c, u a signed integer of 8
 * bits, with a and c for each half of the block; activations are quantized to 8 bits in blocks of
 * 32 (q8.wgsl), so that a product is one of integers.  Formats without codes multiply in f32.
 *
 * Raw formats keep blocks as they lie in the file, in a single plane; rows of F32, F16 and BF16 are
 * padded to 32 elements, which count as a block.  Only the plain kernels (text_f32.c) read them.
 *
 * To add one: an entry in a list of formats.c, with its packing function if it is not raw, and a
 * file kernels/format_NAME.wgsl or raw_NAME.wgsl.  Pure functions, for any thread. */
#ifndef HY_BACKEND_WEBGPU_FORMATS_H
#define HY_BACKEND_WEBGPU_FORMATS_H

#include "base/base.h"
#include "halyard/types.h"

enum { HY__GPU_PLANES = 4, HY__GPU_BLOCK = 32 };

typedef struct hy__gpu_format {
    hy_type type;
    const char *name;
    /* WGSL.  `at` says where the planes begin: at.x in vec4<u32> of `weights`, at.y to at.w in u32
     * of `words`.  i is the number of a block of the matrix.  With codes, R = raw_vecs:
     *     fn raw_NAME(at: vec4<u32>, i: u32) -> array<vec4<u32>, R>, what is read of the block;
     *     fn unpack_NAME(i: u32, raw: array<vec4<u32>, R>) -> Block
     * without: fn four_of_NAME(raw: vec4<u32>, k: u32) -> vec4<f32>, elements 4 k to 4 k + 3 of a
     * vec4 of `weights` (k = 0 where it holds four).  Raw: see kernels/raw.wgsl. */
    const char *wgsl;
    bool codes;
    bool halves;                     /* a or c differ between the halves of a block */
    bool offset;                     /* c is not zero */
    uint32_t raw_vecs, raw_words;    /* vec4<u32> of a raw block; words of them that are used */
    uint32_t planes[HY__GPU_PLANES]; /* bytes for 256 elements; 0: no such plane */
    /* Of raw formats, else 0: elements of a block, and of a group of them that has one scale. */
    uint32_t elements, group;
    /* One row of n elements, a multiple of 32 or of the type's block if that is larger; planes[k]:
     * where the row begins in plane k.  NULL: the bytes of the file are those of plane 0. */
    void (*pack)(const uint8_t *row, uint32_t n, uint8_t *const planes[HY__GPU_PLANES]);
} hy__gpu_format;

/* Of a type that can be decoded; types without a format of their own are decoded to F16. */
const hy__gpu_format *hy__gpu_format_of(hy_type type);
/* The raw format in the same way: types whose elements are looked up in large tables are decoded to
 * F16. */
const hy__gpu_format *hy__gpu_raw_of(hy_type type);
/* Number i = 0.. of the list, NULL behind it. */
const hy__gpu_format *hy__gpu_format_at(size_t i);

/* A matrix of m rows of n elements in a format: bytes of plane k, a multiple of 16, and of all. */
uint64_t hy__gpu_plane_bytes(const hy__gpu_format *f, uint32_t n, uint32_t m, uint32_t k);
uint64_t hy__gpu_format_bytes(const hy__gpu_format *f, uint32_t n, uint32_t m);

/* Packs n_rows rows that lie row_bytes apart, the first of which is row `first` of m rows.  to: the
 * matrix in its format, zeroed.  scratch: floats for a row, n rounded up to 32, of types that are
 * decoded. */
hy_status hy__gpu_pack(const hy__gpu_format *f, hy_type type, const uint8_t *rows, size_t row_bytes,
                       uint32_t n, uint32_t m, uint32_t first, uint32_t n_rows, uint8_t *to,
                       float *scratch, hy_error *err);

#endif
