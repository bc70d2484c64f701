/* test_threads.c: what several threads may do at once: run sessions of one model, share states,
 * tokenizers and samplers, cancel each other's steps.  Meant for the thread sanitizer; the results
 * are compared without it, too. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "support/support.h"
#include "support/tiny_models.h"

enum { TOKENS = 60, THREADS = 3 };

typedef struct shared {
    const hy_model *model;
    const hy_sampler *sampler;
    const hy_state *start;
} shared;

typedef struct job {
    const shared *all;
    uint32_t n_threads;
    hy_status status;
    hy_error err;
    hy_token ids[TOKENS];
    uint64_t crc; /* of all logits */
} job;

static hy_status generate(job *j)
{
    const uint32_t vocab = 264;
    hy_session *s = NULL;
    const hy_session_opts opts = {.size = sizeof opts, .n_batch = 5, .n_threads = j->n_threads};
    hy_status status = hy_session_create(j->all->model, &opts, &s, &j->err);
    if (status == HY_OK) {
        status = hy_session_restore(s, j->all->start, &j->err);
    }
    for (int i = 0; i < TOKENS && status == HY_OK; i++) {
        hy_step step;
        j->crc = hy__crc64(j->crc, hy_session_logits(s, 0), vocab * sizeof(float));
        status = hy_session_sample(s, j->all->sampler, &j->ids[i], &j->err);
        if (status == HY_OK) {
            status = hy_session_append(s, &j->ids[i], 1, &j->err);
        }
        if (status == HY_OK) {
            status = hy_session_step(s, &step, &j->err);
        }
    }
    char *text = NULL;
    size_t len;
    if (status == HY_OK) {
        status = hy_detokenize(hy_model_tokenizer(j->all->model), j->ids, TOKENS,
                               HY_DETOKENIZE_SPECIAL, &text, &len, &j->err);
    }
    if (status == HY_OK) {
        j->crc = hy__crc64(j->crc, text, len);
        hy_tokenizer_free(hy_model_tokenizer(j->all->model), text);
    }
    hy_session_destroy(s);
    return status;
}

static void *run_job(void *arg)
{
    job *j = arg;
    j->status = generate(j);
    return NULL;
}

static void sessions_of_one_model_in_several_threads(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        hy_error err;
        hy_model *m;
        hy_sampler *sampler;
        hy_session *s;
        hy_state *start;
        hy_step step;
        size_t len;
        const hy_sampler_opts opts = {.size = sizeof opts, .seed = 11};
        void *bytes = tiny_file(arch, &tiny_speaking, &len);
        assert_ok(hy_model_load_memory(bytes, len, NULL, NULL, &m, &err), &err);
        assert_ok(hy_sampler_create(&opts, hy_model_tokenizer(m), NULL, &sampler, &err), &err);
        assert_ok(hy_session_create(m, NULL, &s, &err), &err);
        assert_ok(hy_session_append(s, (const hy_token[]){5, 9, 200}, 3, &err), &err);
        assert_ok(hy_session_step(s, &step, &err), &err);
        assert_ok(hy_session_snapshot(s, &start, &err), &err);
        const shared all = {m, sampler, start};
        static job alone, jobs[THREADS];
        memset(jobs, 0, sizeof jobs);
        alone = (job){.all = &all, .n_threads = 1};
        run_job(&alone);
        assert_ok(alone.status, &alone.err);
        pthread_t threads[THREADS];
        for (uint32_t i = 0; i < THREADS; i++) {
            jobs[i] = (job){.all = &all, .n_threads = 1 + i};
            assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
        }
        for (uint32_t i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        for (uint32_t i = 0; i < THREADS; i++) {
            assert_ok(jobs[i].status, &jobs[i].err);
            assert_memory_equal(jobs[i].ids, alone.ids, sizeof alone.ids);
            assert_true(jobs[i].crc == alone.crc);
        }
        hy_state_destroy(start);
        hy_session_destroy(s);
        hy_sampler_destroy(sampler);
        hy_model_destroy(m);
        free(bytes);
    }
}

typedef struct killer {
    hy_session *s;
    atomic_bool started, stop;
} killer;

static void *cancel_all_the_time(void *arg)
{
    killer *k = arg;
    while (!atomic_load(&k->stop)) {
        hy_session_cancel(k->s);
        atomic_store(&k->started, true);
        for (volatile int i = 0; i < 20000; i++) {
        }
    }
    return NULL;
}

static void steps_cancelled_from_another_thread(void **state)
{
    (void)state;
    hy_error err;
    hy_model *m;
    hy_session *calm, *s;
    hy_step step;
    size_t len;
    hy_token ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = (hy_token)(i * i % 264);
    }
    void *bytes = tiny_file(TINY_RWKV7, &tiny_speaking, &len);
    const hy_session_opts opts = {.size = sizeof opts, .n_batch = 2, .n_threads = 2};
    assert_ok(hy_model_load_memory(bytes, len, NULL, NULL, &m, &err), &err);
    assert_ok(hy_session_create(m, &opts, &calm, &err), &err);
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    assert_ok(hy_session_append(calm, ids, TOKENS, &err), &err);
    assert_ok(hy_session_append(s, ids, TOKENS, &err), &err);
    do {
        assert_ok(hy_session_step(calm, &step, &err), &err);
    } while (step.pending > 0);
    killer k = {.s = s};
    pthread_t thread;
    atomic_init(&k.started, false);
    atomic_init(&k.stop, false);
    assert_int_equal(pthread_create(&thread, NULL, cancel_all_the_time, &k), 0);
    while (!atomic_load(&k.started)) { /* a small model may be done before a thread begins */
    }
    unsigned cancelled = 0, other = 0;
    size_t done = 0, n;
    do {
        const hy_status status = hy_session_step(s, &step, &err);
        cancelled += status == HY_E_CANCELLED;
        other += status != HY_OK && status != HY_E_CANCELLED;
        done += step.done;
        (void)hy_session_tokens(s, &n);
        other += n != done;
    } while (step.pending > 0 && other == 0 && cancelled < 3000);
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(other, 0);
    assert_true(cancelled > 0);
    while (step.pending > 0) {
        const hy_status status = hy_session_step(s, &step, &err);
        assert_true(status == HY_OK ||
                    status == HY_E_CANCELLED); /* the last cancel may still wait for its step */
    }
    assert_memory_equal(hy_session_logits(s, 0), hy_session_logits(calm, 0), 264 * sizeof(float));
    hy_session_destroy(s);
    hy_session_destroy(calm);
    hy_model_destroy(m);
    free(bytes);
}

/* ---- many tokens, logits of the last one */

enum { LEAST = 13, MOST = 40 }; /* tokens: from two tasks of columns on */

/* The logits after `n` tokens that went through one step. */
static void logits_after(hy_session *s, int n, float *logits)
{
    hy_error err;
    hy_step step;
    hy_token ids[MOST];
    for (int i = 0; i < n; i++) {
        ids[i] = (hy_token)((i * 31 + n) % 264);
    }
    hy_session_reset(s);
    assert_ok(hy_session_append(s, ids, (size_t)n, &err), &err);
    assert_ok(hy_session_step(s, &step, &err), &err);
    assert_int_equal(step.done, n);
    assert_int_equal(step.n_logits, 1);
    memcpy(logits, hy_session_logits(s, 0), 264 * sizeof *logits);
}

/* All tasks of a prologue have columns of the step, one of them has the column that is left; the
 * matrix behind it reads that column in 8 bits, which exactly one thread may write. */
static void many_tokens_and_the_logits_of_one(void **state)
{
    (void)state;
    static float alone[MOST + 1][264];
    float together[264];
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        hy_error err;
        hy_model *m;
        tiny_model t;
        size_t len;
        tiny_shape shape = tiny_speaking;
        shape.c = shape.f = 64;
        shape.key = shape.c / shape.n_head;
        const hy_model_opts model_opts = {.size = sizeof model_opts, .backend = "cpu"};
        tiny_make(&t, arch, &shape);
        tiny_find(&t, "output.weight")->type = HY_TYPE_Q8_0;
        void *bytes = tiny_bytes(&t, &len);
        tiny_free(&t);
        assert_ok(hy_model_load_memory(bytes, len, &model_opts, NULL, &m, &err), &err);
        for (uint32_t threads = 1; threads <= 8; threads++) {
            hy_session *s;
            const hy_session_opts opts = {.size = sizeof opts, .n_ctx = MOST, .n_threads = threads};
            assert_ok(hy_session_create(m, &opts, &s, &err), &err);
            for (int n = LEAST; n <= MOST; n++) {
                logits_after(s, n, threads == 1 ? alone[n] : together);
                if (threads > 1) {
                    assert_memory_equal(together, alone[n], sizeof together);
                }
            }
            hy_session_destroy(s);
        }
        hy_model_destroy(m);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_of_one_model_in_several_threads),
        cmocka_unit_test(steps_cancelled_from_another_thread),
        cmocka_unit_test(many_tokens_and_the_logits_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
