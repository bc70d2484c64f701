/* arwkv7.c: ARWKV-7: the time mix of RWKV-7 in place of the attention of a Qwen 2 layer.
 *
 * Source: Lin Yueyu et al., "ARWKV: Pretrain is not what we need, an RNN-Attention-Based Language
 * Model Born from Transformer" (2025).  RMS norms, a SwiGLU feed-forward without token shift; some
 * models lack the gate or the group norm. */
#include "rwkv7.h"
#include "transformer.h"

hy_status hy__build_arwkv7(hy__builder *b)
{
    hy__rwkv7 t = {.optional_gate = true, .optional_group_norm = true};
    hy__rwkv7_sizes(b, &t);
    const uint32_t f = hy__hparam(b, "feed_forward_length", 1, 1u << 20);
    const float eps = hy__hparam_f32(b, "attention.layer_norm_rms_epsilon");
    const uint32_t vocab = hy__dim(b, "token_embd.weight", 1, 1, 1u << 24);
    /* A second shift would be one in the feed-forward: another model. */
    hy__hparam_or(b, "token_shift_count", 1, 1, 1);

    const hy__id table = hy__matrix(b, t.c, vocab, "token_embd.weight");
    hy__id x = hy__op2(b, HY__OP_EMBED, "token_embd", table, hy__tokens(b));
    hy__id v_first = 0;
    for (b->layer = 0; b->layer < b->graph->n_layer && b->status == HY_OK; b->layer++) {
        const hy__id h = hy__rms_norm(b, "attn_norm", t.c, eps, x);
        x = hy__op2(b, HY__OP_ADD, "x_time_mix", x, hy__rwkv7_time_mix(b, &t, h, &v_first));
        const hy__id n = hy__rms_norm(b, "ffn_norm", t.c, eps, x);
        x = hy__op2(b, HY__OP_ADD, "x_ffn", x, hy__swiglu(b, t.c, f, n, false));
    }
    b->layer = HY__NO_LAYER;
    x = hy__rms_norm(b, "output_norm", t.c, eps, hy__op1(b, HY__OP_SELECT, "x_selected", x));
    b->graph->logits = hy__linear(b, "output", t.c, vocab, x, false);
    return b->status;
}
