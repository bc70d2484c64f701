/* test_smollm2.c: a real transformer, SmolLM2-135M-Instruct Q4_1, against the exact evaluation of
 * its weights by llama.cpp.
 *
 * The model is not carried: HALYARD_SMOLLM2 names the file (tests/README.md says where it comes
 * from).  Takes minutes. */
#include <math.h>

#include "golden.h"

static hy_model *model;

static const char *model_path(void)
{
    const char *path = getenv("HALYARD_SMOLLM2");
    if (!path) {
        print_message("skipped: HALYARD_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf\n");
    }
    return path;
}

/* The golden file, or the test is skipped; loads the model once. */
static const char *golden_path(const char *name)
{
    char rel[64];
    snprintf(rel, sizeof rel, "golden/smollm2/%s", name);
    const char *path = shared_path(rel);
    if (!path || !model_path()) {
        skip();
    }
    if (!model) {
        model = load_model(model_path());
    }
    return path;
}

static int teardown(void **state)
{
    (void)state;
    hy_model_destroy(model);
    return 0;
}

/* log of the sum of exp */
static double log_total(const float *logits, uint32_t n)
{
    double most = -HUGE_VAL, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        most = fmax(most, (double)logits[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - most);
    }
    return most + log(sum);
}

static void test_log_probabilities(void **state)
{
    (void)state;
    json_t *line;
    double most = 0;
    const char *path = golden_path("logprobs.jsonl");
    const uint32_t vocab = vocab_of(model);
    for (size_t i = 0; (line = golden_line(path, i)); i++) {
        size_t n;
        hy_token *ids = golden_ids(golden_get(line, "ids"), &n);
        float *all = run_all_logits(model, ids, n, 64, 2, NULL);
        const json_t *positions = golden_get(line, "positions");
        for (size_t p = 0; p < json_array_size(positions); p++) {
            const json_t *position = json_array_get(positions, p),
                         *top = golden_get(position, "top");
            const float *logits =
                all + (size_t)json_integer_value(golden_get(position, "pos")) * vocab;
            const double total = log_total(logits, vocab);
            for (size_t k = 0; k < json_array_size(top); k++) {
                const json_t *pair = json_array_get(top, k);
                const double got =
                    (double)logits[json_integer_value(json_array_get(pair, 0))] - total;
                most = fmax(most, fabs(got - json_number_value(json_array_get(pair, 1))));
            }
        }
        free(all);
        free(ids);
        json_decref(line);
    }
    print_message("largest difference of a log-probability: %.3g (bound 2e-3)\n", most);
    assert_true(most <= 2e-3);
}

static void test_perplexity(void **state)
{
    (void)state;
    size_t n;
    hy_error err;
    hy_session *s;
    hy_step step;
    json_t *golden = golden_json(golden_path("perplexity.json"));
    const json_t *nll = golden_get(golden, "nll");
    hy_token *ids = golden_ids(golden_get(golden, "ids"), &n);
    const uint32_t vocab = vocab_of(model);
    const hy_session_opts opts = {.size = sizeof opts, .n_threads = 2, .all_logits = true};
    assert_ok(hy_session_create(model, &opts, &s, &err), &err);
    assert_ok(hy_session_append(s, ids, n - 1, &err), &err);
    double sum = 0, most = 0;
    size_t at = 0;
    do {
        assert_ok(hy_session_step(s, &step, &err), &err);
        for (uint32_t r = 0; r < step.n_logits; r++, at++) {
            const float *logits = hy_session_logits(s, r);
            const double loss = log_total(logits, vocab) - (double)logits[ids[at + 1]];
            most = fmax(most, fabs(loss - json_number_value(json_array_get(nll, at))));
            sum += loss;
        }
    } while (step.pending > 0);
    const double ppl = exp(sum / (double)at), want = json_number_value(golden_get(golden, "ppl"));
    print_message(
        "perplexity %.5f (reference %.5f), largest difference of a loss %.3g (bound 2e-3)\n", ppl,
        want, most);
    assert_true(fabs(ppl - want) <= 1e-3 * want);
    assert_true(most <= 2e-3);
    hy_session_destroy(s);
    free(ids);
    json_decref(golden);
}

/* Equal as long as every lead so far was above 0.01. */
static void test_greedy(void **state)
{
    (void)state;
    json_t *line;
    const char *path = golden_path("greedy.jsonl");
    for (size_t i = 0; (line = golden_line(path, i)); i++) {
        size_t n, n_want, same = 0;
        hy_token *ids = golden_ids(golden_get(line, "prompt_ids"), &n);
        hy_token *want = golden_ids(golden_get(line, "ids"), &n_want);
        hy_token *got = calloc(n_want, sizeof *got);
        const json_t *lead = golden_get(line, "lead");
        while (same < n_want && json_number_value(json_array_get(lead, same)) > 0.01) {
            same++;
        }
        run_greedy(model, ids, n, got, same);
        print_message("greedy text %zu: %zu of %zu tokens have to agree\n", i, same, n_want);
        assert_memory_equal(got, want, same * sizeof *got);
        free(got);
        free(want);
        free(ids);
        json_decref(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_probabilities),
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
