/* inspect.c: what unstable.h says about WebGPU libraries and their devices.
 *
 * Nothing is kept between calls; any thread. */
#include <stdio.h>

#include "device.h"
#include "halyard/unstable.h"

const char *hy_webgpu_library_at(size_t i)
{
    return i < HY__GPU_N_NAMES ? hy__gpu_names[i] : NULL;
}

static const char *api_name(WGPUBackendType type)
{
    switch (type) {
    case WGPUBackendType_Null:
        return "null";
    case WGPUBackendType_D3D12:
        return "D3D12";
    case WGPUBackendType_Metal:
        return "Metal";
    case WGPUBackendType_Vulkan:
        return "Vulkan";
    default:
        return "unknown";
    }
}

static const char *kind_name(WGPUAdapterType type)
{
    switch (type) {
    case WGPUAdapterType_DiscreteGPU:
        return "discrete";
    case WGPUAdapterType_IntegratedGPU:
        return "integrated";
    case WGPUAdapterType_CPU:
        return "software";
    default:
        return "unknown";
    }
}

static void describe(const hy__gpu *gpu, hy_webgpu_info *info)
{
    const hy__gpu_caps *const c = &gpu->caps;
    hy_webgpu_info full = {
        .size = info->size,
        .api = api_name(c->backend),
        .kind = kind_name(c->type),
        .f16 = c->f16,
        .subgroups = c->subgroups,
        .packed_dot = c->dot,
        .timestamps = c->timestamps,
        .subgroup_min = c->subgroup_min,
        .subgroup_max = c->subgroup_max,
        .max_buffer_bytes = c->max_buffer,
        .max_binding_bytes = c->max_binding,
        .storage_buffers = c->storage_buffers,
        .workgroup_bytes = c->workgroup_bytes,
        .workgroup_invocations = c->invocations,
        .max_workgroups = c->max_workgroups,
        .storage_alignment_bytes = c->storage_align,
        .uniform_alignment_bytes = c->uniform_align,
    };
    snprintf(full.library, sizeof full.library, "%s", c->library);
    snprintf(full.path, sizeof full.path, "%s", gpu->lib.path);
    snprintf(full.adapter, sizeof full.adapter, "%s", c->adapter);
    memcpy(info, &full, HY_MIN(info->size, sizeof full));
}

hy_status hy_webgpu_probe(const char *library, const char *folder, const char *mask,
                          const hy_env *env, hy_webgpu_info *info, hy_error *err)
{
    hy_env own;
    hy__gpu gpu;
    hy__gpu_opts opts = {.lib = library, .folder = folder};
    hy__env_resolve(&own, env);
    HY_TRY(hy__gpu_mask_parse(mask, &opts.mask, err));
    HY_TRY(hy__gpu_open(&gpu, &opts, &own, err));
    describe(&gpu, info);
    hy__gpu_close(&gpu);
    return HY_OK;
}
