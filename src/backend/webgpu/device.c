/* device.c: a GPU through WebGPU: see device.h.  Callbacks run on the thread that makes the calls,
 * in both libraries. */
#include "device.h"

#include <stdatomic.h>
#include <stdio.h>

#include "halyard/compiler.h"
#include "probe.h"

/* What every WebGPU device has (the "core" limits of the specification). */
enum {
    FLOOR_BUFFER = 256 << 20,
    FLOOR_STORAGE_BUFFERS = 8,
    FLOOR_WORKGROUPS = 65535,
    FLOOR_ALIGN = 256,
    MOST_BUFFER = 1 << 30 /* larger buffers are trouble on some drivers */
};

hy__gpu_faults hy__gpu_faults_at_opening;

void hy__gpu_caps_mask(hy__gpu_caps *c, uint32_t mask)
{
    const bool floor = mask & HY__GPU_FLOOR;
    c->f16 = c->f16 && !floor && !(mask & HY__GPU_NO_F16);
    c->subgroups = c->subgroups && !floor && !(mask & HY__GPU_NO_SUBGROUPS);
    c->dot = c->dot && !floor && !(mask & HY__GPU_NO_DOT);
    c->timestamps = c->timestamps && !floor && !(mask & HY__GPU_NO_TIMESTAMPS);
    c->mappable = c->mappable && !floor;
    c->borrows = c->borrows && !floor;
    if (!c->subgroups) {
        c->subgroup_min = c->subgroup_max = 0;
    }
    if (!c->f16 || !c->subgroups || mask & HY__GPU_NO_MATRICES) {
        c->matrix_m = c->matrix_n = c->matrix_k = 0;
    }
    if (floor) {
        c->max_buffer = FLOOR_BUFFER;
        c->max_binding = HY__GPU_FLOOR_BINDING;
        c->storage_buffers = FLOOR_STORAGE_BUFFERS;
        c->workgroup_bytes = HY__GPU_FLOOR_SHARED;
        c->invocations = HY__GPU_FLOOR_INVOCATIONS;
        c->max_workgroups = FLOOR_WORKGROUPS;
        c->storage_align = c->uniform_align = FLOOR_ALIGN;
    }
}

/* ---- errors */

void hy__gpu_keep_text(char *to, size_t cap, WGPUStringView text)
{
    const size_t len = !text.data ? 0 : text.length == SIZE_MAX ? strlen(text.data) : text.length;
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < cap; i++) {
        const char c = text.data[i];
        const bool blank = (unsigned char)c <= ' ';
        if (!blank) {
            to[n++] = c;
        } else if (n > 0 && to[n - 1] != ' ') {
            to[n++] = ' ';
        }
    }
    to[n > 0 && to[n - 1] == ' ' ? n - 1 : n] = '\0';
}

/* wgpu-native tells errors to the thread that made the call, which may be one that compiles: for
 * the message whoever comes first. */
static atomic_flag messages = ATOMIC_FLAG_INIT;

static void lock_messages(void)
{
    while (atomic_flag_test_and_set(&messages)) {
        HY_PAUSE();
    }
}

static void unlock_messages(void)
{
    atomic_flag_clear(&messages);
}

static void take_loss(hy__gpu *gpu, WGPUStringView message)
{
    lock_messages();
    if (!gpu->lost) {
        gpu->lost = true;
        hy__gpu_keep_text(gpu->message, sizeof gpu->message, message);
    }
    unlock_messages();
}

/* wgpu-native may tell of a loss only as an error of the next call. */
static bool tells_loss(hy__gpu *gpu, const char *message)
{
    if (gpu->lib.flavour == HY__GPU_WGPU && strstr(message, "device is lost")) {
        take_loss(gpu, hy__gpu_text("its calls are refused as those of a lost device"));
        return true;
    }
    return false;
}

/* Callbacks of a device may come as late as with the release of its last buffer. */
static bool is_of(const hy__gpu *gpu, const void *serial)
{
    return gpu->serial == (uintptr_t)serial;
}

static void on_error(WGPUDevice const *device, WGPUErrorType type, WGPUStringView message, void *u1,
                     void *u2)
{
    hy__gpu *const gpu = u1;
    char text[sizeof gpu->message];
    (void)device;
    hy__gpu_keep_text(text, sizeof text, message);
    if (!is_of(gpu, u2) || tells_loss(gpu, text)) {
        return;
    }
    lock_messages();
    if (!gpu->failed && !gpu->lost) {
        gpu->failed = type;
        memcpy(gpu->message, text, sizeof text);
    }
    unlock_messages();
}

static void on_lost(WGPUDevice const *device, WGPUDeviceLostReason reason, WGPUStringView message,
                    void *u1, void *u2)
{
    hy__gpu *const gpu = u1;
    (void)device;
    if (is_of(gpu, u2) && reason != WGPUDeviceLostReason_FailedCreation) {
        take_loss(gpu, message);
    }
}

/* Leaves room behind the sentence: those who know more add to it. */
static hy_status fail_as(WGPUErrorType type, const char *what, const char *message, hy_error *err)
{
    const hy_status status = type == WGPUErrorType_OutOfMemory ? HY_E_NOMEM : HY_E_INTERNAL;
    return hy__fail(err, status, "%s%s: %.*s", what,
                    status == HY_E_NOMEM ? ": the GPU is out of memory" : "",
                    status == HY_E_NOMEM ? 120 : 300, message);
}

void hy__gpu_lose(hy__gpu *gpu, const char *why)
{
    /* First, so that the sentence is not that of the library. */
    take_loss(gpu, hy__gpu_text(why));
    gpu->lib.DeviceDestroy(gpu->device);
}

/* Whether what a test asked for happens now. */
static bool is_due(uint64_t *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

hy_status hy__gpu_check(hy__gpu *gpu, hy_error *err)
{
    if (!gpu->lost && !gpu->failed) {
        return HY_OK;
    }
    lock_messages();
    const hy_status status =
        gpu->lost ? hy__fail(err, HY_E_DEVICE_LOST, "the GPU was lost: %s", gpu->message)
                  : fail_as(gpu->failed, "WebGPU", gpu->message, err);
    unlock_messages();
    return status;
}

/* ---- scopes: errors of the calls between push and pop */

typedef struct scope_report {
    bool done;
    WGPUErrorType type;
    char message[300];
} scope_report;

static void on_scope(WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message,
                     void *u1, void *u2)
{
    scope_report *const report = u1;
    (void)u2;
    report->done = true;
    report->type = status == WGPUPopErrorScopeStatus_Success ? type : WGPUErrorType_Unknown;
    hy__gpu_keep_text(report->message, sizeof report->message, message);
}

hy_status hy__gpu_pop_scope(hy__gpu *gpu, const char *what, hy_error *err)
{
    scope_report report = {.type = WGPUErrorType_Unknown};
    const WGPUPopErrorScopeCallbackInfo info = {
        .mode = hy__gpu_lib_mode(&gpu->lib), .callback = on_scope, .userdata1 = &report};
    const WGPUFuture future = gpu->lib.DevicePopErrorScope(gpu->device, info);
    if (!hy__gpu_lib_wait(&gpu->lib, gpu->instance, gpu->device, future, NULL, &report.done)) {
        return hy__fail(err, HY_E_INTERNAL, "%s: the WebGPU library does not answer", what);
    }
    if (tells_loss(gpu, report.message) || gpu->lost) {
        return hy__gpu_check(gpu, err);
    }
    return report.type == WGPUErrorType_NoError ? HY_OK
                                                : fail_as(report.type, what, report.message, err);
}

/* ---- opening */

typedef struct request {
    bool done;
    uint32_t status;
    WGPUAdapter adapter;
    WGPUDevice device;
    char message[300];
} request;

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *u1, void *u2)
{
    request *const r = u1;
    (void)u2;
    r->done = true;
    r->status = status;
    r->adapter = adapter;
    hy__gpu_keep_text(r->message, sizeof r->message, message);
}

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message,
                      void *u1, void *u2)
{
    request *const r = u1;
    (void)u2;
    r->done = true;
    r->status = status;
    r->device = device;
    hy__gpu_keep_text(r->message, sizeof r->message, message);
}

static const char *const dawn_enabled[] = {"allow_unsafe_apis", "vulkan_enable_f16_on_nvidia",
                                           "use_vulkan_memory_model", "disable_robustness",
                                           "disable_workgroup_init"};
static const char *const dawn_disabled[] = {"timestamp_quantization"};

static hy__dawn_toggles toggles(void)
{
    /* A toggle of another stage is ignored, so one list serves instance, adapter and device.
     * Kernels keep to their buffers by themselves. */
    return (hy__dawn_toggles){.chain = {.sType = HY__DAWN_STYPE_TOGGLES},
                              .n_enabled = HY_COUNT(dawn_enabled),
                              .enabled = dawn_enabled,
                              .n_disabled = HY_COUNT(dawn_disabled),
                              .disabled = dawn_disabled};
}

static hy_status make_instance(hy__gpu *gpu, hy__dawn_toggles *chain, hy_error *err)
{
    const WGPUInstanceFeatureName waits = WGPUInstanceFeatureName_TimedWaitAny;
    const WGPUInstanceDescriptor dawn = {
        .nextInChain = &chain->chain, .requiredFeatureCount = 1, .requiredFeatures = &waits};
    /* OpenGL would only be asked for adapters that are not taken, and Mesa's is loud and leaks. */
    hy__native_instance extras = {.chain = {.sType = HY__NATIVE_STYPE_INSTANCE},
                                  .backends = HY__NATIVE_BACKENDS_PRIMARY};
    const WGPUInstanceDescriptor wgpu = {.nextInChain = &extras.chain};
    gpu->instance = gpu->lib.CreateInstance(gpu->lib.flavour == HY__GPU_DAWN ? &dawn : &wgpu);
    return gpu->instance
               ? HY_OK
               : hy__fail(err, HY_E_UNSUPPORTED, "%s makes no WebGPU instance", gpu->caps.library);
}

static uint64_t add_text(uint64_t crc, WGPUStringView text)
{
    const size_t len = !text.data ? 0 : text.length == SIZE_MAX ? strlen(text.data) : text.length;
    return hy__crc64(hy__crc64(crc, &len, sizeof len), text.data, len);
}

static uint64_t identity_of(const WGPUAdapterInfo *info)
{
    const uint32_t numbers[] = {info->vendorID,
                                info->deviceID,
                                (uint32_t)info->backendType,
                                (uint32_t)info->adapterType,
                                info->subgroupMinSize,
                                info->subgroupMaxSize};
    uint64_t crc = hy__crc64(0, numbers, sizeof numbers);
    crc = add_text(crc, info->vendor);
    crc = add_text(crc, info->architecture);
    crc = add_text(crc, info->device);
    return add_text(crc, info->description);
}

static void take_info(hy__gpu *gpu)
{
    WGPUAdapterInfo info = {0};
    if (gpu->lib.AdapterGetInfo(gpu->adapter, &info) == WGPUStatus_Success) {
        gpu->caps.identity = identity_of(&info);
        hy__gpu_keep_text(gpu->caps.adapter, sizeof gpu->caps.adapter, info.device);
        gpu->caps.backend = info.backendType;
        gpu->caps.type = info.adapterType;
        gpu->caps.vendor = info.vendorID;
        gpu->caps.subgroup_min = info.subgroupMinSize;
        gpu->caps.subgroup_max = info.subgroupMaxSize;
        gpu->lib.AdapterInfoFreeMembers(info);
    }
}

static hy_status find_adapter(hy__gpu *gpu, const hy__gpu_opts *opts, hy__dawn_toggles *chain,
                              hy_error *err)
{
    const hy_status none = opts->hardware ? HY_E_NOT_FOUND : HY_E_UNSUPPORTED;
    request r = {0};
    const WGPURequestAdapterOptions options = {
        .nextInChain = gpu->lib.flavour == HY__GPU_DAWN ? &chain->chain : NULL,
        .featureLevel = WGPUFeatureLevel_Core,
        .powerPreference = WGPUPowerPreference_HighPerformance};
    const WGPURequestAdapterCallbackInfo info = {
        .mode = hy__gpu_lib_mode(&gpu->lib), .callback = on_adapter, .userdata1 = &r};
    const WGPUFuture future = gpu->lib.InstanceRequestAdapter(gpu->instance, &options, info);
    hy__gpu_lib_wait(&gpu->lib, gpu->instance, NULL, future, NULL, &r.done);
    if (!r.done || r.status != WGPURequestAdapterStatus_Success || !r.adapter) {
        return hy__fail(err, none, "%s finds no GPU: %s", gpu->caps.library,
                        r.message[0] ? r.message : "no adapter");
    }
    gpu->adapter = r.adapter;
    take_info(gpu);
    if (opts->hardware && gpu->caps.type == WGPUAdapterType_CPU && !gpu->faults.as_hardware) {
        return hy__fail(err, none, "%s finds no GPU but one made of software: %s",
                        gpu->caps.library, gpu->caps.adapter);
    }
    return HY_OK;
}

/* ---- compiled kernels, for Dawn */

static size_t load_kernel(size_t key_bytes, uint8_t const *key, size_t bytes, uint8_t *value,
                          void *cache, void *u2)
{
    (void)u2;
    /* Dawn from before July 2026 has other functions in these places, and means this one by
     * "store": the first argument is then an address. */
    return key_bytes < 1 << 28 ? hy__gpu_cache_load(cache, key, key_bytes, value, bytes) : 0;
}

static void store_kernel(size_t key_bytes, uint8_t const *key, size_t bytes, uint8_t const *value,
                         void *cache, void *u2)
{
    (void)u2;
    hy__gpu_cache_store(cache, key, key_bytes, value, bytes);
}

static hy__dawn_cache dawn_cache(hy__gpu *gpu)
{
    return (hy__dawn_cache){.chain = {.sType = HY__DAWN_STYPE_CACHE},
                            .isolation = hy__gpu_text("halyard"),
                            .load = {.callback = load_kernel, .userdata1 = &gpu->cache},
                            .store = {.callback = store_kernel, .userdata1 = &gpu->cache}};
}

/* ---- what the adapter can do */

static bool has(const WGPUSupportedFeatures *f, WGPUFeatureName name)
{
    for (size_t i = 0; i < f->featureCount; i++) {
        if (f->features[i] == name) {
            return true;
        }
    }
    return false;
}

static WGPUFeatureName subgroups_feature(const hy__gpu *gpu)
{
    return gpu->lib.flavour == HY__GPU_DAWN ? (WGPUFeatureName)WGPUFeatureName_Subgroups
                                            : (WGPUFeatureName)HY__NATIVE_FEATURE_SUBGROUP;
}

/* Whether n words can be configurations of five words each: the sixth word of longer ones is a
 * number of lanes, and no type. */
static bool has_five_words(const hy__dawn_matrices *x)
{
    return x->n < 2 || x->words[5] <= HY__DAWN_I8;
}

/* The largest shape of those that multiply f16 and add in f32. */
static void choose_matrices(hy__gpu *gpu, const hy__dawn_matrices *x)
{
    hy__gpu_caps *c = &gpu->caps;
    const size_t stride = x->n > 0 && has_five_words(x) ? 5 : 7;
    for (size_t i = 0; i < x->n; i++) {
        const uint32_t *w = x->words + stride * i;
        const bool fits = w[0] == HY__DAWN_F16 && w[1] == HY__DAWN_F32 && w[2] <= 16 && w[3] <= 16 &&
                          w[4] <= 16 && w[2] * w[3] * w[4] > c->matrix_m * c->matrix_n * c->matrix_k;
        if (fits) {
            c->matrix_m = w[2];
            c->matrix_n = w[3];
            c->matrix_k = w[4];
        }
    }
}

/* Adapters without the feature give no information at all to who asks for this. */
static void take_matrices(hy__gpu *gpu)
{
    hy__dawn_matrices matrices = {.chain = {.sType = HY__DAWN_STYPE_MATRICES}};
    WGPUAdapterInfo info = {.nextInChain = &matrices.chain};
    if (gpu->lib.AdapterPropertiesSubgroupMatrixConfigsFreeMembers &&
        gpu->lib.AdapterGetInfo(gpu->adapter, &info) == WGPUStatus_Success) {
        choose_matrices(gpu, &matrices);
        info.nextInChain = NULL;
        gpu->lib.AdapterInfoFreeMembers(info);
        gpu->lib.AdapterPropertiesSubgroupMatrixConfigsFreeMembers(matrices);
    }
}

static WGPUFeatureName mappable_feature(const hy__gpu *gpu)
{
    return gpu->lib.flavour == HY__GPU_DAWN ? (WGPUFeatureName)HY__DAWN_FEATURE_MAPPABLE
                                            : (WGPUFeatureName)HY__NATIVE_FEATURE_MAPPABLE;
}

static void take_features(hy__gpu *gpu, const hy__gpu_opts *opts)
{
    WGPUSupportedFeatures f = {0};
    gpu->lib.AdapterGetFeatures(gpu->adapter, &f);
    gpu->caps.f16 = has(&f, WGPUFeatureName_ShaderF16);
    gpu->caps.subgroups = has(&f, subgroups_feature(gpu));
    gpu->caps.timestamps = has(&f, WGPUFeatureName_TimestampQuery);
    if (has(&f, HY__DAWN_FEATURE_MATRICES)) {
        take_matrices(gpu);
    }
    gpu->caps.mappable = opts->shared && has(&f, mappable_feature(gpu));
    gpu->caps.borrows = opts->shared && gpu->lib.flavour == HY__GPU_DAWN &&
                        has(&f, HY__DAWN_FEATURE_HOST_MEMORY);
    /* A language feature, not one of the adapter: both libraries have it, and emulate it where the
     * GPU does not. */
    gpu->caps.dot = true;
    gpu->lib.SupportedFeaturesFreeMembers(f);
}

/* The features to ask for: those that kernels can use and no mask leaves out. */
enum { MOST_FEATURES = 6 };

static size_t wanted_features(const hy__gpu *gpu, WGPUFeatureName wanted[MOST_FEATURES])
{
    size_t n = 0;
    if (gpu->caps.f16) {
        wanted[n++] = WGPUFeatureName_ShaderF16;
    }
    if (gpu->caps.subgroups) {
        wanted[n++] = subgroups_feature(gpu);
    }
    if (gpu->caps.timestamps) {
        wanted[n++] = WGPUFeatureName_TimestampQuery;
    }
    if (gpu->caps.matrix_k > 0) {
        wanted[n++] = HY__DAWN_FEATURE_MATRICES;
    }
    if (gpu->caps.mappable) {
        wanted[n++] = mappable_feature(gpu);
    }
    if (gpu->caps.borrows) {
        wanted[n++] = HY__DAWN_FEATURE_HOST_MEMORY;
    }
    return n;
}

static hy_status check_floor(const hy__gpu_caps *c, hy_error *err)
{
    return c->max_binding < HY__GPU_FLOOR_BINDING || c->storage_buffers < FLOOR_STORAGE_BUFFERS ||
                   c->workgroup_bytes < HY__GPU_FLOOR_SHARED ||
                   c->invocations < HY__GPU_FLOOR_INVOCATIONS
               ? hy__fail(err, HY_E_UNSUPPORTED,
                          "%s: %s is below the limits that WebGPU guarantees", c->library,
                          c->adapter)
               : HY_OK;
}

static hy_status take_limits(hy__gpu *gpu, WGPULimits *limits, hy_error *err)
{
    hy__gpu_caps *const c = &gpu->caps;
    *limits = (WGPULimits){0};
    if (gpu->lib.AdapterGetLimits(gpu->adapter, limits) != WGPUStatus_Success) {
        return hy__fail(err, HY_E_UNSUPPORTED, "%s: %s tells no limits", c->library, c->adapter);
    }
    limits->nextInChain = NULL;
    c->max_buffer = HY_MIN(limits->maxBufferSize, (uint64_t)MOST_BUFFER);
    c->max_binding = limits->maxStorageBufferBindingSize;
    c->storage_buffers = limits->maxStorageBuffersPerShaderStage;
    c->workgroup_bytes = limits->maxComputeWorkgroupStorageSize;
    c->invocations = limits->maxComputeInvocationsPerWorkgroup;
    c->max_workgroups = limits->maxComputeWorkgroupsPerDimension;
    c->storage_align = limits->minStorageBufferOffsetAlignment;
    c->uniform_align = limits->minUniformBufferOffsetAlignment;
    HY_TRY(check_floor(c, err));
    const uint64_t sizes[] = {limits->maxBufferSize, limits->maxStorageBufferBindingSize};
    const uint32_t counts[] = {limits->maxStorageBuffersPerShaderStage,
                               limits->maxComputeWorkgroupStorageSize,
                               limits->maxComputeInvocationsPerWorkgroup};
    c->identity = hy__crc64(hy__crc64(c->identity, sizes, sizeof sizes), counts, sizeof counts);
    return HY_OK;
}

static hy_status make_device(hy__gpu *gpu, const hy__gpu_opts *opts, hy__dawn_toggles *chain,
                             hy_error *err)
{
    WGPUFeatureName wanted[MOST_FEATURES];
    WGPULimits limits;
    take_features(gpu, opts);
    HY_TRY(take_limits(gpu, &limits, err));
    hy__gpu_caps_mask(&gpu->caps, opts->mask);
    const size_t n = wanted_features(gpu, wanted);
    request r = {0};
    hy__dawn_cache cache = dawn_cache(gpu);
    chain->chain.next = gpu->cache.folder ? &cache.chain : NULL;
    void *const serial = (void *)(uintptr_t)gpu->serial;
    const WGPUDeviceDescriptor desc = {
        .nextInChain = gpu->lib.flavour == HY__GPU_DAWN ? &chain->chain : NULL,
        .requiredFeatureCount = n,
        .requiredFeatures = wanted,
        /* Without any the device has those of the floor, and sees to it that they are kept. */
        .requiredLimits = opts->mask & HY__GPU_FLOOR ? NULL : &limits,
        .deviceLostCallbackInfo = {.mode = WGPUCallbackMode_AllowSpontaneous,
                                   .callback = on_lost,
                                   .userdata1 = gpu,
                                   .userdata2 = serial},
        .uncapturedErrorCallbackInfo = {
            .callback = on_error, .userdata1 = gpu, .userdata2 = serial}};
    const WGPURequestDeviceCallbackInfo info = {
        .mode = hy__gpu_lib_mode(&gpu->lib), .callback = on_device, .userdata1 = &r};
    const WGPUFuture future = gpu->lib.AdapterRequestDevice(gpu->adapter, &desc, info);
    hy__gpu_lib_wait(&gpu->lib, gpu->instance, NULL, future, NULL, &r.done);
    if (!r.done || r.status != WGPURequestDeviceStatus_Success || !r.device) {
        return hy__fail(err, HY_E_UNSUPPORTED, "%s: %s gives no device: %s", gpu->caps.library,
                        gpu->caps.adapter, r.message);
    }
    gpu->device = r.device;
    gpu->queue = gpu->lib.DeviceGetQueue(gpu->device);
    gpu->ns_per_tick = gpu->lib.QueueGetTimestampPeriod && gpu->lib.flavour == HY__GPU_WGPU
                           ? (double)gpu->lib.QueueGetTimestampPeriod(gpu->queue)
                           : 1.0;
    return HY_OK;
}

static uint64_t next_serial(void)
{
    static atomic_uintptr_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

hy_status hy__gpu_open(hy__gpu *gpu, const hy__gpu_opts *opts, const hy_env *env, hy_error *err)
{
    hy__dawn_toggles chain = toggles();
    const hy__gpu_faults *f = &hy__gpu_faults_at_opening;
    *gpu = (hy__gpu){.env = *env,
                     .mask = opts->mask,
                     .serial = next_serial(),
                     .faults = *f};
    if (f->lost_before || f->lost_behind || f->no_memory || f->as_hardware) {
        hy__gpu_faults_at_opening = (hy__gpu_faults){0};
    }
    hy__gpu_cache_open(&gpu->cache, env, opts->cache);
    hy_status status = hy__gpu_lib_open(&gpu->lib, opts->lib, opts->folder, err);
    if (status == HY_OK) {
        hy__gpu_lib_name(&gpu->lib, gpu->caps.library, sizeof gpu->caps.library);
        status = make_instance(gpu, &chain, err);
    }
    if (status == HY_OK) {
        status = find_adapter(gpu, opts, &chain, err);
    }
    if (status == HY_OK) {
        status = make_device(gpu, opts, &chain, err);
    }
    if (status == HY_OK && gpu->caps.subgroups && gpu->caps.subgroup_max == 0) {
        status = hy__gpu_probe_subgroups(gpu, err);
    }
    if (status != HY_OK) {
        hy__gpu_close(gpu);
    }
    return status;
}

hy_status hy__gpu_adopt(hy__gpu *gpu, WGPUDevice device, const hy__gpu_caps *caps, uint32_t mask,
                        hy__gpu_get get, void *user, const hy_env *env, hy_error *err)
{
    *gpu = (hy__gpu){.env = *env, .mask = mask, .caps = *caps, .serial = next_serial()};
    HY_TRY(hy__gpu_lib_adopt(&gpu->lib, get, user, err));
    hy__gpu_lib_name(&gpu->lib, gpu->caps.library, sizeof gpu->caps.library);
    HY_TRY(check_floor(&gpu->caps, err));
    gpu->caps.max_buffer = HY_MIN(gpu->caps.max_buffer, (uint64_t)MOST_BUFFER);
    hy__gpu_caps_mask(&gpu->caps, mask);
    gpu->lib.DeviceAddRef(device);
    gpu->device = device;
    gpu->queue = gpu->lib.DeviceGetQueue(device);
    return HY_OK;
}

void hy__gpu_close(hy__gpu *gpu)
{
    const hy__gpu_lib *const lib = &gpu->lib;
    hy__gpu_buffer_free(gpu, gpu->readback);
    if (gpu->queue) {
        lib->QueueRelease(gpu->queue);
    }
    if (gpu->device) {
        lib->DeviceRelease(gpu->device);
    }
    if (gpu->adapter) {
        lib->AdapterRelease(gpu->adapter);
    }
    if (gpu->instance) {
        lib->InstanceRelease(gpu->instance);
    }
    hy__gpu_lib_close(&gpu->lib);
    hy__gpu_cache_close(&gpu->cache);
    *gpu = (hy__gpu){.env = gpu->env};
}

/* ---- memory */

static hy_status make_buffer(hy__gpu *gpu, uint64_t bytes, WGPUBufferUsage usage,
                             const char *label, hy__dawn_host_memory *memory, WGPUBuffer *out,
                             hy_error *err)
{
    char what[120];
    *out = NULL;
    HY_TRY(hy__gpu_check(gpu, err));
    snprintf(what, sizeof what, "%llu bytes of GPU memory for %s", (unsigned long long)bytes,
             label);
    if (bytes > gpu->caps.max_buffer) {
        return hy__fail(err, HY_E_LIMIT, "%s: a buffer of this GPU holds at most %llu", what,
                        (unsigned long long)gpu->caps.max_buffer);
    }
    const WGPUBufferDescriptor desc = {.nextInChain = memory ? &memory->chain : NULL,
                                       .label = hy__gpu_text(label),
                                       .usage = usage,
                                       .size = HY_MAX(bytes, (uint64_t)4)};
    gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_OutOfMemory);
    WGPUBuffer buffer = gpu->lib.DeviceCreateBuffer(gpu->device, &desc);
    hy_status status = hy__gpu_pop_scope(gpu, what, err);
    const hy_status valid = hy__gpu_pop_scope(gpu, what, status == HY_OK ? err : NULL);
    status = status == HY_OK ? valid : status;
    if (status == HY_OK && !buffer) {
        status = hy__fail(err, HY_E_NOMEM, "%s: the GPU is out of memory", what);
    }
    if (status == HY_OK && is_due(&gpu->faults.no_memory)) {
        status = fail_as(WGPUErrorType_OutOfMemory, what, "a test took it", err);
    }
    gpu->full = status == HY_E_NOMEM;
    if (status != HY_OK) {
        hy__gpu_buffer_free(gpu, buffer);
        return status;
    }
    *out = buffer;
    return HY_OK;
}

hy_status hy__gpu_buffer(hy__gpu *gpu, uint64_t bytes, WGPUBufferUsage usage, const char *label,
                         WGPUBuffer *out, hy_error *err)
{
    return make_buffer(gpu, bytes, usage, label, NULL, out, err);
}

hy_status hy__gpu_buffer_borrow(hy__gpu *gpu, void *memory, uint64_t bytes, WGPUBufferUsage usage,
                                const char *label, WGPUBuffer *out, void (*done)(void *user),
                                void *user, hy_error *err)
{
    hy__dawn_host_memory chain = {.chain = {.sType = HY__DAWN_STYPE_HOST_MEMORY},
                                  .pointer = memory,
                                  .dispose = done,
                                  .userdata = user};
    return make_buffer(gpu, bytes, usage, label, &chain, out, err);
}

void hy__gpu_buffer_free(hy__gpu *gpu, WGPUBuffer buffer)
{
    if (buffer) {
        gpu->lib.BufferDestroy(buffer);
        gpu->lib.BufferRelease(buffer);
    }
}

static void on_map(WGPUMapAsyncStatus status, WGPUStringView message, void *u1, void *u2)
{
    hy__gpu_mapping *const mapping = u1;
    (void)u2;
    mapping->done = true;
    mapping->status = status;
    hy__gpu_keep_text(mapping->message, sizeof mapping->message, message);
}

static void begin_map(hy__gpu *gpu, WGPUBuffer buffer, WGPUMapMode mode, size_t bytes,
                      uint64_t submission, hy__gpu_mapping *mapping)
{
    *mapping = (hy__gpu_mapping){.submission = submission};
    const WGPUBufferMapCallbackInfo info = {
        .mode = hy__gpu_lib_mode(&gpu->lib), .callback = on_map, .userdata1 = mapping};
    mapping->future = gpu->lib.BufferMapAsync(buffer, mode, 0, bytes, info);
}

static hy_status end_map(hy__gpu *gpu, hy__gpu_mapping *mapping, hy_error *err)
{
    hy__gpu_lib_wait(&gpu->lib, gpu->instance, gpu->device, mapping->future,
                     mapping->submission ? &mapping->submission : NULL, &mapping->done);
    HY_TRY(hy__gpu_check(gpu, err));
    if (!mapping->done || mapping->status != WGPUMapAsyncStatus_Success) {
        return hy__fail(err, HY_E_INTERNAL, "GPU memory cannot be mapped: %s", mapping->message);
    }
    return HY_OK;
}

void hy__gpu_map_begin(hy__gpu *gpu, WGPUBuffer buffer, size_t bytes, hy__gpu_mapping *mapping)
{
    begin_map(gpu, buffer, WGPUMapMode_Write, bytes, gpu->submission, mapping);
}

hy_status hy__gpu_map_end(hy__gpu *gpu, WGPUBuffer buffer, size_t bytes, hy__gpu_mapping *mapping,
                          void **data, hy_error *err)
{
    /* wgpu-native waits for a submission, or looks what is done. */
    if (!mapping->done && gpu->lib.flavour == HY__GPU_WGPU) {
        hy__gpu_lib_poll(&gpu->lib, gpu->instance, gpu->device);
    }
    HY_TRY(end_map(gpu, mapping, err));
    *data = gpu->lib.BufferGetMappedRange(buffer, 0, bytes);
    return *data ? HY_OK : hy__fail(err, HY_E_INTERNAL, "GPU memory cannot be written");
}

hy_status hy__gpu_map(hy__gpu *gpu, WGPUBuffer buffer, uint64_t submission, void *data,
                      size_t bytes, hy_error *err)
{
    hy__gpu_mapping mapping;
    HY_TRY(hy__gpu_check(gpu, err));
    begin_map(gpu, buffer, WGPUMapMode_Read, bytes, submission, &mapping);
    HY_TRY(end_map(gpu, &mapping, err));
    const void *const from = gpu->lib.BufferGetConstMappedRange(buffer, 0, bytes);
    if (from) {
        memcpy(data, from, bytes);
    }
    gpu->lib.BufferUnmap(buffer);
    return from ? HY_OK : hy__fail(err, HY_E_INTERNAL, "GPU memory cannot be read");
}

hy_status hy__gpu_read(hy__gpu *gpu, WGPUBuffer buffer, uint64_t offset, void *data, size_t bytes,
                       hy_error *err)
{
    enum { READBACK = 1 << 20 };
    HY_TRY(hy__gpu_check(gpu, err));
    if (!gpu->readback) {
        HY_TRY(hy__gpu_buffer(gpu, READBACK, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst,
                              "reading back", &gpu->readback, err));
        gpu->readback_bytes = READBACK;
    }
    for (size_t done = 0; done < bytes;) {
        const size_t part = HY_MIN(bytes - done, (size_t)gpu->readback_bytes);
        WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
        gpu->lib.CommandEncoderCopyBufferToBuffer(encoder, buffer, offset + done, gpu->readback, 0,
                                                  part);
        HY_TRY(hy__gpu_submit(gpu, encoder, err));
        HY_TRY(
            hy__gpu_map(gpu, gpu->readback, gpu->submission, (char *)data + done, part, err));
        done += part;
    }
    return HY_OK;
}

/* ---- kernels */

void hy__gpu_head(hy__gpu_flavour flavour, uint32_t uses, char head[HY__GPU_HEAD])
{
    /* wgpu-native has subgroup operations without a line for them, and takes the line for an error.
     */
    const bool subgroups = uses & HY__GPU_USES_SUBGROUPS && flavour == HY__GPU_DAWN;
    snprintf(head, HY__GPU_HEAD, "%s%s%s", uses & HY__GPU_USES_F16 ? "enable f16;\n" : "",
             subgroups ? "enable subgroups;\n" : "",
             uses & HY__GPU_USES_MATRICES ? "enable chromium_experimental_subgroup_matrix;\n"
                                         "diagnostic(off, chromium.subgroup_matrix_uniformity);\n" : "");
}

hy_status hy__gpu_module(hy__gpu *gpu, const char *code, size_t len, uint32_t uses,
                         const char *label, WGPUShaderModule *out, hy_error *err)
{
    char head[HY__GPU_HEAD];
    *out = NULL;
    HY_TRY(hy__gpu_check(gpu, err));
    hy__gpu_head(gpu->lib.flavour, uses, head);
    hy__buf text = {0};
    HY_TRY(hy__buf_append(&gpu->env, &text, head, strlen(head), err));
    hy_status status = hy__buf_append(&gpu->env, &text, code, len, err);
    if (status == HY_OK) {
        status = hy__gpu_spoil(&gpu->env, &text, err);
    }
    if (status == HY_OK) {
        const WGPUShaderSourceWGSL source = {.chain = {.sType = WGPUSType_ShaderSourceWGSL},
                                             .code = {text.data, text.len}};
        WGPUShaderModuleDescriptor desc = {.label = hy__gpu_text(label)};
        desc.nextInChain = (WGPUChainedStruct *)(void *)(uintptr_t)&source.chain;
        gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
        /* Dawn is told so by toggles: kernels keep to their buffers and end by themselves. */
        *out = gpu->lib.DeviceCreateShaderModuleTrusted
                   ? gpu->lib.DeviceCreateShaderModuleTrusted(gpu->device, &desc, 0)
                   : gpu->lib.DeviceCreateShaderModule(gpu->device, &desc);
        status = hy__gpu_pop_scope(gpu, label, err);
    }
    hy__buf_finish(&gpu->env, &text);
    if (status != HY_OK && *out) {
        gpu->lib.ShaderModuleRelease(*out);
        *out = NULL;
    }
    return status;
}

hy_status hy__gpu_pipeline(hy__gpu *gpu, WGPUShaderModule module, const char *entry,
                           WGPUPipelineLayout layout, const char *label, WGPUComputePipeline *out,
                           hy_error *err)
{
    const WGPUComputePipelineDescriptor desc = {
        .label = hy__gpu_text(label),
        .layout = layout,
        .compute = {.module = module, .entryPoint = hy__gpu_text(entry)}};
    HY_TRY(hy__gpu_check(gpu, err));
    gpu->lib.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    *out = gpu->lib.DeviceCreateComputePipeline(gpu->device, &desc);
    const hy_status status = hy__gpu_pop_scope(gpu, label, err);
    if (status != HY_OK && *out) {
        gpu->lib.ComputePipelineRelease(*out);
        *out = NULL;
    }
    return status;
}

/* ---- work */

hy_status hy__gpu_submit(hy__gpu *gpu, WGPUCommandEncoder encoder, hy_error *err)
{
    if (is_due(&gpu->faults.lost_before)) {
        hy__gpu_lose(gpu, "a test took it away");
    }
    WGPUCommandBuffer commands = gpu->lib.CommandEncoderFinish(encoder, NULL);
    gpu->lib.CommandEncoderRelease(encoder);
    const hy_status status = hy__gpu_check(gpu, err);
    if (status == HY_OK) {
        if (gpu->lib.QueueSubmitForIndex) {
            gpu->submission = gpu->lib.QueueSubmitForIndex(gpu->queue, 1, &commands);
        } else {
            gpu->lib.QueueSubmit(gpu->queue, 1, &commands);
        }
        gpu->submits++;
        if (is_due(&gpu->faults.lost_behind)) {
            gpu->lib.DeviceDestroy(gpu->device);
        }
    }
    if (commands) {
        gpu->lib.CommandBufferRelease(commands);
    }
    return status;
}

static void on_finished(WGPUQueueWorkDoneStatus status, WGPUStringView message, void *u1, void *u2)
{
    bool *const done = u1;
    (void)status;
    (void)message;
    (void)u2;
    *done = true;
}

hy_status hy__gpu_finish(hy__gpu *gpu, hy_error *err)
{
    HY_TRY(hy__gpu_check(gpu, err));
    bool done = false;
    const WGPUQueueWorkDoneCallbackInfo info = {
        .mode = hy__gpu_lib_mode(&gpu->lib), .callback = on_finished, .userdata1 = &done};
    const WGPUFuture future = gpu->lib.QueueOnSubmittedWorkDone(gpu->queue, info);
    if (!hy__gpu_lib_wait(&gpu->lib, gpu->instance, gpu->device, future, NULL, &done)) {
        HY_TRY(hy__gpu_check(gpu, err));
        return hy__fail(err, HY_E_INTERNAL, "the WebGPU library does not answer");
    }
    return hy__gpu_check(gpu, err);
}
