/* packed_avx2.c: products of packed panels with AVX2, FMA and F16C, compiled once more with
 * AVX-VNNI.
 *
 * A vector holds 4 codes of each of 8 rows, two of them the 16 rows of a panel; they are multiplied
 * with the same 4 activations, so that a row is a lane from the first product to the result.  Each
 * type has one function that takes a block apart (block_Q4_0 ...); it feeds a sink, which either
 * multiplies (gemv) or writes the codes and factors down (expand).
 *
 * vpmaddubsw adds two products in 16 bits.  Small codes leave room for more there: up to 15 for 8
 * of these sums, up to 31 for 4, up to 63 for 2; then they are widened.  The halves of larger
 * codes are summed apart.
 *
 * No state; any thread may call these. */
#include "backend/cpu/x86/gemm_avx2.h"
#include "backend/cpu/x86/quantize_avx2.h"
#include "quant/quant.h"

/* ---- sinks */

typedef struct sink {
    bool expand;        /* constant: everything else follows from it */
    uint32_t per_32;    /* blocks in 32 elements, constant */
    const int8_t *q;    /* gemv: the column from the block's beginning on */
    const float *d, *s; /* s16 where B is 16 */
    floats acc;
    hy__panel out; /* expand: likewise */
} sink;

/* Products of a block in progress: the first sums in 16 bits, those of high halves of codes, and
 * what was widened. */
typedef struct dots {
    rows narrow, high, wide;
} dots;

static HY_INLINE sink sink_gemv(const hy__q8 *x, uint32_t block)
{
    return (sink){.per_32 = 32 / block,
                  .q = x->q,
                  .d = x->d,
                  .s = block == 16 ? x->s16 : x->s,
                  .acc = {_mm256_setzero_ps(), _mm256_setzero_ps()}};
}

#ifndef DPBUSD
static HY_INLINE sink sink_expand(const hy__panel *out, uint32_t block)
{
    return (sink){.expand = true, .per_32 = 32 / block, .out = *out};
}
#endif

static HY_INLINE dots no_dots(void)
{
    const rows zero = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return (dots){zero, zero, zero};
}

#ifdef DPBUSD
static HY_INLINE void add_dot_4(rows *sum, rows codes, __m256i x)
{
    sum->a = DPBUSD(sum->a, codes.a, x);
    HY_KEEP(sum->a);
    sum->b = DPBUSD(sum->b, codes.b, x);
    HY_KEEP(sum->b);
}
#else
static HY_INLINE void add_dots_2(rows *sum, rows codes, __m256i x)
{
    add_dot_2(&sum->a, codes.a, x);
    add_dot_2(&sum->b, codes.b, x);
}
#endif

/* The codes of elements 4 at to 4 at + 3.  They leave room in 16 bits, or the caller widens. */
static HY_INLINE void put(const sink *o, dots *t, uint32_t at, rows codes)
{
    if (o->expand) {
        store_rows(o->out.u + (size_t)64 * at, codes);
        return;
    }
    const __m256i x = four(o->q + (size_t)4 * at);
#ifdef DPBUSD
    add_dot_4(&t->wide, codes, x);
#else
    add_dots_2(&t->narrow, codes, x);
#endif
}

static HY_INLINE void widen(const sink *o, dots *t)
{
#ifdef DPBUSD
    (void)o;
    (void)t;
#else
    if (!o->expand) {
        t->wide.a = _mm256_add_epi32(t->wide.a, pairs(t->narrow.a));
        t->wide.b = _mm256_add_epi32(t->wide.b, pairs(t->narrow.b));
        t->narrow = no_dots().narrow;
    }
#endif
}

/* Block b from here (of B elements), whose products are all widened, has the factors a and c. */
static HY_INLINE void scale_wide(sink *o, const dots *t, uint32_t b, floats a, floats c)
{
    if (o->expand) {
        store_floats(o->out.a + (size_t)16 * b, a);
        store_floats(o->out.c + (size_t)16 * b, c);
    } else {
        const __m256 d = _mm256_set1_ps(o->d[b / o->per_32]), s = _mm256_set1_ps(o->s[b]);
        o->acc.a = scaled(t->wide.a, a.a, c.a, d, s, o->acc.a);
        o->acc.b = scaled(t->wide.b, a.b, c.b, d, s, o->acc.b);
    }
}

static HY_INLINE void scale(sink *o, dots *t, uint32_t b, floats a, floats c)
{
    widen(o, t);
    scale_wide(o, t, b, a, c);
}

static HY_INLINE floats times(floats a, float f)
{
    return (floats){_mm256_mul_ps(a.a, _mm256_set1_ps(f)), _mm256_mul_ps(a.b, _mm256_set1_ps(f))};
}

static HY_INLINE void scale_symmetric(sink *o, dots *t, uint32_t b, floats a, float offset)
{
    scale(o, t, b, a, times(a, offset));
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

static HY_INLINE rows rows_and(rows v, int mask)
{
    return (rows){and_bytes(v.a, mask), and_bytes(v.b, mask)};
}

static HY_INLINE rows rows_or(rows v, rows w)
{
    return (rows){_mm256_or_si256(v.a, w.a), _mm256_or_si256(v.b, w.b)};
}

/* To the left by n, to the right by -n.  Bits move across bytes: to be masked. */
static HY_INLINE rows rows_shift(rows v, int n)
{
    if (n >= 0) {
        return (rows){_mm256_slli_epi16(v.a, n), _mm256_slli_epi16(v.b, n)};
    }
    return (rows){_mm256_srli_epi16(v.a, -n), _mm256_srli_epi16(v.b, -n)};
}

static HY_INLINE rows low_halves(rows v)
{
    return (rows){low_half(v.a), low_half(v.b)};
}

static HY_INLINE rows high_halves(rows v)
{
    return (rows){high_half(v.a), high_half(v.b)};
}

static HY_INLINE rows rows_xor(rows v, int mask)
{
    const __m256i m = _mm256_set1_epi8((char)mask);
    return (rows){_mm256_xor_si256(v.a, m), _mm256_xor_si256(v.b, m)};
}

/* In the place of each code, at most 15, its number in the table. */
static HY_INLINE rows look_up(__m256i table, rows codes)
{
    return (rows){_mm256_shuffle_epi8(table, codes.a), _mm256_shuffle_epi8(table, codes.b)};
}

/* 16 numbers in f16, of a row each. */
static HY_INLINE floats f16_rows(const uint8_t *p)
{
    return (floats){_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 16))};
}

/* 8 bytes, of a row each, without or with sign. */
static HY_INLINE __m256 u8_half(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_64(p)));
}

static HY_INLINE __m256 s8_half(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_64(p)));
}

/* d times 16 bytes, of a row each, without or with sign. */
static HY_INLINE floats times_u8(floats d, const uint8_t *p)
{
    return (floats){_mm256_mul_ps(d.a, u8_half(p)), _mm256_mul_ps(d.b, u8_half(p + 8))};
}

static HY_INLINE floats times_s8(floats d, const uint8_t *p)
{
    return (floats){_mm256_mul_ps(d.a, s8_half(p)), _mm256_mul_ps(d.b, s8_half(p + 8))};
}

static HY_INLINE floats negative(floats v)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (floats){_mm256_xor_ps(v.a, sign), _mm256_xor_ps(v.b, sign)};
}

/* ---- blocks of 32 elements */

/* 16 bytes of a row: elements 0 to 15 in the low halves, 16 to 31 in the high ones. */
static HY_INLINE void nibbles(const uint8_t *qs, const sink *o, dots *t)
{
    for (uint32_t i = 0; i < 4; i++) {
        const rows v = load_rows(qs + (size_t)64 * i);
        put(o, t, i, low_halves(v));
        put(o, t, 4 + i, high_halves(v));
    }
}

/* 16 where the bit of a byte is set that `bit` has, else 0. */
static HY_INLINE __m256i fifth_of(__m256i bytes, __m256i bit)
{
    const __m256i zero = _mm256_setzero_si256();
    return _mm256_andnot_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), zero),
                               _mm256_set1_epi8(16));
}

/* In each byte of a row the byte `from` of its four. */
static HY_INLINE rows spread(rows v, int from)
{
    const __m256i to = _mm256_add_epi8(_mm256_broadcastsi128_si256(_mm_setr_epi8(
                                           0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12)),
                                       _mm256_set1_epi8((char)from));
    return (rows){_mm256_shuffle_epi8(v.a, to), _mm256_shuffle_epi8(v.b, to)};
}

static HY_INLINE rows add_fifth(rows codes, rows bytes, __m256i bit)
{
    return rows_or(codes, (rows){fifth_of(bytes.a, bit), fifth_of(bytes.b, bit)});
}

/* 8 bytes of a row in a half of a block, with a fifth bit, bit e of the row's 32 for element e: so
 * in byte `half` of the four for the low halves, in the second next for the high ones. */
static HY_INLINE void nibbles_and_fifth(const uint8_t *qs, rows words, uint32_t half, const sink *o,
                                        dots *t)
{
    const rows low = spread(words, (int)half), high = spread(words, (int)half + 2);
    for (uint32_t i = 0; i < 2; i++) {
        const __m256i bit = _mm256_set1_epi32(i == 0 ? 0x08040201 : (int)0x80402010);
        const rows v = load_rows(qs + (size_t)64 * i);
        put(o, t, 2 * half + i, add_fifth(low_halves(v), low, bit));
        put(o, t, 2 * half + 4 + i, add_fifth(high_halves(v), high, bit));
    }
    widen(o, t);
}

static HY_INLINE void block_of_fifths(const uint8_t *qh, const sink *o, dots *t)
{
    const rows words = load_rows(qh);
    nibbles_and_fifth(qh + 64, words, 0, o, t);
    nibbles_and_fifth(qh + 64 + 128, words, 1, o, t);
}

/* Codes up to 255, for a block that ends with scale_8_bits; 8 of them fit. */
static HY_INLINE void put_8_bits(const sink *o, dots *t, uint32_t at, rows codes)
{
#ifndef DPBUSD
    if (!o->expand) {
        const __m256i x = four(o->q + (size_t)4 * at);
        add_dots_2(&t->narrow, low_halves(codes), x);
        add_dots_2(&t->high, high_halves(codes), x);
        return;
    }
#endif
    put(o, t, at, codes);
}

/* The same for codes that are the numbers in a table. */
static HY_INLINE void put_level(const sink *o, dots *t, uint32_t at, __m256i table, rows codes)
{
#ifndef DPBUSD
    if (!o->expand) {
        const __m256i x = four(o->q + (size_t)4 * at);
        add_dots_2(&t->narrow, look_up(low_half(table), codes), x);
        add_dots_2(&t->high, look_up(high_half(table), codes), x);
        return;
    }
#endif
    put(o, t, at, look_up(table, codes));
}

/* Ends a block after either. */
static HY_INLINE void scale_8_bits(sink *o, dots *t, uint32_t b, floats a)
{
#ifndef DPBUSD
    if (!o->expand) {
        t->wide.a = join_halves(t->narrow.a, t->high.a);
        t->wide.b = join_halves(t->narrow.b, t->high.b);
    }
#endif
    scale_wide(o, t, b, a, times(a, 128.0f));
}

/* Codes that stand for the levels of IQ4_NL and IQ4_XS: 128 more than these. */
static HY_INLINE void levels(const uint8_t *qs, uint32_t at, const sink *o, dots *t)
{
    const __m128i biased = _mm_xor_si128(load_128(hy__iq4_levels), _mm_set1_epi8(-128));
    const __m256i table = _mm256_broadcastsi128_si256(biased);
    for (uint32_t i = 0; i < 4; i++) {
        const rows v = load_rows(qs + (size_t)64 * i);
        put_level(o, t, at + i, table, low_halves(v));
        put_level(o, t, at + 4 + i, table, high_halves(v));
    }
}

static HY_INLINE void block_Q8_0(const uint8_t *b, sink *o)
{
    dots t = no_dots();
    for (uint32_t i = 0; i < 8; i++) {
        put_8_bits(o, &t, i, rows_xor(load_rows(b + 32 + (size_t)64 * i), 0x80));
    }
    scale_8_bits(o, &t, 0, f16_rows(b));
}

static HY_INLINE void block_Q4_0(const uint8_t *b, sink *o)
{
    dots t = no_dots();
    nibbles(b + 32, o, &t);
    scale_symmetric(o, &t, 0, f16_rows(b), 8.0f);
}

static HY_INLINE void block_Q4_1(const uint8_t *b, sink *o)
{
    dots t = no_dots();
    nibbles(b + 64, o, &t);
    scale(o, &t, 0, f16_rows(b), negative(f16_rows(b + 32)));
}

static HY_INLINE void block_Q5_0(const uint8_t *b, sink *o)
{
    dots t = no_dots();
    const floats d = f16_rows(b);
    block_of_fifths(b + 32, o, &t);
    scale_wide(o, &t, 0, d, times(d, 16.0f));
}

static HY_INLINE void block_Q5_1(const uint8_t *b, sink *o)
{
    dots t = no_dots();
    block_of_fifths(b + 64, o, &t);
    scale_wide(o, &t, 0, f16_rows(b), negative(f16_rows(b + 32)));
}

static HY_INLINE void block_IQ4_NL(const uint8_t *b, sink *o)
{
    dots t = no_dots();
    levels(b + 32, 0, o, &t);
    scale_8_bits(o, &t, 0, f16_rows(b));
}

/* ---- blocks of 256 elements */

/* Scale g of IQ4_XS for 8 rows: the low 4 bits from bytes, the high 2 from words. */
static HY_INLINE __m256 scale_IQ4_XS(const uint8_t *low, __m256i high, int g)
{
    const __m256i top = _mm256_slli_epi32(_mm256_srli_epi32(high, 2 * g), 4);
    __m256i s = _mm256_srli_epi32(_mm256_cvtepu8_epi32(load_64(low)), 4 * (g % 2));
    s = _mm256_and_si256(s, _mm256_set1_epi32(15));
    s = _mm256_or_si256(s, _mm256_and_si256(top, _mm256_set1_epi32(48)));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_set1_epi32(32)));
}

static HY_INLINE void block_IQ4_XS(const uint8_t *b, sink *o)
{
    const floats d = f16_rows(b);
    const __m256i high = _mm256_cvtepu16_epi32(load_128(b + 32));
    const __m256i high2 = _mm256_cvtepu16_epi32(load_128(b + 48));
    for (uint32_t g = 0; g < 8; g++) {
        dots t = no_dots();
        const uint8_t *low = b + 64 + (size_t)16 * (g / 2);
        const floats a = {_mm256_mul_ps(d.a, scale_IQ4_XS(low, high, (int)g)),
                          _mm256_mul_ps(d.b, scale_IQ4_XS(low + 8, high2, (int)g))};
        levels(b + 128 + (size_t)256 * g, 8 * g, o, &t);
        scale_8_bits(o, &t, g, a);
    }
}

/* The bytes of 16 rows each: 8 scales, then 8 minima of Q4_K and Q5_K; the formula:
 * hy__q45_scale_min. */
static HY_INLINE void scales_mins_q45(const uint8_t *p, uint8_t out[256])
{
    const rows a = load_rows(p), b = load_rows(p + 64), c = load_rows(p + 128);
    store_rows(out, rows_and(a, 0x3f));
    store_rows(out + 64, rows_or(low_halves(c), rows_and(rows_shift(a, -2), 0x30)));
    store_rows(out + 128, rows_and(b, 0x3f));
    store_rows(out + 192, rows_or(high_halves(c), rows_and(rows_shift(b, -2), 0x30)));
}

static HY_INLINE void scale_q45(const uint8_t *factors, uint32_t g, floats d, floats dmin, sink *o,
                                dots *t)
{
    const uint8_t *scales = factors + (size_t)16 * g;
    scale(o, t, g, times_u8(d, scales), times_u8(dmin, scales + 128));
}

static HY_INLINE void block_Q4_K(const uint8_t *b, sink *o)
{
    _Alignas(32) uint8_t factors[256];
    const floats d = f16_rows(b), dmin = f16_rows(b + 32);
    scales_mins_q45(b + 64, factors);
    for (uint32_t g = 0; g < 8; g += 2) {
        dots low = no_dots(), high = no_dots();
        for (uint32_t i = 0; i < 8; i++) {
            const rows v = load_rows(b + 256 + (size_t)256 * g + (size_t)64 * i);
            put(o, &low, 8 * g + i, low_halves(v));
            put(o, &high, 8 * g + 8 + i, high_halves(v));
        }
        scale_q45(factors, g, d, dmin, o, &low);
        scale_q45(factors, g + 1, d, dmin, o, &high);
    }
}

/* Half of the sub-blocks g and g + 1; the fifth bits are bits g and g + 1 of the bytes of qh. */
static HY_INLINE void half_pair_Q5_K(const uint8_t *qs, const uint8_t *qh, int g, uint32_t at,
                                     sink *o, dots *low, dots *high)
{
    for (uint32_t i = 0; i < 4; i++) {
        const rows v = load_rows(qs + (size_t)64 * i), fifth = load_rows(qh + (size_t)64 * i);
        put(o, low, at + i, rows_or(low_halves(v), rows_and(rows_shift(fifth, 4 - g), 0x10)));
        put(o, high, at + 8 + i, rows_or(high_halves(v), rows_and(rows_shift(fifth, 3 - g), 0x10)));
    }
    widen(o, low);
    widen(o, high);
}

static HY_INLINE void pair_Q5_K(const uint8_t *b, const uint8_t *factors, int g, floats d,
                                floats dmin, sink *o)
{
    dots low = no_dots(), high = no_dots();
    const uint32_t at = (uint32_t)g;
    const uint8_t *qs = b + 768 + (size_t)256 * at, *qh = b + 256;
    half_pair_Q5_K(qs, qh, g, 8 * at, o, &low, &high);
    half_pair_Q5_K(qs + 256, qh + 256, g, 8 * at + 4, o, &low, &high);
    const uint8_t *scales = factors + (size_t)16 * at;
    scale_wide(o, &low, at, times_u8(d, scales), times_u8(dmin, scales + 128));
    scale_wide(o, &high, at + 1, times_u8(d, scales + 16), times_u8(dmin, scales + 144));
}

static HY_INLINE void block_Q5_K(const uint8_t *b, sink *o)
{
    _Alignas(32) uint8_t factors[256];
    const floats d = f16_rows(b), dmin = f16_rows(b + 32);
    scales_mins_q45(b + 64, factors);
    pair_Q5_K(b, factors, 0, d, dmin, o);
    pair_Q5_K(b, factors, 2, d, dmin, o);
    pair_Q5_K(b, factors, 4, d, dmin, o);
    pair_Q5_K(b, factors, 6, d, dmin, o);
}

/* 32 elements of Q2_K: bits `shift` and the next of 32 bytes. */
static HY_INLINE void part_Q2_K(const uint8_t *qs, const uint8_t *factors, uint32_t g, int shift,
                                floats d, floats dmin, sink *o)
{
    for (uint32_t end = g + 2; g < end; g++, qs += 256) {
        dots t = no_dots();
        const uint8_t *scales = factors + (size_t)16 * g;
        for (uint32_t i = 0; i < 4; i++) {
            put(o, &t, 4 * g + i, rows_and(rows_shift(load_rows(qs + (size_t)64 * i), -shift), 3));
        }
        scale(o, &t, g, times_u8(d, scales), times_u8(dmin, scales + 256));
    }
}

static HY_INLINE void block_Q2_K(const uint8_t *b, sink *o)
{
    _Alignas(32) uint8_t factors[512];
    const floats d = f16_rows(b + 1280), dmin = f16_rows(b + 1312);
    for (size_t i = 0; i < 256; i += 64) {
        const rows v = load_rows(b + i);
        store_rows(factors + i, low_halves(v));
        store_rows(factors + 256 + i, high_halves(v));
    }
    for (uint32_t g = 0; g < 16; g += 8) {
        const uint8_t *qs = b + 256 + (size_t)64 * g;
        part_Q2_K(qs, factors, g, 0, d, dmin, o);
        part_Q2_K(qs, factors, g + 2, 2, d, dmin, o);
        part_Q2_K(qs, factors, g + 4, 4, d, dmin, o);
        part_Q2_K(qs, factors, g + 6, 6, d, dmin, o);
    }
}

/* The 16 scales of 16 rows, in bytes with sign; the formula: hy__q3_scale. */
static HY_INLINE void scales_Q3_K(const uint8_t *p, uint8_t out[256])
{
    const rows a = load_rows(p), b = load_rows(p + 64), c = load_rows(p + 128);
    store_rows(out, rows_or(low_halves(a), rows_and(rows_shift(c, 4), 0x30)));
    store_rows(out + 64, rows_or(low_halves(b), rows_and(rows_shift(c, 2), 0x30)));
    store_rows(out + 128, rows_or(high_halves(a), rows_and(c, 0x30)));
    store_rows(out + 192, rows_or(high_halves(b), rows_and(rows_shift(c, -2), 0x30)));
    for (size_t i = 0; i < 256; i += 64) {
        const rows v = load_rows(out + i);
        const __m256i bias = _mm256_set1_epi8(32);
        store_rows(out + i, (rows){_mm256_sub_epi8(v.a, bias), _mm256_sub_epi8(v.b, bias)});
    }
}

/* 32 elements: the low bits of a code are bits 2 (j % 4) and the next of a byte of qs, the third is
 * bit j of the byte of hmask. */
static HY_INLINE void part_Q3_K(const uint8_t *b, const uint8_t *factors, int j, floats d, sink *o)
{
    const uint8_t *hmask = b, *qs = b + (j < 4 ? 512 : 1024);
    for (uint32_t g = 2 * (uint32_t)j, end = g + 2; g < end; g++, hmask += 256, qs += 256) {
        dots t = no_dots();
        for (uint32_t i = 0; i < 4; i++) {
            const rows low = rows_shift(load_rows(qs + (size_t)64 * i), -2 * (j % 4));
            const rows third = rows_shift(load_rows(hmask + (size_t)64 * i), 2 - j);
            put(o, &t, 4 * g + i, rows_or(rows_and(low, 3), rows_and(third, 4)));
        }
        scale_symmetric(o, &t, g, times_s8(d, factors + (size_t)16 * g), 4.0f);
    }
}

static HY_INLINE void block_Q3_K(const uint8_t *b, sink *o)
{
    _Alignas(32) uint8_t factors[256];
    const floats d = f16_rows(b + 1728);
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

/* 32 elements of Q6_K, j of four that share 32 bytes qh: bits 2 j and 2 j + 1 of them, above the
 * low (j < 2) or high halves of 32 bytes of ql. */
static HY_INLINE void part_Q6_K(const uint8_t *ql, const uint8_t *qh, const uint8_t *scales,
                                uint32_t g, int j, floats d, sink *o)
{
    for (uint32_t end = g + 2; g < end; g++, ql += 256, qh += 256) {
        dots t = no_dots();
        for (uint32_t i = 0; i < 4; i++) {
            const rows v = load_rows(ql + (size_t)64 * i);
            const rows high = rows_shift(load_rows(qh + (size_t)64 * i), 4 - 2 * j);
            const rows low = j < 2 ? low_halves(v) : high_halves(v);
            put(o, &t, 4 * g + i, rows_or(low, rows_and(high, 0x30)));
            if (i == 1) {
                widen(o, &t);
            }
        }
        scale_symmetric(o, &t, g, times_s8(d, scales + (size_t)16 * g), 32.0f);
    }
}

static HY_INLINE void block_Q6_K(const uint8_t *b, sink *o)
{
    const floats d = f16_rows(b + 3328);
    const uint8_t *scales = b + 3072;
    for (uint32_t g = 0; g < 16; g += 8) {
        const uint8_t *ql = b + (size_t)128 * g, *qh = b + 2048 + (size_t)64 * g;
        part_Q6_K(ql, qh, scales, g, 0, d, o);
        part_Q6_K(ql + 512, qh, scales, g + 2, 1, d, o);
        part_Q6_K(ql, qh, scales, g + 4, 2, d, o);
        part_Q6_K(ql + 512, qh, scales, g + 6, 3, d, o);
    }
}

/* ---- the kernels of a type: blocks of `elems` elements, `bytes` of a row, B as in the list; how
 * many bytes gemv fetches ahead for each */

/* Asks for a block some way ahead.  The processor finds out by itself how memory is read only if
 * that is from the beginning to the end; blocks of several large fields are read in turns from
 * each. */
static HY_INLINE void fetch_ahead(const uint8_t *panel, size_t bytes)
{
    enum { DISTANCE = 12288, LINE = 64 }; /* measured; lies in the second level of cache by then */
    for (size_t i = 0; i < bytes; i += LINE) {
        _mm_prefetch((const char *)panel + DISTANCE + i, _MM_HINT_T1);
    }
}

#define GEMV(type, block, elems, bytes, fetched)                                                   \
    static void gemv_##type(const uint8_t *panel, const hy__q8 *x, uint32_t n, float *y)           \
    {                                                                                              \
        sink o = sink_gemv(x, block);                                                              \
        for (uint32_t i = 0; i < n; i += (elems), panel += 16 * (bytes)) {                         \
            fetch_ahead(panel, fetched);                                                           \
            block_##type(panel, &o);                                                               \
            advance(&o, elems);                                                                    \
        }                                                                                          \
        store_floats(y, o.acc);                                                                    \
    }
#ifdef DPBUSD
#define KERNELS GEMV
#else
#define KERNELS(type, block, elems, bytes, fetched)                                                \
    GEMV(type, block, elems, bytes, fetched)                                                       \
    static void expand_##type(const uint8_t *panel, uint32_t n, const hy__panel *out)              \
    {                                                                                              \
        sink o = sink_expand(out, block);                                                          \
        for (uint32_t i = 0; i < n; i += (elems), panel += 16 * (bytes)) {                         \
            block_##type(panel, &o);                                                               \
            advance(&o, elems);                                                                    \
        }                                                                                          \
    }
#endif

KERNELS(Q8_0, 32, 32, 34, 0)
KERNELS(Q4_0, 32, 32, 18, 0)
KERNELS(Q4_1, 32, 32, 20, 0)
KERNELS(Q5_0, 32, 32, 22, 0)
KERNELS(Q5_1, 32, 32, 24, 0)
KERNELS(Q2_K, 16, 256, 84, 16 * 84)
KERNELS(Q3_K, 16, 256, 110, 16 * 110)
KERNELS(Q4_K, 32, 256, 144, 0)
KERNELS(Q5_K, 32, 256, 176, 16 * 176)
KERNELS(Q6_K, 16, 256, 210, 16 * 210)
KERNELS(IQ4_NL, 32, 32, 18, 0)
KERNELS(IQ4_XS, 32, 256, 136, 0)
#undef KERNELS
#undef GEMV

/* ---- floats; the level with AVX-VNNI has these from the one below */

#ifndef DPBUSD

static HY_INLINE floats get_F32(const uint8_t *panel, size_t i)
{
    const float *p = (const float *)(const void *)(panel + 64 * i);
    return (floats){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static HY_INLINE floats get_F16(const uint8_t *panel, size_t i)
{
    return f16_rows(panel + 32 * i);
}

static HY_INLINE __m256 bf16_half(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p)), 16));
}

static HY_INLINE floats get_BF16(const uint8_t *panel, size_t i)
{
    return (floats){bf16_half(panel + 32 * i), bf16_half(panel + 32 * i + 16)};
}

static HY_INLINE floats multiply_add(floats w, float x, floats to)
{
    const __m256 v = _mm256_set1_ps(x);
    return (floats){_mm256_fmadd_ps(w.a, v, to.a), _mm256_fmadd_ps(w.b, v, to.b)};
}

#define GEMV_F32(type)                                                                             \
    static void gemv_##type(const uint8_t *panel, const float *x, uint32_t n, float *y)            \
    {                                                                                              \
        floats even = {_mm256_setzero_ps(), _mm256_setzero_ps()}, odd = even;                      \
        size_t i = 0;                                                                              \
        for (; i + 2 <= n; i += 2) {                                                               \
            even = multiply_add(get_##type(panel, i), x[i], even);                                 \
            odd = multiply_add(get_##type(panel, i + 1), x[i + 1], odd);                           \
        }                                                                                          \
        if (i < n) {                                                                               \
            even = multiply_add(get_##type(panel, i), x[i], even);                                 \
        }                                                                                          \
        store_floats(y, (floats){_mm256_add_ps(even.a, odd.a), _mm256_add_ps(even.b, odd.b)});     \
    }
#define EXPAND_F32(type)                                                                           \
    static void expand_##type(const uint8_t *panel, uint32_t n, float *out)                        \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            store_floats(out + 16 * i, get_##type(panel, i));                                      \
        }                                                                                          \
    }

GEMV_F32(F32)
GEMV_F32(F16)
GEMV_F32(BF16)
EXPAND_F32(F16)
EXPAND_F32(BF16)
#undef GEMV_F32
#undef EXPAND_F32

#endif

/* ---- */

#define NAME_OF(level) hy__packed_##level
#define NAME(level) NAME_OF(level)
extern const hy__packed_table NAME(HY__LEVEL);
#ifdef DPBUSD
const hy__packed_table NAME(HY__LEVEL) = {HY__PACKED_PRODUCTS};
#else
const hy__packed_table NAME(HY__LEVEL) = {HY__PACKED_PRODUCTS, HY__PACKED_OTHERS};
#endif
#undef NAME_OF
#undef NAME
