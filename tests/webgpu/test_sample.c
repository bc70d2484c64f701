/* test_sample.c: sampling on the GPU draws what hy_sampler_pick draws.
 *
 * The kernels compute with integers, so their draws are the same on every GPU: with the numbers of
 * these tests none is near enough to a boundary to differ, and none may.  One
 * thread. */
#include "backend/webgpu/sample.h"
#include "support/webgpu.h"
#include "unit/vocab_file.h"

#include <math.h>

/* ---- one GPU and the buffers of a model on it */

enum { MOST_VOCAB = 151936, ROWS = 4, LOGITS_OFFSET = 512, WINDOW = 5000 };

typedef struct rig {
    const char *library;
    hy_env env;
    hy__gpu gpu;
    hy__gpu_sample_kernels kernels;
    WGPUBuffer step, ring, logits, rows;
    float *values; /* [ROWS][MOST_VOCAB]: the logits of tokens drawn one after the other */
    hy_token tokens[WINDOW + ROWS]; /* the end of the text, WINDOW of it before the first draw */
    hy_tokenizer *tokenizer;
    uint64_t random;
    char why[600]; /* why there is no GPU; "" if there is */
} rig;

static rig *rig_of(void **state)
{
    rig *const r = *state;
    if (r->why[0]) {
        skip();
    }
    r->random = 1;
    return r;
}

static WGPUBuffer new_buffer(rig *r, uint64_t bytes)
{
    hy_error err;
    WGPUBuffer buffer = NULL;
    assert_ok(hy__gpu_buffer(&r->gpu, bytes,
                             WGPUBufferUsage_Storage | WGPUBufferUsage_Uniform |
                                 WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst,
                             "a test", &buffer, &err),
              &err);
    return buffer;
}

static int make(void **state)
{
    static const vocab_file vocabulary = {
        .model = "gpt2", .control = "<a> <b>", .unused = "<c> <d>", .suppressed = "! ~"};
    rig *const r = *state;
    if (!r->why[0]) {
        r->step = new_buffer(r, 4 * HY__GPU_STEP_WORDS);
        r->ring = new_buffer(r, 4 * HY__GPU_RING);
        r->logits = new_buffer(r, LOGITS_OFFSET + 4 * MOST_VOCAB);
        r->rows = new_buffer(r, 4 * ROWS * MOST_VOCAB);
        r->values = calloc(ROWS * MOST_VOCAB, sizeof *r->values);
        assert_non_null(r->values);
        r->tokenizer = vocab_tokenizer(&vocabulary, &r->env);
    }
    return 0;
}

static int drop(void **state)
{
    rig *const r = *state;
    hy__gpu_buffer_free(&r->gpu, r->step);
    hy__gpu_buffer_free(&r->gpu, r->ring);
    hy__gpu_buffer_free(&r->gpu, r->logits);
    hy__gpu_buffer_free(&r->gpu, r->rows);
    free(r->values);
    hy_tokenizer_destroy(r->tokenizer);
    return 0;
}

/* ---- numbers */

static uint32_t next_random(rig *r, uint32_t below)
{
    r->random = r->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((r->random >> 33) % below);
}

/* About normal, around 0. */
static float next_normal(rig *r, float scale)
{
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += next_random(r, 1 << 24) / (double)(1 << 24) - 0.5;
    }
    return (float)(sum * scale);
}

typedef enum kind { NORMAL, NEAR, COARSE, EQUAL, FEW, ODD, N_KINDS } kind;

static float next_logit(rig *r, kind k, uint32_t token)
{
    static const float odd[] = {0.0f,   -0.0f,    1e-45f, -1e-45f, 3e-39f, 3.4e38f,
                                -3e38f, 3.39e38f, 1.0f,   1.5f,    -1.5f,  -INFINITY};
    switch (k) {
    case NORMAL:
        return next_normal(r, 12.0f);
    case NEAR:
        return 20.0f + next_normal(r, 1e-4f);
    case COARSE:
        return roundf(next_normal(r, 4.0f)) / 2;
    case EQUAL:
        return -3.25f;
    case FEW:
        return token % 97 == 5 ? next_normal(r, 3.0f) : -INFINITY;
    default:
        return odd[next_random(r, HY_COUNT(odd))];
    }
}

static void fill(rig *r, kind k, uint32_t n_vocab)
{
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t i = 0; i < n_vocab; i++) {
            r->values[row * MOST_VOCAB + i] = next_logit(r, k, i);
        }
    }
    /* A text of few words, so that penalties meet likely ones several times. */
    for (uint32_t i = 0; i < WINDOW; i++) {
        r->tokens[i] = (hy_token)next_random(r, HY_MIN(n_vocab, 600u));
    }
}

/* ---- drawing */

typedef struct drawn {
    uint32_t step[HY__GPU_STEP_WORDS];
    uint32_t ring[HY__GPU_RING];
} drawn;

static hy_sampler *new_sampler(rig *r, const hy_sampler_opts *o, bool suppress)
{
    hy_error err;
    hy_sampler *s = NULL;
    assert_ok(hy_sampler_create(o, suppress ? r->tokenizer : NULL, &r->env, &s, &err), &err);
    return s;
}

static void write(rig *r, WGPUBuffer buffer, uint64_t offset, const void *data, size_t bytes)
{
    r->gpu.lib.QueueWriteBuffer(r->gpu.queue, buffer, offset, data, bytes);
}

/* The step, and the text up to it in the ring. */
static void write_text(rig *r, uint32_t pos)
{
    static uint32_t ring[HY__GPU_RING];
    const uint32_t step[HY__GPU_STEP_WORDS] = {7, 3, pos, 0, 11, 12};
    for (uint32_t i = 0; i < HY__GPU_RING; i++) {
        ring[i] = 0;
    }
    for (uint32_t i = 0; i < WINDOW && i <= pos; i++) {
        ring[(pos - i) % HY__GPU_RING] = (uint32_t)r->tokens[WINDOW - 1 - i];
    }
    write(r, r->step, 0, step, sizeof step);
    write(r, r->ring, 0, ring, sizeof ring);
}

/* Draws a token from each of n rows, in one submission. */
static void run(rig *r, const hy__gpu_sample *sample, uint32_t n_vocab, uint32_t n, drawn *d)
{
    hy_error err;
    const hy__gpu_lib *const lib = &r->gpu.lib;
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(r->gpu.device, NULL);
    for (uint32_t row = 0; row < n; row++) {
        write(r, r->rows, 4 * (uint64_t)row * n_vocab, r->values + row * MOST_VOCAB, 4 * n_vocab);
        lib->CommandEncoderCopyBufferToBuffer(encoder, r->rows, 4 * (uint64_t)row * n_vocab,
                                              r->logits, LOGITS_OFFSET, 4 * n_vocab);
        WGPUComputePassEncoder pass = lib->CommandEncoderBeginComputePass(encoder, NULL);
        hy__gpu_sample_encode(&r->gpu, sample, pass);
        lib->ComputePassEncoderEnd(pass);
        lib->ComputePassEncoderRelease(pass);
    }
    assert_ok(hy__gpu_submit(&r->gpu, encoder, &err), &err);
    assert_ok(hy__gpu_read(&r->gpu, r->step, 0, d->step, sizeof d->step, &err), &err);
    assert_ok(hy__gpu_read(&r->gpu, r->ring, 0, d->ring, sizeof d->ring, &err), &err);
}

static hy__gpu_sample new_sample(rig *r, const hy_sampler *s, uint32_t n_vocab)
{
    hy_error err;
    hy__gpu_sample sample;
    const hy__gpu_sample_buffers buffers = {
        .step = r->step, .ring = r->ring, .logits = r->logits, .logits_offset = LOGITS_OFFSET};
    assert_ok(hy__gpu_sample_create(&r->gpu, &r->kernels, s, n_vocab, &buffers, &sample, &err),
              &err);
    return sample;
}

/* The rest of the ring is as it was. */
static void check_ring(const rig *r, const drawn *d, uint32_t pos, uint32_t n)
{
    for (uint32_t i = n; i < HY__GPU_RING; i++) {
        const uint32_t back = HY__GPU_RING - 1 - i; /* before pos */
        const uint32_t was =
            back < WINDOW && back <= pos ? (uint32_t)r->tokens[WINDOW - 1 - back] : 0;
        assert_int_equal(d->ring[(pos - back) % HY__GPU_RING], was);
    }
}

/* Draws ROWS tokens from position pos on and compares each with the CPU's. */
static void compare_with(rig *r, const hy_sampler *s, const hy__gpu_sample *sample,
                         uint32_t n_vocab, uint32_t pos)
{
    static drawn d;
    hy_error err;
    float mu = 0;
    write_text(r, pos);
    run(r, sample, n_vocab, ROWS, &d);
    assert_int_equal(d.step[HY__GPU_STEP_FAILURE], 0);
    assert_int_equal(d.step[HY__GPU_STEP_N_TOKENS], 1);
    assert_int_equal(d.step[HY__GPU_STEP_N_OUTPUTS], 1);
    assert_int_equal(d.step[HY__GPU_STEP_POS], pos + ROWS);
    assert_int_equal(d.step[4], 11);
    assert_int_equal(d.step[5], 12);
    check_ring(r, &d, pos, ROWS);
    for (uint32_t row = 0; row < ROWS; row++) {
        const uint64_t n_text = (uint64_t)pos + 1 + row;
        const size_t n = (size_t)HY_MIN(n_text, (uint64_t)WINDOW + row);
        hy_token expected;
        assert_ok(hy_sampler_pick(s, r->values + row * MOST_VOCAB, n_vocab,
                                  r->tokens + WINDOW + row - n, n, n_text, &mu, &expected, &err),
                  &err);
        assert_int_equal(d.ring[n_text % HY__GPU_RING], expected);
        r->tokens[WINDOW + row] = expected;
    }
}

static void compare(rig *r, const hy_sampler_opts *o, bool suppress, uint32_t n_vocab, uint32_t pos)
{
    hy_sampler *const s = new_sampler(r, o, suppress);
    hy__gpu_sample sample = new_sample(r, s, n_vocab);
    compare_with(r, s, &sample, n_vocab, pos);
    hy__gpu_sample_destroy(&r->gpu, &sample);
    hy_sampler_destroy(s);
}

static const uint32_t vocabularies[] = {1, 2, 255, 257, 1031, 4096, 32771, 65536, 151936};

/* Every stage off. */
static hy_sampler_opts plain_options(uint64_t seed)
{
    return (hy_sampler_opts){.size = sizeof(hy_sampler_opts),
                             .top_k = 1024,
                             .top_p = 1,
                             .min_p = -1,
                             .temperature = 1,
                             .seed = seed};
}

/* ---- greedy */

static void greedy_takes_the_largest(void **state)
{
    rig *const r = rig_of(state);
    for (size_t i = 0; i < HY_COUNT(vocabularies); i++) {
        for (kind k = 0; k < N_KINDS; k++) {
            fill(r, k, vocabularies[i]);
            for (uint32_t row = 0; row < ROWS; row++) {
                r->values[row * MOST_VOCAB] = 0.25f; /* not all are -inf */
            }
            compare(r, &(hy_sampler_opts){.size = sizeof(hy_sampler_opts), .greedy = true}, false,
                    vocabularies[i], 5);
        }
    }
}

static void greedy_follows_penalties(void **state)
{
    rig *const r = rig_of(state);
    for (kind k = 0; k < N_KINDS; k++) {
        for (uint32_t i = 0; i < 6; i++) {
            const hy_sampler_opts o = {.size = sizeof o,
                                       .greedy = true,
                                       .penalty_last_n = i % 2 ? 4096 : 0,
                                       .repeat_penalty = i == 2 ? 0 : 1.1f + 0.37f * (float)i,
                                       .presence_penalty = i == 1 ? 0 : 0.3f * (float)i - 0.8f,
                                       .frequency_penalty = 0.01f * (float)i};
            fill(r, k, 1031);
            compare(r, &o, false, 1031, i < 3 ? 17 * i : 8190 + i);
        }
    }
}

/* ---- draws */

static hy_sampler_opts some_options(rig *r, bool all)
{
    static const int32_t ks[] = {1, 2, 40, 41, 100, 255, 256, 257, 700, 1024};
    static const int32_t windows[] = {1, 2, 64, 700, 4096};
    const uint32_t on = all ? 63 : UINT32_C(1) << next_random(r, 6);
    hy_sampler_opts o = plain_options(next_random(r, 1u << 31));
    o.seed = o.seed << 33 | next_random(r, 1u << 31);
    if (on & 1) {
        o.top_k = ks[next_random(r, HY_COUNT(ks))];
    }
    if (on & 2) {
        o.top_p = 0.001f * (float)(1 + next_random(r, 999));
    }
    if (on & 4) {
        o.min_p = 0.0001f * (float)(1 + next_random(r, 3000));
    }
    if (on & 8) {
        o.temperature = 0.05f * (float)(1 + next_random(r, 60));
    }
    if (on & 16) {
        o.penalty_last_n = windows[next_random(r, HY_COUNT(windows))];
        o.repeat_penalty = 0.7f + 0.01f * (float)next_random(r, 100);
    }
    if (on & 32) {
        o.presence_penalty = next_normal(r, 1.0f);
        o.frequency_penalty = next_normal(r, 0.2f);
    }
    return o;
}

static void draws_are_the_same(void **state)
{
    rig *const r = rig_of(state);
    static const uint32_t positions[] = {0,    1,      63,         4095,      8190,
                                         8191, 100000, 0x7fffffff, 0xfffffff0};
    for (uint32_t i = 0; i < 60; i++) {
        const uint32_t n_vocab = vocabularies[2 + next_random(r, 5)];
        const kind k = (kind)next_random(r, FEW);
        const hy_sampler_opts o = some_options(r, i % 2 == 0);
        fill(r, k, n_vocab);
        compare(r, &o, false, n_vocab, positions[next_random(r, HY_COUNT(positions))]);
    }
}

/* The sizes of real models. */
static void large_vocabularies(void **state)
{
    rig *const r = rig_of(state);
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t n_vocab = i % 2 ? 65536 : MOST_VOCAB;
        const hy_sampler_opts plain = {.size = sizeof plain, .seed = i},
                              all = some_options(r, true);
        fill(r, (kind)(i / 2), n_vocab);
        compare(r, i < 4 ? &plain : &all, false, n_vocab, 8000 + 50 * i);
    }
}

/* Many draws from one sampler: the kernels put everything back that the next token needs. */
static void many_in_a_row(void **state)
{
    rig *const r = rig_of(state);
    const uint32_t n_vocab = 1031;
    const hy_sampler_opts o = {.size = sizeof o, .seed = 99, .temperature = 1.5f, .top_k = 300};
    hy_sampler *const s = new_sampler(r, &o, false);
    hy__gpu_sample sample = new_sample(r, s, n_vocab);
    for (uint32_t i = 0; i < 100; i++) {
        fill(r, (kind)(i % FEW), n_vocab);
        compare_with(r, s, &sample, n_vocab, i * 41);
    }
    hy__gpu_sample_destroy(&r->gpu, &sample);
    hy_sampler_destroy(s);
}

static void odd_numbers(void **state)
{
    rig *const r = rig_of(state);
    for (uint32_t i = 0; i < 24; i++) {
        const hy_sampler_opts o = some_options(r, i % 2 == 0);
        fill(r, i % 4 < 2 ? ODD : FEW, 1031);
        compare(r, &o, false, 1031, 12);
    }
}

/* A small vocabulary needs no top_k. */
static void top_k_may_be_off_for_few_tokens(void **state)
{
    rig *const r = rig_of(state);
    hy_sampler_opts o = plain_options(3);
    o.top_k = -1;
    fill(r, NORMAL, 1024);
    compare(r, &o, false, 1024, 4);
    fill(r, COARSE, 3);
    compare(r, &o, false, 3, 4);
}

static void probabilities_of_equals(void **state)
{
    rig *const r = rig_of(state);
    /* Parts of the whole that come out without a rest. */
    static const float parts[] = {0.25f, 0.5f, 0.75f, 0.125f, 1e-30f};
    for (uint32_t i = 0; i < HY_COUNT(parts); i++) {
        hy_sampler_opts o = plain_options(10 + i);
        o.top_k = 8;
        o.top_p = parts[i];
        fill(r, EQUAL, 257);
        compare(r, &o, false, 257, i);
        fill(r, EQUAL, 32771);
        compare(r, &o, false, 32771, i);
    }
}

/* ---- tokens that are not all alike */

static void suppressed_tokens_stay_out(void **state)
{
    rig *const r = rig_of(state);
    const uint32_t n = hy_tokenizer_n_tokens(r->tokenizer);
    assert_true(n < 300 && !hy_tokenizer_can_sample(r->tokenizer, 0));
    for (uint32_t i = 0; i < 12; i++) {
        hy_sampler_opts o = some_options(r, true);
        o.greedy = i % 3 == 0;
        fill(r, (kind)(i % 4), 300);
        for (uint32_t row = 0; row < ROWS; row++) {
            r->values[row * MOST_VOCAB] = 50;       /* suppressed */
            r->values[row * MOST_VOCAB + 299] = 60; /* beyond the vocabulary */
        }
        compare(r, &o, true, 300, 2 * i);
    }
}

static void biases_are_added(void **state)
{
    rig *const r = rig_of(state);
    hy_logit_bias bias[60];
    for (uint32_t i = 0; i < 12; i++) {
        hy_sampler_opts o = some_options(r, true);
        o.greedy = i % 3 == 0;
        o.logit_bias = bias;
        o.n_logit_bias = 1 + 5 * i;
        for (uint32_t b = 0; b < HY_COUNT(bias); b++) {
            /* Some twice, some beyond the vocabulary. */
            bias[b] = (hy_logit_bias){.token = (hy_token)next_random(r, b < 40 ? 50 : 1500),
                                      .bias = b % 7 == 3 ? -INFINITY : next_normal(r, 20)};
        }
        fill(r, (kind)(i % N_KINDS), 1031);
        compare(r, &o, false, 1031, 100);
    }
}

typedef struct duel {
    float logit, bias; /* of the token under penalties */
    hy_sampler_opts opts;
    uint32_t times;
} duel;

/* The logit that the sampler makes of it. */
static double after_penalties(const duel *d)
{
    const double biased = (double)d->logit + d->bias, repeat = d->opts.repeat_penalty;
    const double x = biased > 0 ? biased / repeat : biased * repeat;
    return x - ((double)d->times * d->opts.frequency_penalty + d->opts.presence_penalty);
}

/* Whether what rounding takes away or adds is nearly half of the last bit. */
static bool is_halfway(double result, double error)
{
    int e;
    frexp(result, &e);
    return fabs(fabs(error) / ldexp(0.5, e - 53) - 1) < 0x1p-9;
}

/* Penalties of many kinds; every fourth one each rounds from nearly halfway: the quotient, the
 * product, the sum. */
static duel next_duel(rig *r, uint32_t i)
{
    duel d;
    for (;;) {
        d = (duel){.logit = next_normal(r, i % 3 ? 10.0f : 0.1f),
                   .opts = {.size = sizeof d.opts,
                            .greedy = true,
                            .penalty_last_n = 9,
                            .repeat_penalty = 1.5f + next_normal(r, 0.5f)},
                   .times = 1 + next_random(r, 9)};
        const double repeat = d.opts.repeat_penalty;
        if (i % 4 == 1) {
            const double q = (double)d.logit / repeat;
            if (d.logit > 0 && is_halfway(q, fma(-q, repeat, d.logit) / repeat)) {
                return d;
            }
        } else if (i % 4 == 2) {
            d.bias = -d.logit * 1e-7f * (float)next_random(r, 100);
            const double biased = (double)d.logit + d.bias, q = biased * repeat;
            if (d.logit < 0 && is_halfway(q, fma(biased, repeat, -q))) {
                return d;
            }
        } else if (i % 4 == 3) {
            d.logit = (float)(1 + (i / 4) % 7) / 4;
            d.opts.repeat_penalty = 1;
            d.opts.presence_penalty = -(float)ldexp(nextafterf(1, 2), ilogb(d.logit) - 53);
            return d;
        } else {
            d.opts.presence_penalty = next_normal(r, 1.0f);
            d.opts.frequency_penalty = next_normal(r, 0.1f);
            return d;
        }
    }
}

/* A token under penalties against one with a logit that differs by the last bit of a double, or not
 * at all: bias makes any double of three single-precision numbers. */
static void logits_agree_to_the_last_bit(void **state)
{
    enum { N = 64 };
    rig *const r = rig_of(state);
    for (uint32_t i = 0; i < 240; i++) {
        const uint32_t penalised = next_random(r, N / 2) * 2, other = next_random(r, N / 2) * 2 + 1;
        const duel d = next_duel(r, i);
        double x = after_penalties(&d);
        if (i / 4 % 3 > 0) {
            x = nextafter(x, i / 4 % 3 == 1 ? -1e9 : 1e9);
        }
        const float high = (float)x, middle = (float)(x - high);
        const hy_logit_bias bias[] = {{(hy_token)penalised, d.bias},
                                      {(hy_token)other, middle},
                                      {(hy_token)other, (float)(x - high - middle)}};
        hy_sampler_opts o = d.opts;
        o.logit_bias = bias;
        o.n_logit_bias = HY_COUNT(bias);
        for (uint32_t back = 0; back < WINDOW; back++) {
            r->tokens[WINDOW - 1 - back] = (hy_token)(back < d.times ? penalised : (other + 2) % N);
        }
        for (uint32_t at = 0; at < ROWS * MOST_VOCAB; at += MOST_VOCAB) {
            for (uint32_t t = 0; t < N; t++) {
                r->values[at + t] = -1000;
            }
            r->values[at + penalised] = d.logit;
            r->values[at + other] = high;
        }
        compare(r, &o, false, N, 100);
    }
}

/* ---- random numbers next to a boundary between two tokens */

/* z of z ^ (z >> by) times odd: what the generator's two steps undo. */
static uint64_t undone(uint64_t z, uint64_t odd, unsigned by)
{
    uint64_t inverse = odd; /* right in 3 bits, then in twice as many each time */
    for (int i = 0; i < 5; i++) {
        inverse *= 2 - odd * inverse;
    }
    z *= inverse;
    return z ^ (z >> by) ^ (z >> 2 * by);
}

static uint64_t unmixed(uint64_t z)
{
    z ^= (z >> 31) ^ (z >> 62);
    z = undone(z, UINT64_C(0x94d049bb133111eb), 27);
    return undone(z, UINT64_C(0xbf58476d1ce4e5b9), 30);
}

/* The seed that gives this position the random number u. */
static uint64_t seed_for(double u, uint64_t position)
{
    const uint64_t g = UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t bits = (uint64_t)(u * 0x1p53) << 11 | (position & 0x7ff);
    return unmixed(unmixed(bits) - (position + 1) * g) - g;
}

/* Draws from n tokens with random numbers that are `apart` from where one token ends and the next
 * begins. */
static void compare_near(rig *r, kind k, uint32_t n, float temperature, double apart)
{
    for (uint32_t i = 0; i < 40; i++) {
        double ends[1024], sum = 0;
        fill(r, k, n);
        for (uint32_t t = 0; t < n; t++) {
            sum += exp(((double)r->values[t] - r->values[0]) / temperature);
            ends[t] = sum;
        }
        const double end = ends[next_random(r, n - 1)] / sum;
        const uint32_t pos = next_random(r, 1u << 31);
        hy_sampler_opts o = plain_options(seed_for(i % 2 ? end - apart : end + apart, pos + 1));
        o.temperature = temperature;
        compare(r, &o, false, n, pos);
    }
}

static void draws_agree_near_boundaries(void **state)
{
    rig *const r = rig_of(state);
    /* The weights of equal tokens are exact. */
    compare_near(r, EQUAL, 1000, 1, 0x1p-45);
    compare_near(r, EQUAL, 3, 1, 0x1p-45);
    /* As near as sample.h promises. */
    compare_near(r, NORMAL, 2, 5, 0x1p-30);
    compare_near(r, NORMAL, 3, 3, 0x1p-30);
    compare_near(r, NORMAL, 6, 1, 0x1p-30);
    compare_near(r, COARSE, 10, 0.85f, 0x1p-30);
    compare_near(r, NORMAL, 1000, 2.75f, 0x1p-30);
}

/* ---- failures */

static void expect_failure(rig *r, const hy_sampler_opts *o, uint32_t n_vocab, uint32_t failure)
{
    static drawn d;
    hy_error err;
    hy_token id;
    hy_sampler *const s = new_sampler(r, o, false);
    hy__gpu_sample sample = new_sample(r, s, n_vocab);
    assert_fails(
        hy_sampler_pick(s, r->values, n_vocab, r->tokens + WINDOW - 9, 9, 9, NULL, &id, &err),
        HY_E_NUMERIC, &err, NULL);
    write_text(r, 8);
    run(r, &sample, n_vocab, ROWS, &d); /* the rows behind the first are fine, but it is too late */
    const uint32_t expected[] = {7, 3, 8, failure, 11, 12};
    assert_memory_equal(d.step, expected, sizeof expected);
    check_ring(r, &d, 8, 0);
    /* Who failed first is what the caller hears of. */
    const uint32_t earlier = 9;
    write(r, r->step, 4 * HY__GPU_STEP_FAILURE, &earlier, sizeof earlier);
    run(r, &sample, n_vocab, 1, &d);
    assert_int_equal(d.step[HY__GPU_STEP_FAILURE], earlier);
    assert_int_equal(d.step[HY__GPU_STEP_POS], 8);
    /* Nothing is left behind. */
    for (uint32_t i = 0; i < n_vocab; i++) {
        r->values[i] = 0.01f * (float)(i % 11);
    }
    compare_with(r, s, &sample, n_vocab, 8);
    hy__gpu_sample_destroy(&r->gpu, &sample);
    hy_sampler_destroy(s);
}

static void bad_logits_are_noticed(void **state)
{
    rig *const r = rig_of(state);
    static const uint32_t sizes[] = {40, 4096, 32771};
    for (uint32_t i = 0; i < 24; i++) {
        const uint32_t n_vocab = sizes[i % 3];
        const hy_sampler_opts o = {.size = sizeof o, .greedy = i % 2 == 0, .repeat_penalty = 1.5f};
        fill(r, NORMAL, n_vocab);
        if (i < 12) {
            for (uint32_t t = 0; t < n_vocab; t++) {
                r->values[t] = -INFINITY;
            }
        }
        if (i >= 6) {
            r->values[i < 9 ? 0 : n_vocab - 1] = i < 15 ? NAN : i < 20 ? -NAN : INFINITY;
        }
        expect_failure(r, &o, n_vocab, i < 6 ? HY__GPU_FAILED_NONE : HY__GPU_FAILED_NUMBER);
    }
    const hy_sampler_opts o = {.size = sizeof o};
    fill(r, NORMAL, 4096);
    for (uint32_t t = 0; t < 4096; t++) {
        r->values[t] = NAN; /* more than can be sorted */
    }
    expect_failure(r, &o, 4096, HY__GPU_FAILED_NUMBER);
}

static void some_samplers_stay_on_the_cpu(void **state)
{
    rig *const r = rig_of(state);
    static const struct {
        hy_sampler_opts opts;
        uint32_t n_vocab;
        const char *why;
    } cases[] = {
        {{.mirostat = 2}, 5000, "there is no mirostat"},
        {{.typical_p = 0.5f}, 5000, "there is no typical_p"},
        {{.top_k = -1}, 5000, "top_k leaves 5000 tokens; it can be 1 to 1024"},
        {{.top_k = 1025}, 5000, "top_k leaves 1025 tokens"},
        {{.penalty_last_n = -1, .repeat_penalty = 2}, 5000, "penalty_last_n is -1"},
        {{.penalty_last_n = 4097, .presence_penalty = 1, .greedy = true},
         5000,
         "penalty_last_n is 4097; it can be 1 to 4096"},
        {{.greedy = true}, 0, "0 tokens"},
        {{.greedy = true}, (1 << 22) + 1, "4194305 tokens"},
    };
    const hy__gpu_sample_buffers buffers = {
        .step = r->step, .ring = r->ring, .logits = r->logits, .logits_offset = LOGITS_OFFSET};
    for (size_t i = 0; i < HY_COUNT(cases); i++) {
        hy_error err;
        hy__gpu_sample sample;
        hy_sampler_opts o = cases[i].opts;
        o.size = sizeof o;
        hy_sampler *const s = new_sampler(r, &o, false);
        assert_fails(hy__gpu_sample_create(&r->gpu, &r->kernels, s, cases[i].n_vocab, &buffers,
                                           &sample, &err),
                     HY_E_UNSUPPORTED, &err, cases[i].why);
        assert_null(sample.found);
        hy__gpu_sample_destroy(&r->gpu, &sample);
        hy_sampler_destroy(s);
    }
    /* What greedy or no penalty makes meaningless is no reason. */
    const hy_sampler_opts fine = {
        .size = sizeof fine, .greedy = true, .mirostat = 2, .top_k = -1, .penalty_last_n = -1};
    fill(r, NORMAL, 5000);
    compare(r, &fine, false, 5000, 3);
}

static void memory_may_be_out(void **state)
{
    rig *const r = rig_of(state);
    const hy_sampler_opts o = {.size = sizeof o, .greedy = true};
    const hy__gpu_sample_buffers buffers = {.step = r->step, .ring = r->ring, .logits = r->logits};
    hy_sampler *const s = new_sampler(r, &o, false);
    hy__gpu_sample_kernels kernels = {0};
    hy_status status = HY_E_NOMEM;
    uint64_t failures = 0;
    for (; status != HY_OK; failures++) {
        hy_error err;
        hy__gpu_sample sample;
        failing_env f;
        failing_env_init(&f, failures + 1);
        r->gpu.env = f.env;
        status = hy__gpu_sample_create(&r->gpu, &kernels, s, 257, &buffers, &sample, &err);
        r->gpu.env = r->env;
        assert_int_equal(f.live_blocks, 0);
        if (status != HY_OK) {
            assert_fails(status, HY_E_NOMEM, &err, NULL);
            assert_null(sample.group);
        }
        hy__gpu_sample_destroy(&r->gpu, &sample);
    }
    assert_true(failures > 2); /* the code, the tables, and then it works */
    hy__gpu_sample_kernels_free(&r->gpu, &kernels);
    hy_sampler_destroy(s);
}

/* ---- running */

static int run_library(rig *r)
{
#define WITH_RIG(test)                                                                             \
    {                                                                                              \
#test, test, make, drop, r                                                                 \
    }
    const struct CMUnitTest tests[] = {
        WITH_RIG(greedy_takes_the_largest),
        WITH_RIG(greedy_follows_penalties),
        WITH_RIG(draws_are_the_same),
        WITH_RIG(large_vocabularies),
        WITH_RIG(many_in_a_row),
        WITH_RIG(odd_numbers),
        WITH_RIG(top_k_may_be_off_for_few_tokens),
        WITH_RIG(probabilities_of_equals),
        WITH_RIG(suppressed_tokens_stay_out),
        WITH_RIG(biases_are_added),
        WITH_RIG(logits_agree_to_the_last_bit),
        WITH_RIG(draws_agree_near_boundaries),
        WITH_RIG(bad_logits_are_noticed),
        WITH_RIG(some_samplers_stay_on_the_cpu),
        WITH_RIG(memory_may_be_out),
    };
#undef WITH_RIG
    return cmocka_run_group_tests_name(r->library, tests, NULL, NULL);
}

int main(void)
{
    int failed = 0;
    for (size_t i = 0; i < HY__GPU_N_NAMES; i++) {
        static rig r;
        r = (rig){.library = hy__gpu_names[i]};
        int missing = 0;
        if (!webgpu_is_meant(r.library)) {
            continue;
        }
        webgpu_open(&r.gpu, &r.env, r.library, r.why, &missing);
        failed += missing + run_library(&r);
        hy__gpu_sample_kernels_free(&r.gpu, &r.kernels);
        hy__gpu_close(&r.gpu);
    }
    return failed > 0;
}
