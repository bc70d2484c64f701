/* lib.c: opening a WebGPU library and waiting for it: see lib.h. */
#include "lib.h"

#include <stdio.h>

#include "base/os.h"

const char *const hy__gpu_names[HY__GPU_N_NAMES] = {"dawn", "wgpu"};

static const char *const dawn_files[] = {
#if defined(_WIN32)
    "webgpu_dawn.dll",
#elif defined(__APPLE__)
    "libwebgpu_dawn.dylib",
#else
    "libwebgpu_dawn.so",
#endif
    NULL};
static const char *const wgpu_files[] = {
#if defined(_WIN32)
    "wgpu_native.dll",
#elif defined(__APPLE__)
    "libwgpu_native-release.dylib", "libwgpu_native.dylib",
#else
    "libwgpu_native-release.so", "libwgpu_native.so",
#endif
    NULL};

/* ---- functions */

/* ISO C has no conversion of an object pointer to a function pointer; every system with such
 * libraries has one of the representation. */
static bool fill(hy__gpu_get get, void *user, void *member, const char *name)
{
    void *const symbol = get(user, name);
    memcpy(member, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* The first function that is missing, or NULL. */
static const char *fill_all(hy__gpu_lib *lib, hy__gpu_get get, void *user)
{
#define FILL(result, name, args)                                                                   \
    if (!fill(get, user, &lib->name, "wgpu" #name)) {                                              \
        return "wgpu" #name;                                                                       \
    }
#define FILL_EXTRA(result, name, args) (void)fill(get, user, &lib->name, "wgpu" #name);
    HY__WGPU_FUNCTIONS(FILL)
    HY__WGPU_EXTRAS(FILL_EXTRA)
#undef FILL
#undef FILL_EXTRA
    /* Older libraries number features and structures in other ways; they lack this one. */
    return get(user, "wgpuGetInstanceFeatures") ? NULL : "wgpuGetInstanceFeatures";
}

static bool tell_apart(hy__gpu_lib *lib)
{
    if (lib->DeviceTick && lib->InstanceWaitAny) {
        lib->flavour = HY__GPU_DAWN;
        return true;
    }
    if (lib->GetVersion && lib->DevicePoll) {
        lib->flavour = HY__GPU_WGPU;
        /* Exported, but calling them ends the process. */
        lib->InstanceWaitAny = NULL;
        lib->DeviceCreateComputePipelineAsync = NULL;
        return true;
    }
    return false;
}

/* ---- opening */

/* Opens a file; on failure what it was is added to `tried`. */
static bool open_file(hy__gpu_lib *lib, const char *path, char *tried, size_t cap)
{
    char why[200] = "";
    *lib = (hy__gpu_lib){.handle = hy__library_open(path, why, sizeof why)};
    if (lib->handle) {
        const char *const missing = fill_all(lib, hy__library_symbol, lib->handle);
        if (missing) {
            snprintf(why, sizeof why, "it has no %s: too old, or not a WebGPU library", missing);
        } else if (!tell_apart(lib)) {
            snprintf(why, sizeof why, "it is neither Dawn nor wgpu-native");
        } else {
            snprintf(lib->path, sizeof lib->path, "%s", path);
            return true;
        }
        hy__library_close(lib->handle);
    }
    /* The system's reasons often begin with the path. */
    const size_t n = strlen(tried), len = strlen(path);
    const bool again = strncmp(why, path, len) == 0 && strncmp(why + len, ": ", 2) == 0;
    snprintf(tried + n, cap - n, "%s%s (%s)", n > 0 ? ", " : "", path, again ? why + len + 2 : why);
    return false;
}

static bool open_names(hy__gpu_lib *lib, const char *const *files, const char *folder, char *tried,
                       size_t cap)
{
    for (; *files; files++) {
        char path[sizeof lib->path];
        const int n = snprintf(path, sizeof path, "%s/%s", folder ? folder : "", *files);
        if (folder && n > 0 && (size_t)n < sizeof path && open_file(lib, path, tried, cap)) {
            return true;
        }
        if (open_file(lib, *files, tried, cap)) {
            return true;
        }
    }
    return false;
}

hy_status hy__gpu_lib_open(hy__gpu_lib *lib, const char *name, const char *folder, hy_error *err)
{
    char tried[400] = "";
    const bool dawn = !name || strcmp(name, hy__gpu_names[HY__GPU_DAWN]) == 0;
    const bool wgpu = !name || strcmp(name, hy__gpu_names[HY__GPU_WGPU]) == 0;
    if ((dawn && open_names(lib, dawn_files, folder, tried, sizeof tried)) ||
        (wgpu && open_names(lib, wgpu_files, folder, tried, sizeof tried)) ||
        (!dawn && !wgpu && open_file(lib, name, tried, sizeof tried))) {
        return HY_OK;
    }
    *lib = (hy__gpu_lib){0};
    return hy__fail(err, HY_E_UNSUPPORTED, "no WebGPU library: %s", tried);
}

hy_status hy__gpu_lib_adopt(hy__gpu_lib *lib, hy__gpu_get get, void *user, hy_error *err)
{
    *lib = (hy__gpu_lib){.foreign = true};
    const char *const missing = fill_all(lib, get, user);
    if (missing) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "there is no function %s: the WebGPU library is too old, or none", missing);
    }
    if (!tell_apart(lib)) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "the WebGPU library is neither Dawn nor wgpu-native");
    }
    /* Its answer would need an instance. */
    lib->DeviceCreateComputePipelineAsync = NULL;
    return HY_OK;
}

void hy__gpu_lib_close(hy__gpu_lib *lib)
{
    /* Not unloaded: both libraries and the drivers below them leave threads and memory behind. */
    *lib = (hy__gpu_lib){0};
}

void hy__gpu_lib_name(const hy__gpu_lib *lib, char *name, size_t cap)
{
    if (lib->flavour == HY__GPU_DAWN) {
        snprintf(name, cap, "Dawn");
    } else {
        const uint32_t v = lib->GetVersion();
        snprintf(name, cap, "wgpu-native %u.%u.%u.%u", v >> 24, v >> 16 & 255, v >> 8 & 255,
                 v & 255);
    }
}

/* ---- waiting */

WGPUCallbackMode hy__gpu_lib_mode(const hy__gpu_lib *lib)
{
    return lib->flavour == HY__GPU_WGPU ? WGPUCallbackMode_AllowProcessEvents
           : lib->foreign               ? WGPUCallbackMode_AllowSpontaneous
                                        : WGPUCallbackMode_WaitAnyOnly;
}

bool hy__gpu_lib_wait(const hy__gpu_lib *lib, WGPUInstance instance, WGPUDevice device,
                      WGPUFuture future, const uint64_t *submission, const bool *done)
{
    if (lib->flavour == HY__GPU_DAWN && lib->foreign) {
        /* Error scopes, all that is asked of such a device, are answered inside the call. */
        for (int tries = 0; !*done && tries < 3; tries++) {
            lib->DeviceTick(device);
        }
        return *done;
    }
    if (lib->flavour == HY__GPU_DAWN) {
        WGPUFutureWaitInfo info = {.future = future};
        return *done ||
               (lib->InstanceWaitAny(instance, 1, &info, UINT64_MAX) == WGPUWaitStatus_Success &&
                *done);
    }
    /* Requests are answered inside the call that makes them; maps and finished work here. */
    for (int tries = 0; !*done && tries < 3; tries++) {
        if (device) {
            lib->DevicePoll(device, 1, submission);
        } else {
            lib->InstanceProcessEvents(instance);
        }
    }
    return *done;
}

void hy__gpu_lib_poll(const hy__gpu_lib *lib, WGPUInstance instance, WGPUDevice device)
{
    if (lib->flavour == HY__GPU_WGPU && device) {
        lib->DevicePoll(device, 0, NULL);
    } else {
        lib->InstanceProcessEvents(instance);
    }
}
