/* transformer.c: decoder with RMS norm, grouped-query attention, rotary positions and a SwiGLU
 * feed-forward.
 *
 * Sources: Touvron et al., "LLaMA" (2023); Su et al., "RoFormer" (2021); Peng et al., "YaRN"
 * (2023); the Llama 3.1 frequency factors come as the tensor rope_freqs and only divide. */
#include "transformer.h"

#include <math.h>
#include <stdio.h>

typedef struct sizes {
    uint32_t c, f, vocab, n_head, n_head_kv, key, value, n_ctx;
    float eps, scale, rope_scale;
    hy__id freqs;
} sizes;

#define PI 3.14159265358979323846

/* Share of interpolation, 0..1, of pair j under YaRN. */
static double yarn_ramp(uint32_t j, uint32_t n_rot, double base, double original)
{
    /* The pair that turns `beta` times over the original context. */
    const double fast = n_rot * hy__log(original / (32 * 2 * PI)) / (2 * hy__log(base));
    const double slow = n_rot * hy__log(original / (1 * 2 * PI)) / (2 * hy__log(base));
    const double low = fmax(0, floor(fast));
    const double high = fmin(n_rot - 1.0, ceil(slow));
    const double r = (j - low) / fmax(0.001, high - low);
    return 1 - fmin(1, fmax(0, r));
}

/* Decodes the frequency divisors of Llama 3.1 into f; false after an error. */
static bool frequency_factors(hy__builder *b, uint32_t n, float *f)
{
    const hy_gguf_tensor *t = hy__find(b, "rope_freqs.weight");
    if (t->n_elems != n || t->type != HY_TYPE_F32) {
        hy__build_fail(b, HY_E_FORMAT, "tensor rope_freqs.weight must be %u F32 elements", n);
        return false;
    }
    b->status = hy_dequantize(t->type, t->data, f, n, &b->error);
    for (uint32_t j = 0; j < n && b->status == HY_OK; j++) {
        if (!(isfinite(f[j]) && f[j] > 0)) {
            hy__build_fail(b, HY_E_FORMAT, "tensor rope_freqs.weight: element %u is %g", j,
                           (double)f[j]);
        }
    }
    hy__ignore(b, "rope_freqs.weight");
    return b->status == HY_OK;
}

typedef struct scaling {
    double base, factor, original;
    float attn_factor;
    bool yarn;
} scaling;

static scaling read_scaling(hy__builder *b, const sizes *s)
{
    static const char *const types[] = {"none", "linear", "yarn", NULL};
    enum { NONE, LINEAR, YARN };
    const uint32_t type = hy__hparam_choice(b, "rope.scaling.type", types, LINEAR);
    const float old_factor = hy__hparam_f32_or(b, "rope.scale_linear", 1.0f);
    const float factor = hy__hparam_f32_or(b, "rope.scaling.factor", old_factor);
    return (scaling){
        .base = (double)hy__hparam_f32_or(b, "rope.freq_base", 10000.0f),
        .factor = type == NONE ? 1 : (double)factor,
        .original =
            hy__hparam_or(b, "rope.scaling.original_context_length", 1, INT32_MAX, s->n_ctx),
        .attn_factor = hy__hparam_f32_or(b, "rope.scaling.attn_factor", 1.0f),
        .yarn = type == YARN,
    };
}

/* Angles per position of the n/2 pairs of n rotated channels, each divided by its entry of
 * `divisors`. */
static void fill_frequencies(hy__builder *b, const scaling *r, uint32_t n, const float *divisors,
                             double *freqs)
{
    for (uint32_t j = 0; j < n / 2; j++) {
        const double theta = hy__pow(r->base, -2.0 * j / n) / (double)divisors[j];
        const double ramp = r->yarn ? yarn_ramp(j, n, r->base, r->original) : 0;
        freqs[j] = theta / r->factor * (1 - ramp) + theta * ramp;
        /* Half a turn per position is the fastest rotation that means anything; hy__sincos has a
         * bound, too. */
        if (!(freqs[j] <= PI)) {
            hy__build_fail(b, HY_E_FORMAT, "key %s.rope: pair %u turns by %g per position", b->arch,
                           j, freqs[j]);
            return;
        }
    }
}

/* s->freqs and s->rope_scale. */
static void rope_tables(hy__builder *b, sizes *s)
{
    const uint32_t n_rot = hy__hparam_or(b, "rope.dimension_count", 2, 65536, s->key);
    const scaling r = read_scaling(b, s);
    if (b->status != HY_OK) {
        return;
    }
    if (n_rot != s->key || n_rot % 2 != 0) {
        hy__build_fail(b, HY_E_UNSUPPORTED,
                       "key %s.rope.dimension_count: %u of %u channels rotated", b->arch, n_rot,
                       s->key);
        return;
    }
    if (r.base <= 1) {
        hy__build_fail(b, HY_E_FORMAT, "key %s.rope.freq_base: %g is not above 1", b->arch, r.base);
        return;
    }
    if (r.yarn && r.factor < 1) {
        hy__build_fail(b, HY_E_FORMAT,
                       "key %s.rope.scaling.factor: %g, but YaRN stretches by 1 or more", b->arch,
                       r.factor);
        return;
    }
    s->freqs = hy__graph_add_const(b->graph, "rope_frequencies", n_rot / 2, &b->error);
    float *divisors =
        s->freqs ? hy__alloc(&b->graph->env, n_rot / 2, sizeof *divisors, &b->error) : NULL;
    if (!divisors) {
        b->status = HY_E_NOMEM;
        return;
    }
    for (uint32_t j = 0; j < n_rot / 2; j++) {
        divisors[j] = 1.0f;
    }
    if (!hy__find(b, "rope_freqs.weight") || frequency_factors(b, n_rot / 2, divisors)) {
        fill_frequencies(b, &r, n_rot, divisors, b->graph->values[s->freqs].data);
    }
    s->rope_scale = r.yarn ? r.attn_factor * (float)(1 + 0.1 * hy__log(r.factor)) : r.attn_factor;
    hy__free(&b->graph->env, divisors);
}

static hy__id rope(hy__builder *b, const sizes *s, const hy__transformer *t, const char *name,
                   hy__id x)
{
    const hy__params p = {
        .group = s->key, .n_rot = s->key, .half_split = t->half_split_rope, .scale = s->rope_scale};
    return hy__op(b, HY__OP_ROPE, name, &p, (const hy__id[]){x, s->freqs});
}

/* Qwen2 must have the biases of q, k and v: a file without them is another model. */
static void check_bias(hy__builder *b, const hy__transformer *t, const char *bias)
{
    if (t->need_qkv_bias && b->status == HY_OK && !hy__find(b, bias)) {
        hy__build_fail(b, HY_E_FORMAT, "tensor blk.%u.%s is missing", b->layer, bias);
    }
}

/* q, k or v from a matrix of its own. */
static hy__id project(hy__builder *b, const sizes *s, const hy__transformer *t, const char *name,
                      uint32_t m, hy__id x)
{
    char bias[48];
    snprintf(bias, sizeof bias, "%s.bias", name);
    check_bias(b, t, bias);
    return hy__linear(b, name, s->c, m, x, t->qkv_bias);
}

/* The same from its rows of attn_qkv, which some converters write instead: first those of q, then
 * of k, then of v. */
static hy__id project_fused(hy__builder *b, const sizes *s, const hy__transformer *t,
                            const char *name, uint32_t first, uint32_t m, hy__id x)
{
    const uint32_t all = s->n_head * s->key + s->n_head_kv * (s->key + s->value);
    char bias[48];
    snprintf(bias, sizeof bias, "%s.bias", name);
    check_bias(b, t, "attn_qkv.bias");
    const hy__id y = hy__op2(b, HY__OP_MATMUL, name,
                             hy__matrix_part(b, s->c, m, first, all, "attn_qkv.weight"), x);
    if (!t->qkv_bias || b->status != HY_OK || !hy__find(b, "attn_qkv.bias")) {
        return y;
    }
    return hy__op2(b, HY__OP_ADD, bias, y, hy__vector_part(b, m, first, all, "attn_qkv.bias"));
}

static hy__id attention(hy__builder *b, const sizes *s, const hy__transformer *t, hy__id x)
{
    const hy__id n = hy__rms_norm(b, "attn_norm", s->c, s->eps, x);
    const uint32_t nq = s->n_head * s->key, nk = s->n_head_kv * s->key,
                   nv = s->n_head_kv * s->value;
    hy__id q, k, v;
    if (b->status == HY_OK && hy__find(b, "attn_qkv.weight")) {
        q = project_fused(b, s, t, "attn_q", 0, nq, n);
        k = project_fused(b, s, t, "attn_k", nq, nk, n);
        v = project_fused(b, s, t, "attn_v", nq + nk, nv, n);
    } else {
        q = project(b, s, t, "attn_q", nq, n);
        k = project(b, s, t, "attn_k", nk, n);
        v = project(b, s, t, "attn_v", nv, n);
    }
    if (t->qk_norm) {
        q = hy__rms_norm(b, "attn_q_norm", s->key, s->eps, q);
        k = hy__rms_norm(b, "attn_k_norm", s->key, s->eps, k);
    }
    q = rope(b, s, t, "q_rotated", q);
    k = rope(b, s, t, "k_rotated", k);
    const hy__id k_cache = hy__state(b, "k_cache", s->n_head_kv * s->key, true);
    const hy__id v_cache = hy__state(b, "v_cache", s->n_head_kv * s->value, true);
    const hy__params p = {.n_head = s->n_head, .n_head_kv = s->n_head_kv, .scale = s->scale};
    const hy__id y =
        hy__op(b, HY__OP_ATTENTION, "attention", &p, (const hy__id[]){q, k, v, k_cache, v_cache});
    return hy__op2(b, HY__OP_ADD, "x_attention", x,
                   hy__linear(b, "attn_output", s->n_head * s->value, s->c, y, t->other_bias));
}

hy__id hy__swiglu(hy__builder *b, uint32_t c, uint32_t f, hy__id n, bool bias)
{
    const hy__id gate =
        hy__op1(b, HY__OP_SILU, "ffn_act", hy__linear(b, "ffn_gate", c, f, n, bias));
    const hy__id up = hy__linear(b, "ffn_up", c, f, n, bias);
    return hy__linear(b, "ffn_down", f, c, hy__op2(b, HY__OP_MUL, "ffn_gated", gate, up), bias);
}

static hy__id feed_forward(hy__builder *b, const sizes *s, const hy__transformer *t, hy__id x)
{
    const hy__id n = hy__rms_norm(b, "ffn_norm", s->c, s->eps, x);
    return hy__op2(b, HY__OP_ADD, "x_ffn", x, hy__swiglu(b, s->c, s->f, n, t->other_bias));
}

static void read_sizes(hy__builder *b, sizes *s)
{
    memset(s, 0, sizeof *s);
    s->c = b->n_embd = hy__hparam(b, "embedding_length", 1, 65536);
    s->f = hy__hparam(b, "feed_forward_length", 1, 1u << 20);
    s->n_head = hy__hparam(b, "attention.head_count", 1, 1024);
    s->n_head_kv = hy__hparam_or(b, "attention.head_count_kv", 1, 1024, s->n_head);
    s->n_ctx = b->n_ctx_train = hy__hparam(b, "context_length", 1, INT32_MAX);
    s->eps = hy__hparam_f32(b, "attention.layer_norm_rms_epsilon");
    b->graph->n_layer = hy__hparam(b, "block_count", 1, 512);
    if (b->status != HY_OK) {
        return;
    }
    const uint32_t head = s->c % s->n_head == 0 ? s->c / s->n_head : 0; /* 0: refused below */
    s->key = hy__hparam_or(b, "attention.key_length", 2, 65536, head);
    s->value = hy__hparam_or(b, "attention.value_length", 1, 65536, head);
    s->scale = hy__hparam_f32_or(b, "attention.scale", 1.0f / sqrtf((float)s->key));
    if (hy__hparam_or(b, "expert_count", 0, UINT32_MAX, 0) > 0) {
        hy__build_fail(b, HY_E_UNSUPPORTED,
                       "key %s.expert_count: mixtures of experts are not supported", b->arch);
    }
    if (s->n_head % s->n_head_kv != 0 || s->key < 2 || s->value < 1) {
        hy__build_fail(
            b, HY_E_FORMAT,
            "key %s.attention.head_count: %u heads, %u for keys, do not go with %u channels",
            b->arch, s->n_head, s->n_head_kv, s->c);
    }
    const uint32_t window = hy__hparam_or(b, "attention.sliding_window", 0, UINT32_MAX, 0);
    if (window > 0 && window < s->n_ctx) {
        hy__message(&b->graph->env, HY_LOG_WARN,
                    "the model was trained with a sliding window of %u tokens; attention here is "
                    "over all tokens",
                    window);
    }
}

hy_status hy__build_transformer(hy__builder *b, const hy__transformer *t)
{
    sizes s;
    read_sizes(b, &s);
    s.vocab = hy__dim(b, "token_embd.weight", 1, 1, 1u << 24);
    rope_tables(b, &s);
    const hy__id table = hy__matrix(b, s.c, s.vocab, "token_embd.weight");
    hy__id x = hy__op2(b, HY__OP_EMBED, "token_embd", table, hy__tokens(b));
    for (b->layer = 0; b->layer < b->graph->n_layer && b->status == HY_OK; b->layer++) {
        x = attention(b, &s, t, x);
        x = feed_forward(b, &s, t, x);
        hy__ignore(b, "attn_rot_embd"); /* inverse frequencies in old files */
    }
    b->layer = HY__NO_LAYER;
    x = hy__rms_norm(b, "output_norm", s.c, s.eps, hy__op1(b, HY__OP_SELECT, "x_selected", x));
    if (b->status == HY_OK && !hy__find(b, "output.weight")) {
        b->graph->logits =
            hy__op2(b, HY__OP_MATMUL, "output", table, x); /* tied to the embedding */
    } else {
        b->graph->logits = hy__linear(b, "output", s.c, s.vocab, x, true);
    }
    return b->status;
}
