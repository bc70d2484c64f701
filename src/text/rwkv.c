/* rwkv.c: the RWKV World tokenizer: escaped entries, and the longest token at each place.
 *
 * Only ordinary tokens are in the tree: the texts of control tokens and of padding are ordinary
 * text here. What it makes belongs to the tokenizer; constant afterwards. */
#include "tokenizer.h"

/* Bytes of an ordinary token.  Looking for the longest token reads up to this far at every place of
 * a text, so an author of a file must not choose it; the longest of the World vocabulary has 128.
 */
#define MAX_WORD 1024u

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Writes the bytes that an entry stands for, at most as many as it has; false if an escape is cut
 * off or wrong. */
static bool unescape(hy_str entry, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t i = 0; i < entry.len; i++) {
        char c = entry.data[i];
        if (c == '\\') {
            if (++i == entry.len) {
                return false;
            }
            c = entry.data[i];
            if (c == 'x') {
                const int high = i + 2 < entry.len ? hex_digit(entry.data[i + 1]) : -1;
                const int low = i + 2 < entry.len ? hex_digit(entry.data[i + 2]) : -1;
                if (high < 0 || low < 0) {
                    return false;
                }
                c = (char)(high << 4 | low);
                i += 2;
            } else {
                c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
            }
        }
        out[n++] = c;
    }
    *n_out = n;
    return true;
}

static hy_status add_words(hy_tokenizer *t, hy__trie_builder *builder, hy_error *err)
{
    uint32_t at = 0;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        const hy_str entry = hy__strings_at(&t->entries, id);
        size_t n = entry.len;
        t->pieces.offsets[id] = at;
        if (t->kinds[id] != HY_TOKEN_NORMAL) {
            memcpy(t->pieces.bytes + at, entry.data, n);
        } else {
            if (!unescape(entry, t->pieces.bytes + at, &n)) {
                char text[80];
                return hy__fail(err, HY_E_FORMAT,
                                "tokenizer.ggml.tokens[%u] \"%s\" has a wrong or unfinished escape",
                                (unsigned)id, hy__printable(entry, text, sizeof text));
            }
            if (n > MAX_WORD) {
                return hy__fail(err, HY_E_LIMIT,
                                "tokenizer.ggml.tokens[%u] stands for %zu bytes, the limit is %u",
                                (unsigned)id, n, MAX_WORD);
            }
            uint32_t old = HY__TRIE_NONE;
            if (n) {
                HY_TRY(hy__trie_add(&t->env, builder, (hy_str){t->pieces.bytes + at, n}, id, &old,
                                    err));
            }
            if (old != HY__TRIE_NONE) {
                return hy__fail(err, HY_E_FORMAT,
                                "tokenizer.ggml.tokens[%u] stands for the same bytes as [%u]",
                                (unsigned)id, (unsigned)old);
            }
        }
        at += (uint32_t)n;
    }
    t->pieces.offsets[t->n_tokens] = at;
    return hy__trie_build(&t->env, builder, &t->words, err);
}

hy_status hy__rwkv_init(hy_tokenizer *t, hy_error *err)
{
    hy__trie_builder builder = {0};
    const hy_status status = add_words(t, &builder, err);
    hy__trie_builder_finish(&t->env, &builder);
    HY_TRY(status);
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint32_t node = t->words.root[byte];
        if (!node || t->words.nodes[node].value == HY__TRIE_NONE) {
            return hy__fail(err, HY_E_FORMAT,
                            "tokenizer.ggml.tokens has no token for the single byte 0x%02x", byte);
        }
    }
    return HY_OK;
}

hy_status hy__rwkv_encode(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                          hy_error *err)
{
    for (size_t i = 0; i < len;) {
        uint32_t node = t->words.root[(uint8_t)text[i]];
        uint32_t id = t->words.nodes[node].value; /* every byte is a token */
        size_t end = i + 1;
        for (size_t k = end; k < len; k++) {
            node = hy__trie_child(&t->words, node, (uint8_t)text[k]);
            if (!node) {
                break;
            }
            if (t->words.nodes[node].value != HY__TRIE_NONE) {
                id = t->words.nodes[node].value;
                end = k + 1;
            }
        }
        HY_TRY(hy__ids_push(&t->env, out, (hy_token)id, err));
        i = end;
    }
    return HY_OK;
}
