/* rwkv7.c: RWKV-7 "Goose".
 *
 * Source of the equations: B. Peng et al., "RWKV-7 Goose with Expressive Dynamic State Evolution"
 * (2025), and the reference programs of BlinkDL/RWKV-LM.  Per layer: a time mix (attention's place)
 * over the matrix state S and a channel mix. C channels, H = C/N heads of N, F feed-forward; Dw,
 * Da, Dv, Dg ranks of the low-rank matrices. */
#include "rwkv7.h"

#include <stdio.h>

typedef struct sizes {
    uint32_t c, f;
    float eps;
} sizes;

/* x -> B(act(A x)) + bias: the low-rank matrices NAME1, NAME2 with the bias vector NAME0 if there
 * is one. act HY__OP_MATMUL stands for no activation. */
static hy__id low_rank(hy__builder *b, uint32_t c, char which, hy__id x, hy__opcode act, bool bias)
{
    char down[16], up[16], name[32];
    snprintf(down, sizeof down, "time_mix_%c1", which);
    snprintf(up, sizeof up, "time_mix_%c2", which);
    snprintf(name, sizeof name, "%s.weight", down);
    const uint32_t rank = hy__dim(b, name, 1, 1, 65536);
    hy__id h = hy__linear(b, down, c, rank, x, false);
    if (act != HY__OP_MATMUL) {
        snprintf(name, sizeof name, "%s.act", down);
        h = hy__op1(b, act, name, h);
    }
    const hy__id y = hy__linear(b, up, rank, c, h, false);
    if (!bias) {
        return y;
    }
    snprintf(name, sizeof name, "time_mix_%c0", which);
    return hy__op2(b, HY__OP_ADD, name, y, hy__vector(b, c, "%s.weight", name));
}

void hy__rwkv7_sizes(hy__builder *b, hy__rwkv7 *t)
{
    t->c = b->n_embd = hy__hparam(b, "embedding_length", 1, 65536);
    t->n = hy__hparam(b, "wkv.head_size", 1, 1024);
    b->graph->n_layer = hy__hparam(b, "block_count", 1, 512);
    b->recurrent = true; /* context_length is the length of training rows, no limit */
    if (b->status == HY_OK && t->c % t->n != 0) {
        hy__build_fail(b, HY_E_FORMAT,
                       "key %s.wkv.head_size: %u does not divide the embedding length %u", b->arch,
                       t->n, t->c);
    }
}

/* The value of layer 0, and in the others a mixture of the layer's own value with that one. */
static hy__id value(hy__builder *b, const hy__rwkv7 *t, hy__id mixed, hy__id *v_first)
{
    const hy__id v = hy__linear(b, "time_mix_value", t->c, t->c, mixed, false);
    if (b->layer == 0) {
        *v_first = v;
        /* Written by converters although layer 0 has no value residual. */
        hy__ignore(b, "time_mix_v0.weight");
        hy__ignore(b, "time_mix_v1.weight");
        hy__ignore(b, "time_mix_v2.weight");
        return v;
    }
    const hy__id share =
        hy__op1(b, HY__OP_SIGMOID, "v_mix", low_rank(b, t->c, 'v', mixed, HY__OP_MATMUL, true));
    return hy__op3(b, HY__OP_LERP, "v", v, *v_first, share);
}

hy__id hy__rwkv7_time_mix(hy__builder *b, const hy__rwkv7 *t, hy__id h, hy__id *v_first)
{
    /* planes of time_mix_lerp_fused */
    static const char *const plane_names[6] = {"xr", "xw", "xk", "xv", "xa", "xg"};
    enum { R, W, K, V, A, G };
    const hy__params head = {.group = t->n, .eps = 1e-12f};
    /* Half a pair is an error: the other half is then missing or unknown. */
    const bool gate = !t->optional_gate || hy__find(b, "time_mix_g1.weight");
    const bool group_norm = !t->optional_group_norm || hy__find(b, "time_mix_ln.weight");
    const uint32_t planes = gate ? 6 : 5;
    const hy__id prev = hy__op2(b, HY__OP_TOKEN_SHIFT, "time_mix_shift", h,
                                hy__state(b, "time_shift", t->c, false));
    hy__id mixed[6] = {0};
    for (uint32_t i = 0; i < planes; i++) {
        mixed[i] = hy__op3(b, HY__OP_LERP, plane_names[i], h, prev,
                           hy__plane(b, t->c, planes, i, "time_mix_lerp_fused.weight"));
    }
    const hy__id r = hy__linear(b, "time_mix_receptance", t->c, t->c, mixed[R], false);
    const hy__id k0 = hy__linear(b, "time_mix_key", t->c, t->c, mixed[K], false);
    const hy__id v = value(b, t, mixed[V], v_first);
    const hy__id w = hy__op1(b, HY__OP_RWKV7_DECAY, "decay",
                             low_rank(b, t->c, 'w', mixed[W], HY__OP_TANH, true));
    const hy__id a =
        hy__op1(b, HY__OP_SIGMOID, "a", low_rank(b, t->c, 'a', mixed[A], HY__OP_MATMUL, true));
    const hy__id g = gate ? low_rank(b, t->c, 'g', mixed[G], HY__OP_SIGMOID, false) : 0;
    const hy__id kk = hy__op(b, HY__OP_L2_NORM, "kk", &head,
                             (const hy__id[]){hy__op2(b, HY__OP_MUL, "k_k", k0,
                                                      hy__vector(b, t->c, "time_mix_k_k.weight"))});
    const hy__id k =
        hy__op3(b, HY__OP_RWKV7_KEY, "k", k0, a, hy__vector(b, t->c, "time_mix_k_a.weight"));
    const hy__id state = hy__state(b, "wkv_state", t->c * t->n, false);
    hy__id y = hy__op(b, HY__OP_WKV7, "wkv", &head, (const hy__id[]){r, w, k, v, kk, a, state});
    if (group_norm) {
        /* Its epsilon is a constant of the architecture: 1e-5 * 8^2. */
        const hy__params group = {.group = t->n, .eps = 64e-5f};
        y = hy__op(b, HY__OP_GROUP_NORM, "time_mix_ln", &group,
                   (const hy__id[]){y, hy__vector(b, t->c, "time_mix_ln.weight"),
                                    hy__vector(b, t->c, "time_mix_ln.bias")});
    }
    y = hy__op(b, HY__OP_RWKV7_BONUS, "bonus", &head,
               (const hy__id[]){y, r, k, v, hy__vector(b, t->c, "time_mix_r_k.weight")});
    if (gate) {
        y = hy__op2(b, HY__OP_MUL, "gated", y, g);
    }
    return hy__linear(b, "time_mix_output", t->c, t->c, y, false);
}

static hy__id norm(hy__builder *b, const sizes *s, const char *name, hy__id x)
{
    const hy__params p = {.eps = s->eps};
    return hy__op(b, HY__OP_LAYER_NORM, name, &p,
                  (const hy__id[]){x, hy__vector(b, s->c, "%s.weight", name),
                                   hy__vector(b, s->c, "%s.bias", name)});
}

static hy__id channel_mix(hy__builder *b, const sizes *s, hy__id x)
{
    const hy__id f = norm(b, s, "attn_norm_2", x);
    const hy__id prev = hy__op2(b, HY__OP_TOKEN_SHIFT, "channel_mix_shift", f,
                                hy__state(b, "channel_shift", s->c, false));
    const hy__id z = hy__op3(b, HY__OP_LERP, "channel_mix_xk", f, prev,
                             hy__vector(b, s->c, "channel_mix_lerp_k.weight"));
    const hy__id k = hy__op1(b, HY__OP_RELU2, "channel_mix_k",
                             hy__linear(b, "channel_mix_key", s->c, s->f, z, false));
    return hy__op2(b, HY__OP_ADD, "x_channel_mix", x,
                   hy__linear(b, "channel_mix_value", s->f, s->c, k, false));
}

hy_status hy__build_rwkv7(hy__builder *b)
{
    hy__rwkv7 t = {.optional_gate = false, .optional_group_norm = false};
    hy__rwkv7_sizes(b, &t);
    const sizes s = {.c = t.c,
                     .f = hy__hparam(b, "feed_forward_length", 1, 1u << 20),
                     .eps = hy__hparam_f32_or(b, "attention.layer_norm_epsilon", 1e-5f)};
    /* One shift for the time mix, one for the channel mix. */
    (void)hy__hparam_or(b, "token_shift_count", 2, 2, 2);
    const uint32_t vocab = hy__dim(b, "token_embd.weight", 1, 1, 1u << 24);

    const hy__id table = hy__matrix(b, s.c, vocab, "token_embd.weight");
    hy__id x = hy__op2(b, HY__OP_EMBED, "token_embd", table, hy__tokens(b));
    x = norm(b, &s, "token_embd_norm", x);
    hy__id v_first = 0;
    for (b->layer = 0; b->layer < b->graph->n_layer && b->status == HY_OK; b->layer++) {
        const hy__id h = norm(b, &s, "attn_norm", x);
        x = hy__op2(b, HY__OP_ADD, "x_time_mix", x, hy__rwkv7_time_mix(b, &t, h, &v_first));
        x = channel_mix(b, &s, x);
    }
    b->layer = HY__NO_LAYER;
    x = norm(b, &s, "output_norm", hy__op1(b, HY__OP_SELECT, "x_selected", x));
    b->graph->logits = hy__linear(b, "output", s.c, vocab, x, false);
    return b->status;
}
