/* dump_kernels.c: no test: writes the kernels of a model's phases with the contents of their
 * buffers in one step, and the results that the reference backend has for them, for run_kernels.py.
 *
 * dump_kernels MODEL FOLDER [RULES TO LEAVE OUT]: for each kernel NAME.wgsl, and NAME.BUFFER with
 * little-endian 32-bit floats for each of its buffers; of buffers that it writes, what has to be
 * in them. */
#include <math.h>

#include "render/render.h"
#include "support/traced.h"

typedef struct dump {
    const traced *t;
    const char *folder;
    char kernel[32];
} dump;

static void append(const dump *d, const char *buffer, const void *data, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.%s", d->folder, d->kernel, buffer);
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void append_numbers(const dump *d, const char *buffer, const numbers *x)
{
    for (size_t i = 0; i < (size_t)x->n * x->cols; i++) {
        const float f = (float)x->at[i];
        append(d, buffer, &f, sizeof f);
    }
}

static void append_angles(const dump *d, const char *buffer, const numbers *frequencies)
{
    for (uint32_t col = 0; col < TRACED_TOKENS; col++) {
        for (uint32_t i = 0; i < frequencies->n; i++) {
            const double angle = (double)(TRACED_BEFORE + col) * frequencies->at[i];
            const float cs[2] = {(float)cos(angle), (float)sin(angle)};
            append(d, buffer, cs, sizeof cs);
        }
    }
}

static void dump_op(const dump *d, const hy__expr *e)
{
    const hy__graph *g = &d->t->l.graph;
    const hy__node *node = &g->nodes[e->node];
    if (e->root) {
        const numbers shape = traced_zeros(&g->values[e->value]);
        append(d, "results", d->t->results[e->node], (size_t)shape.n * shape.cols * sizeof(float));
        free(shape.at);
    }
    if (node->op == HY__OP_TOKEN_SHIFT) {
        const hy__value *kept = &g->values[node->in[1]];
        append(d, "state_new", d->t->state_new + d->t->plan.state_place[kept->state],
               kept->n * sizeof(float));
    }
}

static void dump_leaf(const dump *d, const hy__expr *e, uint32_t i)
{
    numbers x = traced_leaf(d->t, e);
    char name[32];
    switch (e->kind) {
    case HY__EXPR_VECTOR:
        append_numbers(d, "vectors", &x);
        break;
    case HY__EXPR_STATE:
        append_numbers(d, "state_old", &x);
        break;
    case HY__EXPR_ANCHOR:
        append_numbers(d, "anchors", &x);
        break;
    case HY__EXPR_COLUMN:
        snprintf(name, sizeof name, "x%u", i);
        append_numbers(d, name, &x);
        break;
    case HY__EXPR_CONST:
        snprintf(name, sizeof name, "angles%u", i);
        append_angles(d, name, &x);
        break;
    case HY__EXPR_OP:
        break;
    }
    free(x.at);
}

static void dump_tree(dump *d, uint32_t phase, bool epilogue)
{
    const fused *l = &d->t->l;
    const hy__phase_exprs *x = &l->exprs.phases[phase];
    const hy__tree *t = epilogue ? &x->epilogue : &x->prologue;
    hy__buf text = {0};
    hy_error err;
    assert_ok(hy__render("wgsl", &l->graph, &l->fusion.phases[phase], x, epilogue, &text, &err),
              &err);
    if (text.len == 0) {
        return;
    }
    snprintf(d->kernel, sizeof d->kernel, "%03u-%s", phase, epilogue ? "epilogue" : "prologue");
    append(d, "wgsl", text.data, text.len);
    hy__buf_finish(&l->graph.env, &text);
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP) {
            dump_op(d, &t->exprs[i]);
        } else {
            dump_leaf(d, &t->exprs[i], i);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s MODEL FOLDER [RULES TO LEAVE OUT]\n", argv[0]);
        return 2;
    }
    uint32_t rules;
    traced t;
    hy_error err;
    assert_ok(hy__rules_without(argc > 3 ? argv[3] : NULL, &rules, &err), &err);
    traced_run(&t, argv[1], rules);
    dump d = {.t = &t, .folder = argv[2]};
    for (uint32_t i = 0; i < t.l.fusion.n_phases; i++) {
        dump_tree(&d, i, false);
        dump_tree(&d, i, true);
    }
    traced_finish(&t);
    return 0;
}
