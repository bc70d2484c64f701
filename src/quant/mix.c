/* mix.c: the rules of the named mixes, as tables.  Any thread may call it; a state belongs to one
 * thread.
 *
 * A rule is "where the condition holds this type, else that one"; the condition is about the
 * running number i of the tensor among the n of its kind.  SAME stands for the mix's base type. */
#include "quant/mix.h"

#include "halyard/quantize.h"
#include "quant/quant.h"

/* ---- conditions */

typedef enum condition {
    NEVER,
    ALWAYS,
    MORE, /* the first and last eighth, and every third between */
    FIRST_2,
    FIRST_4,
    EIGHTH,    /* the first eighth */
    SIXTEENTH, /* the first sixteenth */
    GROUPED    /* four or more query heads share one key-value head */
} condition;

static bool holds(condition c, uint32_t i, uint32_t n, uint32_t heads_per_kv)
{
    switch (c) {
    case NEVER: return false;
    case ALWAYS: return true;
    case MORE: return i < n / 8 || i >= (uint64_t)n * 7 / 8 || (i - n / 8) % 3 == 2;
    case FIRST_2: return i < 2;
    case FIRST_4: return i < 4;
    case EIGHTH: return i < n / 8;
    case SIXTEENTH: return i < n / 16;
    default: return heads_per_kv >= 4;
    }
}

/* ---- the mixes */

typedef struct rule {
    condition when;
    int then;
    int otherwise;
} rule;

#define SAME (-1)
#define T(name) HY_TYPE_##name

struct hy__mix {
    const char *name;
    uint32_t file_type;
    hy_type base;
    rule attn_v; /* also the fused attn_qkv and attn_kv_b */
    rule ffn_down;
    int attn_output;
    bool raise_of_8;   /* with 8 experts, attn_output becomes Q5_K */
    bool experts_only; /* base is for tensors with experts, all others get Q8_0 */
};

#define PLAIN {NEVER, SAME, SAME}
/* All mixes of llama-quantize whose types this library encodes; its aliases last. */
#define Q3_K_M_RULES                                                                               \
    {FIRST_2, T(Q5_K), T(Q4_K)}, {SIXTEENTH, T(Q5_K), T(Q4_K)}, T(Q4_K), true, false
#define Q3_K_L_RULES {ALWAYS, T(Q5_K), SAME}, {ALWAYS, T(Q5_K), SAME}, T(Q5_K), false, false
#define Q2_K_RULES {GROUPED, T(Q4_K), T(Q3_K)}, {ALWAYS, T(Q3_K), SAME}, T(Q3_K), true, false
#define Q4_K_M_RULES {MORE, T(Q6_K), SAME}, {MORE, T(Q6_K), SAME}, SAME, true, false
#define Q5_K_M_RULES {MORE, T(Q6_K), SAME}, {MORE, T(Q6_K), SAME}, SAME, false, false
#define IQ4_RULES {GROUPED, T(Q5_K), SAME}, {EIGHTH, T(Q5_K), SAME}, SAME, true, false

static const hy__mix mixes[] = {
    {"F32", 0, T(F32), PLAIN, PLAIN, SAME, false, false},
    {"F16", 1, T(F16), PLAIN, PLAIN, SAME, false, false},
    {"BF16", 32, T(BF16), PLAIN, PLAIN, SAME, false, false},
    {"Q8_0", 7, T(Q8_0), PLAIN, PLAIN, SAME, false, false},
    {"Q6_K", 18, T(Q6_K), PLAIN, PLAIN, SAME, false, false},
    {"Q5_K_M", 17, T(Q5_K), Q5_K_M_RULES},
    {"Q5_K_S", 16, T(Q5_K), PLAIN, PLAIN, SAME, false, false},
    {"Q5_1", 9, T(Q5_1), PLAIN, PLAIN, SAME, false, false},
    {"Q5_0", 8, T(Q5_0), PLAIN, PLAIN, SAME, false, false},
    {"Q4_K_M", 15, T(Q4_K), Q4_K_M_RULES},
    {"Q4_K_S", 14, T(Q4_K), {FIRST_4, T(Q5_K), SAME}, {EIGHTH, T(Q5_K), SAME}, SAME, true, false},
    {"Q4_1", 3, T(Q4_1), PLAIN, PLAIN, SAME, false, false},
    {"Q4_0", 2, T(Q4_0), PLAIN, PLAIN, SAME, false, false},
    {"IQ4_NL", 25, T(IQ4_NL), IQ4_RULES},
    {"IQ4_XS", 30, T(IQ4_XS), IQ4_RULES},
    {"MXFP4_MOE", 38, T(MXFP4), PLAIN, PLAIN, SAME, false, true},
    {"Q3_K_L", 13, T(Q3_K), Q3_K_L_RULES},
    {"Q3_K_M", 12, T(Q3_K), Q3_K_M_RULES},
    {"Q3_K_S", 11, T(Q3_K), PLAIN, PLAIN, SAME, true, false},
    {"Q2_K", 10, T(Q2_K), Q2_K_RULES},
    {"Q2_K_S", 21, T(Q2_K), {GROUPED, T(Q4_K), SAME}, {EIGHTH, T(Q4_K), SAME}, SAME, false, false},
    {"Q2_0", 41, T(Q2_0), PLAIN, PLAIN, SAME, false, false},
    {"Q5_K", 17, T(Q5_K), Q5_K_M_RULES},
    {"Q4_K", 15, T(Q4_K), Q4_K_M_RULES},
    {"Q3_K", 12, T(Q3_K), Q3_K_M_RULES},
};

const char *hy_quantize_mix_name(size_t i)
{
    return i < HY_COUNT(mixes) ? mixes[i].name : NULL;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

const hy__mix *hy__mix_by_name(const char *name)
{
    for (size_t i = 0; i < HY_COUNT(mixes); i++) {
        size_t k = 0;
        while (mixes[i].name[k] && mixes[i].name[k] == upper(name[k])) {
            k++;
        }
        if (mixes[i].name[k] == name[k]) {
            return &mixes[i];
        }
    }
    return NULL;
}

uint32_t hy__mix_file_type(const hy__mix *mix)
{
    return mix->file_type;
}

/* ---- kinds of tensors, by name */

typedef enum kind { OUTPUT, TOKEN_EMBD, ATTN_V, ATTN_K, ATTN_OUTPUT, FFN_DOWN, OTHER } kind;

static kind kind_of(const char *name)
{
    static const struct {
        const char *part;
        kind kind;
    } parts[] = {
        {"attn_qkv.weight", ATTN_V},
        {"attn_kv_b.weight", ATTN_V},
        {"attn_v.weight", ATTN_V},
        {"attn_k.weight", ATTN_K},
        {"attn_output.weight", ATTN_OUTPUT},
        {"ffn_up", OTHER},
        {"ffn_gate", OTHER},
        {"ffn_down", FFN_DOWN},
    };
    if (strcmp(name, "output.weight") == 0) {
        return OUTPUT;
    }
    if (strcmp(name, "token_embd.weight") == 0 ||
        strcmp(name, "per_layer_token_embd.weight") == 0) {
        return TOKEN_EMBD;
    }
    for (size_t i = 0; i < HY_COUNT(parts); i++) {
        if (strstr(name, parts[i].part)) {
            return parts[i].kind;
        }
    }
    return OTHER;
}

/* Small or sensitive tensors keep their type; so do all of one dimension and all whose name does
 * not end in "weight". */
static bool is_quantized(const hy_gguf_tensor *t)
{
    static const char *const kept[] = {
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_tid2eid.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "position_embd",
        "token_types.weight",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "a.rvq.codebook",
        "mm.a.code_embd",
    };
    size_t len = strlen(t->name);
    if (t->ne[1] == 1 && t->ne[2] == 1 && t->ne[3] == 1) {
        return false;
    }
    if (len < 6 || strcmp(t->name + len - 6, "weight") != 0) {
        return false;
    }
    for (size_t i = 0; i < HY_COUNT(kept); i++) {
        if (strstr(t->name, kept[i])) {
            return false;
        }
    }
    return true;
}

/* The number after "blk."; -1 if there is none (or one of over 8 digits). */
static int32_t layer_of(const char *name)
{
    if (strncmp(name, "blk.", 4) != 0) {
        return -1;
    }
    int32_t layer = 0;
    size_t digits = 0;
    for (const char *p = name + 4; *p >= '0' && *p <= '9'; p++) {
        if (++digits > 8) {
            return -1;
        }
        layer = 10 * layer + (*p - '0');
    }
    return digits > 0 ? layer : -1;
}

bool hy__mix_before(const hy_gguf_tensor *a, const hy_gguf_tensor *b)
{
    int32_t layer_a = layer_of(a->name);
    int32_t layer_b = layer_of(b->name);
    return layer_a != layer_b ? layer_a < layer_b : strcmp(a->name, b->name) < 0;
}

/* ---- the model */

/* "{arch}.{suffix}" as a number, the first one of an array; `missing` if there is none. */
static hy_status model_number(const hy_gguf *g, hy_str arch, const char *suffix, uint32_t missing,
                              uint32_t *out, hy_error *err)
{
    for (size_t k = 0; k < hy_gguf_n_keys(g); k++) {
        hy_str name = hy_gguf_key_name(g, k);
        if (name.len != arch.len + 1 + strlen(suffix) ||
            memcmp(name.data, arch.data, arch.len) != 0 || name.data[arch.len] != '.' ||
            memcmp(name.data + arch.len + 1, suffix, strlen(suffix)) != 0) {
            continue;
        }
        uint64_t v;
        if (!hy_gguf_elem_uint(g, k, 0, &v) || v > INT32_MAX) {
            char shown[80];
            return hy__fail(err, HY_E_FORMAT, "key '%s' is no number from 0 to %d",
                            hy__printable(name, shown, sizeof shown), INT32_MAX);
        }
        *out = (uint32_t)v;
        return HY_OK;
    }
    *out = missing;
    return HY_OK;
}

/* Models whose 80 layers have far fewer value heads than heads: their attn_v is small, and more
 * bits cost little. */
static bool has_wide_values(hy_str arch, const hy__mix_state *s, bool shared)
{
    if (hy__str_is(arch, "llama")) {
        return s->n_layer == 80 && s->n_expert != 8 && shared;
    }
    if (hy__str_is(arch, "qwen2") || hy__str_is(arch, "deci") || hy__str_is(arch, "olmo")) {
        return s->n_layer == 80;
    }
    return hy__str_is(arch, "jais2") && s->n_layer == 68;
}

hy_status hy__mix_begin(hy__mix_state *s, const hy__mix *mix, const hy_gguf *g, hy_error *err)
{
    static const char *const special[] = {"falcon", "glm5-next", "bailingmoe3"};
    memset(s, 0, sizeof *s);
    s->mix = mix;
    hy_str arch = {"", 0};
    hy_status status = hy_gguf_get_str(g, "general.architecture", &arch, err);
    if (status != HY_OK && status != HY_E_NOT_FOUND) {
        return status;
    }
    for (size_t i = 0; i < HY_COUNT(special); i++) {
        if (hy__str_is(arch, special[i])) {
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "the mixes have rules of their own for architecture '%s'", special[i]);
        }
    }
    uint32_t heads;
    uint32_t kv_heads;
    HY_TRY(model_number(g, arch, "block_count", 0, &s->n_layer, err));
    HY_TRY(model_number(g, arch, "expert_count", 0, &s->n_expert, err));
    HY_TRY(model_number(g, arch, "attention.head_count", 0, &heads, err));
    HY_TRY(model_number(g, arch, "attention.head_count_kv", heads, &kv_heads, err));
    s->heads_per_kv = kv_heads > 0 ? heads / kv_heads : 0;
    s->wide_values = has_wide_values(arch, s, kv_heads != heads);
    s->tied = true;
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        kind k = kind_of(hy_gguf_tensor_at(g, i)->name);
        s->n_attn_v += k == ATTN_V;
        s->tied = s->tied && k != OUTPUT;
    }
    return HY_OK;
}

/* ---- the choice */

static hy_type choose(const hy__mix_state *s, const rule *r, uint32_t i, uint32_t n)
{
    int type = holds(r->when, i, n, s->heads_per_kv) ? r->then : r->otherwise;
    return type == SAME ? s->mix->base : (hy_type)type;
}

static hy_type choose_attn_v(hy__mix_state *s)
{
    hy_type type = choose(s, &s->mix->attn_v, s->i_attn_v, s->n_attn_v);
    s->i_attn_v++;
    if (s->n_expert == 8) {
        return HY_TYPE_Q8_0;
    }
    if (s->wide_values && (type == HY_TYPE_Q3_K || type == HY_TYPE_Q4_K)) {
        return HY_TYPE_Q5_K;
    }
    return type;
}

/* The layer of a feed-forward tensor: the running number, or, where experts may stand in any order,
 * that of the name. */
static hy_status ffn_layer(const hy__mix_state *s, const hy_gguf_tensor *t, uint32_t running,
                           uint32_t *layer, hy_error *err)
{
    *layer = running;
    if (s->n_expert > 1) {
        int32_t named = layer_of(t->name);
        if (named < 0 || (uint32_t)named >= s->n_layer) {
            return hy__fail(err, HY_E_FORMAT, "tensor '%s' belongs to none of the %u layers",
                            t->name, (unsigned)s->n_layer);
        }
        *layer = (uint32_t)named;
    }
    return HY_OK;
}

static hy_type choose_head(const hy__mix_state *s, const hy_gguf_tensor *t)
{
    hy_type base = s->mix->base;
    bool fits = t->ne[0] % hy_type_find(base)->block_elems == 0;
    return s->mix->experts_only || base == HY_TYPE_Q8_0 || !fits ? HY_TYPE_Q8_0 : HY_TYPE_Q6_K;
}

static hy_status choose_quantized(hy__mix_state *s, const hy_gguf_tensor *t, hy_type *type,
                                  hy_error *err)
{
    const hy__mix *mix = s->mix;
    kind k = kind_of(t->name);
    *type = mix->base;
    if (k == OUTPUT || (k == TOKEN_EMBD && s->tied)) {
        *type = choose_head(s, t);
    } else if (mix->experts_only) {
        *type = t->ne[2] > 1 ? mix->base : HY_TYPE_Q8_0;
    } else if (k == TOKEN_EMBD) {
        *type = mix->base == HY_TYPE_Q2_0 ? HY_TYPE_Q4_K : mix->base; /* 2 bits are too few here */
    } else if (k == ATTN_V) {
        *type = choose_attn_v(s);
    } else if (k == ATTN_K && s->n_expert == 8) {
        *type = HY_TYPE_Q8_0;
    } else if (k == FFN_DOWN) {
        uint32_t layer;
        HY_TRY(ffn_layer(s, t, s->i_ffn_down, &layer, err));
        *type = choose(s, &mix->ffn_down, layer, s->n_layer);
        s->i_ffn_down++;
    } else if (k == ATTN_OUTPUT && s->n_expert == 8) {
        *type = mix->raise_of_8 ? HY_TYPE_Q5_K : mix->base;
    } else if (k == ATTN_OUTPUT && mix->attn_output != SAME) {
        *type = (hy_type)mix->attn_output;
    }
    return HY_OK;
}

/* A type whose blocks divide the rows: the nearest one with blocks of 32, else F16. */
static hy_type fit_rows(hy_type type, uint64_t row)
{
    if (row % hy_type_find(type)->block_elems == 0) {
        return type;
    }
    switch (type) {
    case HY_TYPE_Q2_0:
    case HY_TYPE_Q2_K:
    case HY_TYPE_Q3_K: type = HY_TYPE_Q4_0; break;
    case HY_TYPE_Q4_K: type = HY_TYPE_Q5_0; break;
    case HY_TYPE_Q5_K: type = HY_TYPE_Q5_1; break;
    case HY_TYPE_Q6_K: type = HY_TYPE_Q8_0; break;
    case HY_TYPE_IQ4_XS: type = HY_TYPE_IQ4_NL; break;
    default: break; /* blocks of 32 already */
    }
    return row % hy_type_find(type)->block_elems == 0 ? type : HY_TYPE_F16;
}

hy_status hy__mix_next(hy__mix_state *s, const hy_gguf_tensor *t, hy_type *type, hy_error *err)
{
    if (!is_quantized(t)) {
        *type = t->type;
        return HY_OK;
    }
    if (hy_type_find(s->mix->base)->block_elems == 1) {
        *type = s->mix->base;
        return HY_OK;
    }
    HY_TRY(choose_quantized(s, t, type, err));
    *type = fit_rows(*type, t->ne[0]);
    return HY_OK;
}
