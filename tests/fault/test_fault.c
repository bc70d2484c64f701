/* test_fault.c: each allocation, file call and thread start of the library's main roads made to
 * fail in turn.
 *
 * A road is a function that goes from an empty environment to a result and frees everything on its
 * way back, whatever happened.  It is walked with call 1 failing, then call 2, until it arrives
 * without a failure.  Each time: an error with a sentence, nothing left allocated, no file left
 * behind.  Only one kind of failure may go unnoticed, that of closing a file that was read; then
 * the result has to be right. */
#include "base/base.h"
#include "halyard/unstable.h"
#include "support/support.h"
#include "support/tiny_models.h"

typedef struct result {
    size_t n;
    uint64_t crc;
} result;

static void note(result *r, const void *data, size_t n)
{
    r->crc = hy__crc64(r->crc, data, n);
    r->n += n;
}

typedef hy_status (*road)(const hy_env *env, void *what, result *r, hy_error *err);

/* `stride`: every how many calls one fails.  `unnoticed`: most closes of files that were read. */
static void walk(road go, void *what, uint64_t stride, unsigned unnoticed)
{
    failing_env env;
    hy_error err;
    result expected = {0};
    failing_env_init(&env, 0);
    assert_ok(go(&env.env, what, &expected, &err), &err);
    assert_int_equal(env.live_blocks, 0);
    assert_true(expected.n > 0);
    const uint64_t calls = env.calls;
    assert_true(calls > 10);
    unsigned passed = 0;
    for (uint64_t at = 1; at <= calls; at += stride) {
        result r = {0};
        memset(&err, 0, sizeof err);
        failing_env_init(&env, at);
        const hy_status status = go(&env.env, what, &r, &err);
        assert_int_equal(env.failed, 1);
        if (env.live_blocks != 0) {
            print_error("call %llu: %zu blocks of %zu bytes are left\n", (unsigned long long)at,
                        env.live_blocks, env.live_bytes);
        }
        assert_int_equal(env.live_blocks, 0);
        if (status == HY_OK) {
            passed++;
            assert_int_equal(r.n, expected.n);
            assert_true(r.crc == expected.crc);
            continue;
        }
        if (status != HY_E_NOMEM && status != HY_E_IO && status != HY_E_THREAD) {
            print_error("call %llu of %llu: %s\n", (unsigned long long)at,
                        (unsigned long long)calls, err.text);
        }
        assert_true(status == HY_E_NOMEM || status == HY_E_IO || status == HY_E_THREAD);
        assert_int_equal(err.code, status);
        assert_true(err.text[0] != '\0');
    }
    if (passed > unnoticed) {
        print_error("%u failures went unnoticed\n", passed);
    }
    assert_true(passed <= unnoticed);
}

/* ---- load, prefill, decode, snapshot, save, load the state, restore, decode */

typedef struct journey {
    const char *model, *state;
    bool no_mmap;
    hy_token first; /* of the prompt */
} journey;

static hy_status decode(hy_session *s, const hy_sampler *sampler, result *r, hy_error *err)
{
    for (int i = 0; i < 3; i++) {
        hy_token id;
        hy_step step;
        HY_TRY(hy_session_sample(s, sampler, &id, err));
        HY_TRY(hy_session_append(s, &id, 1, err));
        HY_TRY(hy_session_step(s, &step, err));
        note(r, &id, sizeof id);
    }
    return HY_OK;
}

static hy_status prefill(hy_session *s, hy_token first, hy_error *err)
{
    hy_token ids[9];
    hy_step step;
    for (int i = 0; i < 9; i++) {
        ids[i] = first + i;
    }
    HY_TRY(hy_session_append(s, ids, HY_COUNT(ids), err));
    do {
        HY_TRY(hy_session_step(s, &step, err));
    } while (step.pending > 0);
    return HY_OK;
}

/* From a session through a file to another one. */
static hy_status move_on(const hy_session *s, const char *path, hy_state **state, hy_state **loaded,
                         hy_session **other, hy_session **fork, const hy_session_opts *opts,
                         hy_error *err)
{
    const hy_model *m = hy_session_model(s);
    HY_TRY(hy_session_snapshot(s, state, err));
    HY_TRY(hy_state_save(*state, path, err));
    HY_TRY(hy_state_load(m, path, loaded, err));
    HY_TRY(hy_session_create(m, opts, other, err));
    HY_TRY(hy_session_restore(*other, *loaded, err));
    return hy_session_fork(*other, fork, err);
}

static hy_status whole_journey(const hy_env *env, void *what, result *r, hy_error *err)
{
    const journey *j = what;
    const hy_model_opts model_opts = {.size = sizeof model_opts, .no_mmap = j->no_mmap};
    const hy_session_opts opts = {.size = sizeof opts, .n_batch = 4, .n_threads = 2, .n_ctx = 100};
    const hy_sampler_opts sampler_opts = {
        .size = sizeof sampler_opts, .seed = 3, .repeat_penalty = 1.1f};
    hy_model *m = NULL;
    hy_sampler *sampler = NULL;
    hy_session *s = NULL, *other = NULL, *fork = NULL;
    hy_state *state = NULL, *loaded = NULL;
    hy_status status = hy_model_load(j->model, &model_opts, env, &m, err);
    if (status == HY_OK) {
        status = hy_sampler_create(&sampler_opts, hy_model_tokenizer(m), env, &sampler, err);
    }
    if (status == HY_OK) {
        status = hy_session_create(m, &opts, &s, err);
    }
    if (status == HY_OK) {
        status = prefill(s, j->first, err);
    }
    if (status == HY_OK) {
        status = decode(s, sampler, r, err);
    }
    if (status == HY_OK) {
        status = move_on(s, j->state, &state, &loaded, &other, &fork, &opts, err);
    }
    if (status == HY_OK) {
        status = decode(fork, sampler, r, err);
    }
    hy_session_destroy(fork);
    hy_session_destroy(other);
    hy_session_destroy(s);
    hy_state_destroy(loaded);
    hy_state_destroy(state);
    hy_sampler_destroy(sampler);
    hy_model_destroy(m);
    return status;
}

static const char *tiny_on_disk(tiny_arch arch, const tiny_shape *shape)
{
    char name[32];
    size_t len;
    snprintf(name, sizeof name, "%s.gguf", tiny_arch_name(arch));
    const char *path = temp_path(name);
    void *bytes = tiny_file(arch, shape, &len);
    write_file(path, bytes, len);
    free(bytes);
    return path;
}

static void the_whole_journey(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
            journey j = {tiny_on_disk(arch, &tiny_speaking), temp_path("journey.state"), no_mmap,
                         10};
            walk(whole_journey, &j, arch == TINY_RWKV7 || arch == TINY_LLAMA ? 1 : 5, 2);
        }
    }
}

static void the_embedded_model(void **state)
{
    (void)state;
    journey j = {source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), temp_path("embedded.state"),
                 false, 33};
    walk(whole_journey, &j, 401, 2);
}

/* ---- threads that cannot start */

static hy_status no_thread(void *user, void (*run)(void *arg), void *arg, void **thread,
                           hy_error *err)
{
    (void)user;
    (void)run;
    (void)arg;
    *thread = NULL;
    return hy__fail(err, HY_E_THREAD, "no thread today");
}

/* Packing goes on with those there are; a session has the threads it was asked for or none. */
static void loading_needs_no_threads(void **state)
{
    (void)state;
    hy_error err;
    hy_env env;
    hy_model *m;
    hy_session *s;
    const hy_session_opts one = {.size = sizeof one, .n_threads = 1};
    const hy_session_opts two = {.size = sizeof two, .n_threads = 2};
    hy__env_resolve(&env, NULL);
    env.thread_start = no_thread;
    assert_ok(
        hy_model_load(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), NULL, &env, &m, &err),
        &err);
    assert_ok(hy_session_create(m, &one, &s, &err), &err);
    assert_ok(prefill(s, 33, &err), &err);
    hy_session_destroy(s);
    assert_fails(hy_session_create(m, &two, &s, &err), HY_E_THREAD, &err, "no thread today");
    hy_model_destroy(m);
}

/* ---- quantizing */

static hy_status quantize(const hy_env *env, void *what, result *r, hy_error *err)
{
    const hy_quantize_opts opts = {.size = sizeof opts, .n_threads = 2};
    const char *out = temp_path("quantized.gguf");
    remove(out);
    const hy_status status = hy_quantize_file(what, out, "Q8_0", &opts, env, err);
    FILE *f = fopen(out, "rb"), *part = fopen(temp_path("quantized.gguf.part"), "rb");
    assert_int_equal(f != NULL, status == HY_OK); /* complete or not there */
    assert_null(part);
    if (f) {
        size_t n;
        fclose(f);
        char *data = read_file(out, &n);
        note(r, data, n);
        free(data);
    }
    return status;
}

static void quantizing(void **state)
{
    (void)state;
    tiny_shape shape = tiny_speaking;
    shape.c = shape.f = 32;
    char path[4096];
    snprintf(path, sizeof path, "%s", tiny_on_disk(TINY_LLAMA, &shape));
    walk(quantize, path, 1, 2);
}

/* ---- text */

static hy_status speak(const hy_gguf *g, const hy_env *env, hy_tokenizer **t, hy_sampler **sampler,
                       hy_detok **d, result *r, hy_error *err)
{
    static const char text[] = "ab  a\xc3\xa9 <s>b";
    const hy_sampler_opts opts = {.size = sizeof opts, .mirostat = 2, .seed = 5};
    const hy_chat_message messages[] = {{"user", "ab"}, {"assistant", "b"}, {"user", "ba"}};
    hy_token *ids;
    char *back;
    size_t n, len;
    HY_TRY(hy_tokenizer_create(g, env, t, err));
    HY_TRY(hy_tokenize(*t, text, sizeof text - 1,
                       HY_TOKENIZE_ADD_SPECIAL | HY_TOKENIZE_PARSE_SPECIAL, &ids, &n, err));
    note(r, ids, n * sizeof *ids);
    hy_status status = hy_detokenize(*t, ids, n, HY_DETOKENIZE_SPECIAL, &back, &len, err);
    if (status == HY_OK) {
        note(r, back, len);
        hy_tokenizer_free(*t, back);
        status = hy_detok_create(*t, 0, d, err);
    }
    for (size_t i = 0; i < n && status == HY_OK; i++) {
        hy_str piece;
        status = hy_detok_push(*d, ids[i], &piece, err);
        if (status == HY_OK) {
            note(r, piece.data, piece.len);
        }
    }
    hy_tokenizer_free(*t, ids);
    HY_TRY(status);
    for (size_t i = 0; hy_chat_format_at(i); i++) {
        HY_TRY(hy_chat_render(hy_chat_format_at(i), *t, messages, 3, true, &back, &len, err));
        note(r, back, len);
        hy_tokenizer_free(*t, back);
        HY_TRY(hy_chat_encode(hy_chat_format_at(i), *t, messages, 3, true, true, &ids, &n, err));
        note(r, ids, n * sizeof *ids);
        hy_tokenizer_free(*t, ids);
    }
    float logits[264];
    for (int i = 0; i < 264; i++) {
        logits[i] = (float)(i % 17);
    }
    HY_TRY(hy_sampler_create(&opts, *t, env, sampler, err));
    float mu = 0;
    hy_token id;
    HY_TRY(hy_sampler_pick(*sampler, logits, 264, NULL, 0, 0, &mu, &id, err));
    note(r, &id, sizeof id);
    return HY_OK;
}

static hy_status text_road(const hy_env *env, void *what, result *r, hy_error *err)
{
    hy_tokenizer *t = NULL;
    hy_sampler *sampler = NULL;
    hy_detok *d = NULL;
    const hy_status status = speak(what, env, &t, &sampler, &d, r, err);
    hy_detok_destroy(d);
    hy_sampler_destroy(sampler);
    hy_tokenizer_destroy(t);
    return status;
}

static void text(void **state)
{
    (void)state;
    hy_error err;
    hy_gguf *g;
    assert_ok(hy_gguf_open(tiny_on_disk(TINY_LLAMA, &tiny_speaking), NULL, NULL, &g, &err), &err);
    walk(text_road, g, 1, 0);
    hy_gguf_close(g);
}

/* ---- plans */

static hy_status look_at(const hy_model *m, uint32_t phase, hy_plan_role role, result *r,
                         hy_error *err)
{
    hy_plan_tree tree = {.size = sizeof tree};
    hy_status status;
    for (uint32_t k = 0; (status = hy_model_plan_tree(m, phase, role, k, &tree, err)) == HY_OK;
         k++) {
        note(r, tree.text, strlen(tree.text));
        hy_model_plan_free(m, tree.text);
    }
    if (status != HY_E_NOT_FOUND) {
        return status;
    }
    char *kernel;
    HY_TRY(hy_model_plan_kernel(m, phase, role, "wgsl", &kernel, err));
    if (kernel) {
        note(r, kernel, strlen(kernel));
    }
    hy_model_plan_free(m, kernel);
    return HY_OK;
}

static hy_status plan_road(const hy_env *env, void *what, result *r, hy_error *err)
{
    const hy_model_opts opts = {.size = sizeof opts, .backend = "null", .no_fuse = "norm"};
    hy_plan_info info = {.size = sizeof info};
    hy_model *m;
    hy_status status = hy_model_load(what, &opts, env, &m, err);
    if (status != HY_OK) {
        return status;
    }
    hy_model_plan(m, &info);
    for (uint32_t i = 0; i < info.n_phases && status == HY_OK; i++) {
        status = look_at(m, i, HY_PROLOGUE, r, err);
        if (status == HY_OK) {
            status = look_at(m, i, HY_EPILOGUE, r, err);
        }
    }
    hy_model_destroy(m);
    return status;
}

static void plans(void **state)
{
    (void)state;
    char path[4096];
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        snprintf(path, sizeof path, "%s", tiny_on_disk(arch, &tiny_usual));
        walk(plan_road, path, 1, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_journey),
        cmocka_unit_test(the_embedded_model),
        cmocka_unit_test(loading_needs_no_threads),
        cmocka_unit_test(quantizing),
        cmocka_unit_test(text),
        cmocka_unit_test(plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
