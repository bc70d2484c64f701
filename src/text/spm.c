/* spm.c: SentencePiece-style vocabularies ("llama"): neighbours are joined to the token with the
 * highest score; what is no token is written byte by byte.  What it makes belongs to the tokenizer;
 * constant afterwards. */
#include "merge.h"
#include "tokenizer.h"

static const char blank[] = "\xE2\x96\x81"; /* U+2581, a space in entries */

/* The value of "<0xHH>", or -1. */
static int byte_of_entry(hy_str s)
{
    if (s.len != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>') {
        return -1;
    }
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char c = s.data[i];
        const char lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value * 16 + (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

static hy_status make_pieces(hy_tokenizer *t, hy_error *err)
{
    uint32_t at = 0;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        const hy_str entry = hy__strings_at(&t->entries, id);
        char *out = t->pieces.bytes + at;
        size_t n = 0;
        t->pieces.offsets[id] = at;
        if (t->kinds[id] == HY_TOKEN_BYTE) {
            const int byte = byte_of_entry(entry);
            if (byte < 0) {
                char text[80];
                return hy__fail(
                    err, HY_E_FORMAT,
                    "tokenizer.ggml.tokens[%u] \"%s\" is a byte token but not \"<0xHH>\"",
                    (unsigned)id, hy__printable(entry, text, sizeof text));
            }
            out[n++] = (char)byte;
        } else if (!hy__in_text(t, id) || t->kinds[id] == HY_TOKEN_USER_DEFINED) {
            memcpy(out, entry.data, entry.len);
            n = entry.len;
        } else {
            for (size_t i = 0; i < entry.len;) {
                if (entry.len - i >= 3 && memcmp(entry.data + i, blank, 3) == 0) {
                    out[n++] = ' ';
                    i += 3;
                } else {
                    out[n++] = entry.data[i++];
                }
            }
        }
        at += (uint32_t)n;
        t->spm.longest = HY_MAX(t->spm.longest, entry.len);
    }
    t->pieces.offsets[t->n_tokens] = at;
    return HY_OK;
}

static hy_status read_scores(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    const ptrdiff_t key = hy_gguf_find_key(g, "tokenizer.ggml.scores");
    if (key < 0) {
        return hy__fail(err, HY_E_FORMAT,
                        "tokenizer.ggml.scores is missing; a \"llama\" vocabulary needs it");
    }
    const size_t n = hy_gguf_elem_count(g, (size_t)key);
    if (hy_gguf_key_type(g, (size_t)key) != HY_GGUF_ARRAY || n < t->n_tokens) {
        return hy__fail(err, HY_E_FORMAT, "tokenizer.ggml.scores has %zu values for %u tokens", n,
                        (unsigned)t->n_tokens);
    }
    t->spm.ranks = hy__alloc(&t->env, t->n_tokens, sizeof *t->spm.ranks, err);
    if (!t->spm.ranks) {
        return HY_E_NOMEM;
    }
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        double score;
        if (!hy_gguf_elem_float(g, (size_t)key, id, &score) || score != score) {
            return hy__fail(err, HY_E_FORMAT, "tokenizer.ggml.scores[%u] is not a number",
                            (unsigned)id);
        }
        /* The bits of floats, once negative ones are turned around, are in the order of their
         * values; -0 is 0. */
        const uint32_t bits = hy__f32_bits((float)score + 0.0f);
        const uint32_t rising = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
        t->spm.ranks[id] = ~rising;
    }
    return HY_OK;
}

hy_status hy__spm_init(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    HY_TRY(make_pieces(t, err));
    HY_TRY(read_scores(t, g, err));
    static const char digits[] = "0123456789ABCDEF";
    const bool control = t->unknown != HY_TOKEN_NONE && t->kinds[t->unknown] == HY_TOKEN_CONTROL;
    const hy_token fallback =
        control ? HY_TOKEN_NONE : t->unknown; /* text must not make control tokens */
    for (unsigned byte = 0; byte < 256; byte++) {
        const char name[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        const char one = (char)byte;
        uint32_t id;
        t->spm.byte_tokens[byte] = fallback;
        if ((hy__strmap_get(&t->ids, name, sizeof name, &id) && hy__in_text(t, id)) ||
            (hy__strmap_get(&t->ids, &one, 1, &id) && hy__in_text(t, id))) {
            t->spm.byte_tokens[byte] = (hy_token)id;
        }
    }
    return HY_OK;
}

/* What the pair function needs: texts are looked up as they lie. */
typedef struct spm_text {
    const hy_tokenizer *t;
    const char *text;
} spm_text;

static bool find_token(const hy_tokenizer *t, const char *s, size_t len, uint32_t *id)
{
    return len <= t->spm.longest && hy__strmap_get(&t->ids, s, len, id) && hy__in_text(t, *id);
}

static bool spm_pair(const void *user, const hy__symbol *left, const hy__symbol *right,
                     uint32_t *rank, uint32_t *id)
{
    const spm_text *x = user;
    if (!find_token(x->t, x->text + left->start, left->len + right->len, id)) {
        return false;
    }
    *rank = x->t->spm.ranks[*id];
    return true;
}

static hy_status emit(const hy_tokenizer *t, const char *text, const hy__symbol *s, hy__ids *out,
                      hy_error *err)
{
    if (s->id != HY__SYMBOL_END) {
        return hy__ids_push(&t->env, out, (hy_token)s->id, err);
    }
    for (uint32_t i = s->start; i < s->start + s->len; i++) {
        const hy_token id = t->spm.byte_tokens[(uint8_t)text[i]];
        if (id != HY_TOKEN_NONE) {
            HY_TRY(hy__ids_push(&t->env, out, id, err));
        }
    }
    return HY_OK;
}

/* Symbols are whole characters as their first byte announces them; id: HY__SYMBOL_END if they are
 * no token. */
static hy_status encode_marked(const hy_tokenizer *t, hy__merger *m, const char *text, size_t len,
                               hy__ids *out, hy_error *err)
{
    HY_TRY(hy__merger_begin(&t->env, m, len, err));
    for (size_t i = 0; i < len;) {
        const uint8_t lead = (uint8_t)text[i];
        const size_t want = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        const size_t n = HY_MIN(want, len - i);
        uint32_t id;
        if (!find_token(t, text + i, n, &id)) {
            id = HY__SYMBOL_END;
        }
        hy__merger_add(m, (uint32_t)i, (uint32_t)n, id);
        i += n;
    }
    const spm_text x = {t, text};
    HY_TRY(hy__merger_run(&t->env, m, spm_pair, &x, err));
    for (uint32_t i = 0; i != HY__SYMBOL_END; i = m->symbols[i].next) {
        HY_TRY(emit(t, text, &m->symbols[i], out, err));
    }
    return HY_OK;
}

hy_status hy__spm_encode(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                         hy_error *err)
{
    size_t n_blanks = t->add_space_prefix ? 1 : 0;
    for (size_t i = 0; i < len; i++) {
        n_blanks += text[i] == ' ';
    }
    uint64_t n = (uint64_t)len + 2 * (uint64_t)n_blanks + (t->add_space_prefix ? 1 : 0);
    if (n > INT32_MAX) {
        return hy__fail(err, HY_E_LIMIT,
                        "a text of %zu bytes with %zu blanks is over the limit of 2^31 - 1 bytes",
                        len, n_blanks);
    }
    char *marked = hy__alloc(&t->env, (size_t)n, 1, err);
    if (!marked) {
        return HY_E_NOMEM;
    }
    size_t at = 0;
    if (t->add_space_prefix) {
        memcpy(marked, blank, 3);
        at = 3;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            memcpy(marked + at, blank, 3);
            at += 3;
        } else {
            marked[at++] = text[i];
        }
    }
    hy__merger m = {0};
    const hy_status status = encode_marked(t, &m, marked, at, out, err);
    hy__merger_finish(&t->env, &m);
    hy__free(&t->env, marked);
    return status;
}
