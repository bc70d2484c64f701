/* test_gguf_malformed.c: every malformed file is refused with its status and a sentence that names
 * the place. */
#include "support/support.h"

#include "gguf_script.h"

typedef struct good_case {
    const char *name;
    const char *script;
} good_case;

typedef struct bad_case {
    const char *name;
    const char *script;
    hy_status status;
    const char *text;
} bad_case;

static const good_case good_cases[] = {
#define GOOD(name, script) {#name, script},
    GGUF_GOOD_CASES(GOOD)
#undef GOOD
};

static const bad_case bad_cases[] = {
#define BAD(name, script, status, text) {#name, script, HY_##status, text},
    GGUF_BAD_CASES(BAD)
#undef BAD
};

#define N_GOOD (sizeof good_cases / sizeof *good_cases)
#define N_BAD (sizeof bad_cases / sizeof *bad_cases)

/* A copy of exactly len bytes, so that a sanitizer sees a read beyond them. */
static void *exact(const gguf_bytes *b)
{
    void *copy = malloc(b->len > 0 ? b->len : 1);
    assert_non_null(copy);
    if (b->len > 0) {
        memcpy(copy, b->data, b->len);
    }
    return copy;
}

static void good_files_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_GOOD; i++) {
        gguf_bytes b = gguf_script(good_cases[i].script);
        void *data = exact(&b);
        hy_error err;
        hy_gguf *g = NULL;
        assert_ok(hy_gguf_open_memory(data, b.len, NULL, &g, &err), &err);
        assert_int_equal(hy_gguf_file_bytes(g), b.len);
        hy_gguf_close(g);
        free(data);
        free(b.data);
    }
}

/* Sizes that wrap 64 bits together are each too large for 32, which is another sentence. */
static bool only_64_bits(const bad_case *c)
{
    return strcmp(c->name, "sizes_wrap") == 0 || strcmp(c->name, "padding_wraps") == 0;
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    assert_true(N_BAD >= 60);
    for (size_t i = 0; i < N_BAD; i++) {
        const bad_case *c = &bad_cases[i];
        if (sizeof(size_t) < 8 && only_64_bits(c)) {
            continue;
        }
        gguf_bytes b = gguf_script(c->script);
        void *data = exact(&b);
        failing_env f;
        failing_env_init(&f, 0);
        hy_error err;
        memset(&err, 0, sizeof err);
        hy_gguf *g = (hy_gguf *)&err; /* must be set to NULL */
        const hy_status status = hy_gguf_open_memory(data, b.len, &f.env, &g, &err);
        if (status != c->status || !strstr(err.text, c->text)) {
            print_message("case %s: %s \"%s\"\n", c->name, hy_status_name(status), err.text);
        }
        assert_fails(status, c->status, &err, c->text);
        assert_null(g);
        assert_int_equal(f.live_blocks, 0);
        /* The sentence is optional. */
        assert_int_equal(hy_gguf_open_memory(data, b.len, NULL, &g, NULL), c->status);
        free(data);
        free(b.data);
    }
}

/* The same from files: mapped and copied. */
static void bad_files_are_refused_from_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_BAD; i++) {
        const bad_case *c = &bad_cases[i];
        if (strstr(c->name, "split") || (sizeof(size_t) < 8 && only_64_bits(c))) {
            continue; /* split files have other rules on disk: test_gguf_split.c */
        }
        gguf_bytes b = gguf_script(c->script);
        const char *path = temp_path("bad.gguf");
        write_file(path, b.len > 0 ? b.data : (const void *)"", b.len);
        for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
            const hy_gguf_opts opts = {sizeof opts, no_mmap != 0};
            hy_error err;
            hy_gguf *g = NULL;
            assert_fails(hy_gguf_open(path, &opts, NULL, &g, &err), c->status, &err, c->text);
        }
        free(b.data);
    }
}

/* Every prefix of every good file either opens or is refused; none reads behind its end (sanitizers
 * tell). */
static void every_cut_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_GOOD; i++) {
        gguf_bytes b = gguf_script(good_cases[i].script);
        const size_t step = b.len > 1024 ? 7 : 1;
        for (size_t len = 0; len < b.len; len += step) {
            gguf_bytes cut = {b.data, len, len};
            void *data = exact(&cut);
            hy_error err;
            hy_gguf *g = NULL;
            const hy_status status = hy_gguf_open_memory(data, len, NULL, &g, &err);
            if (status != HY_OK) {
                assert_int_equal(status, HY_E_TRUNCATED);
            }
            hy_gguf_close(g);
            free(data);
        }
        free(b.data);
    }
}

/* ---- files of many megabytes: mostly untouched zero pages */

/* calloc of `bytes`, beginning with the script's; NULL if this machine has not got them. */
static uint8_t *big_file(const char *script, size_t bytes)
{
    uint8_t *data = calloc(bytes, 1);
    if (data) {
        gguf_bytes b = gguf_script(script);
        memcpy(data, b.data, b.len);
        free(b.data);
    }
    return data;
}

static void refuse_big(const char *script, size_t bytes, const char *text)
{
    uint8_t *data = big_file(script, bytes);
    assert_non_null(data);
    hy_error err;
    hy_gguf *g = NULL;
    assert_fails(hy_gguf_open_memory(data, bytes, NULL, &g, &err), HY_E_LIMIT, &err, text);
    free(data);
}

static void string_over_64_mib(void **state)
{
    (void)state;
    refuse_big("h:0,1 s:k u32:8 u64:67108865", (64u << 20) + 100,
               "key 'k' at offset 24: the length of a string is 67108865, the limit is 67108864");
}

static void array_over_2_28(void **state)
{
    (void)state;
    refuse_big("h:0,1 s:k u32:9 u32:0 u64:268435457", (256u << 20) + 100,
               "key 'k' at offset 24: the count of an array is 268435457, the limit is 268435456");
}

static void strings_over_2_24(void **state)
{
    (void)state;
    refuse_big("h:0,1 s:k u32:9 u32:8 u64:16777217", (128u << 20) + 100,
               "key 'k' at offset 24: an array of strings, number 16777217");
    /* One string in another array before it counts too. */
    refuse_big("h:0,2 s:j u32:9 u32:8 u64:1 s: s:k u32:9 u32:8 u64:16777216", (128u << 20) + 200,
               "key 'k' at offset 57: an array of strings, number 16777216");
}

static void strings_over_4_gib(void **state)
{
    (void)state;
#if SIZE_MAX < UINT64_MAX
    skip(); /* no address space for it */
#elif defined(GGUF_SANITIZED)
    skip(); /* would take a shadow of gigabytes */
#else
    const uint64_t step = (64u << 20) + 8;
    const uint64_t n = 66;
    uint8_t *data = big_file("h:0,1 s:k u32:9 u32:8 u64:66", (size_t)(49 + n * step));
    if (!data) {
        skip();
    }
    for (uint64_t i = 0; i < n; i++) {
        data[49 + i * step + 3] = 4; /* 64 MiB */
    }
    hy_error err;
    hy_gguf *g = NULL;
    assert_fails(hy_gguf_open_memory(data, (size_t)(49 + n * step), NULL, &g, &err), HY_E_LIMIT,
                 &err, "key 'k' at offset 24: the strings of an array take");
    free(data);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_open),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(bad_files_are_refused_from_disk),
        cmocka_unit_test(every_cut_is_survived),
        cmocka_unit_test(string_over_64_mib),
        cmocka_unit_test(array_over_2_28),
        cmocka_unit_test(strings_over_2_24),
        cmocka_unit_test(strings_over_4_gib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
