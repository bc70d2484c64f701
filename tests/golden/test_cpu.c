/* test_cpu.c: the CPU backend at every level that this machine has, against exact logits.
 *
 * Activations in 8 bits cost accuracy: the bound of a model is what they cost llama.cpp, as the
 * index of the models says: on all models of an index together, and on a single one up to a tenth
 * more (mean KL: a quarter), as the same size of rounding falls differently.  Random weights
 * magnify rounding far more than trained ones.  Where an index has no figures the bound is stated
 * here. */
#include "base/base.h"
#include "golden.h"

static const char *const levels[] = {
#define HY_CPU_LEVEL(name, base, features, what) #name,
#include "backend/cpu/levels.inc"
#undef HY_CPU_LEVEL
};

/* The same bits for any number of threads, and however the tokens are cut. */
static void check_equal(const hy_model *m, const hy_token *ids, size_t n, const float *one,
                        const char *cache)
{
    static const uint32_t threads[] = {2, 3, 8};
    static const uint32_t batches[] = {64, 7, 16};
    for (size_t i = 0; i < HY_COUNT(threads); i++) {
        float *again = run_all_logits(m, ids, n, batches[i], threads[i], cache);
        assert_memory_equal(again, one, n * vocab_of(m) * sizeof *one);
        free(again);
    }
}

/* Sums over models, for each level. */
typedef struct totals {
    double kl[HY_COUNT(levels)], rms[HY_COUNT(levels)];
    double peer_kl, peer_rms;
} totals;

/* exact: of the last `rows` tokens, [rows][vocabulary]; cache: as in golden.h. */
static void check_model(const char *path, const hy_token *ids, size_t n, const float *exact,
                        size_t rows, double most_rms, double most_kl, const char *cache,
                        totals *sums)
{
    const char *name = strrchr(path, '/') + 1;
    for (size_t l = 0; l < HY_COUNT(levels); l++) {
        hy_model *m = load_model_cpu(path, levels[l]);
        if (!m) {
            print_message("%s: this machine has no level %s\n", name, levels[l]);
            continue;
        }
        const uint32_t vocab = vocab_of(m);
        assert_string_equal(hy_model_backend(m), "cpu");
        float *got = run_all_logits(m, ids, n, 1, 1, cache);
        const golden_distance d = golden_compare(got + (n - rows) * vocab, exact, rows, vocab);
        print_message("%s, %s: relative rms %.3g (bound %.3g), mean KL %.3g (bound %.3g), %zu of "
                      "%zu best tokens differ\n",
                      name, levels[l], d.rms, most_rms, d.kl, most_kl, d.flips, rows);
        assert_true(d.rms <= most_rms);
        assert_true(d.kl <= most_kl);
        assert_int_equal(d.flips, 0);
        if (sums) {
            sums->kl[l] += d.kl;
            sums->rms[l] += d.rms;
        }
        assert_true(d.rms > 1e-7); /* not the exact evaluation under another name */
        check_equal(m, ids, n, got, cache);
        free(got);
        hy_model_destroy(m);
    }
}

static void check_golden(const golden_model *m, void *user)
{
    check_model(m->path, m->ids, m->n, m->exact, m->n, m->most_rms, m->most_kl, NULL,
                m->peer_kl > 0 ? user : NULL);
}

static void check_folder(const char *folder, const char *index, size_t n_models, double rms,
                         double kl)
{
    totals sums = {{0}, {0}, 0, 0};
    golden_folder(folder, index, n_models, rms, kl, &sums.peer_rms, &sums.peer_kl, check_golden,
                  &sums);
    for (size_t l = 0; l < HY_COUNT(levels) && sums.peer_kl > 0; l++) {
        print_message("%s, all together: relative rms %.4g (llama.cpp %.4g), mean KL %.4g (%.4g)\n",
                      levels[l], sums.rms[l], sums.peer_rms, sums.kl[l], sums.peer_kl);
        assert_true(sums.rms[l] <= sums.peer_rms);
        assert_true(sums.kl[l] <= sums.peer_kl);
    }
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

/* Weights in F32, and keys and values too: nothing is rounded to less. */
static void test_qwen2(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen2", "qwen2-tied-linear", "llama-yarn"};
    static const hy_token ids[] = {3, 17, 0, 39, 8, 8, 25, 11, 30, 2, 19};
    const size_t n = HY_COUNT(ids);
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        char path[1024];
        size_t n_exact;
        snprintf(path, sizeof path, "tests/golden/qwen2/%s.logits.f32", names[i]);
        float *exact = golden_floats(source_path(path), &n_exact);
        snprintf(path, sizeof path, "tests/golden/qwen2/%s.gguf", names[i]);
        check_model(source_path(path), ids, n, exact, n, 1e-5, 1e-9, "f32", NULL);
        free(exact);
    }
}

static void test_embedded(void **state)
{
    (void)state;
    json_t *prompts = golden_json(source_path("tests/golden/embedded/Q4_K_M.logits.json"));
    for (size_t p = 0; p < json_array_size(prompts); p++) {
        size_t n, n_exact;
        char name[100];
        hy_token *ids = golden_ids(golden_get(json_array_get(prompts, p), "ids"), &n);
        snprintf(name, sizeof name, "tests/golden/embedded/Q4_K_M.logits-%zu.npy", p);
        float *exact = golden_floats(source_path(name), &n_exact);
        check_model(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), ids, n, exact,
                    p == 0 ? n : 1, 0.02, 0.003, NULL, NULL);
        free(exact);
        free(ids);
    }
    json_decref(prompts);
}

static void test_shared(void **state)
{
    (void)state;
    const char *index = shared_path("golden/mini/index.jsonl");
    char folder[1024];
    if (!index) {
        skip();
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(strlen(index) - strlen("/index.jsonl")), index);
    check_folder(folder, index, 17, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mini),   cmocka_unit_test(test_arwkv7),
        cmocka_unit_test(test_qwen2),  cmocka_unit_test(test_embedded),
        cmocka_unit_test(test_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
