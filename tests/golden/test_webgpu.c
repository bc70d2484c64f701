/* test_webgpu.c [MASK [TESTS]]: the WebGPU backend against exact logits, with everything that the
 * GPU has ("") or without what MASK names (as --gpu-mask does).
 *
 * Bounds are those of the CPU backend (test_cpu.c): activations are in 8 bits here too.  Steps of
 * one token and of many are different programs; both are compared.  All
 * run only on the library that HALYARD_WEBGPU_LIB names (support/webgpu.h): GPUs made of software
 * take minutes. */
#include "backend/webgpu/variants.h"
#include "base/base.h"
#include "golden.h"
#include "support/webgpu.h"

static const char *mask; /* of all models; NULL: everything that the GPU has */

static golden_distance distance_of(const hy_model *m, const golden_model *g, uint32_t n_batch)
{
    float *got = run_all_logits(m, g->ids, g->n, n_batch, 1, NULL);
    const golden_distance d = golden_compare(got, g->exact, g->n, vocab_of(m));
    print_message("%s, %u tokens a step: relative rms %.3g (bound %.3g), mean KL %.3g (bound "
                  "%.3g), %zu of %zu best tokens differ\n",
                  strrchr(g->path, '/') + 1, n_batch, d.rms, g->most_rms, d.kl, g->most_kl, d.flips,
                  g->n);
    assert_true(d.rms <= g->most_rms);
    assert_true(d.kl <= g->most_kl);
    assert_int_equal(d.flips, 0);
    free(got);
    return d;
}

static void check_golden(const golden_model *g, void *user)
{
    (void)user;
    hy_model *m = webgpu_model(g->path, mask, NULL);
    const golden_distance one = distance_of(m, g, 1);
    distance_of(m, g, 7);
    assert_true(one.rms > 1e-7); /* not the exact evaluation under another name */
    hy_model_destroy(m);
}

static void check_folder(const char *folder, const char *index, size_t n_models, double rms,
                         double kl)
{
    double peer_rms = 0, peer_kl = 0;
    golden_folder(folder, index, n_models, rms, kl, &peer_rms, &peer_kl, check_golden, NULL);
}

static void test_mini(void **state)
{
    (void)state;
    webgpu_or_skip();
    check_folder(source_path("tests/golden/mini"), source_path("tests/golden/mini/index.jsonl"), 3,
                 0, 0);
}

static void test_arwkv7(void **state)
{
    (void)state;
    webgpu_or_skip();
    check_folder(source_path("tests/golden/arwkv7"), source_path("tests/golden/arwkv7/index.jsonl"),
                 2, 0.03, 0.002);
}

/* Weights in F32, but keys and values in f16. */
static void test_qwen2(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const char *const names[] = {"qwen2", "qwen2-tied-linear", "llama-yarn"};
    static const hy_token ids[] = {3, 17, 0, 39, 8, 8, 25, 11, 30, 2, 19};
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        char path[1024];
        size_t n_exact;
        snprintf(path, sizeof path, "tests/golden/qwen2/%s.logits.f32", names[i]);
        float *exact = golden_floats(source_path(path), &n_exact);
        snprintf(path, sizeof path, "tests/golden/qwen2/%s.gguf", names[i]);
        const golden_model g = {.path = source_path(path),
                                .ids = ids,
                                .n = HY_COUNT(ids),
                                .exact = exact,
                                .most_rms = 2e-3,
                                .most_kl = 1e-5};
        check_golden(&g, NULL);
        free(exact);
    }
}

/* Whatever is not fused runs in dispatches of its own. */
static void test_unfused(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const char *const files[] = {"tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf",
                                        "tests/golden/mini/qwen3-mini-Q4_K_M.gguf"};
    static const hy_token ids[] = {3, 17, 0, 39, 8, 8, 25};
    for (size_t i = 0; i < HY_COUNT(files); i++) {
        hy_model *ref = load_model(source_path(files[i]));
        float *exact = run_all_logits(ref, ids, HY_COUNT(ids), 7, 1, NULL);
        const golden_model g = {.path = files[i],
                                .ids = ids,
                                .n = HY_COUNT(ids),
                                .exact = exact,
                                .most_rms = 0.1,
                                .most_kl = 0.02};
        hy_model *m = webgpu_model(source_path(files[i]), mask, "all");
        distance_of(m, &g, 1);
        distance_of(m, &g, 7);
        hy_model_destroy(m);
        hy_model_destroy(ref);
        free(exact);
    }
}

/* Tokens behind a prompt, drawn by the GPU itself, up to MOST or until `stop` has come; returns how
 * many. */
enum { MOST = 24 };
static size_t write_text(const hy_model *m, const hy_token *ids, size_t n_ids,
                         const hy_sampler_opts *opts, hy_token stop, hy_token out[MOST])
{
    hy_session *s;
    hy_sampler *sampler;
    hy_error err;
    assert_ok(hy_session_create(m, NULL, &s, &err), &err);
    assert_ok(hy_sampler_create(opts, NULL, NULL, &sampler, &err), &err);
    assert_ok(hy_session_append(s, ids, n_ids, &err), &err);
    size_t n = 0;
    while (n < MOST && (n == 0 || out[n - 1] != stop)) {
        step_all(s);
        assert_ok(hy_session_sample(s, sampler, &out[n], &err), &err);
        assert_ok(hy_session_append(s, &out[n++], 1, &err), &err);
    }
    hy_sampler_destroy(sampler);
    hy_session_destroy(s);
    return n;
}

/* The embedded model writes what it writes elsewhere: an answer that it knows by heart (the lead of
 * the best token is 4 or more), to its end, and a text by chance. */
static void test_embedded(void **state)
{
    (void)state;
    webgpu_or_skip();
    enum { END_OF_TURN = 257, NEVER = -1 };
    /* "User: Why is the sky blue?\n\nAssistant:", "Dear diary,\n" */
    static const hy_token sky[] = {1721, 59, 1362, 691, 1638, 1621, 2180, 64, 257, 4019, 59};
    static const hy_token diary[] = {1676, 2986, 45, 11};
    static const struct {
        const hy_token *ids;
        size_t n;
        hy_sampler_opts opts;
        hy_token stop;
    } texts[] = {
        {sky, HY_COUNT(sky), {.size = sizeof(hy_sampler_opts), .greedy = true}, END_OF_TURN},
        {diary,
         HY_COUNT(diary),
         {.size = sizeof(hy_sampler_opts), .temperature = 0.7f, .seed = 2},
         NEVER},
    };
    const char *path = source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf");
    hy_model *ref = load_model(path), *m = webgpu_model(path, mask, NULL);
    for (size_t i = 0; i < HY_COUNT(texts); i++) {
        hy_token want[MOST], got[MOST];
        const size_t n =
            write_text(ref, texts[i].ids, texts[i].n, &texts[i].opts, texts[i].stop, want);
        assert_int_equal(n < MOST, texts[i].stop == END_OF_TURN);
        assert_int_equal(
            write_text(m, texts[i].ids, texts[i].n, &texts[i].opts, texts[i].stop, got), n);
        assert_memory_equal(got, want, n * sizeof *want);
    }
    hy_model_destroy(ref);
    hy_model_destroy(m);
}

/* As run_greedy, but the backend may draw. */
static void draw_greedy(const hy_model *m, const hy_token *ids, size_t n_ids, hy_token *out,
                        size_t n_out)
{
    const hy_sampler_opts opts = {.size = sizeof opts, .greedy = true};
    hy_sampler *sampler;
    hy_session *s;
    hy_error err;
    assert_ok(hy_sampler_create(&opts, NULL, NULL, &sampler, &err), &err);
    assert_ok(hy_session_create(m, NULL, &s, &err), &err);
    assert_ok(hy_session_append(s, ids, n_ids, &err), &err);
    for (size_t i = 0; i < n_out; i++) {
        step_all(s);
        assert_ok(hy_session_sample(s, sampler, &out[i], &err), &err);
        assert_ok(hy_session_append(s, &out[i], 1, &err), &err);
    }
    hy_session_destroy(s);
    hy_sampler_destroy(sampler);
}

/* With every variant made wrong, and then with every one that does not compile: the self-test
 * leaves them out, and the text is the same. */
static void test_faults(void **state)
{
    (void)state;
    webgpu_or_skip();
    enum { N = 10 };
    static const hy_token ids[] = {3, 17, 0, 39};
    const char *path = source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf");
    hy_token got[N], want[N];
    hy_model *ref = load_model(path);
    draw_greedy(ref, ids, HY_COUNT(ids), want, N);
    hy_model_destroy(ref);
    for (int broken = 0; broken < 2; broken++) {
        hy__gpu_inject(broken ? 0 : UINT64_MAX, broken ? UINT64_MAX : 0);
        hy_model *m = webgpu_model(path, mask, NULL);
        draw_greedy(m, ids, HY_COUNT(ids), got, N);
        hy_model_destroy(m);
        hy__gpu_inject(0, 0);
        assert_memory_equal(got, want, sizeof want);
    }
}

/* The text is the same without any family of what kernels may do. */
static void test_masks(void **state)
{
    (void)state;
    webgpu_or_skip();
    if (mask) {
        skip();
    }
    enum { N = 10 };
    static const char *const masks[] = {
#define HY_GPU_FAMILY(id, name, above, what) "no-" name,
#include "backend/webgpu/variants.inc"
        "floor"};
    static const hy_token ids[] = {3, 17, 0, 39};
    hy_token got[N], want[N];
    char path[1024];
    snprintf(path, sizeof path, "%s", source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf"));
    hy_model *ref = load_model(path);
    draw_greedy(ref, ids, HY_COUNT(ids), want, N);
    hy_model_destroy(ref);
    for (size_t i = 0; i < HY_COUNT(masks); i++) {
        /* Other kernels for matrices are made for operations that stay alone. */
        const bool alone = strcmp(masks[i], "no-codes") == 0 ||
                           strcmp(masks[i], "no-planes") == 0 || strcmp(masks[i], "no-lanes") == 0;
        hy_model *m = webgpu_model(path, masks[i], alone ? "all" : NULL);
        draw_greedy(m, ids, HY_COUNT(ids), got, N);
        hy_model_destroy(m);
        assert_memory_equal(got, want, sizeof want);
    }
}

static int look(void **state)
{
    if (!getenv("HALYARD_WEBGPU_LIB")) {
        print_message("skipped: HALYARD_WEBGPU_LIB names no library\n");
        return 0;
    }
    return webgpu_look(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mini),     cmocka_unit_test(test_arwkv7),
        cmocka_unit_test(test_qwen2),    cmocka_unit_test(test_unfused),
        cmocka_unit_test(test_embedded), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_masks),
    };
    mask = argc > 1 && argv[1][0] ? argv[1] : NULL;
    cmocka_set_test_filter(argc > 2 ? argv[2] : NULL);
    return cmocka_run_group_tests(tests, look, NULL);
}
