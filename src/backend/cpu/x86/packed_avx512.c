/* packed_avx512.c: products of packed panels with AVX-512 F, BW, DQ, VL and VNNI.
 *
 * A vector holds 4 codes of each of 16 rows, and vpdpbusd multiplies it with the same 4 activations
 * for all of them, so that a row is a lane from the first product to the result.  Each type has one
 * function that takes a block apart (block_Q4_0 ...); it feeds a sink, which either multiplies
 * (gemv) or writes the codes and factors down (expand).
 *
 * No state; any thread may call these. */
#include "backend/cpu/x86/gemm_avx512.h"
#include "backend/cpu/x86/quantize_avx512.h"
#include "quant/quant.h"

/* ---- sinks */

typedef struct sink {
    bool expand;        /* constant: everything else follows from it */
    uint32_t per_32;    /* blocks in 32 elements, constant */
    const int8_t *q;    /* gemv: the column from the block's beginning on */
    const float *d, *s; /* s16 where B is 16 */
    __m512 sum;
    __m512i dot0, dot1; /* sums in progress; two, because one would wait for itself */
    hy__panel out;      /* expand: likewise */
} sink;

static HY_INLINE sink sink_gemv(const hy__q8 *x, uint32_t block)
{
    return (sink){.per_32 = 32 / block,
                  .q = x->q,
                  .d = x->d,
                  .s = block == 16 ? x->s16 : x->s,
                  .sum = _mm512_setzero_ps(),
                  .dot0 = _mm512_setzero_si512(),
                  .dot1 = _mm512_setzero_si512()};
}

static HY_INLINE sink sink_expand(const hy__panel *out, uint32_t block)
{
    return (sink){.expand = true, .per_32 = 32 / block, .out = *out};
}

/* The codes of elements 4 at to 4 at + 3, summed up in *dot. */
static HY_INLINE void put(sink *o, __m512i *dot, uint32_t at, __m512i codes)
{
    if (o->expand) {
        _mm512_storeu_si512(o->out.u + (size_t)64 * at, codes);
    } else {
        *dot = _mm512_dpbusd_epi32(*dot, codes, four(o->q + (size_t)4 * at));
    }
}

/* The same for codes that lie `shift` bits up in their bytes, with zeros around.  They are
 * multiplied where they are: put_up_end moves their sum once for all. */
static HY_INLINE void put_up(sink *o, __m512i *dot, uint32_t at, __m512i codes, uint32_t shift)
{
    put(o, dot, at, o->expand ? _mm512_srli_epi16(codes, shift) : codes);
}

static HY_INLINE void put_up_end(const sink *o, __m512i *dot, uint32_t shift)
{
    if (!o->expand) {
        *dot = _mm512_srai_epi32(*dot, shift);
    }
}

/* Block b from here (of B elements) has the factors a and c. */
static HY_INLINE void scale(sink *o, __m512i *dot, size_t b, __m512 a, __m512 c)
{
    if (o->expand) {
        _mm512_storeu_ps(o->out.a + 16 * b, a);
        _mm512_storeu_ps(o->out.c + 16 * b, c);
    } else {
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(*dot), a);
        o->sum = _mm512_fmadd_ps(product, _mm512_set1_ps(o->d[b / o->per_32]), o->sum);
        o->sum = _mm512_fnmadd_ps(c, _mm512_set1_ps(o->s[b]), o->sum);
        *dot = _mm512_setzero_si512();
    }
}

static HY_INLINE void scale_symmetric(sink *o, __m512i *dot, uint32_t b, __m512 a, float offset)
{
    scale(o, dot, b, a, _mm512_mul_ps(a, _mm512_set1_ps(offset)));
}

/* Where both sums in progress are of one block. */
static HY_INLINE void join(sink *o)
{
    if (!o->expand) {
        o->dot0 = _mm512_add_epi32(o->dot0, o->dot1);
        o->dot1 = _mm512_setzero_si512();
    }
}

static HY_INLINE void advance(sink *o, uint32_t n)
{
    const size_t blocks = (size_t)n / 32 * o->per_32;
    if (o->expand) {
        o->out.u += (size_t)16 * n;
        o->out.a += 16 * blocks;
        o->out.c += 16 * blocks;
    } else {
        o->q += n;
        o->d += n / 32;
        o->s += blocks;
    }
}

/* ---- pieces of blocks */

/* Bits move across bytes: to be masked. */
static HY_INLINE __m512i shift_left(__m512i v, int n)
{
    return n >= 0 ? _mm512_slli_epi16(v, (uint32_t)n) : _mm512_srli_epi16(v, (uint32_t)-n);
}

/* v, and the bits of mask from w. */
static HY_INLINE __m512i or_and(__m512i v, __m512i w, int mask)
{
    return _mm512_ternarylogic_epi32(v, w, _mm512_set1_epi8((char)mask), 0xf8);
}

/* ---- blocks of 32 elements */

/* 16 bytes of a row: elements 0 to 15 in the low halves, 16 to 31 in the high ones. */
static HY_INLINE void nibbles(const uint8_t *qs, uint32_t at, sink *o)
{
    for (uint32_t i = 0; i < 4; i++) {
        const __m512i v = load(qs + (size_t)64 * i);
        put(o, &o->dot0, at + i, bytes_and(v, 0x0f));
        put_up(o, &o->dot1, at + 4 + i, bytes_and(v, 0xf0), 4);
    }
    put_up_end(o, &o->dot1, 4);
    join(o);
}

/* The same with a fifth bit, bit e of the row's 32 for element e: in byte t / 2 of the four for the
 * elements 4 t to 4 t + 3. */
static HY_INLINE void nibbles_and_fifth(const uint8_t *qs, const uint8_t *qh, sink *o)
{
    const __m512i words = load(qh), more = _mm512_set1_epi8(16);
    const __m512i low = _mm512_set1_epi32(0x08040201), high = _mm512_slli_epi32(low, 4);
    __m512i byte =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
    for (uint32_t i = 0; i < 4; i++) {
        const __m512i one = _mm512_set1_epi8(1), two = _mm512_set1_epi8(2);
        const uint32_t half = i / 2;
        const __m512i bit = i % 2 == 0 ? low : high;
        const __m512i from = _mm512_add_epi8(byte, half == 0 ? _mm512_setzero_si512() : one);
        const __m512i v = load(qs + (size_t)64 * i);
        const __m512i a = bytes_and(v, 0x0f), b = bytes_and(_mm512_srli_epi16(v, 4), 0x0f);
        const __m512i wa = _mm512_shuffle_epi8(words, from);
        const __m512i wb = _mm512_shuffle_epi8(words, _mm512_add_epi8(from, two));
        put(o, &o->dot0, i, _mm512_mask_add_epi8(a, _mm512_test_epi8_mask(wa, bit), a, more));
        put(o, &o->dot1, 4 + i, _mm512_mask_add_epi8(b, _mm512_test_epi8_mask(wb, bit), b, more));
    }
    join(o);
}

/* Codes that are numbers in the table of IQ4_NL and IQ4_XS. */
static HY_INLINE void levels(const uint8_t *qs, uint32_t at, sink *o)
{
    const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)hy__iq4_levels);
    const __m512i codes = _mm512_xor_si512(_mm512_broadcast_i32x4(table), _mm512_set1_epi8(-128));
    for (uint32_t i = 0; i < 4; i++) {
        const __m512i v = load(qs + (size_t)64 * i);
        const __m512i low = bytes_and(v, 0x0f), high = bytes_and(_mm512_srli_epi16(v, 4), 0x0f);
        put(o, &o->dot0, at + i, _mm512_shuffle_epi8(codes, low));
        put(o, &o->dot1, at + 4 + i, _mm512_shuffle_epi8(codes, high));
    }
    join(o);
}

static HY_INLINE void block_Q8_0(const uint8_t *b, sink *o)
{
    const __m512i bias = _mm512_set1_epi8(-128);
    for (uint32_t i = 0; i < 8; i += 2) {
        put(o, &o->dot0, i, _mm512_xor_si512(load(b + 32 + (size_t)64 * i), bias));
        put(o, &o->dot1, i + 1, _mm512_xor_si512(load(b + 96 + (size_t)64 * i), bias));
    }
    join(o);
    scale_symmetric(o, &o->dot0, 0, f16_rows(b), 128.0f);
}

static HY_INLINE void block_Q4_0(const uint8_t *b, sink *o)
{
    nibbles(b + 32, 0, o);
    scale_symmetric(o, &o->dot0, 0, f16_rows(b), 8.0f);
}

static HY_INLINE void block_Q4_1(const uint8_t *b, sink *o)
{
    nibbles(b + 64, 0, o);
    scale(o, &o->dot0, 0, f16_rows(b), negative(f16_rows(b + 32)));
}

static HY_INLINE void block_Q5_0(const uint8_t *b, sink *o)
{
    nibbles_and_fifth(b + 96, b + 32, o);
    scale_symmetric(o, &o->dot0, 0, f16_rows(b), 16.0f);
}

static HY_INLINE void block_Q5_1(const uint8_t *b, sink *o)
{
    nibbles_and_fifth(b + 128, b + 64, o);
    scale(o, &o->dot0, 0, f16_rows(b), negative(f16_rows(b + 32)));
}

static HY_INLINE void block_IQ4_NL(const uint8_t *b, sink *o)
{
    levels(b + 32, 0, o);
    scale_symmetric(o, &o->dot0, 0, f16_rows(b), 128.0f);
}

/* ---- blocks of 256 elements */

/* The processor finds out by itself how memory is read, and reads ahead, only if that is from the
 * beginning to the end.  Blocks of which several large fields are read in turns need help, or run
 * at a third of its speed.  Which of the two ways a type takes is measured; touch depends on the
 * order in which the compiler puts the loads behind it, fetch does not.
 *
 * Asks for the block some way ahead, piece `at` of 64.  A little at a time: the processor drops
 * what it has no room for. */
static HY_INLINE void fetch(const sink *o, const uint8_t *b, size_t bytes, uint32_t at)
{
    enum { DISTANCE = 12288 }; /* in the second level of cache when its time comes */
    if (!o->expand) {
        _mm_prefetch((const char *)b + DISTANCE + (bytes + 63) / 64 * at, _MM_HINT_T1);
    }
}

/* Reads the first bytes once from the beginning to the end; volatile, for nobody needs them yet. */
static HY_INLINE void touch(const sink *o, const uint8_t *b, size_t bytes)
{
    for (size_t i = 0; !o->expand && i < bytes; i += 64) {
        (void)*(const volatile uint8_t *)(b + i);
    }
}

static HY_INLINE void block_IQ4_XS(const uint8_t *b, sink *o)
{
    const __m512 d = f16_rows(b);
    const __m512i high =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(b + 32)));
    for (uint32_t g = 0; g < 8; g++) {
        const __m512i low = _mm512_cvtepu8_epi32(
            _mm_loadu_si128((const __m128i *)(const void *)(b + 64 + (size_t)16 * (g / 2))));
        const __m512i top = _mm512_slli_epi32(_mm512_srli_epi32(high, 2 * g), 4);
        __m512i s = _mm512_and_si512(_mm512_srli_epi32(low, 4 * (g % 2)), _mm512_set1_epi32(15));
        s = _mm512_or_si512(s, _mm512_and_si512(top, _mm512_set1_epi32(48)));
        s = _mm512_sub_epi32(s, _mm512_set1_epi32(32));
        levels(b + 128 + (size_t)256 * g, 8 * g, o);
        scale_symmetric(o, &o->dot0, g, _mm512_mul_ps(d, _mm512_cvtepi32_ps(s)), 128.0f);
    }
}

/* The bytes of 16 rows each: 8 scales, then 8 minima of Q4_K and Q5_K. */
static HY_INLINE void scales_mins_q45(const uint8_t *p, uint8_t out[256])
{
    const __m512i a = load(p), b = load(p + 64), c = load(p + 128);
    _mm512_store_si512(out, bytes_and(a, 0x3f));
    _mm512_store_si512(out + 64, or_and(bytes_and(c, 0x0f), _mm512_srli_epi16(a, 2), 0x30));
    _mm512_store_si512(out + 128, bytes_and(b, 0x3f));
    _mm512_store_si512(
        out + 192, or_and(bytes_and(_mm512_srli_epi16(c, 4), 0x0f), _mm512_srli_epi16(b, 2), 0x30));
}

static HY_INLINE void scale_q45(const uint8_t *factors, uint32_t g, __m512 d, __m512 dmin, sink *o,
                                __m512i *dot)
{
    scale(o, dot, g, _mm512_mul_ps(d, u8_rows(factors + (size_t)16 * g)),
          _mm512_mul_ps(dmin, u8_rows(factors + 128 + (size_t)16 * g)));
}

static HY_INLINE void block_Q4_K(const uint8_t *b, sink *o)
{
    _Alignas(64) uint8_t factors[256];
    const __m512 d = f16_rows(b), dmin = f16_rows(b + 32);
    scales_mins_q45(b + 64, factors);
    for (uint32_t p = 0; p < 4; p++) {
        for (uint32_t i = 0; i < 8; i++) {
            const __m512i v = load(b + 256 + (size_t)512 * p + (size_t)64 * i);
            put(o, &o->dot0, 16 * p + i, bytes_and(v, 0x0f));
            put_up(o, &o->dot1, 16 * p + 8 + i, bytes_and(v, 0xf0), 4);
        }
        put_up_end(o, &o->dot1, 4);
        scale_q45(factors, 2 * p, d, dmin, o, &o->dot0);
        scale_q45(factors, 2 * p + 1, d, dmin, o, &o->dot1);
    }
}

/* Sub-blocks 2 p and 2 p + 1; the fifth bits are bits 2 p and 2 p + 1 of the bytes of qh. */
static HY_INLINE void pair_Q5_K(const uint8_t *b, const uint8_t *factors, int p, __m512 d,
                                __m512 dmin, sink *o)
{
    const uint32_t g = 2 * (uint32_t)p;
    for (uint32_t i = 0; i < 8; i++) {
        const __m512i v = load(b + 768 + (size_t)256 * g + (size_t)64 * i);
        const __m512i fifth = load(b + 256 + (size_t)64 * i);
        const __m512i low = bytes_and(v, 0x0f), high = bytes_and(_mm512_srli_epi16(v, 4), 0x0f);
        put(o, &o->dot0, 8 * g + i, or_and(low, shift_left(fifth, 4 - 2 * p), 0x10));
        put(o, &o->dot1, 8 * g + 8 + i, or_and(high, shift_left(fifth, 3 - 2 * p), 0x10));
    }
    scale_q45(factors, g, d, dmin, o, &o->dot0);
    scale_q45(factors, g + 1, d, dmin, o, &o->dot1);
}

static HY_INLINE void block_Q5_K(const uint8_t *b, sink *o)
{
    _Alignas(64) uint8_t factors[256];
    const __m512 d = f16_rows(b), dmin = f16_rows(b + 32);
    touch(o, b, 1280); /* to the end of the first pair's codes */
    scales_mins_q45(b + 64, factors);
    pair_Q5_K(b, factors, 0, d, dmin, o);
    pair_Q5_K(b, factors, 1, d, dmin, o);
    pair_Q5_K(b, factors, 2, d, dmin, o);
    pair_Q5_K(b, factors, 3, d, dmin, o);
}

/* 32 elements of Q2_K: bits 2 j and 2 j + 1 of 32 bytes. */
static HY_INLINE void part_Q2_K(const uint8_t *qs, const uint8_t *factors, uint32_t g, uint32_t j,
                                __m512 d, __m512 dmin, sink *o)
{
    for (uint32_t i = 0; i < 4; i++) {
        const __m512i v = load(qs + (size_t)64 * i), w = load(qs + (size_t)64 * (i + 4));
        put_up(o, &o->dot0, 8 * g + i, bytes_and(v, 3 << 2 * j), 2 * j);
        put_up(o, &o->dot1, 8 * g + 4 + i, bytes_and(w, 3 << 2 * j), 2 * j);
    }
    put_up_end(o, &o->dot0, 2 * j);
    put_up_end(o, &o->dot1, 2 * j);
    scale(o, &o->dot0, 2 * g, _mm512_mul_ps(d, u8_rows(factors + (size_t)32 * g)),
          _mm512_mul_ps(dmin, u8_rows(factors + 256 + (size_t)32 * g)));
    scale(o, &o->dot1, 2 * g + 1, _mm512_mul_ps(d, u8_rows(factors + (size_t)32 * g + 16)),
          _mm512_mul_ps(dmin, u8_rows(factors + 256 + (size_t)32 * g + 16)));
}

static HY_INLINE void block_Q2_K(const uint8_t *b, sink *o)
{
    _Alignas(64) uint8_t factors[512];
    const __m512 d = f16_rows(b + 1280), dmin = f16_rows(b + 1312);
    for (size_t i = 0; i < 256; i += 64) {
        const __m512i v = load(b + i);
        _mm512_store_si512(factors + i, bytes_and(v, 0x0f));
        _mm512_store_si512(factors + 256 + i, bytes_and(_mm512_srli_epi16(v, 4), 0x0f));
    }
    for (uint32_t h = 0; h < 2; h++) {
        const uint8_t *qs = b + 256 + (size_t)512 * h;
        part_Q2_K(qs, factors, 4 * h, 0, d, dmin, o);
        part_Q2_K(qs, factors, 4 * h + 1, 1, d, dmin, o);
        part_Q2_K(qs, factors, 4 * h + 2, 2, d, dmin, o);
        part_Q2_K(qs, factors, 4 * h + 3, 3, d, dmin, o);
    }
}

/* The 16 scales of 16 rows, in bytes with sign; the formula: hy__q3_scale. */
static HY_INLINE void scales_Q3_K(const uint8_t *p, uint8_t out[256])
{
    const __m512i a = load(p), b = load(p + 64), c = load(p + 128), bias = _mm512_set1_epi8(32);
    const __m512i a_high = bytes_and(_mm512_srli_epi16(a, 4), 0x0f);
    const __m512i b_high = bytes_and(_mm512_srli_epi16(b, 4), 0x0f);
    const __m512i s0 = or_and(bytes_and(a, 0x0f), _mm512_slli_epi16(c, 4), 0x30);
    const __m512i s1 = or_and(bytes_and(b, 0x0f), _mm512_slli_epi16(c, 2), 0x30);
    const __m512i s2 = or_and(a_high, c, 0x30);
    const __m512i s3 = or_and(b_high, _mm512_srli_epi16(c, 2), 0x30);
    _mm512_store_si512(out, _mm512_sub_epi8(s0, bias));
    _mm512_store_si512(out + 64, _mm512_sub_epi8(s1, bias));
    _mm512_store_si512(out + 128, _mm512_sub_epi8(s2, bias));
    _mm512_store_si512(out + 192, _mm512_sub_epi8(s3, bias));
}

/* 32 elements: the low bits of a code are bits 2 (g % 4) and the next of a byte, the third is bit g
 * of the byte of hmask.  The three come together where the low ones are, or two bits lower if there
 * is no room. */
static HY_INLINE void part_Q3_K(const uint8_t *b, const uint8_t *factors, int g, __m512 d, sink *o)
{
    const int j = g % 4, up = j == 3 ? 4 : 2 * j;
    const uint32_t at = (uint32_t)g;
    const uint8_t *qs = b + 512 + (size_t)512 * (at / 4);
    for (uint32_t i = 0; i < 8; i++) {
        const __m512i v = shift_left(load(qs + (size_t)64 * i), up - 2 * j);
        const __m512i third = shift_left(load(b + (size_t)64 * i), up + 2 - g);
        const __m512i codes = or_and(bytes_and(v, 3 << up), third, 4 << up);
        if (i % 2 == 0) {
            fetch(o, b, 16 * 110, 8 * at + i);
        }
        put_up(o, i < 4 ? &o->dot0 : &o->dot1, 8 * at + i, codes, (uint32_t)up);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const __m512 a = _mm512_mul_ps(d, s8_rows(factors + (size_t)16 * (2 * at + i)));
        put_up_end(o, i == 0 ? &o->dot0 : &o->dot1, (uint32_t)up);
        scale_symmetric(o, i == 0 ? &o->dot0 : &o->dot1, 2 * at + i, a, 4.0f);
    }
}

static HY_INLINE void block_Q3_K(const uint8_t *b, sink *o)
{
    _Alignas(64) uint8_t factors[256];
    const __m512 d = f16_rows(b + 1728);
    scales_Q3_K(b + 1536, factors);
    part_Q3_K(b, factors, 0, d, o);
    part_Q3_K(b, factors, 1, d, o);
    part_Q3_K(b, factors, 2, d, o);
    part_Q3_K(b, factors, 3, d, o);
    part_Q3_K(b, factors, 4, d, o);
    part_Q3_K(b, factors, 5, d, o);
    part_Q3_K(b, factors, 6, d, o);
    part_Q3_K(b, factors, 7, d, o);
}

/* Half of a block of Q6_K, 128 elements: part j of four has the low (j < 2) or high halves of 32
 * bytes of ql below bits 2 j and 2 j + 1 of 32 bytes qh, which all share. */
static HY_INLINE void half_Q6_K(const uint8_t *b, uint32_t h, __m512 d, sink *o)
{
    const uint8_t *ql = b + (size_t)1024 * h, *qh = b + 2048 + (size_t)512 * h;
    const uint8_t *scales = b + 3072 + (size_t)128 * h;
    __m512i dot[4][2];
    for (uint32_t j = 0; j < 4; j++) {
        dot[j][0] = dot[j][1] = _mm512_setzero_si512();
    }
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t at = 32 * h + i;
        const __m512i v = load(ql + (size_t)64 * i), w = load(ql + 512 + (size_t)64 * i);
        const __m512i top = load(qh + (size_t)64 * i);
        for (uint32_t piece = 0; piece < 4; piece++) {
            fetch(o, b, 16 * 210, 4 * (8 * h + i) + piece);
        }
        put(o, &dot[0][i / 4], at, or_and(bytes_and(v, 0x0f), _mm512_slli_epi16(top, 4), 0x30));
        put(o, &dot[1][i / 4], at + 8, or_and(bytes_and(w, 0x0f), _mm512_slli_epi16(top, 2), 0x30));
        put(o, &dot[2][i / 4], at + 16,
            or_and(bytes_and(_mm512_srli_epi16(v, 4), 0x0f), top, 0x30));
        put(o, &dot[3][i / 4], at + 24,
            or_and(bytes_and(_mm512_srli_epi16(w, 4), 0x0f), _mm512_srli_epi16(top, 2), 0x30));
    }
    for (uint32_t k = 0; k < 8; k++) {
        const __m512 a = _mm512_mul_ps(d, s8_rows(scales + (size_t)16 * k));
        scale_symmetric(o, &dot[k / 2][k % 2], 8 * h + k, a, 32.0f);
    }
}

static HY_INLINE void block_Q6_K(const uint8_t *b, sink *o)
{
    const __m512 d = f16_rows(b + 3328);
    half_Q6_K(b, 0, d, o);
    half_Q6_K(b, 1, d, o);
}

/* ---- the kernels of a type: blocks of `elems` elements, `bytes` of a row, B as in the list */

#define KERNELS(type, block, elems, bytes)                                                         \
    static void gemv_##type(const uint8_t *panel, const hy__q8 *x, uint32_t n, float *y)           \
    {                                                                                              \
        sink o = sink_gemv(x, block);                                                              \
        for (uint32_t i = 0; i < n; i += (elems), panel += 16 * (bytes)) {                         \
            block_##type(panel, &o);                                                               \
            advance(&o, elems);                                                                    \
        }                                                                                          \
        _mm512_storeu_ps(y, o.sum);                                                                \
    }                                                                                              \
    static void expand_##type(const uint8_t *panel, uint32_t n, const hy__panel *out)              \
    {                                                                                              \
        sink o = sink_expand(out, block);                                                          \
        for (uint32_t i = 0; i < n; i += (elems), panel += 16 * (bytes)) {                         \
            block_##type(panel, &o);                                                               \
            advance(&o, elems);                                                                    \
        }                                                                                          \
    }

KERNELS(Q8_0, 32, 32, 34)
KERNELS(Q4_0, 32, 32, 18)
KERNELS(Q4_1, 32, 32, 20)
KERNELS(Q5_0, 32, 32, 22)
KERNELS(Q5_1, 32, 32, 24)
KERNELS(Q2_K, 16, 256, 84)
KERNELS(Q3_K, 16, 256, 110)
KERNELS(Q4_K, 32, 256, 144)
KERNELS(Q5_K, 32, 256, 176)
KERNELS(Q6_K, 16, 256, 210)
KERNELS(IQ4_NL, 32, 32, 18)
KERNELS(IQ4_XS, 32, 256, 136)
#undef KERNELS

/* ---- floats */

static HY_INLINE __m512 get_F32(const uint8_t *panel, size_t i)
{
    return _mm512_loadu_ps(panel + 64 * i);
}

static HY_INLINE __m512 get_F16(const uint8_t *panel, size_t i)
{
    return f16_rows(panel + 32 * i);
}

static HY_INLINE __m512 get_BF16(const uint8_t *panel, size_t i)
{
    const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(panel + 32 * i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

#define GEMV_F32(type)                                                                             \
    static void gemv_##type(const uint8_t *panel, const float *x, uint32_t n, float *y)            \
    {                                                                                              \
        __m512 even = _mm512_setzero_ps(), odd = even;                                             \
        size_t i = 0;                                                                              \
        for (; i + 2 <= n; i += 2) {                                                               \
            even = _mm512_fmadd_ps(get_##type(panel, i), _mm512_set1_ps(x[i]), even);              \
            odd = _mm512_fmadd_ps(get_##type(panel, i + 1), _mm512_set1_ps(x[i + 1]), odd);        \
        }                                                                                          \
        if (i < n) {                                                                               \
            even = _mm512_fmadd_ps(get_##type(panel, i), _mm512_set1_ps(x[i]), even);              \
        }                                                                                          \
        _mm512_storeu_ps(y, _mm512_add_ps(even, odd));                                             \
    }
#define EXPAND_F32(type)                                                                           \
    static void expand_##type(const uint8_t *panel, uint32_t n, float *out)                        \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            _mm512_storeu_ps(out + 16 * i, get_##type(panel, i));                                  \
        }                                                                                          \
    }

GEMV_F32(F32)
GEMV_F32(F16)
GEMV_F32(BF16)
EXPAND_F32(F16)
EXPAND_F32(BF16)
#undef GEMV_F32
#undef EXPAND_F32

/* ---- */

const hy__packed_table hy__packed_avx512 = {HY__PACKED_PRODUCTS, HY__PACKED_OTHERS};
