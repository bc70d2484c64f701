/* test_device.c: the WebGPU libraries that are here (support/webgpu.h), and a device of each.  One
 * thread. */
#include "backend/webgpu/probe.h"
#include "halyard/unstable.h"
#include "support/webgpu.h"

/* What all tests of one library share. */
typedef struct fixture {
    const char *library;
    hy_env env;
    hy__gpu gpu;
    char why[600]; /* why there is none; "" if there is */
} fixture;

static void open_masked(fixture *f, hy__gpu *gpu, uint32_t mask)
{
    hy_error err;
    const hy__gpu_opts opts = {.lib = f->library, .folder = webgpu_folder(), .mask = mask};
    assert_ok(hy__gpu_open(gpu, &opts, &f->env, &err), &err);
}

/* A fresh device for each test, so that none sees the errors of another. */
static int make(void **state)
{
    fixture *const f = *state;
    if (!f->why[0]) {
        open_masked(f, &f->gpu, 0);
    }
    return 0;
}

static int drop(void **state)
{
    fixture *const f = *state;
    hy__gpu_close(&f->gpu);
    return 0;
}

static hy__gpu *gpu_of(void **state)
{
    fixture *const f = *state;
    if (f->why[0]) {
        skip();
    }
    return &f->gpu;
}

static WGPUBuffer new_buffer(hy__gpu *gpu, uint64_t bytes)
{
    hy_error err;
    WGPUBuffer buffer = NULL;
    assert_ok(
        hy__gpu_buffer(gpu, bytes,
                       WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst,
                       "a test", &buffer, &err),
        &err);
    assert_non_null(buffer);
    return buffer;
}

/* ---- without a GPU */

static void unknown_libraries_are_refused(void **state)
{
    (void)state;
    hy__gpu_lib lib;
    hy_error err;
    assert_fails(hy__gpu_lib_open(&lib, "opengl", webgpu_folder(), &err), HY_E_UNSUPPORTED, &err,
                 "no WebGPU library: opengl (");
    assert_null(lib.handle);
    assert_fails(hy__gpu_lib_open(&lib, "dawn", "/nowhere", &err), HY_E_UNSUPPORTED, &err,
                 "/nowhere/");
    assert_fails(hy__gpu_lib_open(&lib, source_path("README.md"), NULL, &err), HY_E_UNSUPPORTED,
                 &err, "README.md (");
    hy__gpu_lib_close(&lib);
}

static void other_libraries_are_told_apart(void **state)
{
    (void)state;
    hy__gpu_lib lib;
    hy_error err;
    assert_fails(hy__gpu_lib_open(&lib, "libm.so.6", NULL, &err), HY_E_UNSUPPORTED, &err,
                 "it has no wgpuCreateInstance: too old, or not a WebGPU library");
    assert_null(lib.handle);
}

static void masks_are_names(void **state)
{
    (void)state;
    hy_error err;
    uint32_t mask = 99;
    assert_ok(hy__gpu_mask_parse(NULL, &mask, &err), &err);
    assert_int_equal(mask, 0);
    assert_ok(hy__gpu_mask_parse("", &mask, &err), &err);
    assert_int_equal(mask, 0);
    assert_ok(hy__gpu_mask_parse("no-f16,floor", &mask, &err), &err);
    assert_int_equal(mask, HY__GPU_NO_F16 | HY__GPU_FLOOR);
    assert_ok(hy__gpu_mask_parse("no-subgroups,no-dot,no-timestamps", &mask, &err), &err);
    assert_int_equal(mask, HY__GPU_NO_SUBGROUPS | HY__GPU_NO_DOT | HY__GPU_NO_TIMESTAMPS);
    assert_fails(hy__gpu_mask_parse("no-f16,no-f1", &mask, &err), HY_E_NOT_FOUND, &err,
                 "there is no GPU mask \"no-f1\"; these are: no-subgroups, no-f16, ");
    assert_fails(hy__gpu_mask_parse("floor,,no-dot", &mask, &err), HY_E_NOT_FOUND, &err,
                 "no GPU mask \"\"");
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    hy__gpu gpu = {0};
    hy_env env;
    hy_error err;
    hy__env_resolve(&env, NULL);
    hy__gpu_close(&gpu);
    const hy__gpu_opts opts = {.lib = "/nowhere/lib.so"};
    assert_fails(hy__gpu_open(&gpu, &opts, &env, &err), HY_E_UNSUPPORTED, &err, "/nowhere/lib.so");
    hy__gpu_close(&gpu);
}

/* ---- libraries */

static void opened_by_name_and_by_path(void **state)
{
    fixture *const f = *state;
    (void)gpu_of(state);
    hy__gpu_lib lib, same;
    hy_error err;
    char name[64];
    assert_ok(hy__gpu_lib_open(&lib, f->library, webgpu_folder(), &err), &err);
    assert_int_equal(lib.flavour, strcmp(f->library, "dawn") == 0 ? HY__GPU_DAWN : HY__GPU_WGPU);
    assert_ok(hy__gpu_lib_open(&same, lib.path, NULL, &err), &err);
    assert_int_equal(same.flavour, lib.flavour);
    assert_string_equal(same.path, lib.path);
    hy__gpu_lib_name(&lib, name, sizeof name);
    assert_string_equal(name, f->gpu.caps.library);
    assert_memory_equal(name, lib.flavour == HY__GPU_DAWN ? "Dawn" : "wgpu-native ", 4);
    hy__gpu_lib_close(&same);
    hy__gpu_lib_close(&lib);
    assert_null(lib.handle);
}

/* ---- what a device can do */

static void every_device_has_the_floor(void **state)
{
    const hy__gpu_caps *const c = &gpu_of(state)->caps;
    assert_true(c->adapter[0] != '\0');
    assert_true(c->max_buffer >= 256u << 20 && c->max_buffer <= 1u << 30);
    assert_true(c->max_binding >= 128u << 20);
    assert_true(c->storage_buffers >= 8);
    assert_true(c->workgroup_bytes >= 16384 && c->invocations >= 256);
    assert_true(c->storage_align <= 256 && c->uniform_align <= 256);
    if (c->subgroups) {
        assert_true(c->subgroup_min >= 4 && c->subgroup_min <= c->subgroup_max);
        assert_true(c->subgroup_max <= 128);
    } else {
        assert_int_equal(c->subgroup_min, 0);
        assert_int_equal(c->subgroup_max, 0);
    }
}

static void floor_leaves_out_the_rest(void **state)
{
    (void)gpu_of(state);
    hy__gpu gpu;
    open_masked(*state, &gpu, HY__GPU_FLOOR);
    const hy__gpu_caps *const c = &gpu.caps;
    assert_false(c->f16 || c->subgroups || c->dot || c->timestamps);
    assert_int_equal(c->subgroup_max, 0);
    assert_int_equal(c->max_buffer, 256 << 20);
    assert_int_equal(c->max_binding, 128 << 20);
    assert_int_equal(c->storage_buffers, 8);
    assert_int_equal(c->workgroup_bytes, 16384);
    assert_int_equal(c->invocations, 256);
    assert_int_equal(c->max_workgroups, 65535);
    assert_int_equal(c->storage_align, 256);
    assert_int_equal(c->uniform_align, 256);
    hy__gpu_close(&gpu);
}

static void single_masks_leave_out_one(void **state)
{
    const hy__gpu_caps *const full = &gpu_of(state)->caps;
    hy__gpu gpu;
    open_masked(*state, &gpu, HY__GPU_NO_SUBGROUPS | HY__GPU_NO_TIMESTAMPS);
    assert_false(gpu.caps.subgroups || gpu.caps.timestamps);
    assert_int_equal(gpu.caps.subgroup_max, 0);
    assert_int_equal(gpu.caps.f16, full->f16);
    assert_int_equal(gpu.caps.dot, full->dot);
    assert_true(gpu.caps.max_binding == full->max_binding);
    hy__gpu_close(&gpu);
    open_masked(*state, &gpu, HY__GPU_NO_F16 | HY__GPU_NO_DOT);
    assert_false(gpu.caps.f16 || gpu.caps.dot);
    assert_int_equal(gpu.caps.subgroups, full->subgroups);
    assert_int_equal(gpu.caps.timestamps, full->timestamps);
    hy__gpu_close(&gpu);
}

static void the_public_view_says_the_same(void **state)
{
    const fixture *const f = *state;
    const hy__gpu_caps *const c = &gpu_of(state)->caps;
    hy_error err;
    hy_webgpu_info info = {.size = sizeof info};
    assert_ok(hy_webgpu_probe(f->library, webgpu_folder(), NULL, NULL, &info, &err), &err);
    assert_string_equal(info.library, c->library);
    assert_string_equal(info.adapter, c->adapter);
    assert_string_equal(info.path, f->gpu.lib.path);
    assert_int_equal(info.f16, c->f16);
    assert_int_equal(info.subgroups, c->subgroups);
    assert_int_equal(info.subgroup_min, c->subgroup_min);
    assert_int_equal(info.subgroup_max, c->subgroup_max);
    assert_int_equal(info.storage_buffers, c->storage_buffers);
    assert_true(info.max_binding_bytes == c->max_binding);
    assert_ok(hy_webgpu_probe(f->library, webgpu_folder(), "floor", NULL, &info, &err), &err);
    assert_true(info.max_binding_bytes == 128u << 20);
    assert_int_equal(info.subgroup_max, 0);
    /* A caller that was built with a shorter structure. */
    memset(&info, 0x55, sizeof info);
    info.size = offsetof(hy_webgpu_info, path);
    assert_ok(hy_webgpu_probe(f->library, webgpu_folder(), NULL, NULL, &info, &err), &err);
    assert_string_equal(info.library, c->library);
    assert_int_equal(info.path[0], 0x55);
    assert_fails(hy_webgpu_probe(f->library, webgpu_folder(), "f16", NULL, &info, &err),
                 HY_E_NOT_FOUND, &err, "there is no GPU mask \"f16\"");
}

/* ---- memory */

static void bytes_come_back(void **state)
{
    enum { MIB = 1 << 20 }; /* the size of the buffer that memory is read through */
    static const size_t sizes[] = {4, 8, 252, MIB - 4, MIB, MIB + 4, 2 * MIB + 12};
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    unsigned char *const data = malloc(sizes[HY_COUNT(sizes) - 1]), *const back = malloc(
                                                                        sizes[HY_COUNT(sizes) - 1]);
    assert_non_null(data);
    assert_non_null(back);
    for (size_t s = 0; s < HY_COUNT(sizes); s++) {
        const size_t n = sizes[s];
        for (size_t i = 0; i < n; i++) {
            data[i] = (unsigned char)(i * 31 + (i >> 11) + s);
        }
        WGPUBuffer buffer = new_buffer(gpu, n);
        memset(back, 1, n);
        assert_ok(hy__gpu_read(gpu, buffer, 0, back, n, &err), &err);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(back[i], 0);
        }
        gpu->lib.QueueWriteBuffer(gpu->queue, buffer, 0, data, n);
        assert_ok(hy__gpu_read(gpu, buffer, 0, back, n, &err), &err);
        assert_memory_equal(back, data, n);
        assert_ok(hy__gpu_read(gpu, buffer, n - 4, back, 4, &err), &err);
        assert_memory_equal(back, data + n - 4, 4);
        hy__gpu_buffer_free(gpu, buffer);
    }
    assert_ok(hy__gpu_finish(gpu, &err), &err);
    free(data);
    free(back);
}

static void too_large_buffers_are_refused(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    WGPUBuffer buffer = NULL;
    assert_fails(hy__gpu_buffer(gpu, gpu->caps.max_buffer + 4, WGPUBufferUsage_Storage, "too much",
                                &buffer, &err),
                 HY_E_LIMIT, &err, "bytes of GPU memory for too much: a buffer of this GPU holds");
    assert_null(buffer);
    /* Nothing of WebGPU: maps to read must not be storage. */
    assert_fails(hy__gpu_buffer(gpu, 64, WGPUBufferUsage_MapRead | WGPUBufferUsage_Storage,
                                "a mistake", &buffer, &err),
                 HY_E_INTERNAL, &err, "64 bytes of GPU memory for a mistake: ");
    assert_null(buffer);
    /* Both were reported to their caller: the device is as good as before. */
    assert_ok(hy__gpu_check(gpu, &err), &err);
    hy__gpu_buffer_free(gpu, new_buffer(gpu, 64));
}

/* ---- kernels */

static void kernels_compute(void **state)
{
    static const char code[] =
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n"
        "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3<u32>) {\n"
        "    x[i.x] = x[i.x] * 3u + i.x;\n"
        "}\n";
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    uint32_t x[256];
    for (uint32_t i = 0; i < HY_COUNT(x); i++) {
        x[i] = i * i;
    }
    const uint64_t submits = gpu->submits;
    assert_ok(hy__gpu_run_once(gpu, code, 0, "threefold", 4, x, sizeof x, &err), &err);
    for (uint32_t i = 0; i < HY_COUNT(x); i++) {
        assert_int_equal(x[i], 3 * i * i + i);
    }
    assert_true(gpu->submits > submits);
}

static void kernels_use_f16(void **state)
{
    static const char code[] =
        "@group(0) @binding(0) var<storage, read_write> x: array<f32>;\n"
        "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3<u32>) {\n"
        "    x[i.x] = f32(f16(x[i.x]) + f16(1.0));\n"
        "}\n";
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    float x[64];
    for (size_t i = 0; i < HY_COUNT(x); i++) {
        x[i] = 2048.0f + 2.0f * (float)i;
    }
    if (!gpu->caps.f16) {
        assert_true(hy__gpu_run_once(gpu, code, HY__GPU_USES_F16, "halves", 1, x, sizeof x, &err) !=
                    HY_OK);
        return;
    }
    assert_ok(hy__gpu_run_once(gpu, code, HY__GPU_USES_F16, "halves", 1, x, sizeof x, &err), &err);
    for (size_t i = 0; i < HY_COUNT(x); i++) {
        /* Halves are 2 apart here, and a tie goes to the even one of them. */
        const float even = 2048.0f + 2.0f * (float)(i + i % 2);
        assert_true(x[i] == even);
    }
}

static void kernels_use_subgroups(void **state)
{
    static const char code[] =
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n"
        "@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32,\n"
        "                                     @builtin(subgroup_size) n: u32) {\n"
        "    let sum = subgroupAdd(x[i]);\n"
        "    x[i] = select(0u, sum, n > 0u);\n"
        "}\n";
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    uint32_t x[64];
    for (uint32_t i = 0; i < HY_COUNT(x); i++) {
        x[i] = 1;
    }
    if (!gpu->caps.subgroups) {
        print_message("this GPU has no subgroups\n");
        return;
    }
    assert_ok(hy__gpu_run_once(gpu, code, HY__GPU_USES_SUBGROUPS, "sums", 1, x, sizeof x, &err),
              &err);
    for (size_t i = 0; i < HY_COUNT(x); i++) {
        assert_in_range(x[i], gpu->caps.subgroup_min, gpu->caps.subgroup_max);
    }
}

static void dots_of_packed_integers(void **state)
{
    static const char code[] = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n"
                               "@compute @workgroup_size(1) fn main() {\n"
                               "    x[0] = u32(dot4I8Packed(x[0], x[1]));\n"
                               "}\n";
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    /* (1, -2, 3, -128) and (127, 5, -7, 100), the first in the lowest byte */
    uint32_t x[2] = {0x8003fe01u, 0x64f9057fu};
    assert_ok(hy__gpu_run_once(gpu, code, 0, "a dot", 1, x, sizeof x, &err), &err);
    assert_true(x[0] == (uint32_t)(127 - 10 - 21 - 12800));
}

static void errors_of_kernels_name_the_place(void **state)
{
    static const char code[] = "@compute @workgroup_size(1)\n"
                               "fn main() {\n"
                               "    let x = nothing;\n"
                               "}\n";
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    WGPUShaderModule module = NULL;
    assert_fails(hy__gpu_module(gpu, code, strlen(code), 0, "a bad kernel", &module, &err),
                 HY_E_INTERNAL, &err, "a bad kernel: ");
    assert_null(module);
    assert_non_null(strstr(err.text, "3:13"));
    assert_non_null(strstr(err.text, "nothing"));
    assert_ok(hy__gpu_check(gpu, &err), &err);
    assert_ok(hy__gpu_module(gpu, "@compute @workgroup_size(1) fn main() {}", 40, 0, "a good one",
                             &module, &err),
              &err);
    WGPUComputePipeline pipeline = NULL;
    assert_fails(hy__gpu_pipeline(gpu, module, "other", NULL, "no entry", &pipeline, &err),
                 HY_E_INTERNAL, &err, "no entry: ");
    assert_null(pipeline);
    assert_ok(hy__gpu_check(gpu, &err), &err);
    gpu->lib.ShaderModuleRelease(module);
}

/* The host's memory may be out: that is an error of one call, not of the device. */
static void memory_may_be_out(void **state)
{
    static const char code[] = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n"
                               "@compute @workgroup_size(1) fn main() { x[0] = 5u; }\n";
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    hy_status status = HY_E_NOMEM;
    uint32_t x = 0, failures = 0;
    for (uint64_t at = 1; status != HY_OK; at++) {
        failing_env env;
        failing_env_init(&env, at);
        gpu->env = env.env;
        status = hy__gpu_run_once(gpu, code, 0, "five", 1, &x, sizeof x, &err);
        gpu->env = env.os;
        if (status != HY_OK) {
            assert_fails(status, HY_E_NOMEM, &err, NULL);
            failures++;
        }
        assert_int_equal(env.live_blocks, 0);
        assert_ok(hy__gpu_check(gpu, &err), &err);
        assert_true(at < 100);
    }
    assert_true(failures > 0);
    assert_int_equal(x, 5);
}

/* ---- errors that come later */

/* A copy from beyond the end of a buffer. */
static hy_status submit_mistake(hy__gpu *gpu, WGPUBuffer buffer, hy_error *err)
{
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    gpu->lib.CommandEncoderCopyBufferToBuffer(encoder, buffer, 1 << 16, buffer, 0, 64);
    return hy__gpu_submit(gpu, encoder, err);
}

static void nothing_is_submitted_after_an_error(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err, first;
    uint32_t word = 0;
    WGPUBuffer buffer = new_buffer(gpu, 256), other = NULL;
    assert_ok(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), &err);
    const uint64_t submits = gpu->submits;
    assert_fails(submit_mistake(gpu, buffer, &first), HY_E_INTERNAL, &first, "WebGPU: ");
    assert_true(gpu->submits == submits);
    /* The error stays. */
    assert_fails(hy__gpu_check(gpu, &err), HY_E_INTERNAL, &err, first.text);
    assert_fails(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), HY_E_INTERNAL, &err, first.text);
    assert_fails(hy__gpu_finish(gpu, &err), HY_E_INTERNAL, &err, first.text);
    assert_fails(hy__gpu_buffer(gpu, 64, WGPUBufferUsage_Storage, "more", &other, &err),
                 HY_E_INTERNAL, &err, first.text);
    assert_fails(submit_mistake(gpu, buffer, &err), HY_E_INTERNAL, &err, first.text);
    assert_true(gpu->submits == submits);
    hy__gpu_buffer_free(gpu, buffer);
}

static void a_lost_device_stays_lost(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    uint32_t word = 0;
    WGPUBuffer buffer = new_buffer(gpu, 256), other = NULL;
    WGPUShaderModule module = NULL;
    assert_ok(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), &err);
    const uint64_t submits = gpu->submits;
    hy__gpu_lose(gpu, "a test took it away");
    static const char sentence[] = "the GPU was lost: a test took it away";
    assert_fails(hy__gpu_check(gpu, &err), HY_E_DEVICE_LOST, &err, sentence);
    assert_fails(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), HY_E_DEVICE_LOST, &err, sentence);
    assert_fails(hy__gpu_map(gpu, gpu->readback, 0, &word, 4, &err), HY_E_DEVICE_LOST, &err, sentence);
    assert_fails(hy__gpu_finish(gpu, &err), HY_E_DEVICE_LOST, &err, sentence);
    assert_fails(hy__gpu_buffer(gpu, 64, WGPUBufferUsage_Storage, "more", &other, &err),
                 HY_E_DEVICE_LOST, &err, sentence);
    assert_fails(hy__gpu_module(gpu, "", 0, 0, "more", &module, &err), HY_E_DEVICE_LOST, &err,
                 sentence);
    assert_fails(submit_mistake(gpu, buffer, &err), HY_E_DEVICE_LOST, &err, sentence);
    assert_true(gpu->submits == submits);
    hy__gpu_lose(gpu, "twice");
    assert_fails(hy__gpu_check(gpu, &err), HY_E_DEVICE_LOST, &err, sentence);
    hy__gpu_buffer_free(gpu, buffer);
}

/* The library loses the device by itself: seen at the latest by the next call that waits. */
static void losses_are_noticed(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    uint32_t word = 0;
    WGPUBuffer other = NULL, buffer = new_buffer(gpu, 256);
    assert_ok(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), &err);
    gpu->lib.DeviceDestroy(gpu->device);
    assert_fails(hy__gpu_buffer(gpu, 64, WGPUBufferUsage_Storage, "more", &other, &err),
                 HY_E_DEVICE_LOST, &err, "the GPU was lost: ");
    assert_null(other);
    assert_fails(hy__gpu_check(gpu, &err), HY_E_DEVICE_LOST, &err, "the GPU was lost: ");
    hy__gpu_buffer_free(gpu, buffer);
}

static void losses_are_noticed_by_work(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    uint32_t word = 0;
    WGPUBuffer buffer = new_buffer(gpu, 256);
    assert_ok(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), &err);
    gpu->lib.DeviceDestroy(gpu->device);
    assert_fails(hy__gpu_read(gpu, buffer, 0, &word, 4, &err), HY_E_DEVICE_LOST, &err,
                 "the GPU was lost: ");
    assert_fails(hy__gpu_finish(gpu, &err), HY_E_DEVICE_LOST, &err, "the GPU was lost: ");
    hy__gpu_buffer_free(gpu, buffer);
}

/* A second device of the same library works beside one that failed. */
static void devices_fail_alone(void **state)
{
    hy__gpu *const gpu = gpu_of(state);
    hy_error err;
    uint32_t word = 7;
    hy__gpu second;
    open_masked(*state, &second, 0);
    hy__gpu_lose(gpu, "a test took it away");
    WGPUBuffer buffer = new_buffer(&second, 4);
    second.lib.QueueWriteBuffer(second.queue, buffer, 0, &word, 4);
    word = 0;
    assert_ok(hy__gpu_read(&second, buffer, 0, &word, 4, &err), &err);
    assert_int_equal(word, 7);
    hy__gpu_buffer_free(&second, buffer);
    hy__gpu_close(&second);
}

/* ---- running */

static int run_general(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_libraries_are_refused),
        cmocka_unit_test(other_libraries_are_told_apart),
        cmocka_unit_test(masks_are_names),
        cmocka_unit_test(closing_nothing_is_fine),
    };
    return cmocka_run_group_tests_name("webgpu", tests, NULL, NULL);
}

static int run_library(fixture *f)
{
#define WITH_DEVICE(test)                                                                          \
    {                                                                                              \
#test, test, make, drop, f                                                                 \
    }
    const struct CMUnitTest tests[] = {
        WITH_DEVICE(opened_by_name_and_by_path),
        WITH_DEVICE(every_device_has_the_floor),
        WITH_DEVICE(floor_leaves_out_the_rest),
        WITH_DEVICE(single_masks_leave_out_one),
        WITH_DEVICE(the_public_view_says_the_same),
        WITH_DEVICE(bytes_come_back),
        WITH_DEVICE(too_large_buffers_are_refused),
        WITH_DEVICE(kernels_compute),
        WITH_DEVICE(kernels_use_f16),
        WITH_DEVICE(kernels_use_subgroups),
        WITH_DEVICE(dots_of_packed_integers),
        WITH_DEVICE(errors_of_kernels_name_the_place),
        WITH_DEVICE(memory_may_be_out),
        WITH_DEVICE(nothing_is_submitted_after_an_error),
        WITH_DEVICE(a_lost_device_stays_lost),
        WITH_DEVICE(losses_are_noticed),
        WITH_DEVICE(losses_are_noticed_by_work),
        WITH_DEVICE(devices_fail_alone),
    };
#undef WITH_DEVICE
    return cmocka_run_group_tests_name(f->library, tests, NULL, NULL);
}

int main(void)
{
    int failed = run_general();
    for (size_t i = 0; i < HY__GPU_N_NAMES; i++) {
        fixture f = {.library = hy__gpu_names[i]};
        int missing = 0;
        if (!webgpu_is_meant(f.library)) {
            continue;
        }
        webgpu_open(&f.gpu, &f.env, f.library, f.why, &missing);
        hy__gpu_close(&f.gpu);
        failed += missing + run_library(&f);
    }
    return failed > 0;
}
