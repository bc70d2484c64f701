/* text_wkv.c: the WKV-7 recurrence of one token, where lanes of a subgroup can exchange numbers.
 *
 * A workgroup has a head.  What a token waits for is latency, so all that is read is read at once,
 * and there are few barriers: every subgroup computes what is around the recurrence for the whole
 * head, some channels a lane, so that sums over the head are shuffles.  The matrices in front of
 * the recurrence (text_matmul.h) are multiplied here too where they are small.  Model creation
 * only; one thread. */
#include <stdio.h>

#include "text_matmul.h"

enum { R, W, K, V, Q, A, MOST_EACH = 8 };

typedef struct wkv {
    hy__gpu_writer *wr, before; /* of the phase; of the phase in front of it */
    hy__wgsl *w;
    const hy__node *node;
    hy__wgsl_regs p, e;    /* prologue, epilogue */
    uint32_t n, each, vecs; /* channels of a head; invocations of a row of the state; vec4 of each */
    hy__mm_joined *joined;
} wkv;

static const char *const names[] = {"xr", "xw", "xk", "xv", "xq", "xa"};

/* ---- values of channels in registers */

/* An input that an earlier dispatch has left, by its distance from the result: so layers have the
 * same text, which is compiled once. */
static hy__wgsl_text input_name(const wkv *h, hy__id id, uint32_t group)
{
    hy__wgsl_text c;
    snprintf(c.text, sizeof c.text, "in%u_%u", h->node->out - id, group);
    return c;
}

/* Where value `id` of a group of channels is, as an expression. */
static hy__wgsl_text value_of(const wkv *h, hy__id id, uint32_t group)
{
    const hy__tree *t = &h->wr->x->prologue;
    hy__wgsl_text c;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP && t->exprs[i].value == id) {
            return hy__wgsl_register(&h->p, i, group);
        }
    }
    const uint32_t number = h->joined ? hy__mm_joined_number(h->joined, id) : UINT32_MAX;
    if (number != UINT32_MAX) {
        snprintf(c.text, sizeof c.text, "joint%u[at + %uu]", number, group * h->p.stride);
    } else {
        c = input_name(h, id, group);
    }
    return c;
}

/* Whether an earlier dispatch has left it in the arena. */
static bool is_in_arena(const wkv *h, hy__id id)
{
    return strncmp(value_of(h, id, 0).text, "in", 2) == 0;
}

/* Leaves of a tree: now (of memory), or when matrices and the prologue are there. */
static void put_leaves(const wkv *h, const hy__wgsl_regs *r, bool memory)
{
    const hy__tree *t = r->t->l->t;
    for (uint32_t i = 0; i < t->n; i++) {
        if (!hy__wgsl_regs_reads(r, i) || (t->exprs[i].kind == HY__EXPR_ANCHOR && r == &h->e)) {
            continue;
        }
        const bool in_memory = t->exprs[i].kind != HY__EXPR_COLUMN || is_in_arena(h, t->exprs[i].value);
        if (in_memory != memory) {
            continue;
        }
        if (memory) {
            hy__wgsl_regs_leaf(h->w, r, i);
            continue;
        }
        for (uint32_t e = 0; e < r->each; e++) {
            hy__wgsl_put(h->w, "    let %s = %s;\n", hy__wgsl_register(r, i, e).text,
                         value_of(h, t->exprs[i].value, e).text);
        }
    }
}

static void put_ops(const wkv *h, const hy__wgsl_regs *r)
{
    const hy__tree *t = r->t->l->t;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP) {
            hy__wgsl_regs_op(h->w, r, i);
        }
    }
}

/* A result in 8 bits, by way of workgroup memory: expression i in the first subgroup's registers. */
static void put_q8(const wkv *h, const hy__wgsl_regs *r, uint32_t i, hy__id value)
{
    hy__wgsl *w = h->w;
    char at[64];
    hy__wgsl_use(w, HY__BUFFER_codes);
    for (uint32_t e = 0; e < r->each; e++) {
        hy__wgsl_put(w,
                     "    if (lane < %uu) { let c = at + %uu; staged[c / 4u][c %% 4u] = %s; }\n",
                     w->subgroup, e * r->stride, hy__wgsl_register(r, i, e).text);
    }
    hy__wgsl_put(w, "    workgroupBarrier();\n    {\n        let v = staged[min(lane, %uu)];\n",
                 h->n / 4 - 1);
    snprintf(at, sizeof at, "%uu + id.x * %uu", hy__gpu_q8_place(h->wr), h->n / 32);
    hy__gpu_put_q8(w, "lane", h->n / 4, "codes", at, h->wr->m->g->values[value].n / 32);
    hy__wgsl_put(w, "    }\n");
    h->wr->m->q8_place[value] = hy__gpu_q8_place(h->wr);
}

/* What is read elsewhere, by the first subgroup. */
static void put_stores(const wkv *h, const hy__wgsl_regs *r)
{
    const hy__tree *t = r->t->l->t;
    for (uint32_t i = 0; i < t->n; i++) {
        const bool stored = t->exprs[i].kind == HY__EXPR_OP &&
                            (r->t->stored ? r->t->stored[i] : t->exprs[i].root);
        if (stored && r == &h->e && h->n % 32 == 0 &&
            hy__gpu_wants_q8(h->wr, t->exprs[i].value)) {
            put_q8(h, r, i, t->exprs[i].value);
            continue;
        }
        for (uint32_t e = 0; stored && e < r->each; e++) {
            hy__wgsl_use(h->w, HY__BUFFER_arena);
            hy__wgsl_put(h->w, "    if (lane < %uu) { arena[%s + %s] = %s; }\n", h->w->subgroup,
                         hy__wgsl_place(h->w, HY__AT_RESULT, t->exprs[i].value, 0).text,
                         hy__wgsl_regs_channel(r, e).text, hy__wgsl_register(r, i, e).text);
        }
    }
}

/* ---- the recurrence */

static void put_state(const wkv *h, bool load)
{
    const hy__wgsl_text place = hy__wgsl_place(h->w, HY__AT_STATE, h->node->in[6], 0);
    hy__wgsl_use(h->w, load ? HY__BUFFER_state4 : HY__BUFFER_state_new);
    for (uint32_t k = 0; k < h->vecs; k++) {
        if (load) {
            hy__wgsl_put(h->w,
                         "    let a%u = %s + (first + row) * %uu + 4u * (part + %uu);\n"
                         "    var s%u = state4[a%u / 4u];\n",
                         k, place.text, h->n, k * h->each, k, k);
            continue;
        }
        for (uint32_t e = 0; e < 4; e++) {
            hy__wgsl_put(h->w, "    state_new[a%u + %uu] = s%u.%c;\n", k, e, k, "xyzw"[e]);
        }
    }
}

/* The vectors of the recurrence, from registers of the first subgroup. */
static void put_vectors(const wkv *h)
{
    hy__wgsl_put(h->w, "    if (lane < %uu) {\n", h->w->subgroup);
    for (uint32_t e = 0; e < h->p.each; e++) {
        hy__wgsl_put(h->w, "        {\n        let c = at + %uu;\n", e * h->p.stride);
        for (uint32_t k = 0; k < 6; k++) {
            const hy__wgsl_text x = value_of(h, h->node->in[k], e);
            if (k == V) {
                hy__wgsl_put(h->w, "        xv[c] = %s;\n", x.text);
            } else if (k == A) {
                hy__wgsl_put(h->w, "        xa[c / 4u][c %% 4u] = %s * %s;\n", x.text,
                             value_of(h, h->node->in[Q], e).text);
            } else {
                hy__wgsl_put(h->w, "        %s[c / 4u][c %% 4u] = %s;\n", names[k], x.text);
            }
        }
        hy__wgsl_put(h->w, "        }\n");
    }
    hy__wgsl_put(h->w, "    }\n    workgroupBarrier();\n");
}

static void put_token(const wkv *h)
{
    hy__wgsl *w = h->w;
    hy__wgsl_put(w, "        let value = xv[row];\n");
    hy__gpu_put_wkv7(w, h->vecs, h->each, "part", false);
    hy__wgsl_put(w, "        if (part == 0u) { y[row] = result; }\n");
}

/* ---- the kernel */

static void put_functions(const wkv *h)
{
    hy__wgsl *w = h->w;
    uint32_t written = 0;
    if (h->joined) {
        hy__mm_joined_functions(h->joined);
        written = h->each; /* lanes of a row of a matrix are as many */
    }
    hy__wgsl_functions(w, h->p.t, false);
    hy__wgsl_functions(w, h->e.t, false);
    hy__wgsl_total(w);
    hy__gpu_write_sum(h->wr, w, h->each, &written);
    hy__wgsl_put(w, "fn across(x: f32) -> f32 {\n    var s = x;\n");
    for (uint32_t n = w->subgroup / 2; n > 0; n /= 2) {
        hy__wgsl_put(w, "    s += subgroupShuffleXor(s, %uu);\n", n);
    }
    hy__wgsl_put(w, "    return s;\n}\n");
    hy__wgsl_put(w, "var<workgroup> y: array<f32, %u>;\nvar<workgroup> xv: array<f32, %u>;\n", h->n,
                 h->n);
    hy__wgsl_put(w, "var<workgroup> staged: array<vec4<f32>, %u>;\n", h->n / 4);
    hy__gpu_put_quantize(w);
    for (uint32_t k = 0; k < 6; k++) {
        if (k != V) {
            hy__wgsl_put(w, "var<workgroup> %s: array<vec4<f32>, %u>;\n", names[k], h->n / 4);
        }
    }
}

/* Inputs of the recurrence that are in the arena. */
static void put_inputs(const wkv *h)
{
    for (uint32_t k = 0; k < 6; k++) {
        const hy__id id = h->node->in[k];
        bool known = !is_in_arena(h, id);
        for (uint32_t i = 0; i < k; i++) {
            known |= h->node->in[i] == id;
        }
        for (uint32_t e = 0; !known && e < h->p.each; e++) {
            hy__wgsl_use(h->w, HY__BUFFER_arena);
            hy__wgsl_put(h->w, "    let %s = arena[%s + %s];\n", input_name(h, id, e).text,
                         hy__wgsl_place(h->w, HY__AT_RESULT, id, 0).text,
                         hy__wgsl_regs_channel(&h->p, e).text);
        }
    }
}

static void put_main(const wkv *h)
{
    hy__wgsl *w = h->w;
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n",
                 w->lanes);
    hy__wgsl_put(w,
                 "    let first = id.x * %uu;\n    let at = lane %% %uu;\n"
                 "    let row = lane / %uu;\n    let part = lane %% %uu;\n",
                 h->n, w->subgroup, h->each, h->each);
    if (h->joined) {
        hy__mm_joined_prefetch(h->joined);
    }
    put_state(h, true);
    put_inputs(h);
    put_leaves(h, &h->p, true);
    put_leaves(h, &h->e, true);
    if (h->joined) {
        hy__mm_joined_compute(h->joined);
    }
    put_leaves(h, &h->p, false);
    put_ops(h, &h->p);
    put_stores(h, &h->p);
    put_vectors(h);
    put_token(h);
    put_state(h, false);
    hy__wgsl_put(w, "    workgroupBarrier();\n");
    for (uint32_t e = 0; e < h->e.each; e++) {
        hy__wgsl_put(w, "    let er0_%u = y[at + %uu];\n", e, e * h->e.stride);
    }
    put_leaves(h, &h->e, false);
    put_ops(h, &h->e);
    put_stores(h, &h->e);
    const bool bare = h->e.t->l->n_ops == 0;
    if (bare && h->n % 32 == 0 && hy__gpu_wants_q8(h->wr, h->node->out)) {
        put_q8(h, &h->e, 0, h->node->out);
        hy__wgsl_put(w, "}\n");
        return;
    }
    for (uint32_t e = 0; bare && e < h->e.each; e++) {
        hy__wgsl_use(w, HY__BUFFER_arena);
        hy__wgsl_put(w, "    if (lane < %uu) { arena[%s + %s] = er0_%u; }\n", w->subgroup,
                     hy__wgsl_place(w, HY__AT_RESULT, h->node->out, 0).text,
                     hy__wgsl_regs_channel(&h->e, e).text, e);
    }
    hy__wgsl_put(w, "}\n");
}

/* ---- which phases */

static bool is_possible(const hy__gpu_writer *wr, const hy__wgsl_tree *pt, const hy__wgsl_tree *et)
{
    const hy__node *node = &wr->m->g->nodes[wr->p->first + wr->p->n_prologue];
    const uint32_t n = node->params.group, lanes = wr->m->gpu.caps.subgroup_min;
    const hy__wgsl_regs p = {.t = pt, .each = 1, .stride = n, .n = n};
    const hy__wgsl_regs e = {.t = et, .each = 1, .stride = n, .n = n};
    return wr->m->wide && hy__gpu_by_lanes(wr->m, HY__GPU_USE_RECURRENCE) && n % 16 == 0 &&
           n % HY_MIN(lanes, 32u) == 0 && n / HY_MIN(lanes, 32u) <= MOST_EACH &&
           hy__wgsl_regs_can(&p) && hy__wgsl_regs_can(&e);
}

static hy_status write_lanes(wkv *h, uint32_t lanes, bool join, bool *done)
{
    hy__gpu_writer *wr = h->wr;
    const uint32_t channels = wr->m->g->values[h->node->out].n;
    hy__gpu_dispatch d = {
        .groups = channels / h->n, .cols = HY__PER_T, .attention = UINT32_MAX};
    hy__wgsl w;
    uint32_t kernel;
    hy__gpu_begin(wr, &w, lanes);
    h->w = &w;
    h->each = lanes / h->n;
    h->vecs = h->n / 4 / h->each;
    h->p.each = h->e.each = h->n / w.subgroup;
    h->p.stride = h->e.stride = w.subgroup;
    *done = true;
    if (join) {
        HY_TRY(hy__mm_join(&h->before, &w, wr->phase, channels, h->n, &h->joined));
        if (!h->joined) {
            *done = false;
            return HY_OK;
        }
        hy__mm_joined_window(h->joined, &d);
        wr->window = h->before.window = d.window;
    }
    put_functions(h);
    put_main(h);
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

static hy_status write_any(wkv *h, bool join, bool *done)
{
    const uint32_t most = HY_MIN(h->wr->m->gpu.caps.invocations, 1024u);
    for (uint32_t lanes = 8 * h->n; lanes >= 4 * h->n; lanes /= 2) {
        if (lanes > most || h->n % (4 * (lanes / h->n)) != 0) {
            continue;
        }
        HY_TRY(write_lanes(h, lanes, join, done));
        if (*done) {
            return HY_OK;
        }
    }
    *done = false;
    return HY_OK;
}

static hy_status write_trees(wkv *h, bool join, bool *done)
{
    hy__gpu_writer *wr = h->wr;
    const hy__graph *g = wr->m->g;
    hy__layout pl = {0}, el = {0};
    bool *stored = hy__calloc(&wr->m->env, (size_t)wr->x->prologue.n + 1, sizeof *stored, wr->err);
    hy_status status = stored ? HY_OK : HY_E_NOMEM;
    if (status == HY_OK) {
        status = hy__layout_make(&pl, g, wr->p, wr->x, false, true, true, wr->err);
    }
    if (status == HY_OK) {
        status = hy__layout_make(&el, g, wr->p, wr->x, true, true, false, wr->err);
    }
    for (uint32_t i = 0; i < wr->x->prologue.n && status == HY_OK; i++) {
        stored[i] = wr->x->prologue.exprs[i].kind == HY__EXPR_OP &&
                    hy__gpu_leaves(wr, wr->x->prologue.exprs[i].value);
    }
    const hy__wgsl_tree pt = {.l = &pl, .prefix = 'p', .stored = stored};
    const hy__wgsl_tree et = {.l = &el, .prefix = 'e', .own_anchors = true};
    h->p = (hy__wgsl_regs){.t = &pt, .n = h->n, .channel = "first + at", .across = true};
    h->e = (hy__wgsl_regs){.t = &et, .n = h->n, .channel = "first + at", .across = true};
    *done = false;
    if (status == HY_OK && is_possible(wr, &pt, &et)) {
        status = write_any(h, join, done);
    }
    hy__mm_joined_destroy(h->joined);
    if (el.g) {
        hy__layout_finish(&el);
    }
    if (pl.g) {
        hy__layout_finish(&pl);
    }
    hy__free(&wr->m->env, stored);
    return status;
}

hy_status hy__gpu_write_wkv7_lanes(hy__gpu_writer *wr, const hy__gpu_writer *before, bool *done)
{
    const hy__node *node = &wr->m->g->nodes[wr->p->first + wr->p->n_prologue];
    wkv h = {.wr = wr, .node = node, .n = node->params.group};
    *done = false;
    if (!wr->single) {
        return HY_OK;
    }
    if (before) {
        h.before = *before;
        h.before.vectors = wr->vectors = HY_MIN(before->vectors, wr->vectors);
    }
    return write_trees(&h, before != NULL, done);
}
