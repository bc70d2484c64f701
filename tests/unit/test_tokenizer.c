/* Tokenizers: the rules of each kind on small vocabularies whose results can be checked by hand. */
#include "support/support.h"

#include "base/base.h"
#include "vocab_script.h"

typedef void (*vocab_fn)(vocab_script *v);

static void gpt2_plain(vocab_script *v)
{
    vocab_gpt2(v, "gpt-2");
}

static hy_tokenizer *open_vocab(vocab_fn make)
{
    vocab_script v = {0};
    hy_tokenizer *t;
    hy_error err;
    make(&v);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    return t;
}

/* `want` ends with -1. */
static void check_ids(const hy_tokenizer *t, const char *text, unsigned flags, const hy_token *want)
{
    hy_token *ids;
    size_t n, n_want = 0;
    hy_error err;
    while (want[n_want] >= 0) {
        n_want++;
    }
    assert_ok(hy_tokenize(t, text, strlen(text), flags, &ids, &n, &err), &err);
    for (size_t i = 0; i < n && i < n_want; i++) {
        if (ids[i] != want[i]) {
            fail_msg("\"%s\": id %ld at %zu, not %ld", text, (long)ids[i], i, (long)want[i]);
        }
    }
    if (n != n_want) {
        fail_msg("\"%s\": %zu ids, not %zu", text, n, n_want);
    }
    hy_tokenizer_free(t, ids);
}
#define IDS(...) ((const hy_token[]){__VA_ARGS__, -1})
#define NO_IDS ((const hy_token[]){-1})

static void check_text(const hy_tokenizer *t, const hy_token *ids, unsigned flags, const char *want)
{
    size_t n = 0, len;
    char *text;
    hy_error err;
    while (ids[n] >= 0) {
        n++;
    }
    assert_ok(hy_detokenize(t, ids, n, flags, &text, &len, &err), &err);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, want);
    hy_tokenizer_free(t, text);
}

static void rwkv_takes_the_longest(void **state)
{
    (void)state;
    hy_tokenizer *t = open_vocab(vocab_rwkv);
    assert_string_equal(hy_tokenizer_model(t), "rwkv");
    assert_string_equal(hy_tokenizer_pre(t), "");
    assert_int_equal(hy_tokenizer_n_tokens(t), 264);
    check_ids(t, "", 0, NO_IDS);
    check_ids(t, "abcd", 0, IDS(259));
    check_ids(t, "abcabcd", 0, IDS(258, 100, 259)); /* "abc" is no token: back to "ab" */
    check_ids(t, "ab", HY_TOKENIZE_ADD_SPECIAL, IDS(258));
    check_ids(t, "abc", 0, IDS(258, 100));
    check_ids(t, "\n\n\n", 0, IDS(257, 11));
    check_ids(t, "\xC3\xA9\xC3", 0, IDS(260, 196));
    check_ids(t, "\\t\t\x7F\x01", 0, IDS(93, 117, 10, 128, 2));
    check_ids(t, "it's \"x\"!", 0, IDS(261, 34));
    /* Neither control tokens nor padding are in the tree; the first is found when it is asked for.
     */
    check_ids(t, "<s>", 0, IDS(61, 116, 63));
    check_ids(t, "a<s><s>", HY_TOKENIZE_PARSE_SPECIAL, IDS(98, 0, 0));
    check_ids(t, "[PAD", HY_TOKENIZE_PARSE_SPECIAL, IDS(92, 81, 66, 69));
    check_ids(t, "a<tool>b", 0, IDS(98, 263, 99));
    check_text(t, IDS(0, 259, 257, 261, 0), 0, "abcd\n\nit's \"x\"");
    check_text(t, IDS(0, 259, 263), HY_DETOKENIZE_SPECIAL, "<s>abcd<tool>");
    assert_int_equal(hy_tokenizer_bos(t), 0);
    assert_int_equal(hy_tokenizer_eos(t), 0);
    assert_int_equal(hy_tokenizer_eot(t), 257);
    assert_true(hy_tokenizer_is_eog(t, 0) && hy_tokenizer_is_eog(t, 257));
    assert_false(hy_tokenizer_is_eog(t, 258) || hy_tokenizer_is_eog(t, -1) ||
                 hy_tokenizer_is_eog(t, 264));
    assert_true(hy_tokenizer_can_sample(t, 263));
    assert_false(hy_tokenizer_can_sample(t, 262) || hy_tokenizer_can_sample(t, 264) ||
                 hy_tokenizer_can_sample(t, -1));
    assert_int_equal(hy_tokenizer_kind(t, 262), HY_TOKEN_UNUSED);
    assert_int_equal(hy_tokenizer_kind(t, 264), HY_TOKEN_UNDEFINED);
    const hy_str entry = hy_tokenizer_entry(t, 257);
    assert_int_equal(entry.len, 4);
    assert_memory_equal(entry.data, "\\n\\n", 4);
    assert_int_equal(hy_tokenizer_entry(t, -1).len, 0);
    hy_tokenizer_destroy(t);
    hy_tokenizer_destroy(NULL);
}

static void gpt2_merges_by_rank(void **state)
{
    (void)state;
    hy_tokenizer *t = open_vocab(gpt2_plain);
    assert_string_equal(hy_tokenizer_model(t), "gpt2");
    assert_string_equal(hy_tokenizer_pre(t), "gpt-2");
    check_ids(t, "", HY_TOKENIZE_ADD_SPECIAL, NO_IDS);
    check_ids(t, "hello world", HY_TOKENIZE_ADD_SPECIAL, IDS(259, 262, 'l', 'd'));
    check_ids(t, "hellhe", 0, IDS(258, 256));
    check_ids(t, "hel", 0, IDS(256, 'l'));
    check_ids(t, "lll", 0, IDS(257, 'l')); /* equal ranks: the leftmost */
    check_ids(t, "aaaaaaa", 0, IDS(269, 268, 'a'));
    check_ids(t, "h e", 0, IDS('h', ' ', 'e'));
    check_ids(t, "\xFF\xC3\n", 0, IDS(0xFF, 0xC3, '\n'));
    check_ids(t, "qx", 0, IDS('q', 'x'));       /* a merge whose result is no token */
    check_ids(t, "qxz", 0, IDS('q', 'x', 'z')); /* and one on top of it */
    check_ids(t, "hello<|im_end|>", HY_TOKENIZE_PARSE_SPECIAL, IDS(259, 264));
    check_ids(t, "<unk>", HY_TOKENIZE_PARSE_SPECIAL, IDS(270));
    check_ids(t, "<unk>", 0, IDS('<', 'u', 'n', 'k', '>'));
    check_ids(t, "USERhellUSER", 0, IDS(265, 258, 265));
    check_text(t, IDS(259, 262, 'l', 'd', 264, 270, 265), 0, "hello worldUSER");
    check_text(t, IDS(264, 259, 266, 267), HY_DETOKENIZE_SPECIAL, "<|im_end|>hello[PAD]");
    /* Ids that are not given: none; but texts tell what ends a turn. */
    assert_int_equal(hy_tokenizer_bos(t), HY_TOKEN_NONE);
    assert_int_equal(hy_tokenizer_eos(t), HY_TOKEN_NONE);
    assert_int_equal(hy_tokenizer_eot(t), 264);
    assert_int_equal(hy_tokenizer_kind(t, 264), HY_TOKEN_CONTROL);
    assert_true(hy_tokenizer_is_eog(t, 263) && hy_tokenizer_is_eog(t, 264));
    assert_false(hy_tokenizer_is_eog(t, 271));
    assert_false(hy_tokenizer_can_sample(t, 266) || hy_tokenizer_can_sample(t, 267));
    hy_tokenizer_destroy(t);
}

static void llama_merges_by_score(void **state)
{
    (void)state;
    hy_tokenizer *t = open_vocab(vocab_llama);
    assert_string_equal(hy_tokenizer_model(t), "llama");
    check_ids(t, "", 0, NO_IDS);
    check_ids(t, "hello", HY_TOKENIZE_ADD_SPECIAL, IDS(1, 268));
    check_ids(t, "", HY_TOKENIZE_ADD_SPECIAL, IDS(1));
    check_ids(t, "hel", 0, IDS(259, 264, 262)); /* he before el */
    check_ids(t, "lll", 0, IDS(259, 265, 262));
    check_ids(t, " hello", 0, IDS(259, 268));
    check_ids(t, "z\xC3\xB1\xC3\xA9", 0, IDS(259, 3 + 'z', 3 + 0xC3, 3 + 0xB1, 271));
    check_ids(t, "\xE2\x96", 0, IDS(259, 3 + 0xE2, 3 + 0x96));
    check_ids(t, "<s>", 0, IDS(259, 3 + '<', 3 + 's', 3 + '>'));
    /* A blank in front of every stretch of text between special tokens. */
    check_ids(t, "hello</s>hello", HY_TOKENIZE_PARSE_SPECIAL, IDS(268, 2, 268));
    check_ids(t, "<tool>he", 0, IDS(270, 259, 264));
    check_text(t, IDS(268, 268), 0, "hello hello");
    check_text(t, IDS(259, 264, 3 + 0xC3, 3 + 0xB1), 0, "he\xC3\xB1");
    check_text(t, IDS(1, 268), 0, "hello"); /* what comes first in the text loses its blank, */
    check_text(t, IDS(268, 268), 0, "hello hello"); /* and only that */
    check_text(t, IDS(268), HY_DETOKENIZE_CONTINUE, " hello");
    check_text(t, IDS(1, 0, 270), HY_DETOKENIZE_SPECIAL, "<s><unk><tool>");
    assert_int_equal(hy_tokenizer_bos(t), 1);
    assert_int_equal(hy_tokenizer_eos(t), 2);
    assert_int_equal(hy_tokenizer_eot(t), HY_TOKEN_NONE);
    assert_true(hy_tokenizer_is_eog(t, 2));
    hy_tokenizer_destroy(t);
}

static void added_tokens_and_flags(void **state)
{
    (void)state;
    vocab_script v = {0};
    hy_tokenizer *t;
    hy_error err;
    hy_token *ids;
    size_t n;

    /* The Llama-3 family adds BOS by default, and keeps words that are tokens whole. */
    vocab_gpt2(&v, "llama-bpe");
    vocab_num(&v, "tokenizer.ggml.bos_token_id", HY_GGUF_UINT32, 263);
    vocab_num(&v, "tokenizer.ggml.eos_token_id", HY_GGUF_UINT32, 264);
    vocab_num(&v, "tokenizer.ggml.add_eos_token", HY_GGUF_BOOL, 1);
    const int32_t suppressed[] = {-5, 3, 1000};
    vocab_i32s(&v, "tokenizer.ggml.suppress_tokens", suppressed, 3);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    check_ids(t, "hello", HY_TOKENIZE_ADD_SPECIAL, IDS(263, 259, 264));
    check_ids(t, "hello", 0, IDS(259));
    check_ids(t, "aaaaaa", 0, IDS(269, 268));
    check_ids(t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", 0,
              IDS(269, 269, 269, 269, 269, 269, 269, 269, '!'));
    assert_false(hy_tokenizer_can_sample(t, 3));
    assert_true(hy_tokenizer_can_sample(t, 4));
    hy_tokenizer_destroy(t);

    /* Asked for, but there is none. */
    vocab_gpt2(&v, "llama3");
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    assert_fails(hy_tokenize(t, "a", 1, HY_TOKENIZE_ADD_SPECIAL, &ids, &n, &err), HY_E_FORMAT, &err,
                 "add_bos_token");
    assert_null(ids);
    check_ids(t, "a", 0, IDS('a'));
    hy_tokenizer_destroy(t);
    vocab_gpt2(&v, "gpt-2");
    vocab_num(&v, "tokenizer.ggml.add_eos_token", HY_GGUF_BOOL, 1);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    assert_fails(hy_tokenize(t, "a", 1, HY_TOKENIZE_ADD_SPECIAL, &ids, &n, &err), HY_E_FORMAT, &err,
                 "add_eos_token");
    hy_tokenizer_destroy(t);

    /* Without the blank in front; ids out of range are absent. */
    vocab_llama(&v);
    vocab_num(&v, "tokenizer.ggml.add_space_prefix", HY_GGUF_BOOL, 0);
    vocab_num(&v, "tokenizer.ggml.add_bos_token", HY_GGUF_BOOL, 0);
    vocab_num(&v, "tokenizer.ggml.bos_token_id", HY_GGUF_INT32, -1);
    vocab_num(&v, "tokenizer.ggml.eos_token_id", HY_GGUF_UINT32, 5000);
    vocab_num(&v, "tokenizer.ggml.eot_token_id", HY_GGUF_UINT64, -1);
    vocab_num(&v, "tokenizer.ggml.fim_pad_token_id", HY_GGUF_UINT32, 270);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    check_ids(t, "hello hello", HY_TOKENIZE_ADD_SPECIAL, IDS(267, 268));
    check_text(t, IDS(268), 0, " hello");
    assert_int_equal(hy_tokenizer_bos(t), HY_TOKEN_NONE);
    assert_int_equal(hy_tokenizer_eos(t), HY_TOKEN_NONE);
    assert_int_equal(hy_tokenizer_eot(t), HY_TOKEN_NONE);
    assert_true(hy_tokenizer_is_eog(t, 270));
    hy_tokenizer_destroy(t);

    /* A vocabulary that does not say how its words are cut. */
    static const hy_str texts[] = {{"a", 1},        {"1", 1},       {"<|return|>", 10},
                                   {"<|call|>", 8}, {"<|end|>", 7}, {"11", 2}};
    static const hy_str merges[] = {{"1 1", 3}};
    vocab_str(&v, "tokenizer.ggml.model", "gpt2");
    vocab_strs(&v, "tokenizer.ggml.tokens", texts, 6);
    vocab_strs(&v, "tokenizer.ggml.merges", merges, 1);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    assert_string_equal(hy_tokenizer_pre(t), "default");
    check_ids(t, "1111z1a", 0,
              IDS(5, 1, 1, 1, 0)); /* three digits, one digit; bytes without token are dropped */
    assert_true(hy_tokenizer_is_eog(t, 2) && hy_tokenizer_is_eog(t, 3) &&
                !hy_tokenizer_is_eog(t, 4));
    assert_int_equal(hy_tokenizer_kind(t, 4), HY_TOKEN_CONTROL);
    hy_tokenizer_destroy(t);
}

static void byte_fallback_of_llama(void **state)
{
    (void)state;
    vocab_script v = {0};
    hy_tokenizer *t;
    hy_error err;
    static const hy_str texts[] = {{"<unk>", 5}, {"<0x41>", 6}, {"B", 1}, {"\xC3", 1}, {"-", 1}};
    static const int32_t kinds[] = {2, 6, 1, 1, 1};
    static const float scores[] = {0, 0, -1, -2, -3};
    vocab_str(&v, "tokenizer.ggml.model", "llama");
    vocab_strs(&v, "tokenizer.ggml.tokens", texts, 5);
    vocab_i32s(&v, "tokenizer.ggml.token_type", kinds, 5);
    vocab_f32s(&v, "tokenizer.ggml.scores", scores, 5);
    vocab_num(&v, "tokenizer.ggml.add_space_prefix", HY_GGUF_BOOL, 0);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    check_ids(t, "AB\xC3\xA9-z", 0,
              IDS(1, 2, 3, 0, 4, 0)); /* "<0x41>", token, one-byte token, unknown */
    hy_tokenizer_destroy(t);
    /* Nothing to say "unknown" with: such bytes are dropped. */
    vocab_str(&v, "tokenizer.ggml.model", "llama");
    vocab_strs(&v, "tokenizer.ggml.tokens", texts + 1, 4);
    vocab_f32s(&v, "tokenizer.ggml.scores", scores + 1, 4);
    vocab_num(&v, "tokenizer.ggml.unknown_token_id", HY_GGUF_UINT32, 77);
    vocab_num(&v, "tokenizer.ggml.add_space_prefix", HY_GGUF_BOOL, 0);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    check_ids(t, "zB", 0, IDS(1));
    hy_tokenizer_destroy(t);
    /* A control token is no way to say it. */
    static const int32_t control[] = {3, 6, 1, 1, 1};
    vocab_str(&v, "tokenizer.ggml.model", "llama");
    vocab_strs(&v, "tokenizer.ggml.tokens", texts, 5);
    vocab_i32s(&v, "tokenizer.ggml.token_type", control, 5);
    vocab_f32s(&v, "tokenizer.ggml.scores", scores, 5);
    assert_ok(vocab_open(&v, NULL, &t, &err), &err);
    check_ids(t, "zB", 0, IDS(2));
    hy_tokenizer_destroy(t);
}

/* ---- hostile files */

static const hy_str two_tokens[] = {{"a", 1}, {"b", 1}};
static const hy_str two_merges[] = {{"a b", 3}, {" b", 2}};
static const float two_scores[] = {1, 2};

static void base_gpt2(vocab_script *v)
{
    vocab_str(v, "tokenizer.ggml.model", "gpt2");
    vocab_str(v, "tokenizer.ggml.pre", "gpt-2");
}

static void base_llama(vocab_script *v)
{
    vocab_str(v, "tokenizer.ggml.model", "llama");
    vocab_strs(v, "tokenizer.ggml.tokens", two_tokens, 2);
}

static void check_refused(vocab_script *v, hy_status code, const char *text)
{
    hy_tokenizer *t;
    hy_error err;
    assert_fails(vocab_open(v, NULL, &t, &err), code, &err, text);
    assert_null(t);
}

static void refused_heads(void **state)
{
    (void)state;
    vocab_script v = {0};
    check_refused(&v, HY_E_NOT_FOUND, "no vocabulary");
    vocab_str(&v, "tokenizer.ggml.model", "none");
    check_refused(&v, HY_E_NOT_FOUND, "no vocabulary");
    vocab_str(&v, "tokenizer.ggml.model", "bert");
    check_refused(&v, HY_E_UNSUPPORTED, "\"bert\"");
    vocab_num(&v, "tokenizer.ggml.model", HY_GGUF_UINT32, 1);
    check_refused(&v, HY_E_FORMAT, "tokenizer.ggml.model");
    vocab_str(&v, "tokenizer.ggml.model", "gpt2");
    vocab_str(&v, "tokenizer.ggml.pre", "tekken");
    check_refused(&v, HY_E_UNSUPPORTED, "\"tekken\"");
    vocab_str(&v, "tokenizer.ggml.model", "gpt2");
    vocab_num(&v, "tokenizer.ggml.pre", HY_GGUF_UINT32, 1);
    check_refused(&v, HY_E_FORMAT, "tokenizer.ggml.pre");
    base_gpt2(&v);
    check_refused(&v, HY_E_FORMAT, "tokens is missing");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 0);
    check_refused(&v, HY_E_FORMAT, "tokens is missing or empty");
    base_gpt2(&v);
    vocab_str(&v, "tokenizer.ggml.tokens", "a");
    check_refused(&v, HY_E_FORMAT, "not an array of strings");
    base_gpt2(&v);
    vocab_f32s(&v, "tokenizer.ggml.tokens", two_scores, 2);
    check_refused(&v, HY_E_FORMAT, "not an array of strings");
}

static void refused_entries(void **state)
{
    (void)state;
    vocab_script v = {0};
    static const hy_str twice[] = {{"a", 1}, {"b", 1}, {"a", 1}};
    static const int32_t kinds[] = {1, 7, 1}, bad_byte[] = {1, 6};
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", twice, 3);
    check_refused(&v, HY_E_FORMAT, "tokens[2] \"a\" is the same as [0]");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_i32s(&v, "tokenizer.ggml.token_type", kinds, 1);
    check_refused(&v, HY_E_FORMAT, "token_type has 1 values for 2 tokens");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_i32s(&v, "tokenizer.ggml.token_type", kinds, 3);
    check_refused(&v, HY_E_FORMAT, "token_type[1]");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_f32s(&v, "tokenizer.ggml.token_type", two_scores, 2);
    check_refused(&v, HY_E_FORMAT, "not an array of integers");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_str(&v, "tokenizer.ggml.bos_token_id", "a");
    check_refused(&v, HY_E_FORMAT, "bos_token_id is not an integer");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_i32s(&v, "tokenizer.ggml.eos_token_id", kinds, 1);
    check_refused(&v, HY_E_FORMAT, "eos_token_id is not an integer");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_str(&v, "tokenizer.ggml.add_bos_token", "yes");
    check_refused(&v, HY_E_FORMAT, "add_bos_token");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_str(&v, "tokenizer.ggml.suppress_tokens", "all");
    check_refused(&v, HY_E_FORMAT, "suppress_tokens");

    base_llama(&v);
    check_refused(&v, HY_E_FORMAT, "scores is missing");
    base_llama(&v);
    vocab_f32s(&v, "tokenizer.ggml.scores", two_scores, 1);
    check_refused(&v, HY_E_FORMAT, "scores has 1 values for 2 tokens");
    base_llama(&v);
    vocab_strs(&v, "tokenizer.ggml.scores", two_tokens, 2);
    check_refused(&v, HY_E_FORMAT, "scores[0] is not a number");
    const float nan_scores[] = {1, hy__f32_from_bits(0x7FC00000)};
    base_llama(&v);
    vocab_f32s(&v, "tokenizer.ggml.scores", nan_scores, 2);
    check_refused(&v, HY_E_FORMAT, "scores[1] is not a number");
    static const char *const bytes[] = {"b",      "<0x1>",   "<0x-1>", "<0x 1>", "<0x1G>",
                                        "<0x00]", "<0x001>", "[0x00>", "<0xg1>"};
    for (size_t i = 0; i < HY_COUNT(bytes); i++) {
        const hy_str texts[] = {{"a", 1}, {bytes[i], strlen(bytes[i])}};
        vocab_str(&v, "tokenizer.ggml.model", "llama");
        vocab_strs(&v, "tokenizer.ggml.tokens", texts, 2);
        vocab_i32s(&v, "tokenizer.ggml.token_type", bad_byte, 2);
        vocab_f32s(&v, "tokenizer.ggml.scores", two_scores, 2);
        check_refused(&v, HY_E_FORMAT, "tokens[1]");
    }
}

static void refused_merges(void **state)
{
    (void)state;
    vocab_script v = {0};
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    check_refused(&v, HY_E_FORMAT, "merges is missing");
    base_gpt2(&v);
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    vocab_f32s(&v, "tokenizer.ggml.merges", two_scores, 2);
    check_refused(&v, HY_E_FORMAT, "merges is not an array of strings");
    static const hy_str bad[] = {{"", 0}, {" ", 1}, {"ab", 2}, {"a ", 2}, {" b", 2}};
    for (size_t i = 0; i < HY_COUNT(bad); i++) {
        const hy_str merges[] = {two_merges[0], bad[i]};
        base_gpt2(&v);
        vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
        vocab_strs(&v, "tokenizer.ggml.merges", merges, 2);
        check_refused(&v, HY_E_FORMAT, "merges[1]");
    }
}

static void refused_rwkv(void **state)
{
    (void)state;
    static const struct {
        const char *entry, *text;
    } bad[] = {
        {"\\", "tokens[1]"},
        {"a\\", "tokens[1]"},
        {"\\x", "tokens[1]"},
        {"\\x1", "tokens[1]"},
        {"\\xg0", "tokens[1]"},
        {"\\x0g", "tokens[1]"},
        {"\\x61", "same bytes as [0]"},
        {"\\a", "same bytes as [0]"},
        {"bb", "single byte 0x00"},
    };
    vocab_script v = {0};
    for (size_t i = 0; i < HY_COUNT(bad); i++) {
        const hy_str texts[] = {{"a", 1}, {bad[i].entry, strlen(bad[i].entry)}};
        vocab_str(&v, "tokenizer.ggml.model", "rwkv");
        vocab_strs(&v, "tokenizer.ggml.tokens", texts, 2);
        check_refused(&v, HY_E_FORMAT, bad[i].text);
    }
    vocab_str(&v, "tokenizer.ggml.model", "rwkv");
    vocab_strs(&v, "tokenizer.ggml.tokens", two_tokens, 2);
    check_refused(&v, HY_E_FORMAT, "single byte 0x00");
    /* One such token would make tokenizing a text of its letters quadratic. */
    char long_word[1025];
    memset(long_word, 'a', sizeof long_word);
    for (size_t more = 0; more < 2; more++) {
        const hy_str texts[] = {{"a", 1}, {long_word, 1024 + more}};
        vocab_str(&v, "tokenizer.ggml.model", "rwkv");
        vocab_strs(&v, "tokenizer.ggml.tokens", texts, 2);
        check_refused(&v, more ? HY_E_LIMIT : HY_E_FORMAT, more ? "tokens[1]" : "single byte");
    }
}

/* ---- ids to text */

/* Whether a place is inside of a character that is valid UTF-8. */
static bool splits_character(const char *text, size_t len, size_t place)
{
    for (size_t back = 1; back <= 3 && back <= place; back++) {
        uint32_t cp;
        if (place < len && hy__utf8_decode(text + place - back, len - place + back, &cp) > back) {
            return true;
        }
    }
    return false;
}

static void streams_equal_wholes(void **state)
{
    (void)state;
    static const vocab_fn kinds[] = {vocab_rwkv, gpt2_plain, vocab_llama};
    uint32_t seed = 99;
    for (size_t k = 0; k < HY_COUNT(kinds); k++) {
        hy_tokenizer *t = open_vocab(kinds[k]);
        hy_detok *d;
        hy_error err;
        for (unsigned flags = 0; flags < 2; flags++) {
            assert_ok(hy_detok_create(t, flags, &d, &err), &err);
            for (unsigned round = 0; round < 400; round++) {
                hy_token ids[24];
                const size_t n = round % 24;
                char streamed[1000], *whole;
                size_t at = 0, len, ends[24];
                for (size_t i = 0; i < n; i++) {
                    seed = seed * 1664525 + 1013904223;
                    /* Mostly bytes from 0x80 on, so that whole characters come about. */
                    ids[i] = (hy_token)((seed >> 28 & 3 ? 0xC0 + (seed >> 12 & 63) : seed >> 12) %
                                        hy_tokenizer_n_tokens(t));
                    hy_str out;
                    assert_ok(hy_detok_push(d, ids[i], &out, &err), &err);
                    memcpy(streamed + at, out.data, out.len);
                    at += out.len;
                    ends[i] = at;
                }
                const hy_str rest = hy_detok_flush(d);
                assert_true(rest.len <= 3);
                if (rest.len) {
                    memcpy(streamed + at, rest.data, rest.len);
                }
                at += rest.len;
                assert_ok(hy_detokenize(t, ids, n, flags, &whole, &len, &err), &err);
                assert_int_equal(len, at);
                assert_memory_equal(whole, streamed, len);
                assert_int_equal(whole[len], 0);
                for (size_t i = 0; i < n; i++) {
                    assert_false(splits_character(whole, len, ends[i]));
                }
                hy_tokenizer_free(t, whole);
            }
            assert_int_equal(hy_detok_flush(d).len, 0);
            hy_detok_destroy(d);
        }
        hy_tokenizer_destroy(t);
    }
    hy_detok_destroy(NULL);
}

static void push_is(hy_detok *d, hy_token id, const char *want)
{
    hy_str out;
    hy_error err;
    assert_ok(hy_detok_push(d, id, &out, &err), &err);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
}

static void characters_are_held_back(void **state)
{
    (void)state;
    hy_tokenizer *t = open_vocab(gpt2_plain); /* ids below 256 are bytes */
    hy_detok *d;
    hy_error err;
    hy_str out;
    assert_ok(hy_detok_create(t, 0, &d, &err), &err);
    push_is(d, 0xF0, "");
    push_is(d, 0x9F, "");
    push_is(d, 0x8C, "");
    push_is(d, 0x8D, "\xF0\x9F\x8C\x8D");
    push_is(d, 0xE4, "");
    push_is(d, 'x', "\xE4x"); /* cannot be completed any more */
    push_is(d, 0xFF, "\xFF");
    push_is(d, 0xC3, "");
    push_is(d, 263, ""); /* prints nothing; nothing is decided */
    push_is(d, 0xA9, "\xC3\xA9");
    push_is(d, 0xC3, "");
    assert_fails(hy_detok_push(d, 272, &out, &err), HY_E_ARG, &err, "token 272 at place 11");
    assert_fails(hy_detok_push(d, -1, &out, &err), HY_E_ARG, &err, "token -1");
    out = hy_detok_flush(d);
    assert_int_equal(out.len, 1);
    assert_memory_equal(out.data, "\xC3", 1);
    push_is(d, 'y', "y");
    hy_detok_destroy(d);

    const hy_token bad[] = {1, 2, 272};
    char *text;
    size_t len;
    assert_fails(hy_detokenize(t, bad, 3, 0, &text, &len, &err), HY_E_ARG, &err,
                 "token 272 at place 2");
    assert_null(text);
    hy_tokenizer_destroy(t);

    t = open_vocab(vocab_llama); /* only the first id of a text loses its blank */
    assert_ok(hy_detok_create(t, 0, &d, &err), &err);
    push_is(d, 268, "hello");
    push_is(d, 268, " hello");
    assert_int_equal(hy_detok_flush(d).len, 0);
    push_is(d, 268, "hello");
    hy_detok_destroy(d);
    hy_tokenizer_destroy(t);
}

static void no_more_than_an_int_of_text(void **state)
{
    (void)state;
    hy_tokenizer *t = open_vocab(vocab_rwkv);
    hy_token *ids;
    size_t n;
    hy_error err;
    /* Refused before a byte is read. */
    assert_fails(hy_tokenize(t, "x", (size_t)INT32_MAX + 1, 0, &ids, &n, &err), HY_E_LIMIT, &err,
                 "2147483648 bytes");
    hy_tokenizer_destroy(t);
}

/* Every allocation fails once: an error each time, nothing left. */
static void out_of_memory(void **state)
{
    (void)state;
    static const vocab_fn kinds[] = {vocab_rwkv, gpt2_plain, vocab_llama};
    static const char text[] = "hello</s><|im_end|>USER<tool> aaaa hello world abcd "
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                               " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (size_t k = 0; k < HY_COUNT(kinds); k++) {
        bool done = false;
        uint64_t fail_at = 1;
        for (; !done; fail_at++) {
            failing_env f;
            vocab_script v = {0};
            hy_tokenizer *t;
            hy_token *ids = NULL;
            char *back = NULL;
            hy_detok *d = NULL;
            hy_str out;
            size_t n = 0, len;
            hy_error err;
            failing_env_init(&f, fail_at);
            kinds[k](&v);
            hy_status s = vocab_open(&v, &f.env, &t, &err);
            if (s == HY_OK) {
                s = hy_tokenize(t, text, sizeof text - 1, HY_TOKENIZE_PARSE_SPECIAL, &ids, &n,
                                &err);
                s = s == HY_OK ? hy_detokenize(t, ids, n, 0, &back, &len, &err) : s;
                s = s == HY_OK ? hy_detok_create(t, 0, &d, &err) : s;
                for (size_t i = 0; s == HY_OK && i < n; i++) {
                    s = hy_detok_push(d, ids[i], &out, &err);
                }
                hy_detok_destroy(d);
                hy_tokenizer_free(t, back);
                hy_tokenizer_free(t, ids);
                hy_tokenizer_destroy(t);
            }
            done = s == HY_OK;
            assert_true(done == (f.failed == 0));
            if (!done) {
                assert_int_equal(s, HY_E_NOMEM);
                assert_int_equal(err.code, HY_E_NOMEM);
            }
            assert_int_equal(f.live_blocks, 0);
        }
        assert_true(fail_at > 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rwkv_takes_the_longest),
        cmocka_unit_test(gpt2_merges_by_rank),
        cmocka_unit_test(llama_merges_by_score),
        cmocka_unit_test(added_tokens_and_flags),
        cmocka_unit_test(byte_fallback_of_llama),
        cmocka_unit_test(refused_heads),
        cmocka_unit_test(refused_entries),
        cmocka_unit_test(refused_merges),
        cmocka_unit_test(refused_rwkv),
        cmocka_unit_test(streams_equal_wholes),
        cmocka_unit_test(characters_are_held_back),
        cmocka_unit_test(no_more_than_an_int_of_text),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
