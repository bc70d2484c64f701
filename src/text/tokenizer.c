/* tokenizer.c: a tokenizer from a file, and text to ids.
 *
 * hy_tokenizer owns everything that it points to and is constant once made: any thread may use it.
 * Ids that are handed out belong to the caller. */
#include "tokenizer.h"

hy_status hy__ids_push(const hy_env *env, hy__ids *ids, hy_token id, hy_error *err)
{
    if (ids->n == ids->cap) {
        if (ids->cap > SIZE_MAX / 2) {
            return hy__fail(err, HY_E_NOMEM, "no memory for %zu tokens", ids->cap);
        }
        const size_t cap = ids->cap ? ids->cap * 2 : 64;
        hy_token *data = hy__realloc(env, ids->data, cap, sizeof *data, err);
        if (!data) {
            return HY_E_NOMEM;
        }
        ids->data = data;
        ids->cap = cap;
    }
    ids->data[ids->n++] = id;
    return HY_OK;
}

/* ---- making one */

static hy_status read_model(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    hy_str name;
    const hy_status status = hy_gguf_get_str(g, "tokenizer.ggml.model", &name, err);
    if (status == HY_E_NOT_FOUND ||
        (status == HY_OK && (hy__str_is(name, "none") || hy__str_is(name, "no_vocab")))) {
        return hy__fail(err, HY_E_NOT_FOUND, "the file has no vocabulary (tokenizer.ggml.model)");
    }
    HY_TRY(status);
    if (hy__str_is(name, "rwkv")) {
        t->model = HY__VOCAB_RWKV;
    } else if (hy__str_is(name, "gpt2")) {
        t->model = HY__VOCAB_GPT2;
    } else if (hy__str_is(name, "llama")) {
        t->model = HY__VOCAB_LLAMA;
    } else {
        char text[80];
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "tokenizer.ggml.model \"%s\" is not one of rwkv, gpt2, llama",
                        hy__printable(name, text, sizeof text));
    }
    return HY_OK;
}

static hy_status read_pre(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    hy_str name = {"", 0};
    if (t->model == HY__VOCAB_GPT2) {
        const hy_status status = hy_gguf_get_str(g, "tokenizer.ggml.pre", &name, err);
        if (status == HY_E_NOT_FOUND) {
            hy__message(
                &t->env, HY_LOG_WARN,
                "tokenizer.ggml.pre is missing: words may be cut otherwise than in training");
            name = (hy_str){"default", 7};
        } else {
            HY_TRY(status);
        }
        t->pre = hy__pre_find(name);
        if (!t->pre) {
            char text[80];
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "tokenizer.ggml.pre \"%s\" is a pre-tokenizer that is not known",
                            hy__printable(name, text, sizeof text));
        }
    }
    t->pre_name = hy__strndup(&t->env, name.data, name.len, err);
    return t->pre_name ? HY_OK : HY_E_NOMEM;
}

static hy_status read_all(hy_tokenizer *t, const hy_gguf *g, hy_error *err)
{
    HY_TRY(read_model(t, g, err));
    HY_TRY(read_pre(t, g, err));
    HY_TRY(hy__vocab_read(t, g, err));
    switch (t->model) {
    case HY__VOCAB_RWKV:
        return hy__rwkv_init(t, err);
    case HY__VOCAB_GPT2:
        return hy__bpe_init(t, g, err);
    default:
        return hy__spm_init(t, g, err);
    }
}

hy_status hy_tokenizer_create(const hy_gguf *g, const hy_env *env, hy_tokenizer **out,
                              hy_error *err)
{
    *out = NULL;
    hy_env resolved;
    hy__env_resolve(&resolved, env);
    hy_tokenizer *t = hy__calloc(&resolved, 1, sizeof *t, err);
    if (!t) {
        return HY_E_NOMEM;
    }
    t->env = resolved;
    const hy_status status = read_all(t, g, err);
    if (status != HY_OK) {
        hy_tokenizer_destroy(t);
        return status;
    }
    *out = t;
    return HY_OK;
}

void hy_tokenizer_destroy(hy_tokenizer *t)
{
    if (!t) {
        return;
    }
    const hy_env env = t->env;
    hy__free(&env, t->pre_name);
    hy__free(&env, t->entries.bytes);
    hy__free(&env, t->entries.offsets);
    hy__free(&env, t->pieces.bytes);
    hy__free(&env, t->pieces.offsets);
    hy__free(&env, t->kinds);
    hy__free(&env, t->marks);
    hy__strmap_finish(&env, &t->ids);
    hy__special_finish(&env, &t->user_defined);
    hy__special_finish(&env, &t->special);
    hy__trie_finish(&env, &t->words);
    hy__free(&env, t->bpe.first);
    hy__free(&env, t->bpe.merges);
    hy__free(&env, t->spm.ranks);
    hy__free(&env, t);
}

/* ---- what it knows */

const char *hy_tokenizer_model(const hy_tokenizer *t)
{
    return t->model == HY__VOCAB_RWKV ? "rwkv" : t->model == HY__VOCAB_GPT2 ? "gpt2" : "llama";
}

const char *hy_tokenizer_pre(const hy_tokenizer *t)
{
    return t->pre_name;
}

uint32_t hy_tokenizer_n_tokens(const hy_tokenizer *t)
{
    return t->n_tokens;
}

hy_token hy_tokenizer_bos(const hy_tokenizer *t)
{
    return t->bos;
}

hy_token hy_tokenizer_eos(const hy_tokenizer *t)
{
    return t->eos;
}

hy_token hy_tokenizer_eot(const hy_tokenizer *t)
{
    return t->eot;
}

static bool in_vocabulary(const hy_tokenizer *t, hy_token id)
{
    return id >= 0 && (uint32_t)id < t->n_tokens;
}

hy_str hy_tokenizer_entry(const hy_tokenizer *t, hy_token id)
{
    return in_vocabulary(t, id) ? hy__strings_at(&t->entries, (uint32_t)id) : (hy_str){NULL, 0};
}

hy_token_kind hy_tokenizer_kind(const hy_tokenizer *t, hy_token id)
{
    return in_vocabulary(t, id) ? (hy_token_kind)t->kinds[id] : HY_TOKEN_UNDEFINED;
}

bool hy_tokenizer_is_eog(const hy_tokenizer *t, hy_token id)
{
    return in_vocabulary(t, id) && t->marks[id] & HY__MARK_EOG;
}

bool hy_tokenizer_can_sample(const hy_tokenizer *t, hy_token id)
{
    return in_vocabulary(t, id) && !(t->marks[id] & HY__MARK_NO_SAMPLE);
}

/* ---- text to ids */

static hy_status encode_raw(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                            hy_error *err)
{
    if (len == 0) {
        return HY_OK;
    }
    switch (t->model) {
    case HY__VOCAB_RWKV:
        return hy__rwkv_encode(t, text, len, out, err);
    case HY__VOCAB_GPT2:
        return hy__bpe_encode(t, text, len, out, err);
    default:
        return hy__spm_encode(t, text, len, out, err);
    }
}

static hy_status encode_fragments(const hy_tokenizer *t, const char *text, size_t len,
                                  const hy__span *spans, size_t n_spans, hy__ids *out,
                                  hy_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < n_spans; i++) {
        HY_TRY(encode_raw(t, text + at, spans[i].start - at, out, err));
        HY_TRY(hy__ids_push(&t->env, out, spans[i].id, err));
        at = (size_t)spans[i].start + spans[i].len;
    }
    return encode_raw(t, text + at, len - at, out, err);
}

static hy_status push_added(const hy_tokenizer *t, bool wanted, hy_token id, const char *name,
                            hy__ids *out, hy_error *err)
{
    if (!wanted) {
        return HY_OK;
    }
    if (id == HY_TOKEN_NONE) {
        return hy__fail(err, HY_E_FORMAT,
                        "tokenizer.ggml.add_%s_token is true, but the vocabulary has no %s token",
                        name, name);
    }
    return hy__ids_push(&t->env, out, id, err);
}

static hy_status encode(const hy_tokenizer *t, const char *text, size_t len, unsigned flags,
                        hy__ids *out, hy_error *err)
{
    const bool add = flags & HY_TOKENIZE_ADD_SPECIAL;
    const hy__special *special = flags & HY_TOKENIZE_PARSE_SPECIAL ? &t->special : &t->user_defined;
    HY_TRY(push_added(t, add && t->add_bos, t->bos, "bos", out, err));
    hy__span *spans;
    size_t n_spans;
    HY_TRY(hy__special_find(&t->env, special, text, len, &spans, &n_spans, err));
    const hy_status status = encode_fragments(t, text, len, spans, n_spans, out, err);
    hy__free(&t->env, spans);
    HY_TRY(status);
    return push_added(t, add && t->add_eos, t->eos, "eos", out, err);
}

hy_status hy_tokenize(const hy_tokenizer *t, const char *text, size_t len, unsigned flags,
                      hy_token **ids, size_t *n_ids, hy_error *err)
{
    *ids = NULL;
    *n_ids = 0;
    if (len > INT32_MAX) {
        return hy__fail(err, HY_E_LIMIT, "a text of %zu bytes is over the limit of 2^31 - 1 bytes",
                        len);
    }
    hy__ids out = {0};
    hy_status status = encode(t, len ? text : "", len, flags, &out, err);
    if (status == HY_OK && !out.data) { /* no ids, but a block that can be freed like any other */
        out.data = hy__alloc(&t->env, 1, sizeof *out.data, err);
        status = out.data ? HY_OK : HY_E_NOMEM;
    }
    if (status != HY_OK) {
        hy__free(&t->env, out.data);
        return status;
    }
    *ids = out.data;
    *n_ids = out.n;
    return HY_OK;
}

void hy_tokenizer_free(const hy_tokenizer *t, void *ids_or_text)
{
    hy__free(&t->env, ids_or_text);
}
