/* quantize.c: columns of activations in 8 bits, blocks of 32.
 *
 * A column is one piece of memory of its owner: q, then d, then s, each from a multiple of 64 bytes
 * on.  Pure functions; any thread may call them. */
#include "kernels.h"

#include "quant/quant.h"

enum { BLOCK = 32, ALIGN = 64 };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t blocks(uint32_t n)
{
    return ((size_t)n + BLOCK - 1) / BLOCK;
}

size_t hy__cpu_column_bytes(uint32_t n)
{
    return aligned(blocks(n) * BLOCK) + 2 * aligned(blocks(n) * sizeof(float));
}

hy__q8 hy__cpu_column(const void *column, uint32_t n)
{
    const char *d = (const char *)column + aligned(blocks(n) * BLOCK);
    return (hy__q8){.q = column,
                    .d = (const void *)d,
                    .s = (const void *)(d + aligned(blocks(n) * sizeof(float)))};
}

static void quantize_block(const float *x, int8_t *q, float *d, float *s)
{
    uint32_t most = 0; /* bits of the largest magnitude: in the order of their values, NaN last */
    for (int e = 0; e < BLOCK; e++) {
        const uint32_t bits = hy__f32_bits(x[e]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    const float max = hy__f32_from_bits(most);
    if (!(max >= 0x1p-100f && most < 0x7f800000u)) {
        /* Too small to be scaled by a normal number, or not finite: then the result shows it. */
        memset(q, 0, BLOCK);
        *d = *s = most < 0x7f800000u ? 0.0f : hy__f32_from_bits(0x7fc00000u);
        return;
    }
    const float to_code = 127.0f / max;
    int32_t sum = 0;
    for (int e = 0; e < BLOCK; e++) {
        const int32_t code = hy__round_even(x[e] * to_code);
        q[e] = (int8_t)code;
        sum += code;
    }
    *d = max / 127.0f;
    *s = *d * (float)sum;
}

void hy__cpu_quantize(const float *x, uint32_t n, void *column)
{
    int8_t *q = column;
    float *d = (float *)(void *)((char *)column + aligned(blocks(n) * BLOCK));
    float *s = (float *)(void *)((char *)d + aligned(blocks(n) * sizeof(float)));
    uint32_t i = 0;
    for (; n - i >= BLOCK; i += BLOCK) {
        quantize_block(x + i, q + i, d + i / BLOCK, s + i / BLOCK);
    }
    if (i < n) {
        float rest[BLOCK] = {0};
        memcpy(rest, x + i, (n - i) * sizeof *x);
        quantize_block(rest, q + i, d + i / BLOCK, s + i / BLOCK);
    }
}
