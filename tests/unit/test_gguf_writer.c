/* test_gguf_writer.c: what is written is read back equal, what would not open is refused, failures
 * leave nothing behind. */
#include "support/support.h"

#include "base/base.h"
#include "gguf_script.h"

static hy_gguf_writer *new_writer(void)
{
    hy_error err;
    hy_gguf_writer *w = NULL;
    assert_ok(hy_gguf_writer_create(NULL, &w, &err), &err);
    return w;
}

static bool exists(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f) {
        fclose(f);
    }
    return f != NULL;
}

static const char *part_of(const char *path)
{
    static char part[600];
    snprintf(part, sizeof part, "%s.part", path);
    return part;
}

static hy_gguf *reopen(const char *path)
{
    hy_error err;
    hy_gguf *g = NULL;
    assert_ok(hy_gguf_open(path, NULL, NULL, &g, &err), &err);
    return g;
}

static hy_str str(const char *s)
{
    return (hy_str){s, strlen(s)};
}

static void assert_equal_str(hy_str a, hy_str b)
{
    assert_int_equal(a.len, b.len);
    if (a.len > 0) {
        assert_memory_equal(a.data, b.data, a.len);
    }
}

/* The keys are the same, whatever their order. */
static void assert_equal_keys(const hy_gguf *a, const hy_gguf *b)
{
    assert_int_equal(hy_gguf_n_keys(a), hy_gguf_n_keys(b));
    for (size_t i = 0; i < hy_gguf_n_keys(a); i++) {
        char name[256];
        const hy_str given = hy_gguf_key_name(a, i);
        assert_true(given.len < sizeof name);
        memcpy(name, given.data, given.len);
        name[given.len] = '\0';
        const ptrdiff_t found = hy_gguf_find_key(b, name);
        assert_true(found >= 0);
        const size_t k = (size_t)found;
        assert_int_equal(hy_gguf_key_type(a, i), hy_gguf_key_type(b, k));
        assert_int_equal(hy_gguf_elem_type(a, i), hy_gguf_elem_type(b, k));
        assert_int_equal(hy_gguf_elem_count(a, i), hy_gguf_elem_count(b, k));
        for (size_t e = 0; e < hy_gguf_elem_count(a, i); e++) {
            hy_str s;
            hy_str t;
            int64_t v = 0;
            int64_t u = 0;
            double d = 0;
            double f = 0;
            assert_int_equal(hy_gguf_elem_str(a, i, e, &s), hy_gguf_elem_str(b, k, e, &t));
            if (hy_gguf_elem_str(a, i, e, &s)) {
                assert_equal_str(s, t);
            }
            assert_int_equal(hy_gguf_elem_int(a, i, e, &v), hy_gguf_elem_int(b, k, e, &u));
            assert_true(v == u);
            assert_int_equal(hy_gguf_elem_float(a, i, e, &d), hy_gguf_elem_float(b, k, e, &f));
            assert_memory_equal(&d, &f, sizeof d);
        }
    }
}

static void assert_equal_tensors(const hy_gguf *a, const hy_gguf *b)
{
    assert_int_equal(hy_gguf_n_tensors(a), hy_gguf_n_tensors(b));
    for (size_t i = 0; i < hy_gguf_n_tensors(a); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(a, i);
        const hy_gguf_tensor *u = hy_gguf_tensor_at(b, i);
        assert_string_equal(t->name, u->name);
        assert_int_equal(t->type, u->type);
        assert_int_equal(t->n_dims, u->n_dims);
        assert_memory_equal(t->ne, u->ne, sizeof t->ne);
        assert_int_equal(t->bytes, u->bytes);
        assert_int_equal(memcmp(t->data, u->data, (size_t)t->bytes), 0);
    }
}

/* Copies everything to `path`, data in pieces of `piece` bytes. */
static hy_status copy_to(const hy_env *env, const hy_gguf *from, const char *path, size_t piece,
                         hy_error *err)
{
    hy_gguf_writer *w = NULL;
    hy_status status = hy_gguf_writer_create(env, &w, err);
    for (size_t i = 0; status == HY_OK && i < hy_gguf_n_keys(from); i++) {
        status = hy_gguf_writer_copy_key(w, from, i, err);
    }
    for (size_t i = 0; status == HY_OK && i < hy_gguf_n_tensors(from); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(from, i);
        status = hy_gguf_writer_add_tensor(w, t->name, t->type, t->n_dims, t->ne, err);
    }
    if (status == HY_OK) {
        status = hy_gguf_writer_begin(w, path, err);
    }
    for (size_t i = 0; status == HY_OK && i < hy_gguf_n_tensors(from); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(from, i);
        for (size_t at = 0; status == HY_OK && at < t->bytes; at += piece) {
            const size_t left = (size_t)t->bytes - at;
            status = hy_gguf_writer_data(w, (const char *)t->data + at, left < piece ? left : piece,
                                         err);
        }
    }
    if (status == HY_OK) {
        status = hy_gguf_writer_finish(w, err);
    }
    hy_gguf_writer_destroy(w);
    return status;
}

static void values_come_back(void **state)
{
    (void)state;
    const char *path = temp_path("values.gguf");
    hy_error err;
    hy_gguf_writer *w = new_writer();
    assert_ok(hy_gguf_writer_set_u32(w, "u", 5, &err), &err);
    assert_ok(hy_gguf_writer_set_f32(w, "f", -0.25f, &err), &err);
    assert_ok(hy_gguf_writer_set_bool(w, "b", true, &err), &err);
    assert_ok(hy_gguf_writer_set_str(w, "s", str("text"), &err), &err);
    assert_ok(hy_gguf_writer_set_str(w, "general.architecture", str("test"), &err), &err);
    assert_ok(hy_gguf_writer_set_str(w, "empty", (hy_str){NULL, 0}, &err), &err);
    assert_ok(hy_gguf_writer_set_str(w, "nul", (hy_str){"a\0b", 3}, &err), &err);
    /* Replaced, also by another type. */
    assert_ok(hy_gguf_writer_set_u32(w, "u", 6, &err), &err);
    assert_ok(hy_gguf_writer_set_u32(w, "f", 7, &err), &err);
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    assert_true(exists(part_of(path)));
    assert_false(exists(path));
    assert_ok(hy_gguf_writer_finish(w, &err), &err);
    assert_false(exists(part_of(path)));
    hy_gguf_writer_destroy(w);

    hy_gguf *g = reopen(path);
    assert_int_equal(hy_gguf_version(g), 3);
    assert_int_equal(hy_gguf_n_keys(g), 7);
    assert_equal_str(hy_gguf_key_name(g, 0), str("general.architecture"));
    uint32_t u = 0;
    bool b = false;
    hy_str s;
    assert_ok(hy_gguf_get_u32(g, "u", 6, 6, &u, &err), &err);
    assert_ok(hy_gguf_get_u32(g, "f", 7, 7, &u, &err), &err);
    assert_ok(hy_gguf_get_bool(g, "b", &b, &err), &err);
    assert_true(b);
    assert_ok(hy_gguf_get_str(g, "s", &s, &err), &err);
    assert_equal_str(s, str("text"));
    assert_ok(hy_gguf_get_str(g, "empty", &s, &err), &err);
    assert_int_equal(s.len, 0);
    assert_ok(hy_gguf_get_str(g, "nul", &s, &err), &err);
    assert_equal_str(s, (hy_str){"a\0b", 3});
    hy_gguf_close(g);
}

static void arrays_come_back(void **state)
{
    (void)state;
    static const uint8_t u8[] = {1, 255};
    static const int8_t i8[] = {-1, 127};
    static const uint16_t u16[] = {1, 65535};
    static const int16_t i16[] = {-2, 300};
    static const uint32_t u32[] = {1, UINT32_MAX};
    static const int32_t i32[] = {-70000, 1};
    static const float f32[] = {0.5f, -3};
    static const bool flags[] = {true, false};
    static const uint64_t u64[] = {1, UINT64_MAX};
    static const int64_t i64[] = {INT64_MIN, 1};
    static const double f64[] = {1e300, -0.0};
    const hy_str strs[] = {str("one"), {NULL, 0}};
    static const char expected[] =
        "h:0,13 s:u8 u32:9 u32:0 u64:2 u8:1 u8:255 s:i8 u32:9 u32:1 u64:2 u8:-1 u8:127 "
        "s:u16 u32:9 u32:2 u64:2 u16:1 u16:65535 s:i16 u32:9 u32:3 u64:2 u16:-2 u16:300 "
        "s:u32 u32:9 u32:4 u64:2 u32:1 u32:-1 s:i32 u32:9 u32:5 u64:2 u32:-70000 u32:1 "
        "s:f32 u32:9 u32:6 u64:2 f32:0.5 f32:-3 s:bool u32:9 u32:7 u64:2 u8:1 u8:0 "
        "s:u64 u32:9 u32:10 u64:2 u64:1 u64:-1 s:i64 u32:9 u32:11 u64:2 u64:0x8000000000000000 "
        "u64:1 "
        "s:f64 u32:9 u32:12 u64:2 f64:1e300 f64:-0.0 s:str u32:9 u32:8 u64:2 s:one s: s:none u32:9 "
        "u32:8 u64:0";
    const struct {
        const char *name;
        hy_gguf_type type;
        const void *values;
    } arrays[] = {
        {"u8", HY_GGUF_UINT8, u8},     {"i8", HY_GGUF_INT8, i8},      {"u16", HY_GGUF_UINT16, u16},
        {"i16", HY_GGUF_INT16, i16},   {"u32", HY_GGUF_UINT32, u32},  {"i32", HY_GGUF_INT32, i32},
        {"f32", HY_GGUF_FLOAT32, f32}, {"bool", HY_GGUF_BOOL, flags}, {"u64", HY_GGUF_UINT64, u64},
        {"i64", HY_GGUF_INT64, i64},   {"f64", HY_GGUF_FLOAT64, f64}, {"str", HY_GGUF_STRING, strs},
    };
    const char *path = temp_path("arrays.gguf");
    hy_error err;
    hy_gguf_writer *w = new_writer();
    for (size_t i = 0; i < HY_COUNT(arrays); i++) {
        assert_ok(
            hy_gguf_writer_set_array(w, arrays[i].name, arrays[i].type, arrays[i].values, 2, &err),
            &err);
    }
    assert_ok(hy_gguf_writer_set_array(w, "none", HY_GGUF_STRING, NULL, 0, &err), &err);
    assert_fails(hy_gguf_writer_set_array(w, "x", HY_GGUF_ARRAY, u8, 2, &err), HY_E_ARG, &err,
                 "key 'x': there are no arrays of type 9");
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    assert_ok(hy_gguf_writer_finish(w, &err), &err);
    hy_gguf_writer_destroy(w);
    size_t len;
    char *written = read_file(path, &len);
    gguf_bytes want = gguf_script(expected);
    assert_int_equal(len, want.len);
    assert_memory_equal(written, want.data, len);
    free(want.data);
    free(written);
}

/* Every good file is equal after it was copied. */
static void copies_are_equal(void **state)
{
    (void)state;
    static const char *const names[] = {"no_keys_no_tensors",  "version_2",     "every_scalar",
                                        "every_array",         "empty_arrays",  "one_tensor",
                                        "tensor_without_tail", "scalar_tensor", "alignment_8",
                                        "alignment_1024"};
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        gguf_bytes b = gguf_script(gguf_good(names[i]));
        hy_error err;
        hy_gguf *from = NULL;
        assert_ok(hy_gguf_open_memory(b.data, b.len, NULL, &from, &err), &err);
        const char *path = temp_path("copy.gguf");
        assert_ok(copy_to(NULL, from, path, 5, &err), &err);
        hy_gguf *to = reopen(path);
        assert_equal_keys(from, to);
        assert_equal_tensors(from, to);
        assert_int_equal(hy_gguf_alignment(from), hy_gguf_alignment(to));
        assert_int_equal(
            hy_gguf_file_bytes(to) % (hy_gguf_n_tensors(to) > 0 ? hy_gguf_alignment(to) : 1), 0);
        hy_gguf_close(to);
        hy_gguf_close(from);
        free(b.data);
    }
}

static void embedded_model_copies(void **state)
{
    (void)state;
    hy_error err;
    hy_gguf *from = reopen(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"));
    const char *path = temp_path("model.gguf");
    assert_ok(copy_to(NULL, from, path, 100000, &err), &err);
    hy_gguf *to = reopen(path);
    assert_equal_keys(from, to);
    assert_equal_tensors(from, to);
    hy_gguf_close(to);
    hy_gguf_close(from);
}

/* split.* keys describe the source's files: they are left behind, or the copy could not be opened.
 */
static void split_keys_are_left_out(void **state)
{
    (void)state;
    gguf_bytes b =
        gguf_script("h:0,4 s:split.a u32:4 u32:1 s:split.no u32:2 u16:0 s:split.count u32:2 u16:1 "
                    "s:split.tensors.count u32:5 u32:0");
    hy_error err;
    hy_gguf *from = NULL;
    assert_ok(hy_gguf_open_memory(b.data, b.len, NULL, &from, &err), &err);
    const char *path = temp_path("whole.gguf");
    assert_ok(copy_to(NULL, from, path, 1, &err), &err);
    hy_gguf *to = reopen(path);
    assert_int_equal(hy_gguf_n_keys(to), 1);
    hy_gguf_close(to);
    hy_gguf_writer *w = new_writer();
    assert_fails(hy_gguf_writer_set_u32(w, "split.count", 2, &err), HY_E_ARG, &err,
                 "key 'split.count': split files are not written");
    assert_fails(hy_gguf_writer_copy_key(w, from, 4, &err), HY_E_ARG, &err, "no key number 4");
    hy_gguf_writer_destroy(w);
    hy_gguf_close(from);
    free(b.data);
}

static void layout(void **state)
{
    (void)state;
    const char *path = temp_path("layout.gguf");
    hy_error err;
    hy_gguf_writer *w = new_writer();
    const uint64_t ne[] = {3, 1, 2};
    assert_ok(hy_gguf_writer_add_tensor(w, "a", HY_TYPE_I8, 3, ne, &err), &err);
    assert_ok(hy_gguf_writer_set_u32(w, "general.alignment", 8, &err), &err);
    assert_ok(hy_gguf_writer_set_u32(w, "general.alignment", 64, &err), &err); /* the last counts */
    const uint64_t row = 32;
    assert_ok(hy_gguf_writer_add_tensor(w, "b", HY_TYPE_Q8_0, 1, &row, &err), &err);
    assert_ok(hy_gguf_writer_add_tensor(w, "c", HY_TYPE_F32, 0, NULL, &err), &err);
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    char data[44];
    memset(data, 7, sizeof data);
    assert_ok(hy_gguf_writer_data(w, data, 0, &err), &err);
    assert_ok(hy_gguf_writer_data(w, data, 5, &err), &err);
    assert_fails(hy_gguf_writer_finish(w, &err), HY_E_ARG, &err, "tensor 'a' lacks 1 bytes");
    assert_ok(hy_gguf_writer_data(w, data, 39, &err), &err); /* across all three */
    assert_ok(hy_gguf_writer_finish(w, &err), &err);
    hy_gguf_writer_destroy(w);
    size_t len;
    char *written = read_file(path, &len);
    gguf_bytes want = gguf_script(
        "h:3,2 s:general.alignment u32:4 u32:64 s:general.quantization_version u32:4 u32:2 "
        "t:a,24,0,3,1,2 t:b,8,64,32 t:c,0,128 a:64");
    gguf_fill(&want, 7, 6);
    gguf_fill(&want, 0, 58);
    gguf_fill(&want, 7, 34);
    gguf_fill(&want, 0, 30);
    gguf_fill(&want, 7, 4);
    gguf_fill(&want, 0, 60);
    assert_int_equal(len, want.len);
    assert_memory_equal(written, want.data, len);
    free(want.data);
    free(written);
}

static void what_would_not_open_is_refused(void **state)
{
    (void)state;
    hy_error err;
    hy_gguf_writer *w = new_writer();
    const uint64_t ok[] = {8, 1, 1, 1, 1};
    char name[65];
    memset(name, 'x', 64);
    name[64] = '\0';
    assert_fails(hy_gguf_writer_add_tensor(w, name, HY_TYPE_F32, 1, ok, &err), HY_E_ARG, &err,
                 "its name has 64 bytes, allowed are 1 to 63");
    assert_fails(hy_gguf_writer_add_tensor(w, "", HY_TYPE_F32, 1, ok, &err), HY_E_ARG, &err,
                 "its name has 0 bytes");
    assert_ok(hy_gguf_writer_add_tensor(w, name + 1, HY_TYPE_F32, 1, ok, &err), &err);
    assert_fails(hy_gguf_writer_add_tensor(w, name + 1, HY_TYPE_F32, 1, ok, &err), HY_E_ARG, &err,
                 "was added before, as number 0");
    assert_fails(hy_gguf_writer_add_tensor(w, "w", HY_TYPE_F32, 5, ok, &err), HY_E_ARG, &err,
                 "tensor 'w': 5 dimensions");
    assert_fails(hy_gguf_writer_add_tensor(w, "w", (hy_type)4, 1, ok, &err), HY_E_UNSUPPORTED, &err,
                 "tensor 'w': tensor type 4");
    assert_fails(hy_gguf_writer_add_tensor(w, "w", HY_TYPE_Q4_0, 1, ok, &err), HY_E_FORMAT, &err,
                 "tensor 'w': rows of 8 elements");
    const uint64_t zero[] = {0};
    assert_fails(hy_gguf_writer_add_tensor(w, "w", HY_TYPE_F32, 1, zero, &err), HY_E_FORMAT, &err,
                 "tensor 'w': dimension 0 is 0");

    assert_fails(hy_gguf_writer_set_u32(w, "", 1, &err), HY_E_ARG, &err, "name of a key is empty");
    char *key = malloc(65537);
    assert_non_null(key);
    memset(key, 'k', 65536);
    key[65536] = '\0';
    assert_fails(hy_gguf_writer_set_u32(w, key, 1, &err), HY_E_LIMIT, &err,
                 "its name has 65536 bytes");
    assert_ok(hy_gguf_writer_set_u32(w, key + 1, 1, &err), &err);
    free(key);
    assert_fails(hy_gguf_writer_set_u32(w, "general.alignment", 24, &err), HY_E_ARG, &err,
                 "power of two");
    assert_fails(hy_gguf_writer_set_u32(w, "general.alignment", 1u << 21, &err), HY_E_ARG, &err,
                 "power of two");
    assert_fails(hy_gguf_writer_set_bool(w, "general.alignment", true, &err), HY_E_ARG, &err,
                 "must be a UINT32");
    assert_fails(hy_gguf_writer_set_array(w, "general.alignment", HY_GGUF_UINT32, ok, 1, &err),
                 HY_E_ARG, &err, "must be a UINT32");
    /* The lengths alone are refused: nothing behind them is touched. */
    assert_fails(hy_gguf_writer_set_str(w, "s", (hy_str){"", (64u << 20) + 1}, &err), HY_E_LIMIT,
                 &err, "key 's': a string of 67108865 bytes");
    const hy_str long_string = {"", (64u << 20) + 1};
    assert_fails(hy_gguf_writer_set_array(w, "s", HY_GGUF_STRING, &long_string, 1, &err),
                 HY_E_LIMIT, &err, "key 's': a string of 67108865 bytes");
    assert_fails(hy_gguf_writer_set_array(w, "s", HY_GGUF_STRING, NULL, (1u << 24) + 1, &err),
                 HY_E_LIMIT, &err, "key 's': 16777217 elements");
    assert_fails(hy_gguf_writer_set_array(w, "s", HY_GGUF_UINT8, NULL, (1u << 28) + 1, &err),
                 HY_E_LIMIT, &err, "key 's': 268435457 elements");
    hy_gguf_writer_destroy(w);
    hy_gguf_writer_destroy(NULL);

    w = new_writer();
    const uint64_t half[] = {UINT64_C(1) << 40, UINT64_C(1) << 22};
    if (sizeof(size_t) == 8) {
        assert_ok(hy_gguf_writer_add_tensor(w, "v", HY_TYPE_I16, 2, half, &err), &err);
        assert_ok(hy_gguf_writer_add_tensor(w, "w", HY_TYPE_I16, 2, half, &err), &err);
        assert_fails(hy_gguf_writer_begin(w, temp_path("huge.gguf"), &err), HY_E_LIMIT, &err,
                     "tensor 'w': the sizes of the tensors up to here");
    }
    hy_gguf_writer_destroy(w);
}

static void limits_of_counts(void **state)
{
    (void)state;
    hy_error err;
    hy_gguf_writer *w = new_writer();
    char name[16];
    const uint64_t one = 1;
    for (unsigned i = 0; i < 65536; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_ok(hy_gguf_writer_set_bool(w, name, true, &err), &err);
        assert_ok(hy_gguf_writer_add_tensor(w, name, HY_TYPE_I8, 1, &one, &err), &err);
    }
    assert_ok(hy_gguf_writer_set_bool(w, "7", false, &err), &err);
    assert_fails(hy_gguf_writer_set_bool(w, "more", true, &err), HY_E_LIMIT, &err,
                 "key 'more': there are 65536 keys");
    assert_fails(hy_gguf_writer_add_tensor(w, "more", HY_TYPE_I8, 1, &one, &err), HY_E_LIMIT, &err,
                 "tensor 'more': there are 65536 tensors");
    hy_gguf_writer_destroy(w);

    /* 2^24 strings in all arrays together; replacing an array gives its share back. */
    w = new_writer();
    hy_str *strings = calloc((1u << 24) - 1, sizeof *strings);
    assert_non_null(strings);
    assert_ok(hy_gguf_writer_set_array(w, "a", HY_GGUF_STRING, strings, (1u << 24) - 1, &err),
              &err);
    assert_ok(hy_gguf_writer_set_array(w, "b", HY_GGUF_STRING, strings, 1, &err), &err);
    assert_fails(hy_gguf_writer_set_array(w, "c", HY_GGUF_STRING, strings, 1, &err), HY_E_LIMIT,
                 &err, "key 'c': all arrays together would have over 16777216 strings");
    assert_ok(hy_gguf_writer_set_array(w, "a", HY_GGUF_STRING, strings, 1, &err), &err);
    assert_ok(hy_gguf_writer_set_array(w, "c", HY_GGUF_STRING, strings, 1, &err), &err);
    free(strings);
    hy_gguf_writer_destroy(w);
}

static void order_of_calls(void **state)
{
    (void)state;
    const char *path = temp_path("order.gguf");
    hy_error err;
    hy_gguf_writer *w = new_writer();
    const uint64_t ne = 4;
    assert_fails(hy_gguf_writer_data(w, "x", 1, &err), HY_E_ARG, &err, "before writing has begun");
    assert_fails(hy_gguf_writer_finish(w, &err), HY_E_ARG, &err, "before writing has begun");
    assert_ok(hy_gguf_writer_add_tensor(w, "t", HY_TYPE_I8, 1, &ne, &err), &err);
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    assert_fails(hy_gguf_writer_begin(w, path, &err), HY_E_ARG, &err, "writing has begun");
    assert_fails(hy_gguf_writer_set_u32(w, "k", 1, &err), HY_E_ARG, &err, "'k' cannot be declared");
    assert_fails(hy_gguf_writer_set_array(w, "k", HY_GGUF_UINT8, "", 1, &err), HY_E_ARG, &err,
                 "'k' cannot be");
    assert_fails(hy_gguf_writer_add_tensor(w, "u", HY_TYPE_I8, 1, &ne, &err), HY_E_ARG, &err,
                 "'u' cannot be");
    assert_fails(hy_gguf_writer_data(w, "abcdef", 6, &err), HY_E_ARG, &err,
                 "2 bytes of data more than");
    assert_fails(hy_gguf_writer_data(w, "a", 1, &err), HY_E_ARG, &err, "after an error");
    assert_false(exists(part_of(path)));
    hy_gguf_writer_destroy(w);

    w = new_writer();
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    assert_ok(hy_gguf_writer_finish(w, &err), &err);
    assert_fails(hy_gguf_writer_finish(w, &err), HY_E_ARG, &err, "after the end");
    hy_gguf_writer_destroy(w);

    w = new_writer();
    assert_int_not_equal(hy_gguf_writer_begin(w, temp_path("no-such-folder/x.gguf"), &err), HY_OK);
    assert_non_null(strstr(err.text, "no-such-folder"));
    hy_gguf_writer_destroy(w);

    /* An unfinished file goes away with its writer; what had the name before stays. */
    w = new_writer();
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    assert_true(exists(part_of(path)));
    hy_gguf_writer_destroy(w);
    assert_false(exists(part_of(path)));
    hy_gguf_close(reopen(path));
}

static void every_call_may_fail(void **state)
{
    (void)state;
    /* 40 keys and tensors, so that the tables grow, and 80 KiB of data, so that pieces are written
     * at once. */
    gguf_bytes b =
        gguf_script("h:40,42 s:general.architecture u32:8 s:x s:k u32:9 u32:8 u64:1 s:y");
    for (unsigned i = 0; i < 40; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        gguf_string(&b, name, strlen(name));
        gguf_num(&b, HY_GGUF_UINT32, 4);
        gguf_num(&b, i, 4);
    }
    for (unsigned i = 0; i < 40; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        gguf_string(&b, name, strlen(name));
        gguf_num(&b, 1, 4);
        gguf_num(&b, i == 0 ? 81920 : 3, 8);
        gguf_num(&b, HY_TYPE_I8, 4);
        gguf_num(&b, i == 0 ? 0 : 81920 + (i - 1) * 32, 8);
    }
    gguf_fill(&b, 0, (32 - b.len % 32) % 32 + 81920 + 39 * 32);
    hy_error err;
    hy_gguf *from = NULL;
    assert_ok(hy_gguf_open_memory(b.data, b.len, NULL, &from, &err), &err);
    const char *path = temp_path("faulty.gguf");
    for (uint64_t n = 0;; n++) {
        failing_env f;
        failing_env_init(&f, n + 1);
        remove(path);
        const hy_status status = copy_to(&f.env, from, path, 100000, &err);
        assert_int_equal(f.live_blocks, 0);
        assert_false(exists(part_of(path)));
        if (f.failed == 0) {
            assert_ok(status, &err);
            assert_true(n > 100);
            break;
        }
        assert_true(status == HY_E_NOMEM || status == HY_E_IO);
        assert_false(exists(path));
    }
    hy_gguf *to = reopen(path);
    assert_equal_keys(from, to);
    assert_equal_tensors(from, to);
    hy_gguf_close(to);
    hy_gguf_close(from);
    free(b.data);
    /* Setting by hand fails cleanly too. */
    static const uint32_t numbers[] = {1, 2, 3};
    for (uint64_t n = 0;; n++) {
        failing_env f;
        failing_env_init(&f, n + 1);
        hy_gguf_writer *w = NULL;
        hy_status status = hy_gguf_writer_create(&f.env, &w, &err);
        status = status == HY_OK ? hy_gguf_writer_set_str(w, "s", str("text"), &err) : status;
        status = status == HY_OK
                     ? hy_gguf_writer_set_array(w, "a", HY_GGUF_UINT32, numbers, 3, &err)
                     : status;
        status = status == HY_OK ? hy_gguf_writer_add_tensor(w, "t", HY_TYPE_F32, 0, NULL, &err)
                                 : status;
        hy_gguf_writer_destroy(w);
        assert_int_equal(f.live_blocks, 0);
        if (f.failed == 0) {
            assert_ok(status, &err);
            break;
        }
        assert_int_equal(status, HY_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(arrays_come_back),
        cmocka_unit_test(copies_are_equal),
        cmocka_unit_test(embedded_model_copies),
        cmocka_unit_test(split_keys_are_left_out),
        cmocka_unit_test(layout),
        cmocka_unit_test(what_would_not_open_is_refused),
        cmocka_unit_test(limits_of_counts),
        cmocka_unit_test(order_of_calls),
        cmocka_unit_test(every_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
