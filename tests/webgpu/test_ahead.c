/* test_ahead.c: sessions of the WebGPU backend that let it draw tokens ahead of the host.  One
 * thread. */
#include "halyard/unstable.h"
#include "support/webgpu.h"

/* Tokens are drawn on the device, steps ahead: the same as on the host, greedy and by chance, and
 * what is done in between brings the device back. */
static void test_ahead(void **state)
{
    (void)state;
    webgpu_or_skip();
    enum { N = 16, CUT = 9 };
    static const hy_token prompt[] = {3, 17, 0, 39};
    const char *path = source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf");
    hy_model *m = webgpu_model(path, NULL, NULL);
    hy_error err;
    for (int greedy = 0; greedy < 2; greedy++) {
        const hy_sampler_opts opts = {
            .size = sizeof opts, .greedy = greedy, .seed = 5, .repeat_penalty = 1.1f};
        hy_sampler *sampler, *other;
        hy_session *ahead, *host;
        hy_token a = 0, b = 0;
        assert_ok(hy_sampler_create(&opts, NULL, NULL, &sampler, &err), &err);
        assert_ok(hy_sampler_create(&opts, NULL, NULL, &other, &err), &err);
        assert_ok(hy_session_create(m, NULL, &ahead, &err), &err);
        assert_ok(hy_session_create(m, NULL, &host, &err), &err);
        assert_ok(hy_session_append(ahead, prompt, HY_COUNT(prompt), &err), &err);
        assert_ok(hy_session_append(host, prompt, HY_COUNT(prompt), &err), &err);
        for (int i = 0; i < N; i++) {
            step_all(ahead);
            step_all(host);
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

/* Draws n tokens behind a prompt of one, greedily; returns how many tokens the GPU evaluated. */
static uint64_t draw(hy_model *m, size_t expected, hy_token *ids, size_t n)
{
    const hy_sampler_opts opts = {.size = sizeof opts, .greedy = true};
    hy_gpu_counts before = {.size = sizeof before}, after = {.size = sizeof after};
    hy_sampler *sampler;
    hy_session *s;
    hy_error err;
    assert_ok(hy_sampler_create(&opts, NULL, NULL, &sampler, &err), &err);
    assert_ok(hy_session_create(m, NULL, &s, &err), &err);
    hy_session_expect(s, expected);
    assert_true(hy_model_gpu_counts(m, &before));
    ids[0] = 3;
    for (size_t i = 0; i < n; i++) {
        assert_ok(hy_session_append(s, &ids[i], 1, &err), &err);
        step_all(s);
        assert_ok(hy_session_sample(s, sampler, &ids[i + 1], &err), &err);
    }
    hy_session_reset(s);
    assert_true(hy_model_gpu_counts(m, &after));
    hy_session_destroy(s);
    hy_sampler_destroy(sampler);
    return after.tokens - before.tokens;
}

/* What is expected is evaluated, and no token more; more can be had all the same. */
static void test_expected(void **state)
{
    (void)state;
    webgpu_or_skip();
    enum { N = 6 };
    hy_token ids[N + 1], same[N + 1];
    hy_model *m = webgpu_model(source_path("tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf"), NULL, NULL);
    (void)draw(m, 0, ids, N);
    assert_int_equal(draw(m, N, same, N), N);
    assert_memory_equal(same, ids, sizeof ids);
    assert_int_equal(draw(m, 3, same, N), N);
    assert_memory_equal(same, ids, sizeof ids);
    hy_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_expected),
    };
    return cmocka_run_group_tests(tests, webgpu_look, NULL);
}
