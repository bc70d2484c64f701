/* tiny_models.c: see tiny_models.h.  The file is put together by the library's writer, into memory.
 */
#include "support/tiny_models.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

const tiny_shape tiny_usual = {.c = 16,
                               .f = 24,
                               .n_layer = 2,
                               .n_head = 4,
                               .n_head_kv = 2,
                               .key = 4,
                               .head_size = 8,
                               .rank = 4,
                               .rows = 32};
const tiny_shape tiny_odd = {.c = 40,
                             .f = 75,
                             .n_layer = 2,
                             .n_head = 3,
                             .n_head_kv = 1,
                             .key = 12,
                             .head_size = 8,
                             .rank = 5,
                             .rows = 77};
const tiny_shape tiny_least = {.c = 8,
                               .f = 8,
                               .n_layer = 1,
                               .n_head = 2,
                               .n_head_kv = 1,
                               .key = 4,
                               .head_size = 4,
                               .rank = 2,
                               .rows = 8};
const tiny_shape tiny_speaking = {.c = 16,
                                  .f = 24,
                                  .n_layer = 2,
                                  .n_head = 4,
                                  .n_head_kv = 2,
                                  .key = 4,
                                  .head_size = 8,
                                  .rank = 4,
                                  .rows = 264,
                                  .vocab = true};

HY_PRINTF(1, 2)
static void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

static void must(hy_status status, const hy_error *err)
{
    if (status != HY_OK) {
        die("tiny model: %s", err->text);
    }
}

const char *tiny_arch_name(tiny_arch arch)
{
    static const char *const names[TINY_N_ARCHS] = {"rwkv7", "llama", "qwen2", "qwen3"};
    return names[arch];
}

/* ---- lists */

static void full_key(const tiny_model *m, const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%s%s", name[0] == '.' ? m->keys[0].text : "", name);
}

static tiny_key *set_key(tiny_model *m, const char *name, hy_gguf_type type)
{
    char full[64];
    full_key(m, name, full, sizeof full);
    tiny_key *k = NULL;
    for (size_t i = 0; i < m->n_keys; i++) {
        k = strcmp(m->keys[i].name, full) == 0 ? &m->keys[i] : k;
    }
    if (!k) {
        m->keys = realloc(m->keys, (m->n_keys + 1) * sizeof *m->keys);
        if (!m->keys) {
            die("out of memory");
        }
        k = &m->keys[m->n_keys++];
    }
    memset(k, 0, sizeof *k);
    memcpy(k->name, full, sizeof full);
    k->type = type;
    return k;
}

void tiny_set_u32(tiny_model *m, const char *key, uint32_t value)
{
    set_key(m, key, HY_GGUF_UINT32)->number = value;
}

void tiny_set_f32(tiny_model *m, const char *key, float value)
{
    set_key(m, key, HY_GGUF_FLOAT32)->real = value;
}

void tiny_set_str(tiny_model *m, const char *key, const char *value)
{
    tiny_key *k = set_key(m, key, HY_GGUF_STRING);
    snprintf(k->text, sizeof k->text, "%s", value);
}

void tiny_set_u32_array(tiny_model *m, const char *key, const uint32_t *values, size_t n)
{
    tiny_key *k = set_key(m, key, HY_GGUF_ARRAY);
    k->elem = HY_GGUF_UINT32;
    k->n = n;
    memcpy(k->numbers, values, n * sizeof *values);
}

void tiny_drop(tiny_model *m, const char *name)
{
    char full[64];
    full_key(m, name, full, sizeof full);
    for (size_t i = 0; i < m->n_keys; i++) {
        if (strcmp(m->keys[i].name, full) == 0) {
            memmove(&m->keys[i], &m->keys[i + 1], (m->n_keys - i - 1) * sizeof *m->keys);
            m->n_keys--;
            return;
        }
    }
    tiny_tensor *t = tiny_find(m, full);
    free(t->values);
    memmove(t, t + 1, (m->n_tensors - (size_t)(t - m->tensors) - 1) * sizeof *t);
    m->n_tensors--;
}

tiny_tensor *tiny_find(tiny_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_tensors; i++) {
        if (strcmp(m->tensors[i].name, name) == 0) {
            return &m->tensors[i];
        }
    }
    die("a tiny model has no %s", name);
    return NULL;
}

/* Evenly in -1..1, a function of the name and the index. */
static float value_of(const char *name, size_t i)
{
    uint64_t x = hy__crc64(i + 1, name, strlen(name));
    x ^= x >> 29;
    return (float)(x & 0xffff) / 32768.0f - 1.0f;
}

tiny_tensor *tiny_add(tiny_model *m, const char *name, uint64_t ne0, uint64_t ne1)
{
    m->tensors = realloc(m->tensors, (m->n_tensors + 1) * sizeof *m->tensors);
    if (!m->tensors) {
        die("out of memory");
    }
    tiny_tensor *t = &m->tensors[m->n_tensors++];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = HY_TYPE_F32;
    t->n_dims = ne1 ? 2 : 1;
    t->ne[0] = ne0;
    t->ne[1] = ne1 ? ne1 : 1;
    t->ne[2] = t->ne[3] = 1;
    t->n_values = (size_t)(ne0 * t->ne[1]);
    t->values = malloc((t->n_values + 1) * sizeof *t->values);
    if (!t->values) {
        die("out of memory");
    }
    const bool norm = strstr(name, "norm") && strstr(name, ".weight");
    for (size_t i = 0; i < t->n_values; i++) {
        /* Large enough that every tensor shows in the logits, small enough that a network of them
         * stays tame. */
        t->values[i] = norm ? 1.0f + 0.25f * value_of(name, i) : 0.5f * value_of(name, i);
    }
    return t;
}

/* ---- architectures */

static void add_in(tiny_model *m, uint32_t layer, const char *name, uint64_t ne0, uint64_t ne1)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s", layer, name);
    tiny_add(m, full, ne0, ne1);
}

static void rwkv7_layer(tiny_model *m, const tiny_shape *s, uint32_t l)
{
    static const char *const vectors[] = {
        "attn_norm.weight",    "attn_norm.bias",      "attn_norm_2.weight",
        "attn_norm_2.bias",    "time_mix_w0.weight",  "time_mix_a0.weight",
        "time_mix_k_k.weight", "time_mix_k_a.weight", "time_mix_r_k.weight",
        "time_mix_ln.weight",  "time_mix_ln.bias",    "channel_mix_lerp_k.weight"};
    static const char *const squares[] = {"time_mix_receptance.weight", "time_mix_key.weight",
                                          "time_mix_value.weight", "time_mix_output.weight"};
    for (size_t i = 0; i < HY_COUNT(vectors); i++) {
        add_in(m, l, vectors[i], s->c, 0);
    }
    for (size_t i = 0; i < HY_COUNT(squares); i++) {
        add_in(m, l, squares[i], s->c, s->c);
    }
    add_in(m, l, "time_mix_lerp_fused.weight", s->c, 6);
    tiny_tensor *fused = &m->tensors[m->n_tensors - 1];
    fused->n_dims = 4;
    fused->ne[1] = 1;
    fused->ne[3] = 6;
    for (const char *which = l == 0 ? "wag" : "wagv"; *which; which++) {
        char name[32];
        snprintf(name, sizeof name, "time_mix_%c1.weight", *which);
        add_in(m, l, name, s->c, s->rank);
        snprintf(name, sizeof name, "time_mix_%c2.weight", *which);
        add_in(m, l, name, s->rank, s->c);
    }
    if (l > 0) {
        add_in(m, l, "time_mix_v0.weight", s->c, 0);
    }
    add_in(m, l, "channel_mix_key.weight", s->c, s->f);
    add_in(m, l, "channel_mix_value.weight", s->f, s->c);
}

static void transformer_layer(tiny_model *m, tiny_arch arch, const tiny_shape *s, uint32_t l)
{
    const uint32_t q = s->n_head * s->key, kv = s->n_head_kv * s->key;
    add_in(m, l, "attn_norm.weight", s->c, 0);
    add_in(m, l, "attn_q.weight", s->c, q);
    add_in(m, l, "attn_k.weight", s->c, kv);
    add_in(m, l, "attn_v.weight", s->c, kv);
    if (arch == TINY_QWEN2) {
        add_in(m, l, "attn_q.bias", q, 0);
        add_in(m, l, "attn_k.bias", kv, 0);
        add_in(m, l, "attn_v.bias", kv, 0);
    }
    if (arch == TINY_QWEN3) {
        add_in(m, l, "attn_q_norm.weight", s->key, 0);
        add_in(m, l, "attn_k_norm.weight", s->key, 0);
    }
    add_in(m, l, "attn_output.weight", q, s->c);
    add_in(m, l, "ffn_norm.weight", s->c, 0);
    add_in(m, l, "ffn_gate.weight", s->c, s->f);
    add_in(m, l, "ffn_up.weight", s->c, s->f);
    add_in(m, l, "ffn_down.weight", s->f, s->c);
}

/* Unknown, begin, end, a piece for each byte, and a few of letters. */
static void add_vocab(tiny_model *m)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    static const char *const last[] = {"\xe2\x96\x81", "a", "b"};
    tiny_set_str(m, "tokenizer.ggml.model", "llama");
    tiny_key *k = set_key(m, "tokenizer.ggml.tokens", HY_GGUF_ARRAY);
    k->elem = HY_GGUF_STRING;
    k->n = 262;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(k->texts[i], sizeof k->texts[i], "%s", first[i]);
        snprintf(k->texts[259 + i], sizeof k->texts[i], "%s", last[i]);
    }
    for (unsigned i = 0; i < 256; i++) {
        snprintf(k->texts[3 + i], sizeof k->texts[i], "<0x%02X>", i);
    }
    k = set_key(m, "tokenizer.ggml.scores", HY_GGUF_ARRAY);
    k->elem = HY_GGUF_FLOAT32;
    k->n = 262;
    k = set_key(m, "tokenizer.ggml.token_type", HY_GGUF_ARRAY);
    k->elem = HY_GGUF_INT32;
    k->n = 262;
    for (unsigned i = 0; i < 262; i++) {
        k->numbers[i] = i == 0    ? HY_TOKEN_UNKNOWN
                        : i < 3   ? HY_TOKEN_CONTROL
                        : i < 259 ? HY_TOKEN_BYTE
                                  : HY_TOKEN_NORMAL;
    }
    tiny_set_u32(m, "tokenizer.ggml.bos_token_id", 1);
    tiny_set_u32(m, "tokenizer.ggml.eos_token_id", 2);
}

void tiny_make(tiny_model *m, tiny_arch arch, const tiny_shape *s)
{
    memset(m, 0, sizeof *m);
    tiny_set_str(m, "general.architecture", tiny_arch_name(arch)); /* stays key 0 */
    tiny_set_u32(m, ".embedding_length", s->c);
    tiny_set_u32(m, ".block_count", s->n_layer);
    tiny_set_u32(m, ".feed_forward_length", s->f);
    tiny_add(m, "token_embd.weight", s->c, s->rows);
    tiny_add(m, "output_norm.weight", s->c, 0);
    tiny_add(m, "output.weight", s->c, s->rows);
    if (arch == TINY_RWKV7) {
        tiny_set_u32(m, ".context_length", 1048576);
        tiny_set_u32(m, ".wkv.head_size", s->head_size);
        tiny_set_f32(m, ".attention.layer_norm_epsilon", 1e-5f);
        tiny_add(m, "output_norm.bias", s->c, 0);
        tiny_add(m, "token_embd_norm.weight", s->c, 0);
        tiny_add(m, "token_embd_norm.bias", s->c, 0);
    } else {
        tiny_set_u32(m, ".context_length", 128);
        tiny_set_u32(m, ".attention.head_count", s->n_head);
        tiny_set_u32(m, ".attention.head_count_kv", s->n_head_kv);
        tiny_set_u32(m, ".attention.key_length", s->key);
        tiny_set_u32(m, ".attention.value_length", s->key);
        tiny_set_f32(m, ".attention.layer_norm_rms_epsilon", 1e-5f);
        tiny_set_f32(m, ".rope.freq_base", 10000.0f);
    }
    for (uint32_t l = 0; l < s->n_layer; l++) {
        if (arch == TINY_RWKV7) {
            rwkv7_layer(m, s, l);
        } else {
            transformer_layer(m, arch, s, l);
        }
    }
    if (s->vocab) {
        add_vocab(m);
    }
}

void tiny_free(tiny_model *m)
{
    for (size_t i = 0; i < m->n_tensors; i++) {
        free(m->tensors[i].values);
    }
    free(m->tensors);
    free(m->keys);
    memset(m, 0, sizeof *m);
}

/* ---- the file */

static hy_status mem_open(void *user, const char *path, hy_file_mode mode, void **file,
                          uint64_t *bytes, hy_error *err)
{
    (void)path;
    (void)mode;
    (void)err;
    *file = user;
    *bytes = 0;
    return HY_OK;
}

static hy_status mem_write(void *user, void *file, const void *buf, size_t bytes, hy_error *err)
{
    hy__buf *b = file;
    hy_env os;
    (void)user;
    hy__os_env(&os);
    return hy__buf_append(&os, b, buf, bytes, err);
}

static hy_status mem_close(void *user, void *file, hy_error *err)
{
    (void)user;
    (void)file;
    (void)err;
    return HY_OK;
}

static hy_status mem_rename(void *user, const char *from, const char *to, hy_error *err)
{
    (void)user;
    (void)from;
    (void)to;
    (void)err;
    return HY_OK;
}

static void mem_remove(void *user, const char *path)
{
    (void)user;
    (void)path;
}

static void declare_key(hy_gguf_writer *w, const tiny_key *k)
{
    hy_error err;
    hy_str texts[TINY_MOST_ARRAY];
    switch (k->type) {
    case HY_GGUF_UINT32:
        must(hy_gguf_writer_set_u32(w, k->name, k->number, &err), &err);
        break;
    case HY_GGUF_FLOAT32:
        must(hy_gguf_writer_set_f32(w, k->name, k->real, &err), &err);
        break;
    case HY_GGUF_STRING:
        must(hy_gguf_writer_set_str(w, k->name, (hy_str){k->text, strlen(k->text)}, &err), &err);
        break;
    default:
        for (size_t i = 0; i < k->n; i++) {
            texts[i] = (hy_str){k->texts[i], strlen(k->texts[i])};
        }
        must(hy_gguf_writer_set_array(w, k->name, k->elem,
                                      k->elem == HY_GGUF_STRING    ? (const void *)texts
                                      : k->elem == HY_GGUF_FLOAT32 ? (const void *)k->reals
                                                                   : (const void *)k->numbers,
                                      k->n, &err),
             &err);
    }
}

static void write_tensor(hy_gguf_writer *w, const tiny_tensor *t)
{
    hy_error err;
    const hy_type_info *type = hy_type_find((uint32_t)t->type);
    const size_t n = (size_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]);
    const size_t bytes = n / type->block_elems * type->block_bytes;
    void *data = calloc(bytes + 1, 1);
    float *values = calloc(n + 1, sizeof *values);
    if (!data || !values) {
        die("out of memory");
    }
    memcpy(values, t->values, HY_MIN(n, t->n_values) * sizeof *values);
    if (t->type == HY_TYPE_F32) {
        memcpy(data, values, bytes); /* as they are: hy_quantize refuses NaN */
    } else if (type->can_encode) {
        must(hy_quantize(t->type, values, data, n, &err), &err);
    }
    must(hy_gguf_writer_data(w, data, bytes, &err), &err);
    free(values);
    free(data);
}

void *tiny_bytes(const tiny_model *m, size_t *len)
{
    hy_error err;
    hy__buf file = {0};
    const hy_env env = {.size = sizeof env,
                        .user = &file,
                        .file_open = mem_open,
                        .file_write = mem_write,
                        .file_close = mem_close,
                        .file_rename = mem_rename,
                        .file_remove = mem_remove};
    hy_gguf_writer *w;
    must(hy_gguf_writer_create(&env, &w, &err), &err);
    for (size_t i = 0; i < m->n_keys; i++) {
        declare_key(w, &m->keys[i]);
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const tiny_tensor *t = &m->tensors[i];
        must(hy_gguf_writer_add_tensor(w, t->name, t->type, t->n_dims, t->ne, &err), &err);
    }
    must(hy_gguf_writer_begin(w, "tiny.gguf", &err), &err);
    for (size_t i = 0; i < m->n_tensors; i++) {
        write_tensor(w, &m->tensors[i]);
    }
    must(hy_gguf_writer_finish(w, &err), &err);
    hy_gguf_writer_destroy(w);
    *len = file.len;
    return file.data;
}

void *tiny_file(tiny_arch arch, const tiny_shape *shape, size_t *len)
{
    tiny_model m;
    tiny_make(&m, arch, shape);
    void *bytes = tiny_bytes(&m, len);
    tiny_free(&m);
    return bytes;
}
