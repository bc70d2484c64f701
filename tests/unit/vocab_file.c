/* vocab_file.c: see vocab_file.h.  The bytes are put together here, not by the library's writer. */
#include "unit/vocab_file.h"
#include "support/support.h"
#include "unit/gguf_script.h"

static void put_key(gguf_bytes *b, const char *key, unsigned type)
{
    gguf_string(b, key, strlen(key));
    gguf_num(b, type, 4);
}

static void put_array(gguf_bytes *b, const char *key, unsigned type, const gguf_bytes *elems,
                      size_t n)
{
    put_key(b, key, HY_GGUF_ARRAY);
    gguf_num(b, type, 4);
    gguf_num(b, n, 8);
    gguf_put(b, elems->data, elems->len);
}

static void put_text(gguf_bytes *b, const char *key, const char *text)
{
    put_key(b, key, HY_GGUF_STRING);
    gguf_string(b, text, strlen(text));
}

/* The tokens so far, as the elements of the arrays. */
typedef struct table {
    gguf_bytes texts, kinds, scores, merges, suppressed;
    size_t n, n_merges, n_suppressed;
    char names[512][80];
} table;

static void add(table *t, const char *text, size_t len, hy_token_kind kind)
{
    assert_true(t->n < 512 && len < 80);
    memcpy(t->names[t->n], text, len);
    gguf_string(&t->texts, text, len);
    gguf_num(&t->kinds, (uint64_t)kind, 4);
    const float score = -(float)t->n;
    gguf_put(&t->scores, &score, 4); /* tests run on little-endian machines */
    t->n++;
}

/* Calls for every text of a list; `list` may be NULL. */
static void each(table *t, const char *list, hy_token_kind kind,
                 void (*f)(table *, const char *, size_t, hy_token_kind))
{
    while (list && *list) {
        const size_t n = strcspn(list, " ");
        f(t, list, n, kind);
        list += n + (list[n] == ' ');
    }
}

static void add_merge(table *t, const char *text, size_t len, hy_token_kind kind)
{
    char pair[64], joined[64];
    assert_true(len < sizeof pair);
    const size_t left = strcspn(text, "+");
    memcpy(pair, text, len);
    pair[left] = ' ';
    gguf_string(&t->merges, pair, len);
    t->n_merges++;
    memcpy(joined, text, left);
    memcpy(joined + left, text + left + 1, len - left - 1);
    add(t, joined, len - 1, kind);
}

static size_t find(const table *t, const char *text, size_t len)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strlen(t->names[i]) == len && memcmp(t->names[i], text, len) == 0) {
            return i;
        }
    }
    fail_msg("no token %.*s", (int)len, text);
    return 0;
}

static void add_suppressed(table *t, const char *text, size_t len, hy_token_kind kind)
{
    (void)kind;
    gguf_num(&t->suppressed, find(t, text, len), 4);
    t->n_suppressed++;
}

static void add_code_points(table *t, unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++) {
        const char utf8[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 63))};
        const char ascii = (char)c;
        add(t, c < 0x80 ? &ascii : utf8, c < 0x80 ? 1 : 2, HY_TOKEN_NORMAL);
    }
}

static void add_bytes(table *t, const vocab_file *v)
{
    if (strcmp(v->model, "gpt2") == 0) {
        add_code_points(t, 0x21, 0x7e);
        add_code_points(t, 0xa1, 0xac);
        add_code_points(t, 0xae, 0xff);
        add_code_points(t, 0x100, 0x143);
        return;
    }
    add(t, "<unk>", 5, HY_TOKEN_UNKNOWN);
    for (unsigned i = 0; i < 256; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", i);
        add(t, text, 6, HY_TOKEN_BYTE);
    }
    add_code_points(t, 0x21, 0x7e);
    add(t, "\xe2\x96\x81", 3, HY_TOKEN_NORMAL);
}

hy_gguf *vocab_gguf(const vocab_file *v, void **out)
{
    table *t = calloc(1, sizeof *t);
    assert_non_null(t);
    add_bytes(t, v);
    each(t, v->merges, HY_TOKEN_NORMAL, add_merge);
    each(t, v->control, HY_TOKEN_CONTROL, add);
    each(t, v->user_defined, HY_TOKEN_USER_DEFINED, add);
    each(t, v->unused, HY_TOKEN_UNUSED, add);
    each(t, v->suppressed, HY_TOKEN_NORMAL, add_suppressed);

    gguf_bytes b = {0};
    const bool gpt2 = strcmp(v->model, "gpt2") == 0;
    gguf_put(&b, "GGUF", 4);
    gguf_num(&b, 3, 4);
    gguf_num(&b, 0, 8);
    gguf_num(&b, 6 + (v->suppressed != NULL) + 2 * (v->bos != NULL) + (v->chat_template != NULL),
             8);
    put_text(&b, "general.architecture", "llama");
    put_text(&b, "tokenizer.ggml.model", v->model);
    put_array(&b, "tokenizer.ggml.tokens", HY_GGUF_STRING, &t->texts, t->n);
    put_array(&b, "tokenizer.ggml.token_type", HY_GGUF_INT32, &t->kinds, t->n);
    if (gpt2) {
        put_text(&b, "tokenizer.ggml.pre", "qwen2");
        put_array(&b, "tokenizer.ggml.merges", HY_GGUF_STRING, &t->merges, t->n_merges);
    } else {
        put_key(&b, "tokenizer.ggml.unknown_token_id", HY_GGUF_UINT32);
        gguf_num(&b, 0, 4);
        put_array(&b, "tokenizer.ggml.scores", HY_GGUF_FLOAT32, &t->scores, t->n);
    }
    if (v->suppressed) {
        put_array(&b, "tokenizer.ggml.suppress_tokens", HY_GGUF_INT32, &t->suppressed,
                  t->n_suppressed);
    }
    if (v->bos) {
        put_key(&b, "tokenizer.ggml.bos_token_id", HY_GGUF_UINT32);
        gguf_num(&b, find(t, v->bos, strlen(v->bos)), 4);
        put_key(&b, "tokenizer.ggml.add_bos_token", HY_GGUF_BOOL);
        gguf_num(&b, 1, 1);
    }
    if (v->chat_template) {
        put_text(&b, "tokenizer.chat_template", v->chat_template);
    }
    free(t->texts.data);
    free(t->kinds.data);
    free(t->scores.data);
    free(t->merges.data);
    free(t->suppressed.data);
    free(t);

    /* Without tensors the data may begin right here; padded to the alignment all the same. */
    while (b.len % 32 != 0) {
        gguf_num(&b, 0, 1);
    }
    hy_error err;
    hy_gguf *g;
    assert_ok(hy_gguf_open_memory(b.data, b.len, NULL, &g, &err), &err);
    *out = b.data;
    return g;
}

hy_tokenizer *vocab_tokenizer(const vocab_file *v, const hy_env *env)
{
    void *data;
    hy_gguf *g = vocab_gguf(v, &data);
    hy_error err;
    hy_tokenizer *t;
    assert_ok(hy_tokenizer_create(g, env, &t, &err), &err);
    hy_gguf_close(g);
    free(data);
    return t;
}
