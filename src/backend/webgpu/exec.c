/* exec.c: a step: the dispatches of a program, in their order, and the logits back. */
#include "webgpu.h"

static uint32_t columns_of(const hy__gpu_dispatch *d, const hy__step_args *args)
{
    const uint32_t cols = d->cols == HY__PER_OUT ? args->n_out : args->n;
    return d->cols_each ? (cols + d->cols_each - 1) / d->cols_each : 1;
}

static void encode(hy__gpu_session *s, const hy__step_args *args, WGPUComputePassEncoder pass)
{
    const hy__gpu_model *m = s->model;
    const hy__gpu_lib *lib = &m->gpu.lib;
    const bool decode = args->n == 1;
    const hy__gpu_program *p = decode ? &m->decode : &m->prefill;
    const WGPUBindGroup *groups = s->groups[decode ? 0 : 1] + s->current * p->n;
    uint32_t entry = UINT32_MAX;
    for (uint32_t i = 0; i < p->n; i++) {
        const hy__gpu_dispatch *d = &p->dispatches[i];
        if (d->cols == HY__PER_OUT && args->n_out == 0) {
            continue;
        }
        if (d->entry != entry) {
            lib->ComputePassEncoderSetPipeline(pass, m->entries[d->entry].pipeline);
            entry = d->entry;
        }
        lib->ComputePassEncoderSetBindGroup(pass, 0, groups[i], 0, NULL);
        lib->ComputePassEncoderDispatchWorkgroups(pass, d->groups, columns_of(d, args), 1);
    }
}

/* The tokens of the step at their places in the ring. */
static void write_tokens(hy__gpu_session *s, const hy__step_args *args)
{
    const hy__gpu *gpu = &s->model->gpu;
    const uint32_t at = (uint32_t)(args->pos % HY__RING), n = HY_MIN(args->n, HY__RING - at);
    gpu->lib.QueueWriteBuffer(gpu->queue, s->tokens, 4 * (uint64_t)at, args->tokens, 4 * (size_t)n);
    if (n < args->n) {
        gpu->lib.QueueWriteBuffer(gpu->queue, s->tokens, 0, args->tokens + n,
                                  4 * (size_t)(args->n - n));
    }
}

hy_status hy__gpu_step(void *session, const hy__step_args *args, hy_error *err)
{
    hy__gpu_session *s = session;
    hy__gpu *gpu = &s->model->gpu;
    const hy__gpu_lib *lib = &gpu->lib;
    if (atomic_load_explicit(args->cancel, memory_order_relaxed)) {
        return hy__fail(err, HY_E_CANCELLED, "cancelled");
    }
    HY_TRY(hy__gpu_check(gpu, err));
    const uint32_t words[4] = {args->n, args->n_out, (uint32_t)args->pos, 0};
    write_tokens(s, args);
    lib->QueueWriteBuffer(gpu->queue, s->step, 0, words, sizeof words);
    const uint64_t bytes = 4 * (uint64_t)s->model->g->values[s->model->g->logits].n * args->n_out;
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    encode(s, args, pass);
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    if (bytes > 0) {
        lib->CommandEncoderCopyBufferToBuffer(encoder, s->arena, 4 * s->logits_at, s->readback, 0,
                                              bytes);
    }
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    return bytes > 0 ? hy__gpu_map(gpu, s->readback, args->logits, (size_t)bytes, err)
                     : hy__gpu_finish(gpu, err);
}
