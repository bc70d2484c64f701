/* test_render.c: the kernels of every phase of every architecture, fused and not: each operation
 * can be rendered, each result is written, and few enough buffers are bound; and the kernels of the
 * WebGPU backend on GPUs that are only described.  That the text is WGSL is for a compiler to say:
 * tools/check-wgsl.sh. */
#include "render/render.h"

#include "halyard/unstable.h"
#include "support/fused.h"

enum { MOST_BUFFERS = 8 }; /* storage buffers of a stage that every WebGPU device has */

static uint32_t count(const char *text, const char *part)
{
    uint32_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        n++;
    }
    return n;
}

/* The kernel, or NULL if there is nothing to compute; free with hy__free of the graph's env. */
static char *render(const fused *l, uint32_t phase, bool epilogue)
{
    hy_error err;
    hy__buf text = {0};
    assert_ok(hy__render(&l->graph, &l->fusion.phases[phase], &l->exprs.phases[phase], epilogue,
                         &text, &err),
              &err);
    return text.data;
}

static void check_kernel(const fused *l, uint32_t phase, bool epilogue, bool seen[HY__N_OPS])
{
    const hy__phase_exprs *x = &l->exprs.phases[phase];
    const hy__tree *t = epilogue ? &x->epilogue : &x->prologue;
    uint32_t n_ops = 0, n_roots = 0, n_kept = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP) {
            const hy__opcode op = l->graph.nodes[t->exprs[i].node].op;
            seen[op] = true;
            n_kept += op == HY__OP_TOKEN_SHIFT;
            n_roots += t->exprs[i].root;
            n_ops++;
        }
    }
    char *text = render(l, phase, epilogue);
    assert_int_equal(text != NULL, n_ops > 0);
    if (text) {
        assert_int_equal(count(text, "        arena["), n_roots);
        assert_int_equal(count(text, " state_new["), n_kept);
        assert_in_range(count(text, "var<storage"), 1, MOST_BUFFERS);
        assert_true(count(text, "@compute") >= 1);
        assert_int_equal(count(text, "$"), 0); /* letters of formulas that nobody replaced */
        assert_int_equal(count(text, "{"), count(text, "}"));
    }
    hy__free(&l->graph.env, text);
}

static void test_every_phase(void **state)
{
    (void)state;
    bool seen[HY__N_OPS] = {false};
    for (size_t m = 0; m < FUSED_N_FILES; m++) {
        for (uint32_t r = 0; r < HY__N_RULES + 2; r++) {
            const uint32_t mask = r == HY__N_RULES       ? 0
                                  : r == HY__N_RULES + 1 ? HY__ALL_RULES
                                                         : HY__ALL_RULES & ~(1u << r);
            fused l;
            fused_load(&l, fused_files[m].path, mask);
            for (uint32_t i = 0; i < l.fusion.n_phases; i++) {
                check_kernel(&l, i, false, seen);
                check_kernel(&l, i, true, seen);
            }
            fused_unload(&l);
        }
    }
    for (uint32_t op = 0; op < HY__N_OPS; op++) {
        const bool anchor = op == HY__OP_EMBED || op == HY__OP_MATMUL || op == HY__OP_WKV7 ||
                            op == HY__OP_ATTENTION;
        if (seen[op] == anchor) {
            fail_msg("%s is rendered by %s", hy__ops[op].name, anchor ? "mistake" : "no test");
        }
    }
}

/* A graph of one phase whose prologue is made by hand: what no architecture has. */
typedef struct by_hand {
    hy__graph g;
    hy__fusion f;
    hy__exprs x;
    hy_gguf_tensor table, matrix, gain;
    hy__id embedded;
} by_hand;

static void hand_begin(by_hand *h, uint32_t n)
{
    hy_env env;
    hy_error err;
    memset(h, 0, sizeof *h);
    hy__env_resolve(&env, NULL);
    hy__graph_init(&h->g, &env);
    h->table = (hy_gguf_tensor){
        .name = "table", .type = HY_TYPE_F32, .n_elems = 4 * (uint64_t)n, .ne = {n, 4, 1, 1}};
    h->matrix = h->table;
    h->matrix.name = "matrix";
    h->gain =
        (hy_gguf_tensor){.name = "gain", .type = HY_TYPE_F32, .n_elems = n, .ne = {n, 1, 1, 1}};
    const hy__id in[] = {hy__graph_add_weight(&h->g, &h->table, 0, n, 4, &err),
                         hy__graph_add_tokens(&h->g, &err)};
    h->embedded = hy__graph_add_op(&h->g, HY__OP_EMBED, HY__NO_LAYER, "embedded", in, NULL, &err);
    assert_true(h->embedded != 0);
}

static hy__id hand_op(by_hand *h, hy__opcode op, const char *name, uint32_t group, hy__id a,
                      hy__id b)
{
    hy_error err;
    const hy__id in[] = {a, b};
    const hy__params params = {.group = group, .eps = 1e-5f};
    const hy__id id = hy__graph_add_op(&h->g, op, HY__NO_LAYER, name, in, &params, &err);
    assert_true(id != 0);
    return id;
}

static hy__id hand_gain(by_hand *h, uint32_t n)
{
    hy_error err;
    return hy__graph_add_weight(&h->g, &h->gain, 0, n, 1, &err);
}

/* All behind the embedding is the prologue of the output's matrix. */
static hy_status hand_end(by_hand *h, hy__id x, hy__buf *text, hy_error *err)
{
    const uint32_t n = h->g.values[x].n;
    const hy__id matrix = hy__graph_add_weight(&h->g, &h->matrix, 0, n, 4, err);
    h->g.logits = hand_op(h, HY__OP_MATMUL, "logits", 0, matrix, x);
    assert_ok(hy__graph_verify(&h->g, err), err);
    hy__phase phases[2] = {{HY__PHASE_EMBED, HY__NO_LAYER, HY__PER_T, 0, 0, 1, 0},
                           {HY__PHASE_MATMUL, HY__NO_LAYER, HY__PER_OUT, 1, 0, 1, 0}};
    phases[1].n_prologue = h->g.n_nodes - 2;
    h->f = (hy__fusion){.env = h->g.env, .phases = phases, .n_phases = 2};
    assert_ok(hy__exprs_make(&h->x, &h->f, &h->g, err), err);
    assert_ok(hy__exprs_verify(&h->x, &h->f, &h->g, err), err);
    const hy_status status =
        hy__render(&h->g, &phases[1], &h->x.phases[1], false, text, err);
    hy__exprs_finish(&h->x);
    hy__graph_finish(&h->g);
    return status;
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_error("%s\n", text);
        fail_msg("the kernel does not contain \"%s\"", part);
    }
}

/* Sums over groups of different sizes share a workgroup that takes the whole column; a selection
 * behind them reads them at the columns of the tokens. */
static void test_two_groups(void **state)
{
    (void)state;
    by_hand h;
    hy_error err;
    hy__buf text = {0};
    hand_begin(&h, 64);
    hy__id x = hand_op(&h, HY__OP_L2_NORM, "four", 4, h.embedded, 0);
    x = hand_op(&h, HY__OP_RMS_NORM, "sixteen", 16, x, hand_gain(&h, 16));
    x = hand_op(&h, HY__OP_SELECT, "selected", 0, x, 0);
    const hy_env env = h.g.env;
    assert_ok(hand_end(&h, x, &text, &err), &err);
    expect(text.data, "let first = id.x * 64u;");
    expect(text.data, "stat_p1: array<vec2<f32>, 16>");
    expect(text.data, "let m = stat_p1[0u * 16u + c % 64u / 4u];");
    expect(text.data, "array<vec2<f32>, 4>");
    expect(text.data, " + c % 16u]");
    expect(text.data, "let u = t + step.n_tokens - step.n_outputs;");
    expect(text.data, "let col = u - min(u, s);");
    hy__buf_finish(&env, &text);
}

static void test_refused(void **state)
{
    (void)state;
    by_hand h;
    hy_error err;
    hy__buf text = {0};
    hand_begin(&h, 64);
    const hy__id state_id = hy__graph_add_state(&h.g, "kept", 64, false, &err);
    hy__id x = hand_op(&h, HY__OP_TOKEN_SHIFT, "shifted", 0, h.embedded, state_id);
    x = hand_op(&h, HY__OP_SELECT, "selected", 0, x, 0);
    assert_fails(hand_end(&h, x, &text, &err), HY_E_UNSUPPORTED, &err, "a state is kept");
}

/* What is seen of the kernels of the WebGPU backend on an adapter. */
typedef struct seen {
    uint32_t n, decode, subgroups, dot, enables, most_buffers;
    uint64_t bytes;
} seen;

static void see(void *user, const hy_webgpu_kernel *k)
{
    seen *const s = user;
    const bool shuffles = strstr(k->text, "subgroup");
    s->n++;
    s->decode += strcmp(k->program, "decode") == 0;
    s->subgroups += shuffles;
    s->dot += strstr(k->text, "dot4I8Packed(") != NULL;
    s->enables += *k->dawn_head != '\0';
    s->bytes += strlen(k->text);
    s->most_buffers = HY_MAX(s->most_buffers, count(k->text, "var<storage"));
    if (strstr(k->text, "subgroupMatrix")) {
        assert_non_null(strstr(k->dawn_head, "enable f16;\nenable subgroups;\nenable chromium"));
    } else {
        assert_string_equal(k->wgpu_head, "");
        assert_string_equal(k->dawn_head, shuffles ? "enable subgroups;\n" : "");
    }
    assert_true(k->number >= 1);
    assert_true(count(k->text, "@compute") >= 1);
}

static seen look_at(const hy_model *m, const char *adapter, const char *mask)
{
    seen s = {0};
    hy_error err;
    assert_ok(hy_model_webgpu_kernels(m, adapter, mask, see, &s, &err), &err);
    assert_in_range(s.decode, 1, s.n - 1);
    return s;
}

/* Adapters that are only described: what they lack is not in any kernel. */
static void test_adapters(void **state)
{
    (void)state;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "null"};
    for (size_t i = 0; i < FUSED_N_FILES; i++) {
        hy_model *m;
        hy_error err;
        assert_ok(hy_model_load(source_path(fused_files[i].path), &opts, NULL, &m, &err), &err);
        const seen floor = look_at(m, "floor", NULL);
        assert_int_equal(floor.subgroups + floor.dot + floor.enables, 0);
        assert_in_range(floor.most_buffers, 1, MOST_BUFFERS);
        const char *name;
        for (size_t k = 0; (name = hy_webgpu_adapter_at(k)); k++) {
            look_at(m, name, NULL);
            const seen masked = look_at(m, name, "no-dot,no-subgroups");
            assert_int_equal(masked.subgroups + masked.dot, 0);
        }
        assert_true(look_at(m, "subgroups-32", NULL).subgroups > 0);
        assert_int_equal(look_at(m, "subgroups-32", "floor").bytes, floor.bytes);
        assert_fails(hy_model_webgpu_kernels(m, "best", NULL, see, &(seen){0}, &err),
                     HY_E_NOT_FOUND, &err, "these are: floor, plain, ");
        assert_fails(hy_model_webgpu_kernels(m, "floor", "no-such", see, &(seen){0}, &err),
                     HY_E_NOT_FOUND, &err, "no-dot");
        hy_model_destroy(m);
    }
}

/* Layers that compute alike have the same kernels: compiling is what loading takes longest for. */
static void test_layers(void **state)
{
    (void)state;
    enum { MOST = 15 /* for eight layers; two of five phases come with two types of weights */ };
    const hy_model_opts opts = {.size = sizeof opts, .backend = "null"};
    hy_model *m;
    hy_error err;
    assert_ok(hy_model_load(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), &opts, NULL, &m, &err),
              &err);
    assert_in_range(look_at(m, "subgroups-32", NULL).decode, 1, MOST);
    hy_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_every_phase),
        cmocka_unit_test(test_two_groups),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
