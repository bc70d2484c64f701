/* test_graph.c: the shape rule of every operation, the verifier on graphs damaged by hand, and
 * plans checked by brute force. */
#include "model/model.h"
#include "support/support.h"
#include "support/tiny_models.h"

/* ---- shapes.  A bench has one value of every kind that a rule may ask for. */

enum { N = 8, M = 12 };

typedef struct bench {
    hy_env env;
    hy__graph g;
    hy_gguf_tensor tensor;
    hy__id table, wide, vec, vec4, vec_m, tokens, freqs, shift, wkv, kc, vc;
    hy__id x, y, narrow, out; /* results: [N, T], [N, T], [N/2, T], [N, O] */
} bench;

static hy__id weight(bench *b, uint32_t n, uint32_t m)
{
    const hy__id id = hy__graph_add_weight(&b->g, &b->tensor, 0, n, m, NULL);
    assert_true(id != 0);
    return id;
}

static hy__id op(bench *b, hy__opcode code, const hy__id *in, hy_error *err)
{
    return hy__graph_add_op(&b->g, code, HY__NO_LAYER, "result", in, NULL, err);
}

static void set_up(bench *b)
{
    hy_error err;
    memset(b, 0, sizeof *b);
    hy__env_resolve(&b->env, NULL);
    hy__graph_init(&b->g, &b->env);
    b->tensor =
        (hy_gguf_tensor){.name = "weights", .n_dims = 2, .ne = {N, 100, 1, 1}, .n_elems = N * 100};
    b->table = weight(b, N, M);
    b->wide = weight(b, N, N / 2);
    b->vec = weight(b, N, 1);
    b->vec4 = weight(b, 4, 1);
    b->vec_m = weight(b, M, 1);
    b->tokens = hy__graph_add_tokens(&b->g, &err);
    b->freqs = hy__graph_add_const(&b->g, "freqs", 2, &err);
    b->shift = hy__graph_add_state(&b->g, "shift", N, false, &err);
    b->wkv = hy__graph_add_state(&b->g, "wkv", N * 4, false, &err);
    b->kc = hy__graph_add_state(&b->g, "k_cache", N / 2, true, &err);
    b->vc = hy__graph_add_state(&b->g, "v_cache", N / 2, true, &err);
    b->x = op(b, HY__OP_EMBED, (const hy__id[]){b->table, b->tokens}, &err);
    b->y = op(b, HY__OP_TANH, (const hy__id[]){b->x}, &err);
    b->narrow = op(b, HY__OP_MATMUL, (const hy__id[]){b->wide, b->x}, &err);
    b->out = op(b, HY__OP_SELECT, (const hy__id[]){b->x}, &err);
    assert_true(b->x && b->y && b->narrow && b->out);
}

/* Inputs by letters: see value_of. */
typedef struct shape_case {
    hy__opcode op;
    const char *in;
    hy__params p;
    const char *refusal; /* NULL: accepted, with the result of cols and n */
    hy__cols cols;
    uint32_t n;
} shape_case;

static hy__id value_of(const bench *b, char c)
{
    switch (c) {
    case 't':
        return b->table;
    case 'w':
        return b->wide;
    case 'v':
        return b->vec;
    case '4':
        return b->vec4;
    case 'm':
        return b->vec_m;
    case 'i':
        return b->tokens;
    case 'f':
        return b->freqs;
    case 's':
        return b->shift;
    case 'S':
        return b->wkv;
    case 'K':
        return b->kc;
    case 'V':
        return b->vc;
    case 'x':
        return b->x;
    case 'y':
        return b->y;
    case 'h':
        return b->narrow;
    case 'o':
        return b->out;
    case '?':
        return b->g.n_values + 5;
    default:
        return 0;
    }
}

#define GROUP(n)                                                                                   \
    {                                                                                              \
        .group = (n)                                                                               \
    }
#define ROPE(g, r)                                                                                 \
    {                                                                                              \
        .group = (g), .n_rot = (r)                                                                 \
    }
#define HEADS(q, kv)                                                                               \
    {                                                                                              \
        .n_head = (q), .n_head_kv = (kv)                                                           \
    }
#define NONE GROUP(0)
#define GOOD(c, n) NULL, c, n
#define BAD(text) text, HY__ONE, 0

static const shape_case shape_cases[] = {
    {HY__OP_EMBED, "ti", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_EMBED, "xi", NONE, BAD("needs a table and the tokens")},
    {HY__OP_EMBED, "tx", NONE, BAD("needs a table and the tokens")},
    {HY__OP_EMBED, "-i", NONE, BAD("input 0 is missing")},
    {HY__OP_EMBED, "t?", NONE, BAD("input 1 is missing")},
    {HY__OP_LAYER_NORM, "xvv", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_LAYER_NORM, "ovv", NONE, GOOD(HY__PER_OUT, N)},
    {HY__OP_LAYER_NORM, "vvv", NONE, BAD("is not computed per token")},
    {HY__OP_LAYER_NORM, "xv4", NONE, BAD("must be a vector of 8 elements")},
    {HY__OP_LAYER_NORM, "xmv", NONE, BAD("must be a vector of 8 elements")},
    {HY__OP_LAYER_NORM, "xtv", NONE, BAD("must be a vector of 8 elements")},
    {HY__OP_LAYER_NORM, "xyv", NONE, BAD("must be a vector of 8 elements")},
    {HY__OP_GROUP_NORM, "xvv", GROUP(4), GOOD(HY__PER_T, N)},
    {HY__OP_GROUP_NORM, "xvv", GROUP(3), BAD("8 channels do not divide into groups of 3")},
    {HY__OP_GROUP_NORM, "xvv", GROUP(0), BAD("groups of 0")},
    {HY__OP_GROUP_NORM, "xv4", GROUP(4), BAD("must be a vector of 8 elements")},
    {HY__OP_RMS_NORM, "xv", GROUP(8), GOOD(HY__PER_T, N)},
    {HY__OP_RMS_NORM, "x4", GROUP(4), GOOD(HY__PER_T, N)},
    {HY__OP_RMS_NORM, "xv", GROUP(4), BAD("must be a vector of 4 elements")},
    {HY__OP_RMS_NORM, "xv", GROUP(0), BAD("groups of 0")},
    {HY__OP_L2_NORM, "x", GROUP(2), GOOD(HY__PER_T, N)},
    {HY__OP_L2_NORM, "x", GROUP(16), BAD("groups of 16")},
    {HY__OP_L2_NORM, "s", GROUP(2), BAD("is not computed per token")},
    {HY__OP_TOKEN_SHIFT, "xs", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_TOKEN_SHIFT, "xS", NONE, BAD("must be a state of 8 elements")},
    {HY__OP_TOKEN_SHIFT, "hK", NONE, BAD("must be a state of 4 elements")}, /* per position */
    {HY__OP_TOKEN_SHIFT, "os", NONE, BAD("leaves out tokens")},
    {HY__OP_TOKEN_SHIFT, "xv", NONE, BAD("must be a state")},
    {HY__OP_LERP, "xyv", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_LERP, "xyx", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_LERP, "xhv", NONE, BAD("has 8 channels")},
    {HY__OP_LERP, "xov", NONE, BAD("channels")},
    {HY__OP_LERP, "xy4", NONE, BAD("must be a vector of 8 elements")},
    {HY__OP_MATMUL, "tx", NONE, GOOD(HY__PER_T, M)},
    {HY__OP_MATMUL, "to", NONE, GOOD(HY__PER_OUT, M)},
    {HY__OP_MATMUL, "th", NONE, BAD("takes 8 inputs")},
    {HY__OP_MATMUL, "xx", NONE, BAD("needs a matrix and columns")},
    {HY__OP_MATMUL, "tv", NONE, BAD("needs a matrix and columns")},
    {HY__OP_MATMUL, "ti", NONE, BAD("needs a matrix and columns")},
    {HY__OP_ADD, "xv", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_ADD, "xy", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_ADD, "xh", NONE, BAD("channels")},
    {HY__OP_ADD, "xo", NONE, BAD("channels")},
    {HY__OP_ADD, "xf", NONE, BAD("is not computed per token")},
    {HY__OP_ADD, "xt", NONE, BAD("must be a vector")},
    {HY__OP_MUL, "xx", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_MUL, "ov", NONE, GOOD(HY__PER_OUT, N)},
    {HY__OP_MUL, "vx", NONE, BAD("is not computed per token")},
    {HY__OP_TANH, "h", NONE, GOOD(HY__PER_T, N / 2)},
    {HY__OP_TANH, "v", NONE, BAD("is not computed per token")},
    {HY__OP_SIGMOID, "o", NONE, GOOD(HY__PER_OUT, N)},
    {HY__OP_SIGMOID, "i", NONE, BAD("is not computed per token")},
    {HY__OP_SILU, "x", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_SILU, "s", NONE, BAD("is not computed per token")},
    {HY__OP_RELU2, "x", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_RELU2, "t", NONE, BAD("is not computed per token")},
    {HY__OP_RWKV7_DECAY, "x", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_RWKV7_DECAY, "f", NONE, BAD("is not computed per token")},
    {HY__OP_RWKV7_KEY, "xyv", NONE, GOOD(HY__PER_T, N)},
    {HY__OP_RWKV7_KEY, "xyy", NONE, BAD("must be a vector of 8 elements")},
    {HY__OP_RWKV7_KEY, "xhv", NONE, BAD("channels")},
    {HY__OP_WKV7, "xyxyxyS", GROUP(4), GOOD(HY__PER_T, N)},
    {HY__OP_WKV7, "xyxyxhS", GROUP(4), BAD("channels")},
    {HY__OP_WKV7, "xyxyxyS", GROUP(8), BAD("must be a state of 64 elements")},
    {HY__OP_WKV7, "xyxyxyS", GROUP(3), BAD("groups of 3")},
    {HY__OP_WKV7, "ooooooS", GROUP(4), BAD("leaves out tokens")},
    {HY__OP_WKV7, "xyxyxys", GROUP(4), BAD("must be a state of 32 elements")},
    {HY__OP_RWKV7_BONUS, "xyxyv", GROUP(4), GOOD(HY__PER_T, N)},
    {HY__OP_RWKV7_BONUS, "xyxy4", GROUP(4), BAD("must be a vector of 8 elements")},
    {HY__OP_RWKV7_BONUS, "xyxhv", GROUP(4), BAD("channels")},
    {HY__OP_RWKV7_BONUS, "xyxyv", GROUP(5), BAD("groups of 5")},
    {HY__OP_RWKV7_BONUS, "oooov", GROUP(4), BAD("leaves out tokens")},
    {HY__OP_ROPE, "xf", ROPE(4, 4), GOOD(HY__PER_T, N)},
    {HY__OP_ROPE, "xf", ROPE(8, 4), GOOD(HY__PER_T, N)},
    {HY__OP_ROPE, "xf", ROPE(8, 8), BAD("cannot rotate 8 of 8 channels with 2 frequencies")},
    {HY__OP_ROPE, "xf", ROPE(2, 4), BAD("cannot rotate 4 of 2")},
    {HY__OP_ROPE, "xf", ROPE(4, 0), BAD("cannot rotate 0")},
    {HY__OP_ROPE, "xf", ROPE(8, 5), BAD("cannot rotate 5")},
    {HY__OP_ROPE, "xf", ROPE(3, 4), BAD("groups of 3")},
    {HY__OP_ROPE, "xv", ROPE(4, 4), BAD("cannot rotate")},
    {HY__OP_ROPE, "of", ROPE(4, 4), BAD("leaves out tokens")},
    {HY__OP_ATTENTION, "xhhKV", HEADS(4, 2), GOOD(HY__PER_T, N)},
    {HY__OP_ATTENTION, "xhhKV", HEADS(2, 1), GOOD(HY__PER_T, N)},
    {HY__OP_ATTENTION, "hhhKV", HEADS(2, 2), GOOD(HY__PER_T, N / 2)},
    {HY__OP_ATTENTION, "xhhKV", HEADS(0, 1), BAD("0 query heads")},
    {HY__OP_ATTENTION, "xhhKV", HEADS(4, 0), BAD("0 key heads")},
    {HY__OP_ATTENTION, "xhhKV", HEADS(4, 3), BAD("query heads")},
    {HY__OP_ATTENTION, "xhhKV", HEADS(3, 1), BAD("query heads")},
    {HY__OP_ATTENTION, "xhhKV", HEADS(4, 4), BAD("query heads")},
    {HY__OP_ATTENTION, "xxhKV", HEADS(2, 2), BAD("must be a state of 8 elements")},
    {HY__OP_ATTENTION, "xhhsV", HEADS(4, 2), BAD("must be a state of 4 elements")},
    {HY__OP_ATTENTION, "xhhKx", HEADS(4, 2), BAD("must be a state of 4 elements")},
    {HY__OP_ATTENTION, "ohhKV", HEADS(4, 2), BAD("leaves out tokens")},
    {HY__OP_ATTENTION, "xvhKV", HEADS(4, 2), BAD("is not computed per token")},
    {HY__OP_SELECT, "x", NONE, GOOD(HY__PER_OUT, N)},
    {HY__OP_SELECT, "o", NONE, BAD("leaves out tokens")},
    {HY__OP_SELECT, "v", NONE, BAD("is not computed per token")},
};

static void every_shape_rule(void **state)
{
    (void)state;
    unsigned accepted[HY__N_OPS] = {0}, refused[HY__N_OPS] = {0};
    bench b;
    set_up(&b);
    for (size_t i = 0; i < HY_COUNT(shape_cases); i++) {
        const shape_case *c = &shape_cases[i];
        hy__node node = {.op = c->op, .params = c->p};
        hy__shape shape = {0};
        char why[200] = "";
        assert_int_equal(strlen(c->in), hy__ops[c->op].n_inputs);
        for (size_t k = 0; c->in[k]; k++) {
            node.in[k] = value_of(&b, c->in[k]);
        }
        const bool ok = hy__op_shape(&b.g, &node, &shape, why, sizeof why);
        if (ok != !c->refusal || (c->refusal && !strstr(why, c->refusal))) {
            print_error("case %zu, %s \"%s\": \"%s\"\n", i, hy__ops[c->op].name, c->in, why);
        }
        assert_int_equal(ok, !c->refusal);
        if (ok) {
            assert_true(shape.cols == c->cols && shape.n == c->n);
            accepted[c->op]++;
        } else {
            assert_non_null(strstr(why, c->refusal));
            refused[c->op]++;
        }
    }
    for (int i = 0; i < HY__N_OPS; i++) {
        assert_true(accepted[i] > 0 && refused[i] > 0); /* a new operation needs its cases */
    }
    /* The builder's way to the same rules names result and operation. */
    hy_error err;
    assert_int_equal(op(&b, HY__OP_ADD, (const hy__id[]){b.x, b.narrow}, &err), 0);
    assert_fails(err.code, HY_E_FORMAT, &err, "result (add): ");
    hy__graph_finish(&b.g);
}

/* ---- the verifier, on a small whole graph: embed -> shift -> add -> select -> matmul */

typedef struct whole {
    bench b;
    hy__id shifted, sum, selected, logits;
} whole;

static void set_up_whole(whole *w)
{
    bench *b = &w->b;
    hy_error err;
    memset(w, 0, sizeof *w);
    hy__env_resolve(&b->env, NULL);
    hy__graph_init(&b->g, &b->env);
    b->tensor =
        (hy_gguf_tensor){.name = "weights", .n_dims = 2, .ne = {N, 100, 1, 1}, .n_elems = N * 100};
    b->table = weight(b, N, M);
    b->tokens = hy__graph_add_tokens(&b->g, &err);
    b->shift = hy__graph_add_state(&b->g, "shift", N, false, &err);
    b->x = op(b, HY__OP_EMBED, (const hy__id[]){b->table, b->tokens}, &err);
    w->shifted = op(b, HY__OP_TOKEN_SHIFT, (const hy__id[]){b->x, b->shift}, &err);
    w->sum = op(b, HY__OP_ADD, (const hy__id[]){b->x, w->shifted}, &err);
    w->selected = op(b, HY__OP_SELECT, (const hy__id[]){w->sum}, &err);
    w->logits = b->g.logits = op(b, HY__OP_MATMUL, (const hy__id[]){b->table, w->selected}, &err);
    assert_true(w->logits != 0);
    assert_ok(hy__graph_verify(&b->g, &err), &err);
}

static void swap_nodes(whole *w, uint32_t i, uint32_t k)
{
    const hy__node t = w->b.g.nodes[i];
    w->b.g.nodes[i] = w->b.g.nodes[k];
    w->b.g.nodes[k] = t;
}

static void used_before_computed(whole *w)
{
    swap_nodes(w, 1, 2);
}
static void computed_twice(whole *w)
{
    w->b.g.nodes[2].out = w->shifted;
}
static void used_by_itself(whole *w)
{
    w->b.g.nodes[2].in[1] = w->sum;
}
static void unused_result(whole *w)
{
    w->b.g.nodes[2].in[1] = w->b.x;
}
static void never_computed(whole *w)
{
    w->b.g.nodes[4].out = w->b.table;
}
static void lost_node(whole *w)
{
    w->b.g.n_nodes = 3;
}
static void wrong_length(whole *w)
{
    w->b.g.values[w->sum].n++;
}
static void wrong_columns(whole *w)
{
    w->b.g.values[w->sum].cols = HY__PER_OUT;
}
static void missing_input(whole *w)
{
    w->b.g.nodes[1].in[0] = 0;
}
static void input_out_of_range(whole *w)
{
    w->b.g.nodes[1].in[0] = w->b.g.n_values;
}
static void output_out_of_range(whole *w)
{
    w->b.g.nodes[1].out = w->b.g.n_values;
}
static void no_output(whole *w)
{
    w->b.g.nodes[1].out = 0;
}
static void no_logits(whole *w)
{
    w->b.g.logits = 0;
}
static void logits_out_of_range(whole *w)
{
    w->b.g.logits = w->b.g.n_values;
}
static void logits_per_token(whole *w)
{
    w->b.g.logits = w->sum;
}
static void logits_are_a_weight(whole *w)
{
    w->b.g.logits = w->b.table;
}
static void bad_op(whole *w)
{
    w->b.g.nodes[1].op = HY__N_OPS;
}
static void worse_op(whole *w)
{
    w->b.g.nodes[1].op = (hy__opcode)-1;
}
static void weight_too_long(whole *w)
{
    w->b.g.values[w->b.table].m = 101;
}
static void weight_behind_the_end(whole *w)
{
    w->b.g.values[w->b.table].first = N * 89;
}
static void weight_wraps_around(whole *w)
{
    w->b.g.values[w->b.table].first = UINT64_MAX - 7;
}
static void weight_off_its_rows(whole *w)
{
    w->b.g.values[w->b.table].first = 3;
}
static void weight_without_tensor(whole *w)
{
    w->b.g.values[w->b.table].tensor = NULL;
}
static void state_number_out_of_range(whole *w)
{
    w->b.g.values[w->b.shift].state = 1;
}
static void state_of_another_number(whole *w)
{
    w->b.g.states[0] = w->b.x;
}
static void bad_kind(whole *w)
{
    w->b.g.values[w->b.shift].kind = (hy__kind)17;
}
static void other_tokens(whole *w)
{
    w->b.g.tokens = w->b.x;
}

static void result_without_node(whole *w)
{
    assert_true(op(&w->b, HY__OP_TANH, (const hy__id[]){w->b.x}, NULL) != 0);
    w->b.g.n_nodes--;
}

static void state_touched_by_nobody(whole *w)
{
    assert_true(hy__graph_add_state(&w->b.g, "idle", N, false, NULL) != 0);
}

static void state_touched_twice(whole *w)
{
    const hy__id again = op(&w->b, HY__OP_TOKEN_SHIFT, (const hy__id[]){w->b.x, w->b.shift}, NULL);
    const hy__id sum = op(&w->b, HY__OP_ADD, (const hy__id[]){w->b.x, again}, NULL);
    const hy__id selected = op(&w->b, HY__OP_SELECT, (const hy__id[]){sum}, NULL);
    w->b.g.logits = op(&w->b, HY__OP_ADD, (const hy__id[]){selected, w->selected}, NULL);
    assert_true(w->b.g.logits != 0);
}

static void constant_without_numbers(whole *w)
{
    const hy__id id = hy__graph_add_const(&w->b.g, "hollow", 4, NULL);
    hy__free(&w->b.env, w->b.g.values[id].data);
    w->b.g.values[id].data = NULL;
}

static const struct {
    const char *name;
    void (*damage)(whole *w);
    const char *says;
} broken[] = {
    {"used before computed", used_before_computed, "is used before it is computed"},
    {"computed twice", computed_twice, "is computed twice"},
    {"used by itself", used_by_itself, "is used before it is computed"},
    {"unused result", unused_result, "is computed but never used"},
    {"never computed", never_computed, "has no result"},
    {"lost node", lost_node, "is computed but never used"},
    {"result without node", result_without_node, "result is never computed"},
    {"wrong length", wrong_length, "result has 9 channels, the rule says 8"},
    {"wrong columns", wrong_columns, "node 2 (add)"},
    {"missing input", missing_input, "node 1 (token_shift): input 0 is missing"},
    {"input out of range", input_out_of_range, "input 0 is missing"},
    {"output out of range", output_out_of_range, "node 1 (token_shift): has no result"},
    {"no output", no_output, "has no result"},
    {"no logits", no_logits, "the graph has no logits"},
    {"logits out of range", logits_out_of_range, "the graph has no logits"},
    {"logits per token", logits_per_token, "the graph has no logits"},
    {"logits are a weight", logits_are_a_weight, "the graph has no logits"},
    {"bad op", bad_op, "node 1: no such operation"},
    {"worse op", worse_op, "node 1: no such operation"},
    {"weight too long", weight_too_long, "result"},
    {"weight behind the end", weight_behind_the_end, "weights is not inside its tensor"},
    {"weight wraps around", weight_wraps_around, "weights is not inside its tensor"},
    {"weight off its rows", weight_off_its_rows, "weights does not consist of rows"},
    {"weight without tensor", weight_without_tensor, "weights is not inside its tensor"},
    {"state number out of range", state_number_out_of_range, "shift is not among the states"},
    {"state of another number", state_of_another_number, "shift is not among the states"},
    {"bad kind", bad_kind, "shift"},
    {"other tokens", other_tokens, "is a second value of tokens"},
    {"state touched by nobody", state_touched_by_nobody, "state idle is touched by 0 operations"},
    {"state touched twice", state_touched_twice, "state shift is touched by 2 operations"},
    {"constant without numbers", constant_without_numbers, "hollow has no numbers"},
};

static void the_verifier_refuses_every_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < HY_COUNT(broken); i++) {
        whole w;
        hy_error err = {0};
        set_up_whole(&w);
        broken[i].damage(&w);
        const hy_status status = hy__graph_verify(&w.b.g, &err);
        if (status == HY_OK || !strstr(err.text, broken[i].says)) {
            print_error("%s: %s\n", broken[i].name, err.text);
        }
        assert_fails(status, HY_E_INTERNAL, &err, broken[i].says);
        hy__graph_finish(&w.b.g);
    }
}

/* Each allocation of making and verifying a graph and its plan fails in turn. */
static void no_memory(void **state)
{
    (void)state;
    uint64_t calls = 1;
    for (uint64_t at = 0; at <= calls; at++) {
        failing_env env;
        hy_error err = {0};
        hy__graph g;
        hy__plan p = {0};
        const hy_gguf_tensor tensor = {.name = "weights",
                                       .type = HY_TYPE_F32,
                                       .n_dims = 2,
                                       .ne = {N, M, 1, 1},
                                       .n_elems = N * M};
        failing_env_init(&env, at);
        hy__graph_init(&g, &env.env);
        const hy__id table = hy__graph_add_weight(&g, &tensor, 0, N, M, &err);
        const hy__id tokens = table ? hy__graph_add_tokens(&g, &err) : 0;
        const hy__id shift = tokens ? hy__graph_add_state(&g, "shift", N, false, &err) : 0;
        const hy__id numbers = shift ? hy__graph_add_const(&g, "numbers", 3, &err) : 0;
        hy__id x = numbers ? hy__graph_add_op(&g, HY__OP_EMBED, 0, "x",
                                              (const hy__id[]){table, tokens}, NULL, &err)
                           : 0;
        x = x ? hy__graph_add_op(&g, HY__OP_TOKEN_SHIFT, 0, "x", (const hy__id[]){x, shift}, NULL,
                                 &err)
              : 0;
        for (int i = 0; x && i < 70; i++) { /* beyond the first capacity of the lists */
            x = hy__graph_add_op(&g, HY__OP_TANH, 0, "x", (const hy__id[]){x}, NULL, &err);
        }
        x = x ? hy__graph_add_op(&g, HY__OP_SELECT, 0, "x", (const hy__id[]){x}, NULL, &err) : 0;
        g.logits =
            x ? hy__graph_add_op(&g, HY__OP_MATMUL, 0, "x", (const hy__id[]){table, x}, NULL, &err)
              : 0;
        hy_status status = g.logits ? hy__graph_verify(&g, &err) : err.code;
        if (status == HY_OK) {
            status = hy__plan_make(&p, &g, NULL, &err);
        }
        if (at == 0) {
            assert_ok(status, &err);
            calls = env.calls;
        } else {
            assert_fails(status, HY_E_NOMEM, &err, "out of memory");
        }
        hy__plan_finish(&p);
        hy__graph_finish(&g);
        assert_int_equal(env.live_blocks, 0);
    }
    assert_true(calls > 10);
}

/* ---- plans: no two values that live at once share a float; checked pair by pair */

static bool in_arena(const hy__graph *g, hy__id id)
{
    return g->values[id].kind == HY__RESULT && id != g->logits;
}

static void check_plan(const hy_model *m)
{
    const hy__graph *g = &m->graph;
    const hy__plan *p = &m->plan;
    uint32_t *born = calloc(g->n_values, sizeof *born), *dies = calloc(g->n_values, sizeof *dies);
    assert_true(born && dies);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        born[g->nodes[i].out] = i;
        for (uint32_t k = 0; k < hy__ops[g->nodes[i].op].n_inputs; k++) {
            dies[g->nodes[i].in[k]] = i;
        }
    }
    uint64_t size[2] = {0, 0}, all = 0, recurrent = 0, per_position = 0;
    for (hy__id a = 1; a < g->n_values; a++) {
        const hy__value *va = &g->values[a];
        if (va->kind == HY__STATE) {
            uint64_t *sum = va->per_position ? &per_position : &recurrent;
            assert_int_equal(p->state_place[va->state], *sum);
            *sum += va->n;
        }
        if (!in_arena(g, a)) {
            continue;
        }
        const bool out = va->cols == HY__PER_OUT;
        size[out] = HY_MAX(size[out], p->place[a] + va->n);
        all += va->n;
        for (hy__id b = 1; b < a; b++) {
            const hy__value *vb = &g->values[b];
            if (!in_arena(g, b) || (vb->cols == HY__PER_OUT) != out) {
                continue;
            }
            /* An input and the result of the same operation live at once. */
            const bool meet = born[a] <= dies[b] && born[b] <= dies[a];
            const bool overlap =
                p->place[a] < p->place[b] + vb->n && p->place[b] < p->place[a] + va->n;
            if (meet && overlap) {
                fail_msg("%s and %s share memory", va->name, vb->name);
            }
        }
    }
    assert_int_equal(p->per_token, size[0]);
    assert_int_equal(p->per_output, size[1]);
    assert_int_equal(p->recurrent, recurrent);
    assert_int_equal(p->per_position, per_position);
    assert_true(p->per_token < all / 2); /* memory is used again */
    free(born);
    free(dies);
}

static void plans_of_tiny_models(void **state)
{
    (void)state;
    tiny_shape deep = tiny_usual;
    deep.n_layer = 9;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        hy_error err;
        hy_model *m;
        size_t len;
        void *bytes = tiny_file(arch, &deep, &len);
        assert_ok(hy_model_load_memory(bytes, len, NULL, NULL, &m, &err), &err);
        check_plan(m);
        /* Activations do not grow with the depth. */
        const uint64_t per_token = m->plan.per_token;
        hy_model_destroy(m);
        free(bytes);
        bytes = tiny_file(arch, &tiny_usual, &len);
        assert_ok(hy_model_load_memory(bytes, len, NULL, NULL, &m, &err), &err);
        assert_int_equal(m->plan.per_token, per_token);
        hy_model_destroy(m);
        free(bytes);
    }
}

static void plans_of_stored_models(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "models/halyard-tiny-rwkv7-Q4_K_M.gguf", "tests/golden/mini/llama-mini-Q3_K_M.gguf",
        "tests/golden/mini/qwen3-mini-Q4_K_M.gguf", "tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf"};
    for (size_t i = 0; i < HY_COUNT(paths); i++) {
        hy_error err;
        hy_model *m;
        const hy_model_opts opts = {.size = sizeof opts, .backend = "null"};
        assert_ok(hy_model_load(source_path(paths[i]), &opts, NULL, &m, &err), &err);
        check_plan(m);
        hy_model_destroy(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_rule),
        cmocka_unit_test(the_verifier_refuses_every_damage),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(plans_of_tiny_models),
        cmocka_unit_test(plans_of_stored_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
