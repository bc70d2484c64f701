/* inspect.c: what unstable.h says about WebGPU libraries, their devices, and the kernels of models.
 *
 * Nothing is kept between calls; any thread. */
#include <stdio.h>

#include "tune.h"

const char *hy_webgpu_library_at(size_t i)
{
    return i < HY__GPU_N_NAMES ? hy__gpu_names[i] : NULL;
}

const char *hy__gpu_api_name(WGPUBackendType type)
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
        .api = hy__gpu_api_name(c->backend),
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

/* ---- models */

static void info_of(const void *model, hy_webgpu_info *info)
{
    const hy__gpu_model *m = model;
    describe(&m->gpu, info);
}

static void counts_of(const void *model, hy_gpu_counts *counts)
{
    const hy__gpu_model *m = model;
    const hy_gpu_counts full = {.size = counts->size,
                                .dispatches = m->gpu.dispatches,
                                .submits = m->gpu.submits,
                                .tokens = m->tokens};
    memcpy(counts, &full, HY_MIN(counts->size, sizeof full));
}

/* The formats of the phase's matrices, each once: " Q4_K F16". */
static void put_formats(const hy__gpu_model *m, uint32_t phase, char *text, size_t cap)
{
    const hy__phase *p = &m->f->phases[phase];
    const hy__gpu_format *seen[16];
    size_t n = 0;
    for (uint32_t i = p->first; i < p->first + p->n_prologue + p->n_anchor + p->n_epilogue; i++) {
        const hy__node *node = &m->g->nodes[i];
        const hy__gpu_matrix *x = &m->matrices[node->in[0]];
        if (!hy_op_reads_matrix(node->op) || !x->rows) {
            continue;
        }
        size_t k = 0;
        while (k < n && seen[k] != x->format) {
            k++;
        }
        if (k == n && n < HY_COUNT(seen)) {
            seen[n++] = x->format;
            const size_t used = strlen(text);
            snprintf(text + used, cap - used, " %s", x->format->name);
        }
    }
}

void hy__gpu_dispatch_text(const hy__gpu_model *m, const hy__gpu_dispatch *d, char *text,
                           size_t cap)
{
    const hy__gpu_entry *e = &m->entries[d->entry];
    const hy__gpu_kernel *kernel = &m->kernels[e->kernel];
    char formats[200] = "";
    if (kernel->uses & (1u << HY__BUFFER_weights | 1u << HY__BUFFER_words)) {
        put_formats(m, d->phase, formats, sizeof formats);
    }
    snprintf(text, cap, "%s%s, %u lanes%s%s", e->name, formats, kernel->lanes,
             kernel->dot ? ", dot" : "",
             kernel->matrices ? ", subgroup matrices" : kernel->subgroups ? ", subgroups" : "");
}

static bool kernel_of(const void *model, uint32_t phase, bool many, uint32_t k, char *text,
                      size_t cap)
{
    const hy__gpu_model *m = model;
    const hy__gpu_program *p = many ? &m->prefill : &m->decode;
    uint32_t i = 0;
    for (; i < p->n; i++) {
        if (p->dispatches[i].phase == phase && k-- == 0) {
            break;
        }
    }
    if (i == p->n) {
        return false;
    }
    hy__gpu_dispatch_text(m, &p->dispatches[i], text, cap);
    return true;
}

static hy_status native_of(void *model, size_t i, hy_native_handle *handle, hy_error *err)
{
    hy__gpu_model *m = model;
    hy__lock_take(m->lock);
    const hy_status status = hy__gpu_native_handle(&m->gpu, i, handle, err);
    hy__lock_leave(m->lock);
    return status;
}

static bool draws(const void *model)
{
    const hy__gpu_model *m = model;
    return m->use & HY__GPU_USE_DRAWS;
}

const hy__backend_gpu hy__gpu_facts = {.info = info_of,
                                       .counts = counts_of,
                                       .draws = draws,
                                       .kernel = kernel_of,
                                       .native = native_of,
                                       .measure_read = hy__gpu_measure_read};

/* ---- the self-test */

static void tell(const hy__gpu_verdict *v, uint32_t mask, hy_webgpu_each each, void *user)
{
    hy__gpu_variant variant;
    for (uint32_t i = 0; hy__gpu_variant_at(i, &variant); i++) {
        const bool possible = v->possible >> i & 1, dropped = v->dropped >> i & 1;
        const char *absent = mask & variant.mask ? "masked" : "missing";
        const hy_webgpu_variant out = {.size = sizeof out,
                                       .name = variant.name,
                                       .what = variant.what,
                                       .state = dropped    ? "failed"
                                                : possible ? "passed"
                                                           : absent,
                                       .why = v->why[i],
                                       .instead = variant.instead};
        each(user, &out);
    }
}

hy_status hy_webgpu_selftest(const char *library, const char *folder, const char *mask,
                             const char *kernel_cache, const hy_env *env, hy_webgpu_each each,
                             void *user, hy_error *err)
{
    hy_env own;
    hy__gpu gpu;
    hy__gpu_opts opts = {.lib = library, .folder = folder, .cache = kernel_cache};
    hy__env_resolve(&own, env);
    HY_TRY(hy__gpu_mask_parse(mask, &opts.mask, err));
    HY_TRY(hy__gpu_open(&gpu, &opts, &own, err));
    hy__gpu_verdict *v = hy__calloc(&own, 1, sizeof *v, err);
    hy_status status = v ? HY_OK : HY_E_NOMEM;
    if (status == HY_OK) {
        status = hy__gpu_selftest(&gpu, &opts, NULL, hy__gpu_units_of(NULL), kernel_cache, v, err);
    }
    if (status == HY_OK) {
        tell(v, opts.mask, each, user);
    }
    hy__free(&own, v);
    hy__gpu_close(&gpu);
    return status;
}

/* ---- the tuner */

static void tell_choice(const hy__gpu_choice *c, hy_webgpu_gain_fn each, void *user)
{
    static const char *const where[] = {
#define HY__GPU_PLACE(id, name, what) what,
        HY__GPU_PLACES(HY__GPU_PLACE)
#undef HY__GPU_PLACE
    };
    for (uint32_t i = 0; i < c->n_gains; i++) {
        const hy__gpu_gain *gain = &c->gains[i];
        hy__gpu_option o;
        if (hy__gpu_option_at(gain->option, &o)) {
            const hy_webgpu_gain out = {.size = sizeof out,
                                        .name = o.name,
                                        .what = o.what,
                                        .where = where[gain->place],
                                        .state = hy__gpu_outcome_names[gain->outcome],
                                        .ns = gain->ns,
                                        .other_ns = gain->other_ns};
            each(user, &out);
        }
    }
}

/* All kernels are tested first, which is not the tuner's time. */
static hy_status run_tuner(const hy__gpu *gpu, const hy__gpu_opts *opts, const char *folder,
                           hy__gpu_choice *c, hy_error *err)
{
    hy__gpu_verdict *v = hy__calloc(&gpu->env, 1, sizeof *v, err);
    if (!v) {
        return HY_E_NOMEM;
    }
    const hy_status status =
        hy__gpu_selftest(gpu, opts, NULL, hy__gpu_units_of(NULL), folder, v, err);
    const hy__gpu_use passed = v->possible & ~v->dropped;
    hy__free(&gpu->env, v);
    return status == HY_OK ? hy__gpu_tune(gpu, opts, passed, c, err) : status;
}

/* With `when` it is made and kept, without it looked up.  Told also if it cannot be kept. */
static hy_status tuner(const char *library, const char *folder, const char *mask,
                       const char *kernel_cache, const hy_env *env, const char *when,
                       hy_webgpu_tuning *tuning, hy_webgpu_gain_fn each, void *user, hy_error *err)
{
    hy_env own;
    hy__gpu gpu;
    hy__gpu_opts opts = {.lib = library, .folder = folder, .cache = kernel_cache};
    hy_webgpu_tuning full = {.size = tuning->size};
    uint64_t name, key;
    hy__env_resolve(&own, env);
    HY_TRY(hy__gpu_mask_parse(mask, &opts.mask, err));
    (void)hy__gpu_form_of(&opts.mask); /* models take the forms out too: the key is the same */
    HY_TRY(hy__gpu_open(&gpu, &opts, &own, err));
    bool keeps = kernel_cache && !hy__gpu_is_injected();
    hy__gpu_choice *c = hy__calloc(&own, 1, sizeof *c, err);
    hy_status status = c ? HY_OK : HY_E_NOMEM, kept = HY_OK;
    hy__gpu_key(&gpu, &name, &key);
    if (status == HY_OK && when) {
        snprintf(c->when, sizeof c->when, "%.*s", (int)strcspn(when, " \n"), when);
        status = run_tuner(&gpu, &opts, kernel_cache, c, err);
        if (status == HY_OK && keeps && hy__gpu_choice_is_timed(c)) {
            kept = hy__gpu_choice_save(&own, kernel_cache, name, key, c, err);
        }
        keeps = keeps && hy__gpu_choice_is_timed(c) && kept == HY_OK;
    } else if (status == HY_OK && keeps) {
        hy__gpu_choice_load(&own, kernel_cache, name, key, c);
    }
    if (status == HY_OK) {
        full.made = c->made;
        full.seconds = c->seconds;
        memcpy(full.when, c->when, sizeof full.when);
        if (keeps && c->made) {
            hy__gpu_choice_path(full.path, sizeof full.path, kernel_cache, name);
        }
        memcpy(tuning, &full, HY_MIN(tuning->size, sizeof full));
        tell_choice(c, each, user);
    }
    hy__free(&own, c);
    hy__gpu_close(&gpu);
    return status == HY_OK ? kept : status;
}

hy_status hy_webgpu_tune(const char *library, const char *folder, const char *mask,
                         const char *kernel_cache, const hy_env *env, const char *when,
                         hy_webgpu_tuning *tuning, hy_webgpu_gain_fn each, void *user,
                         hy_error *err)
{
    return tuner(library, folder, mask, kernel_cache, env, when ? when : "", tuning, each, user,
                 err);
}

hy_status hy_webgpu_tuned(const char *library, const char *folder, const char *mask,
                          const char *kernel_cache, const hy_env *env, hy_webgpu_tuning *tuning,
                          hy_webgpu_gain_fn each, void *user, hy_error *err)
{
    return tuner(library, folder, mask, kernel_cache, env, NULL, tuning, each, user, err);
}
