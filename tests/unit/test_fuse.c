/* test_fuse.c: the fusion compiler on every architecture: with all rules, with none, and with each
 * one off in turn, every node is in one phase, the order can run, and the reference backend
 * computes the same bits. */
#include "backend/backend.h"
#include "plan/plan.h"
#include "support/fused.h"

/* Logits after three tokens, by the reference backend in the order of the phases; free() them. */
static float *logits_of(const fused *l)
{
    static const hy_token ids[] = {34, 105, 110};
    hy_env env;
    hy_error err;
    hy__plan plan;
    const hy__backend_model_opts none = {0};
    void *model, *session;
    atomic_bool cancel;
    atomic_init(&cancel, false);
    hy__env_resolve(&env, NULL);
    const uint32_t vocab = l->graph.values[l->graph.logits].n;
    float *logits = calloc(3 * (size_t)vocab, sizeof *logits);
    assert_ok(hy__plan_make(&plan, &l->graph, &l->fusion, &err), &err);
    assert_ok(
        hy__backend_ref.model_create(&l->graph, &l->fusion, NULL, &plan, &none, &env, &model, &err),
        &err);
    const hy__backend_opts opts = {.n_ctx = 16, .n_batch = 3, .n_threads = 1, .all_logits = true};
    assert_ok(hy__backend_ref.session_create(model, &opts, &session, &err), &err);
    const hy__step_args args = {
        .tokens = ids, .n = 3, .n_out = 3, .logits = logits, .cancel = &cancel};
    assert_ok(hy__backend_ref.step(session, &args, &err), &err);
    hy__backend_ref.session_destroy(session);
    hy__backend_ref.model_destroy(model);
    hy__plan_finish(&plan);
    return logits;
}

static void test_every_rule(void **state)
{
    (void)state;
    for (size_t m = 0; m < FUSED_N_FILES; m++) {
        fused all;
        fused_load(&all, fused_files[m].path, HY__ALL_RULES);
        const uint32_t per_layer = hy__phases_per_layer(&all.fusion, all.graph.n_layer);
        print_message("%s: %u phases per layer, %u outside\n", fused_files[m].path, per_layer,
                      hy__phases_outside(&all.fusion));
        assert_in_range(per_layer, 1, fused_files[m].per_layer);
        assert_in_range(hy__phases_outside(&all.fusion), 1, fused_files[m].outside);
        float *want = logits_of(&all);
        uint32_t masks[HY__N_RULES + 1] = {0};
        for (uint32_t r = 0; r < HY__N_RULES; r++) {
            masks[r] = HY__ALL_RULES & ~(1u << r);
        }
        for (size_t k = 0; k < HY_COUNT(masks); k++) {
            fused l;
            fused_load(&l, fused_files[m].path, masks[k]);
            assert_true(l.fusion.n_phases >= all.fusion.n_phases);
            float *got = logits_of(&l);
            assert_memory_equal(got, want,
                                3 * (size_t)l.graph.values[l.graph.logits].n * sizeof *got);
            if (masks[k] == 0) {
                assert_int_equal(l.fusion.n_phases, l.graph.n_nodes);
            }
            free(got);
            fused_unload(&l);
        }
        free(want);
        fused_unload(&all);
    }
}

/* Every rule joins something somewhere: one that does not is dead. */
static void test_every_rule_joins(void **state)
{
    (void)state;
    bool seen[HY__N_RULES] = {false};
    for (size_t m = 0; m < FUSED_N_FILES; m++) {
        fused l;
        fused_load(&l, fused_files[m].path, HY__ALL_RULES);
        for (uint32_t i = 0; i < l.graph.n_nodes; i++) {
            const hy__reason *r = &l.fusion.reasons[i];
            if (r->rule < HY__N_RULES && r->joined) {
                seen[r->rule] = true;
            }
            assert_true(r->joined || r->why);
        }
        fused_unload(&l);
    }
    for (uint32_t r = 0; r < HY__N_RULES; r++) {
        if (!seen[r]) {
            fail_msg("rule %s joins nothing", hy__rules[r].name);
        }
    }
}

/* ---- phases that a backend declines */

static bool takes_none(const hy__graph *g, const hy__phase *p)
{
    (void)g;
    (void)p;
    return false;
}

/* Declines what begins with the norm of a whole column. */
static bool takes_no_norms(const hy__graph *g, const hy__phase *p)
{
    const hy__opcode op = g->nodes[p->first].op;
    return op != HY__OP_LAYER_NORM && op != HY__OP_RMS_NORM;
}

static hy__phase *phase_of_node(const hy__fusion *f, uint32_t node)
{
    uint32_t i = 0;
    while (i + 1 < f->n_phases && f->phases[i + 1].first <= node) {
        i++;
    }
    return &f->phases[i];
}

static void test_declined(void **state)
{
    (void)state;
    for (size_t m = 0; m < FUSED_N_FILES; m++) {
        fused all, none, some, off;
        hy_error err;
        fused_load(&all, fused_files[m].path, HY__ALL_RULES);
        fused_load(&none, fused_files[m].path, HY__ALL_RULES);
        fused_load(&some, fused_files[m].path, HY__ALL_RULES);
        fused_load(&off, fused_files[m].path, 0);
        assert_ok(hy__fusion_decline(&none.fusion, &none.graph, takes_none, &err), &err);
        assert_ok(hy__fusion_decline(&some.fusion, &some.graph, takes_no_norms, &err), &err);
        assert_ok(hy__fusion_verify(&none.fusion, &none.graph, &err), &err);
        assert_ok(hy__fusion_verify(&some.fusion, &some.graph, &err), &err);
        /* Nothing taken is every rule off: the same phases, in another order. */
        assert_int_equal(none.fusion.n_phases, off.fusion.n_phases);
        for (uint32_t i = 0; i < none.graph.n_nodes; i++) {
            uint32_t k = 0;
            while (none.graph.nodes[i].out != off.graph.nodes[k].out) {
                k++;
            }
            const hy__phase *a = &none.fusion.phases[i], *b = &off.fusion.phases[k];
            assert_int_equal(a->kind, b->kind);
            assert_int_equal(a->cols, b->cols);
            assert_int_equal(a->layer, b->layer);
            if (none.fusion.reasons[i].joined) {
                assert_int_equal(none.fusion.reasons[i].rule, HY__N_RULES);
            }
        }
        /* A phase is dissolved or as it was. */
        assert_in_range(some.fusion.n_phases, all.fusion.n_phases + 1, none.fusion.n_phases - 1);
        for (uint32_t i = 0; i < all.fusion.n_phases; i++) {
            const hy__phase *p = &all.fusion.phases[i];
            const hy__phase *q = phase_of_node(&some.fusion, p->first);
            if (takes_no_norms(&all.graph, p)) {
                assert_memory_equal(p, q, sizeof *p);
            } else {
                assert_int_equal(q->n_prologue + q->n_anchor + q->n_epilogue, 1);
                assert_string_equal(some.fusion.reasons[p->first].why,
                                    "the backend declines the phase");
            }
        }
        float *want = logits_of(&all), *got_none = logits_of(&none), *got_some = logits_of(&some);
        const size_t bytes = 3 * (size_t)all.graph.values[all.graph.logits].n * sizeof *want;
        assert_memory_equal(got_none, want, bytes);
        assert_memory_equal(got_some, want, bytes);
        free(want);
        free(got_none);
        free(got_some);
        fused_unload(&all);
        fused_unload(&none);
        fused_unload(&some);
        fused_unload(&off);
    }
}

static void test_names(void **state)
{
    (void)state;
    hy_error err;
    uint32_t rules = 0;
    assert_ok(hy__rules_without(NULL, &rules, &err), &err);
    assert_int_equal(rules, HY__ALL_RULES);
    assert_ok(hy__rules_without("all", &rules, &err), &err);
    assert_int_equal(rules, 0);
    assert_ok(hy__rules_without("head_after,norm", &rules, &err), &err);
    assert_int_equal(rules, HY__ALL_RULES & ~(1u << HY__RULE_HEAD_AFTER | 1u << HY__RULE_NORM));
    assert_fails(hy__rules_without("norm,head", &rules, &err), HY_E_NOT_FOUND, &err,
                 "there is no fusion \"head\"; these are: all, group, norm, shift");
    assert_fails(hy__rules_without("norm,,shift", &rules, &err), HY_E_NOT_FOUND, &err,
                 "no fusion \"\"");
}

/* ---- the verifier on damaged fusions */

static void damaged(void (*damage)(hy__fusion *f, hy__graph *g), const char *sentence)
{
    fused l;
    hy_error err;
    fused_load(&l, fused_files[0].path, HY__ALL_RULES);
    damage(&l.fusion, &l.graph);
    assert_fails(hy__fusion_verify(&l.fusion, &l.graph, &err), HY_E_INTERNAL, &err, sentence);
    fused_unload(&l);
}

static void drop_last_phase(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->n_phases--;
}

static void twice(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->order[1] = f->order[0];
}

static void gap(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->phases[1].first++;
}

static void no_anchor(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->phases[1].n_epilogue += f->phases[1].n_anchor;
    f->phases[1].n_anchor = 0;
}

/* The first phase of a layer ends one operation earlier, the next one begins with it. */
static void late_epilogue(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->phases[1].n_epilogue--;
    f->phases[2].first--;
    f->phases[2].n_prologue++;
}

static void epilogue_as_anchor(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->phases[1].n_epilogue--;
    f->phases[1].n_anchor++;
}

/* Phases 2 and 3 change places. */
static void wrong_order(hy__fusion *f, hy__graph *g)
{
    uint32_t order[1024], at = 0;
    const hy__phase a = f->phases[2], b = f->phases[3];
    assert_in_range(g->n_nodes, 1, HY_COUNT(order));
    const uint32_t na = a.n_prologue + a.n_anchor + a.n_epilogue;
    const uint32_t nb = b.n_prologue + b.n_anchor + b.n_epilogue;
    for (uint32_t i = 0; i < nb; i++) {
        order[at++] = f->order[b.first + i];
    }
    for (uint32_t i = 0; i < na; i++) {
        order[at++] = f->order[a.first + i];
    }
    memcpy(f->order + a.first, order, at * sizeof *order);
    f->phases[2] = b;
    f->phases[2].first = a.first;
    f->phases[3] = a;
    f->phases[3].first = a.first + nb;
}

static void other_columns(hy__fusion *f, hy__graph *g)
{
    (void)g;
    f->phases[1].cols = HY__PER_OUT;
}

static void test_damaged(void **state)
{
    (void)state;
    damaged(drop_last_phase, "are in no phase");
    damaged(twice, "is there twice");
    damaged(gap, "begins at node");
    damaged(no_anchor, "has no anchor");
    damaged(late_epilogue, "needs the prologue of another phase");
    damaged(epilogue_as_anchor, "is no operation for its place");
    damaged(wrong_order, "runs before one of its inputs");
    damaged(other_columns, "has other columns than its phase");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rule), cmocka_unit_test(test_every_rule_joins),
        cmocka_unit_test(test_declined),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
