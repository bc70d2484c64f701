/* test_tokenizer_golden.c: texts and their ids as the models' own tokenizers give them.
 *
 * The embedded model's are carried; those of seven public vocabularies are in ../shared (its README
 * says where they come from), and those of SmolLM2 need the model, whose file HALYARD_SMOLLM2
 * names. */
#include <time.h>

#include "golden.h"

static hy_tokenizer *open_tokenizer(const char *path)
{
    hy_gguf *g;
    hy_tokenizer *t;
    hy_error err;
    assert_ok(hy_gguf_open(path, NULL, NULL, &g, &err), &err);
    const clock_t start = clock();
    assert_ok(hy_tokenizer_create(g, NULL, &t, &err), &err);
    print_message("%u tokens, made in %.1f ms\n", (unsigned)hy_tokenizer_n_tokens(t),
                  (double)(clock() - start) * 1e3 / CLOCKS_PER_SEC);
    hy_gguf_close(g);
    return t;
}

/* Ids equal; and back to the same text, at once and as a stream. */
static void check_case(const hy_tokenizer *t, const char *text, size_t len, unsigned flags,
                       const hy_token *want, size_t n_want)
{
    hy_token *ids;
    size_t n, back_len, at = 0;
    char *back;
    hy_error err;
    assert_ok(hy_tokenize(t, text, len, flags, &ids, &n, &err), &err);
    if (n != n_want || (n && memcmp(ids, want, n * sizeof *ids) != 0)) {
        fail_msg("\"%.*s\" gives %zu ids (first %ld), not %zu (first %ld)", (int)len, text, n,
                 n ? (long)ids[0] : -1, n_want, n_want ? (long)want[0] : -1);
    }
    assert_ok(hy_detokenize(t, ids, n, HY_DETOKENIZE_SPECIAL, &back, &back_len, &err), &err);
    assert_int_equal(back_len, len);
    assert_memory_equal(back, text, len);
    hy_detok *d;
    hy_str piece;
    assert_ok(hy_detok_create(t, HY_DETOKENIZE_SPECIAL, &d, &err), &err);
    for (size_t i = 0; i <= n; i++) {
        if (i < n) {
            assert_ok(hy_detok_push(d, ids[i], &piece, &err), &err);
        } else {
            piece = hy_detok_flush(d);
        }
        assert_true(piece.len <= len - at);
        assert_true(piece.len == 0 || memcmp(piece.data, text + at, piece.len) == 0);
        at += piece.len;
    }
    assert_int_equal(at, len);
    hy_detok_destroy(d);
    hy_tokenizer_free(t, back);
    hy_tokenizer_free(t, ids);
}

/* A line: text (or hex: its bytes), ids, and special: whether special tokens are parsed. */
static size_t check_lines(const hy_tokenizer *t, const char *path)
{
    size_t n_lines = 0;
    for (json_t *line; (line = golden_line(path, n_lines)) != NULL; n_lines++) {
        const json_t *hex = json_object_get(line, "hex");
        const char *text = json_string_value(hex ? hex : golden_get(line, "text"));
        size_t len = strlen(text), n_ids;
        char *bytes = calloc(len + 1, 1);
        assert_non_null(bytes);
        memcpy(bytes, text, len);
        if (hex) {
            for (size_t i = 0; i < len / 2; i++) {
                unsigned byte;
                assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
                bytes[i] = (char)byte;
            }
            len /= 2;
        }
        hy_token *ids = golden_ids(golden_get(line, "ids"), &n_ids);
        check_case(t, bytes, len,
                   json_is_true(json_object_get(line, "special")) ? HY_TOKENIZE_PARSE_SPECIAL : 0,
                   ids, n_ids);
        free(ids);
        free(bytes);
        json_decref(line);
    }
    return n_lines;
}

static void embedded_model(void **state)
{
    (void)state;
    hy_tokenizer *t = open_tokenizer(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"));
    assert_int_equal(check_lines(t, source_path("tests/golden/embedded/tokens.jsonl")), 20);
    assert_int_equal(hy_tokenizer_eot(t), 257);
    hy_tokenizer_destroy(t);
}

static void public_vocabularies(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-2", "starcoder", "deepseek-coder", "llama-bpe",
                                        "qwen2", "llama-spm", "rwkv-world"};
    static const char mark[] = "\n__ggml_vocab_test__\n";
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char rel[100];
        snprintf(rel, sizeof rel, "golden/tokenizers/ggml-vocab-%s.gguf", names[k]);
        const char *path = shared_path(rel);
        if (!path) {
            skip();
        }
        hy_tokenizer *t = open_tokenizer(path);
        snprintf(rel, sizeof rel, "golden/tokenizers/ggml-vocab-%s.gguf.inp", names[k]);
        char *texts = read_file(shared_path(rel), NULL);
        snprintf(rel, sizeof rel, "golden/tokenizers/ggml-vocab-%s.gguf.out", names[k]);
        char *outs = read_file(shared_path(rel), NULL);
        char *text = texts, *line = outs;
        size_t n_cases = 0;
        for (char *end; (end = strstr(text, mark)) != NULL; n_cases++) {
            hy_token ids[4096];
            size_t n = 0;
            while (*line == ' ') {
                assert_true(n < sizeof ids / sizeof *ids);
                ids[n++] = (hy_token)strtol(line, &line, 10);
            }
            assert_true(*line == '\n');
            line++;
            check_case(t, text, (size_t)(end - text), 0, ids, n);
            text = end + sizeof mark - 1;
        }
        print_message("%s: %zu texts\n", names[k], n_cases);
        assert_true(n_cases >= 46);
        free(texts);
        free(outs);
        hy_tokenizer_destroy(t);
    }
}

static void rwkv_world_values(void **state)
{
    (void)state;
    const char *path = shared_path("golden/tokenizers/ggml-vocab-rwkv-world.gguf");
    if (!path) {
        skip();
    }
    static const struct {
        const char *text;
        size_t len, n;
        hy_token ids[16];
    } cases[] = {
        {"User: hi\n\nAssistant:", 20, 7, {24281, 59, 4571, 261, 5585, 41693, 59}},
        {"The Eiffel tower is in the city of",
         34,
         10,
         {6699, 304, 25740, 109, 39990, 4600, 4596, 22590, 30449, 4706}},
        {"Hello, World!\n\n\n", 16, 5, {33155, 45, 37576, 34, 3328}},
        {"你好，世界 🌍", 20, 9, {10464, 11685, 19137, 10267, 14610, 33, 3319, 141, 142}},
        {"\xFF\xFE", 2, 2, {256, 255}},
        {"\0\xC3\xBF", 3, 2, {1, 2525}},
        {"<s>", 3, 3, {61, 116, 63}},
    };
    hy_tokenizer *t = open_tokenizer(path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_case(t, cases[i].text, cases[i].len, 0, cases[i].ids, cases[i].n);
    }
    assert_int_equal(hy_tokenizer_eot(t), 261);
    assert_false(hy_tokenizer_can_sample(t, 65530));
    hy_tokenizer_destroy(t);
}

static void smollm2(void **state)
{
    (void)state;
    const char *model = getenv("HALYARD_SMOLLM2");
    const char *cases = shared_path("golden/smollm2/tokens.jsonl");
    if (!model || !cases) {
        print_message("skipped: needs HALYARD_SMOLLM2 and ../shared\n");
        skip();
    }
    hy_tokenizer *t = open_tokenizer(model);
    assert_true(check_lines(t, cases) >= 26);
    hy_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedded_model),
        cmocka_unit_test(public_vocabularies),
        cmocka_unit_test(rwkv_world_values),
        cmocka_unit_test(smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
