/* test_ladder.c [TEST]: the plain ways of multiplying that the ladder of `halyard bench` compares:
 * matrices of every type in each of them against exact logits; what their kernels are is looked at
 * by tests/cli/test_ladder.c.  One thread. */
#include "support/tiny_models.h"
#include "support/webgpu.h"

#include <math.h>

static const struct rung {
    const char *name, *mask;
    bool alone;
} rungs[] = {
#define HY_RUNG(name, what, mask, alone, needs, least, most) {name, mask, alone},
#include "../../cli/rungs.inc"
};

/* ---- numbers */

enum { N_TOKENS = 7 };

/* Logits behind each token, steps of `each` tokens; free() them. */
static float *logits_of(const hy_model *m, uint32_t each, uint32_t vocab)
{
    hy_session *s;
    hy_step step;
    hy_error err;
    const hy_session_opts opts = {.size = sizeof opts, .n_batch = each, .all_logits = true};
    float *all = calloc((size_t)N_TOKENS * vocab, sizeof *all);
    assert_non_null(all);
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    for (uint32_t i = 0; i < N_TOKENS; i += each) {
        hy_token ids[N_TOKENS];
        const uint32_t n = each < N_TOKENS - i ? each : N_TOKENS - i;
        for (uint32_t k = 0; k < n; k++) {
            ids[k] = (hy_token)((i + k) * 13 % vocab);
        }
        assert_ok(hy_session_append(s, ids, n, &err), &err);
        for (uint32_t done = 0; done < n; done += step.done) {
            assert_ok(hy_session_step(s, &step, &err), &err);
            assert_int_equal(step.n_logits, step.done);
            memcpy(all + (size_t)(i + done) * vocab, hy_session_logits(s, 0),
                   (size_t)step.done * vocab * sizeof *all);
        }
    }
    hy_session_destroy(s);
    return all;
}

static double distance(const float *got, const float *exact, size_t n)
{
    double off = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        off += pow((double)got[i] - (double)exact[i], 2);
        all += pow((double)exact[i], 2);
    }
    return all > 0 ? sqrt(off / all) : NAN;
}

static void check(const char *path, const struct rung *r, const float *exact, uint32_t vocab,
                  double bound)
{
    hy_model *m = webgpu_model(path, r->mask, "all");
    for (uint32_t each = 1; each < N_TOKENS; each += 3) {
        float *got = logits_of(m, each, vocab);
        const double d = distance(got, exact, (size_t)N_TOKENS * vocab);
        print_message("%s, %s, %u tokens a step: relative rms %.3g (bound %.3g)\n",
                      strrchr(path, '/') + 1, r->name, each, d, bound);
        assert_true(d <= bound);
        free(got);
    }
    hy_model_destroy(m);
}

/* Types that are only decoded: blocks of any bytes but for the scale, 0.05, which the ternary ones
 * have at their end and the others at their beginning. */
static void fill(void *file, size_t bytes)
{
    hy_gguf *g;
    hy_error err;
    uint32_t x = 1;
    assert_ok(hy_gguf_open_memory(file, bytes, NULL, &g, &err), &err);
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        const hy_type_info *info = hy_type_find((uint32_t)t->type);
        const bool ternary = t->type == HY_TYPE_TQ1_0 || t->type == HY_TYPE_TQ2_0;
        const uint64_t scale = ternary ? info->block_bytes - 2 : 0;
        uint8_t *data = (uint8_t *)file + ((const uint8_t *)t->data - (const uint8_t *)file);
        for (uint64_t k = 0; !info->can_encode && k < t->bytes; k++) {
            const uint64_t at = k % info->block_bytes;
            x = x * 1664525 + 1013904223;
            data[k] = at == scale ? 0x66 : at == scale + 1 ? 0x2a : (uint8_t)(x >> 24);
        }
    }
    hy_gguf_close(g);
}

/* A model whose matrices have the types of a list in turn, the first of them in the embedding. */
static void check_types(tiny_arch arch, const tiny_shape *shape, const hy_type *types, size_t n,
                        double raw_bound, double planes_bound)
{
    tiny_model t;
    size_t len, k = 0;
    char name[64];
    hy_error err;
    hy_model *ref;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "ref"};
    tiny_make(&t, arch, shape);
    for (size_t i = 0; i < t.n_tensors; i++) {
        const hy_type_info *info = hy_type_find((uint32_t)types[k % n]);
        tiny_tensor *x = &t.tensors[i];
        if (x->n_dims == 2 && x->ne[1] > 1 && x->ne[0] % info->block_elems == 0) {
            x->type = types[k++ % n];
        }
    }
    assert_true(k >= n); /* each has its turn */
    void *bytes = tiny_bytes(&t, &len);
    fill(bytes, len);
    snprintf(name, sizeof name, "%s-%s.gguf", tiny_arch_name(arch),
             hy_type_find((uint32_t)types[0])->name);
    write_file(temp_path(name), bytes, len);
    free(bytes);
    tiny_free(&t);
    assert_ok(hy_model_load(temp_path(name), &opts, NULL, &ref, &err), &err);
    hy_model_info info = {.size = sizeof info};
    hy_model_get_info(ref, &info);
    float *exact = logits_of(ref, 1, info.n_vocab);
    hy_model_destroy(ref);
    for (size_t i = 0; i < HY_COUNT(rungs); i++) {
        const bool raw = strstr(rungs[i].mask, "no-lanes") || strstr(rungs[i].mask, "no-planes");
        if (raw || strstr(rungs[i].mask, "no-codes")) {
            check(temp_path(name), &rungs[i], exact, info.n_vocab, raw ? raw_bound : planes_bound);
        }
    }
    free(exact);
}

static const tiny_shape blocks_of_256 = {.c = 256,
                                         .f = 512,
                                         .n_layer = 2,
                                         .n_head = 4,
                                         .n_head_kv = 2,
                                         .key = 64,
                                         .head_size = 64,
                                         .rank = 32,
                                         .rows = 77};

/* Factors of K types are rounded to f16 in planes; types without planes are, too, as a whole. */
static void test_types(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const hy_type k_types[] = {HY_TYPE_Q2_K, HY_TYPE_Q3_K, HY_TYPE_Q4_K, HY_TYPE_Q5_K,
                                      HY_TYPE_Q6_K, HY_TYPE_IQ4_XS, HY_TYPE_TQ1_0, HY_TYPE_TQ2_0};
    static const hy_type small[] = {HY_TYPE_Q4_0, HY_TYPE_Q4_1, HY_TYPE_Q5_0, HY_TYPE_Q5_1,
                                    HY_TYPE_Q8_0, HY_TYPE_IQ4_NL, HY_TYPE_MXFP4, HY_TYPE_Q2_0};
    check_types(TINY_RWKV7, &blocks_of_256, k_types, HY_COUNT(k_types), 1e-4, 2e-2);
    check_types(TINY_RWKV7, &blocks_of_256, small, HY_COUNT(small), 1e-4, 5e-3);
    check_types(TINY_LLAMA, &blocks_of_256, k_types, HY_COUNT(k_types), 5e-3, 4e-2);
}

/* Rows and columns that are no multiples of anything, and rows longer than what is shared. */
static void test_odd(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const tiny_shape long_rows = {.c = 64,
                                         .f = 4128,
                                         .n_layer = 1,
                                         .n_head = 1,
                                         .n_head_kv = 1,
                                         .key = 64,
                                         .head_size = 64,
                                         .rank = 32,
                                         .rows = 33};
    static const hy_type numbers[] = {HY_TYPE_F16, HY_TYPE_F32, HY_TYPE_BF16};
    static const hy_type mixed[] = {HY_TYPE_Q8_0, HY_TYPE_F32, HY_TYPE_Q5_0};
    check_types(TINY_RWKV7, &tiny_odd, numbers, HY_COUNT(numbers), 1e-4, 1e-4);
    check_types(TINY_LLAMA, &tiny_odd, numbers, HY_COUNT(numbers), 5e-3, 5e-3);
    check_types(TINY_RWKV7, &long_rows, mixed, HY_COUNT(mixed), 1e-4, 1e-4);
}

/* Types that are looked up in large tables are F16 there, as they are elsewhere. */
static void test_tables(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const hy_type types[] = {HY_TYPE_IQ2_XXS, HY_TYPE_IQ3_S};
    check_types(TINY_RWKV7, &blocks_of_256, types, HY_COUNT(types), 5e-3, 5e-3);
}

/* ---- kernels */

static void test_fused(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const char *const masks[] = {"no-lanes", "no-planes", "no-codes"};
    for (size_t i = 0; i < HY_COUNT(masks); i++) {
        hy_model *m;
        hy_error err;
        hy_model_opts opts = webgpu_model_opts();
        opts.gpu_mask = masks[i];
        assert_fails(hy_model_load(source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf"), &opts,
                                   NULL, &m, &err),
                     HY_E_UNSUPPORTED, &err, "need every operation alone");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_fused),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, webgpu_look, NULL);
}
