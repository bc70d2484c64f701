/* make.c: writes the goldens of this folder from the C code of ggml, the implementation that
 * defines the encodings.
 *
 *   cc -O2 -ffp-contract=off -I. -I../../../src -I../../../include -I$LLAMA/ggml/include make.c
 * $(ls ../../../src/base/[a-z]*.c) $LLAMA/build/ggml/src/libggml-base.a -fopenmp -lstdc++ -lm
 * -lpthread -o /tmp/make && /tmp/make .
 *
 * decode/TYPE.bin: encoded blocks of random bits with finite values (1024 elements), then the
 * values as f32. encode.txt: "TYPE case crc64" of the encoded data of each case of data.h;
 * encode/TYPE.bin: the first blocks (512 elements) of the case "mixed".  Not part of the build. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "data.h"
#include "ggml.h"
#include "halyard/types.h"

enum { DECODE_ELEMS = 1024, RAW_ELEMS = 512 };

static FILE *open_in(const char *dir, const char *sub, const char *name, const char *suffix)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/%s%s%s", dir, sub, name, suffix);
    FILE *f = fopen(path, "wb");
    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

static void to_float(int type, const void *src, float *dst, size_t n)
{
    if (type == GGML_TYPE_F32) {
        memcpy(dst, src, 4 * n);
    } else {
        ggml_get_type_traits(type)->to_float(src, dst, (int64_t)n);
    }
}

static void make_decode(const char *dir, const char *name, int type, size_t elems, size_t bytes)
{
    static uint8_t blocks[4 * DECODE_ELEMS];
    static float values[DECODE_ELEMS];
    uint64_t state = 77 + (uint64_t)type;
    for (size_t b = 0; b < DECODE_ELEMS / elems; b++) {
        uint8_t *block = blocks + b * bytes;
        for (bool finite = false; !finite;) {
            for (size_t i = 0; i < bytes; i++) {
                block[i] = (uint8_t)(quant_random(&state) >> 8);
            }
            to_float(type, block, values + b * elems, elems);
            finite = type != GGML_TYPE_MXFP4 || block[0] != 255;
            for (size_t e = 0; e < elems; e++) {
                finite = finite && isfinite(values[b * elems + e]);
            }
        }
    }
    FILE *f = open_in(dir, "decode/", name, ".bin");
    fwrite(blocks, 1, DECODE_ELEMS / elems * bytes, f);
    fwrite(values, sizeof(float), DECODE_ELEMS, f);
    fclose(f);
}

static void make_encode(const char *dir, const char *name, int type, FILE *list)
{
    static float x[65536];
    static uint8_t out[4 * 65536];
#define ONE_CASE(case_name, n, what)                                                               \
    quant_fill(QUANT_CASE_##case_name, x, n);                                                      \
    memset(out, 0, sizeof out);                                                                    \
    size_t bytes_##case_name = ggml_quantize_chunk(type, x, out, 0, n / 256, 256, NULL);           \
    if (ggml_validate_row_data(type, out, bytes_##case_name)) {                                    \
        fprintf(list, "%s %s %016" PRIx64 "\n", name, #case_name,                                  \
                hy__crc64(0, out, bytes_##case_name));                                             \
    } else {                                                                                       \
        fprintf(list, "%s %s refused\n", name, #case_name);                                        \
    }
    QUANT_CASES(ONE_CASE)
#undef ONE_CASE
    FILE *f = open_in(dir, "encode/", name, ".bin");
    fwrite(out, 1, RAW_ELEMS / (size_t)ggml_blck_size(type) * ggml_type_size(type), f);
    fclose(f);
}

#define MAKE_SIZE(name, id, elems, bytes)
#define MAKE_DECODE(name, id, elems, bytes) make_decode(dir, name, id, elems, bytes);
#define MAKE_FULL(name, id, elems, bytes)                                                          \
    MAKE_DECODE(name, id, elems, bytes)                                                            \
    make_encode(dir, name, id, list);
#define MAKE(name, id, elems, bytes, codec) MAKE_##codec(#name, id, elems, bytes)

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : ".";
    FILE *list = open_in(dir, "", "encode", ".txt");
    HY_TYPE_LIST(MAKE)
    return fclose(list);
}
