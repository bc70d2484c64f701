/* test_loading.c [TESTS]: what happens while a model is loaded: kernels that are compiled meanwhile, the
 * folder where they are kept, and the memory that it takes.  One thread, but for what the library
 * starts. */
#define _POSIX_C_SOURCE 200809L /* utimensat */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "backend/webgpu/webgpu.h"
#include "base/os.h"
#include "model/model.h"
#include "support/tiny_models.h"
#include "support/webgpu.h"

static const char tiny[] = "tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf";

/* ---- the folder */

static const char *fresh_folder(void)
{
    static char path[600];
    static int number;
    char name[40];
    snprintf(name, sizeof name, "kernels%d", number++);
    snprintf(path, sizeof path, "%s/deep", temp_path(name));
    return path;
}

/* Path of the one file in the cache that holds this key. */
static const char *file_of(const hy__gpu_cache *c, const char *key)
{
    static char path[800];
    snprintf(path, sizeof path, "%s/kernel-%016llx", c->folder,
             (unsigned long long)hy__crc64(0, key, strlen(key)));
    return path;
}

static void open_cache(hy__gpu_cache *c, const char *folder)
{
    hy_env env;
    hy__env_resolve(&env, NULL);
    hy__gpu_cache_open(c, &env, folder);
    assert_non_null(c->folder);
}

static void kernels_are_kept(void **state)
{
    (void)state;
    const char *folder = fresh_folder();
    hy__gpu_cache c;
    struct stat st;
    char value[8] = "";
    open_cache(&c, folder);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 0);
    hy__gpu_cache_store(&c, "a key", 5, "kernel", 6);
    hy__gpu_cache_store(&c, "another", 7, "code", 4);
    hy__gpu_cache_close(&c);
    open_cache(&c, folder);
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 6);
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, value, 5), 6);
    assert_string_equal(value, "");
    assert_int_equal(atomic_load(&c.hits), 0);
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, value, 6), 6);
    assert_string_equal(value, "kernel");
    assert_int_equal(atomic_load(&c.hits), 1);
    hy__gpu_cache_store(&c, "a key", 5, "newer", 5);
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, value, 6), 5);
    assert_memory_equal(value, "newer", 5);
    assert_int_equal(hy__gpu_cache_load(&c, "another", 7, value, 6), 4);
    hy__gpu_cache_close(&c);
}

static void damaged_files_are_missing(void **state)
{
    (void)state;
    hy__gpu_cache c;
    open_cache(&c, fresh_folder());
    hy__gpu_cache_store(&c, "a key", 5, "kernel", 6);
    hy__gpu_cache_store(&c, "no key", 6, "kernel", 6);
    size_t len, other_len;
    char *good = read_file(file_of(&c, "a key"), &len);
    char *other = read_file(file_of(&c, "no key"), &other_len);
    for (size_t i = 0; i < len; i++) {
        good[i] ^= 0x10;
        write_file(file_of(&c, "a key"), good, len);
        assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 0);
        good[i] ^= 0x10;
        write_file(file_of(&c, "a key"), good, i);
        assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 0);
    }
    write_file(file_of(&c, "a key"), other, other_len); /* as if both had one hash */
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 0);
    hy__gpu_cache_store(&c, "a key", 5, "kernel", 6);
    assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 6);
    free(good);
    free(other);
    hy__gpu_cache_close(&c);
}

static void nothing_can_be_kept(void **state)
{
    (void)state;
    hy__gpu_cache c;
    hy_env env;
    hy__env_resolve(&env, NULL);
    write_file(temp_path("a file"), "x", 1);
    const char *const folders[] = {NULL, "", temp_path("a file"), "/proc/no/such"};
    for (size_t i = 0; i < HY_COUNT(folders); i++) {
        hy__gpu_cache_open(&c, &env, folders[i]);
        assert_null(c.folder);
        hy__gpu_cache_store(&c, "a key", 5, "kernel", 6);
        assert_int_equal(hy__gpu_cache_load(&c, "a key", 5, NULL, 0), 0);
        hy__gpu_cache_close(&c);
    }
}

/* Each call that can fail does: a load finds what was stored, or nothing. */
static void failures_are_misses(void **state)
{
    (void)state;
    const char *folder = fresh_folder();
    for (uint64_t at = 1;; at++) {
        failing_env f;
        hy__gpu_cache c;
        char value[6];
        failing_env_init(&f, at);
        hy__gpu_cache_open(&c, &f.env, folder);
        hy__gpu_cache_store(&c, "a key", 5, "kernel", 6);
        const size_t bytes = hy__gpu_cache_load(&c, "a key", 5, value, sizeof value);
        assert_true(bytes == 0 || (bytes == 6 && memcmp(value, "kernel", 6) == 0));
        hy__gpu_cache_close(&c);
        assert_int_equal(f.live_blocks, 0);
        if (f.failed == 0) {
            assert_int_equal(bytes, 6);
            break;
        }
    }
}

static void the_oldest_go(void **state)
{
    (void)state;
    char folder[700], path[800];
    hy_env env;
    hy__env_resolve(&env, NULL);
    snprintf(folder, sizeof folder, "%s", fresh_folder());
    assert_true(hy__folder_make(folder));
    static const char *const names[] = {"kernel-c", "kernel-a", "kernel-b", "other"};
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        write_file(path, "1234567890", 10);
        struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000 + (time_t)i}};
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    static const struct {
        uint64_t most;
        bool left[4];
    } cases[] = {{30, {true, true, true, true}},
                 {29, {false, true, true, true}},
                 {10, {false, false, true, true}},
                 {9, {false, false, false, true}}};
    for (size_t i = 0; i < HY_COUNT(cases); i++) {
        hy__folder_trim(&env, folder, "kernel-", cases[i].most);
        for (size_t k = 0; k < HY_COUNT(names); k++) {
            struct stat st;
            snprintf(path, sizeof path, "%s/%s", folder, names[k]);
            assert_int_equal(stat(path, &st) == 0, cases[i].left[k]);
        }
    }
    hy__folder_trim(&env, "/no/such/folder", "kernel-", 0);
}

/* ---- compiling */

enum { N_KERNELS = 24 };

typedef struct kernels {
    hy__gpu *gpu;
    WGPUBindGroupLayout bindings;
    WGPUPipelineLayout layout;
    WGPUShaderModule modules[N_KERNELS];
    WGPUComputePipeline pipelines[N_KERNELS];
    hy__gpu_job jobs[N_KERNELS];
    hy__gpu_compile compile;
} kernels;

/* Kernel i adds i + 1 to the first word. */
static void make_kernels(kernels *k, hy__gpu *gpu)
{
    hy_error err;
    *k = (kernels){.gpu = gpu};
    const WGPUBindGroupLayoutEntry entry = {.binding = 0,
                                            .visibility = WGPUShaderStage_Compute,
                                            .buffer = {.type = WGPUBufferBindingType_Storage}};
    k->bindings = gpu->lib.DeviceCreateBindGroupLayout(
        gpu->device, &(WGPUBindGroupLayoutDescriptor){.entryCount = 1, .entries = &entry});
    k->layout = gpu->lib.DeviceCreatePipelineLayout(
        gpu->device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1,
                                                     .bindGroupLayouts = &k->bindings});
    for (int i = 0; i < N_KERNELS; i++) {
        char code[300];
        const int n = snprintf(code, sizeof code,
                               "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n"
                               "@compute @workgroup_size(1) fn main() { x[0] += %du; }\n",
                               i + 1);
        assert_ok(hy__gpu_module(gpu, code, (size_t)n, 0, "adding", &k->modules[i], &err), &err);
        k->jobs[i] = (hy__gpu_job){
            .module = k->modules[i], .layout = k->layout, .entry = "main", .out = &k->pipelines[i]};
    }
}

static void free_kernels(kernels *k)
{
    for (int i = 0; i < N_KERNELS; i++) {
        if (k->pipelines[i]) {
            k->gpu->lib.ComputePipelineRelease(k->pipelines[i]);
        }
        k->gpu->lib.ShaderModuleRelease(k->modules[i]);
    }
    k->gpu->lib.PipelineLayoutRelease(k->layout);
    k->gpu->lib.BindGroupLayoutRelease(k->bindings);
}

static WGPUBuffer make_words(hy__gpu *gpu)
{
    hy_error err;
    WGPUBuffer words = NULL;
    assert_ok(
        hy__gpu_buffer(gpu, 1 << 16,
                       WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst,
                       "words", &words, &err),
        &err);
    return words;
}

static uint32_t run_all(kernels *k, WGPUBuffer words)
{
    hy__gpu *gpu = k->gpu;
    const hy__gpu_lib *lib = &gpu->lib;
    hy_error err;
    uint32_t sum = 0;
    lib->QueueWriteBuffer(gpu->queue, words, 0, &sum, 4);
    const WGPUBindGroupEntry bound = {.binding = 0, .buffer = words, .size = 1 << 16};
    WGPUBindGroup group = lib->DeviceCreateBindGroup(
        gpu->device,
        &(WGPUBindGroupDescriptor){.layout = k->bindings, .entryCount = 1, .entries = &bound});
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    for (int i = 0; i < N_KERNELS; i++) {
        lib->ComputePassEncoderSetPipeline(pass, k->pipelines[i]);
        lib->ComputePassEncoderSetBindGroup(pass, 0, group, 0, NULL);
        lib->ComputePassEncoderDispatchWorkgroups(pass, 1, 1, 1);
    }
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    assert_ok(hy__gpu_submit(gpu, encoder, &err), &err);
    assert_ok(hy__gpu_read(gpu, words, 0, &sum, 4, &err), &err);
    lib->BindGroupRelease(group);
    return sum;
}

static hy__gpu *gpu_of(void **state)
{
    hy__gpu *const gpu = *state;
    if (!gpu->device) {
        skip();
    }
    return gpu;
}

/* Again and again, with uploads meanwhile as when a model is loaded. */
static void kernels_compile_beside_uploads(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    static uint8_t data[1 << 16];
    WGPUBuffer words = make_words(gpu);
    for (int round = 0; round < 4; round++) {
        kernels k;
        make_kernels(&k, gpu);
        hy__gpu_compile_begin(&k.compile, gpu, k.jobs, N_KERNELS);
        for (int i = 0; i < 20; i++) {
            gpu->lib.QueueWriteBuffer(gpu->queue, words, 0, data, sizeof data);
            assert_ok(
                hy__gpu_submit(gpu, gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL), &err),
                &err);
            if (i % 8 == 7) {
                assert_ok(hy__gpu_finish(gpu, &err), &err);
            }
        }
        assert_ok(hy__gpu_compile_end(&k.compile, NULL, NULL, &err), &err);
        assert_int_equal(run_all(&k, words), N_KERNELS * (N_KERNELS + 1) / 2);
        free_kernels(&k);
    }
    hy__gpu_buffer_free(gpu, words);
}

static void one_bad_kernel_is_an_error(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    kernels k;
    make_kernels(&k, gpu);
    k.jobs[7].entry = "absent";
    hy__gpu_compile_begin(&k.compile, gpu, k.jobs, N_KERNELS);
    assert_fails(hy__gpu_compile_end(&k.compile, NULL, NULL, &err), HY_E_INTERNAL, &err, "absent");
    assert_ok(hy__gpu_check(gpu, &err), &err);
    assert_ok(hy__gpu_compile_end(&k.compile, NULL, NULL, &err), &err); /* nothing is under way */
    free_kernels(&k);
}

/* Threads that cannot be started leave the work to the caller. */
static void kernels_compile_without_threads(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    kernels k;
    failing_env f;
    const hy_env env = gpu->env;
    WGPUBuffer words = make_words(gpu);
    make_kernels(&k, gpu);
    failing_env_init(&f, 1);
    gpu->env = f.env;
    hy__gpu_compile_begin(&k.compile, gpu, k.jobs, N_KERNELS);
    assert_ok(hy__gpu_compile_end(&k.compile, NULL, NULL, &err), &err);
    gpu->env = env;
    assert_int_equal(run_all(&k, words), N_KERNELS * (N_KERNELS + 1) / 2);
    free_kernels(&k);
    hy__gpu_buffer_free(gpu, words);
}

static bool stop(void *user)
{
    ++*(int *)user;
    return false;
}

static void waiting_can_be_cancelled(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    kernels k;
    make_kernels(&k, gpu);
    int asked = 0;
    hy__gpu_compile_begin(&k.compile, gpu, k.jobs, N_KERNELS);
    const hy_status status = hy__gpu_compile_end(&k.compile, stop, &asked, &err);
    /* What is compiled before anybody waits is no reason to ask. */
    assert_true(asked <= 1);
    assert_int_equal(status, asked > 0 ? HY_E_CANCELLED : HY_OK);
    assert_ok(hy__gpu_check(gpu, &err), &err);
    free_kernels(&k);
}

static void all_kernels_of_the_sampler(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    hy__gpu_sample_kernels made = {0};
    hy__gpu_job jobs[HY__GPU_SAMPLE_N_KERNELS + 2];
    hy__gpu_compile compile = {0};
    uint32_t n = 2;
    assert_ok(hy__gpu_sample_jobs(gpu, &made, jobs, &n, &err), &err);
    assert_int_equal(n, 2 + HY__GPU_SAMPLE_N_KERNELS);
    hy__gpu_compile_begin(&compile, gpu, jobs + 2, HY__GPU_SAMPLE_N_KERNELS);
    assert_ok(hy__gpu_compile_end(&compile, NULL, NULL, &err), &err);
    for (size_t i = 0; i < HY__GPU_SAMPLE_N_KERNELS; i++) {
        assert_non_null(made.pipelines[i]);
    }
    hy__gpu_sample_kernels_free(gpu, &made);
}

/* ---- models */

static hy_status load(const char *library, const char *cache, bool no_mmap, hy_progress progress,
                      void *user, const hy_env *env, hy_model **m, hy_error *err)
{
    const hy_model_opts opts = {.size = sizeof opts,
                                .backend = "webgpu",
                                .webgpu_lib = library,
                                .webgpu_dir = webgpu_folder(),
                                .kernel_cache = cache,
                                .no_mmap = no_mmap,
                                .progress = progress,
                                .progress_user = user};
    return hy_model_load(source_path(tiny), &opts, env, m, err);
}

static void logits_of(hy_model *m, float *out)
{
    hy_error err;
    hy_session *s;
    hy_step step;
    const hy_token token = 3;
    assert_ok(hy_session_create(m, NULL, &s, &err), &err);
    assert_ok(hy_session_append(s, &token, 1, &err), &err);
    assert_ok(hy_session_step(s, &step, &err), &err);
    memcpy(out, hy_session_logits(s, 0), 64 * sizeof *out);
    hy_session_destroy(s);
}

/* Loads, computes, and tells what the cache saw. */
static void load_and_count(const char *folder, float *logits, unsigned counts[3])
{
    hy_error err;
    hy_model *m;
    assert_ok(load("dawn", folder, false, NULL, NULL, NULL, &m, &err), &err);
    const hy__gpu_cache *c = &((hy__gpu_model *)m->backend_model)->gpu.cache;
    counts[0] = atomic_load(&c->hits);
    counts[1] = atomic_load(&c->misses);
    counts[2] = atomic_load(&c->stored);
    logits_of(m, logits);
    hy_model_destroy(m);
}

static void damage_all(const char *folder)
{
    char command[900];
    snprintf(command, sizeof command, "for f in '%s'/*; do echo damage >>\"$f\"; done", folder);
    assert_int_equal(system(command), 0);
}

static void a_second_load_compiles_less(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    char folder[700];
    float first[64], second[64], third[64];
    unsigned a[3], b[3], c[3];
    if (gpu->lib.flavour != HY__GPU_DAWN) {
        skip();
    }
    snprintf(folder, sizeof folder, "%s", fresh_folder());
    load_and_count(folder, first, a);
    print_message("first load: %u hits, %u misses, %u stored\n", a[0], a[1], a[2]);
    load_and_count(folder, second, b);
    print_message("second load: %u hits, %u misses, %u stored\n", b[0], b[1], b[2]);
    damage_all(folder);
    load_and_count(folder, third, c);
    print_message("damaged: %u hits, %u misses, %u stored\n", c[0], c[1], c[2]);
    assert_true(a[2] > 20 && b[0] > 20);
    assert_true(b[1] < a[1] / 4);
    assert_true(c[0] < a[0] + 4 && c[1] > 20 && c[2] > 20);
    assert_memory_equal(first, second, sizeof first);
    assert_memory_equal(first, third, sizeof first);
}

typedef struct watch {
    uint64_t stop_at, calls, last, total;
} watch;

static bool watching(void *user, uint64_t done, uint64_t total)
{
    watch *w = user;
    assert_true(done >= w->last || w->calls == 0);
    assert_true(done <= total);
    w->last = done;
    w->total = total;
    return ++w->calls != w->stop_at;
}

/* Progress grows to all that there is, and ends loading whenever it says so. */
static void loading_tells_and_stops(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    const char *library = hy__gpu_names[gpu->lib.flavour];
    hy_error err;
    hy_model *m;
    watch w = {0};
    float mapped[64], read[64];
    assert_ok(load(library, webgpu_kept(), false, watching, &w, NULL, &m, &err), &err);
    assert_int_equal(w.last, w.total);
    logits_of(m, mapped);
    hy_model_destroy(m);
    assert_true(w.calls > 9);
    const uint64_t ends[] = {1, 2, 9};
    for (size_t i = 0; i < HY_COUNT(ends); i++) {
        failing_env f;
        failing_env_init(&f, 0);
        w = (watch){.stop_at = ends[i]};
        assert_fails(load(library, webgpu_kept(), false, watching, &w, &f.env, &m, &err), HY_E_CANCELLED,
                     &err, "cancelled");
        assert_null(m);
        assert_int_equal(f.live_blocks, 0);
    }
    assert_ok(load(library, webgpu_kept(), true, NULL, NULL, NULL, &m, &err), &err);
    logits_of(m, read);
    hy_model_destroy(m);
    assert_memory_equal(mapped, read, sizeof mapped);
}

/* Embedding and output are larger than what can be bound at the floor: each lies in two parts. */
static void large_matrices_are_cut(void **state)
{
    enum { ROWS = 270000 };
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    size_t len;
    const tiny_shape shape = {
        .c = 128, .f = 128, .n_layer = 1, .head_size = 64, .rank = 32, .rows = ROWS};
    void *bytes = tiny_file(TINY_RWKV7, &shape, &len);
    const hy_model_opts opts[] = {{.size = sizeof *opts, .backend = "ref"},
                                  {.size = sizeof *opts,
                                   .backend = "webgpu",
                                   .webgpu_lib = hy__gpu_names[gpu->lib.flavour],
                                   .webgpu_dir = webgpu_folder(),
                                   .kernel_cache = webgpu_kept(),
                                   .gpu_mask = "floor"}};
    float *logits[2];
    for (size_t i = 0; i < HY_COUNT(opts); i++) {
        static const hy_token tokens[] = {1, ROWS - 1};
        hy_model *m;
        hy_session *s;
        failing_env f;
        failing_env_init(&f, 0);
        assert_ok(hy_model_load_memory(bytes, len, &opts[i], &f.env, &m, &err), &err);
        if (i == 1) {
            /* Nothing as large as a matrix, nor as the pieces that are shared with the device. */
            assert_true(f.peak_bytes < 16 << 20);
            const hy__gpu_model *g = m->backend_model;
            uint32_t cut = 0;
            for (uint32_t k = 0; k < g->g->n_values; k++) {
                cut += g->matrices[k].n_chunks > 1;
            }
            assert_int_equal(cut, 2);
        }
        assert_ok(hy_session_create(m, NULL, &s, &err), &err);
        assert_ok(hy_session_append(s, tokens, HY_COUNT(tokens), &err), &err);
        step_all(s);
        logits[i] = malloc(ROWS * sizeof *logits[i]);
        assert_non_null(logits[i]);
        memcpy(logits[i], hy_session_logits(s, 0), ROWS * sizeof *logits[i]);
        hy_session_destroy(s);
        hy_model_destroy(m);
    }
    double sum = 0, off = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const double d = (double)logits[1][i] - (double)logits[0][i];
        sum += (double)logits[0][i] * (double)logits[0][i];
        off += d * d;
        assert_true(d * d < 1e-4);
    }
    print_message("largest model: mean square %.3g, of the differences %.3g\n", sum / ROWS,
                  off / ROWS);
    assert_true(off < 1e-6 * sum);
    free(logits[0]);
    free(logits[1]);
    free(bytes);
}

/* ---- running */

static int run_general(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_kept),    cmocka_unit_test(damaged_files_are_missing),
        cmocka_unit_test(nothing_can_be_kept), cmocka_unit_test(failures_are_misses),
        cmocka_unit_test(the_oldest_go),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}

static int run_library(hy__gpu *gpu, const char *library)
{
#define WITH_DEVICE(test) {#test, test, NULL, NULL, gpu}
    const struct CMUnitTest tests[] = {
        WITH_DEVICE(kernels_compile_beside_uploads),  WITH_DEVICE(one_bad_kernel_is_an_error),
        WITH_DEVICE(kernels_compile_without_threads), WITH_DEVICE(waiting_can_be_cancelled),
        WITH_DEVICE(all_kernels_of_the_sampler),      WITH_DEVICE(a_second_load_compiles_less),
        WITH_DEVICE(loading_tells_and_stops),         WITH_DEVICE(large_matrices_are_cut),
    };
#undef WITH_DEVICE
    return cmocka_run_group_tests_name(library, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    int failed = run_general();
    for (size_t i = 0; i < HY__GPU_N_NAMES; i++) {
        hy__gpu gpu = {0};
        hy_env env;
        char why[600];
        int missing = 0;
        if (!webgpu_is_meant(hy__gpu_names[i])) {
            continue;
        }
        webgpu_open(&gpu, &env, hy__gpu_names[i], why, &missing);
        failed += missing + run_library(&gpu, hy__gpu_names[i]);
        hy__gpu_close(&gpu);
    }
    return failed > 0;
}
