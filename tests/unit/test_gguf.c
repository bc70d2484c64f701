/* test_gguf.c: what a reader hands out: values of every type, getters, tensors, memory bounds,
 * failures of the system. */
#include "support/support.h"

#include <math.h>

#include "base/base.h"
#include "gguf/gguf.h"
#include "gguf_script.h"

/* Opens the script's bytes; the caller closes g and frees b->data. */
static hy_gguf *open_script(const char *script, gguf_bytes *b)
{
    *b = gguf_script(script);
    hy_error err;
    hy_gguf *g = NULL;
    assert_ok(hy_gguf_open_memory(b->data, b->len, NULL, &g, &err), &err);
    assert_non_null(g);
    return g;
}

static size_t key_of(const hy_gguf *g, const char *name)
{
    const ptrdiff_t key = hy_gguf_find_key(g, name);
    assert_true(key >= 0);
    const hy_str found = hy_gguf_key_name(g, (size_t)key);
    assert_int_equal(found.len, strlen(name));
    assert_memory_equal(found.data, name, found.len);
    return (size_t)key;
}

static void assert_str(hy_str s, const char *want)
{
    assert_int_equal(s.len, strlen(want));
    if (s.len > 0) {
        assert_memory_equal(s.data, want, s.len);
    }
}

static void scalars(void **state)
{
    (void)state;
    gguf_bytes b;
    hy_gguf *g = open_script(gguf_good("every_scalar"), &b);
    assert_int_equal(hy_gguf_version(g), 3);
    assert_int_equal(hy_gguf_alignment(g), 32);
    assert_int_equal(hy_gguf_n_files(g), 1);
    assert_int_equal(hy_gguf_n_keys(g), 12);
    assert_int_equal(hy_gguf_find_key(g, "absent"), -1);

    static const struct {
        const char *name;
        hy_gguf_type type;
        int64_t value;
    } ints[] = {
        {"u8", HY_GGUF_UINT8, 200},          {"i8", HY_GGUF_INT8, -2},
        {"u16", HY_GGUF_UINT16, 60000},      {"i16", HY_GGUF_INT16, -300},
        {"u32", HY_GGUF_UINT32, 4000000000}, {"i32", HY_GGUF_INT32, -70000},
        {"bool", HY_GGUF_BOOL, 1},           {"i64", HY_GGUF_INT64, -5000000000},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        const size_t key = key_of(g, ints[i].name);
        assert_int_equal(hy_gguf_key_type(g, key), ints[i].type);
        assert_int_equal(hy_gguf_elem_type(g, key), ints[i].type);
        assert_int_equal(hy_gguf_elem_count(g, key), 1);
        int64_t v = 0;
        uint64_t u = 0;
        double d = 0;
        assert_true(hy_gguf_elem_int(g, key, 0, &v));
        assert_true(v == ints[i].value);
        assert_int_equal(hy_gguf_elem_uint(g, key, 0, &u), ints[i].value >= 0);
        assert_true(ints[i].value < 0 || u == (uint64_t)ints[i].value);
        assert_int_equal(hy_gguf_elem_float(g, key, 0, &d), ints[i].type != HY_GGUF_BOOL);
        assert_true(ints[i].type == HY_GGUF_BOOL || d == (double)ints[i].value);
        assert_false(hy_gguf_elem_int(g, key, 1, &v));
        assert_false(hy_gguf_elem_float(g, key, 1, &d));
        hy_str s;
        assert_false(hy_gguf_elem_str(g, key, 0, &s));
    }

    const size_t u64 = key_of(g, "u64");
    int64_t v;
    uint64_t u = 0;
    double d = 0;
    hy_str s = {NULL, 0};
    assert_false(hy_gguf_elem_int(g, u64, 0, &v)); /* over INT64_MAX */
    assert_true(hy_gguf_elem_uint(g, u64, 0, &u));
    assert_true(u == UINT64_MAX);
    assert_true(hy_gguf_elem_float(g, u64, 0, &d));
    assert_true(d == 18446744073709551616.0);
    assert_true(hy_gguf_elem_float(g, key_of(g, "f32"), 0, &d));
    assert_true(d == 1.5);
    assert_true(hy_gguf_elem_float(g, key_of(g, "f64"), 0, &d));
    assert_true(d == 0.1);
    assert_false(hy_gguf_elem_int(g, key_of(g, "f64"), 0, &v));
    assert_false(hy_gguf_elem_uint(g, key_of(g, "f64"), 0, &u));
    assert_true(hy_gguf_elem_str(g, key_of(g, "str"), 0, &s));
    assert_str(s, "text");
    assert_false(hy_gguf_elem_float(g, key_of(g, "str"), 0, &d));
    /* The first key is 'u8': header 24, length 8, name 2, type 4. */
    assert_int_equal(hy_gguf_key_offset(g, 0), 38);
    hy_gguf_close(g);
    free(b.data);
}

static void arrays(void **state)
{
    (void)state;
    gguf_bytes b;
    hy_gguf *g = open_script(gguf_good("every_array"), &b);
    assert_int_equal(hy_gguf_n_keys(g), 13);
    size_t key = key_of(g, "str");
    assert_int_equal(hy_gguf_key_type(g, key), HY_GGUF_ARRAY);
    assert_int_equal(hy_gguf_elem_type(g, key), HY_GGUF_STRING);
    assert_int_equal(hy_gguf_elem_count(g, key), 3);
    static const char *const want[] = {"a", "", "ccc"};
    hy_str s;
    for (size_t i = 3; i-- > 0;) { /* in any order */
        assert_true(hy_gguf_elem_str(g, key, i, &s));
        assert_str(s, want[i]);
    }
    assert_false(hy_gguf_elem_str(g, key, 3, &s));
    assert_true(hy_gguf_elem_str(g, key_of(g, "str2"), 1, &s));
    assert_str(s, "e");
    int64_t v = 0;
    uint64_t u = 0;
    double d = 0;
    key = key_of(g, "i8");
    assert_int_equal(hy_gguf_elem_count(g, key), 2);
    assert_true(hy_gguf_elem_int(g, key, 1, &v));
    assert_int_equal(v, -1);
    assert_false(hy_gguf_elem_int(g, key, 2, &v));
    assert_false(hy_gguf_elem_int(g, key, SIZE_MAX, &v));
    assert_true(hy_gguf_elem_uint(g, key_of(g, "u32"), 1, &u));
    assert_true(u == UINT32_MAX);
    assert_true(hy_gguf_elem_int(g, key_of(g, "i16"), 0, &v));
    assert_int_equal(v, -1);
    assert_true(hy_gguf_elem_int(g, key_of(g, "i64"), 0, &v));
    assert_int_equal(v, -1);
    assert_true(hy_gguf_elem_uint(g, key_of(g, "bool"), 1, &u));
    assert_int_equal(u, 0);
    assert_true(hy_gguf_elem_float(g, key_of(g, "f32"), 1, &d));
    assert_true(d == -2);
    assert_true(hy_gguf_elem_float(g, key_of(g, "f64"), 0, &d));
    assert_true(d == 1e300);
    hy_gguf_close(g);
    free(b.data);

    g = open_script(gguf_good("empty_arrays"), &b);
    assert_int_equal(hy_gguf_elem_count(g, 0), 0);
    assert_false(hy_gguf_elem_str(g, 0, 0, &s));
    assert_false(hy_gguf_elem_uint(g, 1, 0, &u));
    hy_gguf_close(g);
    free(b.data);
}

/* Scalars by name, with the sentence for each wrong one. */
static void getters(void **state)
{
    (void)state;
    gguf_bytes b;
    hy_gguf *g = open_script(gguf_good("every_scalar"), &b);
    hy_error err;
    memset(&err, 0, sizeof err);
    uint32_t u = 1;
    float f = 1;
    bool yes = true;
    hy_str s = {"x", 1};
    /* Absent: the error is left alone. */
    assert_int_equal(hy_gguf_get_u32(g, "no", 0, 9, &u, &err), HY_E_NOT_FOUND);
    assert_int_equal(hy_gguf_get_f32(g, "no", &f, &err), HY_E_NOT_FOUND);
    assert_int_equal(hy_gguf_get_bool(g, "no", &yes, &err), HY_E_NOT_FOUND);
    assert_int_equal(hy_gguf_get_str(g, "no", &s, &err), HY_E_NOT_FOUND);
    assert_string_equal(err.text, "");
    assert_true(u == 0 && f == 0 && !yes && s.len == 0 && !s.data);

    assert_ok(hy_gguf_get_u32(g, "u8", 200, 200, &u, &err), &err);
    assert_int_equal(u, 200);
    assert_ok(hy_gguf_get_u32(g, "u32", 0, UINT32_MAX, &u, &err), &err);
    assert_true(u == 4000000000u);
    assert_ok(hy_gguf_get_f32(g, "f32", &f, &err), &err);
    assert_true(f == 1.5f);
    assert_ok(hy_gguf_get_f32(g, "f64", &f, &err), &err);
    assert_true(f == 0.1f);
    assert_ok(hy_gguf_get_bool(g, "bool", &yes, &err), &err);
    assert_true(yes);
    assert_ok(hy_gguf_get_str(g, "str", &s, &err), &err);
    assert_str(s, "text");

    assert_fails(hy_gguf_get_u32(g, "u8", 0, 199, &u, &err), HY_E_FORMAT, &err,
                 "key 'u8' at offset 38: 200 is outside of 0..199");
    assert_fails(hy_gguf_get_u32(g, "u8", 201, 300, &u, &err), HY_E_FORMAT, &err,
                 "200 is outside of 201..300");
    assert_fails(hy_gguf_get_u32(g, "u64", 0, UINT32_MAX, &u, &err), HY_E_FORMAT, &err,
                 "18446744073709551615 is outside");
    assert_fails(hy_gguf_get_u32(g, "i8", 0, 9, &u, &err), HY_E_FORMAT, &err,
                 "-2 is outside of 0..9");
    assert_fails(hy_gguf_get_u32(g, "f32", 0, 9, &u, &err), HY_E_FORMAT, &err,
                 "the value is FLOAT32, wanted is an integer");
    assert_fails(hy_gguf_get_u32(g, "bool", 0, 9, &u, &err), HY_E_FORMAT, &err,
                 "the value is BOOL");
    assert_fails(hy_gguf_get_f32(g, "i8", &f, &err), HY_E_FORMAT, &err,
                 "the value is INT8, wanted is FLOAT32");
    assert_fails(hy_gguf_get_bool(g, "u8", &yes, &err), HY_E_FORMAT, &err,
                 "the value is UINT8, wanted is BOOL");
    assert_fails(hy_gguf_get_str(g, "u8", &s, &err), HY_E_FORMAT, &err,
                 "the value is UINT8, wanted is STRING");
    hy_gguf_close(g);
    free(b.data);

    g = open_script(gguf_good("every_array"), &b);
    assert_fails(hy_gguf_get_u32(g, "u32", 0, 9, &u, &err), HY_E_FORMAT, &err,
                 "the value is an array of UINT32, wanted is an integer");
    assert_fails(hy_gguf_get_f32(g, "f32", &f, &err), HY_E_FORMAT, &err, "an array of FLOAT32");
    assert_fails(hy_gguf_get_bool(g, "bool", &yes, &err), HY_E_FORMAT, &err, "an array of BOOL");
    assert_fails(hy_gguf_get_str(g, "str", &s, &err), HY_E_FORMAT, &err, "an array of STRING");
    hy_gguf_close(g);
    free(b.data);

    g = open_script("h:0,3 s:big u32:12 f64:1e39 s:small u32:12 f64:-1e39 s:inf u32:12 f64:inf",
                    &b);
    assert_fails(hy_gguf_get_f32(g, "big", &f, &err), HY_E_FORMAT, &err,
                 "1e+39 is outside of the range");
    assert_fails(hy_gguf_get_f32(g, "small", &f, &err), HY_E_FORMAT, &err,
                 "-1e+39 is outside of the range");
    assert_ok(hy_gguf_get_f32(g, "inf", &f, &err), &err);
    assert_true(isinf(f));
    hy_gguf_close(g);
    free(b.data);
}

static void tensors(void **state)
{
    (void)state;
    gguf_bytes b;
    hy_gguf *g = open_script(gguf_good("quantized"), &b);
    assert_int_equal(hy_gguf_n_tensors(g), 3);
    const hy_gguf_tensor *t = hy_gguf_tensor_at(g, 1);
    assert_non_null(t);
    assert_ptr_equal(t, hy_gguf_find_tensor(g, "b"));
    assert_null(hy_gguf_find_tensor(g, "d"));
    assert_null(hy_gguf_tensor_at(g, 3));
    assert_string_equal(t->name, "b");
    assert_int_equal(t->type, HY_TYPE_Q4_K);
    assert_int_equal(t->n_dims, 1);
    assert_int_equal(t->ne[0], 256);
    assert_int_equal(t->ne[3], 1);
    assert_int_equal(t->n_elems, 256);
    assert_int_equal(t->bytes, 144);
    assert_int_equal(t->file_index, 0);
    /* 24 + 41 + 33 + 33 bytes of records, up to 32 */
    assert_int_equal(t->file_offset, 160 + 96);
    assert_ptr_equal(t->data, b.data + t->file_offset);
    assert_int_equal(hy_gguf_tensor_at(g, 0)->bytes, 72);
    assert_int_equal(hy_gguf_tensor_at(g, 2)->bytes, 17);
    hy_gguf_close(g);
    free(b.data);

    g = open_script(gguf_good("alignment_1024"), &b);
    assert_int_equal(hy_gguf_alignment(g), 1024);
    assert_int_equal(hy_gguf_find_tensor(g, "b")->file_offset, 2048);
    hy_gguf_close(g);
    free(b.data);
    g = open_script(gguf_good("version_2"), &b);
    assert_int_equal(hy_gguf_version(g), 2);
    hy_gguf_close(g);
    free(b.data);
    hy_gguf_close(NULL);
}

/* ---- bounds: no file of 1 MiB takes over 8 MiB or 100 ms */

#define MIB (1u << 20)

/* A name of two or three bytes without NUL, different for each i. */
static size_t short_name(size_t i, char out[3])
{
    const size_t base = 255;
    if (i < base * base) {
        out[0] = (char)(1 + i % base);
        out[1] = (char)(1 + i / base);
        return 2;
    }
    i -= base * base;
    out[0] = (char)(1 + i % base);
    out[1] = (char)(1 + i / base % base);
    out[2] = 1;
    return 3;
}

/* 1 MiB: keys of one byte, then string arrays of empty strings, then tensors of one byte, then
 * tail. */
static gguf_bytes crowd(size_t n_keys, size_t n_arrays, size_t strings_each, size_t n_tensors)
{
    gguf_bytes b = {0};
    char name[3];
    gguf_put(&b, "GGUF", 4);
    gguf_num(&b, 3, 4);
    gguf_num(&b, n_tensors, 8);
    gguf_num(&b, n_keys + n_arrays + 1, 8);
    gguf_string(&b, "general.alignment", 17);
    gguf_num(&b, HY_GGUF_UINT32, 4);
    gguf_num(&b, 8, 4);
    for (size_t i = 0; i < n_keys + n_arrays; i++) {
        gguf_string(&b, name, short_name(i, name));
        if (i < n_keys) {
            gguf_num(&b, HY_GGUF_UINT8, 4);
            gguf_num(&b, 1, 1);
        } else {
            gguf_num(&b, HY_GGUF_ARRAY, 4);
            gguf_num(&b, HY_GGUF_STRING, 4);
            gguf_num(&b, strings_each, 8);
            gguf_fill(&b, 0, strings_each * 8);
        }
    }
    for (size_t i = 0; i < n_tensors; i++) {
        gguf_string(&b, name, short_name(i, name));
        gguf_num(&b, 0, 4);
        gguf_num(&b, HY_TYPE_I8, 4);
        gguf_num(&b, i * 8, 8);
    }
    gguf_fill(&b, 0, (8 - b.len % 8) % 8 + n_tensors * 8);
    assert_true(b.len <= MIB);
    gguf_fill(&b, 0, MIB - b.len);
    return b;
}

static uint64_t now_ns(void)
{
    hy_env os;
    hy__env_resolve(&os, NULL);
    return os.clock_ns(os.user);
}

static void check_bound(const char *what, const gguf_bytes *b, bool opens)
{
    const char *path = temp_path("crowd.gguf");
    write_file(path, b->data, b->len);
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err;
    memset(&err, 0, sizeof err);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 3; i++) { /* the fastest of three: other processes run here too */
        const hy_gguf_opts opts = {sizeof opts, true}; /* the copy of the file counts */
        hy_gguf *g = NULL;
        const uint64_t start = now_ns();
        const hy_status status = hy_gguf_open(path, &opts, &f.env, &g, &err);
        const uint64_t took = now_ns() - start;
        best = took < best ? took : best;
        if (opens) {
            assert_ok(status, &err);
        } else {
            assert_int_not_equal(status, HY_OK);
        }
        hy_gguf_close(g);
    }
    print_message("%s: peak %zu KiB, %.2f ms\n", what, f.peak_bytes >> 10, (double)best / 1e6);
    assert_true(f.peak_bytes <= 8 * (size_t)MIB);
#ifndef GGUF_SANITIZED
    assert_true(best <= 100 * UINT64_C(1000000));
#endif
    assert_int_equal(f.live_blocks, 0);
}

static void small_files_stay_cheap(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t keys, arrays, strings, tensors;
        bool opens;
    } crowds[] = {
        {"most keys", 65535, 0, 0, 0, true},
        {"most tensors", 0, 0, 0, 30000, true},
        {"keys and tensors", 43690, 0, 0, 11000, true},
        {"as many as double both tables", 43691, 0, 0, 10924, true},
        {"keys, tensors at the next step", 21846, 0, 0, 21000, true},
        {"one array of strings", 0, 1, 131000, 0, true},
        {"two arrays of strings", 0, 2, 65000, 0, true},
        {"arrays of one string", 0, 30800, 1, 0, true},
        {"arrays of no string", 0, 40000, 0, 0, true},
        {"strings and tensors", 0, 1, 60000, 15000, true},
    };
    for (size_t i = 0; i < sizeof crowds / sizeof *crowds; i++) {
        gguf_bytes b =
            crowd(crowds[i].keys, crowds[i].arrays, crowds[i].strings, crowds[i].tensors);
        check_bound(crowds[i].what, &b, crowds[i].opens);
        free(b.data);
    }
    /* Counts as high as the length lets through, over records that are not there. */
    gguf_bytes b = gguf_script("h:41942,0");
    gguf_fill(&b, 0, MIB - b.len);
    check_bound("counted tensors only", &b, false);
    free(b.data);
    b = gguf_script("h:5000,65536");
    gguf_fill(&b, 0, MIB - b.len);
    check_bound("counted keys only", &b, false);
    free(b.data);
    /* Records without data for them: 31774 is the most that the check of the alignment lets
     * through. */
    b = gguf_script("h:31774,1 s:general.alignment u32:4 u32:8");
    char name[3];
    for (size_t i = 0; i < 31774; i++) {
        gguf_string(&b, name, short_name(i, name));
        gguf_num(&b, 0, 4);
        gguf_num(&b, HY_TYPE_I8, 4);
        gguf_num(&b, i * 8, 8);
    }
    gguf_fill(&b, 0, MIB - b.len);
    check_bound("tensors without data", &b, false);
    free(b.data);
}

/* ---- mappings */

static void only_what_the_system_mapped_is_mapped(void **state)
{
    (void)state;
    gguf_bytes b = gguf_script("h:1,0 t:v,0,0,8 a:32 z:32");
    const char *path = temp_path("mapped.gguf");
    write_file(path, b.data, b.len);
    hy_gguf *g;
    hy_error err;
    hy_gguf_opts opts = {sizeof opts, false};
    assert_ok(hy_gguf_open(path, &opts, NULL, &g, &err), &err);
    assert_true(hy__gguf_is_mapped(g));
    hy_gguf_close(g);
    opts.no_mmap = true;
    assert_ok(hy_gguf_open(path, &opts, NULL, &g, &err), &err);
    assert_false(hy__gguf_is_mapped(g));
    hy_gguf_close(g);
    assert_ok(hy_gguf_open_memory(b.data, b.len, NULL, &g, &err), &err);
    assert_false(hy__gguf_is_mapped(g));
    hy_gguf_close(g);
    failing_env f;
    failing_env_init(&f, 0);
    opts.no_mmap = false;
    assert_ok(hy_gguf_open(path, &opts, &f.env, &g, &err), &err);
    assert_false(hy__gguf_is_mapped(g)); /* an environment may map what it likes */
    hy_gguf_close(g);
    free(b.data);
}

/* ---- the system fails */

static void every_call_may_fail(void **state)
{
    (void)state;
    gguf_bytes b =
        gguf_script("h:2,3 s:a u32:9 u32:8 u64:2 s:x s:y s:b u32:4 u32:1 s:c u32:9 u32:8 u64:1 s:z "
                    "t:v,0,0,8 t:w,0,32,8 a:32 z:64");
    const char *path = temp_path("whole.gguf");
    write_file(path, b.data, b.len);
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        const hy_gguf_opts opts = {sizeof opts, no_mmap != 0};
        uint64_t n = 0;
        for (;; n++) {
            failing_env f;
            failing_env_init(&f, n + 1);
            hy_error err;
            memset(&err, 0, sizeof err);
            hy_gguf *g = NULL;
            const hy_status status = hy_gguf_open(path, &opts, &f.env, &g, &err);
            if (f.failed == 0) { /* there are no more calls */
                assert_ok(status, &err);
                hy_gguf_close(g);
                assert_int_equal(f.live_blocks, 0);
                break;
            }
            if (status == HY_OK) { /* closing a file that was only read may fail */
                hy_gguf_close(g);
            } else {
                assert_null(g);
                assert_true(err.text[0] != '\0');
                assert_true(status == HY_E_NOMEM || status == HY_E_IO);
                if (status == HY_E_IO && !strstr(err.text, "open")) { /* of an open file */
                    assert_non_null(strstr(err.text, path));
                }
            }
            assert_int_equal(f.live_blocks, 0);
        }
        assert_true(n >= 8);
    }
    for (uint64_t n = 0;; n++) {
        failing_env f;
        failing_env_init(&f, n + 1);
        hy_error err;
        hy_gguf *g = NULL;
        const hy_status status = hy_gguf_open_memory(b.data, b.len, &f.env, &g, &err);
        hy_gguf_close(g);
        assert_int_equal(f.live_blocks, 0);
        if (f.failed == 0) {
            assert_ok(status, &err);
            break;
        }
        assert_int_equal(status, HY_E_NOMEM);
    }
    free(b.data);
}

static hy_status no_map(void *user, void *file, uint64_t file_bytes, const void **data,
                        hy_error *err)
{
    (void)user;
    (void)file;
    (void)file_bytes;
    (void)data;
    return hy__fail(err, HY_E_UNSUPPORTED, "no mapping here");
}

static void read_where_mapping_is_unsupported(void **state)
{
    (void)state;
    gguf_bytes b = gguf_script(gguf_good("one_tensor"));
    const char *path = temp_path("plain.gguf");
    write_file(path, b.data, b.len);
    hy_env env;
    memset(&env, 0, sizeof env);
    env.size = sizeof env;
    env.file_map = no_map;
    hy_error err;
    hy_gguf *g = NULL;
    assert_ok(hy_gguf_open(path, NULL, &env, &g, &err), &err);
    assert_int_equal(hy_gguf_file_bytes(g), b.len);
    assert_memory_equal(hy_gguf_find_tensor(g, "w")->data, b.data + 64, 32);
    hy_gguf_close(g);
    free(b.data);
    assert_int_not_equal(hy_gguf_open(temp_path("absent.gguf"), NULL, NULL, &g, &err), HY_OK);
    assert_null(g);
    assert_non_null(strstr(err.text, "absent.gguf"));
    /* Only regular files have a size that stays. */
    assert_fails(hy_gguf_open(source_path("models"), NULL, NULL, &g, &err), HY_E_IO, &err,
                 "not a regular file");
    assert_fails(hy_gguf_open("/dev/zero", NULL, NULL, &g, &err), HY_E_IO, &err,
                 "/dev/zero is not a regular file");
}

/* The model that the repository carries. */
static void embedded_model(void **state)
{
    (void)state;
    hy_error err;
    hy_gguf *g = NULL;
    assert_ok(
        hy_gguf_open(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), NULL, NULL, &g, &err),
        &err);
    hy_str arch;
    assert_ok(hy_gguf_get_str(g, "general.architecture", &arch, &err), &err);
    assert_str(arch, "rwkv7");
    const hy_gguf_tensor *t = hy_gguf_find_tensor(g, "token_embd.weight");
    assert_non_null(t);
    const size_t tokens = key_of(g, "tokenizer.ggml.tokens");
    assert_int_equal(hy_gguf_elem_type(g, tokens), HY_GGUF_STRING);
    assert_true(hy_gguf_elem_count(g, tokens) <= t->ne[1]);
    const hy_gguf_tensor *last = hy_gguf_tensor_at(g, hy_gguf_n_tensors(g) - 1);
    assert_true(last->file_offset + last->bytes <= hy_gguf_file_bytes(g));
    hy_gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(arrays),
        cmocka_unit_test(getters),
        cmocka_unit_test(tensors),
        cmocka_unit_test(small_files_stay_cheap),
        cmocka_unit_test(only_what_the_system_mapped_is_mapped),
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(read_where_mapping_is_unsupported),
        cmocka_unit_test(embedded_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
