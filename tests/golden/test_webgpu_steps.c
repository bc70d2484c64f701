/* test_webgpu_steps.c [MASK [TEST]]: steps of several tokens of the WebGPU backend, in every way in
 * which it computes them, with matrices of every format, against exact logits.
 *
 * Activations are rounded to 8 bits, and where another order of sums turns one rounding, many
 * others turn behind it.  So the bound is how far steps of one token are from exact logits, and
 * half as much again; they themselves are compared in test_webgpu.c too.  Runs on the library that
 * HALYARD_WEBGPU_LIB names. */
#include "base/base.h"
#include "golden.h"
#include "support/tiny_models.h"
#include "support/webgpu.h"

static const char *mask;

enum { N_TOKENS = 128 };

/* A clock that adds `tick` whenever it is read: steps take as long as the test wants. */
static uint64_t tick, now;

static uint64_t read_clock(void *user)
{
    (void)user;
    return now += tick;
}

static hy_model *load(const char *path)
{
    static hy_env env;
    hy_model *m = NULL;
    hy_error err;
    const hy_model_opts opts = {.size = sizeof opts,
                                .backend = "webgpu",
                                .webgpu_lib = getenv("HALYARD_WEBGPU_LIB"),
                                .webgpu_dir = webgpu_folder(),
                                .gpu_mask = mask};
    hy__env_resolve(&env, NULL);
    env.clock_ns = read_clock;
    assert_ok(hy_model_load(path, &opts, &env, &m, &err), &err);
    return m;
}

/* Few columns, tiles, and columns that are left over of each. */
static const uint32_t steps[] = {2, 8, 9, 33, 70, 128};

static void make_ids(hy_token ids[N_TOKENS], uint32_t vocab)
{
    uint32_t x = 1;
    for (size_t i = 0; i < N_TOKENS; i++) {
        x = x * 1664525 + 1013904223;
        ids[i] = (hy_token)((x >> 8) % vocab);
    }
}

/* most_rms: of steps of one token. */
static void check_steps(const char *path, double most_rms)
{
    hy_token ids[N_TOKENS];
    hy_model *ref = load_model(path);
    const uint32_t vocab = vocab_of(ref);
    make_ids(ids, vocab);
    float *exact = run_all_logits(ref, ids, N_TOKENS, N_TOKENS, 1, NULL);
    hy_model_destroy(ref);
    hy_model *m = load(path);
    tick = 0;
    free(run_all_logits(m, ids, 16, 16, 1, NULL)); /* from now on steps may be long */
    float *one = run_all_logits(m, ids, N_TOKENS, 1, 1, NULL);
    const double rms = golden_compare(one, exact, N_TOKENS, vocab).rms;
    print_message("%s: relative rms %.3g (bound %.3g)", strrchr(path, '/') + 1, rms, most_rms);
    assert_true(rms <= most_rms);
    for (size_t i = 0; i < HY_COUNT(steps); i++) {
        const size_t n = HY_MIN((size_t)4 * steps[i], (size_t)N_TOKENS);
        const double bound = 1.5 * golden_compare(one, exact, n, vocab).rms + 1e-4;
        float *got = run_all_logits(m, ids, n, steps[i], 1, NULL);
        const double d = golden_compare(got, exact, n, vocab).rms;
        print_message(", %u tokens a step %.3g (%.3g)", steps[i], d, bound);
        assert_true(d <= bound);
        free(got);
    }
    print_message("\n");
    free(one);
    free(exact);
    hy_model_destroy(m);
}

static void test_mini(void **state)
{
    (void)state;
    webgpu_or_skip();
    check_steps(source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf"), 1e-2);
    check_steps(source_path("tests/golden/mini/llama-mini-Q3_K_M.gguf"), 5e-2);
    check_steps(source_path("tests/golden/mini/qwen3-mini-Q4_K_M.gguf"), 5e-2);
    check_steps(source_path("tests/golden/arwkv7/arwkv7-gate-norm-Q4_0.gguf"), 5e-2);
}

/* A model whose matrices have the types of a list, in turn, and elements that are small enough for
 * what is rounded to stay what it is from layer to layer. */
static void check_types(tiny_arch arch, const tiny_shape *shape, const hy_type *types, size_t n,
                        double most_rms)
{
    tiny_model t;
    size_t len, k = 0;
    char name[64];
    tiny_make(&t, arch, shape);
    for (size_t i = 0; i < t.n_tensors; i++) {
        const hy_type_info *info = hy_type_find((uint32_t)types[k % n]);
        tiny_tensor *x = &t.tensors[i];
        for (size_t e = 0; e < x->n_values && x->n_dims == 2; e++) {
            x->values[e] *= 0.1f;
        }
        if (x->n_dims == 2 && x->ne[1] > 1 && x->ne[0] % info->block_elems == 0) {
            x->type = types[k++ % n];
        }
    }
    void *bytes = tiny_bytes(&t, &len);
    snprintf(name, sizeof name, "%s-%s.gguf", tiny_arch_name(arch),
             hy_type_find((uint32_t)types[0])->name);
    write_file(temp_path(name), bytes, len);
    free(bytes);
    tiny_free(&t);
    check_steps(temp_path(name), most_rms);
}

/* Two matrices that share a tile have different types in some of these. */
static void test_formats(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const tiny_shape shape = {.c = 256,
                                     .f = 512,
                                     .n_layer = 2,
                                     .n_head = 4,
                                     .n_head_kv = 2,
                                     .key = 64,
                                     .head_size = 64,
                                     .rank = 32,
                                     .rows = 100};
    static const hy_type codes[] = {HY_TYPE_Q4_0, HY_TYPE_Q4_1, HY_TYPE_Q5_0,
                                    HY_TYPE_Q5_1, HY_TYPE_Q8_0, HY_TYPE_Q4_K,
                                    HY_TYPE_Q5_K, HY_TYPE_Q6_K, HY_TYPE_F16};
    static const hy_type numbers[] = {HY_TYPE_F32, HY_TYPE_F16, HY_TYPE_BF16};
    check_types(TINY_LLAMA, &shape, codes, HY_COUNT(codes), 6e-2);
    check_types(TINY_RWKV7, &shape, codes, HY_COUNT(codes), 6e-2);
    check_types(TINY_LLAMA, &shape, numbers, HY_COUNT(numbers), 1e-3);
}

/* Rows and columns that are no multiples of anything. */
static void test_odd(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const hy_type numbers[] = {HY_TYPE_F16, HY_TYPE_F32};
    check_types(TINY_LLAMA, &tiny_odd, numbers, HY_COUNT(numbers), 1e-3);
    check_types(TINY_RWKV7, &tiny_odd, numbers, HY_COUNT(numbers), 1e-3);
    check_types(TINY_QWEN3, &tiny_usual, numbers, HY_COUNT(numbers), 1e-3);
}

/* Steps have as many tokens as take 0.4 s. */
static void test_lengths(void **state)
{
    (void)state;
    webgpu_or_skip();
    enum { N = 4000 };
    static hy_token ids[N];
    hy_error err;
    hy_session *s;
    hy_step step;
    tick = 1000 * 1000;
    hy_model *m = load(source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf"));
    const hy_session_opts opts = {.size = sizeof opts, .n_batch = 64};
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    assert_ok(hy_session_append(s, ids, N, &err), &err);
    size_t first = 0, fast, slow;
    for (int i = 0; i < 3; i++) {
        assert_ok(hy_session_step(s, &step, &err), &err);
        first = i == 0 ? step.done : first;
        fast = step.done;
    }
    tick = UINT64_C(3200) * 1000 * 1000; /* eight times too long */
    for (int i = 0; i < 2; i++) {
        assert_ok(hy_session_step(s, &step, &err), &err);
    }
    slow = step.done;
    assert_ok(hy_session_step(s, &step, &err), &err);
    print_message("steps of %zu tokens at first, %zu when they are fast, %zu and %u when not\n",
                  first, fast, slow, step.done);
    assert_true(first < 64);
    assert_int_equal(fast, 64);
    assert_int_equal(slow, 8);
    assert_int_equal(step.done, 1);
    hy_session_destroy(s);
    hy_model_destroy(m);
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
        cmocka_unit_test(test_mini),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_lengths),
    };
    mask = argc > 1 && argv[1][0] ? argv[1] : NULL;
    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    return cmocka_run_group_tests(tests, look, NULL);
}
