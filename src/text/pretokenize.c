/* pretokenize.c: the word splitters of byte-level BPE vocabularies, as scanners.
 *
 * A class is a list of stages, each of which stands for one regular expression: it cuts every piece
 * of the stage before into its matches and what lies between them.  A matcher looks at [pos, end)
 * and returns the end of the match that begins at pos, or pos if none does; it may look ahead only
 * as far as the match or the run of blanks reaches, which keeps the whole linear.  Pure functions,
 * no memory, any thread. */
#include "pretokenize.h"

#include "unicode.h"

enum {
    ANY_SYMBOL = HY__CP_OTHER | HY__CP_M | HY__CP_P | HY__CP_S
}; /* neither white space, letter nor number */

/* Class and length of the character at pos; class 0 and length 0 at the end. */
static unsigned class_at(const char *s, size_t pos, size_t end, unsigned *len)
{
    if (pos >= end) {
        *len = 0;
        return 0;
    }
    uint32_t cp = (unsigned char)s[pos];
    *len = 1;
    if (cp >= 0x80) {
        const unsigned n = hy__utf8_decode(s + pos, end - pos, &cp);
        if (n == 0) {
            return HY__CP_OTHER;
        }
        *len = n;
    }
    return hy__cp_class(cp);
}

static size_t run_of(const char *s, size_t pos, size_t end, unsigned mask)
{
    unsigned n;
    while (class_at(s, pos, end, &n) & mask) {
        pos += n;
    }
    return pos;
}

static bool is_crlf(char c)
{
    return c == '\r' || c == '\n';
}

static size_t crlf_run(const char *s, size_t pos, size_t end)
{
    while (pos < end && is_crlf(s[pos])) {
        pos++;
    }
    return pos;
}

static size_t skip_blank(const char *s, size_t pos)
{
    return pos + (s[pos] == ' ');
}

/* 's 't 're 've 'm 'll 'd */
static size_t contraction(const char *s, size_t pos, size_t end, bool any_case)
{
    if (end - pos < 2 || s[pos] != '\'') {
        return pos;
    }
    const char fold = any_case ? 0x20 : 0;
    const char a = (char)(s[pos + 1] | fold);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return pos + 2;
    }
    if (end - pos >= 3) {
        const char b = (char)(s[pos + 2] | fold);
        if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l')) {
            return pos + 3;
        }
    }
    return pos;
}

/* \s+(?!\S)|\s+ : a run that something follows leaves its last character to it, unless it has no
 * other. */
static size_t blanks(const char *s, size_t pos, size_t end)
{
    size_t p = pos, last = pos;
    unsigned n;
    while (class_at(s, p, end, &n) & HY__CP_SPACE) {
        last = p;
        p += n;
    }
    return p < end && last > pos ? last : p;
}

/* \s*[\r\n]+ and then as above. */
static size_t lines_or_blanks(const char *s, size_t pos, size_t end)
{
    size_t p = pos, after_line = pos;
    unsigned n;
    while (class_at(s, p, end, &n) & HY__CP_SPACE) {
        p += n;
        if (is_crlf(s[p - 1])) {
            after_line = p;
        }
    }
    return after_line > pos ? after_line : blanks(s, pos, end);
}

static size_t numbers_up_to(const char *s, size_t pos, size_t end, unsigned max)
{
    unsigned n;
    for (unsigned i = 0; i < max && class_at(s, pos, end, &n) == HY__CP_N; i++) {
        pos += n;
    }
    return pos;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t match_gpt2(const char *s, size_t pos, size_t end)
{
    const size_t e = contraction(s, pos, end, false);
    if (e > pos) {
        return e;
    }
    const size_t start = skip_blank(s, pos);
    unsigned n;
    const unsigned c = class_at(s, start, end, &n);
    if (c & HY__CP_L) {
        return run_of(s, start + n, end, HY__CP_L);
    }
    if (c & HY__CP_N) {
        return run_of(s, start + n, end, HY__CP_N);
    }
    if (c & ANY_SYMBOL) {
        return run_of(s, start + n, end, ANY_SYMBOL);
    }
    return blanks(s, pos, end);
}

/* What the Llama-3 family has in common after contractions:
 * [^\r\n\p{L}\p{N}]?LETTERS+|\p{N}{1,DIGITS}| ?[^\s\p{N}LETTERS]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 */
static size_t match_l3(const char *s, size_t pos, size_t end, unsigned letters, unsigned digits)
{
    const size_t e = contraction(s, pos, end, true);
    if (e > pos) {
        return e;
    }
    unsigned n, n2;
    const unsigned c = class_at(s, pos, end, &n);
    if (c & letters) {
        return run_of(s, pos + n, end, letters);
    }
    if (c & HY__CP_N) {
        return numbers_up_to(s, pos, end, digits);
    }
    if (!is_crlf(s[pos]) && class_at(s, pos + n, end, &n2) & letters) {
        return run_of(s, pos + n + n2, end, letters);
    }
    const size_t start = skip_blank(s, pos);
    const size_t symbols = run_of(s, start, end, ANY_SYMBOL & ~letters);
    if (symbols > start) {
        return crlf_run(s, symbols, end);
    }
    return lines_or_blanks(s, pos, end);
}

static size_t match_llama3(const char *s, size_t pos, size_t end)
{
    return match_l3(s, pos, end, HY__CP_L, 3);
}

static size_t match_qwen2(const char *s, size_t pos, size_t end)
{
    return match_l3(s, pos, end, HY__CP_L, 1);
}

static size_t match_qwen35(const char *s, size_t pos, size_t end)
{
    return match_l3(s, pos, end, HY__CP_L | HY__CP_M, 1);
}

enum {
    CASELESS = HY__CP_LM | HY__CP_LO | HY__CP_M,
    UPPER = HY__CP_LU | HY__CP_LT | CASELESS,
    LOWER = HY__CP_LL | CASELESS
};

/* UPPER*LOWER+ from pos; *upper is the end of the longest run of UPPER. */
static size_t cased_word(const char *s, size_t pos, size_t end, size_t *upper)
{
    size_t p = pos, caseless = pos; /* the end of the last character that is both */
    unsigned n, c;
    while ((c = class_at(s, p, end, &n)) & UPPER) {
        p += n;
        if (c & CASELESS) {
            caseless = p;
        }
    }
    *upper = p;
    /* Without a lower-case letter behind the run, LOWER+ takes the last caseless character from it.
     */
    return c & LOWER ? run_of(s, p, end, LOWER) : caseless;
}

/* [^\r\n\p{L}\p{N}]?UPPER*LOWER+ or else [^\r\n\p{L}\p{N}]?UPPER+LOWER*, then a contraction if
 * there is one. */
static size_t word_with_case(const char *s, size_t pos, size_t end)
{
    unsigned n;
    const unsigned c = class_at(s, pos, end, &n);
    const bool prefix = !is_crlf(s[pos]) && !(c & (HY__CP_L | HY__CP_N));
    size_t upper = pos, upper_plain = pos;
    size_t e = pos;
    if (prefix) {
        e = cased_word(s, pos + n, end, &upper);
        if (e == pos + n) {
            e = upper > pos + n ? upper : pos;
            /* A mark may also begin the word itself, and that alternative comes before upper case
             * alone. */
            if (c & HY__CP_M) {
                e = cased_word(s, pos, end, &upper_plain);
            }
        }
    } else if (c & HY__CP_L) {
        e = cased_word(s, pos, end, &upper_plain);
        e = e > pos ? e : upper_plain;
    }
    return e > pos ? contraction(s, e, end, true) : pos;
}

static size_t match_gpt4o(const char *s, size_t pos, size_t end)
{
    const size_t word = word_with_case(s, pos, end);
    if (word > pos) {
        return word;
    }
    const size_t numbers = numbers_up_to(s, pos, end, 3);
    if (numbers > pos) {
        return numbers;
    }
    const size_t start = skip_blank(s, pos);
    size_t e = run_of(s, start, end, ANY_SYMBOL);
    if (e > start) {
        while (e < end && (is_crlf(s[e]) || s[e] == '/')) {
            e++;
        }
        return e;
    }
    return lines_or_blanks(s, pos, end);
}

static bool ascii_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
 * ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t match_deepseek3(const char *s, size_t pos, size_t end)
{
    const unsigned letters = HY__CP_L | HY__CP_M, signs = HY__CP_P | HY__CP_S;
    unsigned n, n2;
    const unsigned c = class_at(s, pos, end, &n);
    if (n == 1 && c & signs && pos + 1 < end && ascii_letter(s[pos + 1])) {
        size_t e = pos + 2;
        while (e < end && ascii_letter(s[e])) {
            e++;
        }
        return e;
    }
    if (c & letters) {
        return run_of(s, pos + n, end, letters);
    }
    if (!is_crlf(s[pos]) && !(c & signs) && class_at(s, pos + n, end, &n2) & letters) {
        return run_of(s, pos + n + n2, end, letters);
    }
    const size_t start = skip_blank(s, pos);
    const size_t e = run_of(s, start, end, signs);
    if (e > start) {
        return crlf_run(s, e, end);
    }
    return lines_or_blanks(s, pos, end);
}

/* \p{N} */
static size_t match_number(const char *s, size_t pos, size_t end)
{
    return numbers_up_to(s, pos, end, 1);
}

/* \p{N}{1,3} */
static size_t match_three_numbers(const char *s, size_t pos, size_t end)
{
    return numbers_up_to(s, pos, end, 3);
}

/* \p{N}+ */
static size_t match_numbers(const char *s, size_t pos, size_t end)
{
    return run_of(s, pos, end, HY__CP_N);
}

/* [0-9][0-9][0-9] */
static size_t match_three_digits(const char *s, size_t pos, size_t end)
{
    for (size_t i = pos; i < pos + 3; i++) {
        if (i >= end || s[i] < '0' || s[i] > '9') {
            return pos;
        }
    }
    return pos + 3;
}

static size_t punctuation_and(const char *s, size_t pos, size_t end, const char *signs)
{
    for (;;) {
        unsigned n;
        const unsigned c = class_at(s, pos, end, &n);
        if (n == 0 || !(c == HY__CP_P || strchr(signs, s[pos])) || s[pos] == 0) {
            return pos;
        }
        pos += n;
    }
}

/* [\p{P}\$\+<=>\^~\|`]+ */
static size_t match_falcon(const char *s, size_t pos, size_t end)
{
    return punctuation_and(s, pos, end, "$+<=>^~|`");
}

/* [\p{P}\$\+<=>\^~\|]+ */
static size_t match_default(const char *s, size_t pos, size_t end)
{
    return punctuation_and(s, pos, end, "$+<=>^~|");
}

/* [\r\n] */
static size_t match_line_end(const char *s, size_t pos, size_t end)
{
    (void)end;
    return pos + is_crlf(s[pos]);
}

static size_t blank_and_run(const char *s, size_t pos, size_t end, unsigned mask)
{
    unsigned n;
    const size_t start = class_at(s, pos, end, &n) & HY__CP_SPACE ? pos + n : pos;
    const size_t e = run_of(s, start, end, mask);
    return e > start ? e : pos;
}

/* \s?\p{L}+ */
static size_t match_letters(const char *s, size_t pos, size_t end)
{
    return blank_and_run(s, pos, end, HY__CP_L);
}

/* \s?\p{P}+ */
static size_t match_punctuation(const char *s, size_t pos, size_t end)
{
    return blank_and_run(s, pos, end, HY__CP_P);
}

typedef struct range {
    uint32_t first, last;
} range;

static size_t ranges_run(const char *s, size_t pos, size_t end, const range *ranges,
                         size_t n_ranges)
{
    while (pos < end) {
        uint32_t cp;
        const unsigned n = hy__utf8_decode(s + pos, end - pos, &cp);
        bool in = false;
        for (size_t i = 0; n && i < n_ranges; i++) {
            in = in || (cp >= ranges[i].first && cp <= ranges[i].last);
        }
        if (!in) {
            break;
        }
        pos += n;
    }
    return pos;
}

/* [U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF]+ */
static size_t match_wide(const char *s, size_t pos, size_t end)
{
    static const range wide[] = {{0x0800, 0x9FA5}, {0xAC00, 0xD7FF}};
    return ranges_run(s, pos, end, wide, HY_COUNT(wide));
}

/* [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+ */
static size_t match_han_kana(const char *s, size_t pos, size_t end)
{
    static const range han_kana[] = {{0x4E00, 0x9FA5}, {0x3040, 0x30FF}};
    return ranges_run(s, pos, end, han_kana, HY_COUNT(han_kana));
}

typedef size_t (*match_fn)(const char *s, size_t pos, size_t end);

static const match_fn stages[HY__PRE_N][HY__PRE_MAX_STAGES] = {
    [HY__PRE_GPT2] = {match_gpt2},
    [HY__PRE_DIGITS1] = {match_number, match_gpt2},
    [HY__PRE_LLAMA3] = {match_llama3},
    [HY__PRE_QWEN2] = {match_qwen2},
    [HY__PRE_QWEN35] = {match_qwen35},
    [HY__PRE_FALCON] = {match_falcon, match_gpt2, match_three_digits},
    [HY__PRE_DEFAULT] = {match_default, match_gpt2, match_numbers, match_three_digits},
    [HY__PRE_DEEPSEEK_CODER] = {match_line_end, match_letters, match_punctuation, match_wide,
                                match_number},
    [HY__PRE_DEEPSEEK3] = {match_three_numbers, match_han_kana, match_deepseek3},
    [HY__PRE_GPT4O] = {match_gpt4o},
};

/* The end of the first piece of [pos, end): a match, or everything before the next one. */
static size_t cut(match_fn match, const char *s, size_t pos, size_t end)
{
    const size_t e = match(s, pos, end);
    if (e > pos) {
        return e;
    }
    do {
        unsigned n;
        (void)class_at(s, pos, end, &n);
        pos += n;
    } while (pos < end && match(s, pos, end) == pos);
    return pos;
}

void hy__pre_begin(hy__pre_iter *it, hy__pre_class cls, const char *s, size_t len)
{
    memset(it, 0, sizeof *it);
    it->s = s;
    it->cls = cls;
    it->end[0] = len;
    while (it->n_stages < HY__PRE_MAX_STAGES && stages[cls][it->n_stages]) {
        it->n_stages++;
    }
}

bool hy__pre_next(hy__pre_iter *it, hy_str *word)
{
    if (it->pos >= it->end[0]) {
        return false;
    }
    unsigned stage = it->n_stages;
    while (it->end[stage] <= it->pos) {
        stage--; /* ends at stage 0, whose piece is the text */
    }
    for (; stage < it->n_stages; stage++) {
        it->end[stage + 1] = cut(stages[it->cls][stage], it->s, it->pos, it->end[stage]);
    }
    const size_t end = it->end[it->n_stages];
    *word = (hy_str){it->s + it->pos, end - it->pos};
    it->pos = end;
    return true;
}

/* Names of pre-tokenizers; one that ends in '*' stands for all that begin so. */
#define PRE_NAMES(X)                                                                               \
    X("gpt-2", GPT2, 0)                                                                            \
    X("mpt", GPT2, 0)                                                                              \
    X("olmo", GPT2, 0)                                                                             \
    X("phi-2", GPT2, 0)                                                                            \
    X("jais", GPT2, 0)                                                                             \
    X("trillion", GPT2, 0)                                                                         \
    X("gigachat", GPT2, 0)                                                                         \
    X("exaone4", GPT2, 0)                                                                          \
    X("roberta-bpe", GPT2, 0)                                                                      \
    X("modern-bert", GPT2, 0)                                                                      \
    X("a.x-4.0", GPT2, 0)                                                                          \
    X("mellum", GPT2, 0)                                                                           \
    X("granite-docling", GPT2, 0)                                                                  \
    X("smollm", DIGITS1, 0)                                                                        \
    X("starcoder", DIGITS1, 0)                                                                     \
    X("refact", DIGITS1, 0)                                                                        \
    X("command-r", DIGITS1, 0)                                                                     \
    X("codeshell", DIGITS1, 0)                                                                     \
    X("exaone", DIGITS1, 0)                                                                        \
    X("minerva-7b", DIGITS1, 0)                                                                    \
    X("mellum2", DIGITS1, 0)                                                                       \
    X("llama-bpe", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                \
    X("llama3", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                   \
    X("llama-v3", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                 \
    X("falcon3", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                  \
    X("falcon-h1", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                \
    X("pixtral", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                  \
    X("midm-2.0", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                 \
    X("lfm2", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                                     \
    X("jina-v5-nano", LLAMA3, HY__PRE_IGNORE_MERGES | HY__PRE_ADD_BOS)                             \
    X("jina-*", GPT2, 0)                                                                           \
    X("dbrx", LLAMA3, 0)                                                                           \
    X("smaug-bpe", LLAMA3, 0)                                                                      \
    X("chatglm-bpe", LLAMA3, 0)                                                                    \
    X("glm4", LLAMA3, 0)                                                                           \
    X("qwen2", QWEN2, 0)                                                                           \
    X("deepseek-r1-qwen", QWEN2, 0)                                                                \
    X("megrez", QWEN2, 0)                                                                          \
    X("hunyuan", QWEN2, 0)                                                                         \
    X("stablelm2", QWEN2, 0)                                                                       \
    X("kormo", QWEN2, 0)                                                                           \
    X("f2llmv2", QWEN2, 0)                                                                         \
    X("solar-open", QWEN2, 0)                                                                      \
    X("grok-2", QWEN2, 0)                                                                          \
    X("qwen35", QWEN35, 0)                                                                         \
    X("falcon", FALCON, 0)                                                                         \
    X("default", DEFAULT, 0)                                                                       \
    X("deepseek-coder", DEEPSEEK_CODER, 0)                                                         \
    X("deepseek-v3", DEEPSEEK3, 0)                                                                 \
    X("hunyuan-dense", DEEPSEEK3, 0)                                                               \
    X("joyai-llm", DEEPSEEK3, 0)                                                                   \
    X("gpt-4o", GPT4O, 0)                                                                          \
    X("llama4", GPT4O, 0)                                                                          \
    X("kanana2", GPT4O, 0)

#define PRE_ROW(name, cls, flags) {name, HY__PRE_##cls, flags},
static const hy__pre_info pre_table[] = {PRE_NAMES(PRE_ROW)};
#undef PRE_ROW

const hy__pre_info *hy__pre_find(hy_str name)
{
    for (size_t i = 0; i < HY_COUNT(pre_table); i++) {
        const size_t len = strlen(pre_table[i].name);
        const bool prefix = pre_table[i].name[len - 1] == '*';
        if (prefix ? name.len >= len - 1 && memcmp(name.data, pre_table[i].name, len - 1) == 0
                   : name.len == len && memcmp(name.data, pre_table[i].name, len) == 0) {
            return &pre_table[i];
        }
    }
    return NULL;
}
