/* text_attend.c: attention of one token, where lanes of a subgroup can exchange numbers.
 *
 * A workgroup has a head of queries.  It computes what is in front of the attention for its head
 * (and, for the head of keys and values that several share, each of them), so that no dispatch has
 * to come before; the first of those that share a head of keys also appends it to the caches.
 * `each` neighbouring lanes have a position: eight channels of key and value a lane, the largest
 * score and the sums of what they saw so far; at the end all of them are put together.  Model
 * creation only; one thread. */
#include <stdio.h>

#include "webgpu.h"

enum { LANES = 256, AT_ONCE = 4 /* positions of a lane whose keys and values are read at once */ };

typedef struct attend {
    hy__gpu_writer *wr;
    hy__wgsl *w;
    const hy__node *node;
    hy__wgsl_tree pt;
    uint32_t dim, nk, shared; /* channels of a head; of all keys; heads of queries for one of keys */
    uint32_t each, groups;    /* lanes of a position; positions of a workgroup */
} attend;

static hy__wgsl_text cache_of(const attend *a, uint32_t which)
{
    return hy__wgsl_place(a->w, HY__AT_OTHER, (hy__id)(a->node - a->wr->m->g->nodes),
                          HY__GPU_CACHE + which);
}

/* The part of the prologue that computes `id`, or UINT32_MAX. */
static uint32_t part_of(const attend *a, hy__id id)
{
    const hy__tree *t = &a->wr->x->prologue;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP && t->exprs[i].value == id) {
            return a->pt.l->part[i];
        }
    }
    return UINT32_MAX;
}

/* Queries, keys (rounded as in the cache) and values of the head, into workgroup memory. */
static void put_inputs(const attend *a)
{
    static const char *const names[] = {"xq", "xk", "xv"};
    hy__wgsl *w = a->w;
    for (uint32_t k = 0; k < 3; k++) {
        const uint32_t part = part_of(a, a->node->in[k]);
        if (part != UINT32_MAX && a->pt.l->parts[part].span > 0) {
            hy__wgsl_put(w, "    {\n    let first = %s * %uu;\n", k == 0 ? "head" : "kv", a->dim);
            hy__wgsl_sums(w, &a->pt, part);
            hy__wgsl_put(w, "    }\n");
        }
    }
    for (uint32_t k = 0; k < 3; k++) {
        /* By lanes of their own where there are enough, so that nothing is waited for twice. */
        const uint32_t pairs = HY_MAX(a->dim / 2, 32u), begin = 3 * pairs <= LANES ? k * pairs : 0;
        hy__wgsl_put(w,
                     "    for (var j = (lane + %uu) %% %uu; j < %uu; j += %uu) {\n"
                     "        let c = %s * %uu + 2u * j;\n        let pair = vec2<f32>(%s, ",
                     LANES - begin, LANES, a->dim / 2, LANES, k == 0 ? "head" : "kv", a->dim,
                     hy__gpu_value(a->wr, w, &a->pt, a->node->in[k], "c", "t").text);
        hy__wgsl_put(w, "%s);\n",
                     hy__gpu_value(a->wr, w, &a->pt, a->node->in[k], "c + 1u", "t").text);
        if (k == 0) {
            hy__wgsl_put(w,
                         "        xq[2u * j] = pair.x * %.9g;\n"
                         "        xq[2u * j + 1u] = pair.y * %.9g;\n    }\n",
                         (double)a->node->params.scale, (double)a->node->params.scale);
            continue;
        }
        hy__wgsl_put(w,
                     "        let word = pack2x16float(pair);\n"
                     "        let half = unpack2x16float(word);\n"
                     "        %s[2u * j] = half.x;\n        %s[2u * j + 1u] = half.y;\n",
                     names[k], names[k]);
        hy__wgsl_put(w,
                     "        if (head %% %uu == 0u) {\n"
                     "            let at = %s + (pos * %uu + kv * %uu) / 2u + j;\n"
                     "            cache4[at / 4u][at %% 4u] = word;\n        }\n    }\n",
                     a->shared, cache_of(a, k - 1).text, a->nk, a->dim);
    }
    hy__wgsl_put(w, "    workgroupBarrier();\n");
}

/* The eight numbers of a vec4 of the cache, as two vec4: NAMEa and NAMEb. */
static void put_eight(const attend *a, const char *name, const char *raw)
{
    hy__wgsl_put(a->w,
                 "        let %sa = vec4<f32>(unpack2x16float(%s.x), unpack2x16float(%s.y));\n"
                 "        let %sb = vec4<f32>(unpack2x16float(%s.z), unpack2x16float(%s.w));\n",
                 name, raw, raw, name, raw, raw);
}

/* Raw keys and values of a lane's positions from `begin` on: variables rk and rv. */
static void put_reads(const attend *a, const char *begin)
{
    for (uint32_t n = 0; n < AT_ONCE; n++) {
        hy__wgsl_put(a->w,
                     "    {\n        let at = (min(%s + group + %uu, max(pos, 1u) - 1u) * %uu + kv * "
                     "%uu) / 8u + part;\n",
                     begin, n * a->groups, a->nk, a->dim);
        /* A place is numbered when it is first asked for, so not two of them as arguments of one call. */
        const hy__wgsl_text keys = cache_of(a, 0), values = cache_of(a, 1);
        hy__wgsl_put(a->w,
                     "        rk%u = cache4[%s / 4u + at];\n"
                     "        rv%u = cache4[%s / 4u + at];\n    }\n",
                     n, keys.text, n, values.text);
    }
}

static void put_loop(const attend *a)
{
    hy__wgsl *w = a->w;
    hy__wgsl_put(w, "    for (var begin = 0u; begin < pos; begin += %uu) {\n",
                 AT_ONCE * a->groups);
    for (uint32_t n = 0; n < AT_ONCE; n++) {
        hy__wgsl_put(w, "        let k%u = rk%u;\n        let v%u = rv%u;\n", n, n, n, n);
    }
    char next[40];
    snprintf(next, sizeof next, "begin + %uu", AT_ONCE * a->groups);
    put_reads(a, next);
    for (uint32_t n = 0; n < AT_ONCE; n++) {
        char raw[8], name[8];
        snprintf(raw, sizeof raw, "k%u", n);
        snprintf(name, sizeof name, "k%u", n);
        put_eight(a, name, raw);
        hy__wgsl_put(w,
                     "        let there%u = begin + group + %uu < pos;\n"
                     "        let s%u = select(-3.0e38, across(dot(qa, k%ua) + dot(qb, k%ub)), "
                     "there%u);\n",
                     n, n * a->groups, n, n, n, n);
    }
    hy__wgsl_put(w, "        let top = max(most, max(max(s0, s1), max(s2, s3)));\n"
                    "        let scale = exp(max(most - top, -80.0));\n"
                    "        norm *= scale;\n        ya *= scale;\n        yb *= scale;\n");
    for (uint32_t n = 0; n < AT_ONCE; n++) {
        char raw[8], name[8];
        snprintf(raw, sizeof raw, "v%u", n);
        snprintf(name, sizeof name, "v%u", n);
        put_eight(a, name, raw);
        hy__wgsl_put(w,
                     "        let e%u = select(0.0, exp(max(s%u - top, -80.0)), there%u);\n"
                     "        norm += e%u;\n        ya += e%u * v%ua;\n        yb += e%u * v%ub;\n",
                     n, n, n, n, n, n, n, n);
    }
    hy__wgsl_put(w, "        most = top;\n    }\n");
}

/* What all positions of a workgroup saw, into `sums`: of each subgroup, then of all. */
static void put_together(const attend *a)
{
    hy__wgsl *w = a->w;
    const uint32_t subgroups = LANES / w->subgroup;
    hy__wgsl_put(w, "    var top = most;\n");
    for (uint32_t n = a->each; n < w->subgroup; n *= 2) {
        hy__wgsl_put(w, "    top = max(top, subgroupShuffleXor(top, %uu));\n", n);
    }
    hy__wgsl_put(w,
                 "    if (lane %% %uu == 0u) { partial[lane / %uu] = top; }\n"
                 "    workgroupBarrier();\n    top = partial[0];\n",
                 w->subgroup, w->subgroup);
    hy__wgsl_put(w, "    for (var n = 1u; n < %uu; n++) { top = max(top, partial[n]); }\n",
                 subgroups);
    hy__wgsl_put(w, "    let scale = exp(max(most - top, -80.0));\n"
                    "    norm *= scale;\n    ya *= scale;\n    yb *= scale;\n");
    for (uint32_t n = a->each; n < w->subgroup; n *= 2) {
        hy__wgsl_put(w,
                     "    norm += subgroupShuffleXor(norm, %uu);\n"
                     "    ya += subgroupShuffleXor(ya, %uu);\n"
                     "    yb += subgroupShuffleXor(yb, %uu);\n",
                     n, n, n);
    }
    hy__wgsl_put(w,
                 "    if (lane %% %uu < %uu) {\n"
                 "        let to = lane / %uu * %uu + 2u * part;\n"
                 "        sums[to] = ya;\n        sums[to + 1u] = yb;\n    }\n"
                 "    if (lane %% %uu == 0u) { norms[lane / %uu] = norm; }\n    workgroupBarrier();\n",
                 w->subgroup, a->each, w->subgroup, a->dim / 4, w->subgroup, w->subgroup);
    hy__wgsl_put(w,
                 "    var v = vec4<f32>();\n    norm = 0.0;\n    let four = min(lane, %uu);\n"
                 "    for (var n = 0u; n < %uu; n++) {\n"
                 "        v += sums[n * %uu + four];\n        norm += norms[n];\n    }\n"
                 "    v /= norm;\n",
                 a->dim / 4 - 1, subgroups, a->dim / 4);
}

static void put_result(const attend *a)
{
    hy__wgsl *w = a->w;
    const hy__id out = a->node->out;
    if (a->dim % 32 == 0 && hy__gpu_wants_q8(a->wr, out)) {
        char at[64];
        hy__wgsl_use(w, HY__BUFFER_codes);
        snprintf(at, sizeof at, "%uu + head * %uu", hy__gpu_q8_place(a->wr), a->dim / 32);
        hy__wgsl_put(w, "    {\n");
        hy__gpu_put_q8(w, "lane", a->dim / 4, "codes", at, a->wr->m->g->values[out].n / 32);
        hy__wgsl_put(w, "    }\n");
        a->wr->m->q8_place[out] = hy__gpu_q8_place(a->wr);
        return;
    }
    hy__wgsl_put(w, "    if (lane < %uu) {\n", a->dim / 4);
    for (uint32_t e = 0; e < 4; e++) {
        hy__wgsl_put(w, "        arena[%s + head * %uu + 4u * lane + %uu] = v.%c;\n",
                     hy__wgsl_place(w, HY__AT_RESULT, out, 0).text, a->dim, e, "xyzw"[e]);
    }
    hy__wgsl_put(w, "    }\n");
}

static void put_kernel(const attend *a)
{
    hy__wgsl *w = a->w;
    hy__wgsl_use(w, HY__BUFFER_step);
    hy__wgsl_use(w, HY__BUFFER_arena);
    hy__wgsl_use(w, HY__BUFFER_cache4);
    hy__wgsl_functions(w, &a->pt, false);
    hy__wgsl_total(w);
    hy__gpu_put_quantize(w);
    hy__wgsl_put(w, "fn across(x: f32) -> f32 {\n    var s = x;\n");
    for (uint32_t n = a->each / 2; n > 0; n /= 2) {
        hy__wgsl_put(w, "    s += subgroupShuffleXor(s, %uu);\n", n);
    }
    hy__wgsl_put(w,
                 "    return s;\n}\n"
                 "var<workgroup> xq: array<f32, %u>;\nvar<workgroup> xk: array<f32, %u>;\n"
                 "var<workgroup> xv: array<f32, %u>;\n"
                 "var<workgroup> sums: array<vec4<f32>, %u>;\nvar<workgroup> norms: array<f32, "
                 "%u>;\n",
                 a->dim, a->dim, a->dim, LANES / w->subgroup * a->dim / 4, LANES / w->subgroup);
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n"
                 "    let t = 0u;\n    let pos = step.pos;\n    let head = id.x;\n"
                 "    let kv = head / %uu;\n    let group = lane / %uu;\n"
                 "    let part = lane %% %uu;\n",
                 LANES, a->shared, a->each, a->each);
    for (uint32_t n = 0; n < AT_ONCE; n++) {
        hy__wgsl_put(w, "    var rk%u: vec4<u32>;\n    var rv%u: vec4<u32>;\n", n, n);
    }
    put_reads(a, "0u");
    put_inputs(a);
    for (int k = 0; k < 3; k++) {
        for (int half = 0; half < 2; half++) {
            hy__wgsl_put(w, "    let %c%c = vec4<f32>(", "qcu"[k], "ab"[half]);
            for (int e = 0; e < 4; e++) {
                hy__wgsl_put(w, "%sx%c[8u * part + %uu]", e ? ", " : "", "qkv"[k],
                             (uint32_t)(4 * half + e));
            }
            hy__wgsl_put(w, ");\n");
        }
    }
    /* The token itself belongs to the first group. */
    hy__wgsl_put(w, "    let own = across(dot(qa, ca) + dot(qb, cb));\n"
                    "    var most = select(-3.0e38, own, group == 0u);\n"
                    "    var norm = select(0.0, 1.0, group == 0u);\n"
                    "    var ya = ua * norm;\n    var yb = ub * norm;\n");
    put_loop(a);
    put_together(a);
    put_result(a);
    hy__wgsl_put(w, "}\n");
}

static bool is_power(uint32_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

/* Whether sums of the prologue are over single heads, and nothing else needs its results. */
static bool is_possible(const attend *a)
{
    const hy__tree *t = &a->wr->x->prologue;
    const hy__gpu_caps *caps = &a->wr->m->gpu.caps;
    for (uint32_t k = 0; k < a->pt.l->n_parts; k++) {
        const uint32_t span = a->pt.l->parts[k].span;
        if (span != 0 && span != a->dim) {
            return false;
        }
    }
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP && hy__gpu_leaves(a->wr, t->exprs[i].value)) {
            return false;
        }
    }
    return hy__gpu_by_lanes(a->wr->m, HY__GPU_USE_ATTENTION) && a->dim % 8 == 0 &&
           is_power(a->dim / 8) && a->dim / 8 >= 2 &&
           a->dim / 8 <= HY_MIN(caps->subgroup_min, 32u) && a->dim <= LANES * 2 &&
           LANES % HY_MIN(caps->subgroup_min, 32u) == 0 && caps->subgroup_min >= 8;
}

hy_status hy__gpu_write_attend_lanes(hy__gpu_writer *wr, const hy__gpu_dispatch *range, bool *done)
{
    const hy__graph *g = wr->m->g;
    const hy__node *node = &g->nodes[wr->p->first + wr->p->n_prologue];
    const hy__params *p = &node->params;
    const uint32_t nk = g->values[node->in[1]].n, nv = g->values[node->in[2]].n;
    attend a = {.wr = wr, .node = node, .nk = nk, .dim = nk / p->n_head_kv};
    hy__layout pl;
    *done = false;
    if (!wr->single || nv != nk) {
        return HY_OK;
    }
    HY_TRY(hy__layout_make(&pl, g, wr->p, wr->x, false, true, true, wr->err));
    a.pt = (hy__wgsl_tree){.l = &pl, .prefix = 'p'};
    a.shared = p->n_head / p->n_head_kv;
    a.each = a.dim / 8;
    a.groups = a.each > 0 ? LANES / a.each : 0;
    hy_status status = HY_OK;
    if (is_possible(&a)) {
        hy__wgsl w;
        uint32_t kernel;
        hy__gpu_dispatch d = *range;
        hy__gpu_begin(wr, &w, LANES);
        a.w = &w;
        put_kernel(&a);
        d.groups = p->n_head;
        d.attention = (uint32_t)(node - g->nodes);
        status = hy__gpu_add_kernel(wr, &w, &kernel);
        if (status == HY_OK) {
            status = hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
        }
        *done = true;
    }
    hy__layout_finish(&pl);
    return status;
}
