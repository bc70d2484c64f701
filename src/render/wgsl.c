/* wgsl.c: kernels as WGSL.
 *
 * An expression is a variable vI in the body of a kernel, where the channel c and the column t are
 * at hand; what is needed elsewhere (in a sum, a column earlier, at a rotation's partner) is a
 * function fI(channel, column) too, with the slot of the column's sums if there are several.
 * Buffers: one of all vectors, one of all anchors' results, one for each input of the phase, one of
 * all results; few enough for every device. */
#include "render.h"

#include <stdarg.h>
#include <stdio.h>

static const hy__formula formulas[HY__N_OPS] = {
#define HY_FORMULA(op, value, term0, stat0, term1, stat1)                                          \
    [HY__OP_##op] = {value, {term0, term1}, {stat0, stat1}},
#include "wgsl.inc"
#undef HY_FORMULA
};

enum { TEXT = 1024, NAME = 64 };

typedef struct writer {
    const hy__layout *l;
    hy__buf *text;
    hy_status status; /* sticks */
    hy_error *err;
    uint32_t lanes; /* invocations of a workgroup */
    uint32_t n_bindings;
    const char *cols;   /* the number of columns of the phase */
    bool declared[512]; /* expressions that are variables of the body at hand */
} writer;

HY_PRINTF(2, 3)
static void put(writer *w, const char *fmt, ...)
{
    char line[TEXT];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (w->status == HY_OK) {
        w->status = n < 0 || (size_t)n >= sizeof line
                        ? hy__fail(w->err, HY_E_INTERNAL, "a line of a kernel is too long")
                        : hy__buf_append(&w->l->g->env, w->text, line, (size_t)n, w->err);
    }
}

static const hy__expr *expr(const writer *w, uint32_t i)
{
    return &w->l->t->exprs[i];
}

static const hy__value *value(const writer *w, uint32_t i)
{
    return &w->l->g->values[expr(w, i)->value];
}

static const hy__node *node_of(const writer *w, uint32_t i)
{
    return &w->l->g->nodes[expr(w, i)->node];
}

static const hy__formula *formula_of(const writer *w, uint32_t i)
{
    return &formulas[node_of(w, i)->op];
}

static void name_of(const writer *w, uint32_t i, char name[NAME + 24])
{
    hy__expr_name(w->l->g, w->l->p, expr(w, i)->value, name, NAME + 24);
}

/* Expression i at another place, as a call. */
typedef struct call_text {
    char text[80];
} call_text;

static call_text call(const writer *w, uint32_t i, const char *channel, const char *column,
                      const char *slot)
{
    call_text c;
    if (expr(w, i)->kind == HY__EXPR_VECTOR) {
        snprintf(c.text, sizeof c.text, "f%u(%s)", i, channel);
    } else if (expr(w, i)->kind == HY__EXPR_OP && w->l->n_slots > 1) {
        snprintf(c.text, sizeof c.text, "f%u(%s, %s, %s)", i, channel, column, slot);
    } else {
        snprintf(c.text, sizeof c.text, "f%u(%s, %s)", i, channel, column);
    }
    return c;
}

static void append(char *buf, size_t cap, const char *text)
{
    const size_t n = strlen(buf);
    snprintf(buf + n, cap - n, "%s", text);
}

/* A finite number as WGSL reads it. */
static call_text number(double x)
{
    call_text c;
    snprintf(c.text, sizeof c.text, "%.9g", x);
    if (!strpbrk(c.text, ".e")) {
        append(c.text, sizeof c.text, ".0");
    }
    return c;
}

/* A formula of operation i with its letters replaced: inputs are v of their expression in a body,
 * and a of their number elsewhere; m is m of the operation in a body. */
static void expand(const writer *w, const char *formula, uint32_t i, bool body, const char *sum,
                   char out[TEXT])
{
    out[0] = '\0';
    for (const char *at = formula; *at; at++) {
        char part[sizeof(call_text)] = {*at, '\0'};
        if (*at != '$') {
            append(out, TEXT, part);
            continue;
        }
        const char letter = *++at;
        if (letter >= '0' && letter <= '6') {
            const uint32_t k = (uint32_t)(letter - '0');
            snprintf(part, sizeof part, body ? "v%u" : "a%u", body ? expr(w, i)->in[k] : k);
        } else if (letter == 'm' && body) {
            snprintf(part, sizeof part, "m%u", i);
        } else if (letter == 'm') {
            snprintf(part, sizeof part, "m");
        } else {
            const double x = letter == 'g' ? (double)hy__layout_group(w->l, i)
                                           : (double)node_of(w, i)->params.eps;
            snprintf(part, sizeof part, "%s", letter == 's' ? sum : number(x).text);
        }
        append(out, TEXT, part);
    }
}

/* ---- the head: buffers */

static void put_buffer(writer *w, const char *access, const char *name, uint32_t number_of,
                       const char *element)
{
    char suffix[16] = "";
    if (number_of != UINT32_MAX) {
        snprintf(suffix, sizeof suffix, "%u", number_of);
    }
    put(w, "@group(0) @binding(%u) var<storage, %s> %s%s: array<%s>;\n", w->n_bindings++, access,
        name, suffix, element);
}

static void put_bindings(writer *w)
{
    const hy__layout *l = w->l;
    put(w, "struct Step { n_tokens: u32, n_outputs: u32 }\n\n");
    put(w, "@group(0) @binding(%u) var<uniform> step: Step;\n", w->n_bindings++);
    if (l->n_vectors > 0) {
        put_buffer(w, "read", "vectors", UINT32_MAX, "f32");
    }
    if (l->n_anchors > 0) {
        put_buffer(w, "read", "anchors", UINT32_MAX, "f32");
    }
    if (l->n_states > 0) {
        put_buffer(w, "read", "state_old", UINT32_MAX, "f32");
        put_buffer(w, "read_write", "state_new", UINT32_MAX, "f32");
    }
    for (uint32_t i = 0; i < l->t->n; i++) {
        if (expr(w, i)->kind == HY__EXPR_COLUMN) {
            put_buffer(w, "read", "x", i, "f32");
        } else if (expr(w, i)->kind == HY__EXPR_CONST) {
            put_buffer(w, "read", "angles", i, "vec2<f32>");
        }
    }
    put_buffer(w, "read_write", "results", UINT32_MAX, "f32");
}

/* Where everything lies, for whoever fills the buffers. */
static void put_places(writer *w)
{
    static const char *const buffers[] = {[HY__EXPR_OP] = "results",
                                          [HY__EXPR_ANCHOR] = "anchors",
                                          [HY__EXPR_VECTOR] = "vectors",
                                          [HY__EXPR_STATE] = "state_old, state_new"};
    const hy__layout *l = w->l;
    put(w, "// The %s of a %s phase.\n", l->epilogue ? "epilogue" : "prologue",
        hy__phase_kinds[l->p->kind]);
    for (uint32_t i = 0; i < l->t->n; i++) {
        const hy__expr *e = expr(w, i);
        const bool columns = e->kind == HY__EXPR_OP || e->kind == HY__EXPR_ANCHOR;
        char name[NAME + 24];
        name_of(w, i, name);
        if (e->kind == HY__EXPR_COLUMN) {
            put(w, "// x%u: %s, [columns][%u]\n", i, name, value(w, i)->n);
        } else if (e->kind == HY__EXPR_CONST) {
            put(w, "// angles%u: cosine and sine of position times %s, [columns][%u]\n", i, name,
                value(w, i)->n);
        } else if (e->kind != HY__EXPR_OP || e->root) {
            put(w, "// %s: from %u%s: %s, %s[%u]\n", buffers[e->kind], l->place[i],
                columns ? " * columns" : "", name, columns ? "[columns]" : "", value(w, i)->n);
        }
    }
    for (uint32_t k = 0; k < l->n_parts; k++) {
        const hy__part *part = &l->parts[k];
        const uint32_t width = part->span ? part->span : w->lanes;
        put(w, "// Dispatch of part%u: %u workgroups for each of the columns, in y.\n", k,
            (part->n + width - 1) / width);
    }
    put(w, "\n");
}

/* ---- functions */

/* Whether a vector is shorter than the columns it goes with: a gain for each group. */
static bool repeats(const writer *w, uint32_t vector)
{
    for (uint32_t i = vector + 1; i < w->l->t->n; i++) {
        for (uint32_t k = 0;
             expr(w, i)->kind == HY__EXPR_OP && k < hy__ops[node_of(w, i)->op].n_inputs; k++) {
            if (expr(w, i)->in[k] == vector && value(w, i)->n != value(w, vector)->n) {
                return true;
            }
        }
    }
    return false;
}

static void put_leaf(writer *w, uint32_t i)
{
    const uint32_t n = value(w, i)->n, place = w->l->place[i];
    switch (expr(w, i)->kind) {
    case HY__EXPR_VECTOR:
        put(w, "fn f%u(c: u32) -> f32 { return vectors[%uu + c", i, place);
        if (repeats(w, i)) {
            put(w, " %% %uu", n);
        }
        put(w, "]; }\n");
        break;
    case HY__EXPR_ANCHOR:
        put(w, "fn f%u(c: u32, t: u32) -> f32 { return anchors[%uu * %s + t * %uu + c]; }\n", i,
            place, w->cols, n);
        break;
    case HY__EXPR_COLUMN:
        put(w, "fn f%u(c: u32, t: u32) -> f32 { return x%u[t * %uu + c]; }\n", i, i, n);
        break;
    default: /* states and constants are read by the one operation that has them */
        break;
    }
}

/* The place of operation i's sums, for a channel c and a slot. */
static call_text stat_of(const writer *w, uint32_t i, const char *slot)
{
    const uint32_t group = hy__layout_group(w->l, i);
    const uint32_t span = w->l->parts[w->l->part[i]].span;
    call_text c;
    if (span == group) {
        snprintf(c.text, sizeof c.text, "stat%u[%s]", i, slot);
    } else {
        snprintf(c.text, sizeof c.text, "stat%u[%s * %uu + c %% %uu / %uu]", i, slot, span / group,
                 span, group);
    }
    return c;
}

static void put_rope(writer *w, uint32_t i)
{
    const hy__params *p = &node_of(w, i)->params;
    const uint32_t x = expr(w, i)->in[0], pairs = p->n_rot / 2;
    put(w, "    let j = c %% %uu;\n", p->group);
    if (p->n_rot < p->group) {
        put(w, "    if (j >= %uu) { return %s; }\n", p->n_rot, call(w, x, "c", "t", "s").text);
    }
    if (p->half_split) {
        put(w, "    let pair = j %% %uu;\n    let second = j >= %uu;\n", pairs, pairs);
        put(w, "    let ca = c - j + pair;\n    let cb = ca + %uu;\n", pairs);
    } else {
        put(w, "    let pair = j / 2u;\n    let second = j %% 2u == 1u;\n");
        put(w, "    let ca = c - j + 2u * pair;\n    let cb = ca + 1u;\n");
    }
    put(w, "    let a = %s;\n", call(w, x, "ca", "t", "s").text);
    put(w, "    let b = %s;\n", call(w, x, "cb", "t", "s").text);
    put(w, "    let angle = angles%u[t * %uu + pair];\n", expr(w, i)->in[1], pairs);
    put(w,
        "    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * %s;\n",
        number((double)p->scale).text);
}

static void put_inputs(writer *w, uint32_t i, const char *indent, const char *column,
                       const char *slot)
{
    for (uint32_t k = 0; k < hy__ops[node_of(w, i)->op].n_inputs; k++) {
        put(w, "%slet a%u = %s;\n", indent, k, call(w, expr(w, i)->in[k], "c", column, slot).text);
    }
}

static void put_function(writer *w, uint32_t i)
{
    const hy__formula *f = formula_of(w, i);
    char text[TEXT], name[NAME + 24];
    name_of(w, i, name);
    put(w, "// %s\nfn f%u(c: u32, t: u32%s) -> f32 {\n", name, i,
        w->l->n_slots > 1 ? ", s: u32" : "");
    const uint32_t x = expr(w, i)->in[0];
    switch (node_of(w, i)->op) {
    case HY__OP_TOKEN_SHIFT:
        put(w, "    if (t == 0u) { return state_old[%uu + c]; }\n", w->l->place[expr(w, i)->in[1]]);
        put(w, "    return %s;\n", call(w, x, "c", "t - 1u", "s + 1u").text);
        break;
    case HY__OP_SELECT:
        put(w, "    return %s;\n", call(w, x, "c", "t + step.n_tokens - step.n_outputs", "s").text);
        break;
    case HY__OP_ROPE:
        put_rope(w, i);
        break;
    default:
        put_inputs(w, i, "    ", "t", "s");
        if (f->term[0]) {
            put(w, "    let m = %s;\n", stat_of(w, i, w->l->n_slots > 1 ? "s" : "0u").text);
        }
        expand(w, f->value, i, false, "", text);
        put(w, "    return %s;\n", text);
    }
    put(w, "}\n");
}

static void put_functions(writer *w)
{
    put(w, "\n");
    for (uint32_t i = 0; i < w->l->t->n; i++) {
        put_leaf(w, i);
    }
    for (uint32_t i = 0; i < w->l->t->n; i++) {
        if (expr(w, i)->kind == HY__EXPR_OP && w->l->called[i]) {
            put_function(w, i);
        }
    }
}

/* ---- sums */

/* Memory of the workgroup, and the sum of all its invocations' numbers. */
static void put_shared(writer *w)
{
    bool any = false;
    for (uint32_t i = 0; i < w->l->t->n; i++) {
        if (expr(w, i)->kind == HY__EXPR_OP && formula_of(w, i)->term[0]) {
            const uint32_t groups = w->l->parts[w->l->part[i]].span / hy__layout_group(w->l, i);
            put(w, "%svar<workgroup> stat%u: array<vec2<f32>, %u>;\n", any ? "" : "\n", i,
                w->l->n_slots * groups);
            any = true;
        }
    }
    if (!any) {
        return;
    }
    put(w, "var<workgroup> partial: array<f32, %u>;\n\n", w->lanes);
    put(w, "fn total(lane: u32, x: f32) -> f32 {\n"
           "    workgroupBarrier(); // the last sum was read\n"
           "    partial[lane] = x;\n"
           "    workgroupBarrier();\n");
    put(w, "    for (var n = %uu; n > 0u; n /= 2u) {\n", w->lanes / 2);
    put(w, "        if (lane < n) { partial[lane] += partial[lane + n]; }\n"
           "        workgroupBarrier();\n"
           "    }\n"
           "    return partial[0];\n"
           "}\n");
}

/* What operation i makes of its sums over the columns that are needed. */
static void put_sums(writer *w, uint32_t i, bool later_columns)
{
    const hy__formula *f = formula_of(w, i);
    const uint32_t group = hy__layout_group(w->l, i);
    const uint32_t groups = w->l->parts[w->l->part[i]].span / group;
    const uint32_t slots = w->l->back[i] + 1;
    char text[TEXT], name[NAME + 24];
    name_of(w, i, name);
    put(w, "    // %s\n", name);
    const char *const column = later_columns ? "u" : "t", *slot = "s", *at = "s";
    if (slots * groups == 1) {
        slot = at = "0u";
        put(w, "    {\n        let begin = first;\n        let col = %s;\n", column);
    } else if (groups == 1) {
        put(w, "    for (var s = 0u; s < %uu; s++) {\n        let begin = first;\n", slots);
        put(w, "        let col = %s - min(%s, s);\n", column, column);
    } else {
        at = "k";
        put(w, "    for (var k = 0u; k < %uu; k++) {\n", slots * groups);
        put(w, "        let s = k / %uu;\n", groups);
        put(w, "        let begin = first + k %% %uu * %uu;\n", groups, group);
        put(w, "        let col = %s - min(%s, s);\n", column, column);
    }
    put(w, "        var m = vec2<f32>();\n");
    for (int pass = 0; pass < 2 && f->term[pass]; pass++) {
        put(w, "        var sum%d = 0.0;\n", pass);
        put(w, "        for (var c = begin + lane; c < begin + %uu; c += %uu) {\n", group,
            w->lanes);
        for (uint32_t k = 0; k < hy__ops[node_of(w, i)->op].n_inputs; k++) {
            const char letter[3] = {'$', (char)('0' + k), '\0'};
            if (strstr(f->term[pass], letter)) {
                put(w, "            let a%u = %s;\n", k,
                    call(w, expr(w, i)->in[k], "c", "col", slot).text);
            }
        }
        expand(w, f->term[pass], i, false, "", text);
        put(w, "            sum%d += %s;\n        }\n", pass, text);
        char sum[NAME];
        snprintf(sum, sizeof sum, "total(lane, sum%d)", pass);
        expand(w, f->stat[pass], i, false, sum, text);
        put(w, "        m.%c = %s;\n", "xy"[pass], text);
    }
    put(w, "        if (lane == 0u) { stat%u[%s] = m; }\n", i, at);
    put(w, "        workgroupBarrier();\n    }\n");
}

/* ---- bodies */

/* Input k of operation i as a variable of the body. */
static void declare_input(writer *w, uint32_t i, uint32_t k)
{
    const uint32_t in = expr(w, i)->in[k];
    const hy__expr_kind kind = expr(w, in)->kind;
    if (!w->declared[in] && kind != HY__EXPR_OP && kind != HY__EXPR_STATE) {
        put(w, "        let v%u = %s;\n", in, call(w, in, "c", "t", "0u").text);
        w->declared[in] = true;
    }
}

static void put_body_op(writer *w, uint32_t i)
{
    const hy__node *node = node_of(w, i);
    const hy__formula *f = formula_of(w, i);
    const uint32_t x = expr(w, i)->in[0];
    char text[TEXT], name[NAME + 24];
    name_of(w, i, name);
    put(w, "        // %s\n", name);
    if (node->op == HY__OP_SELECT) {
        put(w, "        let v%u = %s;\n", i, call(w, x, "c", "u", "0u").text);
    } else if (node->op == HY__OP_ROPE) {
        put(w, "        let v%u = %s;\n", i, call(w, i, "c", "t", "0u").text);
    } else if (node->op == HY__OP_TOKEN_SHIFT) {
        const uint32_t place = w->l->place[expr(w, i)->in[1]];
        declare_input(w, i, 0);
        put(w, "        var v%u = state_old[%uu + c];\n", i, place);
        put(w, "        if (t > 0u) { v%u = %s; }\n", i, call(w, x, "c", "t - 1u", "1u").text);
        put(w, "        if (t + 1u == step.n_tokens) { state_new[%uu + c] = v%u; }\n", place, x);
    } else {
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
            declare_input(w, i, k);
        }
        if (f->term[0]) {
            put(w, "        let m%u = %s;\n", i, stat_of(w, i, "0u").text);
        }
        expand(w, f->value, i, true, "", text);
        put(w, "        let v%u = %s;\n", i, text);
    }
    if (expr(w, i)->root) {
        put(w, "        results[%uu * %s + t * %uu + c] = v%u;\n", w->l->place[i], w->cols,
            value(w, i)->n, i);
    }
}

/* The operations of a part; those before a selection run in functions, on their own columns. */
static void put_body(writer *w, uint32_t part)
{
    memset(w->declared, 0, sizeof w->declared);
    for (uint32_t i = 0; i < w->l->t->n; i++) {
        if (expr(w, i)->kind == HY__EXPR_OP && w->l->part[i] == part &&
            value(w, i)->cols == w->l->p->cols) {
            put_body_op(w, i);
        }
    }
}

static void put_part(writer *w, uint32_t k)
{
    const hy__part *part = &w->l->parts[k];
    const bool outputs = w->l->p->cols == HY__PER_OUT;
    put(w, "\n@compute @workgroup_size(%u)\n", w->lanes);
    if (part->span == 0) {
        put(w, "fn part%u(@builtin(global_invocation_id) id: vec3<u32>) {\n", k);
    } else {
        put(w,
            "fn part%u(@builtin(workgroup_id) id: vec3<u32>,\n"
            "    @builtin(local_invocation_index) lane: u32) {\n",
            k);
    }
    put(w, "    let t = id.y;\n");
    if (outputs) {
        put(w, "    let u = t + step.n_tokens - step.n_outputs;\n");
    }
    if (part->span == 0) {
        put(w, "    let c = id.x;\n    if (c < %uu) {\n", part->n);
    } else {
        put(w, "    let first = id.x * %uu;\n", part->span);
        for (uint32_t i = 0; i < w->l->t->n; i++) {
            if (expr(w, i)->kind == HY__EXPR_OP && w->l->part[i] == k &&
                formula_of(w, i)->term[0]) {
                put_sums(w, i, value(w, i)->cols != w->l->p->cols);
            }
        }
        put(w, "    for (var c = first + lane; c < first + %uu; c += %uu) {\n", part->span,
            w->lanes);
    }
    put_body(w, k);
    put(w, "    }\n}\n");
}

/* Every operation has a formula, or is one of those that look elsewhere. */
static hy_status check_ops(const writer *w)
{
    for (uint32_t i = 0; i < w->l->t->n; i++) {
        if (expr(w, i)->kind != HY__EXPR_OP) {
            continue;
        }
        const hy__opcode op = node_of(w, i)->op;
        const bool moves = op == HY__OP_TOKEN_SHIFT || op == HY__OP_SELECT || op == HY__OP_ROPE;
        if (!moves && !formula_of(w, i)->value) {
            return hy__fail(w->err, HY_E_UNSUPPORTED, "WGSL has no formula for %s",
                            hy__ops[op].name);
        }
    }
    return w->l->t->n <= HY_COUNT(w->declared)
               ? HY_OK
               : hy__fail(w->err, HY_E_UNSUPPORTED, "a tree of %u expressions is too large",
                          w->l->t->n);
}

static hy_status render(const hy__layout *l, hy__buf *text, hy_error *err)
{
    writer w = {.l = l, .text = text, .status = HY_OK, .err = err, .lanes = 64};
    HY_TRY(check_ops(&w));
    w.cols = l->p->cols == HY__PER_OUT ? "step.n_outputs" : "step.n_tokens";
    for (uint32_t k = 0; k < l->n_parts; k++) {
        w.lanes = l->parts[k].span > 128 ? 256 : w.lanes;
    }
    put_places(&w);
    put_bindings(&w);
    put_functions(&w);
    put_shared(&w);
    for (uint32_t k = 0; k < l->n_parts; k++) {
        put_part(&w, k);
    }
    return w.status;
}

const hy__dialect hy__dialect_wgsl = {.name = "wgsl", .formulas = formulas, .render = render};
