/* measure.c: the pace of a GPU through WebGPU; the table of what it offers is in offers.c, the ways
 * around WebGPU are in hatches.c.  Nothing is kept between calls. */
#include "measure.h"

#include <stdio.h>

#include "measure/measure_texts.h"
#include "trial.h"

/* ---- pace */

enum { TOUCHED = 64 }; /* words that touch.wgsl counts in */

typedef struct pace {
    hy__gpu_trial t;
    WGPUComputePipeline touch;
    uint32_t runs;
} pace;

static hy_status touch(pace *p, uint32_t n, hy__gpu_times *times, hy_error *err)
{
    p->runs += n;
    return hy__gpu_trial_run(&p->t, p->touch, 1, n, times, err);
}

static hy_status measure_dispatches(pace *p, hy_webgpu_facts *facts, hy_error *err)
{
    enum { SAMPLES = 7, N = 1024 };
    double gpu_once[SAMPLES], gpu_more[SAMPLES], cpu_once[SAMPLES], cpu_more[SAMPLES];
    hy__gpu_times once, more;
    HY_TRY(touch(p, 1 + N, &more, err));
    for (size_t i = 0; i < SAMPLES; i++) {
        HY_TRY(touch(p, 1, &once, err));
        HY_TRY(touch(p, 1 + N, &more, err));
        gpu_once[i] = once.rest;
        gpu_more[i] = more.rest;
        cpu_once[i] = once.cpu;
        cpu_more[i] = more.cpu;
    }
    /* One preempted submission must not count: no differences of single ones. */
    const double on_gpu = hy__gpu_median(gpu_more, SAMPLES) - hy__gpu_median(gpu_once, SAMPLES);
    const double on_cpu = hy__gpu_median(cpu_more, SAMPLES) - hy__gpu_median(cpu_once, SAMPLES);
    facts->dispatch_gpu_ns = HY_MAX(on_gpu, 0.0) / N;
    facts->dispatch_cpu_ns = HY_MAX(on_cpu, 0.0) / N;
    return HY_OK;
}

/* A dispatch and the copy of its result to memory that the host maps, in one submission. */
static hy_status go_round(pace *p, uint32_t words[TOUCHED], hy_error *err)
{
    hy__gpu *const gpu = p->t.gpu;
    const hy__gpu_lib *const lib = &gpu->lib;
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    lib->ComputePassEncoderSetPipeline(pass, p->touch);
    lib->ComputePassEncoderSetBindGroup(pass, 0, p->t.group, 0, NULL);
    hy__gpu_dispatch_groups(gpu, pass, 1, 1);
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    lib->CommandEncoderCopyBufferToBuffer(encoder, p->t.buffer, 0, gpu->readback, 0, 4 * TOUCHED);
    p->runs++;
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    return hy__gpu_map(gpu, gpu->readback, gpu->submission, words, 4 * TOUCHED, err);
}

static hy_status measure_round_trips(pace *p, hy_webgpu_facts *facts, hy_error *err)
{
    enum { SAMPLES = 31 };
    const hy_env *const env = &p->t.gpu->env;
    uint32_t words[TOUCHED];
    double ns[SAMPLES];
    /* The buffer that is mapped is made by the first who reads. */
    HY_TRY(hy__gpu_read(p->t.gpu, p->t.buffer, 0, words, sizeof words, err));
    HY_TRY(go_round(p, words, err));
    for (size_t i = 0; i < SAMPLES; i++) {
        const uint64_t begin = env->clock_ns(env->user);
        HY_TRY(go_round(p, words, err));
        ns[i] = (double)(env->clock_ns(env->user) - begin);
    }
    facts->round_trip_ns = hy__gpu_median(ns, SAMPLES);
    for (size_t i = 0; i < TOUCHED; i++) {
        if (words[i] != p->runs) {
            return hy__fail(err, HY_E_MISMATCH, "of %u dispatches %u were run", p->runs, words[i]);
        }
    }
    return HY_OK;
}

static hy_status measure_pace(hy__gpu *gpu, hy_webgpu_facts *facts, hy_error *err)
{
    pace p = {.t = {.gpu = gpu, .bytes = 4 * TOUCHED}};
    hy_status status = hy__gpu_trial_open(&p.t, "dispatches", err);
    if (status == HY_OK) {
        status = hy__gpu_trial_compile(&p.t, hy__measure_touch, 0, "main", "dispatches", &p.touch,
                                       err);
    }
    if (status == HY_OK) {
        status = measure_dispatches(&p, facts, err);
    }
    if (status == HY_OK) {
        status = measure_round_trips(&p, facts, err);
    }
    if (p.touch) {
        gpu->lib.ComputePipelineRelease(p.touch);
    }
    hy__gpu_trial_close(&p.t);
    return status == HY_OK ? hy__gpu_read_speed(gpu, &facts->read_bytes_per_second, err) : status;
}

/* ---- all of it */

static const char *const natives[HY__N_NATIVE] = {
    [HY__NATIVE_CUDA] = "CUDA",
    [HY__NATIVE_HIP] = "HIP",
    [HY__NATIVE_METAL] = "Metal",
    [HY__NATIVE_VULKAN] = "Vulkan",
};

/* A line that has spoilt its device leaves a new one to the next. */
static hy_status tell_all(hy__gpu *gpu, const hy__gpu_opts *opts, hy_webgpu_facts *facts,
                          const hy_webgpu_told *told, hy_error *err)
{
    const hy_env env = gpu->env;
    hy_webgpu_offer offer, units = {.state = "missing"}, dot = {.state = "missing"};
    facts->native = natives[hy__gpu_native_of(&gpu->caps)];
    HY_TRY(measure_pace(gpu, facts, err));
    for (uint32_t i = 0; hy__gpu_offer_at(i, NULL); i++) {
        if (hy__gpu_try_offer(gpu, i, &offer, err) != HY_OK) {
            if (!offer.why[0]) {
                offer.state = "failed";
                snprintf(offer.why, sizeof offer.why, "%s", err->text);
            }
            hy__gpu_close(gpu);
            HY_TRY(hy__gpu_open(gpu, opts, &env, err));
        }
        if (strcmp(offer.name, "matrix-units") == 0) {
            units = offer;
        } else if (strcmp(offer.name, "int8-dot") == 0) {
            dot = offer;
        }
        told->offer(told->user, &offer);
    }
    hy__gpu_tell_hatches(gpu, opts, &units, &dot, told);
    return HY_OK;
}

hy_status hy_webgpu_measure(const char *library, const char *folder, const char *mask,
                            const hy_env *env, hy_webgpu_facts *facts, const hy_webgpu_told *told,
                            hy_error *err)
{
    hy_env own;
    hy__gpu gpu;
    hy_error local;
    hy__gpu_opts opts = {.lib = library, .folder = folder};
    hy_webgpu_facts full = {.size = facts->size};
    err = err ? err : &local;
    hy__env_resolve(&own, env);
    HY_TRY(hy__gpu_mask_parse(mask, &opts.mask, err));
    HY_TRY(hy__gpu_open(&gpu, &opts, &own, err));
    const hy_status status = tell_all(&gpu, &opts, &full, told, err);
    memcpy(facts, &full, HY_MIN(facts->size, sizeof full));
    hy__gpu_close(&gpu);
    return status;
}
