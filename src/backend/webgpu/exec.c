/* exec.c: a step: the dispatches of a program, in their order, and the logits back. */
#include "webgpu.h"

enum { FIRST_PIECE = 16 /* dispatches */, PIECES = 8 /* at least, of a long step */ };

static uint32_t columns_of(const hy__gpu_dispatch *d, const hy__step_args *args)
{
    return hy__gpu_columns(d, d->cols == HY__PER_OUT ? args->n_out : args->n,
                           args->pos + args->n);
}

static const hy__gpu_program *program_of(const hy__gpu_session *s, const hy__step_args *args)
{
    return args->n == 1 ? &s->model->decode : &s->model->prefill;
}

void hy__gpu_encode(hy__gpu_session *s, const hy__step_args *args, uint32_t first, uint32_t end,
                    WGPUComputePassEncoder pass)
{
    hy__gpu_model *m = s->model;
    const hy__gpu_lib *lib = &m->gpu.lib;
    const hy__gpu_program *p = program_of(s, args);
    const WGPUBindGroup *groups = s->groups[args->n == 1 ? 0 : 1] + s->current * p->n;
    uint32_t entry = UINT32_MAX;
    for (uint32_t i = first; i < end; i++) {
        const hy__gpu_dispatch *d = &p->dispatches[i];
        const uint32_t columns = columns_of(d, args);
        if (columns == 0) {
            continue;
        }
        if (d->entry != entry) {
            lib->ComputePassEncoderSetPipeline(pass, m->entries[d->entry].pipeline);
            entry = d->entry;
        }
        lib->ComputePassEncoderSetBindGroup(pass, 0, groups[i], 0, NULL);
        hy__gpu_dispatch_groups(&m->gpu, pass, d->groups, columns);
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

/* ---- times of phases */

/* The dispatches behind `first` that belong to its phase end here. */
static uint32_t phase_end(const hy__gpu_program *p, uint32_t first)
{
    uint32_t end = first + 1;
    while (end < p->n && p->dispatches[end].phase == p->dispatches[first].phase) {
        end++;
    }
    return end;
}

/* A pass for each phase that has dispatches, with the times of its beginning and end in s->queries;
 * those that nobody writes are not resolved: wgpu-native would wait for them. */
static void encode_timed(hy__gpu_session *s, const hy__step_args *args, WGPUCommandEncoder encoder)
{
    const hy__gpu_lib *lib = &s->model->gpu.lib;
    const hy__gpu_program *p = program_of(s, args);
    uint32_t n = 0;
    for (uint32_t first = 0, end; first < p->n; first = end, n++) {
        end = phase_end(p, first);
        const WGPUPassTimestampWrites times = {.querySet = s->queries,
                                               .beginningOfPassWriteIndex = 2 * n,
                                               .endOfPassWriteIndex = 2 * n + 1};
        WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(
            encoder, &(WGPUComputePassDescriptor){.timestampWrites = &times});
        hy__gpu_encode(s, args, first, end, pass);
        lib->ComputePassEncoderEnd(pass);
        lib->ComputePassEncoderRelease(pass);
    }
    lib->CommandEncoderResolveQuerySet(encoder, s->queries, 0, 2 * n, s->times, 0);
}

static hy_status prepare_times(hy__gpu_session *s, hy_error *err)
{
    hy__gpu *gpu = &s->model->gpu;
    const uint32_t n = 2 * s->model->f->n_phases;
    if (!gpu->caps.timestamps || n > 4096) {
        return hy__fail(err, HY_E_UNSUPPORTED, "%s: %s tells no times of phases", gpu->caps.library,
                        gpu->caps.adapter);
    }
    if (!s->queries) {
        s->queries = gpu->lib.DeviceCreateQuerySet(
            gpu->device, &(WGPUQuerySetDescriptor){.type = WGPUQueryType_Timestamp, .count = n});
        HY_TRY(hy__gpu_buffer(gpu, 8 * (uint64_t)n,
                              WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc, "times",
                              &s->times, err));
    }
    return hy__gpu_check(gpu, err);
}

/* Phases without dispatches are computed in those of the one behind them: they take no time. */
static hy_status report_times(hy__gpu_session *s, const hy__step_args *args, hy_error *err)
{
    hy__gpu *gpu = &s->model->gpu;
    const hy__gpu_program *p = program_of(s, args);
    const uint32_t n = 2 * s->model->f->n_phases;
    uint64_t *ticks = hy__alloc(&s->model->env, n, sizeof *ticks, err);
    if (!ticks) {
        return HY_E_NOMEM;
    }
    const hy_status status = hy__gpu_read(gpu, s->times, 0, ticks, 8 * (size_t)n, err);
    const uint64_t *at = ticks;
    for (uint32_t i = 0, first = 0; 2 * i < n && status == HY_OK; i++) {
        const bool own = first < p->n && p->dispatches[first].phase == i;
        if (s->model->f->phases[i].cols != HY__PER_OUT || args->n_out > 0) {
            const double begin = (double)at[0], end = (double)at[own ? 1 : 0];
            args->profile(args->profile_user, i, args->n, (uint64_t)(begin * gpu->ns_per_tick),
                          (uint64_t)(end * gpu->ns_per_tick));
        }
        if (own) {
            first = phase_end(p, first);
            at += first < p->n ? 2 : 0;
        }
    }
    hy__free(&s->model->env, ticks);
    return status;
}

/* ---- the step */

static void copy_logits(hy__gpu_session *s, const hy__step_args *args, uint64_t bytes,
                        WGPUCommandEncoder encoder)
{
    const bool one = args->n == 1;
    const uint64_t n_batch = one ? 1 : s->n_batch, n_out = s->opts.all_logits ? n_batch : 1;
    s->model->gpu.lib.CommandEncoderCopyBufferToBuffer(
        encoder, one ? s->arena_one : s->arena, 4 * hy__gpu_logits_place(s->model, n_batch, n_out),
        s->readback, 0, bytes);
}

/* In several pieces if there are several tokens, each twice as long as the one before: the GPU
 * begins early, and has one while the next is written.  A piece is an eighth at most, so that none
 * takes long. */
static hy_status submit_step(hy__gpu_session *s, const hy__step_args *args, uint64_t bytes,
                             hy_error *err)
{
    hy__gpu *gpu = &s->model->gpu;
    const uint32_t n = program_of(s, args)->n;
    uint32_t piece = args->n == 1 || args->profile ? n : (uint32_t)FIRST_PIECE;
    const uint32_t most = HY_MAX(n / PIECES, piece);
    for (uint32_t first = 0, end; first < n; first = end, piece = HY_MIN(2 * piece, most)) {
        end = first + HY_MIN(n - first, piece);
        WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
        if (args->profile) {
            encode_timed(s, args, encoder);
        } else {
            WGPUComputePassEncoder pass = gpu->lib.CommandEncoderBeginComputePass(encoder, NULL);
            hy__gpu_encode(s, args, first, end, pass);
            gpu->lib.ComputePassEncoderEnd(pass);
            gpu->lib.ComputePassEncoderRelease(pass);
        }
        if (end == n && bytes > 0) {
            copy_logits(s, args, bytes, encoder);
        }
        HY_TRY(hy__gpu_submit(gpu, encoder, err));
    }
    return HY_OK;
}

hy_status hy__gpu_step(void *session, const hy__step_args *args, hy_error *err)
{
    hy__gpu_session *s = session;
    hy__gpu *gpu = &s->model->gpu;
    const hy__gpu_lib *lib = &gpu->lib;
    if (atomic_load_explicit(args->cancel, memory_order_relaxed)) {
        return hy__fail(err, HY_E_CANCELLED, "cancelled");
    }
    HY_TRY(hy__gpu_session_check(s, err));
    if (args->profile) {
        HY_TRY(prepare_times(s, err));
    }
    const hy_env *env = &s->model->env;
    const uint64_t begin = env->clock_ns(env->user);
    const uint32_t words[4] = {args->n, args->n_out, (uint32_t)args->pos, 0};
    write_tokens(s, args);
    lib->QueueWriteBuffer(gpu->queue, s->step, 0, words, sizeof words);
    const uint64_t bytes = 4 * (uint64_t)s->model->g->values[s->model->g->logits].n * args->n_out;
    HY_TRY(submit_step(s, args, bytes, err));
    s->model->tokens += args->n;
    HY_TRY(bytes > 0 ? hy__gpu_map(gpu, s->readback, gpu->submission, args->logits, (size_t)bytes,
                                   err)
                     : hy__gpu_finish(gpu, err));
    if (args->n > 1) {
        s->model->chunk =
            hy__gpu_fit_tokens(s->model->chunk, args->n, env->clock_ns(env->user) - begin);
    }
    return args->profile ? report_times(s, args, err) : HY_OK;
}
