/* fuzz_tokenizer.c: any text through small vocabularies of every kind, and vocabularies made of any
 * bytes.
 *
 * Input: byte 0, lower two bits: 0 rwkv, 1 gpt2, 2 llama, 3 a vocabulary out of the input; byte 1:
 * flags and variant. In the first three cases the rest is the text.  In the last the rest is
 * entries as (kind and score, length, bytes), merges after the first entry of length 0, and all of
 * the input is the text. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#include "base/base.h"
#include "unit/vocab_script.h"

static const char *const pres[] = {"gpt-2",          "smollm",      "llama-bpe", "dbrx",
                                   "qwen2",          "qwen35",      "falcon",    "default",
                                   "deepseek-coder", "deepseek-v3", "gpt-4o"};

/* The vocabularies are made once and kept. */
static const hy_tokenizer *small_vocab(unsigned kind, unsigned variant)
{
    static hy_tokenizer *made[3][HY_COUNT(pres)];
    variant = kind == 1 ? variant % HY_COUNT(pres) : 0;
    if (!made[kind][variant]) {
        vocab_script v = {0};
        if (kind == 0) {
            vocab_rwkv(&v);
        } else if (kind == 1) {
            vocab_gpt2(&v, pres[variant]);
            vocab_num(&v, "tokenizer.ggml.bos_token_id", HY_GGUF_UINT32, 263);
        } else {
            vocab_llama(&v);
        }
        CHECK(vocab_open(&v, NULL, &made[kind][variant], NULL) == HY_OK);
    }
    return made[kind][variant];
}

static bool has(const char *text, size_t len, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= len; i++) {
        if (memcmp(text + i, part, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_utf8(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        const unsigned n = hy__utf8_decode(text + i, len - i, &cp);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

/* The stream gives the same bytes as the whole, and no piece ends inside of a character. */
static void check_stream(const hy_tokenizer *t, const hy_token *ids, size_t n, unsigned flags,
                         const char *whole, size_t len)
{
    hy_detok *d;
    CHECK(hy_detok_create(t, flags, &d, NULL) == HY_OK);
    size_t at = 0;
    for (size_t i = 0; i <= n; i++) {
        hy_str piece;
        if (i < n) {
            CHECK(hy_detok_push(d, ids[i], &piece, NULL) == HY_OK);
        } else {
            piece = hy_detok_flush(d);
            CHECK(piece.len <= 3);
        }
        CHECK(piece.len <= len - at);
        CHECK(piece.len == 0 || memcmp(piece.data, whole + at, piece.len) == 0);
        at += piece.len;
        for (size_t back = 1; back <= 3 && back <= at && at < len; back++) {
            uint32_t cp;
            CHECK(hy__utf8_decode(whole + at - back, len - at + back, &cp) <= back);
        }
    }
    CHECK(at == len);
    hy_detok_destroy(d);
}

/* `same`: the text must come back. */
static void check_text(const hy_tokenizer *t, const char *text, size_t len, unsigned flags,
                       bool same)
{
    hy_token *ids;
    size_t n;
    hy_error err;
    const hy_status status = hy_tokenize(t, text, len, flags, &ids, &n, &err);
    if (status != HY_OK) {
        CHECK(status == HY_E_FORMAT &&
              flags & HY_TOKENIZE_ADD_SPECIAL); /* asks for a BOS or EOS that is not there */
        CHECK(ids == NULL && n == 0);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(ids[i] >= 0 && (uint32_t)ids[i] < hy_tokenizer_n_tokens(t));
        if (flags == 0) {
            CHECK(hy_tokenizer_kind(t, ids[i]) != HY_TOKEN_CONTROL);
        }
    }
    for (unsigned special = 0; special < 2; special++) {
        char *back;
        size_t back_len;
        CHECK(hy_detokenize(t, ids, n, special, &back, &back_len, &err) == HY_OK);
        CHECK(back[back_len] == 0);
        check_stream(t, ids, n, special, back, back_len);
        if (same && special) {
            CHECK(back_len == len);
            CHECK(len == 0 || memcmp(back, text, len) == 0);
        }
        hy_tokenizer_free(t, back);
    }
    hy_tokenizer_free(t, ids);
}

/* Entries out of the input, behind all single bytes if bit 6 of byte 1 is set, and with the parts
 * that bits 2 to 5 choose. */
static void any_vocabulary(const uint8_t *data, size_t len)
{
    static const char *const models[] = {"rwkv", "gpt2", "llama"};
    static vocab_entries e;
    memset(&e, 0, sizeof e);
    const unsigned model = data[0] >> 2 & 3, parts = data[1];
    if (model == 3) {
        return;
    }
    for (unsigned b = 0; parts & 64 && b < 256; b++) {
        const unsigned cp = model == 1 ? (b > 0x20 && b < 0x7F ? b : 0x100 + b % 0x44) : b;
        snprintf(e.bytes[b], sizeof e.bytes[b],
                 model == 0   ? "\\x%02x"
                 : model == 2 ? "<0x%02X>"
                              : "%c%c",
                 (int)(model == 1 ? 0xC0 | cp >> 6 : b), (int)(0x80 | (cp & 63)));
        if (model != 1 || b < 0x44) {
            vocab_add(&e, e.bytes[b], model == 2 ? HY_TOKEN_BYTE : HY_TOKEN_NORMAL, 0);
        }
    }
    size_t at = 2;
    hy_str merges[40];
    size_t n_merges = 0;
    bool in_merges = false;
    while (at + 2 <= len) {
        const size_t n = HY_MIN((size_t)data[at + 1] & 31, len - at - 2);
        const hy_str s = {(const char *)data + at + 2, n};
        if (in_merges && n_merges < HY_COUNT(merges)) {
            merges[n_merges++] = s;
        } else if (!in_merges && e.n < VOCAB_MAX) {
            e.texts[e.n] = s;
            e.kinds[e.n] = data[at] & 7;
            e.scores[e.n++] = (float)(data[at] >> 3);
        }
        in_merges = in_merges || n == 0;
        at += 2 + n;
    }
    vocab_script v = {0};
    vocab_str(&v, "tokenizer.ggml.model", models[model]);
    vocab_strs(&v, "tokenizer.ggml.tokens", e.texts, e.n);
    if (parts & 4) {
        vocab_i32s(&v, "tokenizer.ggml.token_type", e.kinds, e.n);
    }
    if (model == 1) {
        vocab_str(&v, "tokenizer.ggml.pre", pres[parts % HY_COUNT(pres)]);
        vocab_strs(&v, "tokenizer.ggml.merges", merges, n_merges);
    }
    if (model == 2) {
        vocab_f32s(&v, "tokenizer.ggml.scores", e.scores, e.n);
    }
    if (parts & 8) {
        vocab_num(&v, "tokenizer.ggml.bos_token_id", HY_GGUF_INT32, (int8_t)data[0]);
        vocab_num(&v, "tokenizer.ggml.add_space_prefix", HY_GGUF_BOOL, parts >> 4 & 1);
    }
    hy_tokenizer *t;
    hy_error err;
    if (vocab_open(&v, NULL, &t, &err) == HY_OK) {
        check_text(t, (const char *)data, len, parts & 3, model == 0 && !(parts & 1));
        hy_tokenizer_destroy(t);
    } else {
        CHECK(t == NULL && err.text[0] != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) {
        return 0;
    }
    const unsigned kind = data[0] & 3, flags = data[1] & 3;
    if (kind == 3) {
        any_vocabulary(data, len);
        return 0;
    }
    const char *text = (const char *)data + 2;
    const size_t n = len - 2;
    bool same = !(flags & HY_TOKENIZE_ADD_SPECIAL);
    if (kind == 2) { /* marks blanks, puts one in front of each stretch, and goes by lead bytes */
        same = flags == 0 && is_utf8(text, n) && !has(text, n, "\xE2\x96\x81") &&
               !has(text, n, "<tool>");
    }
    check_text(small_vocab(kind, data[1] >> 2), text, n, flags, same);
    return 0;
}
