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
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = same_ns, .idle = true};
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
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = few_lanes_ns, .idle = true};
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
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = rivals_ns, .idle = true};
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
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = fickle_ns, .idle = true};
    const hy__gpu_choice *c = tune(passed_with(0));
    assert_false(hy__gpu_tunes(&c->tuning));
    assert_outcome(c, "lanes/2", HY__GPU_KEPT);
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = worse_prompts_ns, .idle = true, .many = 20};
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

/* ---- steps of many tokens that differ for some numbers of tokens alone */

static void with_matrices(hy__gpu_caps *caps)
{
    caps->f16 = caps->subgroups = true;
    caps->subgroup_min = caps->subgroup_max = 32;
    caps->matrix_m = caps->matrix_n = caps->matrix_k = 16;
    caps->workgroup_bytes = HY_MAX(caps->workgroup_bytes, 49152u);
}

static uint32_t column_tokens[256]; /* that were timed with so many columns, one after the other */
static uint32_t n_column_tokens;
static double token_ns;

/* 128 columns are better where that differs from 64, others are worse. */
static double columns_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    const uint32_t other = tuning->numbers[HY__GPU_NUMBER_COLUMNS];
    const bool differs = other && tokens > HY_MIN(other, 64u) && tokens <= HY_MAX(other, 64u);
    if (other == 128 && n_column_tokens < HY_COUNT(column_tokens)) {
        column_tokens[n_column_tokens++] = tokens;
    }
    return token_ns * (!differs ? 1 : other == 128 ? 0.8 : 1.2);
}

static bool timed_columns(uint32_t tokens)
{
    bool any = false;
    for (uint32_t i = 0; i < n_column_tokens; i++) {
        any = any || column_tokens[i] == tokens;
    }
    return any;
}

static void columns_are_timed_where_they_differ(void **state)
{
    (void)state;
    or_skip();
    hy__gpu_tune_tested = (hy__gpu_tune_test){
        .ns = columns_ns, .idle = true, .many = 256, .caps = with_matrices};
    token_ns = 1e6;
    n_column_tokens = 0;
    const hy__gpu_use use = HY__GPU_USE_MATRICES | HY__GPU_USE_SHARED | HY__GPU_USE_INVOCATIONS;
    const hy__gpu_choice *c = tune(passed_with(0) | use);
    assert_outcome(c, "columns*2", HY__GPU_CHANGED);
    assert_outcome(c, "columns/2", HY__GPU_KEPT);
    assert_int_equal(c->tuning.numbers[HY__GPU_NUMBER_COLUMNS], 128);
    const hy__gpu_gain *gain = gain_of(c, "columns*2", HY__GPU_AT_LLAMA_MANY);
    assert_non_null(gain);
    assert_true(gain->other_ns / gain->ns > 0.79 && gain->other_ns / gain->ns < 0.81);
    gain = gain_of(c, "columns/4", HY__GPU_AT_RWKV_MANY);
    assert_non_null(gain);
    assert_true(gain->other_ns / gain->ns > 1.19);
    assert_null(gain_of(c, "columns*2", HY__GPU_AT_LLAMA_ONE));
    /* Alone between the two numbers, and in the end with long steps too. */
    assert_int_equal(column_tokens[0], 96);
    assert_true(timed_columns(96) && timed_columns(256) && !timed_columns(64));
    /* A slow GPU has steps of 64 tokens, which are the same with 64 and 128 columns. */
    token_ns = 30e6;
    n_column_tokens = 0;
    c = tune(passed_with(0) | use);
    assert_outcome(c, "columns*2", HY__GPU_UNTIMED);
    assert_outcome(c, "columns/2", HY__GPU_KEPT);
    assert_int_equal(n_column_tokens, 0);
    assert_false(hy__gpu_tunes(&c->tuning));
}

/* ---- what goes wrong */

static struct leap {
    hy__gpu_use without; /* where kernels without these are written, the clock leaps */
    uint32_t at;         /* the how-manieth time; 0: never */
    uint64_t ns;
} leap;

static void leaps(const hy__gpu_tuning *tuning)
{
    if (tuning->without == leap.without && leap.at > 0 && --leap.at == 0) {
        the.now += leap.ns;
    }
}

/* Chosen, unless the clock leaps the at-th time. */
static void assert_needs_time(const char *name, hy__gpu_use use, uint32_t at, uint64_t ns)
{
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = without_ns, .idle = true, .writes = leaps};
    leap = (struct leap){.without = use};
    const hy__gpu_choice *c = tune(passed_with(use));
    assert_outcome(c, name, HY__GPU_CHANGED);
    assert_null(gain_of(c, name, HY__GPU_AT_NOWHERE));
    leap = (struct leap){use, at, ns};
    c = tune(passed_with(use));
    assert_int_equal(leap.at, 0);
    assert_false(hy__gpu_tunes(&c->tuning));
    const hy__gpu_gain *gain = gain_of(c, name, HY__GPU_AT_NOWHERE);
    assert_true(gain && gain->outcome == HY__GPU_UNTIMED);
}

/* What is faster where it was timed may be slower where it was not. */
static void what_was_skipped_somewhere_is_not_chosen(void **state)
{
    (void)state;
    or_skip();
    const hy__gpu_use possible = hy__gpu_possible(&the.gpu);
    const hy__gpu_use dot = hy__gpu_use_dot(hy__gpu_format_of(HY_TYPE_Q5_0));
    if (dot & possible) { /* only in the models of its format */
        assert_needs_time("dot-Q5_0", dot, 1, UINT64_C(15000000000));
    }
    if (possible & HY__GPU_USE_SUMS) { /* of RWKV-7, then of Llama */
        assert_needs_time("subgroup-sums", HY__GPU_USE_SUMS, 2, UINT64_C(13000000000));
    }
}

static double lanes_ns(const hy__gpu_tuning *tuning, uint32_t tokens)
{
    const uint32_t lanes = tuning->numbers[HY__GPU_NUMBER_LANES];
    (void)tokens;
    return lanes == 64 ? 0.5e9 : lanes == 128 ? 0.8e9 : 1e9;
}

/* Everything in the kernels that only a quarter of the lanes has. */
static void breaks_a_quarter(const hy__gpu_tuning *tuning)
{
    const bool breaks = tuning->numbers[HY__GPU_NUMBER_LANES] == 64;
    hy__gpu_inject(0, breaks ? UINT64_MAX : 0);
}

static void what_does_not_compile_is_left_out(void **state)
{
    (void)state;
    or_skip();
    /* The adapter that Dawn has on machines without a GPU compiles those of prompts for minutes. */
    const uint32_t many = the.gpu.lib.flavour == HY__GPU_DAWN ? 0 : 20;
    hy__gpu_tune_tested = (hy__gpu_tune_test){
        .ns = lanes_ns, .many = many, .writes = breaks_a_quarter};
    const hy__gpu_choice *c = tune(passed_with(HY__GPU_USE_SUMS));
    hy__gpu_inject(0, 0);
    assert_outcome(c, "lanes/4", HY__GPU_UNTIMED);
    assert_outcome(c, "workers*2", HY__GPU_KEPT); /* behind it */
    assert_outcome(c, "lanes/2", HY__GPU_CHANGED);
    assert_int_equal(c->tuning.numbers[HY__GPU_NUMBER_LANES], 128);
}

/* The device of RWKV-7 is lost: Llama is timed, but nothing is chosen by one of the two. */
static void losses_cost_a_stage(void **state)
{
    (void)state;
    or_skip();
    hy__gpu_tune_tested.ns = lanes_ns;
    hy__gpu_faults_at_opening.lost_before = 5;
    const hy__gpu_choice *c = tune(passed_with(0));
    assert_int_equal(hy__gpu_faults_at_opening.lost_before, 0);
    assert_false(hy__gpu_tunes(&c->tuning));
    assert_null(gain_of(c, "lanes/2", HY__GPU_AT_RWKV_ONE));
    assert_non_null(gain_of(c, "lanes/2", HY__GPU_AT_LLAMA_ONE));
    assert_non_null(gain_of(c, "lanes/2", HY__GPU_AT_NOWHERE));
}

/* A clock on which nothing ends in time. */
static void time_is_limited(void **state)
{
    (void)state;
    or_skip();
    the.tick = UINT64_C(1000000000);
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = without_ns, .idle = true};
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
    hy__env_resolve(&the.env, NULL); /* also without a GPU */
    the.env.clock_ns = clock_of_test;
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

/* Whether a kernel of Q4_K and of no other format has packed dot products. */
static bool multiplies_packed(const char *kernels)
{
    bool any = false;
    for (const char *at = kernels; (at = strstr(at, " Q4_K, ")); at++) {
        const char *dot = strstr(at, ", dot"), *end = strchr(at, '\n');
        const char *name = at;
        while (name > kernels && name[-1] != '\n' && name[-1] != ' ') {
            name--;
        }
        any = any || (dot && dot < end && (name == kernels || name[-1] == '\n'));
    }
    return any;
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
    const hy__gpu_use dot = hy__gpu_use_dot(hy__gpu_format_of(HY_TYPE_Q4_K));
    assert_true(multiplies_packed(plain) == ((dot & hy__gpu_possible(&the.gpu)) != 0));
    c.tuning.numbers[HY__GPU_NUMBER_LANES] = 128;
    c.tuning.without = dot;
    hy__gpu_key(&the.gpu, &name, &key);
    assert_ok(hy__gpu_choice_save(&the.env, folder, name, key, &c, &err), &err);
    m = model_with(folder, NULL);
    play(m, b, tuned, sizeof tuned);
    hy_model_destroy(m);
    assert_string_not_equal(plain, tuned);
    assert_non_null(strstr(tuned, "128 lanes"));
    assert_false(multiplies_packed(tuned));
    assert_memory_equal(a, b, sizeof a);
    m = model_with(folder, "no-tuned");
    play(m, b, masked, sizeof masked);
    hy_model_destroy(m);
    assert_string_equal(plain, masked);
    assert_memory_equal(a, b, sizeof a);
}

/* ---- all of it, as programs call it */

typedef struct told {
    uint32_t n, of_sums, untimed, timed;
    bool lanes;
} told;

static void take(void *user, const hy_webgpu_gain *g)
{
    told *t = user;
    t->n++;
    t->of_sums += strcmp(g->name, "subgroup-sums") == 0;
    t->timed += g->ns > 0;
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
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = without_ns, .idle = true};
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
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = without_ns, .idle = true};
    assert_ok(hy_webgpu_tune(lib, webgpu_folder(), NULL, folder, &the.env, "now and then", &tuning,
                             take, &t, &err),
              &err);
    assert_true(tuning.made && tuning.path[0] && t.lanes && t.timed > 0);
    assert_true((t.of_sums > 0) == the.gpu.caps.subgroups);
    assert_string_equal(tuning.when, "now");
    assert_ok(hy_webgpu_tuned(lib, webgpu_folder(), NULL, folder, &the.env, &tuning, take, &again,
                              &err),
              &err);
    assert_true(tuning.made);
    assert_int_equal(again.n, t.n);
    /* Forms of matrices are for models that are compared: the choice is the same. */
    again = (told){0};
    assert_ok(hy_webgpu_tuned(lib, webgpu_folder(), "no-codes", folder, &the.env, &tuning, take,
                              &again, &err),
              &err);
    assert_int_equal(again.n, t.n);
    /* A run in which there is no time for anything leaves it alone. */
    the.tick = UINT64_C(1000000000);
    hy__gpu_tune_tested = (hy__gpu_tune_test){0};
    told late = {0};
    assert_ok(hy_webgpu_tune(lib, webgpu_folder(), NULL, folder, &the.env, "late", &tuning, take,
                             &late, &err),
              &err);
    assert_true(tuning.made && tuning.path[0] == 0 && late.untimed > 0 && late.timed == 0);
    the.tick = 0;
    assert_ok(hy_webgpu_tuned(lib, webgpu_folder(), NULL, folder, &the.env, &tuning, take, &again,
                              &err),
              &err);
    assert_true(tuning.made);
    assert_string_equal(tuning.when, "now");
    /* What cannot be kept is told all the same. */
    hy__gpu_tune_tested = (hy__gpu_tune_test){.ns = without_ns, .idle = true};
    again = (told){0};
    const char *const file = temp_path("no-folder");
    write_file(file, "x", 1);
    assert_fails(hy_webgpu_tune(lib, webgpu_folder(), NULL, file, &the.env, "now", &tuning, take,
                                &again, &err),
                 HY_E_IO, &err, "no-folder");
    assert_true(tuning.made && tuning.path[0] == 0 && again.n == t.n);
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
        cmocka_unit_test(columns_are_timed_where_they_differ),
        cmocka_unit_test(what_was_skipped_somewhere_is_not_chosen),
        cmocka_unit_test(what_does_not_compile_is_left_out),
        cmocka_unit_test(losses_cost_a_stage),
        cmocka_unit_test(time_is_limited),
        cmocka_unit_test(models_obey_the_choice),
        cmocka_unit_test(what_failed_is_left_out),
        cmocka_unit_test(programs_are_told),
    };
    failed += cmocka_run_group_tests_name("webgpu_tune", tests, NULL, NULL);
    hy__gpu_close(&the.gpu);
    return failed;
}
