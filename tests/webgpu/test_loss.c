/* test_loss.c [STRIDE [TESTS]]: sessions of the WebGPU backend whose device is lost, or has no memory left: the text
 * goes on as if nothing had happened, or the error says what to do.
 *
 * The clock is the tests' own: how many tokens a batch has, and when a state is kept, follows from
 * it.  STRIDE: every how many submits of a run the device is lost; without it as test_stride()
 * says, or at every one, at fewer on Dawn, where a software GPU takes seconds to compile kernels
 * again.  One thread, but for
 * the last test. */
#include <pthread.h>

#include "backend/webgpu/webgpu.h"
#include "session/session.h"
#include "support/tiny_models.h"
#include "support/webgpu.h"

enum { N = 64, VOCAB = 64, PROMPT = 5 };

static const tiny_shape shape = {.c = 16,
                                 .f = 24,
                                 .n_layer = 1,
                                 .n_head = 4,
                                 .n_head_kv = 2,
                                 .key = 4,
                                 .head_size = 8,
                                 .rank = 4,
                                 .rows = VOCAB};

/* ---- the world of a model */

typedef struct world {
    hy_env env;
    atomic_uint_fast64_t ns, tick; /* the clock, and what each look at it adds */
    char warning[500];             /* the last one */
    unsigned warnings;
} world;

static uint64_t clock_of(void *user)
{
    world *w = user;
    return atomic_fetch_add(&w->ns, atomic_load(&w->tick));
}

static void note(void *user, hy_log_level level, const char *text)
{
    static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER;
    world *w = user;
    pthread_mutex_lock(&alone);
    if (level == HY_LOG_WARN) {
        snprintf(w->warning, sizeof w->warning, "%s", text);
        w->warnings++;
    }
    pthread_mutex_unlock(&alone);
}

static const uint64_t ms = 1000000;

typedef struct fixture {
    world w;
    void *bytes;
    size_t len;
    hy_model *m;
    hy__gpu *gpu;
    hy_sampler *sampler;
} fixture;

static void open_fixture(fixture *f, tiny_arch arch, uint64_t tick)
{
    hy_error err;
    const hy_model_opts opts = webgpu_model_opts();
    const hy_sampler_opts sampling = {
        .size = sizeof sampling, .seed = 7, .temperature = 1.5f, .repeat_penalty = 1.1f};
    memset(f, 0, sizeof *f);
    f->w.env = (hy_env){.size = sizeof f->w.env, .user = &f->w, .clock_ns = clock_of, .log = note};
    atomic_init(&f->w.ns, 1);
    atomic_init(&f->w.tick, tick);
    f->bytes = tiny_file(arch, &shape, &f->len);
    assert_ok(hy_model_load_memory(f->bytes, f->len, &opts, &f->w.env, &f->m, &err), &err);
    f->gpu = &((hy__gpu_model *)f->m->backend_model)->gpu;
    assert_ok(hy_sampler_create(&sampling, NULL, NULL, &f->sampler, &err), &err);
}

static void close_fixture(fixture *f)
{
    hy_sampler_destroy(f->sampler);
    hy_model_destroy(f->m);
    free(f->bytes);
}

static uint64_t generation(const fixture *f)
{
    return ((const hy__gpu_model *)f->m->backend_model)->generation;
}

/* ---- a run */

typedef struct run {
    hy_token ids[N];
    float logits[VOCAB]; /* behind the last one: equal to the last bit, or something went wrong */
} run;

static hy_session *new_session(const fixture *f)
{
    static const hy_token prompt[PROMPT] = {3, 17, 0, 39, 8};
    const hy_session_opts opts = {.size = sizeof opts, .n_batch = 3};
    hy_error err;
    hy_session *s;
    assert_ok(hy_session_create(f->m, &opts, &s, &err), &err);
    assert_ok(hy_session_append(s, prompt, PROMPT, &err), &err);
    return s;
}

static void step(hy_session *s)
{
    hy_error err;
    hy_step done = {0};
    do {
        assert_ok(hy_session_step(s, &done, &err), &err);
    } while (done.pending > 0);
}

/* Tokens first to end - 1; on_host: drawn there. */
static void draw(const fixture *f, hy_session *s, run *r, int first, int end, bool on_host)
{
    hy_error err;
    for (int i = first; i < end; i++) {
        if (on_host) {
            assert_non_null(hy_session_logits(s, 0));
        }
        assert_ok(hy_session_sample(s, f->sampler, &r->ids[i], &err), &err);
        assert_ok(hy_session_append(s, &r->ids[i], 1, &err), &err);
        step(s);
    }
}

static void finish(hy_session *s, run *r)
{
    size_t n;
    const hy_token *tokens = hy_session_tokens(s, &n);
    assert_int_equal(n, PROMPT + N);
    assert_memory_equal(tokens + PROMPT, r->ids, sizeof r->ids);
    const float *logits = hy_session_logits(s, 0);
    assert_non_null(logits);
    memcpy(r->logits, logits, sizeof r->logits);
    hy_session_destroy(s);
}

static void do_run(const fixture *f, run *r, bool on_host)
{
    hy_session *s = new_session(f);
    step(s);
    draw(f, s, r, 0, N, on_host);
    finish(s, r);
}

static void assert_same(const run *a, const run *b)
{
    assert_memory_equal(a->ids, b->ids, sizeof a->ids);
    assert_memory_equal(a->logits, b->logits, sizeof a->logits);
}

/* ---- every submit */

static uint64_t asked_stride; /* 0: none */

/* Loses the device at every `on_wgpu`th submit of a run, or on Dawn `on_dawn`th; returns the number
 * of submits. */
static uint64_t lose_at_each(tiny_arch arch, uint64_t tick, bool on_host, bool behind,
                             uint64_t on_wgpu, uint64_t on_dawn)
{
    fixture f;
    run expected, got;
    open_fixture(&f, arch, tick);
    const uint64_t own_stride = f.gpu->lib.flavour == HY__GPU_DAWN ? on_dawn : on_wgpu;
    const uint64_t stride = asked_stride > 0 ? asked_stride : own_stride;
    do_run(&f, &expected, on_host); /* makes what is made once */
    const uint64_t before = f.gpu->submits;
    do_run(&f, &got, on_host);
    assert_same(&got, &expected);
    const uint64_t submits = f.gpu->submits - before;
    unsigned runs = 0;
    for (uint64_t at = 1; at <= submits; at += stride) {
        const uint64_t generations = generation(&f);
        atomic_fetch_add(&f.w.ns, 61000 * ms); /* losses of other runs are long ago */
        memset(&got, 0, sizeof got);
        *(behind ? &f.gpu->faults.lost_behind : &f.gpu->faults.lost_before) = at;
        do_run(&f, &got, on_host);
        assert_true(generation(&f) == generations + 1);
        assert_same(&got, &expected);
        runs++;
    }
    assert_int_equal(f.w.warnings, runs);
    assert_non_null(strstr(f.w.warning, "the GPU was lost"));
    close_fixture(&f);
    print_message("%u of %u runs gave the same text\n", runs, runs);
    return submits;
}

/* A token a batch, and a state kept every few of them. */
static void every_submit_of_64_tokens(void **state)
{
    (void)state;
    webgpu_or_skip();
    assert_true(lose_at_each(TINY_RWKV7, 60 * ms, false, false, 1, 29) >= N);
    assert_true(lose_at_each(TINY_LLAMA, 60 * ms, false, false, 1, 41) >= N);
}

/* Batches that grow, and no state but that of the beginning; the loss is seen by whoever waits. */
static void every_batch(void **state)
{
    (void)state;
    webgpu_or_skip();
    lose_at_each(TINY_RWKV7, 0, false, true, 1, 7);
    lose_at_each(TINY_LLAMA, 0, false, true, 1, 7);
}

static void tokens_drawn_on_the_host(void **state)
{
    (void)state;
    webgpu_or_skip();
    assert_true(lose_at_each(TINY_LLAMA, 60 * ms, true, true, 13, 41) >= N);
}

/* ---- other calls that meet a loss */

static void lose_next(fixture *f)
{
    atomic_fetch_add(&f->w.ns, 61000 * ms);
    f->gpu->faults.lost_before = 1;
}

/* In the middle of a batch: snapshot, fork, restore, reset and a cancelled step. */
static void calls_in_the_middle_of_a_batch(void **state)
{
    (void)state;
    webgpu_or_skip();
    for (int loss = 0; loss < 2; loss++) {
        fixture f;
        run expected, got;
        hy_error err;
        hy_state *saved = NULL;
        hy_session *fork = NULL;
        hy_step done;
        size_t n;
        open_fixture(&f, loss ? TINY_LLAMA : TINY_RWKV7, 0);
        do_run(&f, &expected, false);
#define MAY_LOSE()                                                                                 \
    if (loss) {                                                                                    \
        lose_next(&f);                                                                             \
    }
        hy_session *s = new_session(&f);
        step(s);
        draw(&f, s, &got, 0, 20, false);
        MAY_LOSE()
        assert_ok(hy_session_snapshot(s, &saved, &err), &err);
        assert_int_equal(hy_state_n_tokens(saved), PROMPT + 20);
        draw(&f, s, &got, 20, 31, false);
        MAY_LOSE()
        assert_ok(hy_session_fork(s, &fork, &err), &err);
        draw(&f, fork, &got, 31, N, false);
        finish(fork, &got);
        assert_same(&got, &expected);
        /* The first one goes on, too, is put back, and loses what it was put back to. */
        draw(&f, s, &got, 31, 45, false);
        MAY_LOSE()
        assert_ok(hy_session_restore(s, saved, &err), &err);
        hy_state_destroy(saved);
        draw(&f, s, &got, 20, 37, false);
        MAY_LOSE()
        hy_session_cancel(s);
        assert_ok(hy_session_sample(s, f.sampler, &got.ids[37], &err), &err);
        assert_ok(hy_session_append(s, &got.ids[37], 1, &err), &err);
        assert_fails(hy_session_step(s, &done, &err), HY_E_CANCELLED, &err, NULL);
        (void)hy_session_tokens(s, &n);
        assert_int_equal(n, PROMPT + 37);
        step(s);
        draw(&f, s, &got, 38, 50, false);
        MAY_LOSE()
        hy_session_reset(s);
        assert_ok(hy_session_append(s, (const hy_token[PROMPT]){3, 17, 0, 39, 8}, PROMPT, &err),
                  &err);
        step(s);
        draw(&f, s, &got, 0, N, false);
        finish(s, &got);
        assert_same(&got, &expected);
        assert_true(loss ? f.w.warnings >= 3 : f.w.warnings == 0);
        close_fixture(&f);
    }
}

/* A loss takes the device from all sessions of the model. */
static void sessions_share_a_loss(void **state)
{
    (void)state;
    webgpu_or_skip();
    fixture f;
    run expected, got[2];
    open_fixture(&f, TINY_RWKV7, 0);
    do_run(&f, &expected, false);
    hy_session *s[2] = {new_session(&f), new_session(&f)};
    step(s[0]);
    step(s[1]);
    draw(&f, s[0], &got[0], 0, 20, false);
    draw(&f, s[1], &got[1], 0, 30, false);
    hy__gpu_lose(f.gpu, "a test took it away");
    hy_session *third = new_session(&f); /* opens it again */
    assert_true(generation(&f) == 1);
    hy_session_destroy(third);
    draw(&f, s[0], &got[0], 20, N, false);
    draw(&f, s[1], &got[1], 30, N, false);
    assert_true(generation(&f) == 1);
    for (int i = 0; i < 2; i++) {
        finish(s[i], &got[i]);
        assert_same(&got[i], &expected);
    }
    /* Sessions can be destroyed on a device that is lost. */
    s[0] = new_session(&f);
    step(s[0]);
    hy__gpu_lose(f.gpu, "a test took it away");
    hy_session_destroy(s[0]);
    close_fixture(&f);
}

/* A GPU that is lost again and again is given up; later the session goes on. */
static void many_losses_are_an_error(void **state)
{
    (void)state;
    webgpu_or_skip();
    fixture f;
    run expected, got;
    hy_error err;
    hy_step done;
    open_fixture(&f, TINY_LLAMA, 0);
    do_run(&f, &expected, false);
    hy_session *s = new_session(&f);
    step(s);
    for (int i = 0; i < HY__MOST_LOSSES; i++) {
        draw(&f, s, &got, 5 * i, 5 * i + 5, false);
        assert_non_null(hy_session_logits(s, 0)); /* nothing is under way any more */
        hy__gpu_lose(f.gpu, "a test took it away");
    }
    draw(&f, s, &got, 15, 20, false);
    assert_non_null(hy_session_logits(s, 0));
    hy__gpu_lose(f.gpu, "a test took it away");
    assert_ok(hy_session_sample(s, f.sampler, &got.ids[20], &err), &err);
    assert_ok(hy_session_append(s, &got.ids[20], 1, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_fails(hy_session_step(s, &done, &err), HY_E_DEVICE_LOST, &err, "within a minute");
        assert_non_null(strstr(err.text, "a test took it away"));
    }
    atomic_fetch_add(&f.w.ns, 61000 * ms);
    step(s);
    draw(&f, s, &got, 21, N, false);
    finish(s, &got);
    assert_same(&got, &expected);
    close_fixture(&f);
}

/* Nothing is lost here: what was submitted was wrong, which is a bug that must not be hidden. */
static void other_errors_stay(void **state)
{
    (void)state;
    webgpu_or_skip();
    fixture f;
    run r;
    hy_error err, first;
    hy_step done;
    hy_session *fork;
    open_fixture(&f, TINY_LLAMA, 0);
    hy_session *s = new_session(&f);
    step(s);
    draw(&f, s, &r, 0, 5, false);
    const hy__gpu_lib *lib = &f.gpu->lib;
    WGPUBuffer buffer = f.gpu->readback;
    if (!buffer) {
        assert_ok(hy__gpu_buffer(f.gpu, 256, WGPUBufferUsage_CopyDst | WGPUBufferUsage_MapRead, "a",
                                 &f.gpu->readback, &err),
                  &err);
        buffer = f.gpu->readback;
    }
    WGPUCommandEncoder encoder = lib->DeviceCreateCommandEncoder(f.gpu->device, NULL);
    lib->CommandEncoderClearBuffer(encoder, buffer, 1 << 30, 64);
    assert_fails(hy__gpu_submit(f.gpu, encoder, &first), HY_E_INTERNAL, &first, "WebGPU: ");
    const uint64_t submits = f.gpu->submits;
    while (hy_session_sample(s, f.sampler, &r.ids[5], &err) == HY_OK) {
        assert_ok(hy_session_append(s, &r.ids[5], 1, &err), &err);
        if (hy_session_step(s, &done, &err) != HY_OK) {
            break;
        }
    }
    assert_fails(err.code, HY_E_INTERNAL, &err, first.text);
    assert_fails(hy_session_fork(s, &fork, &err), HY_E_INTERNAL, &err, first.text);
    assert_fails(hy_session_create(f.m, NULL, &fork, &err), HY_E_INTERNAL, &err, first.text);
    assert_true(f.gpu->submits == submits);
    assert_true(generation(&f) == 0);
    hy_session_destroy(s);
    close_fixture(&f);
}

/* ---- memory that is not there */

static void assert_advised(const hy_error *err, const char *whose)
{

    assert_int_equal(err->code, HY_E_NOMEM);
    assert_non_null(strstr(err->text, "bytes of GPU memory for"));
    assert_non_null(strstr(err->text, whose));
    assert_non_null(strstr(err->text, "choose"));
}

static void too_little_memory(void **state)
{
    (void)state;
    webgpu_or_skip();
    const tiny_arch archs[] = {TINY_RWKV7, TINY_LLAMA};
    for (size_t a = 0; a < HY_COUNT(archs); a++) {
        fixture f;
        run expected, got;
        hy_error err;
        hy_model *m;
        hy_session *s = NULL;
        hy_step done;
        hy_status status = HY_E_NOMEM;
        unsigned failures = 0, advised = 0;
        const hy_model_opts opts = webgpu_model_opts();
        open_fixture(&f, archs[a], 0);
        do_run(&f, &expected, false);
        for (uint64_t at = 1; status != HY_OK; at++) {
            hy__gpu_faults_at_opening.no_memory = at;
            status = hy_model_load_memory(f.bytes, f.len, &opts, &f.w.env, &m, &err);
            if (status != HY_OK) {
                assert_int_equal(status, HY_E_NOMEM);
                advised += strstr(err.text, "the model needs") != NULL;
            }
            assert_true(at < 40);
        }
        assert_true(advised >= 2); /* weights and vectors; the others are for looking at the GPU */
        hy_model_destroy(m);
        status = HY_E_NOMEM;
        for (uint64_t at = 1; status != HY_OK; at++) {
            f.gpu->faults.no_memory = at;
            status = hy_session_create(f.m, NULL, &s, &err);
            if (status != HY_OK) {
                assert_advised(&err, "the session needs");
            }
            assert_true(at < 40);
        }
        hy_session_destroy(s);
        /* A step that had no memory can be tried again. */
        f.gpu->faults.no_memory = 0;
        s = new_session(&f);
        step(s);
        for (int i = 0; i < N; i++) {
            assert_ok(hy_session_sample(s, f.sampler, &got.ids[i], &err), &err);
            assert_ok(hy_session_append(s, &got.ids[i], 1, &err), &err);
            for (uint64_t at = 1; at < 12; at++) {
                f.gpu->faults.no_memory = at;
                if (hy_session_step(s, &done, &err) == HY_OK) {
                    break;
                }
                assert_int_equal(err.code, HY_E_NOMEM);
                failures++;
            }
            f.gpu->faults.no_memory = 0;
        }
        assert_true(failures > 5);
        finish(s, &got);
        assert_same(&got, &expected);
        close_fixture(&f);
    }
}

/* ---- a backend that nobody named */

static void assert_auto(fixture *f, const hy_model_opts *opts, hy__gpu_faults faults,
                        const char *backend, const char *warning)
{
    hy_error err;
    hy_model *m;
    f->w.warnings = 0;
    hy__gpu_faults_at_opening = faults;
    assert_ok(hy_model_load_memory(f->bytes, f->len, opts, &f->w.env, &m, &err), &err);
    assert_string_equal(hy_model_backend(m), backend);
    assert_int_equal(f->w.warnings, warning != NULL);
    if (warning) {
        assert_non_null(strstr(f->w.warning, warning));
    }
    hy_model_destroy(m);
    hy__gpu_faults_at_opening = (hy__gpu_faults){0};
}

static void look_at(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                    const float *data)
{
    (void)user, (void)name, (void)layer, (void)n, (void)n_cols, (void)data;
}

static void the_best_backend_is_found(void **state)
{
    (void)state;
    webgpu_or_skip();
    fixture f;
    hy_error err;
    hy_model *m;
    hy_model_opts opts = webgpu_model_opts();
    open_fixture(&f, TINY_LLAMA, 0);
    const bool software = f.gpu->caps.type == WGPUAdapterType_CPU;
    for (int named = 0; named < 2; named++) {
        opts.backend = named ? "auto" : NULL;
        assert_auto(&f, &opts, (hy__gpu_faults){0}, software ? "cpu" : "webgpu", NULL);
        assert_auto(&f, &opts, (hy__gpu_faults){.as_hardware = true}, "webgpu", NULL);
        assert_auto(&f, &opts, (hy__gpu_faults){.as_hardware = true, .no_memory = 3}, "cpu",
                    "using backend cpu, as webgpu cannot be used: ");
        assert_non_null(strstr(f.w.warning, "the GPU is out of memory"));
    }
    hy_session *s = new_session(&f);
    assert_fails(hy_session_set_trace(s, look_at, NULL, &err), HY_E_UNSUPPORTED, &err, "webgpu");
    assert_ok(hy_session_set_trace(s, NULL, NULL, &err), &err);
    hy_session_destroy(s);
    opts.gpu_mask = "no-such-thing";
    assert_fails(hy_model_load_memory(f.bytes, f.len, &opts, &f.w.env, &m, &err), HY_E_NOT_FOUND,
                 &err, "no-such-thing");
    opts = webgpu_model_opts();
    opts.backend = "auto";
    opts.webgpu_lib = "/no/such/library.so";
    assert_auto(&f, &opts, (hy__gpu_faults){0}, "cpu", NULL);
    close_fixture(&f);
}

/* ---- several threads */

enum { THREADS = 3 };
typedef struct job {
    const fixture *f;
    hy_session *s;
    run r;
    hy_status status;
    hy_error err;
} job;

static void *run_job(void *arg)
{
    job *j = arg;
    hy_step done = {.pending = 1};
    j->status = HY_OK;
    while (done.pending > 0 && j->status == HY_OK) {
        j->status = hy_session_step(j->s, &done, &j->err);
    }
    for (int i = 0; i < N && j->status == HY_OK; i++) {
        j->status = hy_session_sample(j->s, j->f->sampler, &j->r.ids[i], &j->err);
        if (j->status == HY_OK) {
            j->status = hy_session_append(j->s, &j->r.ids[i], 1, &j->err);
        }
        if (j->status == HY_OK) {
            j->status = hy_session_step(j->s, &done, &j->err);
        }
    }
    return NULL;
}

static void sessions_in_several_threads(void **state)
{
    (void)state;
    webgpu_or_skip();
    fixture f;
    run expected;
    static job jobs[THREADS];
    pthread_t threads[THREADS];
    open_fixture(&f, TINY_RWKV7, 10 * ms);
    do_run(&f, &expected, false);
    atomic_fetch_add(&f.w.ns, 61000 * ms);
    f.gpu->faults.lost_before = 30;
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){.f = &f, .s = new_session(&f)};
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_ok(jobs[i].status, &jobs[i].err);
        finish(jobs[i].s, &jobs[i].r);
        assert_same(&jobs[i].r, &expected);
    }
    assert_true(generation(&f) == 1);
    close_fixture(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_submit_of_64_tokens),
        cmocka_unit_test(every_batch),
        cmocka_unit_test(tokens_drawn_on_the_host),
        cmocka_unit_test(calls_in_the_middle_of_a_batch),
        cmocka_unit_test(sessions_share_a_loss),
        cmocka_unit_test(many_losses_are_an_error),
        cmocka_unit_test(other_errors_stay),
        cmocka_unit_test(too_little_memory),
        cmocka_unit_test(the_best_backend_is_found),
        cmocka_unit_test(sessions_in_several_threads),
    };
    asked_stride = argc > 1 ? strtoull(argv[1], NULL, 10) : test_stride() > 1 ? test_stride() : 0;
    cmocka_set_test_filter(argc > 2 ? argv[2] : NULL);
    return cmocka_run_group_tests(tests, webgpu_look, NULL);
}
