/* ahead.c: steps that the device takes without the host: behind the logits the next token is drawn
 * on the GPU and is the input of the step behind it.  The host submits batches of such steps and
 * reads their tokens later.
 *
 * Before each batch the recurrent state is copied, so that a batch that went too far can be taken
 * back; KV caches need no copy, as what lies behind the position is nobody's. */
#include "webgpu.h"

enum { READ_BYTES = 16 + 4 * HY__MOST_AHEAD, HISTORY = 4096 };

/* The tokens so far at their places in the ring. */
static void write_history(hy__gpu_session *s, const hy_token *tokens, size_t n)
{
    hy__gpu *gpu = &s->model->gpu;
    const size_t first = n > HISTORY ? n - HISTORY : 0;
    for (size_t at = first; at < n;) {
        const size_t place = at % HY__RING, part = HY_MIN(n - at, HY__RING - place);
        gpu->lib.QueueWriteBuffer(gpu->queue, s->tokens, 4 * (uint64_t)place, tokens + at,
                                  4 * part);
        at += part;
    }
}

static hy_status make_buffers(hy__gpu_session *s, hy_error *err)
{
    hy__gpu *gpu = &s->model->gpu;
    for (int i = 0; i < 2; i++) {
        if (!s->ahead.saved[i]) {
            HY_TRY(hy__gpu_buffer(gpu, s->state_bytes,
                                  WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc, "saved state",
                                  &s->ahead.saved[i], err));
        }
        if (!s->ahead.read[i]) {
            HY_TRY(hy__gpu_buffer(gpu, READ_BYTES,
                                  WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst, "drawn tokens",
                                  &s->ahead.read[i], err));
        }
    }
    return HY_OK;
}

hy_status hy__gpu_ahead_begin(void *session, const hy_sampler *sampler, uint64_t sampler_id,
                              const hy_token *tokens, size_t n, hy_error *err)
{
    hy__gpu_session *s = session;
    hy__gpu_model *m = s->model;
    HY_TRY(hy__gpu_session_check(s, err));
    if (!(m->use & HY__GPU_USE_DRAWS)) {
        return hy__fail(err, HY_E_UNSUPPORTED, "tokens are not drawn on this GPU");
    }
    if (s->ahead.sampler_id != sampler_id || !s->ahead.has_sampler) {
        hy__gpu_sample_destroy(&m->gpu, &s->ahead.sample);
        s->ahead.has_sampler = false;
        const hy__gpu_sample_buffers buffers = {.step = s->step,
                                                .ring = s->tokens,
                                                .logits = s->arena_one,
                                                .logits_offset =
                                                    4 * hy__gpu_logits_place(m, 1, 1)};
        HY_TRY(hy__gpu_sample_create(&m->gpu, &m->sample_kernels, sampler,
                                     m->g->values[m->g->logits].n, &buffers, &s->ahead.sample,
                                     err));
        s->ahead.has_sampler = true;
        s->ahead.sampler_id = sampler_id;
    }
    HY_TRY(make_buffers(s, err));
    write_history(s, tokens, n);
    const uint32_t words[4] = {1, 1, (uint32_t)(n - 1), 0};
    m->gpu.lib.QueueWriteBuffer(m->gpu.queue, s->step, 0, words, sizeof words);
    s->ahead.pos = n - 1;
    s->ahead.submitted = s->ahead.collected = 0;
    return hy__gpu_check(&m->gpu, err);
}

hy_status hy__gpu_ahead_submit(void *session, uint32_t n, hy_error *err)
{
    hy__gpu_session *s = session;
    hy__gpu *gpu = &s->model->gpu;
    const hy__gpu_lib *lib = &gpu->lib;
    const uint32_t slot = s->ahead.submitted % 2;
    HY_TRY(hy__gpu_session_check(s, err));
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(gpu->device, NULL);
    if (s->model->p->recurrent > 0) {
        lib->CommandEncoderCopyBufferToBuffer(encoder, s->state[s->current], 0,
                                              s->ahead.saved[slot], 0, s->state_bytes);
    }
    WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
    for (uint32_t i = 0; i < n; i++) {
        const hy__step_args args = {.n = 1, .n_out = 1, .pos = s->ahead.pos + i};
        hy__gpu_encode(s, &args, 0, s->model->decode.n, pass);
        hy__gpu_sample_encode(gpu, &s->ahead.sample, pass);
        s->current = 1 - s->current;
    }
    lib->ComputePassEncoderEnd(pass);
    lib->ComputePassEncoderRelease(pass);
    lib->CommandEncoderCopyBufferToBuffer(encoder, s->step, 0, s->ahead.read[slot], 0, 16);
    for (uint32_t done = 0; done < n;) {
        const uint32_t at = (uint32_t)((s->ahead.pos + 1 + done) % HY__RING);
        const uint32_t part = HY_MIN(n - done, HY__RING - at);
        lib->CommandEncoderCopyBufferToBuffer(encoder, s->tokens, 4 * (uint64_t)at,
                                              s->ahead.read[slot], 16 + 4 * (uint64_t)done,
                                              4 * (uint64_t)part);
        done += part;
    }
    s->ahead.steps[slot] = n;
    s->ahead.pos += n;
    s->ahead.submitted++;
    s->model->tokens += n;
    HY_TRY(hy__gpu_submit(gpu, encoder, err));
    s->ahead.submission[slot] = gpu->submission;
    return HY_OK;
}

hy_status hy__gpu_ahead_collect(void *session, hy_token *out, hy_error *err)
{
    hy__gpu_session *s = session;
    const uint32_t slot = s->ahead.collected % 2, n = s->ahead.steps[slot];
    uint32_t words[READ_BYTES / 4];
    HY_TRY(hy__gpu_session_check(s, err));
    HY_TRY(hy__gpu_map(&s->model->gpu, s->ahead.read[slot], s->ahead.submission[slot], words,
                       16 + 4 * (size_t)n, err));
    s->ahead.collected++;
    if (words[3] == HY__GPU_FAILED_NUMBER) {
        return hy__fail(err, HY_E_NUMERIC, "a logit is not a finite number");
    }
    if (words[3] != 0) {
        return hy__fail(err, HY_E_NUMERIC,
                        "no token can be sampled: every logit is -inf, suppressed or forbidden");
    }
    memcpy(out, words + 4, 4 * (size_t)n);
    return HY_OK;
}

hy_status hy__gpu_ahead_rewind(void *session, hy_error *err)
{
    hy__gpu_session *s = session;
    hy__gpu *gpu = &s->model->gpu;
    HY_TRY(hy__gpu_session_check(s, err));
    if (s->model->p->recurrent == 0) {
        return HY_OK;
    }
    const uint32_t slot = (s->ahead.collected - 1) % 2;
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    gpu->lib.CommandEncoderCopyBufferToBuffer(encoder, s->ahead.saved[slot], 0,
                                              s->state[s->current], 0, s->state_bytes);
    return hy__gpu_submit(gpu, encoder, err);
}
