/* test_model.c: models as files say they are: what loads, what is refused and in which words, and
 * variants of one model that must compute the same. */
#include <math.h>

#include "model/model.h"
#include "support/support.h"
#include "support/tiny_models.h"

static hy_status load(const tiny_model *t, hy_model **m, void **bytes, hy_error *err)
{
    size_t len;
    *bytes = tiny_bytes(t, &len);
    return hy_model_load_memory(*bytes, len, NULL, NULL, m, err);
}

static const hy_token prompt[] = {3, 1, 4, 1, 5, 2, 6};

/* Logits after every token of the prompt; free() them. */
static float *logits_of(const tiny_model *t, uint32_t *vocab)
{
    hy_error err;
    hy_model *m;
    void *bytes;
    hy_session *s;
    hy_step step;
    const hy_session_opts opts = {.size = sizeof opts, .all_logits = true};
    hy_model_info info = {.size = sizeof info};
    assert_ok(load(t, &m, &bytes, &err), &err);
    hy_model_get_info(m, &info);
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    assert_ok(hy_session_append(s, prompt, HY_COUNT(prompt), &err), &err);
    assert_ok(hy_session_step(s, &step, &err), &err);
    assert_int_equal(step.n_logits, HY_COUNT(prompt));
    const size_t n = HY_COUNT(prompt) * info.n_vocab;
    float *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, hy_session_logits(s, 0), n * sizeof *copy);
    hy_session_destroy(s);
    hy_model_destroy(m);
    free(bytes);
    *vocab = info.n_vocab;
    return copy;
}

static void assert_same_logits(const tiny_model *a, const tiny_model *b, bool same)
{
    uint32_t va, vb;
    float *x = logits_of(a, &va), *y = logits_of(b, &vb);
    assert_int_equal(va, vb);
    assert_int_equal(memcmp(x, y, HY_COUNT(prompt) * va * sizeof *x) == 0, same);
    free(x);
    free(y);
}

static void every_architecture_runs(void **state)
{
    (void)state;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        hy_error err;
        tiny_model t;
        hy_model *m;
        void *bytes;
        hy_model_info info = {.size = sizeof info};
        tiny_make(&t, arch, &tiny_usual);
        assert_ok(load(&t, &m, &bytes, &err), &err);
        hy_model_get_info(m, &info);
        assert_string_equal(hy_model_arch(m), tiny_arch_name(arch));
        assert_string_equal(hy_model_backend(m), "cpu");
        assert_null(hy_model_tokenizer(m));
        assert_int_equal(info.n_layer, 2);
        assert_int_equal(info.n_embd, 16);
        assert_int_equal(info.n_vocab, 32);
        assert_int_equal(info.recurrent, arch == TINY_RWKV7);
        assert_int_equal(info.n_ctx_train, arch == TINY_RWKV7 ? 0 : 128);
        assert_int_equal(info.state_bytes, arch == TINY_RWKV7 ? 2 * (2 * 16 + 16 * 8) * 4 : 0);
        assert_int_equal(info.kv_bytes_per_token, arch == TINY_RWKV7 ? 0 : 2 * 2 * 2 * 4 * 4);
        assert_int_equal(info.weight_bytes, 4 * info.n_params);
        hy_model_destroy(m);
        free(bytes);
        /* Another weight, other logits: all of them are read. */
        for (size_t i = 0; i < t.n_tensors; i++) {
            tiny_model changed;
            tiny_make(&changed, arch, &tiny_usual);
            for (size_t k = 0; k < changed.tensors[i].n_values; k++) {
                changed.tensors[i].values[k] +=
                    0.25f * (float)(k % 3); /* a norm takes away what all channels share */
            }
            assert_same_logits(&t, &changed, false);
            tiny_free(&changed);
        }
        tiny_free(&t);
    }
}

static void a_smaller_info_struct_is_not_overrun(void **state)
{
    (void)state;
    hy_error err;
    tiny_model t;
    hy_model *m;
    void *bytes;
    tiny_make(&t, TINY_LLAMA, &tiny_least);
    assert_ok(load(&t, &m, &bytes, &err), &err);
    hy_model_info info;
    memset(&info, 0x5a, sizeof info);
    info.size = offsetof(hy_model_info, n_ctx_train);
    hy_model_get_info(m, &info);
    assert_int_equal(info.n_vocab, 8);
    assert_int_equal(info.n_ctx_train, 0x5a5a5a5a);
    hy_model_destroy(m);
    free(bytes);
    tiny_free(&t);
}

/* ---- damage */

enum damage {
    DROP,   /* key or tensor `name` */
    U32,    /* key = a */
    F32,    /* key = x */
    STR,    /* key = text */
    ARRAY,  /* key = {a, b} */
    ARRAY3, /* key = {a, a, a} */
    SHAPE,  /* tensor has the shape [a, b] */
    TYPE,   /* tensor is of type a */
    ADD     /* a tensor of the shape [a, b] */
};

typedef struct damaged {
    tiny_arch arch;
    enum damage what;
    const char *name;
    double a, b;
    const char *text;
    hy_status status; /* HY_OK: loads and runs all the same */
    const char *says;
} damaged;

#define R TINY_RWKV7
#define L TINY_LLAMA
#define Q2 TINY_QWEN2
#define Q3 TINY_QWEN3
#define FMT HY_E_FORMAT
#define UNS HY_E_UNSUPPORTED
static const damaged cases[] = {
    {L, DROP, "general.architecture", 0, 0, 0, FMT, "general.architecture is missing"},
    {L, U32, "general.architecture", 1, 0, 0, FMT, "general.architecture"},
    {L, STR, "general.architecture", 0, 0, "gpt9\x01", UNS,
     "architecture \"gpt9?\" is not supported; these are: rwkv7, arwkv7"},
    {L, STR, "general.architecture", 0, 0, "llam", UNS, "\"llam\""},
    {L, STR, "general.architecture", 0, 0, "", UNS, "\"\""},
    /* hyper-parameters of transformers */
    {L, DROP, ".embedding_length", 0, 0, 0, FMT, "key llama.embedding_length is missing"},
    {L, U32, ".embedding_length", 0, 0, 0, FMT, "llama.embedding_length"},
    {L, U32, ".embedding_length", 65537, 0, 0, FMT, "llama.embedding_length"},
    {L, U32, ".embedding_length", 17, 0, 0, FMT,
     "token_embd.weight has the shape [16, 32, 1, 1], [17, 32] is needed"},
    {L, STR, ".embedding_length", 0, 0, "16", FMT, "llama.embedding_length"},
    {L, F32, ".embedding_length", 16, 0, 0, FMT, "llama.embedding_length"},
    {L, DROP, ".block_count", 0, 0, 0, FMT, "key llama.block_count is missing"},
    {L, U32, ".block_count", 0, 0, 0, FMT, "llama.block_count"},
    {L, U32, ".block_count", 513, 0, 0, FMT, "llama.block_count"},
    {L, U32, ".block_count", 3, 0, 0, FMT, "tensor blk.2.attn_norm.weight is missing"},
    {L, U32, ".block_count", 1, 0, 0, UNS,
     "tensor blk.1.attn_norm.weight does not belong to the architecture llama"},
    {L, DROP, ".feed_forward_length", 0, 0, 0, FMT, "key llama.feed_forward_length is missing"},
    {L, U32, ".feed_forward_length", 0, 0, 0, FMT, "llama.feed_forward_length"},
    {L, U32, ".feed_forward_length", 1 << 21, 0, 0, FMT, "llama.feed_forward_length"},
    {L, U32, ".feed_forward_length", 23, 0, 0, FMT, "blk.0.ffn_gate.weight has the shape"},
    {L, ARRAY, ".feed_forward_length", 24, 24, 0, HY_OK, 0},
    {L, ARRAY, ".feed_forward_length", 24, 25, 0, UNS,
     "key llama.feed_forward_length: layers of different shapes (entry 1)"},
    {L, ARRAY3, ".feed_forward_length", 24, 0, 0, FMT,
     "llama.feed_forward_length: an array of 3 entries for 2 layers"},
    {L, ARRAY, ".feed_forward_length", 0, 0, 0, FMT, "llama.feed_forward_length: 0 is not in"},
    {L, DROP, ".context_length", 0, 0, 0, FMT, "key llama.context_length is missing"},
    {L, U32, ".context_length", 0, 0, 0, FMT, "llama.context_length"},
    {L, U32, ".context_length", 4294967295.0, 0, 0, FMT, "llama.context_length"},
    {L, DROP, ".attention.head_count", 0, 0, 0, FMT, "key llama.attention.head_count is missing"},
    {L, U32, ".attention.head_count", 0, 0, 0, FMT, "llama.attention.head_count"},
    {L, U32, ".attention.head_count", 1025, 0, 0, FMT, "llama.attention.head_count"},
    {L, U32, ".attention.head_count", 3, 0, 0, FMT,
     "llama.attention.head_count: 3 heads, 2 for keys"},
    {L, ARRAY, ".attention.head_count", 4, 4, 0, HY_OK, 0},
    {L, ARRAY, ".attention.head_count", 4, 2, 0, UNS, "layers of different shapes"},
    {L, U32, ".attention.head_count_kv", 0, 0, 0, FMT, "llama.attention.head_count_kv"},
    {L, U32, ".attention.head_count_kv", 3, 0, 0, FMT, "llama.attention.head_count"},
    {L, U32, ".attention.head_count_kv", 8, 0, 0, FMT, "llama.attention.head_count"},
    {L, DROP, ".attention.head_count_kv", 0, 0, 0, FMT,
     "blk.0.attn_k.weight has the shape [16, 8, 1, 1], [16, 16] is needed"},
    {L, ARRAY, ".attention.head_count_kv", 2, 2, 0, HY_OK, 0},
    {L, DROP, ".attention.key_length", 0, 0, 0, HY_OK, 0},
    {L, U32, ".attention.key_length", 1, 0, 0, FMT, "llama.attention.key_length"},
    {L, U32, ".attention.key_length", 5, 0, 0, UNS, "llama.rope.dimension_count: 5 of 5"},
    {L, U32, ".attention.key_length", 6, 0, 0, FMT, "blk.0.attn_q.weight"},
    {L, U32, ".attention.value_length", 0, 0, 0, FMT, "llama.attention.value_length"},
    {L, U32, ".attention.value_length", 3, 0, 0, FMT, "blk.0.attn_v.weight"},
    {L, F32, ".attention.scale", 0.25, 0, 0, HY_OK, 0},
    {L, F32, ".attention.scale", 0, 0, 0, HY_OK, 0},
    {L, F32, ".attention.scale", -1, 0, 0, FMT,
     "llama.attention.scale: -1 is not a finite positive number"},
    {L, F32, ".attention.scale", HUGE_VAL, 0, 0, FMT, "llama.attention.scale"},
    {L, DROP, ".attention.layer_norm_rms_epsilon", 0, 0, 0, FMT,
     "layer_norm_rms_epsilon is missing"},
    {L, F32, ".attention.layer_norm_rms_epsilon", 0, 0, 0, FMT, "layer_norm_rms_epsilon"},
    {L, F32, ".attention.layer_norm_rms_epsilon", NAN, 0, 0, FMT, "layer_norm_rms_epsilon"},
    {L, STR, ".attention.layer_norm_rms_epsilon", 0, 0, "1e-5", FMT, "layer_norm_rms_epsilon"},
    {L, U32, ".expert_count", 0, 0, 0, HY_OK, 0},
    {L, U32, ".expert_count", 8, 0, 0, UNS, "llama.expert_count: mixtures of experts"},
    {L, U32, ".attention.sliding_window", 4, 0, 0, HY_OK, 0},
    /* rotation */
    {L, U32, ".rope.dimension_count", 4, 0, 0, HY_OK, 0},
    {L, U32, ".rope.dimension_count", 2, 0, 0, UNS, "llama.rope.dimension_count: 2 of 4"},
    {L, U32, ".rope.dimension_count", 8, 0, 0, UNS, "llama.rope.dimension_count: 8 of 4"},
    {L, U32, ".rope.dimension_count", 0, 0, 0, FMT, "llama.rope.dimension_count"},
    {L, F32, ".rope.freq_base", 1, 0, 0, FMT, "llama.rope.freq_base: 1 is not above 1"},
    {L, F32, ".rope.freq_base", NAN, 0, 0, FMT, "llama.rope.freq_base"},
    {L, F32, ".rope.scaling.factor", 0, 0, 0, HY_OK, 0},
    {L, F32, ".rope.scaling.factor", -2, 0, 0, FMT, "llama.rope.scaling.factor"},
    {L, F32, ".rope.scaling.factor", 1e-30, 0, 0, FMT, "llama.rope: pair 0 turns by"},
    {L, STR, ".rope.scaling.type", 0, 0, "longrope", UNS,
     "key llama.rope.scaling.type: \"longrope\" is not supported"},
    {L, STR, ".rope.scaling.type", 0, 0, "dynamic", UNS, "\"dynamic\""},
    {L, U32, ".rope.scaling.type", 1, 0, 0, FMT, "llama.rope.scaling.type"},
    {L, U32, ".rope.scaling.original_context_length", 0, 0, 0, FMT, "original_context_length"},
    {L, ADD, "rope_freqs.weight", 3, 0, 0, FMT, "rope_freqs.weight must be 2 F32 elements"},
    /* tensors */
    {L, DROP, "token_embd.weight", 0, 0, 0, FMT, "tensor token_embd.weight is missing"},
    {L, DROP, "output_norm.weight", 0, 0, 0, FMT, "tensor output_norm.weight is missing"},
    {L, DROP, "output.weight", 0, 0, 0, HY_OK, 0},
    {L, DROP, "blk.1.attn_q.weight", 0, 0, 0, FMT, "tensor blk.1.attn_q.weight is missing"},
    {L, DROP, "blk.1.ffn_norm.weight", 0, 0, 0, FMT, "tensor blk.1.ffn_norm.weight is missing"},
    {L, DROP, "blk.1.ffn_down.weight", 0, 0, 0, FMT, "tensor blk.1.ffn_down.weight is missing"},
    {L, SHAPE, "output.weight", 16, 31, 0, FMT,
     "output.weight has the shape [16, 31, 1, 1], [16, 32] is needed"},
    {L, SHAPE, "blk.0.attn_norm.weight", 15, 0, 0, FMT, "blk.0.attn_norm.weight has the shape"},
    {L, SHAPE, "blk.0.attn_norm.weight", 4, 4, 0, HY_OK, 0},
    {L, SHAPE, "blk.0.attn_q.weight", 8, 32, 0, FMT, "blk.0.attn_q.weight has the shape"},
    {L, SHAPE, "blk.0.ffn_down.weight", 16, 24, 0, FMT, "blk.0.ffn_down.weight has the shape"},
    {L, TYPE, "blk.0.attn_q.weight", HY_TYPE_I32, 0, 0, UNS,
     "blk.0.attn_q.weight: type I32 cannot be decoded"},
    {L, TYPE, "blk.0.attn_norm.weight", HY_TYPE_F64, 0, 0, UNS, "type F64"},
    {L, TYPE, "blk.0.attn_q.weight", HY_TYPE_F16, 0, 0, HY_OK, 0},
    {L, ADD, "blk.0.attn_q.bias", 16, 0, 0, HY_OK, 0},
    {L, ADD, "blk.0.attn_q.bias", 15, 0, 0, FMT, "blk.0.attn_q.bias has the shape"},
    {L, ADD, "blk.1.attn_output.bias", 16, 0, 0, HY_OK, 0},
    {L, ADD, "blk.1.ffn_up.bias", 24, 0, 0, HY_OK, 0},
    {L, ADD, "output.bias", 32, 0, 0, HY_OK, 0},
    {L, ADD, "blk.0.attn_rot_embd", 2, 0, 0, HY_OK, 0},
    {L, ADD, "blk.2.attn_norm.weight", 16, 0, 0, UNS, "blk.2.attn_norm.weight does not belong to"},
    {L, ADD, "blk.0.attn_q_norm.weight", 4, 0, 0, UNS,
     "blk.0.attn_q_norm.weight does not belong to"},
    {L, ADD, "surprise", 1, 0, 0, UNS, "tensor surprise does not belong to the architecture llama"},
    {L, ADD, "blk.0.attn_qkv.bias", 32, 0, 0, UNS, "blk.0.attn_qkv.bias does not belong to"},
    {L, ADD, "blk.0.attn_qkv.weight", 16, 32, 0, UNS, "blk.0.attn_q.weight does not belong to"},
    {Q2, DROP, "blk.1.attn_k.bias", 0, 0, 0, FMT, "tensor blk.1.attn_k.bias is missing"},
    {Q2, ADD, "blk.0.attn_output.bias", 16, 0, 0, UNS,
     "blk.0.attn_output.bias does not belong to the architecture qwen2"},
    {Q2, ADD, "output.bias", 32, 0, 0, HY_OK, 0},
    {Q3, DROP, "blk.1.attn_q_norm.weight", 0, 0, 0, FMT,
     "tensor blk.1.attn_q_norm.weight is missing"},
    {Q3, SHAPE, "blk.1.attn_k_norm.weight", 8, 0, 0, FMT, "blk.1.attn_k_norm.weight has the shape"},
    {Q3, ADD, "blk.0.attn_q.bias", 16, 0, 0, UNS,
     "blk.0.attn_q.bias does not belong to the architecture qwen3"},
    /* rwkv7 */
    {R, DROP, ".embedding_length", 0, 0, 0, FMT, "key rwkv7.embedding_length is missing"},
    {R, DROP, ".wkv.head_size", 0, 0, 0, FMT, "key rwkv7.wkv.head_size is missing"},
    {R, U32, ".wkv.head_size", 0, 0, 0, FMT, "rwkv7.wkv.head_size"},
    {R, U32, ".wkv.head_size", 5, 0, 0, FMT,
     "rwkv7.wkv.head_size: 5 does not divide the embedding length 16"},
    {R, U32, ".wkv.head_size", 4096, 0, 0, FMT, "rwkv7.wkv.head_size"},
    {R, DROP, ".feed_forward_length", 0, 0, 0, FMT, "key rwkv7.feed_forward_length is missing"},
    {R, DROP, ".block_count", 0, 0, 0, FMT, "key rwkv7.block_count is missing"},
    {R, DROP, ".attention.layer_norm_epsilon", 0, 0, 0, HY_OK, 0},
    {R, F32, ".attention.layer_norm_epsilon", NAN, 0, 0, FMT, "layer_norm_epsilon"},
    {R, DROP, ".context_length", 0, 0, 0, HY_OK, 0},
    {R, U32, ".token_shift_count", 2, 0, 0, HY_OK, 0},
    {R, U32, ".token_shift_count", 1, 0, 0, FMT, "rwkv7.token_shift_count"},
    {R, U32, ".attention.head_count", 0, 0, 0, HY_OK, 0},
    {R, DROP, "output.weight", 0, 0, 0, FMT, "tensor output.weight is missing"},
    {R, DROP, "token_embd_norm.bias", 0, 0, 0, FMT, "tensor token_embd_norm.bias is missing"},
    {R, DROP, "blk.1.time_mix_v0.weight", 0, 0, 0, FMT,
     "tensor blk.1.time_mix_v0.weight is missing"},
    {R, ADD, "blk.0.time_mix_v0.weight", 16, 0, 0, HY_OK, 0},
    {R, ADD, "blk.0.time_mix_v1.weight", 16, 4, 0, HY_OK, 0},
    {R, ADD, "blk.0.time_mix_v2.weight", 4, 16, 0, HY_OK, 0},
    {R, ADD, "blk.0.time_mix_g0.weight", 16, 0, 0, UNS,
     "blk.0.time_mix_g0.weight does not belong to the architecture rwkv7"},
    {R, ADD, "blk.0.ffn_s_emb.weight", 16, 32, 0, UNS, "does not belong to the architecture rwkv7"},
    {R, SHAPE, "blk.0.time_mix_w2.weight", 5, 16, 0, FMT, "blk.0.time_mix_w2.weight has the shape"},
    {R, SHAPE, "blk.0.time_mix_lerp_fused.weight", 16, 6, 0, HY_OK, 0},
    {R, SHAPE, "blk.0.time_mix_lerp_fused.weight", 16, 5, 0, FMT,
     "time_mix_lerp_fused.weight has the shape"},
    {R, SHAPE, "blk.0.time_mix_lerp_fused.weight", 96, 0, 0, FMT,
     "time_mix_lerp_fused.weight has the shape"},
    {R, SHAPE, "blk.0.time_mix_r_k.weight", 8, 2, 0, HY_OK, 0},
};
#undef R
#undef L
#undef Q2
#undef Q3
#undef FMT
#undef UNS

static void inflict(tiny_model *t, const damaged *d)
{
    const uint32_t n[3] = {(uint32_t)d->a, d->what == ARRAY3 ? (uint32_t)d->a : (uint32_t)d->b,
                           (uint32_t)d->a};
    tiny_tensor *tensor;
    switch (d->what) {
    case DROP:
        tiny_drop(t, d->name);
        break;
    case U32:
        tiny_set_u32(t, d->name, n[0]);
        break;
    case F32:
        tiny_set_f32(t, d->name, (float)d->a);
        break;
    case STR:
        tiny_set_str(t, d->name, d->text);
        break;
    case ARRAY:
    case ARRAY3:
        tiny_set_u32_array(t, d->name, n, d->what == ARRAY ? 2 : 3);
        break;
    case SHAPE:
        tensor = tiny_find(t, d->name);
        tensor->n_dims = d->b > 0 ? 2 : 1;
        tensor->ne[0] = n[0];
        tensor->ne[1] = d->b > 0 ? n[1] : 1;
        tensor->ne[2] = tensor->ne[3] = 1;
        break;
    case TYPE:
        tiny_find(t, d->name)->type = (hy_type)n[0];
        break;
    case ADD:
        tiny_add(t, d->name, n[0], n[1]);
        break;
    }
}

static void damaged_models_are_refused_with_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < HY_COUNT(cases); i++) {
        const damaged *d = &cases[i];
        hy_error err = {0};
        tiny_model t;
        hy_model *m = (hy_model *)&err;
        void *bytes;
        tiny_make(&t, d->arch, &tiny_usual);
        inflict(&t, d);
        const hy_status status = load(&t, &m, &bytes, &err);
        if (status != d->status) {
            print_error("case %zu (%s)\n", i, d->name);
        }
        if (d->status == HY_OK) {
            assert_ok(status, &err);
        } else {
            assert_fails(status, d->status, &err, d->says);
            assert_null(m);
        }
        hy_model_destroy(m);
        free(bytes);
        if (d->status == HY_OK) {
            uint32_t vocab;
            free(logits_of(&t, &vocab));
        }
        tiny_free(&t);
    }
}

static void heads_must_divide_the_channels(void **state)
{
    (void)state;
    hy_error err;
    tiny_model t;
    hy_model *m;
    void *bytes;
    tiny_make(&t, TINY_LLAMA, &tiny_usual);
    tiny_drop(&t, ".attention.key_length");
    tiny_drop(&t, ".attention.value_length");
    tiny_drop(&t, ".attention.head_count_kv");
    tiny_set_u32(&t, ".attention.head_count", 3);
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err,
                 "3 heads, 3 for keys, do not go with 16 channels");
    free(bytes);
    tiny_free(&t);
}

/* ---- the same model in other words */

/* Moves the values of `from` behind those of `to` and drops it. */
static void join_rows(tiny_model *t, const char *to, const char *from)
{
    tiny_tensor *b = tiny_find(t, from), *a = tiny_find(t, to);
    a->values = realloc(a->values, (a->n_values + b->n_values) * sizeof *a->values);
    assert_non_null(a->values);
    memcpy(a->values + a->n_values, b->values, b->n_values * sizeof *a->values);
    a->n_values += b->n_values;
    if (a->n_dims == 1) {
        a->ne[0] += b->ne[0];
    } else {
        a->ne[1] += b->ne[1];
    }
    tiny_drop(t, from);
}

static void fuse(tiny_model *t, uint32_t layer, const char *suffix)
{
    char q[64], k[64], v[64];
    snprintf(q, sizeof q, "blk.%u.attn_q.%s", layer, suffix);
    snprintf(k, sizeof k, "blk.%u.attn_k.%s", layer, suffix);
    snprintf(v, sizeof v, "blk.%u.attn_v.%s", layer, suffix);
    join_rows(t, q, k);
    join_rows(t, q, v);
    snprintf(tiny_find(t, q)->name, sizeof t->tensors->name, "blk.%u.attn_qkv.%s", layer, suffix);
}

static void fused_projections_equal_separate_ones(void **state)
{
    (void)state;
    tiny_shape shape = tiny_usual;
    shape.c = 32;
    for (tiny_arch arch = TINY_LLAMA; arch < TINY_N_ARCHS; arch++) {
        for (int quantized = 0; quantized < 2; quantized++) {
            tiny_model separate, fused;
            tiny_make(&separate, arch, &shape);
            tiny_make(&fused, arch, &shape);
            if (quantized) { /* before the parts are joined: a tensor's type stays */
                static const char *const parts[] = {"blk.1.attn_q.weight", "blk.1.attn_k.weight",
                                                    "blk.1.attn_v.weight"};
                for (size_t i = 0; i < HY_COUNT(parts); i++) {
                    tiny_find(&separate, parts[i])->type = tiny_find(&fused, parts[i])->type =
                        HY_TYPE_Q8_0;
                }
            }
            for (uint32_t l = 0; l < shape.n_layer; l++) {
                fuse(&fused, l, "weight");
                if (arch == TINY_QWEN2) {
                    fuse(&fused, l, "bias");
                }
            }
            assert_same_logits(&separate, &fused, true);
            tiny_free(&separate);
            tiny_free(&fused);
        }
    }
}

static void fused_projections_are_checked(void **state)
{
    (void)state;
    hy_error err;
    tiny_model t;
    hy_model *m;
    void *bytes;
    tiny_make(&t, TINY_QWEN2, &tiny_usual);
    fuse(&t, 0, "weight");
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err,
                 "tensor blk.0.attn_qkv.bias is missing");
    free(bytes);
    fuse(&t, 0, "bias");
    assert_ok(load(&t, &m, &bytes, &err), &err);
    hy_model_destroy(m);
    free(bytes);
    tiny_find(&t, "blk.0.attn_qkv.weight")->ne[1] = 31;
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err,
                 "blk.0.attn_qkv.weight has the shape [16, 31, 1, 1], [16, 32]");
    free(bytes);
    tiny_find(&t, "blk.0.attn_qkv.weight")->ne[1] = 32;
    tiny_find(&t, "blk.0.attn_qkv.bias")->ne[0] = 33;
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err,
                 "blk.0.attn_qkv.bias has the shape");
    free(bytes);
    /* q ends within a block of 32: such a bias cannot be cut. */
    tiny_find(&t, "blk.0.attn_qkv.bias")->ne[0] = 32;
    tiny_find(&t, "blk.0.attn_qkv.bias")->type = HY_TYPE_Q8_0;
    assert_fails(load(&t, &m, &bytes, &err), HY_E_UNSUPPORTED, &err,
                 "blk.0.attn_qkv.bias: 16 elements of type Q8_0 do not begin");
    free(bytes);
    tiny_free(&t);
}

static void a_tied_output_equals_a_copy_of_the_embedding(void **state)
{
    (void)state;
    tiny_model tied, copied;
    tiny_make(&tied, TINY_QWEN3, &tiny_usual);
    tiny_make(&copied, TINY_QWEN3, &tiny_usual);
    tiny_drop(&tied, "output.weight");
    tiny_tensor *out = tiny_find(&copied, "output.weight"),
                *in = tiny_find(&copied, "token_embd.weight");
    memcpy(out->values, in->values, in->n_values * sizeof *in->values);
    assert_same_logits(&tied, &copied, true);
    tiny_free(&tied);
    tiny_free(&copied);
}

static void zero_biases_change_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {
        "blk.0.attn_q.bias",   "blk.0.attn_k.bias", "blk.0.attn_v.bias",   "blk.0.attn_output.bias",
        "blk.0.ffn_gate.bias", "blk.0.ffn_up.bias", "blk.0.ffn_down.bias", "output.bias"};
    static const uint32_t sizes[] = {16, 8, 8, 16, 24, 24, 16, 32};
    tiny_model plain;
    tiny_make(&plain, TINY_LLAMA, &tiny_usual);
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        tiny_model with;
        tiny_make(&with, TINY_LLAMA, &tiny_usual);
        tiny_tensor *t = tiny_add(&with, names[i], sizes[i], 0);
        /* A key's bias moves all scores of a query alike only without rotation: here it shows. */
        assert_same_logits(&plain, &with, false);
        t = tiny_find(&with, names[i]);
        memset(t->values, 0, t->n_values * sizeof *t->values);
        assert_same_logits(&plain, &with, true);
        tiny_free(&with);
    }
    tiny_free(&plain);
}

static void layer_0_ignores_its_value_residual(void **state)
{
    (void)state;
    tiny_model without, with;
    tiny_make(&without, TINY_RWKV7, &tiny_usual);
    tiny_make(&with, TINY_RWKV7, &tiny_usual);
    tiny_add(&with, "blk.0.time_mix_v0.weight", 16, 0);
    tiny_add(&with, "blk.0.time_mix_v1.weight", 16, 4);
    tiny_add(&with, "blk.0.time_mix_v2.weight", 4, 16);
    assert_same_logits(&without, &with, true);
    tiny_free(&without);
    tiny_free(&with);
}

/* ---- rotation */

/* Reads the frequencies and the scale that were built. */
static void rotation_of(const tiny_model *t, double *freqs, uint32_t n, double *scale)
{
    hy_error err;
    hy_model *m;
    void *bytes;
    bool seen = false;
    assert_ok(load(t, &m, &bytes, &err), &err);
    for (uint32_t i = 0; i < m->graph.n_nodes; i++) {
        const hy__node *node = &m->graph.nodes[i];
        if (node->op == HY__OP_ROPE) {
            const hy__value *v = &m->graph.values[node->in[1]];
            assert_int_equal(v->n, n);
            memcpy(freqs, v->data, n * sizeof *freqs);
            *scale = (double)node->params.scale;
            seen = true;
        }
    }
    assert_true(seen);
    hy_model_destroy(m);
    free(bytes);
}

static void assert_close(double a, double b)
{
    if (!(fabs(a - b) <= 1e-7 * fabs(b))) { /* keys are single precision */
        fail_msg("%.17g is not %.17g", a, b);
    }
}

#define PI 3.14159265358979323846

static void frequencies_follow_their_formulas(void **state)
{
    (void)state;
    enum { R = 64 };
    const double base = 500000;
    tiny_shape shape = tiny_usual;
    shape.key = R;
    double freqs[R / 2], scale;
    tiny_model t;
    tiny_make(&t, TINY_LLAMA, &shape);
    tiny_set_f32(&t, ".rope.freq_base", (float)base);
    rotation_of(&t, freqs, R / 2, &scale);
    for (int j = 0; j < R / 2; j++) {
        assert_close(freqs[j], pow(base, -2.0 * j / R));
    }
    assert_close(scale, 1);

    /* linear, in both words; "none" turns it off */
    tiny_set_f32(&t, ".rope.scaling.factor", 4);
    rotation_of(&t, freqs, R / 2, &scale);
    assert_close(freqs[3], pow(base, -6.0 / R) / 4);
    tiny_set_str(&t, ".rope.scaling.type", "linear");
    rotation_of(&t, freqs, R / 2, &scale);
    assert_close(freqs[3], pow(base, -6.0 / R) / 4);
    assert_close(scale, 1);
    tiny_drop(&t, ".rope.scaling.factor");
    tiny_set_f32(&t, ".rope.scale_linear", 2);
    rotation_of(&t, freqs, R / 2, &scale);
    assert_close(freqs[3], pow(base, -6.0 / R) / 2);
    tiny_set_str(&t, ".rope.scaling.type", "none");
    rotation_of(&t, freqs, R / 2, &scale);
    assert_close(freqs[3], pow(base, -6.0 / R));

    /* YaRN */
    const double s = 16, orig = 2048;
    tiny_set_str(&t, ".rope.scaling.type", "yarn");
    tiny_set_f32(&t, ".rope.scaling.factor", (float)s);
    tiny_set_f32(&t, ".rope.scaling.attn_factor", 0.75f);
    tiny_set_u32(&t, ".rope.scaling.original_context_length", (uint32_t)orig);
    rotation_of(&t, freqs, R / 2, &scale);
    const double lo = fmax(0, floor(R * log(orig / (32 * 2 * PI)) / (2 * log(base))));
    const double hi = fmin(R - 1, ceil(R * log(orig / (2 * PI)) / (2 * log(base))));
    int untouched = 0, interpolated = 0, between = 0;
    for (int j = 0; j < R / 2; j++) {
        const double x = (j - lo) / fmax(0.001, hi - lo);
        const double ramp = 1 - (x < 0 ? 0 : x > 1 ? 1 : x);
        const double theta = pow(base, -2.0 * j / R);
        assert_close(freqs[j], theta / s * (1 - ramp) + theta * ramp);
        untouched += ramp == 1;
        interpolated += ramp == 0;
        between += ramp > 0 && ramp < 1;
    }
    assert_true(untouched > 0 && interpolated > 0 && between > 0);
    assert_close(scale, 0.75 * (1 + 0.1 * log(s)));

    /* without a length of its own, the model's context is the original one */
    tiny_drop(&t, ".rope.scaling.original_context_length");
    tiny_set_u32(&t, ".context_length", (uint32_t)orig);
    double again[R / 2];
    rotation_of(&t, again, R / 2, &scale);
    assert_memory_equal(again, freqs, sizeof freqs);

    /* it has no formula for less than the original length; other kinds may divide by any number */
    hy_error err;
    hy_model *m;
    void *bytes;
    tiny_set_f32(&t, ".rope.scaling.factor", 1);
    rotation_of(&t, again, R / 2, &scale);
    assert_close(scale, 0.75);
    tiny_set_f32(&t, ".rope.scaling.factor", 0.5f);
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err,
                 "llama.rope.scaling.factor: 0.5, but YaRN");
    free(bytes);
    tiny_set_str(&t, ".rope.scaling.type", "linear");
    rotation_of(&t, again, R / 2, &scale);
    assert_close(again[3], pow(base, -6.0 / R) * 2);
    tiny_free(&t);
}

static void frequency_factors_divide(void **state)
{
    (void)state;
    hy_error err;
    tiny_model t;
    hy_model *m;
    void *bytes;
    double freqs[2], scale;
    tiny_make(&t, TINY_LLAMA, &tiny_usual);
    tiny_tensor *f = tiny_add(&t, "rope_freqs.weight", 2, 0);
    f->values[0] = 1;
    f->values[1] = 8;
    rotation_of(&t, freqs, 2, &scale);
    assert_close(freqs[0], 1);
    assert_close(freqs[1], pow(10000, -0.5) / 8);
    static const float wrong[] = {0, -1, NAN, (float)HUGE_VAL};
    for (size_t i = 0; i < HY_COUNT(wrong); i++) {
        tiny_find(&t, "rope_freqs.weight")->values[1] = wrong[i];
        assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err, "rope_freqs.weight: element 1");
        free(bytes);
    }
    tiny_find(&t, "rope_freqs.weight")->values[1] = 1;
    tiny_find(&t, "rope_freqs.weight")->type = HY_TYPE_F16;
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err, "must be 2 F32 elements");
    free(bytes);
    tiny_free(&t);
}

/* ---- fingerprint, options, callbacks */

static uint64_t fingerprint_of(const tiny_model *t)
{
    hy_error err;
    hy_model *m;
    void *bytes;
    hy_model_info info = {.size = sizeof info};
    assert_ok(load(t, &m, &bytes, &err), &err);
    hy_model_get_info(m, &info);
    hy_model_destroy(m);
    free(bytes);
    return info.fingerprint;
}

static void fingerprints_tell_models_apart(void **state)
{
    (void)state;
    tiny_model t;
    tiny_make(&t, TINY_LLAMA, &tiny_usual);
    uint64_t seen[8];
    size_t n = 0;
    seen[n++] = fingerprint_of(&t);
    assert_int_equal(fingerprint_of(&t), seen[0]);
    tiny_set_str(&t, "general.name", "another name is no other model");
    assert_int_equal(fingerprint_of(&t), seen[0]);
    tiny_find(&t, "blk.1.ffn_norm.weight")->values[0] += 1;
    seen[n++] = fingerprint_of(&t);
    tiny_find(&t, "blk.1.ffn_norm.weight")->type = HY_TYPE_F16;
    seen[n++] = fingerprint_of(&t);
    tiny_set_f32(&t, ".rope.freq_base", 20000);
    seen[n++] = fingerprint_of(&t);
    tiny_set_f32(&t, ".rope.scaling.factor", 2);
    seen[n++] = fingerprint_of(&t);
    tiny_set_str(&t, ".rope.scaling.type", "yarn");
    seen[n++] = fingerprint_of(&t);
    tiny_set_str(&t, ".rope.scaling.type", "none");
    seen[n++] = fingerprint_of(&t);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_true(seen[i] != seen[k]);
        }
    }
    tiny_free(&t);
}

static bool stop_after(void *user, uint64_t done, uint64_t total)
{
    int *left = user;
    assert_true(done <= total);
    return (*left)-- > 0;
}

static void loading_can_be_watched_and_cancelled(void **state)
{
    (void)state;
    hy_error err;
    hy_model *m;
    size_t len;
    void *bytes = tiny_file(TINY_LLAMA, &tiny_least, &len);
    int calls = 0;
    for (int allowed = 0;; allowed++) {
        int left = allowed;
        const hy_model_opts opts = {
            .size = sizeof opts, .progress = stop_after, .progress_user = &left};
        const hy_status status = hy_model_load_memory(bytes, len, &opts, NULL, &m, &err);
        if (status == HY_OK) {
            hy_model_destroy(m);
            break;
        }
        assert_fails(status, HY_E_CANCELLED, &err, "cancelled");
        assert_null(m);
        assert_true(++calls < 100);
    }
    assert_true(calls > 0);
    /* An older caller's struct ends before the callback. */
    int left = 0;
    const hy_model_opts old = {
        .size = offsetof(hy_model_opts, progress), .progress = stop_after, .progress_user = &left};
    assert_ok(hy_model_load_memory(bytes, len, &old, NULL, &m, &err), &err);
    hy_model_destroy(m);
    free(bytes);
}

static void backends_are_chosen_by_name(void **state)
{
    (void)state;
    hy_error err;
    hy_model *m;
    size_t len;
    void *bytes = tiny_file(TINY_LLAMA, &tiny_least, &len);
    for (size_t i = 0; hy_backend_at(i); i++) {
        const char *name = hy_backend_at(i), *why = hy_backend_absent_reason(name);
        const hy_model_opts opts = {.size = sizeof opts, .backend = name};
        const hy_status status = hy_model_load_memory(bytes, len, &opts, NULL, &m, &err);
        if (why) {
            assert_fails(status, HY_E_UNSUPPORTED, &err, why);
        } else if (strcmp(name, "webgpu") == 0 && status != HY_OK) {
            /* The library or the GPU is not here. */
            assert_fails(status, HY_E_UNSUPPORTED, &err, "");
        } else {
            assert_ok(status, &err);
            assert_string_equal(hy_model_backend(m), name);
            hy_model_destroy(m);
        }
    }
    const hy_model_opts unknown = {.size = sizeof unknown, .backend = "abacus"};
    assert_fails(hy_model_load_memory(bytes, len, &unknown, NULL, &m, &err), HY_E_NOT_FOUND, &err,
                 "\"abacus\"; these are: auto,");
    assert_non_null(hy_backend_absent_reason("abacus"));
    const hy_model_opts plain = {.size = sizeof plain, .backend = "cpu", .cpu_level = "plain"};
    assert_ok(hy_model_load_memory(bytes, len, &plain, NULL, &m, &err), &err);
    hy_model_destroy(m);
    const hy_model_opts level = {.size = sizeof level, .backend = "cpu", .cpu_level = "abacus"};
    assert_fails(hy_model_load_memory(bytes, len, &level, NULL, &m, &err), HY_E_NOT_FOUND, &err,
                 "there is no CPU level \"abacus\"; these are:");
    const hy_model_opts null = {.size = sizeof null, .backend = "null"};
    hy_session *s;
    assert_ok(hy_model_load_memory(bytes, len, &null, NULL, &m, &err), &err);
    assert_fails(hy_session_create(m, NULL, &s, &err), HY_E_UNSUPPORTED, &err, "computes nothing");
    assert_null(s);
    hy_model_destroy(m);
    hy_model_destroy(NULL);
    free(bytes);
}

static void vocabularies_must_fit(void **state)
{
    (void)state;
    hy_error err;
    tiny_model t;
    hy_model *m;
    void *bytes;
    tiny_make(&t, TINY_RWKV7, &tiny_speaking);
    assert_ok(load(&t, &m, &bytes, &err), &err);
    assert_non_null(hy_model_tokenizer(m));
    assert_int_equal(hy_tokenizer_n_tokens(hy_model_tokenizer(m)), 262); /* of 264 rows */
    hy_model_destroy(m);
    free(bytes);
    tiny_find(&t, "token_embd.weight")->ne[1] = tiny_find(&t, "output.weight")->ne[1] = 261;
    assert_fails(load(&t, &m, &bytes, &err), HY_E_FORMAT, &err,
                 "the vocabulary has 262 tokens, the model only 261");
    free(bytes);
    tiny_free(&t);
}

static void plans_can_be_read(void **state)
{
    (void)state;
    hy_error err;
    hy_model *m;
    size_t len;
    void *bytes = tiny_file(TINY_RWKV7, &tiny_usual, &len);
    assert_ok(hy_model_load_memory(bytes, len, NULL, NULL, &m, &err), &err);
    hy_plan_info plan = {.size = sizeof plan};
    hy_model_plan(m, &plan);
    uint64_t weights = 0, states = 0;
    for (uint32_t i = 0; i < plan.n_ops; i++) {
        hy_plan_op op = {.size = sizeof op};
        hy_model_plan_op(m, i, &op);
        assert_true(op.layer >= -1 && op.layer < 2 && op.n > 0 && op.n_inputs > 0);
        for (uint32_t k = 0; k < op.n_inputs; k++) {
            assert_non_null(op.inputs[k]);
        }
        assert_int_equal(op.weight_type != NULL,
                         strcmp(op.op, "matmul") == 0 || strcmp(op.op, "embed") == 0);
        weights += op.weight_bytes;
        states += op.state_bytes;
    }
    hy_model_info info = {.size = sizeof info};
    hy_model_get_info(m, &info);
    assert_int_equal(weights, plan.weight_bytes);
    assert_int_equal(states, 2 * plan.state_bytes);
    /* All but the embedding's rows that are not looked up. */
    assert_int_equal(plan.weight_bytes, info.weight_bytes - 31 * 16 * 4);
    size_t n = 0;
    while (hy_op_at(n)) {
        assert_non_null(hy_op_summary(n));
        assert_true(hy_backend_supports("ref", n, HY_TYPE_Q4_K));
        assert_false(hy_backend_supports("ref", n, HY_TYPE_I32));
        assert_false(hy_backend_supports("cuda", n, HY_TYPE_F32));
        n++;
    }
    assert_null(hy_op_summary(n));
    assert_false(hy_backend_supports("ref", n, HY_TYPE_F32));
    hy_model_destroy(m);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_runs),
        cmocka_unit_test(a_smaller_info_struct_is_not_overrun),
        cmocka_unit_test(damaged_models_are_refused_with_the_place),
        cmocka_unit_test(heads_must_divide_the_channels),
        cmocka_unit_test(fused_projections_equal_separate_ones),
        cmocka_unit_test(fused_projections_are_checked),
        cmocka_unit_test(a_tied_output_equals_a_copy_of_the_embedding),
        cmocka_unit_test(zero_biases_change_nothing),
        cmocka_unit_test(layer_0_ignores_its_value_residual),
        cmocka_unit_test(frequencies_follow_their_formulas),
        cmocka_unit_test(frequency_factors_divide),
        cmocka_unit_test(fingerprints_tell_models_apart),
        cmocka_unit_test(loading_can_be_watched_and_cancelled),
        cmocka_unit_test(backends_are_chosen_by_name),
        cmocka_unit_test(vocabularies_must_fit),
        cmocka_unit_test(plans_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
