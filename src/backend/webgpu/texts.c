/* texts.c: the kernels of a model on adapters that are only described: what unstable.h shows of
 * them, on machines with and without a GPU.  Any thread. */
#include <stdio.h>

#include "halyard/unstable.h"
#include "model/model.h"
#include "selftest.h"
#include "webgpu.h"

/* ---- adapters */

/* Every size of subgroups that kernels distinguish, with as many buffers and invocations as kernels
 * may want and with fewer, made of software and not. */
static const struct adapter {
    const char *name;
    bool floor, software, f16;
    uint32_t lanes;       /* of a subgroup; 0: there are none */
    uint32_t buffers;     /* of a kernel */
    uint32_t invocations; /* of a workgroup */
    uint32_t binding_mib; /* most of a buffer that a kernel can use */
    uint32_t matrix;      /* rows, columns and depth of matrices of f16; 0: there are none */
} adapters[] = {
    {.name = "floor", .floor = true},
    /* a browser's, without f16 */
    {.name = "plain", .buffers = 10, .invocations = 256, .binding_mib = 1024},
    {"software-4", false, true, false, 4, 12, 256, 1024, 0},
    {"software-8", false, true, true, 8, 32, 1024, 128, 0},
    {"subgroups-4", false, false, true, 4, 8, 256, 128, 0},
    {"subgroups-8", false, false, true, 8, 10, 512, 1024, 0},
    {"subgroups-16", false, false, true, 16, 8, 256, 1024, 0},
    {"subgroups-32", false, false, true, 32, 16, 1024, 2047, 0},
    {"subgroups-64", false, false, true, 64, 16, 1024, 2047, 0},
    {"matrices-8", false, false, true, 32, 16, 1024, 1024, 8},
    {"matrices-16", false, false, true, 32, 16, 1024, 2047, 16},
};

static hy__gpu_caps caps_of(const struct adapter *a, uint32_t mask)
{
    hy__gpu_caps caps = {
        .type = a->software ? WGPUAdapterType_CPU : WGPUAdapterType_DiscreteGPU,
        .f16 = a->f16,
        .subgroups = a->lanes > 0,
        .dot = true,
        .timestamps = true,
        .subgroup_min = a->lanes,
        .subgroup_max = a->lanes,
        .matrix_m = a->matrix,
        .matrix_n = a->matrix,
        .matrix_k = a->matrix,
        .max_buffer = 1 << 30,
        .max_binding = (uint64_t)a->binding_mib << 20,
        .storage_buffers = a->buffers,
        .workgroup_bytes = a->matrix > 0 ? 48 << 10 : 32 << 10,
        .invocations = a->invocations,
        .max_workgroups = 65535,
        .storage_align = 256,
        .uniform_align = 256,
    };
    hy__gpu_caps_mask(&caps, mask);
    return caps;
}

const char *hy_webgpu_adapter_at(size_t i)
{
    return i < HY_COUNT(adapters) ? adapters[i].name : NULL;
}

static hy_status adapter_find(const char *name, const char *mask_names, hy__gpu *gpu,
                              hy_error *err)
{
    char known[200] = "";
    HY_TRY(hy__gpu_mask_parse(mask_names, &gpu->mask, err));
    for (size_t i = 0; i < HY_COUNT(adapters); i++) {
        if (strcmp(adapters[i].name, name) == 0) {
            gpu->mask |= adapters[i].floor ? HY__GPU_FLOOR : 0;
            gpu->caps = caps_of(&adapters[i], gpu->mask);
            return HY_OK;
        }
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", adapters[i].name);
    }
    return hy__fail(err, HY_E_NOT_FOUND, "there is no made-up adapter \"%.60s\"; these are: %s",
                    name, known);
}

/* ---- kernels */

typedef struct teller {
    const hy__gpu_model *m;
    bool *told; /* [n_kernels] */
    hy_webgpu_kernel_fn fn;
    void *user;
} teller;

/* Each kernel where it is run first. */
static void tell(const teller *t, const hy__gpu_program *program, const char *name)
{
    uint32_t phase = 0, number = 0;
    for (uint32_t i = 0; i < program->n; i++) {
        const hy__gpu_dispatch *d = &program->dispatches[i];
        const uint32_t kernel = t->m->entries[d->entry].kernel;
        if (t->told[kernel]) {
            continue;
        }
        t->told[kernel] = true;
        number = d->phase == phase ? number + 1 : 1;
        phase = d->phase;
        char heads[HY__GPU_N_NAMES][HY__GPU_HEAD];
        const hy__gpu_kernel *of = &t->m->kernels[kernel];
        for (uint32_t k = 0; k < HY__GPU_N_NAMES; k++) {
            hy__gpu_head((hy__gpu_flavour)k, hy__gpu_kernel_uses(of), heads[k]);
        }
        const hy_webgpu_kernel told = {
            name, phase, number, heads[HY__GPU_DAWN], heads[HY__GPU_WGPU], of->text.data};
        t->fn(t->user, &told);
    }
}

static hy_status tell_all(teller *t, const hy_env *env, hy_error *err)
{
    t->told = hy__calloc(env, (size_t)t->m->n_kernels + 1, sizeof *t->told, err);
    if (!t->told) {
        return HY_E_NOMEM;
    }
    tell(t, &t->m->decode, "decode");
    tell(t, &t->m->prefill, "prefill");
    hy__free(env, t->told);
    return HY_OK;
}

hy_status hy_model_webgpu_kernels(const hy_model *m, const char *adapter, const char *mask,
                                  hy_webgpu_kernel_fn fn, void *user, hy_error *err)
{
    hy__gpu_model gpu = {.env = m->graph.env,
                         .g = &m->graph,
                         .f = &m->fusion,
                         .x = &m->exprs,
                         .p = &m->plan,
                         .gpu = {.env = m->graph.env}};
    teller t = {.m = &gpu, .fn = fn, .user = user};
    HY_TRY(adapter_find(adapter, mask, &gpu.gpu, err));
    gpu.form = hy__gpu_form_of(&gpu.gpu.mask);
    gpu.use = hy__gpu_possible(&gpu.gpu);
    hy_status status = hy__gpu_prepare(&gpu, err);
    if (status == HY_OK) {
        status = tell_all(&t, &gpu.env, err);
    }
    hy__gpu_program_finish(&gpu);
    hy__gpu_weights_finish(&gpu);
    return status;
}
