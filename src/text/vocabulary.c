/* vocabulary.c: the entries of a vocabulary, their kinds, and the special ids, checked while they
 * are read.
 *
 * Everything is copied: the file is not needed afterwards.  What is made belongs to the tokenizer.
 */
#include "tokenizer.h"

#include "gguf/gguf.h"

/* The key of an array, or -1 if there is none; checks element type and count. */
static hy_status find_array(const hy_gguf *g, const char *name, bool strings, size_t least,
                            ptrdiff_t *key, hy_error *err)
{
    *key = hy_gguf_find_key(g, name);
    if (*key < 0) {
        return HY_OK;
    }
    const size_t k = (size_t)*key;
    const hy_gguf_type elem = hy_gguf_elem_type(g, k);
    if (hy_gguf_key_type(g, k) != HY_GGUF_ARRAY || (elem == HY_GGUF_STRING) != strings ||
        elem == HY_GGUF_ARRAY || elem == HY_GGUF_FLOAT32 || elem == HY_GGUF_FLOAT64) {
        return hy__fail(err, HY_E_FORMAT, "%s is not an array of %s", name,
                        strings ? "strings" : "integers");
    }
    if (hy_gguf_elem_count(g, k) < least) {
        return hy__fail(err, HY_E_FORMAT, "%s has %zu values for %zu tokens", name,
                        hy_gguf_elem_count(g, k), least);
    }
    return HY_OK;
}

static hy_status read_entries(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    static const char name[] = "tokenizer.ggml.tokens";
    ptrdiff_t key;
    HY_TRY(find_array(g, name, true, 0, &key, err));
    const size_t n = key < 0 ? 0 : hy_gguf_elem_count(g, (size_t)key);
    if (n == 0) {
        return hy__fail(err, HY_E_FORMAT, "%s is missing or empty", name);
    }
    const uint64_t total = hy__gguf_string_bytes(g, (size_t)key);
    if (n > INT32_MAX || total > INT32_MAX) {
        return hy__fail(err, HY_E_LIMIT, "%s is over the limit of 2^31 - 1 tokens or bytes", name);
    }
    t->n_tokens = (uint32_t)n;
    t->entries.bytes = hy__alloc(&t->env, (size_t)total, 1, err);
    t->entries.offsets =
        t->entries.bytes ? hy__alloc(&t->env, n + 1, sizeof *t->entries.offsets, err) : NULL;
    /* Pieces are never longer than entries. */
    t->pieces.bytes = t->entries.offsets ? hy__alloc(&t->env, (size_t)total, 1, err) : NULL;
    t->pieces.offsets =
        t->pieces.bytes ? hy__alloc(&t->env, n + 1, sizeof *t->pieces.offsets, err) : NULL;
    if (!t->pieces.offsets) {
        return HY_E_NOMEM;
    }
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        hy_str s;
        (void)hy_gguf_elem_str(g, (size_t)key, i, &s);
        t->entries.offsets[i] = at;
        if (s.len) {
            memcpy(t->entries.bytes + at, s.data, s.len);
        }
        at += (uint32_t)s.len;
    }
    t->entries.offsets[n] = at;
    return HY_OK;
}

static hy_status read_kinds(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    static const char name[] = "tokenizer.ggml.token_type";
    ptrdiff_t key;
    HY_TRY(find_array(g, name, false, t->n_tokens, &key, err));
    t->kinds = hy__alloc(&t->env, t->n_tokens, 1, err);
    t->marks = t->kinds ? hy__calloc(&t->env, t->n_tokens, 1, err) : NULL;
    if (!t->marks) {
        return HY_E_NOMEM;
    }
    memset(t->kinds, HY_TOKEN_NORMAL, t->n_tokens);
    for (uint32_t i = 0; key >= 0 && i < t->n_tokens; i++) {
        int64_t kind;
        if (!hy_gguf_elem_int(g, (size_t)key, i, &kind) || kind < 0 || kind > HY_TOKEN_BYTE) {
            return hy__fail(err, HY_E_FORMAT, "%s[%u] is not a kind of token (0 to 6)", name,
                            (unsigned)i);
        }
        t->kinds[i] = (uint8_t)kind;
    }
    return HY_OK;
}

/* An id that is not in the vocabulary (files say -1 or more than there are) counts as absent. */
static hy_status read_id(const hy_tokenizer *t, const hy_gguf *g, const char *name, int64_t missing,
                         hy_token *out, hy_error *err)
{
    int64_t id = missing;
    uint64_t large;
    const ptrdiff_t key = hy_gguf_find_key(g, name);
    if (key >= 0 && (hy_gguf_key_type(g, (size_t)key) == HY_GGUF_ARRAY ||
                     !hy_gguf_elem_int(g, (size_t)key, 0, &id))) {
        if (hy_gguf_key_type(g, (size_t)key) == HY_GGUF_ARRAY ||
            !hy_gguf_elem_uint(g, (size_t)key, 0, &large)) {
            return hy__fail(err, HY_E_FORMAT, "%s is not an integer", name);
        }
        id = -1;
    }
    *out = id >= 0 && id < (int64_t)t->n_tokens ? (hy_token)id : HY_TOKEN_NONE;
    return HY_OK;
}

static void mark(hy_tokenizer *t, hy_token id, unsigned bit)
{
    if (id != HY_TOKEN_NONE) {
        t->marks[id] |= (uint8_t)bit;
    }
}

/* Texts that end a generation wherever a vocabulary has them; `turn`: also, in this order, the end
 * of a turn. */
#define END_TEXTS(X)                                                                               \
    X("<|eot_id|>", true)                                                                          \
    X("<|im_end|>", true)                                                                          \
    X("<|end|>", true)                                                                             \
    X("<end_of_turn>", true)                                                                       \
    X("<|endoftext|>", true)                                                                       \
    X("<|end_of_text|>", true)                                                                     \
    X("<EOT>", true)                                                                               \
    X("_<EOT>", true)                                                                              \
    X("[EOT]", true)                                                                               \
    X("<\xEF\xBD\x9C"                                                                              \
      "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",                                        \
      true)                                                                                        \
    X("<end_of_utterance>", true)                                                                  \
    X("<|return|>", false)                                                                         \
    X("<|call|>", false)                                                                           \
    X("<|flush|>", false)                                                                          \
    X("<|calls|>", false)                                                                          \
    X("</s>", false)                                                                               \
    X("<|eom_id|>", false)                                                                         \
    X("[EOS]", false)                                                                              \
    X("<eos>", false)

static bool find_text(const hy_tokenizer *t, const char *text, uint32_t *id)
{
    return hy__strmap_get(&t->ids, text, strlen(text), id);
}

static void mark_end_texts(hy_tokenizer *t)
{
    static const struct {
        const char *text;
        bool turn;
    } ends[] = {
#define END_ROW(text, turn) {text, turn},
        END_TEXTS(END_ROW)
#undef END_ROW
    };
    uint32_t id;
    /* gpt-oss closes every message with "<|end|>", also those that it goes on after. */
    const bool end_goes_on = find_text(t, "<|return|>", &id) && find_text(t, "<|call|>", &id);
    for (size_t i = 0; i < HY_COUNT(ends); i++) {
        if (!find_text(t, ends[i].text, &id)) {
            continue;
        }
        t->kinds[id] =
            HY_TOKEN_CONTROL; /* some files call it ordinary text: then users could write it */
        if (end_goes_on && strcmp(ends[i].text, "<|end|>") == 0) {
            continue;
        }
        mark(t, (hy_token)id, HY__MARK_EOG);
        if (ends[i].turn && t->eot == HY_TOKEN_NONE) {
            t->eot = (hy_token)id;
        }
    }
}

static hy_status read_special_ids(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    const bool llama = t->model == HY__VOCAB_LLAMA;
    static const char *const ends[] = {
        "tokenizer.ggml.eom_token_id",
        "tokenizer.ggml.fim_pad_token_id",
        "tokenizer.ggml.fim_rep_token_id",
        "tokenizer.ggml.fim_sep_token_id",
    };
    HY_TRY(read_id(t, g, "tokenizer.ggml.bos_token_id", llama ? 1 : -1, &t->bos, err));
    HY_TRY(read_id(t, g, "tokenizer.ggml.eos_token_id", llama ? 2 : -1, &t->eos, err));
    HY_TRY(read_id(t, g, "tokenizer.ggml.eot_token_id", -1, &t->eot, err));
    HY_TRY(read_id(t, g, "tokenizer.ggml.unknown_token_id", llama ? 0 : -1, &t->unknown, err));
    mark(t, t->eos, HY__MARK_EOG);
    mark(t, t->eot, HY__MARK_EOG);
    for (size_t i = 0; i < HY_COUNT(ends); i++) {
        hy_token id;
        HY_TRY(read_id(t, g, ends[i], -1, &id, err));
        mark(t, id, HY__MARK_EOG);
    }
    return HY_OK;
}

/* Ids by entry; entries must differ from each other.  RWKV checks that itself, for what its entries
 * stand for. */
static hy_status index_entries(hy_tokenizer *t, hy_error *err)
{
    enum { TOGETHER = 256 };
    hy_str entries[TOGETHER];
    uint32_t ids[TOGETHER];
    size_t n = 0;
    HY_TRY(hy__strmap_init(&t->env, &t->ids, t->n_tokens, err));
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        entries[n] = hy__strings_at(&t->entries, id);
        ids[n] = id;
        n += entries[n].len > 0;
        if (n < TOGETHER && id + 1 < t->n_tokens) {
            continue;
        }
        const size_t put = hy__strmap_put_all(&t->ids, entries, ids, n);
        if (put < n) {
            const hy_str twice = entries[put];
            uint32_t first = 0;
            char text[80];
            (void)hy__strmap_get(&t->ids, twice.data, twice.len, &first);
            return hy__fail(
                err, HY_E_FORMAT, "tokenizer.ggml.tokens[%u] \"%s\" is the same as [%u]",
                (unsigned)ids[put], hy__printable(twice, text, sizeof text), (unsigned)first);
        }
        n = 0;
    }
    return HY_OK;
}

static hy_status read_unsampled(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    static const char name[] = "tokenizer.ggml.suppress_tokens";
    ptrdiff_t key;
    HY_TRY(find_array(g, name, false, 0, &key, err));
    const size_t n = key < 0 ? 0 : hy_gguf_elem_count(g, (size_t)key);
    for (size_t i = 0; i < n; i++) {
        int64_t id;
        if (hy_gguf_elem_int(g, (size_t)key, i, &id) && id >= 0 && id < (int64_t)t->n_tokens) {
            mark(t, (hy_token)id, HY__MARK_NO_SAMPLE);
        }
    }
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        if (t->kinds[id] == HY_TOKEN_UNUSED || hy__strings_at(&t->entries, id).len == 0) {
            mark(t, (hy_token)id, HY__MARK_NO_SAMPLE);
        }
    }
    return HY_OK;
}

static hy_status read_flag(const hy_gguf *g, const char *name, bool missing, bool *out,
                           hy_error *err)
{
    const hy_status status = hy_gguf_get_bool(g, name, out, err);
    if (status == HY_E_NOT_FOUND) {
        *out = missing;
        return HY_OK;
    }
    return status;
}

static hy_status read_flags(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    if (t->model == HY__VOCAB_RWKV) {
        return HY_OK; /* adds nothing, whatever the file says */
    }
    const bool llama = t->model == HY__VOCAB_LLAMA;
    const bool bos = llama || (t->pre && t->pre->flags & HY__PRE_ADD_BOS);
    HY_TRY(read_flag(g, "tokenizer.ggml.add_bos_token", bos, &t->add_bos, err));
    HY_TRY(read_flag(g, "tokenizer.ggml.add_eos_token", false, &t->add_eos, err));
    return llama ? read_flag(g, "tokenizer.ggml.add_space_prefix", true, &t->add_space_prefix, err)
                 : HY_OK;
}

/* The tokens that are looked for in raw text: `all` or only the user-defined ones. */
static hy_status make_matcher(hy_tokenizer *t, bool all, hy__special *m, hy_error *err)
{
    uint32_t n = 0;
    hy_status status = HY_E_NOMEM;
    hy_str *texts = NULL;
    hy_token *ids = NULL;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        n = 0;
        for (uint32_t id = 0; id < t->n_tokens; id++) {
            const hy_str entry = hy__strings_at(&t->entries, id);
            if (entry.len &&
                (t->kinds[id] == HY_TOKEN_USER_DEFINED || (all && !hy__in_text(t, id)))) {
                if (pass) {
                    texts[n] = entry;
                    ids[n] = (hy_token)id;
                }
                n++;
            }
        }
        if (pass == 0) {
            texts = hy__alloc(&t->env, n, sizeof *texts, err);
            ids = texts ? hy__alloc(&t->env, n, sizeof *ids, err) : NULL;
            if (!ids) {
                break;
            }
        } else {
            status = hy__special_init(&t->env, m, texts, ids, n, err);
        }
    }
    hy__free(&t->env, texts);
    hy__free(&t->env, ids);
    return status;
}

hy_status hy__vocab_read(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    HY_TRY(read_entries(t, g, err));
    HY_TRY(read_kinds(t, g, err));
    HY_TRY(read_special_ids(t, g, err));
    if (t->model != HY__VOCAB_RWKV) {
        HY_TRY(index_entries(t, err));
        mark_end_texts(t);
    }
    HY_TRY(read_unsampled(t, g, err));
    HY_TRY(read_flags(t, g, err));
    HY_TRY(make_matcher(t, false, &t->user_defined, err));
    return make_matcher(t, true, &t->special, err);
}
