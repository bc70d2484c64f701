/* bpe.c: byte-level BPE ("gpt2"): words by the pre-tokenizer, then neighbours joined in the order
 * of the merges.
 *
 * Entries and merges are written in an alphabet of 256 printable code points, one per byte.  Merges
 * are kept by symbol numbers, sorted, so that a pair is found without hashing.  What is made here
 * belongs to the tokenizer; constant afterwards. */
#include "gguf/gguf.h"
#include "merge.h"
#include "tokenizer.h"

/* Bytes that are printable in Latin-1 stand for themselves; the others, in their order, for U+0100,
 * U+0101, ... */
static bool stands_for_itself(uint32_t v)
{
    return (v >= 0x21 && v <= 0x7E) || (v >= 0xA1 && v <= 0xAC) || (v >= 0xAE && v <= 0xFF);
}

static void make_alphabet(hy__alphabet *a)
{
    uint32_t next = 0x100;
    memset(a->byte_of, 0xFF, sizeof a->byte_of);
    for (uint32_t byte = 0; byte < 256; byte++) {
        const uint32_t cp = stands_for_itself(byte) ? byte : next++;
        char utf8[4];
        a->len[byte] = (uint8_t)hy__utf8_encode(cp, utf8);
        memcpy(a->text[byte], utf8, 2);
        a->byte_of[cp] = (int16_t)byte;
    }
}

/* Pieces: letters back to bytes; what is no letter stays as it is. */
static void make_pieces(hy_tokenizer *t)
{
    const hy__alphabet *a = &t->bpe.letters;
    uint32_t at = 0;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        const hy_str entry = hy__strings_at(&t->entries, id);
        const bool plain = !hy__in_text(t, id) || t->kinds[id] == HY_TOKEN_USER_DEFINED;
        t->pieces.offsets[id] = at;
        t->bpe.longest = HY_MAX(t->bpe.longest, entry.len);
        for (size_t i = 0; i < entry.len;) {
            uint32_t cp = 0;
            const unsigned n = plain ? 0 : hy__utf8_decode(entry.data + i, entry.len - i, &cp);
            if (n && cp < HY_COUNT(a->byte_of) && a->byte_of[cp] >= 0) {
                t->pieces.bytes[at++] = (char)a->byte_of[cp];
                i += n;
            } else {
                t->pieces.bytes[at++] = entry.data[i++];
            }
        }
    }
    t->pieces.offsets[t->n_tokens] = at;
}

/* While the merges are read.  A merge is kept as its two halves without the space between them, so
 * that left, right and result are all parts of `bytes`. */
typedef struct raw_merge {
    uint32_t at, left_len, right_len;
    uint32_t left, right, result; /* symbols; NO_SYMBOL: no token */
} raw_merge;

#define NO_SYMBOL UINT32_MAX

typedef struct loader {
    hy_tokenizer *t;
    raw_merge *merges;
    uint32_t n_merges;
    char *bytes;
    hy__strmap extra; /* symbols that are no tokens */
    size_t n_missing;
    uint32_t last_result;
} loader;

static uint32_t token_symbol(loader *l, const char *s, size_t len)
{
    uint32_t id;
    if (hy__strmap_get(&l->t->ids, s, len, &id)) {
        return id;
    }
    l->n_missing++;
    return NO_SYMBOL;
}

/* Vocabularies mostly list tokens in the order of their merges, so the result is often the last one
 * or the next. */
static bool guess_result(loader *l, hy_str result, uint32_t *symbol)
{
    for (uint32_t id = l->last_result; id < l->t->n_tokens && id - l->last_result < 2; id++) {
        const hy_str entry = hy__strings_at(&l->t->entries, id);
        if (entry.len == result.len && memcmp(entry.data, result.data, result.len) == 0) {
            l->last_result = *symbol = id;
            return true;
        }
    }
    return false;
}

enum { TOGETHER = 64 }; /* merges whose symbols are looked up at once */

/* Symbols of the merges first to first + n - 1. */
static void find_symbols(loader *l, uint32_t first, uint32_t n)
{
    hy_str names[3 * TOGETHER];
    uint32_t found[3 * TOGETHER];
    uint32_t *wanted[3 * TOGETHER];
    size_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        raw_merge *m = &l->merges[first + i];
        const char *bytes = l->bytes + m->at;
        const hy_str result = {bytes, (size_t)m->left_len + m->right_len};
        names[k] = (hy_str){bytes, m->left_len};
        wanted[k++] = &m->left;
        names[k] = (hy_str){bytes + m->left_len, m->right_len};
        wanted[k++] = &m->right;
        if (!guess_result(l, result, &m->result)) {
            names[k] = result;
            wanted[k++] = &m->result;
        }
    }
    hy__strmap_get_all(&l->t->ids, names, k, NO_SYMBOL, found);
    for (size_t i = 0; i < k; i++) {
        *wanted[i] = found[i];
        l->n_missing += found[i] == NO_SYMBOL;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t result = l->merges[first + i].result;
        l->last_result = result == NO_SYMBOL ? l->last_result : result;
    }
}

static hy_status split_merge(loader *l, uint32_t i, hy_str s, uint32_t at, hy_error *err)
{
    const char *space = s.len > 1 ? memchr(s.data + 1, ' ', s.len - 1) : NULL;
    if (!space || space + 1 == s.data + s.len) {
        char text[80];
        return hy__fail(
            err, HY_E_FORMAT,
            "tokenizer.ggml.merges[%u] \"%s\" is not two parts with a space between them",
            (unsigned)i, hy__printable(s, text, sizeof text));
    }
    raw_merge *m = &l->merges[i];
    m->at = at;
    m->left_len = (uint32_t)(space - s.data);
    m->right_len = (uint32_t)(s.len - m->left_len - 1);
    char *bytes = l->bytes + at;
    memcpy(bytes, s.data, m->left_len);
    memcpy(bytes + m->left_len, space + 1, m->right_len);
    return HY_OK;
}

static hy_status read_merges(loader *l, const hy_gguf *g, hy_error *err)
{
    const ptrdiff_t found = hy_gguf_find_key(g, "tokenizer.ggml.merges");
    if (found < 0) {
        return hy__fail(err, HY_E_FORMAT,
                        "tokenizer.ggml.merges is missing; a \"gpt2\" vocabulary needs it");
    }
    const size_t key = (size_t)found;
    const size_t n = hy_gguf_elem_count(g, key);
    if (hy_gguf_key_type(g, key) != HY_GGUF_ARRAY || hy_gguf_elem_type(g, key) != HY_GGUF_STRING) {
        return hy__fail(err, HY_E_FORMAT, "tokenizer.ggml.merges is not an array of strings");
    }
    const uint64_t total = hy__gguf_string_bytes(g, key);
    if (total > INT32_MAX || n > INT32_MAX) {
        return hy__fail(err, HY_E_LIMIT,
                        "tokenizer.ggml.merges is over the limit of 2^31 - 1 bytes");
    }
    l->n_merges = (uint32_t)n;
    l->merges = hy__alloc(&l->t->env, n, sizeof *l->merges, err);
    l->bytes = l->merges ? hy__alloc(&l->t->env, (size_t)total, 1, err) : NULL;
    if (!l->bytes) {
        return HY_E_NOMEM;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < l->n_merges; i++) {
        hy_str s;
        (void)hy_gguf_elem_str(g, key, i, &s);
        HY_TRY(split_merge(l, i, s, at, err));
        at += (uint32_t)s.len;
        const uint32_t n_split = i % TOGETHER + 1;
        if (n_split == TOGETHER || i + 1 == l->n_merges) {
            find_symbols(l, i + 1 - n_split, n_split);
        }
    }
    return HY_OK;
}

/* Numbers the strings that are no tokens from n_tokens on. */
static void number(loader *l, uint32_t *symbol, const char *s, size_t len)
{
    if (*symbol == NO_SYMBOL && !hy__strmap_get(&l->extra, s, len, symbol)) {
        *symbol = l->t->bpe.n_symbols++;
        (void)hy__strmap_put(&l->extra, s, len, *symbol); /* has room for all */
    }
}

static hy_status number_symbols(loader *l, hy_error *err)
{
    hy__bpe *bpe = &l->t->bpe;
    for (unsigned byte = 0; byte < 256; byte++) {
        bpe->byte_symbols[byte] = token_symbol(l, bpe->letters.text[byte], bpe->letters.len[byte]);
    }
    bpe->n_symbols = l->t->n_tokens;
    if (l->n_missing == 0) {
        return HY_OK;
    }
    HY_TRY(hy__strmap_init(&l->t->env, &l->extra, l->n_missing, err));
    for (unsigned byte = 0; byte < 256; byte++) {
        number(l, &bpe->byte_symbols[byte], bpe->letters.text[byte], bpe->letters.len[byte]);
    }
    for (uint32_t i = 0; i < l->n_merges; i++) {
        raw_merge *m = &l->merges[i];
        const char *bytes = l->bytes + m->at;
        number(l, &m->left, bytes, m->left_len);
        number(l, &m->right, bytes + m->left_len, m->right_len);
        number(l, &m->result, bytes, (size_t)m->left_len + m->right_len);
    }
    return HY_OK;
}

/* Turns counts[i + 1] = how many have symbol i into counts[i] = where those begin. */
static void sum_up(uint32_t *counts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        counts[i + 1] += counts[i];
    }
}

/* A merge while it is sorted. */
typedef struct merge_row {
    uint32_t left;
    struct hy__bpe_merge merge;
} merge_row;

/* Two stable counting sorts, by right and then by left symbol; equal pairs stay in the order of
 * their ranks.  counts[n_symbols + 1] is zero. */
static hy_status sort_merges(loader *l, merge_row *rows, uint32_t *counts, hy_error *err)
{
    hy__bpe *bpe = &l->t->bpe;
    const uint32_t n = l->n_merges;
    bpe->first = hy__calloc(&l->t->env, (size_t)bpe->n_symbols + 2, sizeof *bpe->first, err);
    bpe->merges = bpe->first ? hy__alloc(&l->t->env, n, sizeof *bpe->merges, err) : NULL;
    if (!bpe->merges) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        counts[l->merges[i].right + 1]++;
        bpe->first[l->merges[i].left +
                   2]++; /* one further: filling in below moves each by its count */
    }
    sum_up(counts, bpe->n_symbols);
    sum_up(bpe->first, bpe->n_symbols + 1);
    for (uint32_t i = 0; i < n; i++) {
        const raw_merge *m = &l->merges[i];
        rows[counts[m->right]++] = (merge_row){m->left, {m->right, i, m->result}};
    }
    for (uint32_t k = 0; k < n; k++) {
        bpe->merges[bpe->first[rows[k].left + 1]++] = rows[k].merge;
    }
    return HY_OK;
}

static hy_status load(loader *l, const hy_gguf *g, hy_error *err)
{
    const hy_env *env = &l->t->env;
    HY_TRY(read_merges(l, g, err));
    HY_TRY(number_symbols(l, err));
    merge_row *rows = hy__alloc(env, l->n_merges, sizeof *rows, err);
    if (!rows) {
        return HY_E_NOMEM;
    }
    uint32_t *counts = hy__calloc(env, (size_t)l->t->bpe.n_symbols + 1, sizeof *counts, err);
    const hy_status status = counts ? sort_merges(l, rows, counts, err) : HY_E_NOMEM;
    hy__free(env, rows);
    hy__free(env, counts);
    return status;
}

hy_status hy__bpe_init(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    make_alphabet(&t->bpe.letters);
    make_pieces(t);
    loader l = {.t = t};
    const hy_status status = load(&l, g, err);
    hy__strmap_finish(&t->env, &l.extra);
    hy__free(&t->env, l.merges);
    hy__free(&t->env, l.bytes);
    return status;
}

static bool bpe_pair(const void *user, const hy__symbol *left, const hy__symbol *right,
                     uint32_t *rank, uint32_t *id)
{
    const hy__bpe *bpe = user;
    uint32_t low = bpe->first[left->id], high = bpe->first[left->id + 1];
    const uint32_t end = high;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (bpe->merges[mid].right < right->id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == end || bpe->merges[low].right != right->id) {
        return false;
    }
    *rank = bpe->merges[low].rank;
    *id = bpe->merges[low].result;
    return true;
}

/* What one call of hy__bpe_encode uses again for each word. */
typedef struct bpe_call {
    const hy_tokenizer *t;
    hy__merger merger;
    char *spelled; /* t->bpe.longest + 2 bytes; NULL if words are never looked up whole */
    hy__ids *out;
} bpe_call;

/* Whether the word, spelled in the alphabet, is a token. */
static bool whole_word(const bpe_call *call, hy_str word, uint32_t *id)
{
    const hy__alphabet *letters = &call->t->bpe.letters;
    size_t n = 0;
    for (size_t i = 0; i < word.len; i++) {
        const uint8_t byte = (uint8_t)word.data[i];
        if (n >= call->t->bpe.longest) {
            return false;
        }
        memcpy(call->spelled + n, letters->text[byte], 2);
        n += letters->len[byte];
    }
    return hy__strmap_get(&call->t->ids, call->spelled, n, id) && hy__in_text(call->t, *id);
}

/* A symbol that is no token is written as the tokens of its bytes; bytes without a token are
 * dropped. */
static hy_status emit(const bpe_call *call, hy_str word, const hy__symbol *s, hy_error *err)
{
    const hy_tokenizer *t = call->t;
    if (s->id < t->n_tokens && hy__in_text(t, s->id)) {
        return hy__ids_push(&t->env, call->out, (hy_token)s->id, err);
    }
    for (uint32_t i = s->start; i < s->start + s->len; i++) {
        const uint32_t id = t->bpe.byte_symbols[(uint8_t)word.data[i]];
        if (id < t->n_tokens && hy__in_text(t, id)) {
            HY_TRY(hy__ids_push(&t->env, call->out, (hy_token)id, err));
        }
    }
    return HY_OK;
}

static hy_status encode_word(bpe_call *call, hy_str word, hy_error *err)
{
    const hy_tokenizer *t = call->t;
    hy__merger *m = &call->merger;
    uint32_t id;
    if (call->spelled && whole_word(call, word, &id)) {
        return hy__ids_push(&t->env, call->out, (hy_token)id, err);
    }
    HY_TRY(hy__merger_begin(&t->env, m, word.len, err));
    for (size_t i = 0; i < word.len; i++) {
        hy__merger_add(m, (uint32_t)i, 1, t->bpe.byte_symbols[(uint8_t)word.data[i]]);
    }
    HY_TRY(hy__merger_run(&t->env, m, bpe_pair, &t->bpe, err));
    for (uint32_t i = 0; i != HY__SYMBOL_END; i = m->symbols[i].next) {
        HY_TRY(emit(call, word, &m->symbols[i], err));
    }
    return HY_OK;
}

hy_status hy__bpe_encode(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                         hy_error *err)
{
    bpe_call call = {.t = t, .out = out};
    if (t->pre->flags & HY__PRE_IGNORE_MERGES) {
        call.spelled = hy__alloc(&t->env, t->bpe.longest + 2, 1, err);
        if (!call.spelled) {
            return HY_E_NOMEM;
        }
    }
    hy__pre_iter words;
    hy__pre_begin(&words, t->pre->cls, text, len);
    hy_status status = HY_OK;
    hy_str word;
    while (status == HY_OK && hy__pre_next(&words, &word)) {
        status = encode_word(&call, word, err);
    }
    hy__merger_finish(&t->env, &call.merger);
    hy__free(&t->env, call.spelled);
    return status;
}
