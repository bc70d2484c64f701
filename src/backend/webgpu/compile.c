/* compile.c: see compile.h. */
#include "compile.h"

static WGPUComputePipelineDescriptor describe(const hy__gpu_job *j)
{
    return (WGPUComputePipelineDescriptor){
        .label = hy__gpu_text(j->entry),
        .layout = j->layout,
        .compute = {.module = j->module, .entryPoint = hy__gpu_text(j->entry)}};
}

/* ---- Dawn */

static void on_pipeline(WGPUCreatePipelineAsyncStatus status, WGPUComputePipeline pipeline,
                        WGPUStringView message, void *u1, void *u2)
{
    hy__gpu_job *const j = u1;
    (void)u2;
    *j->out = pipeline;
    hy__gpu_keep_text(j->message, sizeof j->message, message);
    j->status = status;
    j->done = true;
    j->in->n_done++;
}

static void begin_dawn(hy__gpu_compile *c)
{
    for (uint32_t i = c->next; i < c->n_jobs && i < c->n_done + c->most; i = ++c->next) {
        hy__gpu_job *j = &c->jobs[i];
        const WGPUComputePipelineDescriptor desc = describe(j);
        const WGPUCreateComputePipelineAsyncCallbackInfo info = {
            .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_pipeline, .userdata1 = j};
        j->in = c;
        j->future = c->gpu->lib.DeviceCreateComputePipelineAsync(c->gpu->device, &desc, info);
    }
}

static hy_status wait_dawn(hy__gpu_compile *c, bool (*go_on)(void *user), void *user, hy_error *err)
{
    enum { PATIENCE = 50 * 1000 * 1000 }; /* ns between questions */
    hy__gpu *const gpu = c->gpu;
    hy_status status = HY_OK;
    for (uint32_t i = 0; i < c->next; i++) {
        hy__gpu_job *j = &c->jobs[i];
        while (!j->done) {
            const bool ask = go_on && status == HY_OK;
            WGPUFutureWaitInfo info = {.future = j->future};
            const WGPUWaitStatus answer = gpu->lib.InstanceWaitAny(
                gpu->instance, 1, &info, ask ? (uint64_t)PATIENCE : UINT64_MAX);
            if (ask && !go_on(user)) {
                status = hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
            }
            if (answer != WGPUWaitStatus_Success && answer != WGPUWaitStatus_TimedOut) {
                return hy__fail(err, HY_E_INTERNAL, "%s: the WebGPU library does not answer",
                                j->entry);
            }
        }
        if (status == HY_OK && !gpu->lost && j->status != WGPUCreatePipelineAsyncStatus_Success) {
            status = hy__fail(err, HY_E_INTERNAL, "%s: %s", j->entry, j->message);
        }
        if (status == HY_OK) {
            begin_dawn(c);
        }
    }
    return status;
}

/* ---- wgpu-native */

/* It has no scope for internal errors: those are told to the device, by any thread. */
static const WGPUErrorFilter filters[] = {WGPUErrorFilter_OutOfMemory, WGPUErrorFilter_Validation};

static bool compile_one(hy__gpu_compile *c)
{
    const unsigned i = atomic_fetch_add(&c->next, 1);
    if (i >= c->n_jobs) {
        return false;
    }
    const WGPUComputePipelineDescriptor desc = describe(&c->jobs[i]);
    *c->jobs[i].out = c->gpu->lib.DeviceCreateComputePipeline(c->gpu->device, &desc);
    return true;
}

static void work(void *arg)
{
    while (compile_one(arg)) {
    }
}

static void start_threads(hy__gpu_compile *c)
{
    const hy_env *env = &c->gpu->env;
    for (size_t i = 0; i < HY_COUNT(filters); i++) {
        c->gpu->lib.DevicePushErrorScope(c->gpu->device, filters[i]);
    }
    /* The last one is the caller, which comes later.  Without threads it does all of the work. */
    for (c->n_threads = 0; c->n_threads + 1 < HY_MIN(c->most, c->n_jobs); c->n_threads++) {
        if (env->thread_start(env->user, work, c, &c->threads[c->n_threads], NULL) != HY_OK) {
            break;
        }
    }
}

static hy_status wait_threads(hy__gpu_compile *c, bool (*go_on)(void *user), void *user,
                              hy_error *err)
{
    const hy_env *env = &c->gpu->env;
    hy_status status = HY_OK;
    while (status == HY_OK && compile_one(c)) {
        if (go_on && !go_on(user)) {
            status = hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
            atomic_store(&c->next, c->n_jobs);
        }
    }
    for (uint32_t i = 0; i < c->n_threads; i++) {
        env->thread_join(env->user, c->threads[i]);
    }
    for (size_t i = 0; i < HY_COUNT(filters); i++) {
        const hy_status scope =
            hy__gpu_pop_scope(c->gpu, "compiling kernels", status == HY_OK ? err : NULL);
        status = status == HY_OK ? scope : status;
    }
    return status;
}

/* ---- either */

void hy__gpu_compile_begin(hy__gpu_compile *c, hy__gpu *gpu, hy__gpu_job *jobs, uint32_t n)
{
    c->gpu = gpu;
    c->jobs = jobs;
    c->n_jobs = n;
    c->most = HY_MIN(HY_MAX(hy_cpu_count(), 2u), HY__GPU_COMPILE_THREADS + 1u);
    c->n_done = 0;
    atomic_init(&c->next, 0);
    if (gpu->lib.DeviceCreateComputePipelineAsync) {
        begin_dawn(c);
    } else {
        start_threads(c);
    }
}

void hy__gpu_compile_poll(hy__gpu_compile *c)
{
    if (c->gpu && c->gpu->lib.DeviceCreateComputePipelineAsync) {
        hy__gpu_lib_poll(&c->gpu->lib, c->gpu->instance, c->gpu->device);
        begin_dawn(c);
    }
}

hy_status hy__gpu_compile_end(hy__gpu_compile *c, bool (*go_on)(void *user), void *user,
                              hy_error *err)
{
    hy__gpu *const gpu = c->gpu;
    if (!gpu) {
        return HY_OK;
    }
    const hy_status status = gpu->lib.DeviceCreateComputePipelineAsync
                                 ? wait_dawn(c, go_on, user, err)
                                 : wait_threads(c, go_on, user, err);
    c->gpu = NULL;
    return status == HY_OK ? hy__gpu_check(gpu, err) : status;
}
