/* test_session.c: what include/halyard/session.h promises of sessions, word by word, on tiny models
 * of every kind. */
#include <math.h>

#include "session/session.h"
#include "support/support.h"
#include "support/tiny_models.h"

enum { VOCAB = 32, LONG = 70 };

/* A model and the bytes it lives in; make with open_tiny, end with close_tiny. */
typedef struct tiny {
    void *bytes;
    hy_model *model;
} tiny;

static tiny open_model(const tiny_model *t)
{
    tiny y;
    hy_error err;
    size_t len;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "cpu"};
    y.bytes = tiny_bytes(t, &len);
    assert_ok(hy_model_load_memory(y.bytes, len, &opts, NULL, &y.model, &err), &err);
    return y;
}

static tiny open_tiny(tiny_arch arch)
{
    tiny_model t;
    tiny_make(&t, arch, &tiny_usual);
    const tiny y = open_model(&t);
    tiny_free(&t);
    return y;
}

static void close_tiny(tiny *y)
{
    hy_model_destroy(y->model);
    free(y->bytes);
}

static hy_token token_at(size_t i)
{
    return (hy_token)((i * i * 7 + i * 5 + 3) % VOCAB);
}

static hy_session *new_session(const hy_model *m, uint32_t n_batch, uint32_t n_threads,
                               bool all_logits)
{
    hy_error err;
    hy_session *s;
    const hy_session_opts opts = {
        .size = sizeof opts, .n_batch = n_batch, .n_threads = n_threads, .all_logits = all_logits};
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    return s;
}

/* Appends tokens number first .. first + n - 1. */
static void append(hy_session *s, size_t first, size_t n)
{
    hy_error err;
    hy_token ids[LONG];
    assert_true(n <= LONG);
    for (size_t i = 0; i < n; i++) {
        ids[i] = token_at(first + i);
    }
    assert_ok(hy_session_append(s, ids, n, &err), &err);
}

static hy_step step_ok(hy_session *s)
{
    hy_error err;
    hy_step step;
    assert_ok(hy_session_step(s, &step, &err), &err);
    return step;
}

static size_t position(const hy_session *s)
{
    size_t n;
    (void)hy_session_tokens(s, &n);
    return n;
}

/* Everything that a session is at this point, as bytes; free() them. */
static void *image_of(const hy_session *s, size_t *n)
{
    hy_error err;
    hy_state *state;
    void *data;
    assert_ok(hy_session_snapshot(s, &state, &err), &err);
    assert_ok(hy_state_to_bytes(state, &data, n, &err), &err);
    void *copy = malloc(*n);
    assert_non_null(copy);
    memcpy(copy, data, *n);
    hy_state_free_bytes(state, data);
    hy_state_destroy(state);
    return copy;
}

static void assert_same_place(const hy_session *a, const hy_session *b)
{
    size_t na, nb;
    void *x = image_of(a, &na), *y = image_of(b, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(x, y, na);
    free(x);
    free(y);
}

/* Logits after each of LONG tokens, one at a time, and the session behind them. */
static hy_session *serial(const hy_model *m, float (*logits)[VOCAB])
{
    hy_session *s = new_session(m, 1, 1, false);
    for (size_t i = 0; i < LONG; i++) {
        append(s, i, 1);
        const hy_step step = step_ok(s);
        assert_true(step.done == 1 && step.n_logits == 1 && step.pending == 0);
        memcpy(logits[i], hy_session_logits(s, 0), sizeof *logits);
    }
    return s;
}

/* ---- results do not depend on how they are computed */

static void compare_with_serial(const hy_model *m, const hy_session *reference,
                                float (*logits)[VOCAB], uint32_t n_batch, uint32_t n_threads,
                                bool all_logits)
{
    hy_session *s = new_session(m, n_batch, n_threads, all_logits);
    append(s, 0, LONG);
    for (size_t done = 0; done < LONG;) {
        const size_t n = HY_MIN((size_t)n_batch, LONG - done);
        const hy_step step = step_ok(s);
        assert_int_equal(step.done, n);
        assert_int_equal(step.pending, LONG - done - n);
        assert_int_equal(step.n_logits, all_logits ? n : step.pending == 0 ? 1 : 0);
        for (uint32_t row = 0; row < step.n_logits; row++) {
            const size_t at = done + n - step.n_logits + row;
            assert_memory_equal(hy_session_logits(s, row), logits[at], sizeof *logits);
        }
        assert_null(hy_session_logits(s, step.n_logits));
        done += n;
        assert_int_equal(position(s), done);
    }
    assert_same_place(s, reference);
    hy_session_destroy(s);
}

static void chunks_and_threads_change_nothing(void **state)
{
    (void)state;
    static const uint32_t batches[] = {1, 2, 7, 64, 4096}, threads[] = {1, 2, 3, 8};
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        static float logits[LONG][VOCAB];
        tiny y = open_tiny(arch);
        hy_session *reference = serial(y.model, logits);
        for (size_t b = 0; b < HY_COUNT(batches); b++) {
            for (size_t t = 0; t < HY_COUNT(threads); t++) {
                compare_with_serial(y.model, reference, logits, batches[b], threads[t],
                                    (b + t) % 2 == 0);
            }
        }
        /* pieces of any length, appended between steps */
        hy_session *s = new_session(y.model, 5, 2, false);
        uint32_t random = 12345;
        for (size_t at = 0; at < LONG;) {
            random = random * 1664525u + 1013904223u;
            const size_t n = HY_MIN((size_t)(random >> 28), LONG - at);
            append(s, at, n);
            at += n;
            if (random & 1 << 20) {
                step_ok(s);
            }
        }
        while (step_ok(s).pending > 0) {
        }
        assert_memory_equal(hy_session_logits(s, 0), logits[LONG - 1], sizeof *logits);
        assert_same_place(s, reference);
        hy_session_destroy(s);
        hy_session_destroy(reference);
        close_tiny(&y);
    }
}

/* Rows that nobody wants are left out, from the first step, in the middle of one, and all. */
static void rows_from_a_position_on(void **state)
{
    (void)state;
    static const size_t firsts[] = {0, 3, 4, 29, 30, 31, LONG - 1, LONG};
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        static float logits[LONG][VOCAB];
        tiny y = open_tiny(arch);
        hy_session *reference = serial(y.model, logits);
        hy_session *s = new_session(y.model, 10, 2, true),
                   *last = new_session(y.model, 10, 1, false);
        hy_session_logits_from(last, LONG);
        for (size_t i = 0; i < HY_COUNT(firsts); i++) {
            size_t done = 0, rows = 0;
            hy_session_reset(s);
            hy_session_logits_from(s, firsts[i]);
            append(s, 0, LONG);
            while (done < LONG) {
                const hy_step step = step_ok(s);
                done += step.done;
                for (uint32_t row = 0; row < step.n_logits; row++, rows++) {
                    assert_memory_equal(hy_session_logits(s, row), logits[firsts[i] + rows],
                                        sizeof *logits);
                }
                assert_null(hy_session_logits(s, step.n_logits));
                assert_int_equal(rows, done > firsts[i] ? done - firsts[i] : 0);
            }
        }
        append(last, 0, LONG);
        while (step_ok(last).pending > 0) {
        }
        assert_memory_equal(hy_session_logits(last, 0), logits[LONG - 1], sizeof *logits);
        hy_session_destroy(last);
        hy_session_destroy(s);
        hy_session_destroy(reference);
        close_tiny(&y);
    }
}

/* ---- options and arguments */

static void options_are_checked(void **state)
{
    (void)state;
    hy_error err;
    hy_session *s;
    tiny y = open_tiny(TINY_LLAMA), r = open_tiny(TINY_RWKV7);
    hy_session_opts o = {.size = sizeof o, .n_batch = 4097};
    assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_ARG, &err,
                 "n_batch is 4097, at most 4096");
    assert_null(s);
    o = (hy_session_opts){.size = sizeof o, .n_threads = 1025};
    assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_ARG, &err,
                 "n_threads is 1025, at most 1024");
    o.n_threads = UINT32_MAX;
    assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_ARG, &err, "4294967295");
    o = (hy_session_opts){.size = sizeof o, .n_ctx = UINT32_MAX};
    assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_ARG, &err, "n_ctx is 4294967295");
    o = (hy_session_opts){.size = sizeof o, .n_threads = 0};
    assert_ok(hy_session_create(y.model, &o, &s, &err), &err);
    assert_int_equal(hy_session_n_ctx(s), 128); /* the model's */
    assert_ptr_equal(hy_session_model(s), y.model);
    hy_session_destroy(s);
    assert_ok(hy_session_create(r.model, NULL, &s, &err), &err);
    assert_int_equal(hy_session_n_ctx(s), 0); /* no limit */
    hy_session_destroy(s);
    /* An older caller's struct ends before n_batch: whatever comes behind it is not looked at. */
    o = (hy_session_opts){
        .size = offsetof(hy_session_opts, n_batch), .n_ctx = 9, .n_batch = 4097, .n_threads = 5000};
    assert_ok(hy_session_create(y.model, &o, &s, &err), &err);
    assert_int_equal(hy_session_n_ctx(s), 9);
    hy_session_destroy(s);
    hy_session_destroy(NULL);
    close_tiny(&y);
    close_tiny(&r);
}

/* ---- types of KV caches */

static hy_status load_with(const tiny_model *t, const char *backend, tiny *y, hy_error *err)
{
    size_t len;
    const hy_model_opts opts = {.size = sizeof opts, .backend = backend};
    y->bytes = tiny_bytes(t, &len);
    return hy_model_load_memory(y->bytes, len, &opts, NULL, &y->model, err);
}

static void types_of_caches_are_checked(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    hy_error err;
    hy_session *s;
    tiny_model t;
    tiny_make(&t, TINY_LLAMA, &tiny_usual);
    for (size_t i = 0; i < HY_COUNT(backends); i++) {
        tiny y;
        assert_ok(load_with(&t, backends[i], &y, &err), &err);
        const uint64_t numbers = 2 * 2 * 4; /* keys of two layers, two heads of four */
        const uint64_t own = i == 0 ? 4 : 2;
        hy_session_opts o = {.size = sizeof o, .cache_type_k = "f33"};
        assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_ARG, &err,
                     "cache_type_k is 'f33', which is not the name of a type");
        assert_null(s);
        o = (hy_session_opts){.size = sizeof o, .cache_type_v = "Q4_K"};
        assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_UNSUPPORTED, &err,
                     i == 0 ? "cache_type_v is Q4_K; backend ref has caches of F32"
                            : "cache_type_v is Q4_K; backend cpu has caches of F16, F32, Q8_0");
        o.cache_type_v = "q8_0";
        assert_fails(hy_session_create(y.model, &o, &s, &err), HY_E_UNSUPPORTED, &err,
                     i == 0 ? "cache_type_v is Q8_0; backend ref"
                            : "blocks of 32 do not fit into heads of 4 numbers");
        o.cache_type_v = "f32";
        assert_ok(hy_session_create(y.model, &o, &s, &err), &err);
        assert_int_equal(hy_session_kv_bytes_per_token(s), numbers * own + numbers * 4);
        hy_session_destroy(s);
        close_tiny(&y);
    }
    tiny_free(&t);
    tiny r = open_tiny(TINY_RWKV7);
    assert_ok(hy_session_create(r.model, NULL, &s, &err), &err);
    assert_int_equal(hy_session_kv_bytes_per_token(s), 0);
    hy_session_destroy(s);
    close_tiny(&r);
}

/* Greatest difference between the logits of two sessions, in units of b's rms. */
static double distance(const hy_session *a, const hy_session *b)
{
    const float *x = hy_session_logits(a, 0), *y = hy_session_logits(b, 0);
    double most = 0, square = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
        square += (double)y[i] * (double)y[i] / VOCAB;
    }
    return most / sqrt(square);
}

/* Small types give nearly the logits of f32, and a fork, whose cache comes from numbers, exactly
 * those of its origin. */
static void caches_of_every_type_compute_nearly_the_same(void **state)
{
    (void)state;
    static const char *const types[] = {"f32", "F16", "q8_0"};
    static const double near[] = {0, 0.01, 0.1};
    static const uint64_t bytes[] = {4 * 32, 2 * 32, 34}; /* of 32 numbers */
    tiny_shape wide = tiny_usual;
    wide.key = 32;
    tiny_model t;
    tiny_make(&t, TINY_QWEN3, &wide);
    hy_error err;
    tiny y;
    assert_ok(load_with(&t, "cpu", &y, &err), &err);
    hy_session *exact = NULL;
    for (size_t i = 0; i < 9; i++) {
        const size_t k = i / 3, v = i % 3;
        char name[8];
        snprintf(name, sizeof name, "%s", types[k]);
        const hy_session_opts o = {.size = sizeof o,
                                   .n_ctx = LONG,
                                   .n_batch = 5,
                                   .cache_type_k = name,
                                   .cache_type_v = types[v]};
        hy_session *s, *fork;
        assert_ok(hy_session_create(y.model, &o, &s, &err), &err);
        memset(name, '?', sizeof name - 1); /* sessions do not keep their caller's names */
        assert_int_equal(hy_session_kv_bytes_per_token(s), 2 * 2 * (bytes[k] + bytes[v]));
        append(s, 0, 40);
        while (step_ok(s).pending > 0) {
        }
        assert_ok(hy_session_fork(s, &fork, &err), &err);
        assert_int_equal(hy_session_kv_bytes_per_token(fork), hy_session_kv_bytes_per_token(s));
        assert_same_place(s, fork);
        append(s, 40, 1);
        append(fork, 40, 1);
        (void)step_ok(s);
        (void)step_ok(fork);
        assert_memory_equal(hy_session_logits(s, 0), hy_session_logits(fork, 0),
                            VOCAB * sizeof(float));
        hy_session_destroy(fork);
        if (i == 0) {
            exact = s;
            continue;
        }
        const double d = distance(s, exact);
        assert_true(d > 0 && d < fmax(near[k], near[v]));
        hy_session_destroy(s);
    }
    hy_session_destroy(exact);
    close_tiny(&y);
    tiny_free(&t);
}

static void steps_without_a_size_take_512_tokens_or_64(void **state)
{
    (void)state;
    static hy_token ids[600];
    tiny y = open_tiny(TINY_RWKV7);
    for (int all = 0; all < 2; all++) {
        hy_error err;
        hy_session *s = new_session(y.model, 0, 0, all);
        assert_ok(hy_session_append(s, ids, HY_COUNT(ids), &err), &err);
        assert_int_equal(step_ok(s).done, all ? 64 : 512);
        hy_session_destroy(s);
    }
    close_tiny(&y);
}

static void a_long_context_of_the_model_is_not_all_reserved(void **state)
{
    (void)state;
    tiny_model t;
    tiny_make(&t, TINY_QWEN3, &tiny_usual);
    tiny_set_u32(&t, ".context_length", 1 << 20);
    tiny y = open_model(&t);
    hy_session *s = new_session(y.model, 0, 0, false);
    assert_int_equal(hy_session_n_ctx(s), 4096);
    hy_session_destroy(s);
    close_tiny(&y);
    tiny_free(&t);
}

static void appending_is_checked(void **state)
{
    (void)state;
    hy_error err;
    hy_session *s;
    tiny y = open_tiny(TINY_QWEN2);
    const hy_session_opts o = {.size = sizeof o, .n_ctx = 10, .n_batch = 4};
    assert_ok(hy_session_create(y.model, &o, &s, &err), &err);
    const hy_token wrong[] = {1, 31, 32}, negative[] = {-1}, many[11] = {0};
    assert_fails(hy_session_append(s, wrong, 3, &err), HY_E_ARG, &err,
                 "token 2 is 32, the vocabulary has 32");
    assert_fails(hy_session_append(s, negative, 1, &err), HY_E_ARG, &err, "token 0 is -1");
    assert_fails(hy_session_append(s, many, 11, &err), HY_E_CONTEXT, &err,
                 "11 tokens after 0 do not fit into the context of 10");
    assert_fails(hy_session_append(s, many, SIZE_MAX, &err), HY_E_CONTEXT, &err, "context of 10");
    assert_int_equal(step_ok(s).done, 0); /* nothing was queued by any of them */
    assert_ok(hy_session_append(s, NULL, 0, &err), &err);
    append(s, 0, 6);
    assert_int_equal(step_ok(s).done, 4);
    assert_fails(hy_session_append(s, many, 5, &err), HY_E_CONTEXT, &err,
                 "5 tokens after 6 do not fit into the context of 10");
    append(s, 6, 4);
    assert_int_equal(step_ok(s).done, 4);
    assert_int_equal(step_ok(s).done, 2);
    assert_fails(hy_session_append(s, many, 1, &err), HY_E_CONTEXT, &err, "1 tokens after 10");
    size_t n;
    const hy_token *ids = hy_session_tokens(s, &n);
    assert_int_equal(n, 10);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ids[i], token_at(i));
    }
    hy_session_reset(s);
    append(s, 0, 10);
    hy_session_destroy(s);
    close_tiny(&y);
}

static void a_step_without_tokens_leaves_the_logits(void **state)
{
    (void)state;
    tiny y = open_tiny(TINY_RWKV7);
    hy_session *s = new_session(y.model, 0, 0, true);
    hy_step step = step_ok(s);
    assert_true(step.done == 0 && step.n_logits == 0 && step.pending == 0);
    assert_null(hy_session_logits(s, 0));
    append(s, 0, 3);
    step_ok(s);
    float before[3][VOCAB];
    memcpy(before, hy_session_logits(s, 0), sizeof before);
    step = step_ok(s);
    assert_true(step.done == 0 && step.n_logits == 3 && step.pending == 0);
    assert_memory_equal(before, hy_session_logits(s, 0), sizeof before);
    assert_ptr_equal(hy_session_logits(s, 2), hy_session_logits(s, 0) + 2 * VOCAB);
    assert_null(hy_session_logits(s, 3));
    hy_session_destroy(s);
    close_tiny(&y);
}

static void sampling_needs_logits(void **state)
{
    (void)state;
    hy_error err;
    hy_token id = 5;
    hy_sampler *sampler;
    const hy_sampler_opts opts = {.size = sizeof opts, .greedy = true};
    tiny y = open_tiny(TINY_LLAMA);
    hy_session *s = new_session(y.model, 2, 1, false);
    assert_ok(hy_sampler_create(&opts, NULL, NULL, &sampler, &err), &err);
    assert_fails(hy_session_sample(s, sampler, &id, &err), HY_E_ARG, &err, "no logits");
    assert_int_equal(id, HY_TOKEN_NONE);
    append(s, 0, 3);
    step_ok(s); /* one is still pending */
    assert_fails(hy_session_sample(s, sampler, &id, &err), HY_E_ARG, &err, "no logits");
    step_ok(s);
    assert_ok(hy_session_sample(s, sampler, &id, &err), &err);
    const float *l = hy_session_logits(s, 0);
    for (int i = 0; i < VOCAB; i++) {
        assert_true(l[i] < l[id] || (l[i] == l[id] && i >= id));
    }
    assert_int_equal(position(s), 3); /* sampled tokens are not appended */
    hy_session_reset(s);
    assert_fails(hy_session_sample(s, sampler, &id, &err), HY_E_ARG, &err, "no logits");
    hy_sampler_destroy(sampler);
    hy_session_destroy(s);
    close_tiny(&y);
}

/* ---- cancelling */

static void a_cancel_before_a_step_leaves_everything(void **state)
{
    (void)state;
    hy_error err;
    hy_step step;
    tiny y = open_tiny(TINY_LLAMA);
    hy_session *s = new_session(y.model, 0, 0, false);
    append(s, 0, 3);
    step_ok(s);
    float before[VOCAB];
    memcpy(before, hy_session_logits(s, 0), sizeof before);
    append(s, 3, 1);
    hy_session_cancel(s);
    assert_fails(hy_session_step(s, &step, &err), HY_E_CANCELLED, &err, "cancelled");
    assert_true(step.done == 0 && step.pending == 1 && step.n_logits == 1);
    assert_memory_equal(before, hy_session_logits(s, 0), sizeof before);
    assert_int_equal(position(s), 3);
    assert_int_equal(step_ok(s).done, 1); /* one cancel, one step */
    hy_session_destroy(s);
    close_tiny(&y);
}

typedef struct canceller {
    hy_session *s;
    int at, seen;
} canceller;

static void cancel_at(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                      const float *data)
{
    canceller *c = user;
    (void)name;
    (void)layer;
    assert_true(n > 0 && n_cols > 0 && data != NULL);
    if (c->seen++ == c->at) {
        hy_session_cancel(c->s);
    }
}

static void a_cancel_within_a_step_changes_nothing(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        static float logits[LONG][VOCAB];
        tiny y = open_tiny(arch);
        hy_session *reference = serial(y.model, logits);
        hy_session *s = new_session(y.model, 3, 2, false);
        append(s, 0, 5);
        while (step_ok(s).pending > 0) {
        }
        size_t n_before, n_after;
        void *before = image_of(s, &n_before);
        const size_t logits_at =
            n_before; /* of this length: below, the image is one without logits */
        append(s, 5, 3);
        canceller c = {.s = s};
        hy_error err;
        hy_step step;
        assert_ok(hy_session_set_trace(s, cancel_at, &c, &err), &err);
        int cancelled = 0;
        for (;; cancelled++) {
            c.at = cancelled;
            c.seen = 0;
            const hy_status status = hy_session_step(s, &step, &err);
            if (status == HY_OK) {
                break; /* after the last operation the step is complete */
            }
            assert_fails(status, HY_E_CANCELLED, &err, "cancelled");
            assert_true(step.done == 0 && step.pending == 3 && step.n_logits == 0);
            assert_int_equal(position(s), 5);
            assert_null(hy_session_logits(s, 0));
            void *after = image_of(s, &n_after);
            /* The state's numbers are at the end, in front of the checksum; the logits of the last
             * step are gone. */
            assert_int_equal(n_after, logits_at - VOCAB * sizeof(float));
            const size_t numbers = n_after - 72 - 5 * sizeof(hy_token) - 8;
            assert_memory_equal((char *)after + n_after - 8 - numbers,
                                (char *)before + n_before - 8 - numbers, numbers);
            free(after);
        }
        assert_true(cancelled > 30);
        assert_memory_equal(hy_session_logits(s, 0), logits[7], sizeof *logits);
        /* That cancel came too late for its step and ends the next one. */
        assert_ok(hy_session_set_trace(s, NULL, NULL, &err), &err);
        append(s, 8, LONG - 8);
        assert_fails(hy_session_step(s, &step, &err), HY_E_CANCELLED, &err, NULL);
        while (step_ok(s).pending > 0) {
        }
        assert_same_place(s, reference);
        free(before);
        hy_session_destroy(s);
        hy_session_destroy(reference);
        close_tiny(&y);
    }
}

/* ---- tracing */

typedef struct counter {
    uint32_t ops, n_cols, outputs;
    const float *last;
} counter;

static void count_ops(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                      const float *data)
{
    counter *c = user;
    assert_true(layer >= -1 && layer < 2);
    assert_true((strncmp(name, "blk.", 4) == 0) == (layer >= 0));
    c->ops++;
    c->outputs += n_cols != c->n_cols;
    c->last = data + (size_t)n * (n_cols - 1);
}

static void every_operation_can_be_traced(void **state)
{
    (void)state;
    hy_error err;
    tiny y = open_tiny(TINY_QWEN3);
    hy_plan_info plan = {.size = sizeof plan};
    hy_model_plan(y.model, &plan);
    hy_session *s = new_session(y.model, 4, 1, false);
    counter c = {.n_cols = 4};
    assert_ok(hy_session_set_trace(s, count_ops, &c, &err), &err);
    append(s, 0, 8);
    step_ok(s); /* without logits: what only they need does not run */
    assert_true(c.ops < plan.n_ops && c.outputs == 0);
    const uint32_t rest = plan.n_ops - c.ops;
    c = (counter){.n_cols = 4};
    step_ok(s);
    assert_int_equal(c.ops, plan.n_ops);
    assert_int_equal(c.outputs, rest);
    assert_ptr_equal(c.last, hy_session_logits(s, 0));
    hy_session_destroy(s);
    close_tiny(&y);
}

/* ---- times of phases */

/* The model's backend with a step that says when it ran which phase. */
static const hy__backend *timed;
static hy__backend timing;
static const hy_model *timed_model;

static hy_status timed_step(void *session, const hy__step_args *args, hy_error *err)
{
    hy__step_args plain = *args;
    plain.profile = NULL;
    const hy_status status = timed->step(session, &plain, err);
    const hy__fusion *f = &timed_model->fusion;
    for (uint32_t i = 0; i < f->n_phases && args->profile; i++) {
        if (f->phases[i].cols != HY__PER_OUT || args->n_out > 0) {
            args->profile(args->profile_user, i, args->n, 10 * i, 10 * i + 7);
        }
    }
    return status;
}

typedef struct clock_card {
    uint32_t n, n_tokens, last;
} clock_card;

static void stamp(void *user, uint32_t phase, uint32_t n_tokens, uint64_t begin_ns, uint64_t end_ns)
{
    clock_card *c = user;
    assert_true(c->n == 0 || phase > c->last);
    assert_true(begin_ns == 10 * (uint64_t)phase && end_ns == begin_ns + 7);
    c->n++;
    c->n_tokens = n_tokens;
    c->last = phase;
}

static void phases_can_be_timed_where_a_backend_runs_them(void **state)
{
    (void)state;
    hy_error err;
    tiny y = open_tiny(TINY_RWKV7);
    hy_plan_info plan = {.size = sizeof plan};
    hy_model_plan(y.model, &plan);
    timed_model = y.model;
    timed = y.model->backend;
    timing = *timed;
    timing.profiles = false;
    timing.step = timed_step;
    y.model->backend = &timing;
    hy_session *s = new_session(y.model, 4, 1, false);
    clock_card c = {0, 0, 0};
    assert_fails(hy_session_set_profile(s, stamp, &c, &err), HY_E_UNSUPPORTED, &err,
                 "does not run phases");
    append(s, 0, 4);
    step_ok(s);
    assert_int_equal(c.n, 0);
    assert_ok(hy_session_set_profile(s, NULL, NULL, &err), &err);
    timing.profiles = true;
    assert_ok(hy_session_set_profile(s, stamp, &c, &err), &err);
    append(s, 4, 7);
    step_ok(s); /* four tokens whose logits nobody wants */
    assert_true(c.n > 0 && c.n < plan.n_phases && c.n_tokens == 4);
    c = (clock_card){0, 0, 0};
    step_ok(s);
    assert_true(c.n == plan.n_phases && c.n_tokens == 3);
    c = (clock_card){0, 0, 0};
    assert_ok(hy_session_set_profile(s, NULL, NULL, &err), &err);
    append(s, 11, 1);
    step_ok(s);
    assert_int_equal(c.n, 0);
    hy_session_destroy(s);
    y.model->backend = timed;
    close_tiny(&y);
}

/* ---- numbers that are none */

/* Puts `bad` into each matrix and vector in turn, where the second of two tokens meets it. */
static void broken_weights_are_an_error(tiny_arch arch, float bad)
{
    tiny_model names;
    tiny_make(&names, arch, &tiny_usual);
    for (size_t i = 0; i < names.n_tensors; i++) {
        hy_error err;
        hy_step step;
        tiny_model t;
        tiny_make(&t, arch, &tiny_usual);
        t.tensors[i].values[0] = bad;
        tiny y = open_model(&t);
        hy_session *s = new_session(y.model, 0, 0, false);
        const hy_token ids[] = {3, 0};
        assert_ok(hy_session_append(s, ids, 2, &err), &err);
        const hy_status status = hy_session_step(s, &step, &err);
        if (status != HY_E_NUMERIC) {
            print_error("%s\n", names.tensors[i].name);
        }
        assert_fails(status, HY_E_NUMERIC, &err, "after position 1 is not a finite number");
        assert_true(step.done == 0 && step.pending == 2 && step.n_logits == 0);
        assert_int_equal(position(s), 0);
        assert_null(hy_session_logits(s, 0));
        /* It is as new: the same error again, and not what the failed step left. */
        hy_session *fresh = new_session(y.model, 0, 0, false);
        assert_same_place(s, fresh);
        hy_session_destroy(fresh);
        hy_session_destroy(s);
        close_tiny(&y);
        tiny_free(&t);
    }
    tiny_free(&names);
}

static void broken_numbers_are_an_error(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        broken_weights_are_an_error(arch, NAN);
    }
}

static void infinite_logits_are_an_error(void **state)
{
    (void)state;
    hy_error err;
    hy_step step;
    tiny_model t;
    tiny_make(&t, TINY_LLAMA, &tiny_usual);
    tiny_add(&t, "output.bias", VOCAB, 0)->values[7] = (float)HUGE_VAL;
    tiny y = open_model(&t);
    hy_session *s = new_session(y.model, 0, 0, true);
    append(s, 0, 2);
    assert_fails(hy_session_step(s, &step, &err), HY_E_NUMERIC, &err,
                 "the logit of token 7 after position 0 is not a finite");
    hy_session_destroy(s);
    close_tiny(&y);
    tiny_free(&t);
}

/* ---- reset, fork, snapshot, restore */

static void a_reset_session_is_as_new(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        static float logits[LONG][VOCAB];
        tiny y = open_tiny(arch);
        hy_session *reference = serial(y.model, logits), *fresh = new_session(y.model, 4, 1, false);
        hy_session *s = new_session(y.model, 4, 1, false);
        append(s, 11, 20);
        step_ok(s);
        hy_session_reset(s);
        assert_int_equal(position(s), 0);
        assert_null(hy_session_logits(s, 0));
        assert_int_equal(step_ok(s).done, 0);
        assert_same_place(s, fresh);
        append(s, 0, LONG);
        while (step_ok(s).pending > 0) {
        }
        assert_same_place(s, reference);
        hy_session_destroy(s);
        hy_session_destroy(fresh);
        hy_session_destroy(reference);
        close_tiny(&y);
    }
}

static void forks_go_their_own_way(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        static float logits[LONG][VOCAB];
        hy_error err;
        tiny y = open_tiny(arch);
        hy_session *reference = serial(y.model, logits), *fork;
        hy_session *s = new_session(y.model, 6, 2, true);
        append(s, 0, 6);
        step_ok(s);
        append(s, 30, 2); /* pending: not part of the fork */
        assert_ok(hy_session_fork(s, &fork, &err), &err);
        assert_int_equal(position(fork), 6);
        assert_int_equal(step_ok(fork).pending, 0);
        assert_memory_equal(hy_session_logits(fork, 0), logits[5], sizeof *logits);
        assert_null(hy_session_logits(fork, 1)); /* of the last token only */
        step_ok(s);
        hy_session_destroy(s);
        append(fork, 6, LONG - 6);
        hy_step step = step_ok(fork);
        assert_true(step.done == 6 && step.n_logits == 6); /* the same options */
        while (step_ok(fork).pending > 0) {
        }
        assert_same_place(fork, reference);
        hy_session_destroy(fork);
        hy_session_destroy(reference);
        close_tiny(&y);
    }
}

static void states_move_between_sessions(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        static float logits[LONG][VOCAB];
        hy_error err;
        hy_state *snapshot;
        tiny y = open_tiny(arch);
        hy_session *reference = serial(y.model, logits);
        hy_session *s = new_session(y.model, 0, 1, false),
                   *other = new_session(y.model, 3, 3, true);
        append(s, 0, 9);
        step_ok(s);
        assert_ok(hy_session_snapshot(s, &snapshot, &err), &err);
        assert_int_equal(hy_state_n_tokens(snapshot), 9);
        append(s, 40, 5);
        step_ok(s);
        hy_session_destroy(s); /* a state outlives its session */
        append(other, 50, 7);
        step_ok(other);
        for (int twice = 0; twice < 2; twice++) { /* a state can be used again */
            assert_ok(hy_session_restore(other, snapshot, &err), &err);
            assert_int_equal(position(other), 9);
            assert_int_equal(step_ok(other).done, 0); /* its pending tokens are gone */
            assert_memory_equal(hy_session_logits(other, 0), logits[8], sizeof *logits);
            append(other, 9, LONG - 9);
            while (step_ok(other).pending > 0) {
            }
            assert_same_place(other, reference);
        }
        hy_session_destroy(other);
        hy_session_destroy(reference);
        hy_state_destroy(snapshot);
        close_tiny(&y);
    }
    hy_state_destroy(NULL);
}

static void restoring_is_checked(void **state)
{
    (void)state;
    hy_error err;
    hy_state *snapshot;
    tiny_model t;
    tiny_make(&t, TINY_LLAMA, &tiny_usual);
    tiny y = open_model(&t);
    tiny_find(&t, "blk.0.attn_norm.weight")->values[0] += 0.5f;
    tiny z = open_model(&t);
    hy_session *s = new_session(y.model, 0, 0, false), *foreign = new_session(z.model, 0, 0, false),
               *small;
    const hy_session_opts o = {.size = sizeof o, .n_ctx = 8};
    assert_ok(hy_session_create(y.model, &o, &small, &err), &err);
    append(s, 0, 9);
    step_ok(s);
    assert_ok(hy_session_snapshot(s, &snapshot, &err), &err);
    append(foreign, 0, 4);
    append(small, 0, 4);
    step_ok(small);
    append(small, 4, 2);
    assert_fails(hy_session_restore(foreign, snapshot, &err), HY_E_MISMATCH, &err, "another model");
    assert_fails(hy_session_restore(small, snapshot, &err), HY_E_CONTEXT, &err,
                 "9 tokens do not fit into the context of 8");
    /* Both are as they were, pending tokens included. */
    assert_int_equal(step_ok(foreign).done, 4);
    assert_int_equal(position(small), 4);
    assert_non_null(hy_session_logits(small, 0));
    assert_int_equal(step_ok(small).done, 2);
    /* A forged fingerprint does not make the numbers fit. */
    snapshot->per_position++;
    assert_fails(hy_session_restore(s, snapshot, &err), HY_E_MISMATCH, &err, "another shape");
    snapshot->per_position--;
    hy_session_destroy(s);
    hy_session_destroy(foreign);
    hy_session_destroy(small);
    hy_state_destroy(snapshot);
    close_tiny(&y);
    close_tiny(&z);
    tiny_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_and_threads_change_nothing),
        cmocka_unit_test(rows_from_a_position_on),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(types_of_caches_are_checked),
        cmocka_unit_test(caches_of_every_type_compute_nearly_the_same),
        cmocka_unit_test(steps_without_a_size_take_512_tokens_or_64),
        cmocka_unit_test(a_long_context_of_the_model_is_not_all_reserved),
        cmocka_unit_test(appending_is_checked),
        cmocka_unit_test(a_step_without_tokens_leaves_the_logits),
        cmocka_unit_test(sampling_needs_logits),
        cmocka_unit_test(a_cancel_before_a_step_leaves_everything),
        cmocka_unit_test(a_cancel_within_a_step_changes_nothing),
        cmocka_unit_test(every_operation_can_be_traced),
        cmocka_unit_test(phases_can_be_timed_where_a_backend_runs_them),
        cmocka_unit_test(broken_numbers_are_an_error),
        cmocka_unit_test(infinite_logits_are_an_error),
        cmocka_unit_test(a_reset_session_is_as_new),
        cmocka_unit_test(forks_go_their_own_way),
        cmocka_unit_test(states_move_between_sessions),
        cmocka_unit_test(restoring_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
