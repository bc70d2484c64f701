/* text_heads.c: phases that are no matrices: rows of the embedding, the WKV-7 recurrence and
 * attention.  Model creation only; one thread. */
#include <stdio.h>

#include "webgpu.h"

/* ---- rows of a table */

static void put_row_of_codes(hy__wgsl *w, const hy__gpu_format *f, uint32_t n)
{
    hy__wgsl_put(w, "    let w = block_%s(at, i);\n", f->name);
    hy__wgsl_put(w, "    for (var k = 0u; k < 8u; k++) {\n"
                    "        let four = select(w.hi, w.lo, k < 4u)[k %% 4u];\n"
                    "        let half = k / 4u;\n"
                    "        for (var j = 0u; j < 4u; j++) {\n"
                    "            let u = bitcast<i32>(four << (24u - 8u * j)) >> 24u;\n"
                    "            arena[to + 4u * k + j] = w.a[half] * f32(u) - w.c[half];\n"
                    "        }\n"
                    "    }\n");
    (void)n;
}

static void put_row_of_numbers(hy__wgsl *w, const hy__gpu_format *f, uint32_t n)
{
    hy__wgsl_put(w, "    for (var k = 0u; k < 8u; k++) {\n");
    hy__wgsl_put(w, "        let four = four_%s(at, i, k);\n", f->name);
    hy__wgsl_put(
        w,
        "        for (var j = 0u; j < 4u; j++) {\n"
        "            if (32u * b + 4u * k + j < %uu) { arena[to + 4u * k + j] = four[j]; }\n"
        "        }\n"
        "    }\n",
        n);
}

static hy_status write_table(hy__gpu_writer *wr, const hy__node *node, uint32_t chunk)
{
    const hy__gpu_matrix *x = &wr->m->matrices[node->in[0]];
    const uint32_t row0 = chunk * x->chunk_rows, rows = HY_MIN(x->m - row0, x->chunk_rows);
    const uint32_t blocks = (x->n + 31) / 32;
    bool block = false;
    hy__gpu_dispatch d = {
        .groups = (blocks + 63) / 64, .cols_each = 1, .cols = HY__PER_T, .attention = UINT32_MAX};
    hy__wgsl w;
    hy__gpu_matrix_window(wr->m, x, chunk, &d);
    wr->window = d.window;
    hy__gpu_begin(wr, &w, 64);
    hy__gpu_write_format(&w, x->format, &block);
    hy__wgsl_use(&w, HY__BUFFER_tokens);
    hy__wgsl_use(&w, HY__BUFFER_step);
    hy__wgsl_use(&w, HY__BUFFER_arena);
    hy__wgsl_put(&w, "\n@compute @workgroup_size(64)\n"
                     "fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n");
    hy__wgsl_put(&w,
                 "    let b = id.x;\n    let t = id.y;\n"
                 "    let token = tokens[(step.pos + t) %% %uu] - %s;\n",
                 HY__RING, hy__wgsl_place(&w, HY__AT_OTHER, row0, HY__GPU_NUMBER + 1).text);
    hy__wgsl_put(&w, "    if (b >= %uu || token >= %uu) { return; }\n", blocks, rows);
    hy__wgsl_put(&w, "    let i = token * %uu + b;\n    let to = %s + t * %uu + 32u * b;\n", blocks,
                 hy__wgsl_place(&w, HY__AT_RESULT, node->out, 0).text, x->n);
    hy__wgsl_put(&w, "    let at = vec4<u32>(");
    for (uint32_t p = 0; p < HY__GPU_PLANES; p++) {
        hy__wgsl_put(
            &w, "%s%s", p ? ", " : "",
            x->format->planes[p]
                ? hy__wgsl_place(&w, HY__AT_OTHER, node->in[0], HY__GPU_PLANE + p + 4 * chunk).text
                : "0u");
    }
    hy__wgsl_put(&w, ");\n");
    if (x->format->codes) {
        put_row_of_codes(&w, x->format, x->n);
    } else {
        put_row_of_numbers(&w, x->format, x->n);
    }
    hy__wgsl_put(&w, "}\n");
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

hy_status hy__gpu_write_embed(hy__gpu_writer *wr)
{
    const hy__node *node = &wr->m->g->nodes[wr->p->first + wr->p->n_prologue];
    for (uint32_t c = 0; c < wr->m->matrices[node->in[0]].n_chunks; c++) {
        HY_TRY(write_table(wr, node, c));
    }
    return HY_OK;
}

/* ---- WKV-7: a workgroup has a head, and `each` invocations a row of its state */

typedef struct heads {
    hy__gpu_writer *wr;
    const hy__node *node;
    hy__layout prologue, epilogue;
    hy__wgsl_tree pt, et;
    bool *stored;
    uint32_t n, each, lanes, vecs; /* channels of a head; vec4 of a row in an invocation */
} heads;

/* Sums of all parts that look at heads, and bodies, for the head at hand. */
static void put_head_tree(hy__wgsl *w, const heads *h, const hy__wgsl_tree *t, const char *anchors)
{
    for (uint32_t k = 0; k < t->l->n_parts; k++) {
        hy__wgsl_sums(w, t, k);
        hy__wgsl_put(w, "    for (var c = first + lane; c < first + %uu; c += %uu) {\n%s", h->n,
                     h->lanes, anchors);
        hy__wgsl_body(w, t, k);
        hy__wgsl_put(w, "    }\n");
    }
}

static void put_wkv_stage(hy__wgsl *w, heads *h)
{
    static const char *const names[] = {"xr", "xw", "xk", NULL, "xq", "xa"};
    hy__wgsl_put(w, "        workgroupBarrier();\n        if (lane < %uu) {\n", h->n / 4);
    hy__wgsl_put(w, "            let c = first + 4u * lane;\n");
    for (uint32_t k = 0; k < 6; k++) {
        if (!names[k]) {
            continue;
        }
        hy__wgsl_put(w, "            %s[lane] = vec4<f32>(", names[k]);
        for (uint32_t e = 0; e < 4; e++) {
            char channel[16];
            snprintf(channel, sizeof channel, "c + %uu", e);
            hy__wgsl_put(w, "%s%s", e ? ", " : "",
                         hy__gpu_value(h->wr, w, &h->pt, h->node->in[k], channel, "t").text);
        }
        hy__wgsl_put(w, ");\n");
    }
    hy__wgsl_put(w, "            xa[lane] *= xq[lane];\n        }\n        workgroupBarrier();\n");
}

void hy__gpu_put_wkv7(hy__wgsl *w, uint32_t vecs, uint32_t each, const char *from, bool late)
{
    hy__wgsl_put(w, "        var dot_q = 0.0;\n        var dot_r = 0.0;\n");
    for (uint32_t k = 0; k < vecs; k++) {
        hy__wgsl_put(w, "        dot_q += dot(s%u, xq[%s + %uu]);\n", k, from, k * each);
    }
    hy__wgsl_put(w, "        let removed = sum_%u(lane, dot_q);\n", each);
    if (late) {
        hy__wgsl_put(w, "        let result = sum_%u(lane, late);\n", each);
    }
    for (uint32_t k = 0; k < vecs; k++) {
        const uint32_t at = k * each;
        hy__wgsl_put(w,
                     "        s%u = s%u * xw[%s + %uu] - removed * xa[%s + %uu] + value * xk[%s + "
                     "%uu];\n",
                     k, k, from, at, from, at, from, at);
        hy__wgsl_put(w, "        dot_r += dot(s%u, xr[%s + %uu]);\n", k, from, at);
    }
    if (late) {
        hy__wgsl_put(w, "        late = dot_r;\n");
    } else {
        hy__wgsl_put(w, "        let result = sum_%u(lane, dot_r);\n", each);
    }
}

static void put_wkv_token(hy__wgsl *w, heads *h)
{
    hy__wgsl_put(w, "        let value = %s;\n",
                 hy__gpu_value(h->wr, w, &h->pt, h->node->in[3], "first + row", "t").text);
    hy__gpu_put_wkv7(w, h->vecs, h->each, "part", false);
    hy__wgsl_put(w, "        if (part == 0u) { y[row] = result; }\n        workgroupBarrier();\n");
}

static void put_wkv_state(hy__wgsl *w, const heads *h, bool load)
{
    const hy__wgsl_text place = hy__wgsl_place(w, HY__AT_STATE, h->node->in[6], 0);
    hy__wgsl_use(w, load ? HY__BUFFER_state_old : HY__BUFFER_state_new);
    for (uint32_t k = 0; k < h->vecs; k++) {
        char at[200];
        snprintf(at, sizeof at, "%s + (first + row) * %uu + 4u * (part + %uu)", place.text, h->n,
                 k * h->each);
        if (load) {
            hy__wgsl_put(
                w,
                "    let a%u = %s;\n    var s%u = vec4<f32>(state_old[a%u], state_old[a%u + "
                "1u], state_old[a%u + 2u], state_old[a%u + 3u]);\n",
                k, at, k, k, k, k, k);
        } else {
            for (uint32_t e = 0; e < 4; e++) {
                hy__wgsl_put(w, "    state_new[a%u + %uu] = s%u.%c;\n", k, e, k, "xyzw"[e]);
            }
        }
    }
}

static hy_status write_wkv7(heads *h)
{
    hy__gpu_writer *wr = h->wr;
    hy__wgsl w;
    uint32_t written = 0;
    hy__gpu_begin(wr, &w, h->lanes);
    hy__wgsl_use(&w, HY__BUFFER_step);
    hy__wgsl_put(&w, "var<workgroup> y: array<f32, %u>;\n", h->n);
    for (uint32_t k = 0; k < 5; k++) {
        hy__wgsl_put(&w, "var<workgroup> x%c: array<vec4<f32>, %u>;\n", "rwkqa"[k], h -> n / 4);
    }
    hy__wgsl_put(&w, "fn e0(c: u32, t: u32) -> f32 { return y[c %% %uu]; }\n", h->n);
    hy__wgsl_functions(&w, &h->pt, false);
    hy__wgsl_functions(&w, &h->et, false);
    hy__wgsl_total(&w);
    hy__gpu_write_sum(wr, &w, h->each, &written);
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n",
                 h->lanes);
    hy__wgsl_put(
        &w, "    let first = id.x * %uu;\n    let row = lane / %uu;\n    let part = lane %% %uu;\n",
        h->n, h->each, h->each);
    put_wkv_state(&w, h, true);
    hy__wgsl_put(&w, "    for (var t = 0u; t < %s; t++) {\n", wr->single ? "1u" : "step.n_tokens");
    put_head_tree(&w, h, &h->pt, "");
    put_wkv_stage(&w, h);
    put_wkv_token(&w, h);
    put_head_tree(&w, h, &h->et, "        let v0 = e0(c, t);\n");
    if (h->epilogue.n_ops == 0) {
        hy__wgsl_put(&w, "    for (var c = first + lane; c < first + %uu; c += %uu) {\n", h->n,
                     h->lanes);
        hy__wgsl_use(&w, HY__BUFFER_arena);
        hy__wgsl_put(&w, "        arena[%s + t * %uu + c] = y[c %% %uu];\n    }\n",
                     hy__wgsl_place(&w, HY__AT_RESULT, h->node->out, 0).text,
                     wr->m->g->values[h->node->out].n, h->n);
    }
    hy__wgsl_put(&w, "        workgroupBarrier();\n    }\n");
    put_wkv_state(&w, h, false);
    hy__wgsl_put(&w, "}\n");
    const hy__gpu_dispatch d = {.groups = wr->m->g->values[h->node->out].n / h->n,
                                .cols = HY__PER_T,
                                .attention = UINT32_MAX};
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* Whether everything in a tree looks at heads of n channels, or at single channels. */
static bool looks_at_heads(const hy__layout *l, uint32_t n, uint32_t channels)
{
    for (uint32_t k = 0; k < l->n_parts; k++) {
        if (l->parts[k].n != channels || (l->parts[k].span != 0 && l->parts[k].span != n)) {
            return false;
        }
    }
    return l->n_slots == 1;
}

static hy_status begin_heads(heads *h, hy_error *err)
{
    hy__gpu_writer *wr = h->wr;
    const hy__graph *g = wr->m->g;
    HY_TRY(hy__layout_make(&h->prologue, g, wr->p, wr->x, false, wr->single, true, err));
    HY_TRY(hy__layout_make(&h->epilogue, g, wr->p, wr->x, true, wr->single, false, err));
    h->stored = hy__calloc(&g->env, (size_t)wr->x->prologue.n + 1, sizeof *h->stored, err);
    if (!h->stored) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < wr->x->prologue.n; i++) {
        h->stored[i] = wr->x->prologue.exprs[i].kind == HY__EXPR_OP &&
                       hy__gpu_leaves(wr, wr->x->prologue.exprs[i].value);
    }
    h->pt = (hy__wgsl_tree){.l = &h->prologue, .prefix = 'p', .stored = h->stored};
    h->et = (hy__wgsl_tree){.l = &h->epilogue, .prefix = 'e', .own_anchors = true};
    HY_TRY(hy__wgsl_check(&h->pt, err));
    return hy__wgsl_check(&h->et, err);
}

static void end_heads(heads *h)
{
    const hy_env *env = &h->wr->m->g->env;
    hy__free(env, h->stored);
    if (h->prologue.g) {
        hy__layout_finish(&h->prologue);
    }
    if (h->epilogue.g) {
        hy__layout_finish(&h->epilogue);
    }
}

hy_status hy__gpu_write_wkv7(hy__gpu_writer *wr)
{
    if (!wr->single) {
        return hy__gpu_write_walk(wr);
    }
    const hy__graph *g = wr->m->g;
    const hy__node *node = &g->nodes[wr->p->first + wr->p->n_prologue];
    heads h = {.wr = wr, .node = node, .n = node->params.group};
    const uint32_t channels = g->values[node->out].n;
    h.each = 4;
    while (h.each > 1 && (h.n % (4 * h.each) != 0 || h.n * h.each > 256)) {
        h.each /= 2;
    }
    h.lanes = h.n * h.each;
    h.vecs = h.n / 4 / h.each;
    if (h.n % 4 != 0 || h.lanes > 256) {
        return hy__fail(wr->err, HY_E_UNSUPPORTED, "backend webgpu: heads of %u channels", h.n);
    }
    hy_status status = begin_heads(&h, wr->err);
    if (status == HY_OK && (!looks_at_heads(&h.prologue, h.n, channels) ||
                            !looks_at_heads(&h.epilogue, h.n, channels))) {
        status = hy__fail(wr->err, HY_E_INTERNAL,
                          "a recurrence is fused with work on more than its heads");
    }
    if (status == HY_OK) {
        status = write_wkv7(&h);
    }
    end_heads(&h);
    return status;
}

/* ---- attention: first what is around it, and the caches; then heads */

/* A word of a cache: the f16 numbers of channels c and c + 1. */
static void put_cache_word(hy__wgsl *w, heads *h, hy__id id, uint32_t which, uint32_t n)
{
    const hy__wgsl_text base = hy__wgsl_place(
        w, HY__AT_OTHER, (hy__id)(h->node - h->wr->m->g->nodes), HY__GPU_CACHE + which);
    hy__wgsl_use(w, HY__BUFFER_cache);
    const hy__wgsl_text a = hy__gpu_value(h->wr, w, &h->pt, id, "c", "t");
    const hy__wgsl_text b = hy__gpu_value(h->wr, w, &h->pt, id, "c + 1u", "t");
    hy__wgsl_put(
        w,
        "        cache[%s + ((step.pos + t) * %uu + c) / 2u] = pack2x16float(vec2<f32>(%s, "
        "%s));\n",
        base.text, n, a.text, b.text);
}

/* The part of the prologue that computes `id`, or NULL. */
static const hy__part *part_of(const heads *h, hy__id id, uint32_t *number)
{
    const hy__tree *t = &h->wr->x->prologue;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP && t->exprs[i].value == id) {
            *number = h->prologue.part[i];
            return &h->prologue.parts[*number];
        }
    }
    return NULL;
}

/* Workgroups for keys (which 0) or values of a step, into the cache; returns how many. */
static uint32_t put_append(hy__wgsl *w, heads *h, uint32_t which, uint32_t begin)
{
    const hy__id id = h->node->in[1 + which];
    const uint32_t n = h->wr->m->g->values[id].n;
    uint32_t number = 0;
    const hy__part *part = part_of(h, id, &number);
    const uint32_t width = part && part->span ? part->span : 2 * h->lanes;
    const uint32_t groups = (n + width - 1) / width;
    hy__wgsl_put(w, "    %sif (id.x < %uu) {\n    let first = (id.x - %uu) * %uu;\n",
                 begin ? "else " : "", begin + groups, begin, width);
    if (part) {
        hy__wgsl_sums(w, &h->pt, number);
    }
    hy__wgsl_put(w, "    for (var c = first + 2u * lane; c < min(first + %uu, %uu); c += %uu) {\n",
                 width, n, 2 * h->lanes);
    put_cache_word(w, h, id, which, n);
    hy__wgsl_put(w, "    }\n    }\n");
    return groups;
}

/* The prologue and the caches, for steps that end at position least_pos or later. */
static hy_status write_append(heads *h, uint32_t least_pos)
{
    hy__gpu_writer *wr = h->wr;
    hy__wgsl w;
    hy__gpu_begin(wr, &w, h->lanes);
    hy__wgsl_use(&w, HY__BUFFER_step);
    hy__wgsl_functions(&w, &h->pt, false);
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let t = id.y;\n",
                 h->lanes);
    uint32_t groups = put_append(&w, h, 0, 0);
    groups += put_append(&w, h, 1, groups);
    for (uint32_t k = 0; k < h->prologue.n_parts; k++) {
        const hy__part *part = &h->prologue.parts[k];
        const uint32_t width = part->span ? part->span : h->lanes;
        const uint32_t n = (part->n + width - 1) / width;
        hy__wgsl_put(&w, "    else if (id.x < %uu) {\n    let first = (id.x - %uu) * %uu;\n",
                     groups + n, groups, width);
        hy__wgsl_sums(&w, &h->pt, k);
        hy__wgsl_put(&w, "    for (var c = first + lane; c < min(first + %uu, %uu); c += %uu) {\n",
                     width, part->n, h->lanes);
        hy__wgsl_body(&w, &h->pt, k);
        hy__wgsl_put(&w, "    }\n    }\n");
        groups += n;
    }
    hy__wgsl_put(&w, "}\n");
    const hy__gpu_dispatch d = {.groups = groups,
                                .cols_each = 1,
                                .cols = HY__PER_T,
                                .least_pos = least_pos,
                                .attention = (uint32_t)(h->node - wr->m->g->nodes)};
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

static void put_cache_read(hy__wgsl *w)
{
    hy__wgsl_put(w, "fn cached(base: u32, i: u32) -> f32 {\n"
                    "    let pair = unpack2x16float(cache[base + i / 2u]);\n"
                    "    return select(pair.x, pair.y, i %% 2u == 1u);\n}\n");
}

/* A workgroup has a head of queries and a token: scores of 256 positions at a time, and running
 * sums that are scaled when the largest score grows. */
static hy_status write_attend(heads *h, uint32_t most_pos)
{
    hy__gpu_writer *wr = h->wr;
    const hy__graph *g = wr->m->g;
    const hy__params *p = &h->node->params;
    const uint32_t nk = g->values[h->node->in[1]].n, nv = g->values[h->node->in[2]].n;
    const uint32_t dim = nk / p->n_head_kv, dim_v = nv / p->n_head_kv;
    const uint32_t lanes = 256, node = (uint32_t)(h->node - g->nodes);
    const uint32_t columns = HY_MIN(lanes, dim_v), sets = lanes / columns;
    const uint32_t turns = (dim_v + columns - 1) / columns;
    hy__wgsl w;
    uint32_t written = 0;
    hy__gpu_begin(wr, &w, lanes);
    hy__wgsl_use(&w, HY__BUFFER_step);
    hy__wgsl_use(&w, HY__BUFFER_arena);
    hy__wgsl_use(&w, HY__BUFFER_cache);
    put_cache_read(&w);
    hy__wgsl_put(
        &w,
        "var<workgroup> partial: array<f32, 256>;\nvar<workgroup> weight: array<f32, 256>;\n"
        "var<workgroup> q: array<f32, %u>;\n",
        dim);
    hy__gpu_write_sum(wr, &w, 256, &written);
    hy__wgsl_put(
        &w, "fn largest(lane: u32, x: f32) -> f32 {\n"
            "    workgroupBarrier();\n    partial[lane] = x;\n    workgroupBarrier();\n"
            "    for (var n = 128u; n > 0u; n /= 2u) {\n"
            "        if (lane < n) { partial[lane] = max(partial[lane], partial[lane + n]); }\n"
            "        workgroupBarrier();\n    }\n    return partial[0];\n}\n");
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(256)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n");
    hy__wgsl_put(&w, "    let t = id.y;\n    let head = id.x;\n    let kv = head / %uu;\n",
                 p->n_head / p->n_head_kv);
    hy__wgsl_put(&w,
                 "    for (var c = lane; c < %uu; c += 256u) { q[c] = arena[%s + t * %uu + head * "
                 "%uu + c]; }\n",
                 dim, hy__wgsl_place(&w, HY__AT_RESULT, h->node->in[0], 0).text,
                 g->values[h->node->in[0]].n, dim);
    hy__wgsl_put(&w, "    workgroupBarrier();\n    let end = step.pos + t + 1u;\n"
                     "    var most = -3.0e38;\n    var norm = 0.0;\n");
    for (uint32_t k = 0; k < turns; k++) {
        hy__wgsl_put(&w, "    var y%u = 0.0;\n", k);
    }
    hy__wgsl_put(&w, "    for (var begin = 0u; begin < end; begin += 256u) {\n"
                     "        let at = begin + lane;\n        var score = -3.0e38;\n"
                     "        if (at < end) {\n            score = 0.0;\n");
    hy__wgsl_put(
        &w,
        "            for (var c = 0u; c < %uu; c++) {\n"
        "                score += q[c] * cached(%s, at * %uu + kv * %uu + c);\n            }\n",
        dim, hy__wgsl_place(&w, HY__AT_OTHER, node, HY__GPU_CACHE).text, nk, dim);
    hy__wgsl_put(&w, "            score *= %.9g;\n        }\n", (double)p->scale);
    hy__wgsl_put(&w, "        let now = max(most, largest(lane, score));\n"
                     "        let scale = exp(max(most - now, -80.0));\n"
                     "        let e = select(0.0, exp(max(score - now, -80.0)), at < end);\n"
                     "        norm = norm * scale + sum_256(lane, e);\n"
                     "        weight[lane] = e;\n        workgroupBarrier();\n"
                     "        let n = min(256u, end - begin);\n");
    for (uint32_t k = 0; k < turns; k++) {
        hy__wgsl_put(&w, "        y%u *= scale;\n", k);
        hy__wgsl_put(&w, "        if (lane < %uu && lane %% %uu + %uu < %uu) {\n", sets * columns,
                     columns, k * columns, dim_v);
        hy__wgsl_put(
            &w,
            "            for (var i = lane / %uu; i < n; i += %uu) {\n"
            "                y%u += weight[i] * cached(%s, (begin + i) * %uu + kv * %uu + lane %% "
            "%uu + %uu);\n            }\n        }\n",
            columns, sets, k, hy__wgsl_place(&w, HY__AT_OTHER, node, HY__GPU_CACHE + 1).text, nv,
            dim_v, columns, k * columns);
    }
    hy__wgsl_put(&w, "        most = now;\n    }\n");
    for (uint32_t k = 0; k < turns; k++) {
        hy__wgsl_put(
            &w, "    workgroupBarrier();\n    partial[lane] = y%u;\n    workgroupBarrier();\n", k);
        hy__wgsl_put(&w, "    if (lane < %uu && lane + %uu < %uu) {\n        var sum = 0.0;\n",
                     columns, k * columns, dim_v);
        hy__wgsl_put(&w,
                     "        for (var s = 0u; s < %uu; s++) { sum += partial[s * %uu + lane]; }\n",
                     sets, columns);
        hy__wgsl_put(&w,
                     "        arena[%s + t * %uu + head * %uu + lane + %uu] = sum / norm;\n    }\n",
                     hy__wgsl_place(&w, HY__AT_RESULT, h->node->out, 0).text,
                     g->values[h->node->out].n, dim_v, k * columns);
    }
    hy__wgsl_put(&w, "}\n");
    const hy__gpu_dispatch d = {.groups = p->n_head,
                                .cols_each = 1,
                                .cols = HY__PER_T,
                                .most_pos = most_pos,
                                .attention = node};
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

hy_status hy__gpu_write_attention(hy__gpu_writer *wr)
{
    const hy__graph *g = wr->m->g;
    const hy__node *node = &g->nodes[wr->p->first + wr->p->n_prologue];
    heads h = {.wr = wr, .node = node, .lanes = 64};
    const uint32_t rest = hy__gpu_flash_rest(wr);
    const hy__gpu_dispatch range = {.cols = HY__PER_T, .most_pos = rest == UINT32_MAX ? 0 : rest};
    bool done = false;
    HY_TRY(hy__gpu_write_attend_lanes(wr, &range, &done));
    if (done && rest == UINT32_MAX) {
        return HY_OK;
    }
    hy_status status = begin_heads(&h, wr->err);
    if (status == HY_OK) {
        /* The queries are read from the arena. */
        for (uint32_t i = 0; i < wr->x->prologue.n; i++) {
            h.stored[i] |= wr->x->prologue.exprs[i].kind == HY__EXPR_OP &&
                           wr->x->prologue.exprs[i].value == node->in[0];
        }
        if (g->values[node->in[1]].n % 2 || g->values[node->in[2]].n % 2) {
            status = hy__fail(wr->err, HY_E_UNSUPPORTED, "KV caches of an odd number of channels");
        }
    }
    if (status == HY_OK) {
        status = write_append(&h, done ? rest + 1 : 0);
    }
    if (status == HY_OK && rest < UINT32_MAX) {
        status = hy__gpu_write_flash(wr);
    }
    if (status == HY_OK && rest > 0 && !done) {
        status = write_attend(&h, range.most_pos);
    }
    end_heads(&h);
    return status;
}
