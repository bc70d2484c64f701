/* layers.c: model files in memory with made-up weights: see layers.h. */
#include "layers.h"

#include <stdio.h>

#include "halyard/types.h"
#include "model/builder.h"

/* ---- the file's head; errors stick in `status` */

enum { ALIGN = 32, U32 = 4, F32 = 6, TEXT = 8 /* kinds of values */ };

typedef struct maker {
    const hy_env *env;
    const hy__gpu_layer_sizes *s;
    hy__buf keys, tensors;
    uint64_t n_keys, n_tensors;
    uint64_t bytes; /* of tensors so far */
    hy_status status;
    hy_error *err;
} maker;

static void put(maker *mk, hy__buf *to, const void *data, size_t n)
{
    if (mk->status == HY_OK) {
        mk->status = hy__buf_append(mk->env, to, data, n, mk->err);
    }
}

static void put_u32(maker *mk, hy__buf *to, uint32_t x)
{
    uint8_t bytes[4];
    hy__store_u32(bytes, x);
    put(mk, to, bytes, 4);
}

static void put_u64(maker *mk, hy__buf *to, uint64_t x)
{
    uint8_t bytes[8];
    hy__store_u64(bytes, x);
    put(mk, to, bytes, 8);
}

static void put_text(maker *mk, hy__buf *to, const char *text)
{
    put_u64(mk, to, strlen(text));
    put(mk, to, text, strlen(text));
}

/* "ARCH.name". */
static void put_key(maker *mk, const char *name, uint32_t kind, uint32_t bits)
{
    char full[80];
    snprintf(full, sizeof full, "%s.%s", mk->s->arch, name);
    put_text(mk, &mk->keys, full);
    put_u32(mk, &mk->keys, kind);
    put_u32(mk, &mk->keys, bits);
    mk->n_keys++;
}

static void put_number(maker *mk, const char *name, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    put_key(mk, name, F32, bits);
}

/* A tensor of m rows of n elements, m 1: a vector.  layer -1: of the whole model. */
static void put_tensor(maker *mk, int layer, const char *name, hy_type type, uint64_t n, uint64_t m)
{
    char full[64];
    const hy_type_info *t = hy_type_find((uint32_t)type);
    if (layer < 0) {
        snprintf(full, sizeof full, "%s", name);
    } else {
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    }
    put_text(mk, &mk->tensors, full);
    put_u32(mk, &mk->tensors, m > 1 ? 2 : 1);
    put_u64(mk, &mk->tensors, n);
    if (m > 1) {
        put_u64(mk, &mk->tensors, m);
    }
    put_u32(mk, &mk->tensors, (uint32_t)type);
    put_u64(mk, &mk->tensors, mk->bytes);
    mk->bytes += (n * m / t->block_elems * t->block_bytes + ALIGN - 1) / ALIGN * ALIGN;
    mk->n_tensors++;
}

/* ---- architectures */

/* Of the low-rank matrices of RWKV-7, as models of 2048 channels have them. */
static const struct low_rank {
    const char *letter, *key;
    uint32_t part; /* of 64 of the channels */
    hy_type type;
} low_ranks[] = {{"w", "decay", 3, HY_TYPE_F32},
                 {"a", "iclr", 3, HY_TYPE_F16},
                 {"v", "value_residual_mix", 2, HY_TYPE_F16},
                 {"g", "gate", 8, HY_TYPE_F16}};

static uint32_t rank_of(const hy__gpu_layer_sizes *s, const struct low_rank *low)
{
    return (s->n_embd * low->part / 64 + 31) / 32 * 32;
}

static void put_rwkv7_layer(maker *mk, int layer)
{
    static const char *const vectors[] = {
        "attn_norm.weight",         "attn_norm.bias",      "attn_norm_2.weight",
        "attn_norm_2.bias",         "time_mix_w0.weight",  "time_mix_a0.weight",
        "time_mix_v0.weight",       "time_mix_k_k.weight", "time_mix_k_a.weight",
        "time_mix_r_k.weight",      "time_mix_ln.weight",  "time_mix_ln.bias",
        "channel_mix_lerp_k.weight"};
    static const char *const squares[] = {"receptance", "key", "value", "output"};
    const hy__gpu_layer_sizes *s = mk->s;
    char name[60];
    for (size_t k = 0; k < HY_COUNT(vectors); k++) {
        put_tensor(mk, layer, vectors[k], HY_TYPE_F32, s->n_embd, 1);
    }
    put_tensor(mk, layer, "time_mix_lerp_fused.weight", HY_TYPE_F32, s->n_embd, 6);
    for (size_t k = 0; k < HY_COUNT(low_ranks); k++) {
        const struct low_rank *low = &low_ranks[k];
        snprintf(name, sizeof name, "time_mix_%s1.weight", low->letter);
        put_tensor(mk, layer, name, low->type, s->n_embd, rank_of(s, low));
        snprintf(name, sizeof name, "time_mix_%s2.weight", low->letter);
        put_tensor(mk, layer, name, low->type, rank_of(s, low), s->n_embd);
    }
    for (size_t k = 0; k < HY_COUNT(squares); k++) {
        snprintf(name, sizeof name, "time_mix_%s.weight", squares[k]);
        put_tensor(mk, layer, name, s->type, s->n_embd, s->n_embd);
    }
    put_tensor(mk, layer, "channel_mix_key.weight", s->type, s->n_embd, s->n_ff);
    put_tensor(mk, layer, "channel_mix_value.weight", s->type, s->n_ff, s->n_embd);
}

static void put_rwkv7(maker *mk)
{
    const hy__gpu_layer_sizes *s = mk->s;
    put_key(mk, "wkv.head_size", U32, s->head);
    put_key(mk, "attention.head_count", U32, 0);
    put_number(mk, "attention.layer_norm_epsilon", 1e-5f);
    for (size_t i = 0; i < HY_COUNT(low_ranks); i++) {
        char name[60];
        snprintf(name, sizeof name, "attention.%s_lora_rank", low_ranks[i].key);
        put_key(mk, name, U32, rank_of(s, &low_ranks[i]));
    }
    put_tensor(mk, -1, "token_embd_norm.weight", HY_TYPE_F32, s->n_embd, 1);
    put_tensor(mk, -1, "token_embd_norm.bias", HY_TYPE_F32, s->n_embd, 1);
    put_tensor(mk, -1, "output_norm.bias", HY_TYPE_F32, s->n_embd, 1);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        put_rwkv7_layer(mk, (int)i);
    }
}

static void put_llama_layer(maker *mk, int layer)
{
    const hy__gpu_layer_sizes *s = mk->s;
    const uint32_t kv = s->head * s->n_head_kv;
    put_tensor(mk, layer, "attn_norm.weight", HY_TYPE_F32, s->n_embd, 1);
    put_tensor(mk, layer, "attn_q.weight", s->type, s->n_embd, s->n_embd);
    put_tensor(mk, layer, "attn_k.weight", s->type, s->n_embd, kv);
    put_tensor(mk, layer, "attn_v.weight", s->better, s->n_embd, kv);
    put_tensor(mk, layer, "attn_output.weight", s->type, s->n_embd, s->n_embd);
    put_tensor(mk, layer, "ffn_norm.weight", HY_TYPE_F32, s->n_embd, 1);
    put_tensor(mk, layer, "ffn_gate.weight", s->type, s->n_embd, s->n_ff);
    put_tensor(mk, layer, "ffn_up.weight", s->type, s->n_embd, s->n_ff);
    put_tensor(mk, layer, "ffn_down.weight", s->better, s->n_ff, s->n_embd);
}

static void put_llama(maker *mk)
{
    const hy__gpu_layer_sizes *s = mk->s;
    put_key(mk, "attention.head_count", U32, s->n_embd / s->head);
    put_key(mk, "attention.head_count_kv", U32, s->n_head_kv);
    put_key(mk, "attention.key_length", U32, s->head);
    put_key(mk, "attention.value_length", U32, s->head);
    put_key(mk, "rope.dimension_count", U32, s->head);
    put_key(mk, "vocab_size", U32, s->n_vocab);
    put_number(mk, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_number(mk, "rope.freq_base", 500000.0f);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        put_llama_layer(mk, (int)i);
    }
}

static void put_model(maker *mk)
{
    const hy__gpu_layer_sizes *s = mk->s;
    put_text(mk, &mk->keys, "general.architecture");
    put_u32(mk, &mk->keys, TEXT);
    put_text(mk, &mk->keys, s->arch);
    mk->n_keys++;
    put_key(mk, "context_length", U32, 32768);
    put_key(mk, "embedding_length", U32, s->n_embd);
    put_key(mk, "feed_forward_length", U32, s->n_ff);
    put_key(mk, "block_count", U32, s->n_layer);
    put_tensor(mk, -1, "token_embd.weight", s->type, s->n_embd, s->n_vocab);
    put_tensor(mk, -1, "output_norm.weight", HY_TYPE_F32, s->n_embd, 1);
    put_tensor(mk, -1, "output.weight", s->better, s->n_embd, s->n_vocab);
    if (strcmp(s->arch, "rwkv7") == 0) {
        put_rwkv7(mk);
    } else {
        put_llama(mk);
    }
}

/* ---- numbers */

enum { PATTERN = 32768 /* elements that repeat */ };

static void fill_pattern(float *x, bool vector)
{
    uint64_t random = 1;
    for (size_t i = 0; i < PATTERN; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const float y = (float)(random >> 40) * 0x1p-24f;
        x[i] = vector ? 0.5f + y : (y - 0.5f) * 0.06f;
    }
}

/* All tensors of a type; vectors apart from matrices. */
static hy_status fill_type(hy__gpu_layers *l, const hy_type_info *t, hy_type type, bool vector,
                           const float *x, uint8_t *pattern, hy_error *err)
{
    const size_t bytes = PATTERN / t->block_elems * t->block_bytes;
    bool made = false;
    for (size_t i = 0; i < hy_gguf_n_tensors(l->gguf); i++) {
        const hy_gguf_tensor *w = hy_gguf_tensor_at(l->gguf, i);
        if (w->type != type || (w->n_dims == 1) != vector) {
            continue;
        }
        if (!made) {
            HY_TRY(hy_quantize(type, x, pattern, PATTERN, err));
            made = true;
        }
        uint8_t *to = l->file + w->file_offset;
        for (uint64_t at = 0; at < w->bytes; at += bytes) {
            memcpy(to + at, pattern, (size_t)HY_MIN(w->bytes - at, (uint64_t)bytes));
        }
    }
    return HY_OK;
}

static hy_status fill(hy__gpu_layers *l, hy_error *err)
{
    float *x = hy__alloc(&l->env, 2 * (size_t)PATTERN, sizeof *x, err);
    if (!x) {
        return HY_E_NOMEM;
    }
    hy_status status = HY_OK;
    for (int vector = 0; vector < 2; vector++) {
        fill_pattern(x, vector);
        for (uint32_t id = 0; id < 64 && status == HY_OK; id++) {
            const hy_type_info *t = hy_type_find(id);
            if (t && t->can_encode) {
                /* No type has more bytes than F32. */
                status = fill_type(l, t, (hy_type)id, vector, x, (uint8_t *)(x + PATTERN), err);
            }
        }
    }
    hy__free(&l->env, x);
    return status;
}

/* ---- all of it */

static hy_status make_file(hy__gpu_layers *l, maker *mk, hy_error *err)
{
    hy__buf head = {0};
    put(mk, &head, "GGUF", 4);
    put_u32(mk, &head, 3);
    put_u64(mk, &head, mk->n_tensors);
    put_u64(mk, &head, mk->n_keys);
    put(mk, &head, mk->keys.data, mk->keys.len);
    put(mk, &head, mk->tensors.data, mk->tensors.len);
    if (mk->status == HY_OK) {
        const size_t begin = (head.len + ALIGN - 1) / ALIGN * ALIGN;
        l->bytes = begin + mk->bytes;
        l->file = hy__calloc(&l->env, 1, (size_t)l->bytes, err);
        mk->status = l->file ? HY_OK : HY_E_NOMEM;
        if (l->file) {
            memcpy(l->file, head.data, head.len);
        }
    }
    hy__buf_finish(&l->env, &head);
    HY_TRY(mk->status);
    HY_TRY(hy_gguf_open_memory(l->file, (size_t)l->bytes, &l->env, &l->gguf, err));
    return fill(l, err);
}

uint64_t hy__gpu_layer_bytes(const hy__gpu_layer_sizes *s, const hy_env *env)
{
    hy_error err;
    maker mk = {.env = env, .s = s, .err = &err};
    if (strcmp(s->arch, "rwkv7") == 0) {
        put_rwkv7_layer(&mk, 0);
    } else {
        put_llama_layer(&mk, 0);
    }
    hy__buf_finish(env, &mk.tensors);
    return mk.bytes;
}

hy_status hy__gpu_layers_make(hy__gpu_layers *l, const hy__gpu_layer_sizes *s, const hy_env *env,
                              hy_error *err)
{
    hy__builder b;
    maker mk = {.env = &l->env, .s = s, .err = err};
    *l = (hy__gpu_layers){.env = *env};
    hy__graph_init(&l->graph, env);
    put_model(&mk);
    hy_status status = mk.status == HY_OK ? make_file(l, &mk, err) : mk.status;
    hy__buf_finish(&l->env, &mk.keys);
    hy__buf_finish(&l->env, &mk.tensors);
    HY_TRY(status);
    HY_TRY(hy__model_build(l->gguf, &l->graph, &b, err));
    HY_TRY(hy__fuse(&l->fusion, &l->graph, HY__ALL_RULES, err));
    HY_TRY(hy__fusion_apply(&l->fusion, &l->graph, err));
    HY_TRY(hy__exprs_make(&l->exprs, &l->fusion, &l->graph, err));
    return hy__plan_make(&l->plan, &l->graph, &l->fusion, err);
}

void hy__gpu_layers_finish(hy__gpu_layers *l)
{
    if (!l->env.mem_alloc) {
        return;
    }
    if (l->plan.place) {
        hy__plan_finish(&l->plan);
    }
    if (l->exprs.phases) {
        hy__exprs_finish(&l->exprs);
    }
    if (l->fusion.phases) {
        hy__fusion_finish(&l->fusion);
    }
    hy__graph_finish(&l->graph);
    hy_gguf_close(l->gguf);
    hy__free(&l->env, l->file);
    memset(l, 0, sizeof *l);
}
