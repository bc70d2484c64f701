/* units.c: the graphs and numbers of the self-test: see units.h.  One thread. */
#include "units.h"

#include <math.h>
#include <stdio.h>

#include "halyard/types.h"

/* ---- the list */

bool hy__gpu_unit_at(uint32_t i, hy__gpu_unit *u)
{
    static const hy__gpu_unit plain[] = {
#define HY__GPU_UNIT(id, name, uses)                                                               \
    {name, uses, (uses) & (HY__GPU_USE_MATRICES | HY__GPU_USE_MATRIX_ATTENTION), NULL, true},
        HY__GPU_UNITS(HY__GPU_UNIT)
#undef HY__GPU_UNIT
    };
    if (i < HY__GPU_N_PLAIN_UNITS) {
        *u = plain[i];
        u->model = i != HY__GPU_UNIT_BINDINGS && i != HY__GPU_UNIT_DRAWS;
        u->uses |= u->model ? HY__GPU_USE_SUMS | HY__GPU_USE_TOTALS : 0;
        if (i == HY__GPU_UNIT_CODES || i == HY__GPU_UNIT_WKV7_CODES ||
            i == HY__GPU_UNIT_ATTENTION_CODES) {
            const hy__gpu_format *codes = hy__gpu_format_of(HY_TYPE_Q8_0);
            u->uses |= hy__gpu_use_dot(codes) | hy__gpu_use_format(codes);
        }
        return true;
    }
    const hy__gpu_format *f = hy__gpu_format_at(i - HY__GPU_N_PLAIN_UNITS);
    if (!f || i >= HY__GPU_MOST_UNITS) {
        return false;
    }
    *u = (hy__gpu_unit){.name = f->name,
                        .uses = HY__GPU_USE_SUMS | HY__GPU_USE_TOTALS | HY__GPU_USE_QUANTIZE |
                            hy__gpu_use_dot(f) | hy__gpu_use_format(f),
                        .format = f,
                        .model = true};
    return true;
}

static bool is_needed(const hy__graph *g, const hy__gpu_unit *u, uint32_t i)
{
    const bool recurrence = i == HY__GPU_UNIT_WKV7 || i == HY__GPU_UNIT_WKV7_CODES;
    const bool attention = i == HY__GPU_UNIT_ATTENTION || i == HY__GPU_UNIT_ATTENTION_CODES ||
                           i == HY__GPU_UNIT_ATTENTION_MATRICES;
    bool needed = !u->format && !recurrence && !attention;
    for (uint32_t k = 0; !needed && k < g->n_nodes; k++) {
        const hy__node *node = &g->nodes[k];
        const bool matrix = node->op == HY__OP_MATMUL || node->op == HY__OP_EMBED;
        needed = (recurrence && node->op == HY__OP_WKV7) ||
                 (attention && node->op == HY__OP_ATTENTION) ||
                 (u->format && matrix &&
                  hy__gpu_format_of(g->values[node->in[0]].tensor->type) == u->format);
    }
    return needed;
}

uint64_t hy__gpu_units_of(const hy__graph *g)
{
    hy__gpu_unit u;
    uint64_t units = 0;
    for (uint32_t i = 0; hy__gpu_unit_at(i, &u); i++) {
        units |= !g || is_needed(g, &u, i) ? UINT64_C(1) << i : 0;
    }
    return units;
}

/* ---- numbers */

static uint32_t random_bits(hy__gpu_tiny *t)
{
    t->random = t->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(t->random >> 32);
}

static float uniform(hy__gpu_tiny *t, float least, float most)
{
    return least + (most - least) * (float)(random_bits(t) >> 8) * 0x1p-24f;
}

/* ---- weights: errors stick in *status */

typedef struct maker {
    hy__gpu_tiny *t;
    hy_status status;
    hy_error *err;
} maker;

static hy__id keep(maker *mk, hy__id id)
{
    if (id == 0 && mk->status == HY_OK) {
        mk->status = HY_E_INTERNAL;
    }
    return id;
}

/* m 1: a vector.  *data: zeros, or NULL where there is nothing to fill. */
static hy__id add_tensor(maker *mk, hy_type type, uint32_t n, uint32_t m, void **data)
{
    static const uint64_t nothing = 0;
    static const char *const names[HY__GPU_MOST_TENSORS] = {
        "t0",  "t1",  "t2",  "t3",  "t4",  "t5",  "t6",  "t7",  "t8",  "t9",  "t10", "t11",
        "t12", "t13", "t14", "t15", "t16", "t17", "t18", "t19", "t20", "t21", "t22", "t23"};
    hy__gpu_tiny *t = mk->t;
    const hy_type_info *info = hy_type_find((uint32_t)type);
    *data = NULL;
    if (mk->status != HY_OK || t->n_tensors == HY__GPU_MOST_TENSORS) {
        return keep(mk, 0);
    }
    const uint32_t k = t->n_tensors++;
    hy_gguf_tensor *x = &t->tensors[k];
    *x = (hy_gguf_tensor){.name = names[k], .type = type, .n_dims = 2, .ne = {n, m, 1, 1}};
    x->n_elems = (uint64_t)n * m;
    x->bytes = x->n_elems / info->block_elems * info->block_bytes;
    x->data = &nothing;
    if (!t->empty) {
        t->data[k] = *data = hy__calloc(&t->env, (size_t)x->bytes, 1, mk->err);
        x->data = *data;
        mk->status = *data ? HY_OK : HY_E_NOMEM;
    }
    return mk->status == HY_OK ? keep(mk, hy__graph_add_weight(&t->graph, x, 0, n, m, mk->err)) : 0;
}

static hy__id add_numbers(maker *mk, uint32_t n, uint32_t m, float least, float most)
{
    void *data;
    const hy__id id = add_tensor(mk, HY_TYPE_F32, n, m, &data);
    for (uint32_t i = 0; data && i < n * m; i++) {
        ((float *)data)[i] = uniform(mk->t, least, most);
    }
    return id;
}

/* Rows: numbers around 0, zeros, the same with changing signs, too small to be normal, and one
 * that is huge among small ones.  halves: all of them are f16 numbers. */
static hy__id add_table(maker *mk, uint32_t n, float size, bool halves)
{
    void *data;
    const hy__id id = add_tensor(mk, HY_TYPE_F32, n, mk->t->n_rows, &data);
    for (uint32_t r = 0; data && r < mk->t->n_rows; r++) {
        float *row = (float *)data + (size_t)r * n;
        /* What is handed over in 8 bits would be rounded too much beside a huge number. */
        const uint32_t kind = r % (mk->t->calm ? 5 : 6);
        for (uint32_t i = 0; i < n; i++) {
            const float x = uniform(mk->t, -size, size);
            row[i] = kind == 1   ? 0
                     : kind == 3 ? (i % 2 ? -size : size)
                     : kind == 4 ? 1e-40f
                     : kind == 5 ? x * 0.01f
                                 : x;
        }
        if (kind == 5) {
            row[random_bits(mk->t) % n] = 64 * size;
        }
        for (uint32_t i = 0; halves && i < n; i++) {
            row[i] = hy__f16_to_f32(hy__f32_to_f16(row[i]));
        }
    }
    return id;
}

/* ---- operations */

static hy__id op(maker *mk, hy__opcode code, const hy__params *params, const hy__id *in)
{
    static const char *const names[HY__N_OPS] = {
#define HY_OP(name, lower, arity, summary) #lower,
#include "graph/ops.inc"
#undef HY_OP
    };
    char name[40];
    snprintf(name, sizeof name, "%s%u", names[code], mk->t->graph.n_nodes);
    for (uint32_t k = 0; k < hy__ops[code].n_inputs; k++) {
        if (in[k] == 0) {
            return keep(mk, 0);
        }
    }
    return keep(mk, hy__graph_add_op(&mk->t->graph, code, 0, name, in, params, mk->err));
}

static hy__id op1(maker *mk, hy__opcode code, hy__id a)
{
    return op(mk, code, NULL, &a);
}

static hy__id op2(maker *mk, hy__opcode code, hy__id a, hy__id b)
{
    return op(mk, code, NULL, (const hy__id[]){a, b});
}

static hy__id op3(maker *mk, hy__opcode code, const hy__params *p, hy__id a, hy__id b, hy__id c)
{
    return op(mk, code, p, (const hy__id[]){a, b, c});
}

static hy__id embed(maker *mk, uint32_t n, float size)
{
    return op2(mk, HY__OP_EMBED, add_table(mk, n, size, false), mk->t->graph.tokens);
}

static hy__id state(maker *mk, uint32_t n, bool per_position)
{
    char name[24];
    snprintf(name, sizeof name, "state%u", mk->t->graph.n_states);
    return keep(mk, hy__graph_add_state(&mk->t->graph, name, n, per_position, mk->err));
}

/* ---- matrices of a format */

/* The f16 numbers of a block: how many, and where they begin. */
static const struct scales {
    hy_type type;
    uint32_t n, at;
} scales[] = {{HY_TYPE_Q4_0, 1, 0}, {HY_TYPE_Q4_1, 2, 0},  {HY_TYPE_Q5_0, 1, 0},
              {HY_TYPE_Q5_1, 2, 0}, {HY_TYPE_Q8_0, 1, 0},  {HY_TYPE_Q4_K, 2, 0},
              {HY_TYPE_Q5_K, 2, 0}, {HY_TYPE_Q6_K, 1, 208}};

/* Any codes; all bits 0; all bits 1; scales below the normal f16 numbers; large ones.  Scales have
 * four bits, so that f16 holds their products with those of sub-blocks exactly. */
static void fill_codes(hy__gpu_tiny *t, const struct scales *s, uint8_t *block, size_t bytes,
                       uint32_t row)
{
    const uint32_t kind = row % 8;
    for (size_t i = 0; i < bytes; i++) {
        block[i] = kind == 5 ? 0 : kind == 6 ? 255 : (uint8_t)(random_bits(t) >> 24);
    }
    for (uint32_t k = 0; k < s->n; k++) {
        float d = ldexpf((float)(8 + random_bits(t) % 8), (int)(random_bits(t) % 4) - 13);
        d = kind == 7 ? d * 0x1p-10f : kind == 4 ? d * 64 : d;
        d = k == 0 && kind == 3 ? -d : d;
        hy__store_u16(block + s->at + 2 * k, hy__f32_to_f16(d));
    }
}

static void fill_weights(hy__gpu_tiny *t, hy_type type, uint32_t n, uint32_t m, uint8_t *data)
{
    const hy_type_info *info = hy_type_find((uint32_t)type);
    for (size_t i = 0; i < HY_COUNT(scales); i++) {
        if (scales[i].type == type) {
            const size_t blocks = n / info->block_elems;
            for (size_t b = 0; b < blocks * m; b++) {
                fill_codes(t, &scales[i], data + b * info->block_bytes, info->block_bytes,
                           (uint32_t)(b / blocks));
            }
            return;
        }
    }
    for (size_t i = 0; i < (size_t)n * m; i++) {
        const float x = uniform(t, -1, 1);
        if (type == HY_TYPE_F32) {
            memcpy(data + 4 * i, &x, 4);
        } else {
            hy__store_u16(data + 2 * i,
                          type == HY_TYPE_F16 ? hy__f32_to_f16(x) : hy__f32_to_bf16(x));
        }
    }
}

/* A block of 32 activations: whole numbers k <= 127 times a power of two, one of them 127, is what
 * 8 bits hold exactly; what the GPU gets is up to 0.4 beside it, and is rounded to it. */
static void fill_block(hy__gpu_tiny *t, uint32_t kind, float *given, float *rounded)
{
    const float step = ldexpf(1, (int)(random_bits(t) % 7) - 10);
    const uint32_t first = random_bits(t) % 32;
    for (uint32_t i = 0; i < 32; i++) {
        float k = (float)(int)(random_bits(t) % 253) - 126, beside = uniform(t, -0.4f, 0.4f);
        k = kind == 3 ? (i % 2 ? -127.0f : 127.0f) : k;
        k = i == first ? (random_bits(t) % 2 ? -127.0f : 127.0f) : k;
        beside = fabsf(k) == 127 ? 0 : beside;
        if (kind == 1 || kind == 4 || (kind == 2 && i != first)) {
            k = beside = 0;
        }
        rounded[i] = k * step;
        given[i] = kind == 4 ? 1e-40f : (k + beside) * step;
    }
}

/* Rows: random; zeros; one number in each block; alternating signs; not normal; one large block. */
static hy__id add_activations(maker *mk, uint32_t n, bool rounds)
{
    void *data;
    hy__gpu_tiny *t = mk->t;
    const hy__id id = add_tensor(mk, HY_TYPE_F32, n, t->n_rows, &data);
    if (!data) {
        return id;
    }
    t->rounded = hy__calloc(&t->env, (size_t)n * t->n_rows, sizeof *t->rounded, mk->err);
    if (!t->rounded) {
        mk->status = HY_E_NOMEM;
        return 0;
    }
    for (uint32_t r = 0; r < t->n_rows; r++) {
        const uint32_t large = random_bits(t) % (n / 32);
        for (uint32_t b = 0; b < (n + 31) / 32; b++) {
            float given[32], rounded[32];
            const float factor = r % 6 == 5 ? (b == large ? 1024 : 0.0625f) : 1;
            fill_block(t, r % 6, given, rounded);
            for (uint32_t i = 32 * b; i < HY_MIN(n, 32 * b + 32); i++) {
                ((float *)data)[(size_t)r * n + i] = given[i % 32] * factor;
                t->rounded[(size_t)r * n + i] = (rounds ? rounded : given)[i % 32] * factor;
            }
        }
    }
    return id;
}

/* ---- the units */

static hy__id make_trees(maker *mk)
{
    enum { N = 256, FEW = 64, OUT = 48 };
    const hy__params column = {.eps = 1e-5f}, group = {.eps = 1e-5f, .group = N};
    const hy__id x = embed(mk, N, 1);
    const hy__id h = op3(mk, HY__OP_LAYER_NORM, &column, x, add_numbers(mk, N, 1, 0.5f, 1.5f),
                         add_numbers(mk, N, 1, -1, 1));
    const hy__id before = op2(mk, HY__OP_TOKEN_SHIFT, h, state(mk, N, false));
    const hy__id mixed = op3(mk, HY__OP_LERP, NULL, h, before, add_numbers(mk, N, 1, 0, 1));
    const hy__id y = op2(mk, HY__OP_MATMUL, add_numbers(mk, N, N, -0.25f, 0.25f), mixed);
    const hy__id z = op2(mk, HY__OP_ADD, op1(mk, HY__OP_TANH, y), h);
    /* Small workgroups have a norm of few channels in steps of many tokens. */
    const hy__id few = op2(mk, HY__OP_MATMUL, add_numbers(mk, N, FEW, -0.25f, 0.25f), z);
    const hy__id g = op3(mk, HY__OP_LAYER_NORM, &column, few, add_numbers(mk, FEW, 1, 0.5f, 1.5f),
                         add_numbers(mk, FEW, 1, -1, 1));
    const hy__id wide = op2(mk, HY__OP_MATMUL, add_numbers(mk, FEW, N, -0.25f, 0.25f), g);
    const hy__id last =
        op(mk, HY__OP_RMS_NORM, &group,
           (const hy__id[]){op1(mk, HY__OP_SELECT, wide), add_numbers(mk, N, 1, 0.5f, 1.5f)});
    return op2(mk, HY__OP_MATMUL, add_numbers(mk, N, OUT, -0.25f, 0.25f), last);
}

/* Two matrices as those in front of the recurrence. */
static hy__id low_rank(maker *mk, uint32_t n, hy__id x, bool tanh)
{
    enum { RANK = 16 };
    const hy__id h = op2(mk, HY__OP_MATMUL, add_numbers(mk, n, RANK, -0.25f, 0.25f), x);
    return op2(mk, HY__OP_MATMUL, add_numbers(mk, RANK, n, -1, 1),
               tanh ? op1(mk, HY__OP_TANH, h) : h);
}

/* A matrix in codes, whose input may be handed over in 8 bits, which are not exact here. */
static hy__id in_codes(maker *mk, uint32_t n, hy__id x)
{
    enum { OUT = 64 };
    void *data;
    const hy__id w = add_tensor(mk, HY_TYPE_Q8_0, n, OUT, &data);
    if (data) {
        fill_weights(mk->t, HY_TYPE_Q8_0, n, OUT, data);
    }
    mk->t->relative = 0x1p-5;
    return op2(mk, HY__OP_MATMUL, w, x);
}

static hy__id make_codes(maker *mk)
{
    enum { N = 256, M = 320 };
    const hy__id x = embed(mk, N, 1);
    const hy__id y = op2(mk, HY__OP_MATMUL, add_numbers(mk, N, M, -0.25f, 0.25f), x);
    return op1(mk, HY__OP_SELECT, in_codes(mk, M, op1(mk, HY__OP_RELU2, y)));
}

static hy__id make_wkv7(maker *mk, bool codes)
{
    enum { N = 128, HEAD = 64 };
    const hy__params head = {.group = HEAD, .eps = 1e-12f}, norm = {.group = HEAD, .eps = 64e-5f};
    const hy__id r = embed(mk, N, 1), k0 = embed(mk, N, 1), v = embed(mk, N, 1);
    const hy__id x = embed(mk, N, 1);
    const hy__id w =
        op1(mk, HY__OP_RWKV7_DECAY,
            op2(mk, HY__OP_ADD, low_rank(mk, N, x, true), add_numbers(mk, N, 1, -4, 4)));
    const hy__id a =
        op1(mk, HY__OP_SIGMOID,
            op2(mk, HY__OP_ADD, low_rank(mk, N, x, false), add_numbers(mk, N, 1, -4, 4)));
    const hy__id q = op2(mk, HY__OP_MUL, k0, add_numbers(mk, N, 1, 0.5f, 1));
    const hy__id kk = op(mk, HY__OP_L2_NORM, &head, &q);
    const hy__id k = op3(mk, HY__OP_RWKV7_KEY, NULL, k0, a, add_numbers(mk, N, 1, 0, 1));
    const hy__id y =
        op(mk, HY__OP_WKV7, &head, (const hy__id[]){r, w, k, v, kk, a, state(mk, N * HEAD, false)});
    const hy__id z = op3(mk, HY__OP_GROUP_NORM, &norm, y, add_numbers(mk, N, 1, 0.5f, 1.5f),
                         add_numbers(mk, N, 1, -1, 1));
    const hy__id sum = op(mk, HY__OP_RWKV7_BONUS, &head,
                          (const hy__id[]){z, r, k, v, add_numbers(mk, N, 1, -0.1f, 0.1f)});
    /* Beside the norm, which would hide what is the same in all rows. */
    const hy__id plain = op2(mk, HY__OP_MUL, y, add_numbers(mk, N, 1, 0.1f, 1));
    const hy__id all = op2(mk, HY__OP_ADD, sum, plain);
    return op1(mk, HY__OP_SELECT, codes ? in_codes(mk, N, all) : all);
}

/* Rows of f16 numbers that become larger, so that later ones surpass all before them. */
static hy__id add_rising(maker *mk, uint32_t n)
{
    void *data;
    hy__gpu_tiny *t = mk->t;
    const hy__id id = add_tensor(mk, HY_TYPE_F32, n, t->n_rows, &data);
    for (uint32_t i = 0; data && i < n * t->n_rows; i++) {
        const float size = 1 + (float)(i / n) / 16;
        ((float *)data)[i] = hy__f16_to_f32(hy__f32_to_f16(uniform(t, -size, size)));
    }
    return id;
}

/* Keys are n numbers, of all heads; they and values are what caches of f16 keep as it is. */
static hy__id attend(maker *mk, hy__id q, hy__id keys, uint32_t n, const hy__params *heads)
{
    const hy__id tokens = mk->t->graph.tokens;
    const hy__id k = op2(mk, HY__OP_EMBED, keys, tokens);
    const hy__id v = op2(mk, HY__OP_EMBED, add_table(mk, n, 1, true), tokens);
    return op(mk, HY__OP_ATTENTION, heads,
              (const hy__id[]){q, k, v, state(mk, n, true), state(mk, n, true)});
}

/* More positions than a workgroup looks at in one turn. */
static hy__id make_attention(maker *mk, bool codes)
{
    enum { DIM = 32, HEADS = 4, KV = 2 };
    const hy__params heads = {.n_head = HEADS, .n_head_kv = KV, .scale = 0.17677669f};
    mk->t->n_many = 40;
    mk->t->n_steps = 7;
    mk->t->n_single = 3;
    const hy__params rope = {.group = DIM, .n_rot = DIM, .scale = 1, .half_split = true};
    const hy__params norm = {.group = DIM, .eps = 1e-5f};
    const hy__id f = keep(mk, hy__graph_add_const(&mk->t->graph, "angles", DIM / 2, mk->err));
    for (uint32_t i = 0; f && i < DIM / 2; i++) {
        mk->t->graph.values[f].data[i] = hy__pow(10000, -2.0 * i / DIM);
    }
    const hy__id q0 =
        op(mk, HY__OP_RMS_NORM, &norm,
           (const hy__id[]){embed(mk, DIM * HEADS, 1), add_numbers(mk, DIM, 1, 0.5f, 1.5f)});
    const hy__id q = op(mk, HY__OP_ROPE, &rope, (const hy__id[]){q0, f});
    const hy__id y = attend(mk, q, add_table(mk, DIM * KV, 1, true), DIM * KV, &heads);
    return op1(mk, HY__OP_SELECT, codes ? in_codes(mk, DIM * HEADS, y) : y);
}

/* Queries that f16 holds as well, and scores that surpass earlier ones by far; two workgroups of
 * tokens, whose rows three heads for one of keys do not fill. */
static hy__id make_rising_attention(maker *mk)
{
    enum { DIM = 64, HEADS = 6, KV = 2 };
    const hy__params heads = {.n_head = HEADS, .n_head_kv = KV, .scale = 0.25f};
    mk->t->n_many = 80;
    mk->t->n_steps = 3;
    mk->t->n_single = 3;
    mk->t->n_rows = mk->t->n_many * mk->t->n_steps;
    mk->t->relative = 0x1p-9;
    const hy__id q = op2(mk, HY__OP_EMBED, add_table(mk, DIM * HEADS, 1, true), mk->t->graph.tokens);
    return op1(mk, HY__OP_SELECT, attend(mk, q, add_rising(mk, DIM * KV), DIM * KV, &heads));
}

/* The inputs alone take 1544 vec4, which is more than 16 KiB. */
static hy__id make_shared(maker *mk)
{
    enum { N = 6176, M = 24 };
    void *data;
    const hy__id x = op2(mk, HY__OP_EMBED, add_activations(mk, N, false), mk->t->graph.tokens);
    const hy__id w = add_tensor(mk, HY_TYPE_F32, N, M, &data);
    if (data) {
        fill_weights(mk->t, HY_TYPE_F32, N, M, data);
    }
    return op2(mk, HY__OP_MATMUL, w, op1(mk, HY__OP_SELECT, x));
}

/* The matrix times a column, plus a row of the same matrix as a table. */
static hy__id make_format(maker *mk, const hy__gpu_format *f)
{
    const hy_type_info *info = hy_type_find((uint32_t)f->type);
    /* Lengths that take the loops over blocks and the way without one, and odd ends of rows. */
    const uint32_t n = info->block_elems == 256 ? 512 : f->codes ? 288 : 300;
    void *data;
    const hy__id x = op2(mk, HY__OP_EMBED, add_activations(mk, n, f->codes), mk->t->graph.tokens);
    const hy__id w = add_tensor(mk, f->type, n, n, &data);
    if (data) {
        fill_weights(mk->t, f->type, n, n, data);
    }
    const hy__id row = op2(mk, HY__OP_EMBED, w, mk->t->graph.tokens);
    return op1(mk, HY__OP_SELECT, op2(mk, HY__OP_ADD, op2(mk, HY__OP_MATMUL, w, x), row));
}

/* Rows of whole numbers k <= 127 times a power of two, with one 127 in each block, which f16 and 8
 * bits hold exactly. */
static hy__id add_exact(maker *mk, uint32_t n)
{
    void *data;
    hy__gpu_tiny *t = mk->t;
    const hy__id id = add_tensor(mk, HY_TYPE_F32, n, t->n_rows, &data);
    for (uint32_t b = 0; data && b < n / 32 * t->n_rows; b++) {
        float given[32], rounded[32];
        const uint32_t kind = b / (n / 32) % 6;
        fill_block(t, kind == 4 ? 0 : kind, given, rounded);
        for (uint32_t i = 0; i < 32; i++) {
            ((float *)data)[32 * (size_t)b + i] = rounded[i];
        }
    }
    return id;
}

static hy__id of_type(maker *mk, hy_type type, uint32_t n, uint32_t m, hy__id x)
{
    void *data;
    const hy__id w = add_tensor(mk, type, n, m, &data);
    if (data) {
        fill_weights(mk->t, type, n, m, data);
    }
    return op2(mk, HY__OP_MATMUL, w, x);
}

/* Kinds of blocks and of numbers; matrices of their own, two whose results meet, three of different
 * inputs; rows and columns that are no whole tiles, and an odd number of blocks. */
static hy__id make_matrices(maker *mk, uint32_t size)
{
    enum { N = 512, M = 130, L = 96, OUT = 150 };
    mk->t->relative = 0x1p-9;
    mk->t->n_many = HY__GPU_UNIT_COLUMNS + HY__GPU_UNIT_SIZES * size + 10;
    const hy__id x = op2(mk, HY__OP_EMBED, add_exact(mk, N), mk->t->graph.tokens);
    const hy__id p = op2(mk, HY__OP_ADD, of_type(mk, HY_TYPE_Q4_K, N, M, x),
                         op1(mk, HY__OP_TANH, of_type(mk, HY_TYPE_Q6_K, N, M, x)));
    const hy__id q = of_type(mk, HY_TYPE_Q8_0, N, L, x), r = of_type(mk, HY_TYPE_F16, N, M, x);
    const hy__id y = op2(mk, HY__OP_ADD, of_type(mk, HY_TYPE_F32, M, OUT, p),
                         op2(mk, HY__OP_ADD, of_type(mk, HY_TYPE_F16, L, OUT, q),
                             of_type(mk, HY_TYPE_BF16, M, OUT, r)));
    return op1(mk, HY__OP_SELECT, op2(mk, HY__OP_ADD, y, add_numbers(mk, OUT, 1, -100, 100)));
}

static hy__id make_unit(maker *mk, uint32_t i)
{
    hy__gpu_unit u;
    switch (i) {
    case HY__GPU_UNIT_TREES:
        return make_trees(mk);
    case HY__GPU_UNIT_SHARED:
        return make_shared(mk);
    case HY__GPU_UNIT_WKV7:
        return make_wkv7(mk, false);
    case HY__GPU_UNIT_WKV7_CODES:
        return make_wkv7(mk, true);
    case HY__GPU_UNIT_ATTENTION:
    case HY__GPU_UNIT_ATTENTION_CODES:
        return make_attention(mk, i == HY__GPU_UNIT_ATTENTION_CODES);
    case HY__GPU_UNIT_ATTENTION_MATRICES:
        return make_rising_attention(mk);
    case HY__GPU_UNIT_CODES:
        return make_codes(mk);
    case HY__GPU_UNIT_MATRICES:
    case HY__GPU_UNIT_MATRICES_LARGE:
    case HY__GPU_UNIT_MATRICES_WIDE:
        return make_matrices(mk, i - HY__GPU_UNIT_MATRICES);
    default:
        return hy__gpu_unit_at(i, &u) && u.format ? make_format(mk, u.format) : keep(mk, 0);
    }
}

static hy_status make_graph(hy__gpu_tiny *t, uint32_t i, hy_error *err)
{
    maker mk = {t, HY_OK, err};
    t->graph.n_layer = 1;
    keep(&mk, hy__graph_add_tokens(&t->graph, err));
    t->graph.logits = make_unit(&mk, i);
    HY_TRY(mk.status);
    HY_TRY(hy__graph_verify(&t->graph, err));
    HY_TRY(hy__fuse(&t->fusion, &t->graph, HY__ALL_RULES, err));
    HY_TRY(hy__fusion_apply(&t->fusion, &t->graph, err));
    HY_TRY(hy__exprs_make(&t->exprs, &t->fusion, &t->graph, err));
    return hy__plan_make(&t->plan, &t->graph, &t->fusion, err);
}

hy_status hy__gpu_tiny_make(hy__gpu_tiny *t, uint32_t i, bool empty, const hy_env *env,
                            hy_error *err)
{
    *t = (hy__gpu_tiny){.env = *env,
                        .empty = empty,
                        .n_rows = 18,
                        .n_many = 12,
                        .n_steps = 1,
                        .n_single = 6,
                        .relative = 0x1p-12,
                        .calm = i == HY__GPU_UNIT_CODES || i == HY__GPU_UNIT_WKV7_CODES ||
                                i == HY__GPU_UNIT_ATTENTION_CODES ||
                                i == HY__GPU_UNIT_ATTENTION_MATRICES,
                        .random = i + 1};
    hy__graph_init(&t->graph, env);
    const hy_status status = make_graph(t, i, err);
    return status == HY_OK ? HY_OK : hy__wrap(err, status, "self-test");
}

void hy__gpu_tiny_finish(hy__gpu_tiny *t)
{
    if (!t->graph.env.mem_alloc) {
        return;
    }
    if (t->plan.place) {
        hy__plan_finish(&t->plan);
    }
    if (t->exprs.phases) {
        hy__exprs_finish(&t->exprs);
    }
    if (t->fusion.phases) {
        hy__fusion_finish(&t->fusion);
    }
    hy__graph_finish(&t->graph);
    for (uint32_t k = 0; k < t->n_tensors; k++) {
        hy__free(&t->env, t->data[k]);
    }
    hy__free(&t->env, t->rounded);
    memset(t, 0, sizeof *t);
}

/* ---- bounds */

uint32_t hy__gpu_tiny_tokens(const hy__gpu_tiny *t)
{
    return t->n_steps * t->n_many + t->n_single;
}

/* The largest weight of each block of a row. */
static hy_status block_maxima(const hy__gpu_tiny *t, uint32_t row, float *scratch, float *maxima,
                              hy_error *err)
{
    const hy_gguf_tensor *w = &t->tensors[1];
    const uint32_t n = (uint32_t)w->ne[0];
    const size_t row_bytes = (size_t)(w->bytes / w->ne[1]);
    HY_TRY(hy_dequantize(w->type, (const uint8_t *)w->data + row * row_bytes, scratch, n, err));
    for (uint32_t i = 0; i < n; i++) {
        maxima[i / 32] = fmaxf(i % 32 ? maxima[i / 32] : 0, fabsf(scratch[i]));
    }
    return HY_OK;
}

/* Of a product, and of a row of the matrix where that is square and added: rounding of sums, in
 * parts of the largest weight of each block times what it meets; weights that became F16 are
 * rounded themselves. */
static hy_status bound_products(const hy__gpu_tiny *t, bool exact, float *bounds, hy_error *err)
{
    const uint32_t n = (uint32_t)t->tensors[1].ne[0], m = (uint32_t)t->tensors[1].ne[1];
    const uint32_t blocks = (n + 31) / 32, rows = t->n_rows;
    const double part = exact ? 0x1p-18 : 0x1p-10, least = exact ? 1e-30 : 0x1p-24;
    float *scratch = hy__calloc(&t->env, n + blocks * ((size_t)rows + 1), sizeof *scratch, err);
    double *sums = scratch ? hy__calloc(&t->env, (size_t)rows * blocks, sizeof *sums, err) : NULL;
    if (!sums) {
        hy__free(&t->env, scratch);
        return HY_E_NOMEM;
    }
    hy_status status = HY_OK;
    float *maxima = scratch + n, *table = maxima + blocks; /* of a row; of the rows of tokens */
    for (size_t i = 0; i < (size_t)n * rows; i++) {
        sums[i / n * blocks + i % n / 32] += (double)fabsf(((const float *)t->data[0])[i]);
    }
    for (uint32_t r = 0; n == m && r < rows && status == HY_OK; r++) {
        status = block_maxima(t, r, scratch, table + (size_t)r * blocks, err);
    }
    for (uint32_t r = 0; r < m && status == HY_OK; r++) {
        status = block_maxima(t, r, scratch, maxima, err);
        for (uint32_t k = 0; k < hy__gpu_tiny_tokens(t) && status == HY_OK; k++) {
            const size_t token = k % rows;
            double bound = (double)table[token * blocks + r / 32] * part + least;
            for (uint32_t b = 0; b < blocks; b++) {
                bound += ((double)maxima[b] * part + least) * sums[token * blocks + b];
            }
            bounds[(size_t)k * m + r] = (float)bound;
        }
    }
    hy__free(&t->env, scratch);
    hy__free(&t->env, sums);
    return status;
}

hy_status hy__gpu_tiny_bounds(const hy__gpu_tiny *t, const float *want, bool exact, float *bounds,
                              hy_error *err)
{
    const uint32_t n = t->graph.values[t->graph.logits].n;
    if (t->rounded) {
        return bound_products(t, exact, bounds, err);
    }
    for (uint32_t k = 0; k < hy__gpu_tiny_tokens(t); k++) {
        float most = 0;
        for (uint32_t c = 0; c < n; c++) {
            most = fmaxf(most, fabsf(want[(size_t)k * n + c]));
        }
        for (uint32_t c = 0; c < n; c++) {
            bounds[(size_t)k * n + c] = (float)(most * t->relative) + 1e-30f;
        }
    }
    return HY_OK;
}
