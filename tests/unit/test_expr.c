/* test_expr.c: the expression trees of every phase are what the reference backend computes.
 *
 * An evaluator of its own, in double precision, with the formulas of graph/ops.inc and nothing of
 * the backend, computes each tree from the values that the backend traced for its leaves; results
 * have to be those that it traced for the operations. */
#include <math.h>

#include "support/traced.h"

/* ---- evaluating */

/* Channel c of column col; vectors have one column, and may be shorter: a gain per group. */
static double get(const numbers *x, uint32_t c, uint32_t col)
{
    return x->at[(x->cols == 1 ? 0 : (size_t)col * x->n) + c % x->n];
}

typedef double (*channel_fn)(double a, double b, double d);
static double f_lerp(double a, double b, double d)
{
    return a + (b - a) * d;
}
static double f_add(double a, double b, double d)
{
    return a + b + 0 * d;
}
static double f_mul(double a, double b, double d)
{
    return a * b + 0 * d;
}
static double f_tanh(double a, double b, double d)
{
    return tanh(a) + 0 * b * d;
}
static double f_sigmoid(double a, double b, double d)
{
    return 1 / (1 + exp(-a)) + 0 * b * d;
}
static double f_silu(double a, double b, double d)
{
    return a / (1 + exp(-a)) + 0 * b * d;
}
static double f_relu2(double a, double b, double d)
{
    return fmax(a, 0) * fmax(a, 0) + 0 * b * d;
}
static double f_decay(double a, double b, double d)
{
    return exp(-exp(-0.5) / (1 + exp(-a))) + 0 * b * d;
}
static double f_key(double k, double a, double k_a)
{
    return k * (1 + (a - 1) * k_a);
}

static channel_fn channel_function(hy__opcode op)
{
    switch (op) {
    case HY__OP_LERP:
        return f_lerp;
    case HY__OP_ADD:
        return f_add;
    case HY__OP_MUL:
        return f_mul;
    case HY__OP_TANH:
        return f_tanh;
    case HY__OP_SIGMOID:
        return f_sigmoid;
    case HY__OP_SILU:
        return f_silu;
    case HY__OP_RELU2:
        return f_relu2;
    case HY__OP_RWKV7_DECAY:
        return f_decay;
    case HY__OP_RWKV7_KEY:
        return f_key;
    default:
        return NULL;
    }
}

/* Over channels first to first + n - 1 of a column. */
static void group_op(const hy__node *node, const numbers *in, numbers *y, uint32_t first,
                     uint32_t n, uint32_t col)
{
    double sum = 0, squares = 0, var = 0, product = 0;
    for (uint32_t c = first; c < first + n; c++) {
        const double x = get(&in[0], c, col);
        sum += x;
        squares += x * x;
        if (node->op == HY__OP_RWKV7_BONUS) {
            product += get(&in[1], c, col) * get(&in[2], c, col) * get(&in[4], c, col);
        }
    }
    const double mean = sum / n, eps = (double)node->params.eps;
    for (uint32_t c = first; c < first + n; c++) {
        var += (get(&in[0], c, col) - mean) * (get(&in[0], c, col) - mean) / n;
    }
    for (uint32_t c = first; c < first + n; c++) {
        const double x = get(&in[0], c, col);
        double *out = &y->at[(size_t)col * y->n + c];
        switch (node->op) {
        case HY__OP_LAYER_NORM:
        case HY__OP_GROUP_NORM:
            *out = (x - mean) / sqrt(var + eps) * get(&in[1], c, 0) + get(&in[2], c, 0);
            break;
        case HY__OP_RMS_NORM:
            *out = x / sqrt(squares / n + eps) * get(&in[1], c, 0);
            break;
        case HY__OP_L2_NORM:
            *out = x / fmax(sqrt(squares), eps);
            break;
        default:
            assert_int_equal(node->op, HY__OP_RWKV7_BONUS);
            *out = x + product * get(&in[3], c, col);
        }
    }
}

static void rope(const hy__node *node, const numbers *in, numbers *y, uint32_t first, uint32_t col)
{
    const hy__params *p = &node->params;
    const uint32_t pairs = p->n_rot / 2;
    for (uint32_t i = 0; i < p->group; i++) {
        y->at[(size_t)col * y->n + first + i] = get(&in[0], first + i, col);
    }
    for (uint32_t i = 0; i < pairs; i++) {
        const uint32_t ia = first + (p->half_split ? i : 2 * i);
        const uint32_t ib = first + (p->half_split ? i + pairs : 2 * i + 1);
        const double angle = (double)(TRACED_BEFORE + col) * in[1].at[i], scale = (double)p->scale;
        const double a = get(&in[0], ia, col), b = get(&in[0], ib, col);
        y->at[(size_t)col * y->n + ia] = (a * cos(angle) - b * sin(angle)) * scale;
        y->at[(size_t)col * y->n + ib] = (a * sin(angle) + b * cos(angle)) * scale;
    }
}

static void evaluate_op(const hy__node *node, const numbers *in, numbers *y)
{
    const channel_fn f = channel_function(node->op);
    const uint32_t group =
        node->op == HY__OP_LAYER_NORM || node->params.group == 0 ? y->n : node->params.group;
    const uint32_t n_in = hy__ops[node->op].n_inputs;
    for (uint32_t col = 0; col < y->cols; col++) {
        for (uint32_t c = 0; f && c < y->n; c++) {
            y->at[(size_t)col * y->n + c] =
                f(get(&in[0], c, col), n_in > 1 ? get(&in[1], c, col) : 0,
                  n_in > 2 ? get(&in[2], c, col) : 0);
        }
        for (uint32_t first = 0; !f && first < y->n; first += group) {
            if (node->op == HY__OP_TOKEN_SHIFT) {
                for (uint32_t c = 0; c < y->n; c++) {
                    y->at[(size_t)col * y->n + c] =
                        col == 0 ? in[1].at[c] : get(&in[0], c, col - 1);
                }
            } else if (node->op == HY__OP_SELECT) {
                for (uint32_t c = 0; c < y->n; c++) {
                    y->at[(size_t)col * y->n + c] =
                        get(&in[0], c, col + TRACED_TOKENS - TRACED_OUTPUTS);
                }
            } else if (node->op == HY__OP_ROPE) {
                rope(node, in, y, first, col);
            } else {
                group_op(node, in, y, first, group, col);
            }
        }
    }
}

/* The largest difference, relative to the largest number of the result. */
static double difference(const numbers *x, const float *want)
{
    double most = 0, off = 0;
    for (size_t i = 0; i < (size_t)x->n * x->cols; i++) {
        most = fmax(most, fabs((double)want[i]));
        off = fmax(off, fabs(x->at[i] - (double)want[i]));
    }
    return off / (most + 1e-30);
}

/* What a token shift keeps is the last column of its input. */
static void check_state(const traced *t, const hy__expr *e, const numbers *x)
{
    const hy__value *v = &t->l.graph.values[t->l.graph.nodes[e->node].in[1]];
    for (uint32_t c = 0; c < v->n; c++) {
        const double kept = (double)t->state_new[t->plan.state_place[v->state] + c];
        assert_true(fabs(kept - get(x, c, TRACED_TOKENS - 1)) < 1e-5 * (1 + fabs(kept)));
    }
}

/* Returns the largest difference of a result; counts the operations. */
static double check_tree(const traced *t, const hy__tree *tree, uint32_t *n_ops)
{
    numbers *all = calloc(tree->n + 1, sizeof *all);
    double worst = 0;
    for (uint32_t i = 0; i < tree->n; i++) {
        const hy__expr *e = &tree->exprs[i];
        if (e->kind != HY__EXPR_OP) {
            all[i] = traced_leaf(t, e);
            continue;
        }
        const hy__node *node = &t->l.graph.nodes[e->node];
        numbers in[HY__MAX_INPUTS];
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
            in[k] = all[e->in[k]];
        }
        all[i] = traced_zeros(&t->l.graph.values[e->value]);
        evaluate_op(node, in, &all[i]);
        const double off = difference(&all[i], t->results[e->node]);
        if (!(off < 2e-6)) {
            fail_msg("%s is off by %g", t->l.graph.values[e->value].name, off);
        }
        if (node->op == HY__OP_TOKEN_SHIFT) {
            check_state(t, e, &in[0]);
        }
        worst = fmax(worst, off);
        (*n_ops)++;
    }
    for (uint32_t i = 0; i < tree->n; i++) {
        free(all[i].at);
    }
    free(all);
    return worst;
}

static void test_evaluate(void **state)
{
    (void)state;
    static const uint32_t masks[] = {HY__ALL_RULES, HY__ALL_RULES & ~(1u << HY__RULE_NORM), 0};
    bool seen[HY__N_OPS] = {false};
    for (size_t m = 0; m < FUSED_N_FILES; m++) {
        for (size_t k = 0; k < HY_COUNT(masks); k++) {
            traced t;
            double worst = 0;
            uint32_t n_ops = 0, n_anchors = 0;
            traced_run(&t, fused_files[m].path, masks[k]);
            const hy__graph *g = &t.l.graph;
            for (uint32_t i = 0; i < t.l.fusion.n_phases; i++) {
                const hy__phase_exprs *x = &t.l.exprs.phases[i];
                worst = fmax(worst, check_tree(&t, &x->prologue, &n_ops));
                worst = fmax(worst, check_tree(&t, &x->epilogue, &n_ops));
            }
            for (uint32_t i = 0; i < g->n_nodes; i++) {
                seen[g->nodes[i].op] = true;
                n_anchors += g->nodes[i].op == HY__OP_MATMUL || g->nodes[i].op == HY__OP_EMBED ||
                             g->nodes[i].op == HY__OP_WKV7 || g->nodes[i].op == HY__OP_ATTENTION;
            }
            assert_int_equal(n_ops + n_anchors, g->n_nodes);
            print_message("%s, rules %02x: %u operations in trees, off by at most %.2g\n",
                          fused_files[m].path, masks[k], n_ops, worst);
            traced_finish(&t);
        }
    }
    for (uint32_t op = 0; op < HY__N_OPS; op++) {
        if (!seen[op]) {
            fail_msg("no model has %s", hy__ops[op].name);
        }
    }
}

/* ---- what is written of a phase */

static const hy__value *value_of(const fused *l, hy__id id)
{
    return &l->graph.values[id];
}

/* The phase that computes a value. */
static uint32_t phase_with(const fused *l, const char *name)
{
    uint32_t node = 0, i = 0;
    while (strcmp(value_of(l, l->graph.nodes[node].out)->name, name) != 0) {
        node++;
    }
    while (i + 1 < l->fusion.n_phases && l->fusion.phases[i + 1].first <= node) {
        i++;
    }
    return i;
}

static void expect_text(const fused *l, const char *value, bool epilogue, const char *want)
{
    const uint32_t i = phase_with(l, value);
    const hy__tree *t = epilogue ? &l->exprs.phases[i].epilogue : &l->exprs.phases[i].prologue;
    uint32_t k = 0;
    hy_error err;
    hy__buf text = {0};
    while (strcmp(value_of(l, t->exprs[k].value)->name, value) != 0) {
        k++;
    }
    assert_true(hy__expr_written(t, k));
    assert_ok(hy__expr_text(&l->graph, &l->fusion.phases[i], t, k, &text, &err), &err);
    assert_string_equal(text.data, want);
    hy__buf_finish(&l->graph.env, &text);
}

static void expect_list(const fused *l, const hy__ids *list, const char *want)
{
    char text[500] = "";
    for (uint32_t i = 0; i < list->n; i++) {
        const size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "", value_of(l, list->ids[i])->name);
    }
    assert_string_equal(text, want);
}

static void test_text(void **state)
{
    (void)state;
    fused l;
    fused_load(&l, "tests/golden/mini/qwen3-mini-Q4_K_M.gguf", HY__ALL_RULES);
    expect_text(&l, "blk.1.q_rotated", false,
                "(rope:128 (rms_norm:128 attn_q attn_q_norm.weight) rope_frequencies)");
    expect_text(&l, "blk.1.x_ffn", true, "(add x_attention anchor0)");
    expect_text(&l, "blk.1.ffn_gated", true, "(mul (silu anchor0) anchor1)");
    const hy__phase_exprs *x = &l.exprs.phases[phase_with(&l, "blk.1.attention")];
    expect_list(&l, &x->inputs, "blk.1.attn_q blk.1.attn_k blk.1.attn_v");
    expect_list(&l, &x->outputs, "blk.1.attention");
    expect_list(&l, &x->weights, "blk.1.attn_q_norm.weight blk.1.attn_k_norm.weight");
    expect_list(&l, &x->states, "blk.1.k_cache blk.1.v_cache");
    expect_list(&l, &l.exprs.phases[0].inputs, "tokens");
    expect_list(&l, &l.exprs.phases[l.fusion.n_phases - 1].outputs, "output");
    fused_unload(&l);

    fused_load(&l, fused_files[0].path, HY__ALL_RULES);
    expect_text(&l, "blk.1.attn_norm", false,
                "(layer_norm blk.0.x_channel_mix attn_norm.weight attn_norm.bias)");
    expect_text(&l, "blk.1.xk", false,
                "(lerp attn_norm time_mix_shift time_mix_lerp_fused.weight+1024)");
    expect_text(&l, "blk.1.v", true,
                "(lerp time_mix_value blk.0.time_mix_value (sigmoid (add anchor0 "
                "time_mix_v0.weight)))");
    expect_text(&l, "blk.1.gated", true,
                "(mul (rwkv7_bonus:64 (group_norm:64 anchor0 time_mix_ln.weight time_mix_ln.bias) "
                "time_mix_receptance k v time_mix_r_k.weight) time_mix_g2)");
    x = &l.exprs.phases[phase_with(&l, "blk.1.channel_mix_key")];
    expect_list(&l, &x->inputs, "blk.1.x_time_mix");
    expect_list(&l, &x->outputs, "blk.1.channel_mix_k");
    expect_list(&l, &x->states, "blk.1.channel_shift");
    fused_unload(&l);
}

/* ---- the verifier on damaged trees */

static void damaged(void (*damage)(fused *l, hy__phase_exprs *x), const char *sentence)
{
    fused l;
    hy_error err;
    fused_load(&l, fused_files[0].path, HY__ALL_RULES);
    damage(&l, &l.exprs.phases[phase_with(&l, "blk.1.time_mix_key")]);
    assert_fails(hy__exprs_verify(&l.exprs, &l.fusion, &l.graph, &err), HY_E_INTERNAL, &err,
                 sentence);
    fused_unload(&l);
}

static hy__expr *find_op(fused *l, hy__tree *t, hy__opcode op)
{
    hy__expr *e = t->exprs;
    while (e->kind != HY__EXPR_OP || l->graph.nodes[e->node].op != op) {
        e++;
    }
    return e;
}

static void other_input(fused *l, hy__phase_exprs *x)
{
    hy__expr *e = find_op(l, &x->epilogue, HY__OP_MUL);
    x->epilogue.exprs[e->in[0]].uses--;
    x->epilogue.exprs[0].uses++;
    e->in[0] = 0;
}

static void input_behind(fused *l, hy__phase_exprs *x)
{
    hy__expr *e = find_op(l, &x->epilogue, HY__OP_MUL);
    x->epilogue.exprs[e->in[0]].uses--;
    e->in[0] = x->epilogue.n - 1;
}

static void no_root(fused *l, hy__phase_exprs *x)
{
    find_op(l, &x->epilogue, HY__OP_TANH)->root = false;
}

static void one_more_root(fused *l, hy__phase_exprs *x)
{
    find_op(l, &x->prologue, HY__OP_LAYER_NORM)->root = true;
}

static void missing_op(fused *l, hy__phase_exprs *x)
{
    /* the last one, with its vector */
    x->epilogue.exprs[find_op(l, &x->epilogue, HY__OP_MUL)->in[0]].uses--;
    x->epilogue.n -= 2;
    x->outputs.n--;
}

static void foreign_op(fused *l, hy__phase_exprs *x)
{
    find_op(l, &x->epilogue, HY__OP_TANH)->node++;
}

static void wrong_reach(fused *l, hy__phase_exprs *x)
{
    find_op(l, &x->prologue, HY__OP_LAYER_NORM)->reach = HY__REACH_CHANNEL;
}

static void own_leaf(fused *l, hy__phase_exprs *x)
{
    /* what an anchor computes, as if an earlier phase had */
    (void)l;
    x->epilogue.exprs[1].kind = HY__EXPR_COLUMN;
}

static void fewer_uses(fused *l, hy__phase_exprs *x)
{
    find_op(l, &x->prologue, HY__OP_LAYER_NORM)->uses--;
}

static void lost_input(fused *l, hy__phase_exprs *x)
{
    (void)l;
    x->inputs.n--;
}

static void lost_output(fused *l, hy__phase_exprs *x)
{
    (void)l;
    x->outputs.n--;
}

static void other_weight(fused *l, hy__phase_exprs *x)
{
    x->weights.ids[0] = l->exprs.phases[0].weights.ids[0];
}

static void state_twice(fused *l, hy__phase_exprs *x)
{
    (void)l;
    x->states.ids[x->states.n++] = x->states.ids[0];
}

static void test_damaged(void **state)
{
    (void)state;
    damaged(other_input, "has an input that the graph does not know");
    damaged(input_behind, "has an input that the graph does not know");
    damaged(no_root, "is read outside and no root");
    damaged(one_more_root, "is no root");
    damaged(missing_op, "is in no tree");
    damaged(foreign_op, "is not where its operation runs");
    damaged(wrong_reach, "has a wrong reach");
    damaged(own_leaf, "is a leaf that does not exist before its tree");
    damaged(fewer_uses, "is not used as often as it says");
    damaged(lost_input, "is read and not listed");
    damaged(lost_output, "leaves the phase and is not listed");
    damaged(other_weight, "is read and not listed");
    damaged(state_twice, "is listed twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
