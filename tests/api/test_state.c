/* test_state.c: states as files and bytes: the format as docs/formats/state.md tells it, and
 * everything that can be wrong with one. */
#include <math.h>

#include "session/session.h"
#include "support/support.h"
#include "support/tiny_models.h"

typedef struct tiny {
    void *bytes;
    hy_model *model;
    hy_model_info info;
} tiny;

static tiny open_tiny(tiny_arch arch, const tiny_shape *shape)
{
    tiny y = {.info.size = sizeof y.info};
    hy_error err;
    size_t len;
    y.bytes = tiny_file(arch, shape, &len);
    const hy_model_opts opts = {.size = sizeof opts, .backend = "cpu"};
    assert_ok(hy_model_load_memory(y.bytes, len, &opts, NULL, &y.model, &err), &err);
    hy_model_get_info(y.model, &y.info);
    return y;
}

static void close_tiny(tiny *y)
{
    hy_model_destroy(y->model);
    free(y->bytes);
}

/* A session after n tokens. */
static hy_session *session_at(const hy_model *m, size_t n)
{
    hy_error err;
    hy_session *s;
    hy_step step;
    hy_token ids[64];
    for (size_t i = 0; i < n; i++) {
        ids[i] = (hy_token)((i * 5 + 3) % 8);
    }
    assert_ok(hy_session_create(m, NULL, &s, &err), &err);
    assert_ok(hy_session_append(s, ids, n, &err), &err);
    assert_ok(hy_session_step(s, &step, &err), &err);
    return s;
}

/* The state of a session as a file's bytes; free() them. */
static uint8_t *bytes_of(const hy_session *s, size_t *n)
{
    hy_error err;
    hy_state *state;
    void *data;
    assert_ok(hy_session_snapshot(s, &state, &err), &err);
    assert_ok(hy_state_to_bytes(state, &data, n, &err), &err);
    uint8_t *copy = malloc(*n + 16);
    assert_non_null(copy);
    memcpy(copy, data, *n);
    hy_state_free_bytes(state, data);
    hy_state_destroy(state);
    return copy;
}

static hy_status read_bytes(const hy_model *m, const void *data, size_t n, hy_error *err)
{
    hy_state *state = NULL;
    /* In a block of its own size, so that a sanitizer sees every byte read behind the end. */
    void *block = malloc(n ? n : 1);
    assert_non_null(block);
    memcpy(block, data, n);
    const hy_status status = hy_state_from_bytes(m, block, n, &state, err);
    assert_int_equal(state != NULL, status == HY_OK);
    hy_state_destroy(state);
    free(block);
    return status;
}

static hy_token draw(hy_session *s, const hy_sampler *sampler)
{
    hy_error err;
    hy_step step;
    hy_token id;
    assert_ok(hy_session_sample(s, sampler, &id, &err), &err);
    assert_ok(hy_session_append(s, &id, 1, &err), &err);
    assert_ok(hy_session_step(s, &step, &err), &err);
    return id;
}

/* ---- the format, from the document alone */

/* CRC-64/XZ by its definition, bit by bit. */
static uint64_t crc64(const uint8_t *p, size_t n)
{
    uint64_t crc = ~UINT64_C(0);
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ UINT64_C(0xC96C5795D7870F42) : crc >> 1;
        }
    }
    return ~crc;
}

static void put(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(v >> 8 * i);
    }
}

static void put_f32(uint8_t *p, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    put(p, bits, 4);
}

static void seal(uint8_t *file, size_t n)
{
    put(file + 64, crc64(file, 64), 8);
    put(file + n - 8, crc64(file, n - 8), 8);
}

static void a_file_built_by_hand_is_read(void **state)
{
    (void)state;
    assert_true(crc64((const uint8_t *)"123456789", 9) == UINT64_C(0x995DC9BBDF1939FA));
    hy_error err;
    enum {
        C = 8,
        N = 4,
        RECURRENT = C + C * N + C,
        VOCAB = 8,
        TOKENS = 2,
        BYTES = 72 + 4 * (TOKENS + VOCAB + RECURRENT) + 8
    };
    tiny y = open_tiny(TINY_RWKV7, &tiny_least);
    uint8_t file[BYTES] = {0};
    memcpy(file, "HYSTATE", 8);
    put(file + 8, 1, 4);
    put(file + 16, y.info.fingerprint, 8);
    put(file + 24, TOKENS, 8);
    put(file + 32, VOCAB, 8);
    put(file + 40, RECURRENT, 8);
    put(file + 48, 0, 8);
    put_f32(file + 56, 2.5f);
    put(file + 72, 7, 4);
    put(file + 76, 1, 4);
    for (int i = 0; i < VOCAB; i++) {
        put_f32(file + 80 + 4 * i, (float)i - 3);
    }
    for (int i = 0; i < RECURRENT; i++) {
        put_f32(file + 80 + 4 * VOCAB + 4 * i, (float)i / 64);
    }
    seal(file, BYTES);
    hy_state *s;
    assert_ok(hy_state_from_bytes(y.model, file, BYTES, &s, &err), &err);
    assert_int_equal(hy_state_n_tokens(s), TOKENS);
    hy_session *session;
    assert_ok(hy_session_create(y.model, NULL, &session, &err), &err);
    assert_ok(hy_session_restore(session, s, &err), &err);
    size_t n;
    const hy_token *ids = hy_session_tokens(session, &n);
    assert_true(n == 2 && ids[0] == 7 && ids[1] == 1);
    for (int i = 0; i < VOCAB; i++) {
        assert_true(hy_session_logits(session, 0)[i] == (float)i - 3);
    }
    assert_true(session->mu == 2.5f);
    /* and written back byte for byte */
    uint8_t *again = bytes_of(session, &n);
    assert_int_equal(n, BYTES);
    assert_memory_equal(again, file, BYTES);
    free(again);
    hy_session_destroy(session);
    hy_state_destroy(s);
    close_tiny(&y);
}

typedef struct seen {
    const char *name;
    float values[2 * 64];
    size_t n;
} seen;

static void keep_value(void *user, const char *name, int32_t layer, uint32_t n, uint32_t n_cols,
                       const float *data)
{
    seen *k = user;
    (void)layer;
    if (strcmp(name, k->name) == 0) {
        assert_true((size_t)n * n_cols <= HY_COUNT(k->values));
        k->n = (size_t)n * n_cols;
        memcpy(k->values, data, k->n * sizeof *data);
    }
}

/* The parts of a state are where the document says: compared with what the operations computed, of
 * which caches of f32 keep every bit. */
static void check_part(tiny_arch arch, const char *name, size_t column, size_t n, size_t float_at)
{
    hy_error err;
    hy_step step;
    hy_session *s;
    const hy_token ids[] = {3, 5};
    tiny y = open_tiny(arch, &tiny_least);
    seen k = {.name = name};
    const hy_session_opts opts = {
        .size = sizeof opts, .cache_type_k = "f32", .cache_type_v = "f32"};
    assert_ok(hy_session_create(y.model, &opts, &s, &err), &err);
    assert_ok(hy_session_set_trace(s, keep_value, &k, &err), &err);
    assert_ok(hy_session_append(s, ids, 2, &err), &err);
    assert_ok(hy_session_step(s, &step, &err), &err);
    assert_true(k.n >= (column + 1) * n);
    size_t bytes;
    uint8_t *file = bytes_of(s, &bytes);
    const size_t at = 72 + 4 * 2 + 4 * 8 + 4 * float_at;
    assert_true(at + 4 * n + 8 <= bytes);
    assert_memory_equal(file + at, k.values + column * n, 4 * n);
    free(file);
    hy_session_destroy(s);
    close_tiny(&y);
}

static void the_parts_are_where_the_document_says(void **state)
{
    (void)state;
    check_part(TINY_RWKV7, "blk.0.attn_norm", 1, 8, 0);
    check_part(TINY_RWKV7, "blk.0.attn_norm_2", 1, 8, 8 + 32);
    check_part(TINY_LLAMA, "blk.0.k_rotated", 0, 4, 0);
    check_part(TINY_LLAMA, "blk.0.k_rotated", 1, 4, 4);
    check_part(TINY_LLAMA, "blk.0.attn_v", 0, 4, 8);
    check_part(TINY_LLAMA, "blk.0.attn_v", 1, 4, 12);
}

/* ---- damage */

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    for (tiny_arch arch = TINY_RWKV7; arch <= TINY_LLAMA; arch++) {
        hy_error err;
        tiny y = open_tiny(arch, &tiny_least);
        hy_session *s = session_at(y.model, 5);
        size_t n;
        uint8_t *file = bytes_of(s, &n);
        assert_ok(read_bytes(y.model, file, n, &err), &err);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_fails(read_bytes(y.model, file, n, &err), HY_E_CORRUPT, &err, "offset ");
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t cut = 0; cut < n; cut++) {
            assert_fails(read_bytes(y.model, file, cut, &err), HY_E_TRUNCATED, &err, NULL);
        }
        for (size_t more = 1; more <= 16; more++) {
            memset(file + n, 0, more);
            assert_fails(read_bytes(y.model, file, n + more, &err), HY_E_CORRUPT, &err, "too many");
        }
        free(file);
        hy_session_destroy(s);
        close_tiny(&y);
    }
}

static void hostile_values_with_right_checksums_are_refused(void **state)
{
    (void)state;
    static const struct {
        tiny_arch arch;
        size_t at;
        uint64_t value;
        int bytes;
        hy_status status;
        const char *says;
    } cases[] = {
        {TINY_LLAMA, 8, 2, 4, HY_E_MISMATCH, "state format 2, this version reads 1"},
        {TINY_LLAMA, 8, 0, 4, HY_E_MISMATCH, "state format 0"},
        {TINY_LLAMA, 12, 1, 4, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 16, 1234, 8, HY_E_MISMATCH, "another model (00000000000004d2"},
        {TINY_LLAMA, 24, 6, 8, HY_E_TRUNCATED, "its header announces"},
        {TINY_LLAMA, 24, 4, 8, HY_E_CORRUPT, "too many"},
        {TINY_LLAMA, 24, INT32_MAX, 8, HY_E_TRUNCATED, NULL},
        {TINY_LLAMA, 24, UINT64_C(1) << 31, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 24, UINT64_MAX, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 24, (UINT64_MAX / 36) + 6, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 32, 0, 8, HY_E_CORRUPT, "too many"},
        {TINY_LLAMA, 32, 7, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 32, UINT64_MAX, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 40, 1, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 48, 9, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 48, UINT64_MAX, 8, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 56, 0x7fc00000, 4, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 56, 0x7f800000, 4, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 60, 1, 4, HY_E_CORRUPT, "sizes"},
        {TINY_LLAMA, 72, 8, 4, HY_E_CORRUPT, "offset 72: token 8 is not in the vocabulary"},
        {TINY_LLAMA, 88, 0xffffffff, 4, HY_E_CORRUPT,
         "offset 88: token -1 is not in the vocabulary"},
        {TINY_LLAMA, 96, 0x7fc00000, 4, HY_E_CORRUPT, "offset 96: the logit of token 1"},
        {TINY_RWKV7, 40, 47, 8, HY_E_CORRUPT, "sizes"},
        {TINY_RWKV7, 48, 1, 8, HY_E_CORRUPT, "sizes"},
        {TINY_RWKV7, 24, INT32_MAX, 8, HY_E_TRUNCATED, NULL},
    };
    for (size_t i = 0; i < HY_COUNT(cases); i++) {
        hy_error err;
        tiny y = open_tiny(cases[i].arch, &tiny_least);
        hy_session *s = session_at(y.model, 5);
        size_t n;
        uint8_t *file = bytes_of(s, &n);
        put(file + cases[i].at, cases[i].value, cases[i].bytes);
        seal(file, n);
        assert_fails(read_bytes(y.model, file, n, &err), cases[i].status, &err, cases[i].says);
        free(file);
        hy_session_destroy(s);
        close_tiny(&y);
    }
}

static void numbers_that_are_none_end_in_an_error_of_the_step(void **state)
{
    (void)state;
    for (tiny_arch arch = TINY_RWKV7; arch <= TINY_LLAMA; arch++) {
        hy_error err;
        hy_state *loaded;
        hy_step step;
        const hy_token id = 1;
        tiny y = open_tiny(arch, &tiny_least);
        hy_session *s = session_at(y.model, 5);
        size_t n, done;
        uint8_t *file = bytes_of(s, &n);
        put_f32(file + 72 + 4 * 5 + 4 * 8, NAN);
        seal(file, n);
        assert_ok(hy_state_from_bytes(y.model, file, n, &loaded, &err), &err);
        assert_ok(hy_session_restore(s, loaded, &err), &err);
        assert_ok(hy_session_append(s, &id, 1, &err), &err);
        assert_fails(hy_session_step(s, &step, &err), HY_E_NUMERIC, &err, "after position 5");
        (void)hy_session_tokens(s, &done);
        assert_int_equal(done, 5);
        hy_state_destroy(loaded);
        free(file);
        hy_session_destroy(s);
        close_tiny(&y);
    }
}

/* ---- files */

static void generation_goes_on_after_a_restart(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        hy_error err;
        hy_state *snapshot, *loaded;
        hy_sampler *sampler;
        hy_token expected[40];
        const hy_sampler_opts opts = {.size = sizeof opts, .mirostat = 2, .seed = 7};
        tiny y = open_tiny(arch, &tiny_usual);
        const char *path = temp_path("go-on.state");
        assert_ok(hy_sampler_create(&opts, NULL, NULL, &sampler, &err), &err);
        hy_session *s = session_at(y.model, 6);
        for (int i = 0; i < 5; i++) {
            draw(s, sampler);
        }
        assert_ok(hy_session_snapshot(s, &snapshot, &err), &err);
        assert_ok(hy_state_save(snapshot, path, &err), &err);
        hy_state_destroy(snapshot);
        for (size_t i = 0; i < HY_COUNT(expected); i++) {
            expected[i] = draw(s, sampler);
        }
        hy_session_destroy(s);
        close_tiny(&y);
        /* as if in another process: the model loaded again */
        y = open_tiny(arch, &tiny_usual);
        assert_ok(hy_state_load(y.model, path, &loaded, &err), &err);
        assert_ok(hy_session_create(y.model, NULL, &s, &err), &err);
        assert_ok(hy_session_restore(s, loaded, &err), &err);
        for (size_t i = 0; i < HY_COUNT(expected); i++) {
            assert_int_equal(draw(s, sampler), expected[i]);
        }
        hy_state_destroy(loaded);
        hy_session_destroy(s);
        hy_sampler_destroy(sampler);
        close_tiny(&y);
    }
}

static void files_hold_the_same_as_bytes(void **state)
{
    (void)state;
    hy_error err;
    hy_state *snapshot, *loaded;
    tiny y = open_tiny(TINY_QWEN3, &tiny_usual), other = open_tiny(TINY_QWEN2, &tiny_usual);
    hy_session *s = session_at(y.model, 5);
    const char *path = temp_path("five.state");
    size_t n, m;
    uint8_t *bytes = bytes_of(s, &n);
    assert_ok(hy_session_snapshot(s, &snapshot, &err), &err);
    assert_ok(hy_state_save(snapshot, path, &err), &err);
    char *file = read_file(path, &m);
    assert_int_equal(m, n);
    assert_memory_equal(file, bytes, n);
    free(file);
    assert_ok(hy_state_load(y.model, path, &loaded, &err), &err);
    assert_int_equal(hy_state_n_tokens(loaded), 5);
    hy_state_destroy(loaded);
    /* errors name the file */
    assert_fails(hy_state_load(other.model, path, &loaded, &err), HY_E_MISMATCH, &err, path);
    assert_null(loaded);
    write_file(path, bytes, n - 1);
    assert_fails(hy_state_load(y.model, path, &loaded, &err), HY_E_TRUNCATED, &err, path);
    bytes[n / 2] ^= 1;
    write_file(path, bytes, n);
    assert_fails(hy_state_load(y.model, path, &loaded, &err), HY_E_CORRUPT, &err, path);
    const char *missing = temp_path("missing.state");
    assert_fails(hy_state_load(y.model, missing, &loaded, &err), HY_E_IO, &err, "missing.state");
    const char *at = strstr(err.text, missing);
    assert_true(at && !strstr(at + 1, missing)); /* once */
    free(bytes);
    hy_state_destroy(snapshot);
    hy_session_destroy(s);
    close_tiny(&y);
    close_tiny(&other);
}

/* Saving fails at each call in turn: the old file stays, nothing is left beside it. */
static void saving_replaces_a_file_whole_or_not_at_all(void **state)
{
    (void)state;
    hy_error err;
    size_t len, n;
    void *bytes = tiny_file(TINY_RWKV7, &tiny_least, &len);
    const char *path = temp_path("old.state");
    uint64_t calls = 0;
    for (uint64_t fail_at = 0; fail_at <= calls; fail_at++) {
        failing_env env;
        hy_model *m;
        hy_state *snapshot;
        failing_env_init(&env, 0);
        assert_ok(hy_model_load_memory(bytes, len, NULL, &env.env, &m, &err), &err);
        hy_session *s = session_at(m, 3);
        assert_ok(hy_session_snapshot(s, &snapshot, &err), &err);
        const uint64_t before = env.calls;
        write_file(path, "old", 3);
        env.fail_at = fail_at ? before + fail_at : 0;
        const hy_status status = hy_state_save(snapshot, path, &err);
        char *now = read_file(path, &n);
        if (fail_at == 0) {
            assert_ok(status, &err);
            assert_true(n > 80);
            calls = env.calls - before;
            assert_true(calls > 5);
        } else {
            assert_fails(status, err.code, &err, NULL);
            assert_int_equal(n, 3);
            assert_memory_equal(now, "old", 3);
        }
        free(now);
        FILE *part = fopen(temp_path("old.state.part"), "rb");
        assert_null(part);
        hy_state_destroy(snapshot);
        hy_session_destroy(s);
        hy_model_destroy(m);
        assert_int_equal(env.live_blocks, 0);
    }
    free(bytes);
}

static void an_empty_session_can_be_saved(void **state)
{
    (void)state;
    hy_error err;
    hy_session *s;
    for (tiny_arch arch = TINY_RWKV7; arch <= TINY_LLAMA; arch++) {
        tiny y = open_tiny(arch, &tiny_least);
        assert_ok(hy_session_create(y.model, NULL, &s, &err), &err);
        size_t n;
        uint8_t *file = bytes_of(s, &n);
        assert_int_equal(n, 72 + y.info.state_bytes + 8);
        assert_ok(read_bytes(y.model, file, n, &err), &err);
        free(file);
        hy_session_destroy(s);
        close_tiny(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_built_by_hand_is_read),
        cmocka_unit_test(the_parts_are_where_the_document_says),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(hostile_values_with_right_checksums_are_refused),
        cmocka_unit_test(numbers_that_are_none_end_in_an_error_of_the_step),
        cmocka_unit_test(generation_goes_on_after_a_restart),
        cmocka_unit_test(files_hold_the_same_as_bytes),
        cmocka_unit_test(saving_replaces_a_file_whole_or_not_at_all),
        cmocka_unit_test(an_empty_session_can_be_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
