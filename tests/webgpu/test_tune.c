/* test_tune.c: the tuner of the WebGPU backend: that it chooses what is clearly faster and nothing
 * else, within its time and what is right, that the choice is kept, and that models obey it.
 *
 * Runs on the library of support/webgpu.h.  Times come from the tests, never from a clock. */
#include "backend/webgpu/tune.h"
#include "model/model.h"
#include "support/webgpu.h"

#include <sys/stat.h>

typedef struct fixture {
    hy_env env;
    hy__gpu gpu;
    hy__gpu_opts opts;
    char why[600]; /* why there is no GPU; "" if there is */
    uint64_t now, tick; /* of the clock: it goes on by a tick when it is read */
} fixture;

static fixture the;

static void or_skip(void)
{
    if (the.why[0]) {
        skip();
    }
    the.tick = 0;
    hy__gpu_tune_tested = (hy__gpu_tune_test){0};
}

static uint64_t clock_of_test(void *user)
{
    (void)user;
    return the.now += the.tick;
}

/* Reading formats and the variants that are given. */
static hy__gpu_use passed_with(hy__gpu_use use)
{
    for (size_t i = 0; hy__gpu_format_at(i); i++) {
        use |= hy__gpu_use_format(hy__gpu_format_at(i));
    }
    return use & hy__gpu_possible(&the.gpu);
}

static hy__gpu_use found_changes; /* of all calls: what was left out together */

static hy__gpu_choice *tune(hy__gpu_use passed)
{
    static hy__gpu_choice c;
    hy_error err;
    c = (hy__gpu_choice){.when = "today"};
    found_changes = 0;
    assert_ok(hy__gpu_tune(&the.gpu, &the.opts, passed, &c, &err), &err);
    assert_true(c.made && c.n_gains > 0);
    return &c;
}

/* The gain of an option at a place, or at any; NULL: there is none. */
static const hy__gpu_gain *gain_of(const hy__gpu_choice *c, const char *name, uint32_t place)
{
    hy__gpu_option o;
    for (uint32_t i = 0; i < c->n_gains; i++) {
        assert_true(hy__gpu_option_at(c->gains[i].option, &o));
        if (strcmp(o.name, name) == 0 &&
            (place == HY__GPU_N_PLACES || c->gains[i].place == place)) {
            return &c->gains[i];
        }
    }
    return NULL;
}

static void assert_outcome(const hy__gpu_choice *c, const char *name, uint32_t outcome)
{
    const hy__gpu_gain *gain = gain_of(c, name, HY__GPU_N_PLACES);
    assert_non_null(gain);
    assert_string_equal(hy__gpu_outcome_names[gain->outcome], hy__gpu_outcome_names[outcome]);
}

static double same_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    found_changes |= tuning->without;
    return tokens * 1e9;
}

/* ---- tests */

static void options_have_names_of_their_own(void **state)
{
    (void)state;
    hy__gpu_option a, b;
    uint32_t n = 0;
    for (; hy__gpu_option_at(n, &a); n++) {
        assert_true(a.what[0] && !strchr(a.name, ' '));
        for (uint32_t k = 0; k < n && hy__gpu_option_at(k, &b); k++) {
            assert_string_not_equal(a.name, b.name);
            assert_string_not_equal(a.what, b.what);
        }
    }
    assert_true(n > HY__GPU_N_NUMBERS && n <= HY__GPU_MOST_OPTIONS);
}

static void nothing_is_chosen_without_a_gain(void **state)
{
    (void)state;
    or_skip();
    hy__gpu_tune_tested = (hy__gpu_tune_test){same_ns, true, 0};
    const hy__gpu_choice *c = tune(passed_with(HY__GPU_USE_TOTALS | HY__GPU_USE_SUMS));
    assert_false(hy__gpu_tunes(&c->tuning));
    assert_outcome(c, "lanes/2", HY__GPU_KEPT);
    assert_outcome(c, "workers*2", HY__GPU_KEPT);
    assert_null(gain_of(c, "dot-Q4_K", HY__GPU_N_PLACES)); /* did not pass */
    if (the.gpu.caps.subgroups) {
        assert_outcome(c, "subgroup-sums", HY__GPU_KEPT);
        assert_true(found_changes == (HY__GPU_USE_TOTALS | HY__GPU_USE_SUMS));
    }
}

static double few_lanes_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    const uint32_t lanes = tuning->numbers[HY__GPU_NUMBER_LANES];
    const uint32_t workers = tuning->numbers[HY__GPU_NUMBER_WORKERS];
    (void)tokens;
    return 1e9 * (lanes == 128 ? 0.9 : lanes == 64 ? 0.95 : 1) * (workers ? 0.98 : 1);
}

static void the_best_number_is_chosen(void **state)
{
    (void)state;
    or_skip();
    hy__gpu_tune_tested = (hy__gpu_tune_test){few_lanes_ns, true, 0};
    const hy__gpu_choice *c = tune(passed_with(0));
    assert_int_equal(c->tuning.numbers[HY__GPU_NUMBER_LANES], 128);
    assert_int_equal(c->tuning.numbers[HY__GPU_NUMBER_WORKERS], 0); /* too little */
    assert_true(c->tuning.without == 0);
    assert_outcome(c, "lanes/2", HY__GPU_CHANGED);
    assert_outcome(c, "lanes/4", HY__GPU_KEPT);
    const hy__gpu_gain *gain = gain_of(c, "lanes/2", HY__GPU_AT_LLAMA_ONE);
    assert_non_null(gain);
    assert_true(gain->other_ns / gain->ns > 0.89 && gain->other_ns / gain->ns < 0.91);
}

/* Both are faster alone, together they are slower: the better one is left. */
static double rivals_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    const uint32_t lanes = tuning->numbers[HY__GPU_NUMBER_LANES];
    const uint32_t workers = tuning->numbers[HY__GPU_NUMBER_WORKERS];
    (void)tokens;
    return 1e9 * (lanes && workers ? 1.1 : lanes == 64 ? 0.9 : workers ? 0.8 : 1);
}

static void what_is_slower_together_is_not_chosen(void **state)
{
    (void)state;
    or_skip();
    hy__gpu_tune_tested = (hy__gpu_tune_test){rivals_ns, true, 0};
    const hy__gpu_choice *c = tune(passed_with(0));
    assert_int_equal(c->tuning.numbers[HY__GPU_NUMBER_LANES], 0);
    assert_true(c->tuning.numbers[HY__GPU_NUMBER_WORKERS] > 0);
}

/* Faster the first time only: each time is a step to begin with and three pairs. */
static double fickle_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    static uint32_t calls;
    (void)tokens;
    return tuning->numbers[HY__GPU_NUMBER_LANES] == 128 && calls++ % 8 < 4 ? 0.7e9 : 1e9;
}

static double worse_prompts_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    return tuning->without == 0 ? 1e9 : tokens == 1 ? 0.5e9 : 1.1e9;
}

static void chance_and_harm_are_not_chosen(void **state)
{
    (void)state;
    or_skip();
    hy__gpu_tune_tested = (hy__gpu_tune_test){fickle_ns, true, 0};
    const hy__gpu_choice *c = tune(passed_with(0));
    assert_false(hy__gpu_tunes(&c->tuning));
    assert_outcome(c, "lanes/2", HY__GPU_KEPT);
    hy__gpu_tune_tested = (hy__gpu_tune_test){worse_prompts_ns, true, 20};
    c = tune(passed_with(HY__GPU_USE_SUMS));
    assert_false(hy__gpu_tunes(&c->tuning));
    if (the.gpu.caps.subgroups) {
        assert_non_null(gain_of(c, "subgroup-sums", HY__GPU_AT_RWKV_ONE));
        assert_non_null(gain_of(c, "subgroup-sums", HY__GPU_AT_RWKV_MANY));
    }
}

static double without_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    (void)tokens;
    return tuning->without ? 0.5e9 : 1e9;
}

/* All that is computed with the variant is wrong, so that without it results differ. */
static void what_computes_something_else_is_not_chosen(void **state)
{
    (void)state;
    or_skip();
    if (!(hy__gpu_possible(&the.gpu) & HY__GPU_USE_SUMS)) {
        skip();
    }
    hy__gpu_tune_tested.ns = without_ns;
    const hy__gpu_choice *c = tune(passed_with(HY__GPU_USE_SUMS));
    assert_true(c->tuning.without == HY__GPU_USE_SUMS);
    assert_outcome(c, "subgroup-sums", HY__GPU_CHANGED);
    hy__gpu_inject(HY__GPU_USE_SUMS, 0);
    c = tune(passed_with(HY__GPU_USE_SUMS));
    hy__gpu_inject(0, 0);
    assert_false(hy__gpu_tunes(&c->tuning));
    assert_outcome(c, "subgroup-sums", HY__GPU_WRONG);
}

/* A clock on which nothing ends in time. */
static void time_is_limited(void **state)
{
    (void)state;
    or_skip();
    the.tick = UINT64_C(1000000000);
    hy__gpu_tune_tested = (hy__gpu_tune_test){without_ns, true, 0};
    const hy__gpu_choice *c = tune(passed_with(HY__GPU_USE_SUMS));
    the.tick = 0;
    assert_false(hy__gpu_tunes(&c->tuning));
    assert_true(c->seconds < 60);
    assert_outcome(c, "lanes/2", HY__GPU_UNTIMED);
    assert_outcome(c, "workers/2", HY__GPU_UNTIMED);
}

/* ---- the file */

static void make_folder(const char *name, char folder[600])
{
    snprintf(folder, 600, "%s", temp_path(name));
    assert_int_equal(mkdir(folder, 0700), 0);
}

static hy__gpu_choice *load(const char *folder, uint64_t name, uint64_t key)
{
    static hy__gpu_choice c;
    c = (hy__gpu_choice){0};
    hy__gpu_choice_load(&the.env, folder, name, key, &c);
    return &c;
}

static void choices_are_kept(void **state)
{
    (void)state;
    static hy__gpu_choice c = {.made = true, .when = "2026-01-02T03:04:05Z", .seconds = 12.5};
    char folder[600], path[1200];
    size_t len;
    hy_error err;
    hy__env_resolve(&the.env, NULL);
    make_folder("choices", folder);
    c.tuning.without = HY__GPU_USE_SUMS | hy__gpu_use_dot(hy__gpu_format_of(HY_TYPE_Q4_K));
    c.tuning.numbers[HY__GPU_NUMBER_WORKERS] = 1234;
    c.gains[0] = (hy__gpu_gain){3, HY__GPU_AT_LLAMA_MANY, HY__GPU_CHANGED, 5000, 4000};
    c.gains[1] = (hy__gpu_gain){0, HY__GPU_AT_NOWHERE, HY__GPU_UNTIMED, 0, 0};
    c.n_gains = 2;
    assert_ok(hy__gpu_choice_save(&the.env, folder, 1, 2, &c, &err), &err);
    const hy__gpu_choice *got = load(folder, 1, 2);
    assert_true(got->made && got->seconds > 12.4 && got->seconds < 12.6);
    assert_string_equal(got->when, c.when);
    assert_true(got->tuning.without == c.tuning.without);
    assert_memory_equal(got->tuning.numbers, c.tuning.numbers, sizeof c.tuning.numbers);
    assert_int_equal(got->n_gains, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const hy__gpu_gain *a = &got->gains[i], *b = &c.gains[i];
        assert_true(a->option == b->option && a->place == b->place && a->outcome == b->outcome);
        assert_true(a->ns == b->ns && a->other_ns == b->other_ns);
    }
    /* Of another key or adapter, nowhere, cut off, or with a bit that is wrong. */
    assert_false(load(folder, 1, 3)->made);
    assert_false(load(folder, 2, 2)->made);
    assert_false(load("/nowhere", 1, 2)->made);
    assert_fails(hy__gpu_choice_save(&the.env, "/nowhere", 1, 2, &c, &err), HY_E_IO, &err,
                 "/nowhere");
    hy__gpu_choice_path(path, sizeof path, folder, 1);
    char *data = read_file(path, &len);
    for (size_t i = 0; i + 1 < len; i++) { /* but for the last newline */
        data[i] ^= 4;
        write_file(path, data, len);
        data[i] ^= 4;
        got = load(folder, 1, 2);
        assert_true(!got->made && !hy__gpu_tunes(&got->tuning) && got->n_gains == 0);
        write_file(path, data, i);
        assert_false(load(folder, 1, 2)->made);
    }
    free(data);
}

/* ---- models */

static hy_model *model_with(const char *folder, const char *mask)
{
    hy_model *m = NULL;
    hy_error err;
    hy_model_opts opts = webgpu_model_opts();
    opts.kernel_cache = folder;
    opts.gpu_mask = mask;
    assert_ok(hy_model_load(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), &opts, NULL, &m,
                            &err),
              &err);
    return m;
}

/* Greedy tokens of a model, and the kernels of its steps. */
static void play(hy_model *m, hy_token out[12], char *kernels, size_t cap)
{
    hy_error err;
    hy_session *s = NULL;
    const hy_session_opts opts = {.size = sizeof opts};
    const hy_sampler_opts greedy = {.size = sizeof greedy, .greedy = true};
    hy_sampler *sampler = NULL;
    const hy_token first[] = {5, 9, 2};
    char text[200];
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    assert_ok(hy_sampler_create(&greedy, hy_model_tokenizer(m), NULL, &sampler, &err), &err);
    assert_ok(hy_session_append(s, first, HY_COUNT(first), &err), &err);
    for (size_t i = 0; i < 12; i++) {
        hy_step step;
        assert_ok(hy_session_step(s, &step, &err), &err);
        assert_ok(hy_session_sample(s, sampler, &out[i], &err), &err);
        assert_ok(hy_session_append(s, &out[i], 1, &err), &err);
    }
    kernels[0] = '\0';
    for (uint32_t i = 0; i < 200; i++) {
        for (uint32_t k = 0; hy_model_gpu_kernel(m, i, false, k, text, sizeof text); k++) {
            const size_t n = strlen(kernels);
            snprintf(kernels + n, cap - n, "%s\n", text);
        }
    }
    hy_sampler_destroy(sampler);
    hy_session_destroy(s);
}

static void models_obey_the_choice(void **state)
{
    (void)state;
    or_skip();
    static char plain[20000], tuned[20000], masked[20000];
    static hy__gpu_choice c = {.made = true, .when = "now"};
    hy_token a[12], b[12];
    uint64_t name, key;
    hy_error err;
    char folder[600];
    make_folder("obeyed", folder);
    hy_model *m = model_with(folder, NULL);
    play(m, a, plain, sizeof plain);
    hy_model_destroy(m);
    assert_non_null(strstr(plain, "256 lanes"));
    c.tuning.numbers[HY__GPU_NUMBER_LANES] = 128;
    c.tuning.without = hy__gpu_use_dot(hy__gpu_format_of(HY_TYPE_Q4_K));
    hy__gpu_key(&the.gpu, &name, &key);
    assert_ok(hy__gpu_choice_save(&the.env, folder, name, key, &c, &err), &err);
    m = model_with(folder, NULL);
    play(m, b, tuned, sizeof tuned);
    hy_model_destroy(m);
    assert_string_not_equal(plain, tuned);
    assert_non_null(strstr(tuned, "128 lanes"));
    assert_memory_equal(a, b, sizeof a);
    m = model_with(folder, "no-tuned");
    play(m, b, masked, sizeof masked);
    hy_model_destroy(m);
    assert_string_equal(plain, masked);
    assert_memory_equal(a, b, sizeof a);
}

/* ---- all of it, as programs call it */

typedef struct told {
    uint32_t n, of_sums, untimed;
    bool lanes;
} told;

static void take(void *user, const hy_webgpu_gain *g)
{
    told *t = user;
    t->n++;
    t->of_sums += strcmp(g->name, "subgroup-sums") == 0;
    t->untimed += strcmp(g->state, "untimed") == 0;
    t->lanes = t->lanes || strcmp(g->name, "lanes/2") == 0;
    assert_true(g->what[0] && g->ns >= 0 && g->other_ns >= 0);
}

/* What the self-test drops is nothing to choose. */
static void what_failed_is_left_out(void **state)
{
    (void)state;
    or_skip();
    static hy__gpu_verdict v;
    hy_error err;
    hy__gpu_inject(HY__GPU_USE_TOTALS | HY__GPU_USE_RECURRENCE, 0);
    const hy_status status = hy__gpu_selftest(&the.gpu, &the.opts, NULL,
                                              UINT64_C(1) << HY__GPU_UNIT_WKV7, NULL, &v, &err);
    hy__gpu_inject(0, 0);
    assert_ok(status, &err);
    assert_true(v.dropped != 0 || !the.gpu.caps.subgroups);
    hy__gpu_tune_tested = (hy__gpu_tune_test){without_ns, true, 0};
    const hy__gpu_choice *c = tune(v.possible & ~v.dropped);
    assert_true((c->tuning.without & v.dropped) == 0);
    for (uint32_t i = 0; i < c->n_gains; i++) {
        hy__gpu_option o;
        assert_true(hy__gpu_option_at(c->gains[i].option, &o) && !(o.without & v.dropped));
    }
}

static void programs_are_told(void **state)
{
    (void)state;
    or_skip();
    hy_webgpu_tuning tuning = {.size = sizeof tuning};
    told t = {0}, again = {0};
    hy_error err;
    char folder[600];
    make_folder("failed", folder);
    const char *const lib = the.opts.lib;
    assert_ok(hy_webgpu_tuned(lib, webgpu_folder(), NULL, folder, &the.env, &tuning, take, &t, &err),
              &err);
    assert_true(!tuning.made && t.n == 0);
    the.tick = UINT64_C(1000000000);
    assert_ok(hy_webgpu_tune(lib, webgpu_folder(), NULL, folder, &the.env, "now and then", &tuning,
                             take, &t, &err),
              &err);
    assert_true(tuning.made && t.lanes && t.untimed > 0);
    assert_true((t.of_sums > 0) == the.gpu.caps.subgroups);
    assert_string_equal(tuning.when, "now");
    assert_ok(hy_webgpu_tuned(lib, webgpu_folder(), NULL, folder, &the.env, &tuning, take, &again,
                              &err),
              &err);
    assert_true(tuning.made);
    assert_int_equal(again.n, t.n);
    the.tick = 0;
    assert_fails(hy_webgpu_tune(lib, webgpu_folder(), "no-such", NULL, &the.env, "now", &tuning,
                                take, &t, &err),
                 HY_E_NOT_FOUND, &err, "no-tuned");
}

int main(void)
{
    int failed = 0;
    const char *const library = getenv("HALYARD_WEBGPU_LIB");
    if (webgpu_open(&the.gpu, &the.env, library, the.why, &failed)) {
        the.opts = (hy__gpu_opts){.lib = library, .folder = webgpu_folder(), .cache = webgpu_kept()};
        the.env.clock_ns = clock_of_test;
        the.gpu.env.clock_ns = clock_of_test;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_have_names_of_their_own),
        cmocka_unit_test(choices_are_kept),
        cmocka_unit_test(nothing_is_chosen_without_a_gain),
        cmocka_unit_test(the_best_number_is_chosen),
        cmocka_unit_test(what_is_slower_together_is_not_chosen),
        cmocka_unit_test(chance_and_harm_are_not_chosen),
        cmocka_unit_test(what_computes_something_else_is_not_chosen),
        cmocka_unit_test(time_is_limited),
        cmocka_unit_test(models_obey_the_choice),
        cmocka_unit_test(what_failed_is_left_out),
        cmocka_unit_test(programs_are_told),
    };
    failed += cmocka_run_group_tests_name("webgpu_tune", tests, NULL, NULL);
    hy__gpu_close(&the.gpu);
    return failed;
}
