/* What tokenizers stand on: classes of code points, word splitters, tries, finding special tokens.
 */
#include "support/support.h"

#include "text/pretokenize.h"
#include "text/special.h"
#include "text/unicode.h"

static void classes_of_code_points(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp;
        unsigned cls;
    } facts[] = {
        {0x00, HY__CP_OTHER},     {0x09, HY__CP_SPACE},     {0x1F, HY__CP_OTHER},
        {' ', HY__CP_SPACE},      {'!', HY__CP_P},          {'$', HY__CP_S},
        {'+', HY__CP_S},          {'0', HY__CP_N},          {'A', HY__CP_LU},
        {'_', HY__CP_P},          {'`', HY__CP_S},          {'z', HY__CP_LL},
        {'~', HY__CP_S},          {0x7F, HY__CP_OTHER},     {0x85, HY__CP_SPACE},
        {0xA0, HY__CP_SPACE},     {0xAA, HY__CP_LO},        {0xAD, HY__CP_OTHER},
        {0xB2, HY__CP_N},         {0xD7, HY__CP_S},         {0xE9, HY__CP_LL},
        {0x1C5, HY__CP_LT},       {0x2B0, HY__CP_LM},       {0x301, HY__CP_M},
        {0x488, HY__CP_M},        {0x5D0, HY__CP_LO},       {0x661, HY__CP_N},
        {0x903, HY__CP_M},        {0x1680, HY__CP_SPACE},   {0x180E, HY__CP_OTHER},
        {0x200A, HY__CP_SPACE},   {0x200B, HY__CP_OTHER},   {0x2014, HY__CP_P},
        {0x2028, HY__CP_SPACE},   {0x2160, HY__CP_N},       {0x20AC, HY__CP_S},
        {0x3000, HY__CP_SPACE},   {0x3007, HY__CP_N},       {0x4E2D, HY__CP_LO},
        {0xAC00, HY__CP_LO},      {0xD800, HY__CP_OTHER},   {0xE000, HY__CP_OTHER},
        {0xFEFF, HY__CP_OTHER},   {0xFF21, HY__CP_LU},      {0x10400, HY__CP_LU},
        {0x10428, HY__CP_LL},     {0x1D7D8, HY__CP_N},      {0x1F30D, HY__CP_S},
        {0x20000, HY__CP_LO},     {0xE0100, HY__CP_M},      {0xF0000, HY__CP_OTHER},
        {0x10FFFF, HY__CP_OTHER}, {0x110000, HY__CP_OTHER}, {UINT32_MAX, HY__CP_OTHER},
    };
    for (size_t i = 0; i < HY_COUNT(facts); i++) {
        if (hy__cp_class(facts[i].cp) != facts[i].cls) {
            fail_msg("U+%04X has class %u, not %u", (unsigned)facts[i].cp,
                     hy__cp_class(facts[i].cp), facts[i].cls);
        }
    }
    /* The 25 code points of White_Space, and counts that no version of Unicode lowers. */
    unsigned spaces = 0, letters = 0, numbers = 0, marks = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        const unsigned c = hy__cp_class(cp);
        assert_true(c != 0 && (c & (c - 1)) == 0);
        spaces += c == HY__CP_SPACE;
        letters += (c & HY__CP_L) != 0;
        numbers += c == HY__CP_N;
        marks += c == HY__CP_M;
    }
    assert_int_equal(spaces, 25);
    assert_true(letters > 130000 && letters < 170000);
    assert_true(numbers > 1790 && numbers < 2500);
    assert_true(marks > 2400 && marks < 3500);
}

static const char *const class_names[] = {
#define NAME(name) #name,
    HY__PRE_CLASSES(NAME)
#undef NAME
};

static unsigned class_by_name(const char *name, size_t len)
{
    for (unsigned i = 0; i < HY__PRE_N; i++) {
        if (strlen(class_names[i]) == len && memcmp(class_names[i], name, len) == 0) {
            return i;
        }
    }
    fail_msg("no class %.*s", (int)len, name);
    return 0;
}

/* cases.txt: class, text in hexadecimal, lengths; made by the regular expressions themselves. */
static void words_as_regular_expressions_cut_them(void **state)
{
    (void)state;
    char *file = read_file(source_path("tests/golden/pretokenize/cases.txt"), NULL);
    size_t n_cases = 0;
    for (char *line = file; *line; n_cases++) {
        char *end = strchr(line, '\n');
        *end = 0;
        char *hex = strchr(line, ' ');
        const hy__pre_class cls = (hy__pre_class)class_by_name(line, (size_t)(hex - line));
        char *p = ++hex;
        size_t len = 0;
        char *text = malloc(strlen(hex) + 1);
        assert_non_null(text);
        for (; *p && *p != ' '; p += *p == '-' ? 1 : 2) {
            unsigned byte;
            if (sscanf(p, "%2x", &byte) == 1) {
                text[len++] = (char)byte;
            }
        }
        hy__pre_iter it;
        hy_str word;
        hy__pre_begin(&it, cls, text, len);
        while (hy__pre_next(&it, &word)) {
            char *after;
            const unsigned long want = strtoul(p, &after, 10);
            if (after == p || word.len != want) {
                fail_msg("%s: a word of %zu bytes, not %lu", line, word.len, want);
            }
            p = after;
        }
        assert_string_equal(p, "");
        free(text);
        line = end + 1;
    }
    assert_true(n_cases >= 1000);
    free(file);
}

/* Bytes that are no UTF-8 are characters of no class; nothing is lost, whatever the text. */
static void words_of_any_bytes(void **state)
{
    (void)state;
    hy__pre_iter it;
    hy_str word;
    const char text[] = "a\xFF\xFE b\xE4\xBD";
    static const size_t want[] = {1, 2, 2, 2};
    hy__pre_begin(&it, HY__PRE_GPT2, text, sizeof text - 1);
    for (size_t i = 0; i < HY_COUNT(want); i++) {
        assert_true(hy__pre_next(&it, &word));
        assert_int_equal(word.len, want[i]);
    }
    assert_false(hy__pre_next(&it, &word));
    assert_false(hy__pre_next(&it, &word));

    uint32_t seed = 1;
    for (unsigned round = 0; round < 2000; round++) {
        char bytes[40];
        const size_t len = round % sizeof bytes;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = round & 1 ? (char)(seed >> 24) : "a1 \n.'\xCC\x81S$"[seed >> 24 & 7];
        }
        for (unsigned cls = 0; cls < HY__PRE_N; cls++) {
            size_t at = 0;
            hy__pre_begin(&it, (hy__pre_class)cls, bytes, len);
            while (hy__pre_next(&it, &word)) {
                assert_true(word.len > 0 && word.data == bytes + at);
                at += word.len;
            }
            assert_int_equal(at, len);
        }
    }
}

static void names_of_pre_tokenizers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int cls;
        unsigned flags;
    } want[] = {
        {"gpt-2", HY__PRE_GPT2, 0},
        {"smollm", HY__PRE_DIGITS1, 0},
        {"llama-bpe", HY__PRE_LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS},
        {"dbrx", HY__PRE_LLAMA3, 0},
        {"qwen2", HY__PRE_QWEN2, 0},
        {"qwen35", HY__PRE_QWEN35, 0},
        {"falcon", HY__PRE_FALCON, 0},
        {"falcon3", HY__PRE_LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS},
        {"default", HY__PRE_DEFAULT, 0},
        {"deepseek-coder", HY__PRE_DEEPSEEK_CODER, 0},
        {"deepseek-v3", HY__PRE_DEEPSEEK3, 0},
        {"gpt-4o", HY__PRE_GPT4O, 0},
        {"jina-v2-de", HY__PRE_GPT2, 0},
        {"jina-v5-nano", HY__PRE_LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS},
        {"tekken", -1, 0},
        {"gpt-", -1, 0},
        {"gpt-22", -1, 0},
        {"jina", -1, 0},
        {"", -1, 0},
    };
    for (size_t i = 0; i < HY_COUNT(want); i++) {
        const hy__pre_info *info = hy__pre_find((hy_str){want[i].name, strlen(want[i].name)});
        assert_int_equal(info ? (int)info->cls : -1, want[i].cls);
        assert_int_equal(info ? info->flags : 0, want[i].flags);
    }
}

static hy_env os_env(void)
{
    hy_env env;
    hy__env_resolve(&env, NULL);
    return env;
}

static void longest_entries_of_a_trie(void **state)
{
    (void)state;
    const hy_env env = os_env();
    hy_error err;
    hy__trie_builder b = {0};
    hy__trie t;
    uint32_t old;
    assert_ok(hy__trie_build(&env, &b, &t, &err), &err); /* of nothing */
    assert_int_equal(hy__trie_child(&t, 0, 'a'), 0);
    hy__trie_finish(&env, &t);
    for (unsigned byte = 256; byte-- > 0;) {
        const char s[3] = {'x', (char)byte, (char)(byte / 2)};
        assert_ok(hy__trie_add(&env, &b, (hy_str){s, 2 + byte % 2}, byte, &old, &err), &err);
        assert_int_equal(old, HY__TRIE_NONE);
    }
    assert_ok(hy__trie_add(&env, &b, (hy_str){"x\x04", 2}, 999, &old, &err), &err);
    assert_int_equal(old, 4);
    assert_ok(hy__trie_build(&env, &b, &t, &err), &err);
    const uint32_t x = hy__trie_child(&t, 0, 'x');
    assert_true(x != 0 && t.nodes[x].value == HY__TRIE_NONE);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t node = hy__trie_child(&t, x, (uint8_t)byte);
        assert_true(node != 0);
        assert_int_equal(hy__trie_child(&t, node, 0xEE), 0);
        if (byte % 2) {
            assert_int_equal(t.nodes[node].value, HY__TRIE_NONE);
            node = hy__trie_child(&t, node, (uint8_t)(byte / 2));
        }
        assert_int_equal(t.nodes[node].value, byte);
    }
    hy__trie_builder_finish(&env, &b);
    hy__trie_finish(&env, &t);
}

/* The rule as it is stated: the tokens one after the other, each in what the ones before left. */
static size_t replace_one_by_one(const hy_str *texts, const hy_token *ids, const uint32_t *order,
                                 uint32_t n, const char *text, size_t len, hy__span *out)
{
    unsigned char taken[64] = {0};
    size_t n_out = 0;
    for (uint32_t k = 0; k < n; k++) {
        const hy_str s = texts[order[k]];
        for (size_t i = 0; i + s.len <= len; i++) {
            bool hit = memcmp(text + i, s.data, s.len) == 0;
            for (size_t j = i; hit && j < i + s.len; j++) {
                hit = !taken[j];
            }
            if (hit) {
                memset(taken + i, 1, s.len);
                out[n_out++] = (hy__span){(uint32_t)i, (uint32_t)s.len, ids[order[k]]};
            }
        }
    }
    for (size_t i = 1; i < n_out; i++) { /* into the order of the text */
        for (size_t j = i; j > 0 && out[j - 1].start > out[j].start; j--) {
            const hy__span swap = out[j];
            out[j] = out[j - 1];
            out[j - 1] = swap;
        }
    }
    return n_out;
}

static void special_tokens_as_the_rule_says(void **state)
{
    (void)state;
    const hy_env env = os_env();
    hy_error err;
    uint32_t seed = 7;
    size_t n_found = 0;
    for (unsigned round = 0; round < 6000; round++) {
        char pool[12][8], text[64];
        hy_str texts[12];
        hy_token ids[12];
        uint32_t order[12], n = 0;
        const unsigned letters = 1 + round % 3;
        for (unsigned k = 0; k < 1 + round % 12; k++) {
            seed = seed * 1664525 + 1013904223;
            const size_t len = 1 + (seed >> 28) % 7;
            bool again = false;
            for (size_t i = 0; i < len; i++) {
                seed = seed * 1664525 + 1013904223;
                pool[n][i] = (char)('a' + (seed >> 20) % letters);
            }
            for (uint32_t j = 0; j < n; j++) {
                again = again || (texts[j].len == len && memcmp(texts[j].data, pool[n], len) == 0);
            }
            if (!again) {
                texts[n] = (hy_str){pool[n], len};
                ids[n] = (hy_token)(100 + n);
                uint32_t at = n;
                for (; at > 0 && texts[order[at - 1]].len < len; at--) {
                    order[at] = order[at - 1];
                }
                order[at] = n++;
            }
        }
        const size_t len = round % sizeof text;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = (char)('a' + (seed >> 20) % letters);
        }
        hy__special m;
        hy__span *got, want[64];
        size_t n_got;
        assert_ok(hy__special_init(&env, &m, texts, ids, n, &err), &err);
        assert_ok(hy__special_find(&env, &m, text, len, &got, &n_got, &err), &err);
        const size_t n_want = replace_one_by_one(texts, ids, order, n, text, len, want);
        assert_int_equal(n_got, n_want);
        for (size_t i = 0; i < n_got; i++) {
            assert_int_equal(got[i].start, want[i].start);
            assert_int_equal(got[i].len, want[i].len);
            assert_int_equal(got[i].id, want[i].id);
        }
        n_found += n_got;
        hy__free(&env, got);
        hy__special_finish(&env, &m);
    }
    assert_true(n_found > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_of_code_points),
        cmocka_unit_test(words_as_regular_expressions_cut_them),
        cmocka_unit_test(words_of_any_bytes),
        cmocka_unit_test(names_of_pre_tokenizers),
        cmocka_unit_test(longest_entries_of_a_trie),
        cmocka_unit_test(special_tokens_as_the_rule_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
