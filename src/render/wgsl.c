/* wgsl.c: kernels as WGSL.
 *
 * An expression is a variable vI in the body of a kernel, where the channel c and the column t are
 * at hand; what is needed elsewhere (in a sum, a column earlier, at a rotation's partner) is a
 * function PREFIXi(channel, column) too, with the slot of the column's sums if there are several.
 */
#include "render.h"

#include <stdarg.h>
#include <stdio.h>

const hy__formula hy__wgsl_formulas[HY__N_OPS] = {
#define HY_FORMULA(op, value, term0, stat0, term1, stat1)                                          \
    [HY__OP_##op] = {value, {term0, term1}, {stat0, stat1}},
#include "wgsl.inc"
#undef HY_FORMULA
};

enum { TEXT = 1024, NAME = 64, MOST_EXPRS = 512 };

/* ---- the text */

void hy__wgsl_init(hy__wgsl *w, uint32_t lanes, const hy_env *env, hy_error *err)
{
    memset(w, 0, sizeof *w);
    w->env = env;
    w->err = err;
    w->status = HY_OK;
    w->lanes = lanes;
}

void hy__wgsl_put(hy__wgsl *w, const char *fmt, ...)
{
    char line[TEXT];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (w->status == HY_OK) {
        w->status = n < 0 || (size_t)n >= sizeof line
                        ? hy__fail(w->err, HY_E_INTERNAL, "a line of a kernel is too long")
                        : hy__buf_append(w->env, &w->text, line, (size_t)n, w->err);
    }
}
#define put hy__wgsl_put

void hy__wgsl_text_append(hy__wgsl *w, const char *text)
{
    if (w->status == HY_OK) {
        w->status = hy__buf_append(w->env, &w->text, text, strlen(text), w->err);
    }
}

void hy__wgsl_use(hy__wgsl *w, uint32_t buffer)
{
    w->uses |= 1u << buffer;
}

hy__wgsl_text hy__wgsl_place(hy__wgsl *w, hy__where where, hy__id value, uint32_t part)
{
    hy__wgsl_text out;
    uint32_t i = 0, number;
    const hy__place place = {where, value, part};
    if (w->known && w->known(w->known_user, &place, &number)) {
        snprintf(out.text, sizeof out.text, "%uu", number);
        return out;
    }
    while (i < w->n_places && (w->places[i].where != where || w->places[i].value != value ||
                               w->places[i].part != part)) {
        i++;
    }
    if (i == HY__MOST_PLACES) {
        if (w->status == HY_OK) {
            w->status = hy__fail(w->err, HY_E_UNSUPPORTED,
                                 "a kernel reads from more than %d places", HY__MOST_PLACES);
        }
        i = 0;
    } else if (i == w->n_places) {
        w->places[w->n_places++] = place;
    }
    hy__wgsl_use(w, HY__BUFFER_places);
    snprintf(out.text, sizeof out.text, "places.at[%u].%c", i / 4, "xyzw"[i % 4]);
    return out;
}

static const char *const declarations[] = {
#define DECLARATION(name, how) how,
    HY__WGSL_BUFFERS(DECLARATION)
#undef DECLARATION
};

bool hy__wgsl_is_written(uint32_t buffer)
{
    return strstr(declarations[buffer], "read_write") != NULL;
}

hy_status hy__wgsl_finish(hy__wgsl *w)
{
    hy__buf body = w->text;
    w->text = (hy__buf){0};
    if (w->uses & 1u << HY__BUFFER_step) {
        put(w, "struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }\n");
    }
    if (w->uses & 1u << HY__BUFFER_places) {
        put(w, "struct Places { at: array<vec4<u32>, %u> }\n", (w->n_places + 3) / 4);
    }
    for (uint32_t i = 0; i < HY__N_BUFFERS; i++) {
        if (w->uses & 1u << i) {
            put(w, "@group(0) @binding(%u) %s;\n", i, declarations[i]);
        }
    }
    if (w->status == HY_OK && body.len > 0) {
        w->status = hy__buf_append(w->env, &w->text, body.data, body.len, w->err);
    }
    hy__buf_finish(w->env, &body);
    return w->status;
}

/* ---- expressions */

static const hy__expr *expr(const hy__wgsl_tree *t, uint32_t i)
{
    return &t->l->t->exprs[i];
}

static const hy__value *value(const hy__wgsl_tree *t, uint32_t i)
{
    return &t->l->g->values[expr(t, i)->value];
}

static const hy__node *node_of(const hy__wgsl_tree *t, uint32_t i)
{
    return &t->l->g->nodes[expr(t, i)->node];
}

static bool is_op(const hy__wgsl_tree *t, uint32_t i)
{
    return expr(t, i)->kind == HY__EXPR_OP;
}

static const hy__formula *formula_of(const hy__wgsl_tree *t, uint32_t i)
{
    return &hy__wgsl_formulas[node_of(t, i)->op];
}

static uint32_t inputs_of(const hy__wgsl_tree *t, uint32_t i)
{
    return hy__ops[node_of(t, i)->op].n_inputs;
}

static void name_of(const hy__wgsl_tree *t, uint32_t i, char name[NAME + 24])
{
    hy__expr_name(t->l->g, t->l->p, expr(t, i)->value, name, NAME + 24);
}

/* Expression i at another place, as a call. */
static hy__wgsl_text call(const hy__wgsl_tree *t, uint32_t i, const char *channel,
                          const char *column, const char *slot)
{
    hy__wgsl_text c;
    if (expr(t, i)->kind == HY__EXPR_VECTOR) {
        snprintf(c.text, sizeof c.text, "%c%u(%s)", t->prefix, i, channel);
    } else if (is_op(t, i) && t->l->n_slots > 1) {
        snprintf(c.text, sizeof c.text, "%c%u(%s, %s, %s)", t->prefix, i, channel, column, slot);
    } else {
        snprintf(c.text, sizeof c.text, "%c%u(%s, %s)", t->prefix, i, channel, column);
    }
    return c;
}

hy__wgsl_text hy__wgsl_call(const hy__wgsl_tree *t, uint32_t i, const char *channel,
                            const char *column)
{
    return call(t, i, channel, column, "0u");
}

hy__wgsl_text hy__wgsl_call4(const hy__wgsl_tree *t, uint32_t i, const char *channel,
                             const char *column)
{
    hy__wgsl_text c = call(t, i, channel, column, "0u");
    c.text[0] = (char)(c.text[0] - 'a' + 'A');
    return c;
}

static void append(char *buf, size_t cap, const char *text)
{
    const size_t n = strlen(buf);
    snprintf(buf + n, cap - n, "%s", text);
}

/* A finite number as WGSL reads it. */
static hy__wgsl_text number(double x)
{
    hy__wgsl_text c;
    snprintf(c.text, sizeof c.text, "%.9g", x);
    if (!strpbrk(c.text, ".e")) {
        append(c.text, sizeof c.text, ".0");
    }
    return c;
}

/* Expression i in registers: of a group of channels. */
static hy__wgsl_text register_of(const hy__wgsl_tree *t, uint32_t i, uint32_t group)
{
    hy__wgsl_text c;
    snprintf(c.text, sizeof c.text, "%cr%u_%u", t->prefix, i, group);
    return c;
}

/* Where a formula stands: in a function, in a body, or, from 0 on, in registers. */
enum { IN_FUNCTION = -2, IN_BODY = -1 };

/* A formula of operation i with its letters replaced: inputs are v of their expression in a body, a
 * of their number in a function, and registers of group `where`; m is m of the operation but in a
 * function. */
static void expand(const hy__wgsl_tree *t, const char *formula, uint32_t i, int where,
                   const char *sum, char out[TEXT])
{
    out[0] = '\0';
    for (const char *at = formula; *at; at++) {
        char part[sizeof(hy__wgsl_text)] = {*at, '\0'};
        if (*at != '$') {
            append(out, TEXT, part);
            continue;
        }
        const char letter = *++at;
        if (letter >= '0' && letter <= '6') {
            const uint32_t k = (uint32_t)(letter - '0');
            const uint32_t in = expr(t, i)->in[k];
            if (where >= 0) {
                snprintf(part, sizeof part, "%s", register_of(t, in, (uint32_t)where).text);
            } else {
                snprintf(part, sizeof part, where == IN_BODY ? "v%u" : "a%u",
                         where == IN_BODY ? in : k);
            }
        } else if (letter == 'm' && where >= 0) {
            snprintf(part, sizeof part, "%cm%u", t->prefix, i);
        } else if (letter == 'm' && where == IN_BODY) {
            snprintf(part, sizeof part, "m%u", i);
        } else if (letter == 'm') {
            snprintf(part, sizeof part, "m");
        } else {
            const double x = letter == 'g' ? (double)hy__layout_group(t->l, i)
                                           : (double)node_of(t, i)->params.eps;
            snprintf(part, sizeof part, "%s", letter == 's' ? sum : number(x).text);
        }
        append(out, TEXT, part);
    }
}

/* ---- functions */

/* Whether a vector is shorter than the columns it goes with: a gain for each group. */
static bool repeats(const hy__wgsl_tree *t, uint32_t vector)
{
    for (uint32_t i = vector + 1; i < t->l->t->n; i++) {
        for (uint32_t k = 0; is_op(t, i) && k < inputs_of(t, i); k++) {
            if (expr(t, i)->in[k] == vector && value(t, i)->n != value(t, vector)->n) {
                return true;
            }
        }
    }
    return false;
}

/* Where the state of expression i (a state) begins. */
static hy__wgsl_text state_place(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    return hy__wgsl_place(w, HY__AT_STATE, expr(t, i)->value, 0);
}

static void put_leaf(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    const hy__id id = expr(t, i)->value;
    const uint32_t n = value(t, i)->n;
    switch (expr(t, i)->kind) {
    case HY__EXPR_VECTOR:
        hy__wgsl_use(w, HY__BUFFER_vectors);
        put(w, "fn %c%u(c: u32) -> f32 { return vectors[%s + c", t->prefix, i,
            hy__wgsl_place(w, HY__AT_VECTOR, id, 0).text);
        if (repeats(t, i)) {
            put(w, " %% %uu", n);
        }
        put(w, "]; }\n");
        break;
    case HY__EXPR_ANCHOR:
        if (t->own_anchors) {
            break;
        }
        /* fallthrough */
    case HY__EXPR_COLUMN:
        hy__wgsl_use(w, HY__BUFFER_arena);
        put(w, "fn %c%u(c: u32, t: u32) -> f32 { return arena[%s + t * %uu + c]; }\n", t->prefix, i,
            hy__wgsl_place(w, HY__AT_RESULT, id, 0).text, n);
        break;
    default: /* states and constants are read by the one operation that has them */
        break;
    }
}

/* The place of operation i's sums, for a channel c and a slot. */
static hy__wgsl_text stat_of(const hy__wgsl_tree *t, uint32_t i, const char *slot)
{
    const uint32_t group = hy__layout_group(t->l, i);
    const uint32_t span = t->l->parts[t->l->part[i]].span;
    hy__wgsl_text c;
    if (span == group) {
        snprintf(c.text, sizeof c.text, "stat_%c%u[%s]", t->prefix, i, slot);
    } else {
        snprintf(c.text, sizeof c.text, "stat_%c%u[%s * %uu + c %% %uu / %uu]", t->prefix, i, slot,
                 span / group, span, group);
    }
    return c;
}

static void put_rope(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    const hy__params *p = &node_of(t, i)->params;
    const uint32_t x = expr(t, i)->in[0], pairs = p->n_rot / 2;
    hy__wgsl_use(w, HY__BUFFER_angles);
    hy__wgsl_use(w, HY__BUFFER_step);
    put(w, "    let j = c %% %uu;\n", p->group);
    if (p->n_rot < p->group) {
        put(w, "    if (j >= %uu) { return %s; }\n", p->n_rot, call(t, x, "c", "t", "s").text);
    }
    if (p->half_split) {
        put(w, "    let pair = j %% %uu;\n    let second = j >= %uu;\n", pairs, pairs);
        put(w, "    let ca = c - j + pair;\n    let cb = ca + %uu;\n", pairs);
    } else {
        put(w, "    let pair = j / 2u;\n    let second = j %% 2u == 1u;\n");
        put(w, "    let ca = c - j + 2u * pair;\n    let cb = ca + 1u;\n");
    }
    put(w, "    let a = %s;\n", call(t, x, "ca", "t", "s").text);
    put(w, "    let b = %s;\n", call(t, x, "cb", "t", "s").text);
    put(w, "    let angle = angles[%s + (step.pos + t) * %uu + pair];\n",
        hy__wgsl_place(w, HY__AT_ANGLES, expr(t, expr(t, i)->in[1])->value, 0).text, pairs);
    put(w,
        "    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * %s;\n",
        number((double)p->scale).text);
}

static void put_function(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    const hy__formula *f = formula_of(t, i);
    char text[TEXT], name[NAME + 24];
    name_of(t, i, name);
    put(w, "// %s\nfn %c%u(c: u32, t: u32%s) -> f32 {\n", name, t->prefix, i,
        t->l->n_slots > 1 ? ", s: u32" : "");
    const uint32_t x = expr(t, i)->in[0];
    switch (node_of(t, i)->op) {
    case HY__OP_TOKEN_SHIFT: {
        const hy__wgsl_text place = state_place(w, t, expr(t, i)->in[1]);
        hy__wgsl_use(w, HY__BUFFER_state_old);
        if (t->l->single) {
            put(w, "    return state_old[%s + c];\n", place.text);
            break;
        }
        put(w, "    if (t == 0u) { return state_old[%s + c]; }\n", place.text);
        put(w, "    return %s;\n", call(t, x, "c", "t - 1u", "s + 1u").text);
        break;
    }
    case HY__OP_SELECT:
        hy__wgsl_use(w, HY__BUFFER_step);
        put(w, "    return %s;\n", call(t, x, "c", "t + step.n_tokens - step.n_outputs", "s").text);
        break;
    case HY__OP_ROPE:
        put_rope(w, t, i);
        break;
    default:
        for (uint32_t k = 0; k < inputs_of(t, i); k++) {
            put(w, "    let a%u = %s;\n", k, call(t, expr(t, i)->in[k], "c", "t", "s").text);
        }
        if (f->term[0]) {
            put(w, "    let m = %s;\n", stat_of(t, i, t->l->n_slots > 1 ? "s" : "0u").text);
        }
        expand(t, f->value, i, IN_FUNCTION, "", text);
        put(w, "    return %s;\n", text);
    }
    put(w, "}\n");
}

/* ---- functions of four channels, named by a capital letter */

/* Whether a formula means the same for vec4: only operators, no functions. */
static bool has_operators_only(const char *formula)
{
    for (const char *at = formula; at && *at; at++) {
        if (*at >= 'a' && *at <= 'z' && (at == formula || (at[-1] != '$' && at[-1] != '.'))) {
            return false;
        }
    }
    return true;
}

static bool is_wide(const hy__wgsl_tree *t, uint32_t i)
{
    const hy__formula *f = formula_of(t, i);
    return f->value && value(t, i)->n % 4 == 0 &&
           (!f->term[0] || hy__layout_group(t->l, i) % 4 == 0) && has_operators_only(f->value);
}

static void put_wide_leaf(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    const hy__expr_kind kind = expr(t, i)->kind;
    const bool own = kind == HY__EXPR_ANCHOR && t->own_anchors;
    const char letter = (char)(t->prefix - 'a' + 'A');
    if (kind == HY__EXPR_VECTOR && value(t, i)->n % 4 == 0) {
        hy__wgsl_use(w, HY__BUFFER_vectors4);
        put(w, "fn %c%u(c: u32) -> vec4<f32> { return vectors4[(%s + c", letter, i,
            hy__wgsl_place(w, HY__AT_VECTOR, expr(t, i)->value, 0).text);
        if (repeats(t, i)) {
            put(w, " %% %uu", value(t, i)->n);
        }
        put(w, ") / 4u]; }\n");
    } else if (kind == HY__EXPR_VECTOR) {
        put(w,
            "fn %c%u(c: u32) -> vec4<f32> { return vec4<f32>(%c%u(c), %c%u(c + 1u), %c%u(c + 2u), "
            "%c%u(c + 3u)); }\n",
            letter, i, t->prefix, i, t->prefix, i, t->prefix, i, t->prefix, i);
    } else if ((kind == HY__EXPR_ANCHOR && !own) || kind == HY__EXPR_COLUMN) {
        put(w,
            "fn %c%u(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(%c%u(c, t), %c%u(c + 1u, t), "
            "%c%u(c + 2u, t), %c%u(c + 3u, t)); }\n",
            letter, i, t->prefix, i, t->prefix, i, t->prefix, i, t->prefix, i);
    }
}

static void put_wide_function(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    const hy__formula *f = formula_of(t, i);
    char text[TEXT];
    put(w, "fn %c%u(c: u32, t: u32) -> vec4<f32> {\n", (char)(t->prefix - 'a' + 'A'), i);
    if (node_of(t, i)->op == HY__OP_TOKEN_SHIFT && value(t, i)->n % 4 == 0) {
        hy__wgsl_use(w, HY__BUFFER_state4);
        put(w, "    return state4[(%s + c) / 4u];\n", state_place(w, t, expr(t, i)->in[1]).text);
    } else if (is_wide(t, i)) {
        for (uint32_t k = 0; k < inputs_of(t, i); k++) {
            put(w, "    let a%u = %s;\n", k, hy__wgsl_call4(t, expr(t, i)->in[k], "c", "t").text);
        }
        if (f->term[0]) {
            put(w, "    let m = %s;\n", stat_of(t, i, "0u").text);
        }
        expand(t, f->value, i, IN_FUNCTION, "", text);
        put(w, "    return %s;\n", text);
    } else {
        put(w, "    return vec4<f32>(%s, ", call(t, i, "c", "t", "0u").text);
        put(w, "%s, ", call(t, i, "c + 1u", "t", "0u").text);
        put(w, "%s, ", call(t, i, "c + 2u", "t", "0u").text);
        put(w, "%s);\n", call(t, i, "c + 3u", "t", "0u").text);
    }
    put(w, "}\n");
}

/* How many sums of operation i a workgroup keeps. */
static uint32_t stats_of(const hy__wgsl_tree *t, uint32_t i)
{
    return t->l->n_slots * (t->l->parts[t->l->part[i]].span / hy__layout_group(t->l, i));
}

/* Memory of sums, and the sum of all invocations' numbers.  Where there is one, every invocation
 * has it. */
static void put_shared(hy__wgsl *w, const hy__wgsl_tree *t)
{
    bool any = false;
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (is_op(t, i) && formula_of(t, i)->term[0]) {
            const uint32_t n = stats_of(t, i);
            put(w, "%svar<%s> stat_%c%u: array<vec2<f32>, %u>;\n", any ? "" : "\n",
                n == 1 ? "private" : "workgroup", t->prefix, i, n);
            any = true;
        }
    }
    if (any) {
        hy__wgsl_total(w);
    }
}

/* Groups of lanes by shuffles, then the groups' sums, which every lane adds in the same order.
 * total_at: with memory that no other sum uses. */
static void put_total_by_subgroups(hy__wgsl *w)
{
    const uint32_t groups = w->lanes / w->subgroup;
    put(w, "fn total_at(lane: u32, x: f32, at: u32) -> f32 {\n    var s = x;\n");
    for (uint32_t n = w->subgroup / 2; n > 0; n /= 2) {
        put(w, "    s += subgroupShuffleXor(s, %uu);\n", n);
    }
    put(w,
        "    if (lane %% %uu == 0u) { partial[at + lane / %uu] = s; }\n"
        "    workgroupBarrier();\n",
        w->subgroup, w->subgroup);
    if (groups <= 16) {
        put(w, "    s = partial[at];\n");
        for (uint32_t i = 1; i < groups; i++) {
            put(w, "    s += partial[at + %uu];\n", i);
        }
    } else if (groups > w->subgroup) {
        put(w, "    s = partial[at];\n    for (var i = 1u; i < %uu; i++) { s += partial[at + i]; }\n",
            groups);
    } else {
        put(w, "    s = partial[at + lane %% %uu];\n", groups);
        for (uint32_t n = groups / 2; n > 0; n /= 2) {
            put(w, "    s += subgroupShuffleXor(s, %uu);\n", n);
        }
    }
    put(w, "    return s;\n}\n"
           "fn total(lane: u32, x: f32) -> f32 {\n"
           "    workgroupBarrier(); // the last sum was read\n"
           "    return total_at(lane, x, 0u);\n}\n");
}

static bool sums_by_subgroups(const hy__wgsl *w)
{
    return w->subgroup > 0 && w->lanes % w->subgroup == 0 && w->lanes / w->subgroup <= 64;
}

void hy__wgsl_total(hy__wgsl *w)
{
    if (w->sums) {
        return;
    }
    w->sums = true;
    put(w, "var<workgroup> partial: array<f32, %u>;\n\n", w->lanes);
    if (sums_by_subgroups(w)) {
        put_total_by_subgroups(w);
        return;
    }
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

void hy__wgsl_functions(hy__wgsl *w, const hy__wgsl_tree *t, bool wide)
{
    w->wide = w->wide || wide;
    put(w, "\n");
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        put_leaf(w, t, i);
        if (wide) {
            put_wide_leaf(w, t, i);
        }
    }
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (is_op(t, i) && t->l->called[i]) {
            put_function(w, t, i);
            if (wide) {
                put_wide_function(w, t, i);
            }
        }
    }
    put_shared(w, t);
}

/* ---- sums */

/* A sum over all invocations, as an expression of `x`. */
static void sum_text(hy__wgsl *w, const char *x, char out[NAME])
{
    const uint32_t groups = sums_by_subgroups(w) ? w->lanes / w->subgroup : w->lanes;
    if (w->fresh && groups < w->lanes && (w->n_totals + 1) * groups <= w->lanes) {
        snprintf(out, NAME, "total_at(lane, %s, %uu)", x, w->n_totals++ * groups);
    } else {
        w->fresh = false;
        snprintf(out, NAME, "total(lane, %s)", x);
    }
}

/* Whether a sum takes input k of operation i. */
static bool sum_reads(const hy__formula *f, int pass, uint32_t k)
{
    const char letter[3] = {'$', (char)('0' + k), '\0'};
    return f->term[pass] && strstr(f->term[pass], letter);
}

/* A lane keeps its channels of the inputs in registers, so that all are read at once, and once:
 * turns of them, `each` channels at a time; 0: there are too many, or not as many for each lane. */
static uint32_t turns_at_once(const hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i, uint32_t each)
{
    enum { MOST_TURNS = 16 };
    const uint32_t group = hy__layout_group(t->l, i), turns = group / w->lanes / each;
    return group % (w->lanes * each) == 0 && turns <= MOST_TURNS ? turns : 0;
}

/* Variables zSLOTS_K_E of the inputs at a column. */
static void put_reads(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i, uint32_t each, uint32_t turns,
                      const char *begin, const char *column, const char *slot, uint32_t z)
{
    const hy__formula *f = formula_of(t, i);
    for (uint32_t k = 0; k < inputs_of(t, i); k++) {
        for (uint32_t e = 0; e < turns && (sum_reads(f, 0, k) || sum_reads(f, 1, k)); e++) {
            char channel[48];
            snprintf(channel, sizeof channel, "%s + %uu * lane + %uu", begin, each,
                     e * each * w->lanes);
            put(w, "        let z%u_%u_%u = %s;\n", z, k, e,
                (each == 4 ? hy__wgsl_call4(t, expr(t, i)->in[k], channel, column)
                           : call(t, expr(t, i)->in[k], channel, column, slot))
                    .text);
        }
    }
}

/* m: what operation i makes of its sums over a column, which put_reads has read, or (turns 0) that
 * are read for each of them. */
static void put_passes(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i, uint32_t each,
                       uint32_t turns, const char *slot, uint32_t z)
{
    const hy__formula *f = formula_of(t, i);
    put(w, "        var m = vec2<f32>();\n");
    for (int pass = 0; pass < 2 && f->term[pass]; pass++) {
        char text[TEXT], sum[NAME], x[8];
        put(w, "        var sum%d = 0.0;\n", pass);
        for (uint32_t e = 0; e < HY_MAX(turns, 1u); e++) {
            if (turns > 0) {
                put(w, "        {\n");
            } else {
                put(w, "        for (var c = begin + lane; c < begin + %uu; c += %uu) {\n",
                    hy__layout_group(t->l, i), w->lanes);
            }
            for (uint32_t k = 0; k < inputs_of(t, i); k++) {
                if (sum_reads(f, pass, k) && turns > 0) {
                    put(w, "            let a%u = z%u_%u_%u;\n", k, z, k, e);
                } else if (sum_reads(f, pass, k)) {
                    put(w, "            let a%u = %s;\n", k,
                        call(t, expr(t, i)->in[k], "c", "col", slot).text);
                }
            }
            expand(t, f->term[pass], i, IN_FUNCTION, "", text);
            put(w, each == 4 ? "            sum%d += dot(%s, vec4<f32>(1.0));\n        }\n"
                             : "            sum%d += %s;\n        }\n",
                pass, text);
        }
        snprintf(x, sizeof x, "sum%d", pass);
        sum_text(w, x, sum);
        expand(t, f->stat[pass], i, IN_FUNCTION, sum, text);
        put(w, "        m.%c = %s;\n", "xy"[pass], text);
    }
}

static void put_stat(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i, const char *at)
{
    if (stats_of(t, i) == 1) {
        put(w, "        stat_%c%u[0] = m;\n    }\n", t->prefix, i);
        return;
    }
    put(w, "        if (lane == 0u) { stat_%c%u[%s] = m; }\n", t->prefix, i, at);
    put(w, "        workgroupBarrier();\n    }\n");
}

/* The sums of operation i over the columns that are needed: those of a step of one token; of a
 * group of channels, all columns of which are read at once; and of several groups. */
static void put_op_sums(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    const hy__formula *f = formula_of(t, i);
    const uint32_t group = hy__layout_group(t->l, i);
    const uint32_t groups = t->l->parts[t->l->part[i]].span / group;
    const uint32_t slots = t->l->back[i] + 1;
    const bool four = w->wide && t->l->single && has_operators_only(f->term[0]) &&
                      has_operators_only(f->term[1]) && turns_at_once(w, t, i, 4) > 0;
    const uint32_t each = four ? 4 : 1, turns = turns_at_once(w, t, i, each);
    /* Before a selection: columns of tokens. */
    const char *const column = value(t, i)->cols != t->l->p->cols ? "u" : "t";
    char name[NAME + 24];
    name_of(t, i, name);
    put(w, "    // %s\n", name);
    if (groups > 1) {
        put(w, "    for (var k = 0u; k < %uu; k++) {\n        let s = k / %uu;\n", slots * groups,
            groups);
        put(w, "        let begin = first + k %% %uu * %uu;\n", groups, group);
        put(w, "        let col = %s - min(%s, s);\n", column, column);
        if (turns > 0) {
            put_reads(w, t, i, each, turns, "begin", "col", "s", 0);
        }
        put_passes(w, t, i, each, turns, "s", 0);
        put_stat(w, t, i, "k");
        return;
    }
    char slot[16], col[48];
    put(w, "    {\n");
    for (uint32_t s = 0; s < slots && turns > 0; s++) {
        snprintf(slot, sizeof slot, "%uu", s);
        snprintf(col, sizeof col, s ? "%s - min(%s, %uu)" : "%s", column, column, s);
        put_reads(w, t, i, each, turns, "first", col, slot, s);
    }
    for (uint32_t s = 0; s < slots; s++) {
        snprintf(slot, sizeof slot, "%uu", s);
        put(w, "    {\n");
        if (turns == 0) {
            put(w, "        let begin = first;\n        let col = %s - min(%s, %uu);\n", column,
                column, s);
        }
        put_passes(w, t, i, each, turns, slot, s);
        put_stat(w, t, i, slot);
    }
    put(w, "    }\n");
}

void hy__wgsl_sums(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t part)
{
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (is_op(t, i) && t->l->part[i] == part && formula_of(t, i)->term[0]) {
            put_op_sums(w, t, i);
        }
    }
}

/* ---- bodies */

/* Whether bodies read it from memory. */
static bool is_leaf(const hy__wgsl_tree *t, uint32_t i)
{
    const hy__expr_kind kind = expr(t, i)->kind;
    return kind != HY__EXPR_OP && kind != HY__EXPR_STATE &&
           !(kind == HY__EXPR_ANCHOR && t->own_anchors);
}

/* Input k of operation i as a variable of the body. */
static void declare_input(hy__wgsl *w, const hy__wgsl_tree *t, bool *declared, uint32_t i,
                          uint32_t k)
{
    const uint32_t in = expr(t, i)->in[k];
    if (!t->has_leaves && !declared[in] && is_leaf(t, in)) {
        hy__wgsl_leaf(w, t, in);
        declared[in] = true;
    }
}

static void put_shift(hy__wgsl *w, const hy__wgsl_tree *t, bool *declared, uint32_t i)
{
    const uint32_t x = expr(t, i)->in[0];
    const hy__wgsl_text place = state_place(w, t, expr(t, i)->in[1]);
    hy__wgsl_use(w, HY__BUFFER_state_old);
    hy__wgsl_use(w, HY__BUFFER_state_new);
    declare_input(w, t, declared, i, 0);
    if (t->l->single) {
        put(w, "        let v%u = state_old[%s + c];\n", i, place.text);
        put(w, "        state_new[%s + c] = v%u;\n", place.text, x);
        return;
    }
    hy__wgsl_use(w, HY__BUFFER_step);
    put(w, "        var v%u = state_old[%s + c];\n", i, place.text);
    put(w, "        if (t > 0u) { v%u = %s; }\n", i, call(t, x, "c", "t - 1u", "1u").text);
    put(w, "        if (t + 1u == step.n_tokens) { state_new[%s + c] = v%u; }\n", place.text, x);
}

static void put_body_op(hy__wgsl *w, const hy__wgsl_tree *t, bool *declared, uint32_t i)
{
    const hy__node *node = node_of(t, i);
    const hy__formula *f = formula_of(t, i);
    const uint32_t x = expr(t, i)->in[0];
    char text[TEXT], name[NAME + 24];
    name_of(t, i, name);
    put(w, "        // %s\n", name);
    if (node->op == HY__OP_SELECT) {
        put(w, "        let v%u = %s;\n", i, call(t, x, "c", "u", "0u").text);
    } else if (node->op == HY__OP_ROPE) {
        put(w, "        let v%u = %s;\n", i, call(t, i, "c", "t", "0u").text);
    } else if (node->op == HY__OP_TOKEN_SHIFT) {
        put_shift(w, t, declared, i);
    } else {
        for (uint32_t k = 0; k < inputs_of(t, i); k++) {
            declare_input(w, t, declared, i, k);
        }
        if (f->term[0]) {
            put(w, "        let m%u = %s;\n", i, stat_of(t, i, "0u").text);
        }
        expand(t, f->value, i, IN_BODY, "", text);
        put(w, "        let v%u = %s;\n", i, text);
    }
}

static void put_store(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t i)
{
    if (t->stored ? t->stored[i] : expr(t, i)->root) {
        hy__wgsl_use(w, HY__BUFFER_arena);
        put(w, "        arena[%s + t * %uu + c] = v%u;\n",
            hy__wgsl_place(w, HY__AT_RESULT, expr(t, i)->value, 0).text, value(t, i)->n, i);
    }
}

/* Operations before a selection run in functions, on their own columns. */
void hy__wgsl_body(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t part)
{
    bool declared[MOST_EXPRS] = {false};
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (is_op(t, i) && (part == HY__ALL_PARTS || t->l->part[i] == part) &&
            value(t, i)->cols == t->l->p->cols && (!t->only || t->only[i])) {
            put_body_op(w, t, declared, i);
            put_store(w, t, i);
        } else if (expr(t, i)->kind == HY__EXPR_ANCHOR && t->own_anchors &&
                   (!t->only || t->only[i])) {
            put_store(w, t, i);
        }
    }
}

uint32_t hy__wgsl_leaf_ids(const hy__wgsl_tree *t, uint32_t *ids, uint32_t cap)
{
    bool found[MOST_EXPRS] = {false};
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (!is_op(t, i) || value(t, i)->cols != t->l->p->cols || (t->only && !t->only[i]) ||
            node_of(t, i)->op == HY__OP_SELECT || node_of(t, i)->op == HY__OP_ROPE) {
            continue;
        }
        const bool shift = node_of(t, i)->op == HY__OP_TOKEN_SHIFT;
        for (uint32_t k = 0; k < (shift ? 1 : inputs_of(t, i)); k++) {
            const uint32_t in = expr(t, i)->in[k];
            if (!found[in] && is_leaf(t, in)) {
                found[in] = true;
                if (n < cap) {
                    ids[n] = in;
                }
                n++;
            }
        }
    }
    return n;
}

void hy__wgsl_leaf(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t id)
{
    put(w, "        let v%u = %s;\n", id, call(t, id, "c", "t", "0u").text);
}

/* ---- trees in registers */

static bool needs(const hy__wgsl_regs *r, uint32_t i)
{
    return !r->needed || r->needed[i];
}

bool hy__wgsl_regs_can(const hy__wgsl_regs *r)
{
    const hy__wgsl_tree *t = r->t;
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (!is_op(t, i) || !needs(r, i)) {
            continue;
        }
        const hy__formula *f = formula_of(t, i);
        const hy__opcode op = node_of(t, i)->op;
        if (op == HY__OP_TOKEN_SHIFT ? !r->four || !t->l->single
                                     : !f->value || (r->four && !has_operators_only(f->value)) ||
                                           value(t, i)->cols != t->l->p->cols) {
            return false;
        }
        if (f->term[0] && (hy__layout_group(t->l, i) != r->n || stats_of(t, i) != 1)) {
            return false;
        }
    }
    return true;
}

hy__wgsl_text hy__wgsl_register(const hy__wgsl_regs *r, uint32_t i, uint32_t group)
{
    return register_of(r->t, i, group);
}

/* The first channel of a group; what lies behind the last channel reads the last ones instead. */
hy__wgsl_text hy__wgsl_regs_channel(const hy__wgsl_regs *r, uint32_t group)
{
    hy__wgsl_text c;
    const uint32_t at = group * r->stride;
    if (at + r->stride <= r->n) {
        snprintf(c.text, sizeof c.text, "%.60s + %uu", r->channel, at);
    } else {
        snprintf(c.text, sizeof c.text, "min(%.60s + %uu, %uu)", r->channel, at,
                 r->n - (r->four ? 4 : 1));
    }
    return c;
}

void hy__wgsl_regs_leaf(hy__wgsl *w, const hy__wgsl_regs *r, uint32_t i)
{
    const hy__wgsl_tree *t = r->t;
    const bool shift = is_op(t, i) && node_of(t, i)->op == HY__OP_TOKEN_SHIFT;
    for (uint32_t e = 0; e < r->each; e++) {
        const hy__wgsl_text c = hy__wgsl_regs_channel(r, e);
        if (shift) {
            hy__wgsl_use(w, HY__BUFFER_state4);
            put(w, "    let %s = state4[(%s + %s) / 4u];\n", register_of(t, i, e).text,
                state_place(w, t, expr(t, i)->in[1]).text, c.text);
        } else {
            put(w, "    let %s = %s;\n", register_of(t, i, e).text,
                (r->four ? hy__wgsl_call4(t, i, c.text, "0u") : call(t, i, c.text, "0u", "0u"))
                    .text);
        }
    }
}

bool hy__wgsl_regs_reads(const hy__wgsl_regs *r, uint32_t i)
{
    const hy__expr_kind kind = expr(r->t, i)->kind;
    if (kind == HY__EXPR_OP) {
        return needs(r, i) && node_of(r->t, i)->op == HY__OP_TOKEN_SHIFT;
    }
    bool used = false;
    for (uint32_t k = i + 1; k < r->t->l->t->n; k++) {
        for (uint32_t n = 0; is_op(r->t, k) && needs(r, k) && n < inputs_of(r->t, k); n++) {
            used |= expr(r->t, k)->in[n] == i && node_of(r->t, k)->op != HY__OP_TOKEN_SHIFT;
        }
    }
    return used && (kind == HY__EXPR_VECTOR || kind == HY__EXPR_COLUMN || kind == HY__EXPR_ANCHOR);
}

static void put_regs_sums(hy__wgsl *w, const hy__wgsl_regs *r, uint32_t i)
{
    const hy__wgsl_tree *t = r->t;
    const hy__formula *f = formula_of(t, i);
    put(w, "    var %cm%u = vec2<f32>();\n", t->prefix, i);
    for (int pass = 0; pass < 2 && f->term[pass]; pass++) {
        char text[TEXT], sum[NAME], x[24];
        snprintf(x, sizeof x, "%cs%u_%d", t->prefix, i, pass);
        put(w, "    var %s = 0.0;\n", x);
        for (uint32_t e = 0; e < r->each; e++) {
            expand(t, f->term[pass], i, (int)e, "", text);
            if ((e + 1) * r->stride > r->n) {
                put(w, "    if (%s + %uu < %uu) ", r->channel, e * r->stride, r->n);
            }
            put(w, r->four ? "    { %s += dot(%s, vec4<f32>(1.0)); }\n" : "    { %s += %s; }\n", x,
                text);
        }
        if (r->across) {
            snprintf(sum, sizeof sum, "across(%s)", x);
        } else {
            sum_text(w, x, sum);
        }
        expand(t, f->stat[pass], i, 0, sum, text);
        put(w, "    %cm%u.%c = %s;\n", t->prefix, i, "xy"[pass], text);
    }
}

void hy__wgsl_regs_op(hy__wgsl *w, const hy__wgsl_regs *r, uint32_t i)
{
    const hy__formula *f = formula_of(r->t, i);
    char text[TEXT];
    if (f->term[0]) {
        put_regs_sums(w, r, i);
    }
    for (uint32_t e = 0; e < r->each; e++) {
        expand(r->t, f->value, i, (int)e, "", text);
        put(w, "    let %s = %s;\n", register_of(r->t, i, e).text, text);
    }
}

uint32_t hy__wgsl_tree_lanes(const hy__layout *l)
{
    uint32_t lanes = 64;
    for (uint32_t k = 0; k < l->n_parts; k++) {
        lanes = l->parts[k].span > 128 ? 256 : lanes;
    }
    return lanes;
}

uint32_t hy__wgsl_part_groups(const hy__layout *l, uint32_t part, uint32_t lanes)
{
    const hy__part *p = &l->parts[part];
    const uint32_t width = p->span ? p->span : lanes;
    return (p->n + width - 1) / width;
}

void hy__wgsl_part(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t k)
{
    const hy__part *part = &t->l->parts[k];
    put(w, "\n@compute @workgroup_size(%u)\n", w->lanes);
    put(w,
        "fn part%u(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: "
        "u32) {\n    let t = id.y;\n",
        k);
    if (t->l->p->cols == HY__PER_OUT) {
        hy__wgsl_use(w, HY__BUFFER_step);
        put(w, "    let u = t + step.n_tokens - step.n_outputs;\n");
    }
    if (part->span == 0) {
        put(w, "    let c = id.x * %uu + lane;\n    if (c < %uu) {\n", w->lanes, part->n);
    } else {
        put(w, "    let first = id.x * %uu;\n", part->span);
        hy__wgsl_sums(w, t, k);
        put(w, "    for (var c = first + lane; c < first + %uu; c += %uu) {\n", part->span,
            w->lanes);
    }
    hy__wgsl_body(w, t, k);
    put(w, "    }\n}\n");
}

/* Every operation has a formula, or is one of those that look elsewhere. */
hy_status hy__wgsl_check(const hy__wgsl_tree *t, hy_error *err)
{
    for (uint32_t i = 0; i < t->l->t->n; i++) {
        if (!is_op(t, i)) {
            continue;
        }
        const hy__opcode op = node_of(t, i)->op;
        const bool moves = op == HY__OP_TOKEN_SHIFT || op == HY__OP_SELECT || op == HY__OP_ROPE;
        if (!moves && !formula_of(t, i)->value) {
            return hy__fail(err, HY_E_UNSUPPORTED, "WGSL has no formula for %s", hy__ops[op].name);
        }
    }
    return t->l->t->n <= MOST_EXPRS ? HY_OK
                                    : hy__fail(err, HY_E_UNSUPPORTED,
                                               "a tree of %u expressions is too large", t->l->t->n);
}

hy_status hy__render(const hy__graph *g, const hy__phase *p, const hy__phase_exprs *x,
                     bool epilogue, hy__buf *text, hy_error *err)
{
    hy__layout l;
    HY_TRY(hy__layout_make(&l, g, p, x, epilogue, false, false, err));
    const hy__wgsl_tree t = {.l = &l, .prefix = epilogue ? 'e' : 'p'};
    hy__wgsl w;
    hy__wgsl_init(&w, hy__wgsl_tree_lanes(&l), &g->env, err);
    w.status = hy__wgsl_check(&t, err);
    if (l.n_ops > 0) {
        hy__wgsl_functions(&w, &t, false);
        for (uint32_t k = 0; k < l.n_parts; k++) {
            hy__wgsl_part(&w, &t, k);
        }
        w.status = hy__wgsl_finish(&w);
    }
    hy__layout_finish(&l);
    if (w.status == HY_OK) {
        *text = w.text;
    } else {
        hy__buf_finish(&g->env, &w.text);
    }
    return w.status;
}
