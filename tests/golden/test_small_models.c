/* test_small_models.c: small models of every architecture and encoding against the exact logits of
 * llama.cpp (weights decoded to F32), and the chunking promise: state and logits do not depend on
 * how the tokens are cut. */
#include <math.h>

#include "golden.h"

static void check_chunks(const hy_model *m, const hy_token *ids, size_t n, const float *serial)
{
    static const uint32_t chunks[] = {2, 7, 64};
    hy_error err;
    hy_session *s;
    hy_step step;
    void *want = NULL;
    size_t want_len = 0;
    for (size_t c = 0; c < 1 + sizeof chunks / sizeof *chunks; c++) {
        const hy_session_opts opts = {.size = sizeof opts,
                                      .n_batch = c == 0 ? 1 : chunks[c - 1],
                                      .n_threads = (uint32_t)(1 + c % 2)};
        hy_state *state;
        void *bytes;
        size_t len;
        assert_ok(hy_session_create(m, &opts, &s, &err), &err);
        assert_ok(hy_session_append(s, ids, n, &err), &err);
        do {
            assert_ok(hy_session_step(s, &step, &err), &err);
        } while (step.pending > 0);
        assert_memory_equal(hy_session_logits(s, 0), serial + (n - 1) * vocab_of(m),
                            vocab_of(m) * sizeof(float));
        assert_ok(hy_session_snapshot(s, &state, &err), &err);
        assert_ok(hy_state_to_bytes(state, &bytes, &len, &err), &err);
        if (c == 0) {
            want = malloc(len);
            memcpy(want, bytes, len);
            want_len = len;
        } else {
            assert_int_equal(len, want_len);
            assert_memory_equal(bytes, want, len);
        }
        hy_state_free_bytes(state, bytes);
        hy_state_destroy(state);
        hy_session_destroy(s);
    }
    free(want);
}

/* One line of an index: {"model", "ids", and perhaps "logits"}. Returns the largest difference. */
static double check_model(const char *folder, const json_t *line)
{
    char path[1024];
    size_t n, n_ref;
    const char *file = json_string_value(golden_get(line, "model"));
    snprintf(path, sizeof path, "%s/%s", folder, file);
    hy_model *m = load_model(path);
    snprintf(path, sizeof path, "%s/%.*s.logits.f32", folder, (int)(strlen(file) - strlen(".gguf")),
             file);
    float *ref = golden_floats(path, &n_ref);
    hy_token *ids = golden_ids(golden_get(line, "ids"), &n);
    assert_int_equal(n_ref, n * vocab_of(m));
    float *got = run_all_logits(m, ids, n, 1, 1, NULL);
    double most = 0;
    for (size_t i = 0; i < n_ref; i++) {
        const double d = fabs((double)got[i] - (double)ref[i]);
        most = d > most || isnan(d) ? d : most;
    }
    check_chunks(m, ids, n, got);
    free(got);
    free(ids);
    free(ref);
    hy_model_destroy(m);
    return most;
}

static void check_folder(const char *folder, const char *index, size_t n_models)
{
    json_t *line;
    size_t i = 0;
    for (; (line = golden_line(index, i)); i++) {
        const char *file = json_string_value(golden_get(line, "model"));
        const double bound = strstr(file, "F32") ? 1e-4 : 2e-3;
        const double most = check_model(folder, line);
        print_message("%s: largest difference of a logit %.3g (bound %g)\n", file, most, bound);
        assert_true(most <= bound);
        json_decref(line);
    }
    assert_int_equal(i, n_models);
}

static void test_carried(void **state)
{
    (void)state;
    check_folder(source_path("tests/golden/mini"), source_path("tests/golden/mini/index.jsonl"), 3);
}

/* With the output gate and the group norm that ARWKV-7 models may lack, and without both. */
static void test_arwkv7(void **state)
{
    (void)state;
    check_folder(source_path("tests/golden/arwkv7"), source_path("tests/golden/arwkv7/index.jsonl"),
                 2);
}

/* What is optional is so as a whole: half a gate or half a norm, or another model's tensor or size,
 * is refused. */
static void test_arwkv7_refused(void **state)
{
    (void)state;
#define BYTES(s) s, sizeof s - 1
#define U32 "\4\0\0\0" /* type of a key; its value follows */
    static const struct {
        const char *from;
        size_t len;
        const char *to; /* as long */
        hy_status status;
        const char *text;
    } cases[] = {
        {BYTES("blk.1.time_mix_g2.weight"), "blk.1.time_mix_q2.weight", HY_E_FORMAT,
         "tensor blk.1.time_mix_g2.weight is missing"},
        {BYTES("blk.1.time_mix_g1.weight"), "blk.1.time_mix_q1.weight", HY_E_FORMAT,
         "tensor blk.1.time_mix_lerp_fused.weight has the shape [128, 1, 1, 6], [128, 5] is "
         "needed"},
        {BYTES("blk.2.time_mix_ln.bias"), "blk.2.time_mix_ln.bits", HY_E_FORMAT,
         "tensor blk.2.time_mix_ln.bias is missing"},
        {BYTES("blk.2.time_mix_ln.weight"), "blk.2.time_mix_lm.weight", HY_E_UNSUPPORTED,
         "tensor blk.2.time_mix_lm.weight does not belong to the architecture arwkv7"},
        {BYTES("arwkv7.token_shift_count" U32 "\1"), "arwkv7.token_shift_count" U32 "\2",
         HY_E_FORMAT, "arwkv7.token_shift_count"},
        {BYTES("arwkv7.wkv.head_size" U32 "\100"), "arwkv7.wkv.head_size" U32 "\60", HY_E_FORMAT,
         "key arwkv7.wkv.head_size: 48 does not divide the embedding length 128"},
    };
#undef BYTES
#undef U32
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hy_error err;
        hy_model *m = NULL;
        size_t at = 0, len;
        char *file = read_file(source_path("tests/golden/arwkv7/arwkv7-gate-norm-Q4_0.gguf"), &len);
        while (at + cases[i].len < len && memcmp(file + at, cases[i].from, cases[i].len) != 0) {
            at++;
        }
        assert_true(at + cases[i].len < len);
        memcpy(file + at, cases[i].to, cases[i].len);
        assert_fails(hy_model_load_memory(file, len, NULL, NULL, &m, &err), cases[i].status, &err,
                     cases[i].text);
        assert_null(m);
        free(file);
    }
}

static void check_shared(const char *name, size_t n_models)
{
    char folder[1024], index[64];
    snprintf(index, sizeof index, "golden/%s/index.jsonl", name);
    const char *path = shared_path(index);
    if (!path) {
        skip();
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(strlen(path) - strlen("/index.jsonl")), path);
    check_folder(folder, path, n_models);
}

static void test_mini(void **state)
{
    (void)state;
    check_shared("mini", 17);
}

static void test_tiny_rwkv7(void **state)
{
    (void)state;
    check_shared("rwkv7-tiny", 3);
}

/* The logits that rwkv.cpp's own tests expect after three bytes. */
static void test_rwkv_cpp(void **state)
{
    (void)state;
    static const hy_token ids[] = {34, 105, 110};
    size_t n;
    const char *path = shared_path("golden/rwkv7-tiny/rwkvcpp-logits.f32");
    if (!path) {
        skip();
    }
    float *ref = golden_floats(path, &n);
    hy_model *m = load_model(shared_path("golden/rwkv7-tiny/tiny-rwkv7-F32.gguf"));
    float *got = run_all_logits(m, ids, 3, 3, 1, NULL);
    double most = 0;
    assert_int_equal(n, vocab_of(m));
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)got[2 * n + i] - (double)ref[i]));
    }
    print_message("largest difference from rwkv.cpp: %.3g (bound 1e-4)\n", most);
    assert_true(most <= 1e-4);
    free(got);
    free(ref);
    hy_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_carried),        cmocka_unit_test(test_arwkv7),
        cmocka_unit_test(test_arwkv7_refused), cmocka_unit_test(test_mini),
        cmocka_unit_test(test_tiny_rwkv7),     cmocka_unit_test(test_rwkv_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
