/* vocab_script.h: small vocabularies as GGUF files in memory, for the tests and the fuzz target of
 * the tokenizers.
 *
 * vocab_begin, any keys, vocab_end; the bytes are freed with free(). */
#ifndef HY_TESTS_VOCAB_SCRIPT_H
#define HY_TESTS_VOCAB_SCRIPT_H

#include "gguf_script.h"
#include "halyard/halyard.h"

typedef struct vocab_script {
    gguf_bytes keys;
    uint64_t n_keys;
} vocab_script;

static inline void vocab_key(vocab_script *v, const char *key, uint32_t type)
{
    gguf_string(&v->keys, key, strlen(key));
    gguf_num(&v->keys, type, 4);
    v->n_keys++;
}

static inline void vocab_str(vocab_script *v, const char *key, const char *value)
{
    vocab_key(v, key, HY_GGUF_STRING);
    gguf_string(&v->keys, value, strlen(value));
}

static inline void vocab_num(vocab_script *v, const char *key, hy_gguf_type type, int64_t value)
{
    const unsigned bytes = type == HY_GGUF_BOOL ? 1 : type == HY_GGUF_UINT64 ? 8 : 4;
    vocab_key(v, key, type);
    gguf_num(&v->keys, (uint64_t)value, bytes);
}

static inline void vocab_strs(vocab_script *v, const char *key, const hy_str *values, size_t n)
{
    vocab_key(v, key, HY_GGUF_ARRAY);
    gguf_num(&v->keys, HY_GGUF_STRING, 4);
    gguf_num(&v->keys, n, 8);
    for (size_t i = 0; i < n; i++) {
        gguf_string(&v->keys, values[i].data, values[i].len);
    }
}

static inline void vocab_i32s(vocab_script *v, const char *key, const int32_t *values, size_t n)
{
    vocab_key(v, key, HY_GGUF_ARRAY);
    gguf_num(&v->keys, HY_GGUF_INT32, 4);
    gguf_num(&v->keys, n, 8);
    for (size_t i = 0; i < n; i++) {
        gguf_num(&v->keys, (uint32_t)values[i], 4);
    }
}

static inline void vocab_f32s(vocab_script *v, const char *key, const float *values, size_t n)
{
    vocab_key(v, key, HY_GGUF_ARRAY);
    gguf_num(&v->keys, HY_GGUF_FLOAT32, 4);
    gguf_num(&v->keys, n, 8);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        gguf_num(&v->keys, bits, 4);
    }
}

/* The file with these keys and no tensors; v is as new afterwards. */
static inline gguf_bytes vocab_end(vocab_script *v)
{
    gguf_bytes file = {0};
    gguf_put(&file, "GGUF", 4);
    gguf_num(&file, 3, 4);
    gguf_num(&file, 0, 8);
    gguf_num(&file, v->n_keys, 8);
    gguf_put(&file, v->keys.data, v->keys.len);
    gguf_fill(&file, 0, (32 - file.len % 32) % 32);
    free(v->keys.data);
    memset(v, 0, sizeof *v);
    return file;
}

/* ---- entries */

enum { VOCAB_MAX = 320 };

typedef struct vocab_entries {
    hy_str texts[VOCAB_MAX];
    int32_t kinds[VOCAB_MAX];
    float scores[VOCAB_MAX];
    size_t n;
    char bytes[256][8]; /* entries of single bytes */
} vocab_entries;

static inline void vocab_add(vocab_entries *e, const char *text, int32_t kind, float score)
{
    e->texts[e->n] = (hy_str){text, strlen(text)};
    e->kinds[e->n] = kind;
    e->scores[e->n++] = score;
}

static inline void vocab_add_list(vocab_entries *e, const char *const *texts, size_t n,
                                  int32_t kind)
{
    for (size_t i = 0; i < n; i++) {
        vocab_add(e, texts[i], kind, -1.0f - (float)i);
    }
}

static inline void vocab_write(vocab_script *v, const vocab_entries *e, const char *model)
{
    vocab_str(v, "tokenizer.ggml.model", model);
    vocab_strs(v, "tokenizer.ggml.tokens", e->texts, e->n);
    vocab_i32s(v, "tokenizer.ggml.token_type", e->kinds, e->n);
}

/* 0 "<s>", 1..256 the bytes, 257 "\n\n", 258 "ab", 259 "abcd", 260 "é", 261 it's "x", 262 padding,
 * 263 <tool> */
static inline void vocab_rwkv(vocab_script *v)
{
    static vocab_entries e;
    memset(&e, 0, sizeof e);
    vocab_add(&e, "<s>", HY_TOKEN_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        if (b >= 0x20 && b < 0x7F && b != '\\') {
            snprintf(e.bytes[b], sizeof e.bytes[b], "%c", (int)b);
        } else if (b == '\\') {
            snprintf(e.bytes[b], sizeof e.bytes[b], "\\\\");
        } else {
            snprintf(e.bytes[b], sizeof e.bytes[b], b % 2 ? "\\x%02x" : "\\x%02X", b);
        }
        vocab_add(&e, e.bytes[b], HY_TOKEN_NORMAL, 0);
    }
    static const char *const words[] = {"\\n\\n", "ab", "abcd", "\\xc3\\xa9", "it\\'s \"x\""};
    vocab_add_list(&e, words, sizeof words / sizeof *words, HY_TOKEN_NORMAL);
    vocab_add(&e, "[PAD262]", HY_TOKEN_UNUSED, 0);
    vocab_add(&e, "<tool>", HY_TOKEN_USER_DEFINED, 0);
    vocab_write(v, &e, "rwkv");
    vocab_num(v, "tokenizer.ggml.bos_token_id", HY_GGUF_UINT32, 0);
    vocab_num(v, "tokenizer.ggml.eos_token_id", HY_GGUF_UINT32, 0);
    vocab_num(v, "tokenizer.ggml.eot_token_id", HY_GGUF_UINT32, 257);
}

/* 0..255 the bytes in the alphabet, 256 he, 257 ll, 258 hell, 259 hello, 260 Ġw, 261 or, 262 Ġwor,
 * 263 <|endoftext|>, 264 <|im_end|>, 265 USER (user-defined), 266 "", 267 [PAD] (unused), 268 aa,
 * 269 aaaa, 270 <unk> (unknown), 271 <|tool|> */
static inline void vocab_gpt2(vocab_script *v, const char *pre)
{
    static vocab_entries e;
    memset(&e, 0, sizeof e);
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        const unsigned cp = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD) ? b : next++;
        if (cp < 0x80) {
            snprintf(e.bytes[b], sizeof e.bytes[b], "%c", (int)cp);
        } else {
            snprintf(e.bytes[b], sizeof e.bytes[b], "%c%c", (int)(0xC0 | cp >> 6),
                     (int)(0x80 | (cp & 63)));
        }
        vocab_add(&e, e.bytes[b], HY_TOKEN_NORMAL, 0);
    }
    static const char *const words[] = {"he",        "ll", "hell",       "hello",
                                        "\xC4\xA0w", "or", "\xC4\xA0wor"};
    vocab_add_list(&e, words, sizeof words / sizeof *words, HY_TOKEN_NORMAL);
    vocab_add(&e, "<|endoftext|>", HY_TOKEN_CONTROL, 0);
    vocab_add(&e, "<|im_end|>", HY_TOKEN_NORMAL, 0); /* becomes a control token by its text */
    vocab_add(&e, "USER", HY_TOKEN_USER_DEFINED, 0);
    vocab_add(&e, "", HY_TOKEN_NORMAL, 0);
    vocab_add(&e, "[PAD]", HY_TOKEN_UNUSED, 0);
    vocab_add(&e, "aa", HY_TOKEN_NORMAL, 0);
    vocab_add(&e, "aaaa", HY_TOKEN_NORMAL, 0);
    vocab_add(&e, "<unk>", HY_TOKEN_UNKNOWN, 0);
    vocab_add(&e, "<|tool|>", HY_TOKEN_CONTROL, 0);
    vocab_write(v, &e, "gpt2");
    vocab_str(v, "tokenizer.ggml.pre", pre);
    static const char *const merges[] = {"h e", "l l",          "he ll", "hell o", "\xC4\xA0 w",
                                         "o r", "\xC4\xA0w or", "a a",   "aa aa",  "h e",
                                         "q x", "qx z"}; /* a repeated one, and results that are no
                                                            tokens */
    hy_str texts[sizeof merges / sizeof *merges];
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        texts[i] = (hy_str){merges[i], strlen(merges[i])};
    }
    vocab_strs(v, "tokenizer.ggml.merges", texts, sizeof merges / sizeof *merges);
}

/* 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes, 259 U+2581, 260 h, 261 e, 262 l, 263 o, 264 he, 265 ll,
 * 266 hell, 267 hello, 268 U+2581 hello, 269 el (never first), 270 <tool> (user-defined), 271 é,
 * 272 aa, 273 a */
static inline void vocab_llama(vocab_script *v)
{
    static vocab_entries e;
    memset(&e, 0, sizeof e);
    vocab_add(&e, "<unk>", HY_TOKEN_UNKNOWN, 0);
    vocab_add(&e, "<s>", HY_TOKEN_CONTROL, 0);
    vocab_add(&e, "</s>", HY_TOKEN_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        snprintf(e.bytes[b], sizeof e.bytes[b], "<0x%02X>", b);
        vocab_add(&e, e.bytes[b], HY_TOKEN_BYTE, 0);
    }
    static const char *const words[] = {"\xE2\x96\x81", "h",  "e",    "l",     "o",
                                        "he",           "ll", "hell", "hello", "\xE2\x96\x81hello"};
    vocab_add_list(&e, words, sizeof words / sizeof *words, HY_TOKEN_NORMAL);
    vocab_add(&e, "el", HY_TOKEN_NORMAL, -50);
    vocab_add(&e, "<tool>", HY_TOKEN_USER_DEFINED, 0);
    vocab_add(&e, "\xC3\xA9", HY_TOKEN_NORMAL, -3);
    vocab_add(&e, "aa", HY_TOKEN_NORMAL, 2);
    vocab_add(&e, "a", HY_TOKEN_NORMAL, -9);
    vocab_write(v, &e, "llama");
    vocab_f32s(v, "tokenizer.ggml.scores", e.scores, e.n);
}

/* The tokenizer of a script, whose file is not needed afterwards. */
static inline hy_status vocab_open(vocab_script *v, const hy_env *env, hy_tokenizer **t,
                                   hy_error *err)
{
    gguf_bytes file = vocab_end(v);
    hy_gguf *g = NULL;
    *t = NULL;
    hy_status status = hy_gguf_open_memory(file.data, file.len, NULL, &g, err);
    if (status == HY_OK) {
        status = hy_tokenizer_create(g, env, t, err);
    }
    hy_gguf_close(g);
    free(file.data);
    return status;
}

#endif
