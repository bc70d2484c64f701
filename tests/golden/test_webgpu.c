/* test_webgpu.c: the WebGPU backend against exact logits, with everything that the GPU has and at
 * the floor of what every GPU has.
 *
 * Bounds are those of the CPU backend (test_cpu.c): activations are in 8 bits here too.  Steps of
 * one token and of many are different programs; both are compared.  HALYARD_WEBGPU names the folder
 * of the libraries, HALYARD_WEBGPU_LIB one of them; without a library or a GPU there is nothing to
 * test. */
#include "base/base.h"
#include "golden.h"

static const char *const masks[] = {NULL, "floor"};

static hy_model *load_webgpu(const char *path, const char *mask, const char *no_fuse)
{
    hy_model *m = NULL;
    hy_error err;
    const hy_model_opts opts = {.size = sizeof opts,
                                .backend = "webgpu",
                                .webgpu_lib = getenv("HALYARD_WEBGPU_LIB"),
                                .webgpu_dir = getenv("HALYARD_WEBGPU"),
                                .gpu_mask = mask,
                                .no_fuse = no_fuse};
    const hy_status status = hy_model_load(path, &opts, NULL, &m, &err);
    if (status == HY_E_UNSUPPORTED) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    assert_ok(status, &err);
    assert_string_equal(hy_model_backend(m), "webgpu");
    return m;
}

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
    for (size_t i = 0; i < HY_COUNT(masks); i++) {
        hy_model *m = load_webgpu(g->path, masks[i], NULL);
        const golden_distance one = distance_of(m, g, 1);
        distance_of(m, g, 7);
        assert_true(one.rms > 1e-7); /* not the exact evaluation under another name */
        hy_model_destroy(m);
    }
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
    check_folder(source_path("tests/golden/mini"), source_path("tests/golden/mini/index.jsonl"), 3,
                 0, 0);
}

static void test_arwkv7(void **state)
{
    (void)state;
    check_folder(source_path("tests/golden/arwkv7"), source_path("tests/golden/arwkv7/index.jsonl"),
                 2, 0.03, 0.002);
}

/* Weights in F32, but keys and values in f16. */
static void test_qwen2(void **state)
{
    (void)state;
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
        hy_model *m = load_webgpu(source_path(files[i]), NULL, "all");
        distance_of(m, &g, 1);
        distance_of(m, &g, 7);
        hy_model_destroy(m);
        hy_model_destroy(ref);
        free(exact);
    }
}

/* Tokens are drawn on the device, steps ahead: the same as on the host, greedy and by chance, and
 * what is done in between brings the device back. */
static void test_ahead(void **state)
{
    (void)state;
    enum { N = 40, CUT = 23 };
    static const hy_token prompt[] = {3, 17, 0, 39};
    const char *path = source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf");
    hy_model *m = load_webgpu(path, NULL, NULL);
    hy_error err;
    for (int greedy = 0; greedy < 2; greedy++) {
        const hy_sampler_opts opts = {
            .size = sizeof opts, .greedy = greedy, .seed = 5, .repeat_penalty = 1.1f};
        hy_sampler *sampler, *other;
        hy_session *ahead, *host;
        hy_step step;
        hy_token a = 0, b = 0;
        assert_ok(hy_sampler_create(&opts, NULL, NULL, &sampler, &err), &err);
        assert_ok(hy_sampler_create(&opts, NULL, NULL, &other, &err), &err);
        assert_ok(hy_session_create(m, NULL, &ahead, &err), &err);
        assert_ok(hy_session_create(m, NULL, &host, &err), &err);
        assert_ok(hy_session_append(ahead, prompt, HY_COUNT(prompt), &err), &err);
        assert_ok(hy_session_append(host, prompt, HY_COUNT(prompt), &err), &err);
        for (int i = 0; i < N; i++) {
            assert_ok(hy_session_step(ahead, &step, &err), &err);
            assert_ok(hy_session_step(host, &step, &err), &err);
            assert_non_null(hy_session_logits(host, 0)); /* keeps it on the host */
            assert_ok(hy_session_sample(ahead, i == CUT ? other : sampler, &a, &err), &err);
            assert_ok(hy_session_sample(host, sampler, &b, &err), &err);
            assert_int_equal(a, b);
            if (i == CUT + 5) {
                hy_session *fork;
                assert_ok(hy_session_fork(ahead, &fork, &err), &err);
                hy_session_destroy(ahead);
                ahead = fork;
            }
            assert_ok(hy_session_append(ahead, &a, 1, &err), &err);
            assert_ok(hy_session_append(host, &b, 1, &err), &err);
        }
        hy_session_destroy(ahead);
        hy_session_destroy(host);
        hy_sampler_destroy(sampler);
        hy_sampler_destroy(other);
    }
    hy_model_destroy(m);
}

/* The embedded model writes what it writes elsewhere. */
static void test_embedded(void **state)
{
    (void)state;
    enum { N = 12 };
    static const hy_token ids[] = {2, 40, 700, 5};
    const char *path = source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf");
    hy_token got[N], want[N];
    hy_model *ref = load_model(path);
    run_greedy(ref, ids, HY_COUNT(ids), want, N);
    hy_model_destroy(ref);
    hy_model *m = load_webgpu(path, NULL, NULL);
    run_greedy(m, ids, HY_COUNT(ids), got, N);
    hy_model_destroy(m);
    assert_memory_equal(got, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mini),  cmocka_unit_test(test_arwkv7),
        cmocka_unit_test(test_qwen2), cmocka_unit_test(test_unfused),
        cmocka_unit_test(test_ahead), cmocka_unit_test(test_embedded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
