/* test_gguf_split.c: models in several files: how they are found, and everything that can be wrong with one of them. */
#include "support/support.h"

#include "gguf_script.h"

#define KEYS(no, count, tensors)                                                                                       \
    "s:split.no u32:2 u16:" no " s:split.count u32:2 u16:" count " s:split.tensors.count u32:5 u32:" tensors " "
#define PART_1 "h:1,3 " KEYS("0", "3", "4") "t:a,0,0,8 a:32 z:32"
/* Its own alignment; two tensors. */
#define PART_2                                                                                                         \
    "h:2,4 " KEYS("1", "3", "4") "s:general.alignment u32:4 u32:64 t:b,0,0,8 t:c,24,64,3 a:64 z:32 a:64 u8:1 u8:2 u8:3"
#define PART_3 "h:1,3 " KEYS("2", "3", "4") "t:d,24,0,2 a:32 u8:8 u8:9"

/* Writes the three parts (NULL: removes) and returns the path of the first. */
static const char *write_parts(const char *const parts[3])
{
    static char first[512];
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i + 1);
        const char *path = temp_path(name);
        if (i == 0) {
            snprintf(first, sizeof first, "%s", path);
        }
        if (parts[i]) {
            gguf_bytes b = gguf_script(parts[i]);
            write_file(path, b.data, b.len);
            free(b.data);
        } else {
            remove(path);
        }
    }
    return first;
}

static void whole_models_open(void **state)
{
    (void)state;
    static const char *const parts[3] = {PART_1, PART_2, PART_3};
    const char *path = write_parts(parts);
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        const hy_gguf_opts opts = {sizeof opts, no_mmap != 0};
        hy_error err;
        hy_gguf *g = NULL;
        assert_ok(hy_gguf_open(path, &opts, NULL, &g, &err), &err);
        assert_int_equal(hy_gguf_n_files(g), 3);
        assert_int_equal(hy_gguf_n_keys(g), 3); /* of the first */
        assert_int_equal(hy_gguf_alignment(g), 32);
        assert_int_equal(hy_gguf_n_tensors(g), 4);
        static const char *const names[] = {"a", "b", "c", "d"};
        static const uint32_t files[] = {0, 1, 1, 2};
        for (size_t i = 0; i < 4; i++) {
            const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
            assert_string_equal(t->name, names[i]);
            assert_int_equal(t->file_index, files[i]);
            assert_ptr_equal(t, hy_gguf_find_tensor(g, names[i]));
        }
        const hy_gguf_tensor *c = hy_gguf_find_tensor(g, "c");
        assert_int_equal(c->file_offset % 64, 0);
        assert_memory_equal(c->data, "\1\2\3", 3);
        assert_memory_equal(hy_gguf_find_tensor(g, "d")->data, "\x8\x9", 2);
        hy_gguf_close(g);
    }
}

/* part 1 to 3 (NULL: as above), status, part of the sentence */
#define SPLIT_CASES(X)                                                                                                 \
    X(part_missing, NULL, "", NULL, HY_E_IO, "m-00002-of-00003.gguf")                                                  \
    X(part_empty, NULL, "r:G", NULL, HY_E_TRUNCATED, "m-00002-of-00003.gguf: the file has 1 bytes")                    \
    X(part_no_gguf, NULL, NULL, "r:GGML z:20", HY_E_FORMAT, "m-00003-of-00003.gguf: not a GGUF file")                  \
    X(part_version_1, NULL, NULL, "r:GGUF u32:1 z:16", HY_E_UNSUPPORTED, "m-00003-of-00003.gguf: GGUF version 1")      \
    X(parts_swapped, NULL, PART_3, PART_2, HY_E_FORMAT, "m-00002-of-00003.gguf: key 'split.no' is 2, expected is 1")   \
    X(part_twice, NULL, PART_2, PART_2, HY_E_FORMAT, "m-00003-of-00003.gguf: key 'split.no' is 1, expected is 2")      \
    X(no_split_no, NULL, "h:0,0", NULL, HY_E_FORMAT, "m-00002-of-00003.gguf: part of a split model without the key 'split.no'") \
    X(no_split_count, NULL, "h:0,1 s:split.no u32:2 u16:1", NULL, HY_E_FORMAT, "m-00002-of-00003.gguf: part of a split model without the key 'split.count'") \
    X(other_split_count, NULL, "h:0,3 " KEYS("1", "2", "4"), NULL, HY_E_FORMAT, "m-00002-of-00003.gguf: key 'split.count' is 2, expected is 3") \
    X(split_no_string, NULL, "h:0,1 s:split.no u32:8 s:1", NULL, HY_E_FORMAT, "m-00002-of-00003.gguf: key 'split.no' at offset 44: the value is STRING") \
    X(part_key_bad, NULL, "h:0,1 s:k u32:13 u32:0", NULL, HY_E_FORMAT, "m-00002-of-00003.gguf: key 'k' at offset 24")  \
    X(part_alignment_bad, NULL, "h:0,1 s:general.alignment u32:4 u32:3", NULL, HY_E_FORMAT, "m-00002-of-00003.gguf: key 'general.alignment'") \
    X(part_tensor_bad, NULL, NULL, "h:1,3 " KEYS("2", "3", "4") "t:d,24,32,2 a:32 z:64", HY_E_FORMAT, "m-00003-of-00003.gguf: tensor 'd'") \
    X(part_data_cut, NULL, NULL, "h:1,3 " KEYS("2", "3", "4") "t:d,24,0,2 a:32 z:1", HY_E_TRUNCATED, "m-00003-of-00003.gguf: tensor 'd': 2 bytes of data") \
    X(first_tensor_bad, "h:1,3 " KEYS("0", "3", "4") "t:a,99,0,8 a:32 z:32", NULL, NULL, HY_E_UNSUPPORTED, "m-00001-of-00003.gguf: tensor 'a'") \
    X(tensor_in_two_files, NULL, NULL, "h:1,3 " KEYS("2", "3", "4") "t:a,24,0,2 a:32 z:2", HY_E_FORMAT, "m-00003-of-00003.gguf: tensor 'a' at offset 106: the same name as tensor number 0 in file number 0") \
    X(tensors_missing, "h:1,3 " KEYS("0", "3", "5") "t:a,0,0,8 a:32 z:32", NULL, NULL, HY_E_FORMAT, "m-00001-of-00003.gguf: key 'split.tensors.count' is 5, expected is 4") \
    X(tensor_count_absent, "h:1,2 s:split.no u32:2 u16:0 s:split.count u32:2 u16:3 t:a,0,0,8 a:32 z:32", NULL, NULL, HY_E_FORMAT, "without the key 'split.tensors.count'") \
    X(tensor_count_negative, "h:1,3 " KEYS("0", "3", "-4") "t:a,0,0,8 a:32 z:32", NULL, NULL, HY_E_FORMAT, "-4 is outside") \
    X(not_the_first, PART_2, NULL, NULL, HY_E_UNSUPPORTED, "this is part 2 of 3 (key 'split.no'): open the first one") \
    X(first_without_no, "h:0,1 s:split.count u32:2 u16:3", NULL, NULL, HY_E_FORMAT, "part of a split model without the key 'split.no'") \
    X(first_no_float, "h:0,2 s:split.count u32:2 u16:3 s:split.no u32:6 f32:0", NULL, NULL, HY_E_FORMAT, "key 'split.no' at offset") \
    X(first_count_4, "h:1,3 " KEYS("0", "4", "4") "t:a,0,0,8 a:32 z:32", NULL, NULL, HY_E_FORMAT, "key 'split.count' says 4 files, but this file's name does not end in -00001-of-00004.gguf") \
    X(count_1001, "h:0,1 s:split.count u32:2 u16:1001", NULL, NULL, HY_E_FORMAT, "1001 is outside of 0..1000")

typedef struct split_case {
    const char *name;
    const char *parts[3];
    hy_status status;
    const char *text;
} split_case;

static const split_case split_cases[] = {
#define SPLIT(name, one, two, three, status, text) {#name, {one, two, three}, status, text},
    SPLIT_CASES(SPLIT)
#undef SPLIT
};

static void broken_models_are_refused(void **state)
{
    (void)state;
    static const char *const whole[3] = {PART_1, PART_2, PART_3};
    for (size_t i = 0; i < sizeof split_cases / sizeof *split_cases; i++) {
        const split_case *c = &split_cases[i];
        const char *parts[3];
        for (int k = 0; k < 3; k++) {
            parts[k] = c->parts[k] ? c->parts[k] : whole[k];
            parts[k] = *parts[k] ? parts[k] : NULL;
        }
        const char *path = write_parts(parts);
        failing_env f;
        failing_env_init(&f, 0);
        hy_error err;
        memset(&err, 0, sizeof err);
        hy_gguf *g = NULL;
        const hy_status status = hy_gguf_open(path, NULL, &f.env, &g, &err);
        if (status != c->status) {
            print_message("case %s:\n", c->name);
        }
        assert_fails(status, c->status, &err, c->text);
        assert_null(g);
        assert_int_equal(f.live_blocks, 0);
    }
}

static void names_without_a_number_are_refused(void **state)
{
    (void)state;
    gguf_bytes b = gguf_script(PART_1);
    hy_error err;
    hy_gguf *g = NULL;
    static const char *const names[] = {"x.gguf", "m-00001-of-00003.ggu", "m-00001-of-00003.gguf.bak", "m-1-of-3.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = temp_path(names[i]);
        write_file(path, b.data, b.len);
        assert_fails(hy_gguf_open(path, NULL, NULL, &g, &err), HY_E_FORMAT, &err, "does not end in -00001-of-00003.gguf");
    }
    free(b.data);
}

static void too_many_tensors_together(void **state)
{
    (void)state;
    /* 40,000 in each of two files: each is within the limit, both together are not. */
    const char *paths[2];
    for (int i = 0; i < 2; i++) {
        gguf_bytes b = gguf_script(i == 0 ? "h:40000,4 " KEYS("0", "2", "80000") "s:general.alignment u32:4 u32:8"
                                          : "h:40000,4 " KEYS("1", "2", "80000") "s:general.alignment u32:4 u32:8");
        for (unsigned k = 0; k < 40000; k++) {
            char name[32];
            snprintf(name, sizeof name, "%d.%u", i, k);
            gguf_string(&b, name, strlen(name));
            gguf_num(&b, 0, 4);
            gguf_num(&b, HY_TYPE_I8, 4);
            gguf_num(&b, (uint64_t)k * 8, 8);
        }
        gguf_fill(&b, 0, (8 - b.len % 8) % 8 + (size_t)40000 * 8);
        paths[i] = temp_path(i == 0 ? "big-00001-of-00002.gguf" : "big-00002-of-00002.gguf");
        write_file(paths[i], b.data, b.len);
        free(b.data);
    }
    hy_error err;
    hy_gguf *g = NULL;
    assert_fails(hy_gguf_open(paths[0], NULL, NULL, &g, &err), HY_E_LIMIT, &err,
                 "the 2 files have 80000 tensors together, the limit is 65536");
}

static void every_call_may_fail(void **state)
{
    (void)state;
    static const char *const parts[3] = {PART_1, PART_2, PART_3};
    const char *path = write_parts(parts);
    for (uint64_t n = 0;; n++) {
        failing_env f;
        failing_env_init(&f, n + 1);
        hy_error err;
        hy_gguf *g = NULL;
        const hy_status status = hy_gguf_open(path, NULL, &f.env, &g, &err);
        hy_gguf_close(g);
        assert_int_equal(f.live_blocks, 0);
        if (f.failed == 0) {
            assert_ok(status, &err);
            assert_true(n >= 20);
            break;
        }
        assert_true(status == HY_OK || status == HY_E_NOMEM || status == HY_E_IO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_models_open),
        cmocka_unit_test(broken_models_are_refused),
        cmocka_unit_test(names_without_a_number_are_refused),
        cmocka_unit_test(too_many_tensors_together),
        cmocka_unit_test(every_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
