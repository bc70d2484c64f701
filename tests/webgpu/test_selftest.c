/* test_selftest.c: the self-test of the WebGPU backend: that what is right passes, that what is
 * made wrong, or does not compile, is left out by name, and that results are kept.
 *
 * Runs on each library of support/webgpu.h.  One thread. */
#include "backend/webgpu/selftest.h"
#include "support/webgpu.h"

#include <dirent.h>
#include <sys/stat.h>

typedef struct fixture {
    const char *library;
    hy_env env;
    hy__gpu gpu;
    hy__gpu_opts opts;
    hy__gpu_verdict verdict;
    char log[8000]; /* warnings */
    char why[600];  /* why there is no GPU; "" if there is */
} fixture;

static void keep_log(void *user, hy_log_level level, const char *text)
{
    fixture *const f = user;
    const size_t n = strlen(f->log);
    assert_int_equal(level, HY_LOG_WARN);
    print_message("%s\n", text);
    snprintf(f->log + n, sizeof f->log - n, "%s\n", text);
}

static fixture *fixture_of(void **state)
{
    fixture *const f = *state;
    if (f->why[0]) {
        skip();
    }
    f->log[0] = '\0';
    return f;
}

static hy_status test(fixture *f, uint64_t units, const char *cache_dir, hy_error *err)
{
    const uint64_t begin = f->env.clock_ns(f->env.user);
    const hy_status status =
        hy__gpu_selftest(&f->gpu, &f->opts, NULL, units, cache_dir, &f->verdict, err);
    print_message("%.2f s\n", (double)(f->env.clock_ns(f->env.user) - begin) * 1e-9);
    return status;
}

/* One whose kernels use a variant: formats have their own, which looks closer than others.  Small
 * subgroups add only four lanes of a row, as those of the recurrence. */
static uint64_t unit_with(hy__gpu_use uses)
{
    const bool of_format = uses >> HY__GPU_N_PLAIN || uses == HY__GPU_USE_QUANTIZE;
    hy__gpu_unit u;
    if (uses == HY__GPU_USE_SUMS) {
        return UINT64_C(1) << HY__GPU_UNIT_WKV7;
    }
    for (uint32_t i = of_format ? HY__GPU_N_PLAIN_UNITS : 0; hy__gpu_unit_at(i, &u); i++) {
        if (u.uses & uses) {
            return UINT64_C(1) << i;
        }
    }
    fail();
    return 0;
}

/* ---- tests */

static void all_is_right(void **state)
{
    fixture *const f = fixture_of(state);
    hy_error err;
    hy__gpu_unit u;
    for (uint32_t i = 0; hy__gpu_unit_at(i, &u); i++) {
        print_message("%s: ", u.name);
        assert_ok(test(f, UINT64_C(1) << i, NULL, &err), &err);
        assert_int_equal(f->verdict.passed, UINT64_C(1) << i);
        assert_true(f->verdict.dropped == 0);
    }
    assert_string_equal(f->log, "");
}

static void check_fault(fixture *f, uint32_t i, bool broken)
{
    const hy__gpu_use one = (hy__gpu_use)1 << i;
    hy_error err;
    hy__gpu_variant v;
    assert_true(hy__gpu_variant_at(i, &v));
    f->log[0] = '\0';
    hy__gpu_inject(broken ? 0 : one, broken ? one : 0);
    const hy_status status = test(f, unit_with(one), NULL, &err);
    hy__gpu_inject(0, 0);
    assert_ok(status, &err);
    assert_true(f->verdict.dropped == one);
    assert_non_null(strstr(f->log, v.what));
    assert_non_null(strstr(f->log, v.instead));
    assert_true(broken == !strstr(f->verdict.why[i], " is right"));
}

static void each_fault_is_found_alone(void **state)
{
    fixture *const f = fixture_of(state);
    const hy__gpu_use possible = hy__gpu_possible(&f->gpu);
    for (uint32_t i = 0; i < HY__GPU_MOST_VARIANTS; i++) {
        for (int broken = 0; possible >> i & 1 && broken < 2; broken++) {
            check_fault(f, i, broken);
        }
    }
}

/* ---- results that are kept */

/* A test that opens no device: whatever it would have to run fails. */
static hy_status look_up(fixture *f, uint64_t units, const char *folder, hy_error *err)
{
    const char *lib = f->opts.lib;
    f->opts.lib = "/nowhere/lib.so";
    const hy_status status = hy__gpu_selftest(&f->gpu, &f->opts, NULL, units, folder, &f->verdict, err);
    f->opts.lib = lib;
    return status;
}

/* The only file of the folder. */
static void find_file(const char *folder, char path[1200])
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    path[0] = '\0';
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            assert_string_equal(path, "");
            snprintf(path, 1200, "%s/%s", folder, entry->d_name);
        }
    }
    closedir(dir);
    assert_string_not_equal(path, "");
}

static void make_folder(const char *name, char folder[600])
{
    snprintf(folder, 600, "%s", temp_path(name));
    assert_int_equal(mkdir(folder, 0700), 0);
}

static void results_are_kept(void **state)
{
    fixture *const f = fixture_of(state);
    const uint64_t trees = UINT64_C(1) << HY__GPU_UNIT_TREES;
    const uint64_t wkv7 = UINT64_C(1) << HY__GPU_UNIT_WKV7;
    char folder[600], path[1200];
    size_t len;
    hy_error err;
    make_folder("kept", folder);
    assert_fails(look_up(f, trees, folder, &err), HY_E_UNSUPPORTED, &err, "/nowhere/lib.so");
    assert_ok(test(f, trees, folder, &err), &err);
    assert_ok(look_up(f, trees, folder, &err), &err);
    assert_int_equal(f->verdict.passed, trees);
    assert_fails(look_up(f, trees | wkv7, folder, &err), HY_E_UNSUPPORTED, &err, NULL);
    assert_ok(test(f, wkv7, folder, &err), &err);
    assert_ok(look_up(f, trees | wkv7, folder, &err), &err);
    /* Another set of variants is another test. */
    f->gpu.mask = HY__GPU_NO_FOURS;
    assert_fails(look_up(f, trees, folder, &err), HY_E_UNSUPPORTED, &err, NULL);
    f->gpu.mask = 0;
    /* And so is another driver. */
    f->gpu.caps.identity++;
    assert_fails(look_up(f, trees, folder, &err), HY_E_UNSUPPORTED, &err, NULL);
    f->gpu.caps.identity--;
    find_file(folder, path);
    char *data = read_file(path, &len);
    for (size_t i = 0; i < len; i += 7) {
        data[i] ^= 4;
        write_file(path, data, len);
        data[i] ^= 4;
        assert_fails(look_up(f, trees, folder, &err), HY_E_UNSUPPORTED, &err, NULL);
        write_file(path, data, i);
        assert_fails(look_up(f, trees, folder, &err), HY_E_UNSUPPORTED, &err, NULL);
    }
    assert_ok(test(f, trees, folder, &err), &err); /* written anew */
    assert_ok(look_up(f, trees, folder, &err), &err);
    free(data);
}

static void what_was_dropped_is_kept(void **state)
{
    (void)state;
    hy_env env;
    char folder[600];
    hy__env_resolve(&env, NULL);
    make_folder("dropped", folder);
    static hy__gpu_verdict v = {.possible = 15, .dropped = 5, .passed = 6};
    snprintf(v.why[0], sizeof v.why[0], "units: 1 where 2 is right");
    memset(v.why[2], 'x', sizeof v.why[2] - 1);
    hy__gpu_verdict_save(&env, folder, 1, 2, &v);
    static hy__gpu_verdict got = {.possible = 13};
    hy__gpu_verdict_load(&env, folder, 1, 3, &got);
    hy__gpu_verdict_load(&env, folder, 2, 2, &got);
    hy__gpu_verdict_load(&env, "/nowhere", 1, 2, &got);
    assert_true(got.dropped == 0 && got.passed == 0);
    hy__gpu_verdict_load(&env, folder, 1, 2, &got);
    assert_true(got.dropped == 5 && got.passed == 6);
    assert_string_equal(got.why[0], v.why[0]);
    assert_string_equal(got.why[2], v.why[2]);
}

int main(void)
{
    static fixture f;
    f.library = getenv("HALYARD_WEBGPU_LIB");
    int failed = 0;
    if (webgpu_open(&f.gpu, &f.env, f.library, f.why, &failed)) {
        f.gpu.env.log = keep_log;
        f.gpu.env.user = &f;
        f.opts = (hy__gpu_opts){.lib = f.library, .folder = webgpu_folder()};
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(all_is_right, &f),
        cmocka_unit_test_prestate(each_fault_is_found_alone, &f),
        cmocka_unit_test_prestate(results_are_kept, &f),
        cmocka_unit_test(what_was_dropped_is_kept),
    };
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    hy__gpu_close(&f.gpu);
    return failed;
}
