/* test_rules.c: every small model with each fusion left out in turn, with all of them left out, and
 * with none: on the reference backend the same bits, on the CPU backend within a bound.
 *
 * Fusions only order operations, so the reference backend cannot tell.  The CPU backend may round
 * a sum in another order, and where activations are in 8 bits a last bit of f32 may become a step
 * of one of them; the bound is the size of such steps in the logits of models with random weights.
 */
#include <math.h>

#include "base/base.h"
#include "fuse/fuse.h"
#include "golden.h"
#include "halyard/unstable.h"
#include "support/tiny_models.h"

#define MOST_RMS 0.01 /* of the difference, relative to that of the logits */

static const char *const files[] = {
    "tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf",       "tests/golden/mini/llama-mini-Q3_K_M.gguf",
    "tests/golden/mini/qwen3-mini-Q4_K_M.gguf",       "tests/golden/arwkv7/arwkv7-plain-Q8_0.gguf",
    "tests/golden/arwkv7/arwkv7-gate-norm-Q4_0.gguf", "tests/golden/qwen2/qwen2.gguf",
    "tests/golden/qwen2/qwen2-tied-linear.gguf",      "tests/golden/qwen2/llama-yarn.gguf",
};

/* A backend and, of the CPU backend, a level of instructions. */
typedef struct machine {
    const char *backend, *level;
} machine;

/* NULL if this processor has not got the level. */
static hy_model *open_model(const void *data, size_t bytes, const machine *on, const char *no_fuse)
{
    hy_model *m;
    hy_error err;
    const hy_model_opts opts = {
        .size = sizeof opts, .backend = on->backend, .cpu_level = on->level, .no_fuse = no_fuse};
    const hy_status status = hy_model_load_memory(data, bytes, &opts, NULL, &m, &err);
    if (status == HY_E_UNSUPPORTED && on->level && strstr(err.text, on->level)) {
        return NULL;
    }
    assert_ok(status, &err);
    return m;
}

static float *logits_of(const hy_model *m, size_t *n)
{
    enum { TOKENS = 21 };
    hy_token ids[TOKENS];
    const uint32_t vocab = vocab_of(m);
    for (uint32_t i = 0; i < TOKENS; i++) {
        ids[i] = (hy_token)((i * i + 5) % vocab);
    }
    *n = (size_t)TOKENS * vocab;
    return run_all_logits(m, ids, TOKENS, 8, 2, NULL); /* steps of 8, 8 and 5 */
}

static double relative_rms(const float *got, const float *want, size_t n)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        off += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(off / size);
}

/* The largest difference that leaving out a fusion, or all, makes on a machine. */
static double worst_of(const hy_model *all, const char *name, const void *data, size_t bytes,
                       const machine *on)
{
    size_t n, n_got;
    double worst = 0;
    float *want = logits_of(all, &n);
    for (uint32_t r = 0; r <= HY__N_RULES; r++) {
        const char *rule = r < HY__N_RULES ? hy__rules[r].name : "all";
        hy_model *m = open_model(data, bytes, on, rule);
        float *got = logits_of(m, &n_got);
        assert_int_equal(n_got, n);
        if (strcmp(on->backend, "ref") == 0) {
            assert_memory_equal(got, want, n * sizeof *got);
        }
        const double rms = relative_rms(got, want, n);
        worst = fmax(worst, rms);
        if (!(rms <= MOST_RMS)) {
            fail_msg("%s on %s without %s: relative rms %g", name, on->backend, rule, rms);
        }
        free(got);
        hy_model_destroy(m);
    }
    free(want);
    return worst;
}

static void check(const char *name, const void *data, size_t bytes)
{
    static const machine machines[] = {
        {"ref", NULL},
#define HY_CPU_LEVEL(name, base, features, what) {"cpu", #name},
#include "backend/cpu/levels.inc"
#undef HY_CPU_LEVEL
    };
    for (size_t i = 0; i < HY_COUNT(machines); i++) {
        const machine *on = &machines[i];
        hy_model *all = open_model(data, bytes, on, NULL);
        if (all) {
            print_message("%s on %s %s: largest relative rms %.3g\n", name, on->backend,
                          on->level ? on->level : "", worst_of(all, name, data, bytes, on));
        }
        hy_model_destroy(all);
    }
}

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < HY_COUNT(files); i++) {
        size_t len;
        char *data = read_file(source_path(files[i]), &len);
        check(files[i], data, len);
        free(data);
    }
}

static void test_tiny(void **state)
{
    (void)state;
    for (int arch = 0; arch < TINY_N_ARCHS; arch++) {
        size_t len;
        void *data = tiny_file((tiny_arch)arch, &tiny_usual, &len);
        check(tiny_arch_name((tiny_arch)arch), data, len);
        free(data);
    }
}

/* Left out fusions are phases of their own, whatever the backend. */
static void test_option(void **state)
{
    (void)state;
    size_t len;
    hy_error err;
    hy_model *m;
    const machine null = {"null", NULL};
    hy_plan_info info = {.size = sizeof info};
    void *data = tiny_file(TINY_LLAMA, &tiny_usual, &len);
    m = open_model(data, len, &null, NULL);
    hy_model_plan(m, &info);
    const uint32_t fused = info.n_phases;
    hy_model_destroy(m);
    m = open_model(data, len, &null, "norm");
    hy_model_plan(m, &info);
    assert_in_range(info.n_phases, fused + 1, info.n_ops - 1);
    hy_model_destroy(m);
    m = open_model(data, len, &null, "all");
    hy_model_plan(m, &info);
    assert_int_equal(info.n_phases, info.n_ops);
    hy_model_destroy(m);
    const hy_model_opts wrong = {.size = sizeof wrong, .backend = "null", .no_fuse = "norms"};
    assert_fails(hy_model_load_memory(data, len, &wrong, NULL, &m, &err), HY_E_NOT_FOUND, &err,
                 "there is no fusion \"norms\"");
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
