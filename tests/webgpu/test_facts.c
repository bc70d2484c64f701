/* test_facts.c: what the WebGPU backend tells about itself: its device, what it was asked to do,
 * its kernels, and how fast it reads.  One thread. */
#include "halyard/unstable.h"
#include "support/webgpu.h"

static const char model_file[] = "tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf";

/* Kernels of all phases; how many of their texts have the word. */
static uint32_t count_kernels(const hy_model *m, bool many, const char *word, uint32_t *with)
{
    hy_plan_info plan = {.size = sizeof plan};
    hy_model_plan(m, &plan);
    uint32_t n = 0;
    *with = 0;
    for (uint32_t i = 0; i < plan.n_phases; i++) {
        char text[128] = "";
        for (uint32_t k = 0; hy_model_gpu_kernel(m, i, many, k, text, sizeof text); k++) {
            n++;
            *with += strstr(text, word) != NULL;
        }
    }
    return n;
}

static hy_gpu_counts counts_of(const hy_model *m)
{
    hy_gpu_counts c = {.size = sizeof c};
    assert_true(hy_model_gpu_counts(m, &c));
    return c;
}

/* A step is kernels of those that are listed, once each; of one token, all in one submission. */
static void test_counts(void **state)
{
    (void)state;
    webgpu_or_skip();
    static const hy_token prompt[] = {3, 17, 0};
    hy_model *m = webgpu_model(source_path(model_file), NULL, NULL);
    hy_webgpu_info info = {.size = sizeof info};
    assert_true(hy_model_gpu_info(m, &info));
    assert_true(info.library[0] != '\0' && info.max_buffer_bytes > 0);
    hy_session *s;
    hy_step step;
    hy_error err;
    uint32_t with;
    assert_ok(hy_session_create(m, NULL, &s, &err), &err);
    for (size_t n = 1; n <= HY_COUNT(prompt); n += 2) {
        hy_session_reset(s); /* or a state may be read back: the last step may have been long */
        const hy_gpu_counts before = counts_of(m);
        assert_ok(hy_session_append(s, prompt, n, &err), &err);
        assert_ok(hy_session_step(s, &step, &err), &err);
        const hy_gpu_counts after = counts_of(m);
        assert_int_equal(after.tokens - before.tokens, n);
        const uint64_t dispatches = after.dispatches - before.dispatches;
        const uint32_t listed = count_kernels(m, n > 1, "", &with);
        /* Several tokens: kernels for other numbers of them are listed too, and pieces of the step
         * are submitted one by one. */
        assert_in_range(dispatches, n == 1 ? listed : listed / 2, listed);
        assert_in_range(after.submits - before.submits, 1, n == 1 ? 1 : 1 + listed / 16);
        assert_true(count_kernels(m, n > 1, " Q4_K", &with) > 0 && with > 0);
        count_kernels(m, n > 1, "dot", &with);
        assert_int_equal(with > 0, info.packed_dot);
    }
    double speed = 0;
    assert_ok(hy_model_gpu_read_speed(m, &speed, &err), &err);
    assert_true(speed > 1e6 && speed < 1e15);
    assert_ok(hy_session_step(s, &step, &err), &err); /* the device still works */
    hy_session_destroy(s);
    hy_model_destroy(m);
}

static void test_masked(void **state)
{
    (void)state;
    webgpu_or_skip();
    hy_model *m = webgpu_model(source_path(model_file), "no-dot,no-subgroups", NULL);
    for (int many = 0; many < 2; many++) {
        uint32_t with;
        assert_true(count_kernels(m, many, "dot", &with) > 0);
        assert_int_equal(with, 0);
        count_kernels(m, many, "subgroups", &with);
        assert_int_equal(with, 0);
    }
    hy_model_destroy(m);
}

static void test_no_gpu(void **state)
{
    (void)state;
    hy_model *m;
    hy_error err;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "cpu"};
    assert_ok(hy_model_load(source_path(model_file), &opts, NULL, &m, &err), &err);
    hy_webgpu_info info = {.size = sizeof info};
    hy_gpu_counts counts = {.size = sizeof counts};
    uint32_t with;
    double speed = 0;
    assert_false(hy_model_gpu_info(m, &info));
    assert_false(hy_model_gpu_counts(m, &counts));
    assert_int_equal(count_kernels(m, false, "", &with), 0);
    hy_native_handle handle = {.size = sizeof handle};
    assert_fails(hy_device_native(m, 0, &handle, &err), HY_E_UNSUPPORTED, &err, "no GPU");
    assert_fails(hy_model_gpu_read_speed(m, &speed, &err), HY_E_UNSUPPORTED, &err, "no GPU");
    hy_model_destroy(m);
}

/* Handles are of one API and differ; a library without any says so. */
static void test_native(void **state)
{
    (void)state;
    webgpu_or_skip();
    hy_model *m = webgpu_model(source_path(model_file), NULL, NULL);
    hy_webgpu_info info = {.size = sizeof info};
    assert_true(hy_model_gpu_info(m, &info));
    hy_native_handle x[8];
    hy_error err;
    hy_status status = HY_OK;
    size_t n = 0;
    for (; status == HY_OK; n += status == HY_OK) {
        assert_true(n < HY_COUNT(x));
        x[n].size = sizeof x[n];
        status = hy_device_native(m, n, &x[n], &err);
    }
    for (size_t i = 0; i < n; i++) {
        print_message("%s %p\n", x[i].kind, x[i].handle);
        assert_string_equal(x[i].api, info.api);
        assert_non_null(x[i].handle);
        for (size_t k = 0; k < i; k++) {
            assert_true(x[k].handle != x[i].handle && strcmp(x[k].kind, x[i].kind) != 0);
        }
    }
    assert_int_equal(status, n > 0 ? HY_E_NOT_FOUND : HY_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, info.library));
    const size_t wanted = strcmp(info.library, "Dawn") == 0 ? 3 : 0;
    assert_true(n == wanted || strcmp(info.api, "Vulkan") != 0);
    hy_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_masked),
        cmocka_unit_test(test_no_gpu),
        cmocka_unit_test(test_native),
    };
    return cmocka_run_group_tests(tests, webgpu_look, NULL);
}
