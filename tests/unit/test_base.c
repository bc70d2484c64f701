/* test_base.c: src/base: errors, checked memory and arithmetic, 16-bit floats, UTF-8, tables of
 * names, checksums, whole files, mathematics, and the failing environment that other tests rely on.
 */
#define _XOPEN_SOURCE 700

#include "support/support.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* A stream of numbers that is the same in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Uniform in [low, high). */
static double random_between(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(next_random(state) >> 11) * 0x1p-53);
}

static hy_env os_env(void)
{
    hy_env env;
    hy__env_resolve(&env, NULL);
    return env;
}

/* ---- errors */

static void every_status_has_a_name_and_a_text(void **state)
{
    (void)state;
    int n = 0;
#define COUNT(name, value, text)                                                                   \
    assert_int_equal(HY_##name, value);                                                            \
    assert_string_equal(hy_status_name(HY_##name), "HY_" #name);                                   \
    assert_string_equal(hy_status_text(HY_##name), text);                                          \
    n++;
    HY_STATUS_LIST(COUNT)
#undef COUNT
    assert_int_equal(n, 17);
    assert_string_equal(hy_status_name((hy_status)77), "HY_E_?");
    assert_string_equal(hy_status_text((hy_status)77), "unknown status");
    assert_string_equal(hy_version(), HY_VERSION_STRING);
    char numbers[32];
    snprintf(numbers, sizeof numbers, "%d.%d.%d", HY_VERSION_MAJOR, HY_VERSION_MINOR,
             HY_VERSION_PATCH);
    assert_string_equal(hy_version(), numbers);
}

static void fail_writes_code_and_sentence(void **state)
{
    (void)state;
    hy_error err = {HY_OK, ""};
    assert_int_equal(hy__fail(&err, HY_E_FORMAT, "key %s at %d", "a", 7), HY_E_FORMAT);
    assert_fails(HY_E_FORMAT, HY_E_FORMAT, &err, "key a at 7");
    assert_int_equal(hy__fail(NULL, HY_E_IO, "nobody listens %d", 1), HY_E_IO);
    hy__fail(&err, HY_E_IO, "two\nlines\tand %s", "\x1b[31m");
    assert_string_equal(err.text, "two?lines?and ?[31m");
    hy__fail(&err, HY_E_IO, "%s", "\xc3\xa9 \xff\xc3 \xed\xa0\x80\xe2\x82");
    assert_string_equal(err.text, "\xc3\xa9 ?? ?????");
}

static void long_sentences_are_cut(void **state)
{
    (void)state;
    char longest[2000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    struct {
        hy_error err;
        char guard[8];
    } box;
    memset(&box, 0x5a, sizeof box);
    hy__fail(&box.err, HY_E_IO, "%s", longest);
    assert_int_equal(strlen(box.err.text), sizeof box.err.text - 1);
    for (size_t n = 0; n < 600; n++) {
        hy__fail(&box.err, HY_E_IO, "old %s", longest);
        assert_int_equal(hy__wrap(&box.err, HY_E_FORMAT, "%.*s", (int)n, longest), HY_E_FORMAT);
        assert_int_equal(box.err.code, HY_E_FORMAT);
        assert_true(strlen(box.err.text) < sizeof box.err.text);
        assert_true(memcmp(box.err.text, longest, HY_MIN(n, sizeof box.err.text - 1)) == 0);
    }
    for (size_t i = 0; i < sizeof box.guard; i++) {
        assert_int_equal(box.guard[i], 0x5a);
    }
    /* A character at the end is not cut in two. */
    memset(longest, 'x', sizeof box.err.text - 2);
    memcpy(longest + sizeof box.err.text - 2, "\xc3\xa9", 3);
    hy__fail(&box.err, HY_E_IO, "%s", longest);
    assert_string_equal(box.err.text + sizeof box.err.text - 3, "x?");
}

static void wrap_puts_a_prefix(void **state)
{
    (void)state;
    hy_error err;
    hy__fail(&err, HY_E_TRUNCATED, "ends at 5");
    assert_int_equal(hy__wrap(&err, HY_E_TRUNCATED, "file %s", "m.gguf"), HY_E_TRUNCATED);
    assert_string_equal(err.text, "file m.gguf: ends at 5");
    assert_int_equal(hy__wrap(NULL, HY_E_IO, "x"), HY_E_IO);
}

static void printable_is_clean_and_cut(void **state)
{
    (void)state;
    char buf[8];
    assert_string_equal(hy__printable((hy_str){"ab\x00\xff~", 5}, buf, sizeof buf), "ab\?\?~");
    assert_string_equal(hy__printable((hy_str){"abcdefg", 7}, buf, sizeof buf), "abcdefg");
    assert_string_equal(hy__printable((hy_str){"abcdefgh", 8}, buf, sizeof buf), "abcd...");
    assert_string_equal(hy__printable((hy_str){NULL, 0}, buf, sizeof buf), "");
    assert_string_equal(hy__printable((hy_str){"abc", 3}, buf, 1), "");
}

/* ---- memory and arithmetic */

static void arithmetic_reports_overflow(void **state)
{
    (void)state;
    static const uint64_t edge[] = {
        0,
        1,
        2,
        3,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0x100000001,
        INT64_MAX,
        (uint64_t)INT64_MAX + 1,
        UINT64_MAX / 3,
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    for (size_t i = 0; i < HY_COUNT(edge); i++) {
        for (size_t k = 0; k < HY_COUNT(edge); k++) {
            const uint64_t a = edge[i], b = edge[k];
            uint64_t out = 12345;
            const bool sum_fits = a + b >= a;
            assert_int_equal(hy__add_u64(a, b, &out), sum_fits);
            assert_true(out == (sum_fits ? a + b : 12345));
            out = 12345;
            const bool product_fits = a == 0 || a * b / a == b;
            assert_int_equal(hy__mul_u64(a, b, &out), product_fits);
            assert_true(out == (product_fits ? a * b : 12345));
        }
    }
}

static void too_large_blocks_are_refused(void **state)
{
    (void)state;
    const hy_env env = os_env();
    hy_error err = {HY_OK, ""};
    assert_null(hy__alloc(&env, SIZE_MAX / 2, 3, &err));
    assert_fails(err.code, HY_E_NOMEM, &err, NULL);
    assert_null(hy__calloc(&env, SIZE_MAX, SIZE_MAX, &err));
    assert_null(hy__alloc(&env, (size_t)PTRDIFF_MAX + 1, 1, NULL));
    assert_null(hy__calloc_aligned(&env, SIZE_MAX - 10, 1, &err));
    assert_null(hy__calloc_aligned(&env, SIZE_MAX / 4, 5, &err));
    assert_null(hy__strndup(&env, "x", SIZE_MAX, &err));
    char *p = hy__alloc(&env, 4, 2, &err);
    assert_non_null(p);
    memcpy(p, "1234567", 8);
    assert_null(hy__realloc(&env, p, SIZE_MAX, 2, &err));
    assert_string_equal(p, "1234567"); /* the old block is still there */
    hy__free(&env, p);
}

static void blocks_are_zeroed_and_aligned(void **state)
{
    (void)state;
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err = {HY_OK, ""};
    for (size_t n = 0; n < 200; n++) {
        uint8_t *a = hy__calloc_aligned(&f.env, n, 3, &err);
        uint8_t *c = hy__calloc(&f.env, n, 3, &err);
        assert_true(a && c);
        assert_int_equal((uintptr_t)a % 64, 0);
        for (size_t i = 0; i < 3 * n; i++) {
            assert_int_equal(a[i] | c[i], 0);
            a[i] = c[i] = 0xff;
        }
        hy__free_aligned(&f.env, a);
        hy__free(&f.env, c);
    }
    hy__free_aligned(&f.env, NULL);
    hy__free(&f.env, NULL);
    char *copy = hy__strndup(&f.env, "abc", 2, &err);
    assert_string_equal(copy, "ab");
    hy__free(&f.env, copy);
    copy = hy__strndup(&f.env, NULL, 0, &err);
    assert_string_equal(copy, "");
    hy__free(&f.env, copy);
    assert_int_equal(f.live_blocks, 0);
    assert_int_equal(f.live_bytes, 0);
}

static void buffers_grow(void **state)
{
    (void)state;
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err = {HY_OK, ""};
    hy__buf b = {0};
    for (size_t i = 0; i < 10000; i++) {
        const char c = (char)('a' + i % 26);
        assert_ok(hy__buf_append(&f.env, &b, &c, 1, &err), &err);
        assert_int_equal(b.data[b.len], '\0');
    }
    assert_int_equal(b.len, 10000);
    assert_true(f.calls < 50); /* grows by a factor */
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(b.data[i], 'a' + i % 26);
    }
    assert_fails(hy__buf_append(&f.env, &b, "", SIZE_MAX - 5, &err), HY_E_NOMEM, &err, NULL);
    assert_int_equal(b.len, 10000);
    hy__buf_finish(&f.env, &b);
    assert_ok(hy__buf_append(&f.env, &b, NULL, 0, &err), &err);
    assert_string_equal(b.data, "");
    hy__buf_finish(&f.env, &b);
    assert_int_equal(f.live_blocks, 0);
}

static void *own_alloc(void *user, size_t bytes)
{
    (*(int *)user)++;
    return malloc(bytes);
}

static void own_log(void *user, hy_log_level level, const char *text)
{
    snprintf(user, 600, "%d %s", (int)level, text);
}

static void environments_are_completed(void **state)
{
    (void)state;
    int count = 0;
    hy_env own = {.size = sizeof own, .user = &count, .mem_alloc = own_alloc};
    hy_env env;
    hy__env_resolve(&env, &own);
    assert_true(env.mem_alloc == own_alloc && env.user == &count && env.size == sizeof env);
    assert_true(env.mem_free && env.mem_realloc && env.file_open && env.file_read &&
                env.file_write && env.file_close && env.file_map && env.file_unmap &&
                env.file_rename && env.file_remove && env.clock_ns && env.thread_start &&
                env.thread_join);
    assert_null(env.log);
    hy__free(&env, hy__alloc(&env, 1, 1, NULL));
    assert_int_equal(count, 1);
    /* An older, shorter struct: what lies behind its size is not looked at. */
    own.size = offsetof(hy_env, mem_alloc);
    hy__env_resolve(&env, &own);
    assert_true(env.mem_alloc != own_alloc);
    /* Messages are dropped without a log, and cut with one. */
    hy__message(&env, HY_LOG_WARN, "nobody");
    char text[600] = "", longest[900];
    memset(longest, 'y', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    hy_env loud = {.size = sizeof loud, .user = text, .log = own_log};
    hy__env_resolve(&env, &loud);
    hy__message(&env, HY_LOG_WARN, "%d of %d", 1, 2);
    assert_string_equal(text, "2 1 of 2");
    hy__message(&env, HY_LOG_INFO, "%s", longest);
    assert_true(strlen(text) > 400 && strlen(text) < 600);
    /* The clock goes on. */
    const hy_env os = os_env();
    const uint64_t t0 = os.clock_ns(os.user);
    assert_true(os.clock_ns(os.user) >= t0);
    assert_true(hy_cpu_count() >= 1);
}

/* ---- bytes and 16-bit floats */

static void bytes_are_little_endian(void **state)
{
    (void)state;
    static const uint8_t b[9] = {0xff, 0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88};
    assert_int_equal(hy__load_u16(b + 1), 0x8201);
    assert_true(hy__load_u32(b + 1) == 0x84038201u);
    assert_true(hy__load_u64(b + 1) == UINT64_C(0x8807860584038201));
    uint8_t out[9] = {0xff};
    hy__store_u64(out + 1, UINT64_C(0x8807860584038201));
    assert_memory_equal(out, b, sizeof b);
    assert_true(hy__f32_bits(hy__f32_from_bits(0xc0490fdb)) == 0xc0490fdb);
    assert_true(hy__f32_from_bits(0x3f800000) == 1.0f);
}

/* The value of a 16-bit float of this shape, from its definition. */
static double small_float(unsigned h, int exponent_bits, int mantissa_bits)
{
    const unsigned e = h >> mantissa_bits & ((1u << exponent_bits) - 1);
    const unsigned m = h & ((1u << mantissa_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    double v;
    if (e == (1u << exponent_bits) - 1) {
        v = m ? (double)NAN : (double)INFINITY;
    } else if (e == 0) {
        v = ldexp((double)m, 1 - bias - mantissa_bits);
    } else {
        v = ldexp((double)(m | 1u << mantissa_bits), (int)e - bias - mantissa_bits);
    }
    return h & 0x8000 ? -v : v;
}

static void all_16_bit_floats_decode_and_come_back(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        const double half = small_float(h, 5, 10), brain = small_float(h, 8, 7);
        const float f = hy__f16_to_f32((uint16_t)h), b = hy__bf16_to_f32((uint16_t)h);
        if (isnan(half)) {
            assert_true(isnan(f) && isnan(hy__f16_to_f32(hy__f32_to_f16(f))));
        } else {
            assert_true((double)f == half && !signbit(f) == !(h & 0x8000));
            assert_int_equal(hy__f32_to_f16(f), h);
        }
        if (isnan(brain)) {
            assert_true(isnan(b) && isnan(hy__bf16_to_f32(hy__f32_to_bf16(b))));
        } else {
            assert_true((double)b == brain && !signbit(b) == !(h & 0x8000));
            assert_int_equal(hy__f32_to_bf16(b), h);
        }
    }
}

/* Between two neighbours a < b of the 16-bit numbers: what is nearer, the even one in the middle,
 * and beyond the largest finite number infinity.  Doubles hold every midpoint exactly; so do
 * floats, which have more bits than either type. */
static void check_rounding(uint16_t (*encode)(float), int exponent_bits, int mantissa_bits)
{
    const unsigned infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
    for (unsigned h = 0; h < infinity; h++) {
        const double a = small_float(h, exponent_bits, mantissa_bits);
        const double step = h + 1 < infinity ? small_float(h + 1, exponent_bits, mantissa_bits) - a
                                             : a - small_float(h - 1, exponent_bits, mantissa_bits);
        const float middle = (float)(a + step / 2);
        const unsigned even = h & 1 ? h + 1 : h;
        for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
            const float s = sign ? -1.0f : 1.0f;
            assert_int_equal(encode(s * middle), even | sign);
            assert_int_equal(encode(s * nextafterf(middle, 0.0f)), h | sign);
            assert_int_equal(encode(s * nextafterf(middle, INFINITY)), (h + 1) | sign);
        }
    }
    assert_int_equal(encode(FLT_MAX), infinity);
    assert_int_equal(encode(-INFINITY), infinity | 0x8000);
}

static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    check_rounding(hy__f32_to_f16, 5, 10);
    assert_int_equal(hy__f32_to_f16(FLT_MIN), 0);
    assert_int_equal(hy__f32_to_f16(-hy__f32_from_bits(1)), 0x8000);
    /* NaNs whose payload lies in the bits that are cut off stay NaNs. */
    assert_true(isnan(hy__f16_to_f32(hy__f32_to_f16(hy__f32_from_bits(0x7f800001)))));
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    check_rounding(hy__f32_to_bf16, 8, 7);
    assert_true(isnan(hy__bf16_to_f32(hy__f32_to_bf16(hy__f32_from_bits(0xff800001)))));
    assert_true(isnan(hy__bf16_to_f32(hy__f32_to_bf16(hy__f32_from_bits(0x7fffffff)))));
}

/* ---- UTF-8 */

static void every_code_point_comes_back(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char b[4];
        uint32_t back = 0xffffffff;
        const unsigned n = hy__utf8_encode(cp, b);
        assert_int_equal(n, cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4);
        if (cp >= 0xd800 && cp < 0xe000) { /* surrogates are no characters */
            assert_int_equal(hy__utf8_decode(b, n, &back), 0);
            continue;
        }
        assert_int_equal(hy__utf8_decode(b, n, &back), n);
        assert_int_equal(back, cp);
        for (unsigned cut = 1; cut < n; cut++) {
            assert_int_equal(hy__utf8_decode(b, cut, &back), 0);
            assert_int_equal(hy__utf8_tail(b, cut), cut);
        }
        assert_int_equal(hy__utf8_tail(b, n), 0);
    }
}

/* Of all sequences of up to three bytes, and a grid of those of four, exactly the encodings are
 * accepted. */
static void nothing_else_is_utf8(void **state)
{
    (void)state;
    static const uint8_t grid[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                   0xc0, 0xc1, 0xc2, 0xe0, 0xed, 0xf0, 0xf4, 0xf5, 0xff};
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            for (size_t c = 0; c < HY_COUNT(grid); c++) {
                for (size_t d = 0; d < HY_COUNT(grid); d++) {
                    const char s[4] = {(char)a, (char)b, (char)grid[c], (char)grid[d]};
                    uint32_t cp = 0;
                    const unsigned n = hy__utf8_decode(s, 4, &cp);
                    if (n == 0) {
                        continue;
                    }
                    char again[4];
                    assert_true(cp <= 0x10ffff && !(cp >= 0xd800 && cp < 0xe000));
                    assert_int_equal(hy__utf8_encode(cp, again), n);
                    assert_memory_equal(again, s, n);
                }
            }
        }
    }
}

static void tail_holds_back_only_what_can_be_completed(void **state)
{
    (void)state;
    assert_int_equal(hy__utf8_tail("", 0), 0);
    assert_int_equal(hy__utf8_tail("abc\xe2\x82", 5), 2);
    assert_int_equal(hy__utf8_tail("abc\xf0\x9f\x98", 6), 3);
    assert_int_equal(hy__utf8_tail("\xc3", 1), 1);
    assert_int_equal(hy__utf8_tail("\x80", 1), 0); /* no lead */
    assert_int_equal(hy__utf8_tail("\x80\x80\x80\x80", 4), 0);
    assert_int_equal(hy__utf8_tail("\xff", 1), 0);
    assert_int_equal(hy__utf8_tail("\xc0", 1), 0);             /* overlong whatever comes */
    assert_int_equal(hy__utf8_tail("\xe0\x80", 2), 0);         /* overlong */
    assert_int_equal(hy__utf8_tail("\xed\xa0", 2), 0);         /* surrogate */
    assert_int_equal(hy__utf8_tail("\xf4\x90", 2), 0);         /* above U+10FFFF */
    assert_int_equal(hy__utf8_tail("\xf0\x9f\x98\x80", 4), 0); /* complete */
    assert_int_equal(hy__utf8_tail("\xc3\xa4\xc3", 3), 1);
}

/* ---- hashing */

static void crc64_is_the_known_one(void **state)
{
    (void)state;
    assert_true(hy__crc64(0, "123456789", 9) == UINT64_C(0x995DC9BBDF1939FA));
    assert_true(hy__crc64(0, "", 0) == 0);
    uint8_t data[1000];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)next_random(&seed);
    }
    const uint64_t whole = hy__crc64(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data;
         cut++) { /* pieces of every length, short and long way */
        assert_true(hy__crc64(hy__crc64(0, data, cut), data + cut, sizeof data - cut) == whole);
    }
    for (size_t bit = 0; bit < 8 * sizeof data; bit += 37) { /* every flipped bit shows */
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(hy__crc64(0, data, sizeof data) != whole);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void hash_depends_on_key_length_and_bytes(void **state)
{
    (void)state;
    static const char zeros[64] = {0};
    for (size_t n = 0; n < 64; n++) {
        for (size_t m = 0; m < n; m++) {
            assert_true(hy__hash(1, zeros, n) != hy__hash(1, zeros, m));
        }
        assert_true(hy__hash(1, zeros, n) != hy__hash(2, zeros, n));
        char one[64] = {0};
        for (size_t i = 0; i < n; i++) {
            one[i] = 1;
            assert_true(hy__hash(1, one, n) != hy__hash(1, zeros, n));
            one[i] = 0;
        }
    }
}

static void strmap_finds_what_was_put(void **state)
{
    (void)state;
    enum { N = 20000 };
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err = {HY_OK, ""};
    hy__strmap m = {0};
    uint32_t value = 99;
    assert_false(hy__strmap_get(&m, "a", 1, &value)); /* never initialised */
    assert_ok(hy__strmap_init(&f.env, &m, N, &err), &err);
    assert_false(hy__strmap_get(&m, "a", 1, &value));
    char(*names)[12] = calloc(N, sizeof *names);
    assert_non_null(names);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof *names, "%u", i);
        assert_true(hy__strmap_put(&m, names[i], strlen(names[i]), i * 3));
    }
    for (uint32_t i = 0; i < N; i++) {
        assert_true(hy__strmap_get(&m, names[i], strlen(names[i]), &value));
        assert_int_equal(value, i * 3);
        assert_false(hy__strmap_put(&m, names[i], strlen(names[i]), 1));
    }
    value = 99;
    assert_false(hy__strmap_get(&m, "20000", 5, &value));
    assert_false(hy__strmap_get(&m, "", 0, &value));
    assert_int_equal(value, 99);
    assert_int_equal(m.n, N);
    free(names);
    hy__strmap_finish(&f.env, &m);
    assert_int_equal(f.live_blocks, 0);
}

static void strmap_takes_many_keys_at_once(void **state)
{
    (void)state;
    enum { N = 1000, MISSING = 77777 };
    static char texts[2 * N][8];
    static hy_str keys[2 * N];
    static uint32_t values[2 * N], found[2 * N];
    const hy_env env = os_env();
    hy_error err;
    hy__strmap m = {0};
    for (size_t i = 0; i < 2 * N; i++) {
        keys[i] = (hy_str){texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "k%zu", i)};
        values[i] = (uint32_t)(3 * i);
    }
    assert_int_equal(hy__strmap_put_all(&m, keys, values, 1), 0); /* no room */
    hy__strmap_get_all(&m, keys, 2, MISSING, found);
    assert_true(found[0] == MISSING && found[1] == MISSING);
    assert_ok(hy__strmap_init(&env, &m, N, &err), &err);
    assert_int_equal(hy__strmap_put_all(&m, keys, values, 0), 0);
    assert_int_equal(hy__strmap_put_all(&m, keys, values, N), N);
    for (size_t n = 0; n < 2 * N; n += 37) { /* of any number */
        memset(found, 0xAA, sizeof found);
        hy__strmap_get_all(&m, keys, n, MISSING, found);
        for (size_t i = 0; i < 2 * N; i++) {
            assert_int_equal(found[i], i >= n ? 0xAAAAAAAA : i < N ? 3 * i : MISSING);
        }
    }
    /* What is there already ends it; what came before is in. */
    const hy_str more[] = {keys[N], keys[N + 1], keys[5], keys[N + 2]};
    assert_int_equal(hy__strmap_put_all(&m, more, values, 4), 2);
    uint32_t value;
    assert_true(hy__strmap_get(&m, texts[N + 1], keys[N + 1].len, &value) && value == 3);
    assert_true(hy__strmap_get(&m, texts[5], keys[5].len, &value) && value == 15);
    assert_false(hy__strmap_get(&m, texts[N + 2], keys[N + 2].len, &value));
    hy__strmap_finish(&env, &m);
}

static void strmap_keys_are_bytes(void **state)
{
    (void)state;
    const hy_env env = os_env();
    hy_error err = {HY_OK, ""};
    hy__strmap m;
    uint32_t value = 0;
    assert_ok(hy__strmap_init(&env, &m, 4, &err), &err);
    assert_true(hy__strmap_put(&m, "a\0b", 3, 1));
    assert_true(hy__strmap_put(&m, "a\0c", 3, 2));
    assert_true(hy__strmap_put(&m, "a", 1, 3));
    assert_true(hy__strmap_put(&m, NULL, 0, 4));
    assert_false(hy__strmap_put(&m, "", 0, 5));
    assert_true(hy__strmap_get(&m, "a\0c", 3, &value) && value == 2);
    assert_true(hy__strmap_get(&m, "", 0, &value) && value == 4);
    hy__strmap_finish(&env, &m);
    /* Full: it says so, and a search for what is missing still ends. */
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    assert_ok(hy__strmap_init(&env, &m, 0, &err), &err);
    size_t put = 0;
    while (put < 26 && hy__strmap_put(&m, letters + put, 1, 0)) {
        put++;
    }
    assert_in_range(put, 1, 25);
    assert_false(hy__strmap_get(&m, letters + put, 1, &value));
    hy__strmap_finish(&env, &m);
    assert_fails(hy__strmap_init(&env, &m, SIZE_MAX / 2, &err), HY_E_LIMIT, &err, NULL);
    hy__strmap_finish(&env, &m);
}

/* ---- files */

/* A whole file, at most `limit` bytes, by the environment's calls. */
static hy_status read_whole(const hy_env *env, const char *path, uint64_t limit, void **data,
                            size_t *n, hy_error *err)
{
    void *file = NULL;
    uint64_t bytes = 0;
    *data = NULL;
    *n = 0;
    HY_TRY(env->file_open(env->user, path, HY_FILE_READ, &file, &bytes, err));
    hy_status status = HY_OK;
    char *buf = NULL;
    if (bytes > limit || bytes >= SIZE_MAX) {
        status = hy__fail(err, HY_E_LIMIT, "%s: %llu bytes, the limit is %llu", path,
                          (unsigned long long)bytes, (unsigned long long)limit);
    } else {
        buf = hy__alloc(env, (size_t)bytes, 1, err);
        status = buf ? HY_OK : HY_E_NOMEM;
    }
    if (status == HY_OK && bytes > 0) {
        status = env->file_read(env->user, file, 0, buf, (size_t)bytes, err);
        status = status == HY_OK ? HY_OK : hy__wrap(err, status, "%s", path);
    }
    (void)env->file_close(env->user, file, NULL); /* opened for reading: nothing can be lost */
    if (status != HY_OK) {
        hy__free(env, buf);
        return status;
    }
    *data = buf;
    *n = (size_t)bytes;
    return HY_OK;
}

static void files_appear_when_complete(void **state)
{
    (void)state;
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err = {HY_OK, ""};
    const char *path = temp_path("out.bin"), *part = temp_path("out.bin.part");
    hy__out_file out;
    assert_ok(hy__out_open(&out, &f.env, path, &err), &err);
    assert_ok(hy__out_write(&out, "hello ", 6, &err), &err);
    assert_ok(hy__out_write(&out, NULL, 0, &err), &err);
    assert_ok(hy__out_write(&out, "world", 5, &err), &err);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(part, F_OK), 0);
    assert_ok(hy__out_commit(&out, &err), &err);
    hy__out_abandon(&out); /* nothing after a commit */
    assert_int_equal(access(part, F_OK), -1);

    void *data = NULL;
    size_t n = 0;
    assert_ok(read_whole(&f.env, path, 11, &data, &n, &err), &err);
    assert_int_equal(n, 11);
    assert_memory_equal(data, "hello world", 11);
    hy__free(&f.env, data);
    assert_fails(read_whole(&f.env, path, 10, &data, &n, &err), HY_E_LIMIT, &err, "11 bytes");
    assert_true(data == NULL && n == 0);

    /* A second file of that name that is given up leaves the first. */
    assert_ok(hy__out_open(&out, &f.env, path, &err), &err);
    assert_ok(hy__out_write(&out, "x", 1, &err), &err);
    hy__out_abandon(&out);
    hy__out_abandon(&out);
    assert_int_equal(access(part, F_OK), -1);
    char *old = read_file(path, &n);
    assert_string_equal(old, "hello world");
    free(old);
    assert_int_equal(f.live_blocks, 0);
}

static void file_errors_name_the_file(void **state)
{
    (void)state;
    const hy_env env = os_env();
    hy_error err = {HY_OK, ""};
    void *data = NULL;
    size_t n = 0;
    hy__out_file out;
    assert_fails(read_whole(&env, temp_path("absent"), 100, &data, &n, &err), HY_E_IO, &err,
                 "absent");
    assert_fails(read_whole(&env, source_path("tests"), 100, &data, &n, &err), HY_E_IO, &err,
                 "tests");
    assert_fails(hy__out_open(&out, &env, temp_path("no/such/folder"), &err), HY_E_IO, &err,
                 "no/such/folder");
    hy__out_abandon(&out);
    /* A pipe is refused without waiting for somebody to write into it. */
    const char *pipe_path = temp_path("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_fails(read_whole(&env, pipe_path, 100, &data, &n, &err), HY_E_IO, &err, "pipe");
    /* Renaming onto a folder fails, and the unfinished file is gone. */
    const char *folder = temp_path("folder");
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_ok(hy__out_open(&out, &env, folder, &err), &err);
    assert_fails(hy__out_commit(&out, &err), HY_E_IO, &err, "folder");
    assert_int_equal(access(temp_path("folder.part"), F_OK), -1);
    /* A pipe, or a device, is not replaced by a file. */
    assert_ok(hy__out_open(&out, &env, pipe_path, &err), &err);
    assert_fails(hy__out_commit(&out, &err), HY_E_IO, &err, "not a regular file");
    struct stat kept;
    assert_int_equal(stat(pipe_path, &kept), 0);
    assert_true(S_ISFIFO(kept.st_mode));
    assert_int_equal(access(temp_path("pipe.part"), F_OK), -1);
    /* What the system says of an open file does not name it. */
    failing_env f;
    for (uint64_t at = 4; at <= 5; at++) { /* two names, open, then: write, close */
        failing_env_init(&f, at);
        assert_ok(hy__out_open(&out, &f.env, temp_path("full"), &err), &err);
        hy_status status = hy__out_write(&out, "x", 1, &err);
        status = status == HY_OK ? hy__out_commit(&out, &err) : status;
        hy__out_abandon(&out);
        assert_int_equal(f.failed, 1);
        assert_fails(status, HY_E_IO, &err, "full.part: ");
        assert_int_equal(access(temp_path("full.part"), F_OK), -1);
        assert_int_equal(f.live_blocks, 0);
    }
    write_file(temp_path("empty"), "", 0);
    assert_ok(read_whole(&env, temp_path("empty"), 0, &data, &n, &err), &err);
    assert_true(data != NULL && n == 0);
    hy__free(&env, data);
}

static void reading_past_the_end_says_so(void **state)
{
    (void)state;
    const hy_env env = os_env();
    hy_error err = {HY_OK, ""};
    write_file(temp_path("ten"), "0123456789", 10);
    void *file = NULL;
    uint64_t bytes = 0;
    char buf[16];
    assert_ok(env.file_open(env.user, temp_path("ten"), HY_FILE_READ, &file, &bytes, &err), &err);
    assert_int_equal(bytes, 10);
    assert_ok(env.file_read(env.user, file, 7, buf, 3, &err), &err);
    assert_memory_equal(buf, "789", 3);
    assert_fails(env.file_read(env.user, file, 7, buf, 4, &err), HY_E_TRUNCATED, &err, "offset 10");
    const void *view = NULL;
    assert_ok(env.file_map(env.user, file, bytes, &view, &err), &err);
    assert_ok(env.file_close(env.user, file, &err), &err);
    assert_memory_equal(view, "0123456789", 10); /* also after close */
    env.file_unmap(env.user, view, bytes);
}

/* Some file systems map nothing; then the library reads such files. */
static void files_that_cannot_be_mapped_are_told_apart(void **state)
{
    (void)state;
    static const char path[] = "/sys/kernel/uevent_seqnum";
    const hy_env env = os_env();
    hy_error err = {HY_OK, ""};
    void *file = NULL;
    uint64_t bytes = 0;
    const void *view = NULL;
    if (access(path, R_OK) != 0) {
        skip();
    }
    assert_ok(env.file_open(env.user, path, HY_FILE_READ, &file, &bytes, &err), &err);
    assert_fails(env.file_map(env.user, file, bytes, &view, &err), HY_E_UNSUPPORTED, &err, "map");
    assert_ok(env.file_close(env.user, file, &err), &err);
}

/* ---- mathematics */

static double relative(double got, double want)
{
    return want == 0 ? fabs(got) : fabs(got - want) / fabs(want);
}

/* Two doubles are farther apart than this bound; the C library's own error, below 2^-52, is allowed
 * for. */
#define BOUND (0x1p-50 + 0x1p-52)

static void exponentials_are_exact_enough(void **state)
{
    (void)state;
    uint64_t seed = 7;
    double worst_exp = 0, worst_log = 0, worst_tanh = 0, worst_sigmoid = 0;
    for (int i = 0; i < 400000; i++) {
        const double scale = i % 4 == 0 ? 700.0 : i % 4 == 1 ? 20.0 : i % 4 == 2 ? 1.0 : 1e-3;
        const double x = random_between(&seed, -scale, scale);
        worst_exp = fmax(worst_exp, relative(hy__exp(x), exp(x)));
        worst_tanh = fmax(worst_tanh, relative(hy__tanh(x), tanh(x)));
        const double sigmoid = x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
        worst_sigmoid = fmax(worst_sigmoid, relative(hy__sigmoid(x), sigmoid));
        const double y =
            i & 1 ? exp(x) : 1.0 + random_between(&seed, -0.5, 1.0) * ldexp(1.0, -(i % 40));
        worst_log = fmax(worst_log, relative(hy__log(y), log(y)));
    }
    print_message(
        "relative errors in units of 2^-53: exp %.2f, log %.2f, tanh %.2f, sigmoid %.2f\n",
        worst_exp * 0x1p53, worst_log * 0x1p53, worst_tanh * 0x1p53, worst_sigmoid * 0x1p53);
    assert_true(worst_exp < BOUND);
    assert_true(worst_log < BOUND);
    assert_true(worst_tanh < BOUND);
    assert_true(worst_sigmoid < 2 * BOUND); /* the reference has two roundings more */
}

static void exponentials_at_the_edges(void **state)
{
    (void)state;
    assert_true(hy__exp(0.0) == 1.0 && hy__exp(-0.0) == 1.0);
    assert_true(isinf(hy__exp(709.8)) && hy__exp(709.78) < HUGE_VAL && isinf(hy__exp(HUGE_VAL)));
    assert_true(hy__exp(-HUGE_VAL) == 0.0 && hy__exp(-746.0) == 0.0);
    assert_true(isnan(hy__exp((double)NAN)) && isnan(hy__log((double)NAN)));
    for (double x = -745.0; x < -708.0;
         x += 0.37) { /* subnormal results: within their last place */
        assert_true(fabs(hy__exp(x) - exp(x)) <= 0x1p-1074);
    }
    assert_true(hy__log(1.0) == 0.0 && isinf(hy__log(HUGE_VAL)));
    assert_true(relative(hy__log(DBL_MIN), log(DBL_MIN)) < BOUND);
    assert_true(relative(hy__log(0x1p-1074), log(0x1p-1074)) < BOUND);
    assert_true(relative(hy__log(DBL_MAX), log(DBL_MAX)) < BOUND);
    assert_true(hy__tanh(0.0) == 0.0 && hy__tanh(30.0) == 1.0 && hy__tanh(-HUGE_VAL) == -1.0);
    assert_true(hy__sigmoid(0.0) == 0.5 && hy__sigmoid(-HUGE_VAL) == 0.0 &&
                hy__sigmoid(HUGE_VAL) == 1.0);
    assert_true(isnan(hy__tanh((double)NAN)) && isnan(hy__sigmoid((double)NAN)));
}

static void powers_are_exact_enough(void **state)
{
    (void)state;
    /* The bound holds for the frequencies of rotary embeddings; the error of a logarithm grows with
     * the exponent. */
    uint64_t seed = 11;
    for (int i = 0; i < 200000; i++) {
        const double x = exp(random_between(&seed, -14.0, 14.0));
        const double y = random_between(&seed, -3.0, 3.0);
        assert_true(relative(hy__pow(x, y), pow(x, y)) < BOUND * fmax(1.0, fabs(y * log(x))));
    }
    assert_true(hy__pow(10000.0, 0.0) == 1.0);
    assert_true(hy__pow(1.0, 123.456) == 1.0);
}

static void sine_and_cosine_are_exact_enough(void **state)
{
    (void)state;
    uint64_t seed = 13;
    double worst = 0;
    for (int i = 0; i < 400000; i++) {
        const double scale = i % 3 == 0 ? 2147483647.0 : i % 3 == 1 ? 131072.0 : 4.0;
        const double x = random_between(&seed, -scale, scale);
        double s = 2, c = 2;
        hy__sincos(x, &s, &c);
        worst = fmax(worst, fmax(fabs(s - sin(x)), fabs(c - cos(x))));
    }
    print_message("absolute error of sine and cosine: %.3g\n", worst);
    assert_true(worst < 1e-12);
    double s, c;
    hy__sincos(0.0, &s, &c);
    assert_true(s == 0.0 && c == 1.0);
    for (int k = -1000; k <= 1000; k++) { /* near every quadrant's border */
        const double x = k * 0.78539816339744830962;
        hy__sincos(x, &s, &c);
        assert_true(fabs(s - sin(x)) < 1e-12 && fabs(c - cos(x)) < 1e-12);
    }
}

/* ---- the failing environment itself, and base under it */

static void everything_of_base(failing_env *f, hy_status *status, hy_error *err)
{
    hy__strmap m = {0};
    hy__buf b = {0};
    hy__pool *p = NULL;
    hy__out_file out = {0};
    void *data = NULL;
    size_t n = 0;
    const char *path = temp_path("walk.bin");
    *status = hy__strmap_init(&f->env, &m, 100, err);
    if (*status == HY_OK) {
        *status = hy__buf_append(&f->env, &b, "text", 4, err);
    }
    if (*status == HY_OK) {
        *status = hy__pool_create(&f->env, 3, &p, err);
    }
    if (*status == HY_OK) {
        *status = hy__out_open(&out, &f->env, path, err);
        if (*status == HY_OK) {
            *status = hy__out_write(&out, b.data, b.len, err);
            if (*status == HY_OK) {
                *status = hy__out_commit(&out, err);
            }
            hy__out_abandon(&out);
        }
    }
    if (*status == HY_OK) {
        *status = read_whole(&f->env, path, 100, &data, &n, err);
    }
    hy__free(&f->env, data);
    hy__pool_destroy(p);
    hy__buf_finish(&f->env, &b);
    hy__strmap_finish(&f->env, &m);
}

static void every_failure_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    hy_error err = {HY_OK, ""};
    hy_status status = HY_OK;
    failing_env f;
    failing_env_init(&f, 0);
    everything_of_base(&f, &status, &err);
    assert_ok(status, &err);
    assert_true(f.failed == 0 && f.calls > 12 && f.peak_bytes > 100 && f.live_bytes == 0);
    const uint64_t calls = f.calls;
    uint64_t tolerated = 0;
    for (uint64_t at = 1; at <= calls; at++) {
        failing_env_init(&f, at);
        err = (hy_error){HY_OK, ""};
        everything_of_base(&f, &status, &err);
        assert_int_equal(f.failed, 1);
        assert_int_equal(f.live_blocks, 0);
        assert_int_equal(f.live_bytes, 0);
        assert_int_equal(access(temp_path("walk.bin.part"), F_OK), -1);
        if (status == HY_OK) {
            tolerated++; /* closing a file that was only read */
        } else {
            assert_true(status == err.code && err.text[0] != '\0');
            assert_true(status == HY_E_NOMEM || status == HY_E_IO || status == HY_E_THREAD);
        }
    }
    assert_int_equal(tolerated, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_and_a_text),
        cmocka_unit_test(fail_writes_code_and_sentence),
        cmocka_unit_test(long_sentences_are_cut),
        cmocka_unit_test(wrap_puts_a_prefix),
        cmocka_unit_test(printable_is_clean_and_cut),
        cmocka_unit_test(arithmetic_reports_overflow),
        cmocka_unit_test(too_large_blocks_are_refused),
        cmocka_unit_test(blocks_are_zeroed_and_aligned),
        cmocka_unit_test(buffers_grow),
        cmocka_unit_test(environments_are_completed),
        cmocka_unit_test(bytes_are_little_endian),
        cmocka_unit_test(all_16_bit_floats_decode_and_come_back),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(every_code_point_comes_back),
        cmocka_unit_test(nothing_else_is_utf8),
        cmocka_unit_test(tail_holds_back_only_what_can_be_completed),
        cmocka_unit_test(crc64_is_the_known_one),
        cmocka_unit_test(hash_depends_on_key_length_and_bytes),
        cmocka_unit_test(strmap_finds_what_was_put),
        cmocka_unit_test(strmap_takes_many_keys_at_once),
        cmocka_unit_test(strmap_keys_are_bytes),
        cmocka_unit_test(files_appear_when_complete),
        cmocka_unit_test(file_errors_name_the_file),
        cmocka_unit_test(reading_past_the_end_says_so),
        cmocka_unit_test(files_that_cannot_be_mapped_are_told_apart),
        cmocka_unit_test(exponentials_are_exact_enough),
        cmocka_unit_test(exponentials_at_the_edges),
        cmocka_unit_test(powers_are_exact_enough),
        cmocka_unit_test(sine_and_cosine_are_exact_enough),
        cmocka_unit_test(every_failure_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
