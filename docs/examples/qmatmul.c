/* qmatmul.c: a quantized matrix times a batch of columns, on a WebGPU device of this program's own,
 * in a compute pass of its own; Halyard gives nothing but the product.
 *
 *     cc qmatmul.c $(pkg-config --cflags --libs halyard) -lm -ldl -o qmatmul
 *     ./qmatmul libwebgpu_dawn.so
 *
 * Without an argument the library is looked for in the folder that HALYARD_WEBGPU names. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <halyard/qmatmul.h>

#ifdef HALYARD_TREE /* no webgpu.h is part of it, only declarations of what it uses */
#include "backend/webgpu/abi.h"
#else
#include <webgpu/webgpu.h>
#endif

/* The functions that this program calls itself. */
#define FUNCTIONS(X)                                                                               \
    X(WGPUInstance, CreateInstance, (const WGPUInstanceDescriptor *))                              \
    X(WGPUFuture, InstanceRequestAdapter,                                                          \
      (WGPUInstance, const WGPURequestAdapterOptions *, WGPURequestAdapterCallbackInfo))           \
    X(void, InstanceProcessEvents, (WGPUInstance))                                                 \
    X(WGPUFuture, AdapterRequestDevice,                                                            \
      (WGPUAdapter, const WGPUDeviceDescriptor *, WGPURequestDeviceCallbackInfo))                  \
    X(WGPUQueue, DeviceGetQueue, (WGPUDevice))                                                     \
    X(WGPUBuffer, DeviceCreateBuffer, (WGPUDevice, const WGPUBufferDescriptor *))                  \
    X(WGPUCommandEncoder, DeviceCreateCommandEncoder,                                              \
      (WGPUDevice, const WGPUCommandEncoderDescriptor *))                                          \
    X(WGPUComputePassEncoder, CommandEncoderBeginComputePass,                                      \
      (WGPUCommandEncoder, const WGPUComputePassDescriptor *))                                     \
    X(void, ComputePassEncoderEnd, (WGPUComputePassEncoder))                                       \
    X(void, CommandEncoderCopyBufferToBuffer,                                                      \
      (WGPUCommandEncoder, WGPUBuffer, uint64_t, WGPUBuffer, uint64_t, uint64_t))                  \
    X(WGPUCommandBuffer, CommandEncoderFinish,                                                     \
      (WGPUCommandEncoder, const WGPUCommandBufferDescriptor *))                                   \
    X(void, QueueSubmit, (WGPUQueue, size_t, const WGPUCommandBuffer *))                           \
    X(void, QueueWriteBuffer, (WGPUQueue, WGPUBuffer, uint64_t, const void *, size_t))             \
    X(WGPUFuture, BufferMapAsync,                                                                  \
      (WGPUBuffer, WGPUMapMode, size_t, size_t, WGPUBufferMapCallbackInfo))                        \
    X(const void *, BufferGetConstMappedRange, (WGPUBuffer, size_t, size_t))                       \
    X(void, InstanceRelease, (WGPUInstance))                                                       \
    X(void, AdapterRelease, (WGPUAdapter))                                                         \
    X(void, DeviceRelease, (WGPUDevice))                                                           \
    X(void, QueueRelease, (WGPUQueue))                                                             \
    X(void, BufferRelease, (WGPUBuffer))                                                           \
    X(void, CommandEncoderRelease, (WGPUCommandEncoder))                                           \
    X(void, CommandBufferRelease, (WGPUCommandBuffer))                                             \
    X(void, ComputePassEncoderRelease, (WGPUComputePassEncoder))

typedef struct gpu {
#define MEMBER(result, name, args) result(*name) args;
    FUNCTIONS(MEMBER)
    void *library;
    WGPUInstance instance;
    WGPUAdapter adapter;
    WGPUDevice device;
    WGPUQueue queue;
} gpu;

enum { ROWS = 1000, COLS = 512, N = 20 };
static const hy_type type = HY_TYPE_Q4_K;

/* ---- a device */

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *out, void *done)
{
    (void)message;
    *(WGPUAdapter *)out = status == WGPURequestAdapterStatus_Success ? adapter : NULL;
    *(bool *)done = true;
}

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message,
                      void *out, void *done)
{
    (void)message;
    *(WGPUDevice *)out = status == WGPURequestDeviceStatus_Success ? device : NULL;
    *(bool *)done = true;
}

static bool find_functions(gpu *g)
{
    bool all = true;
    void *symbol;
#define FIND(result, name, args)                                                                   \
    symbol = dlsym(g->library, "wgpu" #name);                                                      \
    memcpy(&g->name, &symbol, sizeof symbol);                                                      \
    all = all && symbol;
    FUNCTIONS(FIND)
    return all;
}

static void close_gpu(gpu *g)
{
    if (g->queue) {
        g->QueueRelease(g->queue);
    }
    if (g->device) {
        g->DeviceRelease(g->device);
    }
    if (g->adapter) {
        g->AdapterRelease(g->adapter);
    }
    if (g->instance) {
        g->InstanceRelease(g->instance);
    }
    memset(g, 0, sizeof *g); /* the library stays: drivers below it may have threads */
}

/* A device with nothing but what every device has. */
static bool open_gpu(gpu *g, const char *path)
{
    bool done = false;
    memset(g, 0, sizeof *g);
    g->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    g->instance = g->library && find_functions(g) ? g->CreateInstance(NULL) : NULL;
    if (!g->instance) {
        return false;
    }
    const WGPURequestAdapterCallbackInfo adapter = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                                    .callback = on_adapter,
                                                    .userdata1 = &g->adapter,
                                                    .userdata2 = &done};
    g->InstanceRequestAdapter(g->instance, NULL, adapter);
    while (!done) {
        g->InstanceProcessEvents(g->instance);
    }
    const WGPURequestDeviceCallbackInfo device = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                                  .callback = on_device,
                                                  .userdata1 = &g->device,
                                                  .userdata2 = &done};
    done = !g->adapter;
    if (g->adapter) {
        g->AdapterRequestDevice(g->adapter, NULL, device);
    }
    while (!done) {
        g->InstanceProcessEvents(g->instance);
    }
    g->queue = g->device ? g->DeviceGetQueue(g->device) : NULL;
    if (!g->queue) {
        close_gpu(g);
    }
    return g->queue != NULL;
}

static bool find_gpu(gpu *g, const char *path)
{
    static const char *const names[] = {"libwebgpu_dawn.so", "libwgpu_native-release.so",
                                        "libwgpu_native.so", "libwebgpu_dawn.dylib",
                                        "libwgpu_native.dylib"};
    const char *folder = getenv("HALYARD_WEBGPU");
    if (path) {
        return open_gpu(g, path);
    }
    for (size_t i = 0; folder && i < sizeof names / sizeof *names; i++) {
        char at[1000];
        const int n = snprintf(at, sizeof at, "%s/%s", folder, names[i]);
        if (n > 0 && (size_t)n < sizeof at && open_gpu(g, at)) {
            return true;
        }
    }
    return false;
}

/* ---- the product */

static void *get_proc(void *library, const char *name)
{
    return dlsym(library, name);
}

static void on_map(WGPUMapAsyncStatus status, WGPUStringView message, void *ok, void *done)
{
    (void)message;
    *(bool *)ok = status == WGPUMapAsyncStatus_Success;
    *(bool *)done = true;
}

static WGPUBuffer make_buffer(const gpu *g, size_t bytes, WGPUBufferUsage usage)
{
    const WGPUBufferDescriptor desc = {.usage = usage, .size = bytes};
    return g->DeviceCreateBuffer(g->device, &desc);
}

/* y [N][ROWS] from x [N][COLS]. */
static hy_status multiply(const gpu *g, hy_qmatmul_pipeline *pipeline,
                          const hy_qmatmul_weights *weights, const float *x, float *y,
                          hy_error *err)
{
    const size_t x_bytes = sizeof *x * N * COLS, y_bytes = sizeof *y * N * ROWS;
    bool ok = false, done = false;
    WGPUBuffer from = make_buffer(g, x_bytes, WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst);
    WGPUBuffer to = make_buffer(g, y_bytes, WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc);
    WGPUBuffer read = make_buffer(g, y_bytes, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
    g->QueueWriteBuffer(g->queue, from, 0, x, x_bytes);
    WGPUCommandEncoder encoder = g->DeviceCreateCommandEncoder(g->device, NULL);
    WGPUComputePassEncoder pass = g->CommandEncoderBeginComputePass(encoder, NULL);
    /* Anything may come before, */
    const hy_status status =
        hy_qmatmul_dispatch(pipeline, weights, pass, from, 0, to, 0, N, err);
    /* and behind. */
    g->ComputePassEncoderEnd(pass);
    g->CommandEncoderCopyBufferToBuffer(encoder, to, 0, read, 0, y_bytes);
    WGPUCommandBuffer commands = g->CommandEncoderFinish(encoder, NULL);
    if (status == HY_OK) {
        const WGPUBufferMapCallbackInfo info = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                                .callback = on_map,
                                                .userdata1 = &ok,
                                                .userdata2 = &done};
        g->QueueSubmit(g->queue, 1, &commands);
        g->BufferMapAsync(read, WGPUMapMode_Read, 0, y_bytes, info);
        while (!done) {
            g->InstanceProcessEvents(g->instance);
        }
        if (ok) {
            memcpy(y, g->BufferGetConstMappedRange(read, 0, y_bytes), y_bytes);
        } else {
            fprintf(stderr, "qmatmul: the result cannot be read\n");
        }
    }
    g->CommandBufferRelease(commands);
    g->ComputePassEncoderRelease(pass);
    g->CommandEncoderRelease(encoder);
    g->BufferRelease(from);
    g->BufferRelease(to);
    g->BufferRelease(read);
    return status;
}

/* The largest difference to the product of the decoded matrix, in parts of the largest result. */
static double error_of(const float *w, const float *x, const float *y)
{
    double most = 0, worst = 0;
    for (size_t i = 0; i < (size_t)N * ROWS; i++) {
        float sum = 0;
        for (size_t c = 0; c < COLS; c++) {
            sum += w[i % ROWS * COLS + c] * x[i / ROWS * COLS + c];
        }
        most = fmax(most, fabs((double)sum));
        worst = fmax(worst, fabs((double)sum - (double)y[i]));
    }
    return worst / most;
}

static hy_status run(const gpu *g, float *w, const float *x, float *y, void *coded, size_t bytes,
                     hy_error *err)
{
    const hy_qmatmul_procs procs = {
        .size = sizeof procs, .get_proc = get_proc, .user = g->library};
    /* More features and limits, once the device has been asked for them, make it faster. */
    const hy_qmatmul_config config = {.size = sizeof config,
                                      .type = type,
                                      .rows = ROWS,
                                      .cols = COLS,
                                      .batch = N,
                                      .features = HY_QMATMUL_PACKED_DOT};
    hy_qmatmul_pipeline *pipeline = NULL;
    hy_qmatmul_weights *weights = NULL;
    hy_status status = hy_quantize(type, w, coded, (size_t)ROWS * COLS, err);
    if (status == HY_OK) {
        status = hy_dequantize(type, coded, w, (size_t)ROWS * COLS, err);
    }
    if (status == HY_OK) {
        status = hy_qmatmul_pipeline_create(g->device, &procs, &config, NULL, &pipeline, err);
    }
    if (status == HY_OK) {
        status = hy_qmatmul_weights_create(pipeline, coded, bytes, &weights, err);
    }
    if (status == HY_OK) {
        status = multiply(g, pipeline, weights, x, y, err);
    }
    hy_qmatmul_weights_destroy(weights);
    hy_qmatmul_pipeline_destroy(pipeline);
    return status;
}

int main(int argc, char **argv)
{
    static float w[ROWS * COLS], x[N * COLS], y[N * ROWS];
    const hy_type_info *info = hy_type_find((uint32_t)type);
    const size_t bytes = (size_t)ROWS * COLS / info->block_elems * info->block_bytes;
    gpu g;
    hy_error err;
    if (!find_gpu(&g, argc > 1 ? argv[1] : NULL)) {
        printf("qmatmul: skipped, there is no WebGPU library with a GPU\n");
        return 0;
    }
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
        w[i] = sinf((float)(i * i % 10007));
    }
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        x[i] = cosf((float)(i * i % 9973));
    }
    void *coded = malloc(bytes);
    hy_status status = HY_E_NOMEM;
    if (coded) {
        status = run(&g, w, x, y, coded, bytes, &err);
        if (status != HY_OK) {
            fprintf(stderr, "qmatmul: %s\n", err.text);
        }
    }
    free(coded);
    close_gpu(&g);
    const double error = status == HY_OK ? error_of(w, x, y) : 1;
    printf("%d rows of %d in %s, %d columns: largest error %.5f of the largest result\n", ROWS, COLS,
           info->name, N, error);
    return error < 0.01 ? 0 : 1;
}
