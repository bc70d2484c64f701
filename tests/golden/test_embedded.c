/* test_embedded.c: the embedded model against an independent float64 evaluation in NumPy
 * (tests/golden/README.md). */
#include <math.h>

#include "golden.h"
#include "halyard/unstable.h"

#define MODEL "models/halyard-tiny-rwkv7-Q4_K_M.gguf"
#define GOLDEN "tests/golden/embedded/Q4_K_M."
#define LOGIT_BOUND 1e-3
#define NORM_BOUND 1e-5

static hy_model *model;

static int setup(void **state)
{
    (void)state;
    model = load_model(source_path(MODEL));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hy_model_destroy(model);
    return 0;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        most = d > most || isnan(d) ? d : most;
    }
    return most;
}

/* Every logit: of all positions of prompt 0, of the last position of the others; and the 64 largest
 * of all. */
static void test_logits(void **state)
{
    (void)state;
    json_t *prompts = golden_json(source_path(GOLDEN "logits.json"));
    const uint32_t vocab = vocab_of(model);
    double most = 0;
    for (size_t p = 0; p < json_array_size(prompts); p++) {
        size_t n, n_ref;
        char name[64];
        const json_t *prompt = json_array_get(prompts, p);
        hy_token *ids = golden_ids(golden_get(prompt, "ids"), &n);
        float *all = run_all_logits(model, ids, n, 64, 2, NULL);
        snprintf(name, sizeof name, GOLDEN "logits-%zu.npy", p);
        float *ref = golden_floats(source_path(name), &n_ref);
        assert_int_equal(n_ref, p == 0 ? n * vocab : vocab);
        most = fmax(most, largest_difference(all + n * vocab - n_ref, ref, n_ref));
        for (size_t pos = 0; pos < n; pos++) {
            const json_t *top = json_array_get(golden_get(prompt, "top"), pos);
            for (size_t k = 0; k < json_array_size(top); k++) {
                const json_t *pair = json_array_get(top, k);
                const json_int_t id = json_integer_value(json_array_get(pair, 0));
                const double want = json_number_value(json_array_get(pair, 1));
                most = fmax(most, fabs((double)all[pos * vocab + (size_t)id] - want));
            }
        }
        free(ref);
        free(all);
        free(ids);
    }
    print_message("largest difference of a logit: %.3g (bound %g)\n", most, LOGIT_BOUND);
    assert_true(most <= LOGIT_BOUND);
    json_decref(prompts);
}

/* Norms and sums of the residual stream, in the order in which the file has them. */
typedef struct residual {
    const json_t *tokens;
    size_t token, row, seen;
    double most;
} residual;

static void look(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                 const float *data)
{
    residual *r = user;
    (void)layer;
    const char *last = strrchr(name, '.') ? strrchr(name, '.') + 1 : name;
    if (strcmp(last, "token_embd_norm") != 0 && strcmp(last, "x_time_mix") != 0 &&
        strcmp(last, "x_channel_mix") != 0) {
        return;
    }
    assert_int_equal(n_cols, 1);
    const json_t *want = json_array_get(json_array_get(r->tokens, r->token), r->row++);
    double norm = 0;
    for (uint32_t i = 0; i < n; i++) {
        norm += (double)data[i] * (double)data[i];
    }
    norm = sqrt(norm);
    const double ref = json_number_value(golden_get(want, "norm"));
    r->most = fmax(r->most, fabs(norm - ref) / ref);
    r->seen++;
}

static void test_residual_norms(void **state)
{
    (void)state;
    size_t n;
    hy_error err;
    hy_session *s;
    hy_step step;
    json_t *golden = golden_json(source_path(GOLDEN "residual.json"));
    hy_token *ids = golden_ids(golden_get(golden, "ids"), &n);
    residual r = {.tokens = golden_get(golden, "tokens")};
    assert_ok(hy_session_create(model, NULL, &s, &err), &err);
    assert_ok(hy_session_set_trace(s, look, &r, &err), &err);
    for (r.token = 0; r.token < n; r.token++) {
        r.row = 0;
        assert_ok(hy_session_append(s, &ids[r.token], 1, &err), &err);
        assert_ok(hy_session_step(s, &step, &err), &err);
    }
    assert_int_equal(r.seen, n * (1 + 2 * 8)); /* embedding norm, then two halves of eight layers */
    print_message("largest relative difference of %zu norms: %.3g (bound %g)\n", r.seen, r.most,
                  NORM_BOUND);
    assert_true(r.most <= NORM_BOUND);
    hy_session_destroy(s);
    free(ids);
    json_decref(golden);
}

/* All leads of this file are above the bound of the logits, so every token must be the same. */
static void test_greedy(void **state)
{
    (void)state;
    json_t *line;
    for (size_t i = 0; (line = golden_line(source_path(GOLDEN "greedy.jsonl"), i)); i++) {
        size_t n, n_want;
        hy_token *ids = golden_ids(golden_get(line, "ids"), &n);
        hy_token *want = golden_ids(golden_get(line, "continuation"), &n_want);
        hy_token *got = calloc(n_want, sizeof *got);
        run_greedy(model, ids, n, got, n_want);
        assert_memory_equal(got, want, n_want * sizeof *got);
        free(got);
        free(want);
        free(ids);
        json_decref(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_residual_norms),
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
