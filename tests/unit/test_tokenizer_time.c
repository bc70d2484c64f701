/* Hostile texts of 1 MiB: no tokenizer may take more than 2 seconds of one processor for any of
 * them. */
#include "support/support.h"

#include <time.h>

#include "base/base.h"
#include "text/pretokenize.h"
#include "vocab_script.h"

enum { MIB = 1 << 20 };

/* Unoptimised and instrumented builds get more time: what is excluded is anything quadratic, which
 * takes hours. */
#ifdef NDEBUG
static const double limit_s = 2.0;
#else
static const double limit_s = 30.0;
#endif

/* Repeated to fill the text; "random" and "broken" stand for random bytes and for cut-off
 * characters. */
static const char *const patterns[] = {
    "a",  " ",     "\n",           "7",    "\xF0\x9F\x8C\x8D", "\xCC\x81", "a ",
    "<|", "'",     "\xE2\x96\x81", "<s>a", "A\xCC\x81",        "\r\n ",    "\t\xC2\xA0",
    "aB", "<|im_", "\xE4\xBD\xA0", "$",    "random",           "broken",
};

static void fill(char *text, const char *pattern)
{
    uint32_t seed = 5;
    const size_t len = strlen(pattern);
    for (size_t i = 0; i < MIB; i++) {
        seed = seed * 1664525 + 1013904223;
        if (strcmp(pattern, "random") == 0) {
            text[i] = (char)(seed >> 24);
        } else if (strcmp(pattern, "broken") == 0) {
            text[i] = "\xE4\xBD\xF0\xC3\xED\xA0\x80\xFF"[seed >> 24 & 7];
        } else {
            text[i] = pattern[i % len];
        }
    }
}

static double seconds_since(clock_t start)
{
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

static void report(const char *what, double total, double worst, size_t at)
{
    print_message("%-16s %.2f s for %zu texts of 1 MiB, at most %.2f s (pattern %zu)\n", what,
                  total, HY_COUNT(patterns), worst, at);
    assert_true(worst < limit_s);
}

static void check_kind(const char *name, vocab_script *v)
{
    hy_tokenizer *t;
    hy_error err;
    assert_ok(vocab_open(v, NULL, &t, &err), &err);
    char *text = malloc(MIB);
    assert_non_null(text);
    double total = 0, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < HY_COUNT(patterns); i++) {
        hy_token *ids;
        size_t n;
        fill(text, patterns[i]);
        const clock_t start = clock();
        assert_ok(hy_tokenize(t, text, MIB, HY_TOKENIZE_PARSE_SPECIAL, &ids, &n, &err), &err);
        const double s = seconds_since(start);
        hy_tokenizer_free(t, ids);
        total += s;
        if (s > worst) {
            worst = s;
            at = i;
        }
    }
    free(text);
    hy_tokenizer_destroy(t);
    report(name, total, worst, at);
}

static void rwkv_in_time(void **state)
{
    (void)state;
    vocab_script v = {0};
    vocab_rwkv(&v);
    check_kind("rwkv", &v);
}

static void llama_in_time(void **state)
{
    (void)state;
    vocab_script v = {0};
    vocab_llama(&v);
    check_kind("llama", &v);
}

/* With the class that leaves the longest words to the merges, and with the one that looks words up
 * whole. */
static void gpt2_in_time(void **state)
{
    (void)state;
    vocab_script v = {0};
    vocab_gpt2(&v, "gpt-2");
    check_kind("gpt2", &v);
    vocab_gpt2(&v, "llama-bpe");
    check_kind("gpt2 llama-bpe", &v);
}

static void every_splitter_in_time(void **state)
{
    (void)state;
    static const char *const names[] = {
#define NAME(name) #name,
        HY__PRE_CLASSES(NAME)
#undef NAME
    };
    char *text = malloc(MIB);
    assert_non_null(text);
    for (unsigned cls = 0; cls < HY__PRE_N; cls++) {
        double total = 0, worst = 0;
        size_t at = 0;
        for (size_t i = 0; i < HY_COUNT(patterns); i++) {
            fill(text, patterns[i]);
            const clock_t start = clock();
            hy__pre_iter it;
            hy_str word;
            size_t sum = 0;
            hy__pre_begin(&it, (hy__pre_class)cls, text, MIB);
            while (hy__pre_next(&it, &word)) {
                sum += word.len;
            }
            assert_int_equal(sum, MIB);
            const double s = seconds_since(start);
            total += s;
            if (s > worst) {
                worst = s;
                at = i;
            }
        }
        report(names[cls], total, worst, at);
    }
    free(text);
}

/* Many special tokens that begin and end like each other, and texts full of their beginnings. */
static void special_tokens_in_time(void **state)
{
    (void)state;
    enum { N = 1200 };
    static char texts[N][64];
    static hy_str entries[N + 1];
    static int32_t kinds[N + 1];
    char *text = malloc(MIB);
    assert_non_null(text);
    for (int shape = 0; shape < 2; shape++) {
        entries[0] = (hy_str){"a", 1};
        kinds[0] = HY_TOKEN_NORMAL;
        for (int i = 0; i < N; i++) {
            if (shape == 0) { /* "<|reserved_17|>" */
                snprintf(texts[i], sizeof texts[i], "<|reserved_%d|>", i);
            } else { /* runs of line ends, as some vocabularies have them, with something before and
                        after */
                memset(texts[i], '\n', 62);
                texts[i][i % 60 + 1] = (char)('A' + i / 60);
                texts[i][i % 60 + 2] = 0;
            }
            entries[i + 1] = (hy_str){texts[i], strlen(texts[i])};
            kinds[i + 1] = i % 2 ? HY_TOKEN_CONTROL : HY_TOKEN_USER_DEFINED;
        }
        static const hy_str merges[] = {{"a a", 3}};
        vocab_script v = {0};
        hy_tokenizer *t;
        hy_error err;
        vocab_str(&v, "tokenizer.ggml.model", "gpt2");
        vocab_str(&v, "tokenizer.ggml.pre", "gpt-2");
        vocab_strs(&v, "tokenizer.ggml.tokens", entries, N + 1);
        vocab_i32s(&v, "tokenizer.ggml.token_type", kinds, N + 1);
        vocab_strs(&v, "tokenizer.ggml.merges", merges, 1);
        assert_ok(vocab_open(&v, NULL, &t, &err), &err);
        static const char *const begin[] = {"<|reserved_1", "<|", "\n", "\n\n\n\n\n\n\nA", "\nB\n"};
        double total = 0;
        for (size_t k = 0; k < HY_COUNT(begin); k++) {
            hy_token *ids;
            size_t n;
            fill(text, begin[k]);
            const clock_t start = clock();
            assert_ok(hy_tokenize(t, text, MIB, HY_TOKENIZE_PARSE_SPECIAL, &ids, &n, &err), &err);
            const double s = seconds_since(start);
            assert_true(s < limit_s);
            total += s;
            hy_tokenizer_free(t, ids);
        }
        print_message("%d special tokens: %.2f s for %zu texts of 1 MiB\n", (int)N, total,
                      HY_COUNT(begin));
        hy_tokenizer_destroy(t);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rwkv_in_time),           cmocka_unit_test(llama_in_time),
        cmocka_unit_test(gpt2_in_time),           cmocka_unit_test(every_splitter_in_time),
        cmocka_unit_test(special_tokens_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
