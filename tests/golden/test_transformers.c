/* test_transformers.c: tiny transformers against logits computed by tests/golden/qwen2/make.py, a
 * program of its own. */
#include <math.h>

#include "base/base.h"
#include "golden.h"

/* As in make.py. */
static const hy_token tokens[] = {3, 17, 0, 39, 8, 8, 25, 11, 30, 2, 19};

static void compare(const char *name)
{
    char path[100];
    size_t n;
    snprintf(path, sizeof path, "tests/golden/qwen2/%s.gguf", name);
    hy_model *m = load_model(source_path(path));
    snprintf(path, sizeof path, "tests/golden/qwen2/%s.logits.f32", name);
    float *expected = golden_floats(source_path(path), &n);
    assert_int_equal(n, HY_COUNT(tokens) * vocab_of(m));
    float *got = run_all_logits(m, tokens, HY_COUNT(tokens), 4, 2, NULL);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)got[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    print_message("%s: off by %.2g, logits up to %.2g\n", name, worst, largest);
    assert_true(largest > 1);
    assert_true(worst < 1e-5 * largest); /* activations are single precision */
    free(expected);
    free(got);
    hy_model_destroy(m);
}

static void qwen2(void **state)
{
    (void)state;
    compare("qwen2");
}

static void qwen2_with_tied_output_and_linear_scaling(void **state)
{
    (void)state;
    compare("qwen2-tied-linear");
}

static void llama_with_yarn_factors_and_biases(void **state)
{
    (void)state;
    compare("llama-yarn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen2),
        cmocka_unit_test(qwen2_with_tied_output_and_linear_scaling),
        cmocka_unit_test(llama_with_yarn_factors_and_biases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
