/* native.c: the handles of the API below WebGPU that a library gives: see hy_device_native.
 * Nothing is kept; the handles are the library's.
 *
 * No function of the standard webgpu.h gives any.  wgpu-native has functions of its own for Metal;
 * Dawn has C++ functions, whose names in libraries for Linux and macOS are those below, where the
 * library was built so that they can be seen.  Those for Vulkan were tried. */
#include "webgpu.h"

typedef void *device_fn(WGPUDevice device);
typedef void *queue_fn(WGPUQueue queue);
typedef void *named_fn(WGPUDevice device, const char *name);

typedef struct source {
    hy__gpu_flavour flavour;
    WGPUBackendType backend;
    const char *api, *kind, *symbol;
    enum { OF_DEVICE, OF_QUEUE, OF_NAME } of; /* what the function is called with */
} source;

static const source sources[] = {
    {HY__GPU_DAWN, WGPUBackendType_Vulkan, "Vulkan", "VkInstance",
     "_ZN4dawn6native6vulkan11GetInstanceEP14WGPUDeviceImpl", OF_DEVICE},
    {HY__GPU_DAWN, WGPUBackendType_Vulkan, "Vulkan", "VkDevice",
     "_ZN4dawn6native6vulkan11GetVkDeviceEP14WGPUDeviceImpl", OF_DEVICE},
    {HY__GPU_DAWN, WGPUBackendType_Vulkan, "Vulkan", "vkGetInstanceProcAddr",
     "_ZN4dawn6native6vulkan19GetInstanceProcAddrEP14WGPUDeviceImplPKc", OF_NAME},
    {HY__GPU_DAWN, WGPUBackendType_Metal, "Metal", "MTLDevice",
     "_ZN4dawn6native5metal12GetMTLDeviceEP14WGPUDeviceImpl", OF_DEVICE},
    {HY__GPU_WGPU, WGPUBackendType_Metal, "Metal", "MTLDevice", "wgpuDeviceGetNativeMetalDevice",
     OF_DEVICE},
    {HY__GPU_WGPU, WGPUBackendType_Metal, "Metal", "MTLCommandQueue",
     "wgpuQueueGetNativeMetalCommandQueue", OF_QUEUE},
};

/* NULL: the library does not have the function, or nothing to give. */
static void *handle_of(hy__gpu *gpu, const source *s)
{
    device_fn *of_device;
    queue_fn *of_queue;
    named_fn *of_name;
    void *const symbol = hy__library_symbol(gpu->lib.handle, s->symbol);
    if (!symbol) {
        return NULL;
    }
    switch (s->of) {
    case OF_DEVICE:
        memcpy(&of_device, &symbol, sizeof symbol);
        return of_device(gpu->device);
    case OF_QUEUE:
        memcpy(&of_queue, &symbol, sizeof symbol);
        return of_queue(gpu->queue);
    default:
        memcpy(&of_name, &symbol, sizeof symbol);
        return of_name(gpu->device, s->kind);
    }
}

hy_status hy__gpu_native_handle(hy__gpu *gpu, size_t i, hy_native_handle *handle, hy_error *err)
{
    size_t found = 0;
    HY_TRY(hy__gpu_check(gpu, err));
    for (size_t k = 0; k < HY_COUNT(sources); k++) {
        const source *s = &sources[k];
        void *const one = s->flavour == gpu->lib.flavour && s->backend == gpu->caps.backend
                              ? handle_of(gpu, s)
                              : NULL;
        if (one && found++ == i) {
            const hy_native_handle full = {
                .size = handle->size, .api = s->api, .kind = s->kind, .handle = one};
            memcpy(handle, &full, HY_MIN(handle->size, sizeof full));
            return HY_OK;
        }
    }
    const char *const api = hy__gpu_api_name(gpu->caps.backend);
    return found > 0 ? hy__fail(err, HY_E_NOT_FOUND, "%s gives %zu handles of %s",
                                gpu->caps.library, found, api)
                     : hy__fail(err, HY_E_UNSUPPORTED,
                                "%s (%s) has no function that gives handles of %s",
                                gpu->caps.library, gpu->lib.path, api);
}
