/* text_flash.c: attention over blocks of queries and blocks of keys, with the largest score and the
 * sums of what was seen so far, which are scaled when a larger one comes.
 *
 * A workgroup has a head of keys, as many tokens as give it rows (a row is a query: a token and one
 * of the heads that share the keys), and all keys or one of several parts of them; then a second
 * dispatch puts the parts together.  8 invocations have a row, with many tokens four rows: they
 * multiply each number that they read of workgroup memory with several.  Keys and values of a block
 * are brought there as f32, one after the other in the same place.
 *
 * Model creation only; one thread. */
#include <stdio.h>

#include "webgpu.h"

enum {
    EACH = 8,       /* invocations of a row */
    MOST_ROWS = 32, /* of a workgroup, one for each of its groups of invocations */
    MOST_DEEP = 128, /* and four for each */
    DEEP = 4,
    MOST_KEYS = 32, /* of a block */
    FEW = 32,       /* tokens whose positions are divided */
    JOIN_LANES = 64,
    PARTS_OF_ONE = 64,
    PARTS_OF_FEW = 16
};

typedef struct flash {
    hy__gpu_model *m;
    bool single;
    const hy__node *node;
    uint32_t nk, nv, dim, dim_v; /* of all heads of keys and values; of one */
    uint32_t shared;             /* heads of queries for one of keys */
    uint32_t rows, tokens, keys; /* of a workgroup; of a block */
    uint32_t deep;               /* rows of an invocation */
    uint32_t parts;              /* of the positions; 1: undivided */
    uint64_t scratch;            /* vec4 of `codes` where results of parts begin */
} flash;

/* vec4 of a row in workgroup memory: one more than it has, so that rows begin in different banks.
 */
static uint32_t stride(uint32_t dim)
{
    return dim / 4 + 1;
}

static uint32_t lanes_of(const flash *f)
{
    return f->rows / f->deep * EACH;
}

static uint32_t memory_of(const flash *f)
{
    return 16 * (f->rows * stride(f->dim) + f->keys * stride(HY_MAX(f->dim, f->dim_v))) +
           4 * (f->rows * (f->keys + 1) + lanes_of(f));
}

/* vec4 of a part's results: sums, then the largest score and the norm. */
static uint32_t part_vecs(const flash *f)
{
    return f->dim_v / 4 + 1;
}

static hy__wgsl_text cache_of(const flash *f, hy__wgsl *w, uint32_t which)
{
    return hy__wgsl_place(w, HY__AT_OTHER, (hy__id)(f->node - f->m->g->nodes),
                          HY__GPU_CACHE + which);
}

static void put_row_sums(const flash *f, hy__wgsl *w)
{
    if (hy__gpu_sums_by_lanes(f->m, EACH)) {
        hy__wgsl_put(w, "fn row_max(lane: u32, x: f32) -> f32 {\n    var s = x;\n"
                        "    s = max(s, subgroupShuffleXor(s, 4u));\n"
                        "    s = max(s, subgroupShuffleXor(s, 2u));\n"
                        "    return max(s, subgroupShuffleXor(s, 1u));\n}\n"
                        "fn row_sum(lane: u32, x: f32) -> f32 {\n    var s = x;\n"
                        "    s += subgroupShuffleXor(s, 4u);\n    s += subgroupShuffleXor(s, 2u);\n"
                        "    return s + subgroupShuffleXor(s, 1u);\n}\n");
        return;
    }
    hy__wgsl_put(w, "var<workgroup> row_parts: array<f32, %u>;\n", lanes_of(f));
    for (int sum = 0; sum < 2; sum++) {
        hy__wgsl_put(w,
                     "fn row_%s(lane: u32, x: f32) -> f32 {\n"
                     "    workgroupBarrier();\n    row_parts[lane] = x;\n    workgroupBarrier();\n"
                     "    let at = lane - lane %% %uu;\n    var s = row_parts[at];\n"
                     "    for (var k = 1u; k < %uu; k++) { s = %s; }\n    return s;\n}\n",
                     sum ? "sum" : "max", EACH, EACH,
                     sum ? "s + row_parts[at + k]" : "max(s, row_parts[at + k])");
    }
}

/* A block of keys (which 0) or values, from position k0 on. */
static void put_block(const flash *f, hy__wgsl *w, uint32_t which)
{
    const uint32_t n = which ? f->nv : f->nk, dim = which ? f->dim_v : f->dim;
    hy__wgsl_put(w,
                 "        workgroupBarrier();\n"
                 "        for (var i = lane; i < %uu; i += %uu) {\n"
                 "            let at = %s + (min(k0 + i / %uu, last - 1u) * %uu + kv * %uu) / 2u + "
                 "i %% %uu * 2u;\n",
                 f->keys * dim / 4, lanes_of(f), cache_of(f, w, which).text, dim / 4, n, dim,
                 dim / 4);
    hy__wgsl_put(
        w,
        "            block[i / %uu * %uu + i %% %uu] = vec4<f32>(unpack2x16float(cache[at]),"
        " unpack2x16float(cache[at + 1u]));\n        }\n        workgroupBarrier();\n",
        dim / 4, stride(dim), dim / 4);
}

static void put_scores(const flash *f, hy__wgsl *w)
{
    const uint32_t each = f->keys / EACH;
    for (uint32_t r = 0; r < f->deep; r++) {
        for (uint32_t i = 0; i < each; i++) {
            hy__wgsl_put(w, "        var s%u_%u = 0.0;\n", r, i);
        }
    }
    hy__wgsl_put(w, "        for (var c = 0u; c < %uu; c++) {\n", f->dim / 4);
    for (uint32_t r = 0; r < f->deep; r++) {
        hy__wgsl_put(w, "            let a%u = query[row%u * %uu + c];\n", r, r, stride(f->dim));
    }
    for (uint32_t i = 0; i < each; i++) {
        hy__wgsl_put(w, "            let b%u = block[(sub + %uu) * %uu + c];\n", i, EACH * i,
                     stride(f->dim));
        for (uint32_t r = 0; r < f->deep; r++) {
            hy__wgsl_put(w, "            s%u_%u += dot(a%u, b%u);\n", r, i, r, i);
        }
    }
    hy__wgsl_put(w, "        }\n");
    for (uint32_t r = 0; r < f->deep; r++) {
        hy__wgsl_put(w, "        var scale%u = 0.0;\n        {\n        var top = most%u;\n", r, r);
        for (uint32_t i = 0; i < each; i++) {
            hy__wgsl_put(w,
                         "        let see%u = k0 + sub + %uu < end%u;\n"
                         "        top = max(top, select(-3.0e38, s%u_%u, see%u));\n",
                         i, EACH * i, r, r, i, i);
        }
        hy__wgsl_put(w,
                     "        top = row_max(lane, top);\n"
                     "        scale%u = exp(max(most%u - top, -80.0));\n        var sum = 0.0;\n",
                     r, r);
        for (uint32_t i = 0; i < each; i++) {
            hy__wgsl_put(w,
                         "        let e%u = select(0.0, exp(max(s%u_%u - top, -80.0)), see%u);\n"
                         "        sum += e%u;\n        weight[row%u * %uu + sub + %uu] = e%u;\n",
                         i, r, i, i, i, r, f->keys + 1, EACH * i, i);
        }
        hy__wgsl_put(w,
                     "        norm%u = norm%u * scale%u + row_sum(lane, sum);\n"
                     "        most%u = top;\n        }\n",
                     r, r, r, r);
    }
}

/* Quads of a row's results in an invocation: sub, sub + 8, ... */
static uint32_t quads_of(const flash *f)
{
    return (f->dim_v / 4 + EACH - 1) / EACH;
}

static void put_values(const flash *f, hy__wgsl *w)
{
    for (uint32_t r = 0; r < f->deep; r++) {
        for (uint32_t i = 0; i < quads_of(f); i++) {
            hy__wgsl_put(w, "        y%u_%u *= scale%u;\n", r, i, r);
        }
    }
    hy__wgsl_put(w, "        for (var k = 0u; k < %uu; k++) {\n", f->keys);
    for (uint32_t r = 0; r < f->deep; r++) {
        hy__wgsl_put(w, "            let e%u = weight[row%u * %uu + k];\n", r, r, f->keys + 1);
    }
    for (uint32_t i = 0; i < quads_of(f); i++) {
        hy__wgsl_put(w, "            let v%u = block[k * %uu + min(sub + %uu, %uu)];\n", i,
                     stride(f->dim_v), EACH * i, f->dim_v / 4 - 1);
        for (uint32_t r = 0; r < f->deep; r++) {
            hy__wgsl_put(w, "            y%u_%u += e%u * v%u;\n", r, i, r, i);
        }
    }
    hy__wgsl_put(w, "        }\n");
}

static void put_row_results(const flash *f, hy__wgsl *w, uint32_t r)
{
    const hy__graph *g = f->m->g;
    hy__wgsl_put(w, "    if (row%u < %uu && t%u < step.n_tokens) {\n", r, f->tokens * f->shared, r);
    if (f->parts > 1) {
        hy__wgsl_put(w, "    let to = %lluu + ((t%u * %uu + head%u) * %uu + part) * %uu;\n",
                     (unsigned long long)f->scratch, r, f->node->params.n_head, r, f->parts,
                     part_vecs(f));
        hy__wgsl_put(w,
                     "    if (sub == 0u) { codes[to + %uu] = bitcast<vec4<u32>>(vec4<f32>(most%u, "
                     "norm%u, 0.0, 0.0)); }\n",
                     f->dim_v / 4, r, r);
    } else {
        hy__wgsl_put(w,
                     "    let to = %s + t%u * %uu + head%u * %uu;\n    let factor = 1.0 / norm%u;\n",
                     hy__wgsl_place(w, HY__AT_RESULT, f->node->out, 0).text, r,
                     g->values[f->node->out].n, r, f->dim_v, r);
    }
    for (uint32_t i = 0; i < quads_of(f); i++) {
        hy__wgsl_put(w, "    if (sub + %uu < %uu) {\n", EACH * i, f->dim_v / 4);
        if (f->parts > 1) {
            hy__wgsl_put(w, "        codes[to + sub + %uu] = bitcast<vec4<u32>>(y%u_%u);\n",
                         EACH * i, r, i);
        }
        for (uint32_t e = 0; e < 4 && f->parts == 1; e++) {
            hy__wgsl_put(w, "        arena[to + 4u * sub + %uu] = y%u_%u.%c * factor;\n",
                         4 * EACH * i + e, r, i, "xyzw"[e]);
        }
        hy__wgsl_put(w, "    }\n");
    }
    hy__wgsl_put(w, "    }\n");
}

/* The variables of an invocation's rows, which lie as far apart as there are groups. */
static void put_rows(const flash *f, hy__wgsl *w)
{
    for (uint32_t r = 0; r < f->deep; r++) {
        hy__wgsl_put(w,
                     "    let row%u = lane / %uu + %uu;\n    let t%u = base + row%u / %uu;\n"
                     "    let head%u = kv * %uu + row%u %% %uu;\n"
                     "    let end%u = min(step.pos + t%u + 1u, last);\n"
                     "    var most%u = -3.0e38;\n    var norm%u = 0.0;\n",
                     r, EACH, r * (f->rows / f->deep), r, r, f->shared, r, f->shared, r, f->shared,
                     r, r, r, r);
        for (uint32_t i = 0; i < quads_of(f); i++) {
            hy__wgsl_put(w, "    var y%u_%u = vec4<f32>();\n", r, i);
        }
    }
}

static void put_begin(const flash *f, hy__wgsl *w)
{
    const hy__graph *g = f->m->g;
    const hy__params *p = &f->node->params;
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n"
                 "    let kv = id.x / %uu;\n    let part = id.x %% %uu;\n"
                 "    let sub = lane %% %uu;\n    let base = id.y * %uu;\n"
                 "    let last = step.pos + min(base + %uu, step.n_tokens);\n",
                 lanes_of(f), f->parts, f->parts, EACH, f->tokens, f->tokens);
    put_rows(f, w);
    hy__wgsl_put(w,
                 "    for (var i = lane; i < %uu; i += %uu) {\n"
                 "        let r = i / %uu;\n",
                 f->rows * f->dim / 4, lanes_of(f), f->dim / 4);
    hy__wgsl_put(
        w,
        "        let at = %s + min(base + r / %uu, step.n_tokens - 1u) * %uu + (kv * %uu + r "
        "%% %uu) * %uu + i %% %uu * 4u;\n"
        "        query[r * %uu + i %% %uu] = vec4<f32>(arena[at], arena[at + 1u], arena[at "
        "+ 2u], arena[at + 3u]) * %.9g;\n    }\n",
        hy__wgsl_place(w, HY__AT_RESULT, f->node->in[0], 0).text, f->shared,
        g->values[f->node->in[0]].n, f->shared, f->shared, f->dim, f->dim / 4, stride(f->dim),
        f->dim / 4, (double)p->scale);
    if (f->parts > 1) {
        hy__wgsl_put(w,
                     "    let length = ((last + %uu) / %uu + %uu) / %uu * %uu;\n"
                     "    let begin = part * length;\n    let stop = min(begin + length, last);\n",
                     f->keys - 1, f->keys, f->parts - 1, f->parts, f->keys);
    } else {
        hy__wgsl_put(w, "    let begin = 0u;\n    let stop = last;\n");
    }
}

static hy_status write_parts(const flash *f, hy__gpu_writer *wr, const hy__gpu_dispatch *range)
{
    uint32_t kernel;
    hy__wgsl w;
    hy__gpu_begin(wr, &w, lanes_of(f));
    hy__wgsl_use(&w, HY__BUFFER_step);
    hy__wgsl_use(&w, HY__BUFFER_arena);
    hy__wgsl_use(&w, HY__BUFFER_cache);
    if (f->parts > 1) {
        hy__wgsl_use(&w, HY__BUFFER_codes);
    }
    hy__wgsl_put(&w,
                 "var<workgroup> query: array<vec4<f32>, %u>;\n"
                 "var<workgroup> block: array<vec4<f32>, %u>;\n"
                 "var<workgroup> weight: array<f32, %u>;\n",
                 f->rows * stride(f->dim), f->keys * stride(HY_MAX(f->dim, f->dim_v)),
                 f->rows * (f->keys + 1));
    put_row_sums(f, &w);
    put_begin(f, &w);
    hy__wgsl_put(&w, "    for (var k0 = begin; k0 < stop; k0 += %uu) {\n", f->keys);
    put_block(f, &w, 0);
    put_scores(f, &w);
    put_block(f, &w, 1);
    put_values(f, &w);
    hy__wgsl_put(&w, "    }\n");
    for (uint32_t r = 0; r < f->deep; r++) {
        put_row_results(f, &w, r);
    }
    hy__wgsl_put(&w, "}\n");
    hy__gpu_dispatch d = *range;
    d.groups = f->node->params.n_head_kv * f->parts;
    d.cols_each = f->tokens;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* The results v of a head, in 8 bits where the dispatch for short caches leaves them so. */
static void put_joined(const flash *f, hy__wgsl *w)
{
    const hy__id out = f->node->out;
    const uint32_t n = f->m->g->values[out].n;
    if (f->single && f->m->q8_place[out] != UINT32_MAX) {
        char at[64];
        snprintf(at, sizeof at, "%uu + id.x * %uu", f->m->q8_place[out], f->dim_v / 32);
        hy__gpu_put_q8(w, "lane", f->dim_v / 4, "codes", at, n / 32);
        return;
    }
    hy__wgsl_use(w, HY__BUFFER_arena);
    hy__wgsl_put(w,
                 "    if (lane < %uu) {\n        let to = %s + id.y * %uu + id.x * %uu + 4u * c;\n",
                 f->dim_v / 4, hy__wgsl_place(w, HY__AT_RESULT, out, 0).text, n, f->dim_v);
    for (uint32_t e = 0; e < 4; e++) {
        hy__wgsl_put(w, "        arena[to + %uu] = v.%c;\n", e, "xyzw"[e]);
    }
    hy__wgsl_put(w, "    }\n");
}

/* Puts the parts of a head and token together, four channels an invocation. */
static hy_status write_join(const flash *f, hy__gpu_writer *wr, const hy__gpu_dispatch *range)
{
    uint32_t kernel;
    hy__wgsl w;
    hy__gpu_begin(wr, &w, JOIN_LANES);
    hy__wgsl_use(&w, HY__BUFFER_codes);
    hy__gpu_put_quantize(&w);
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let at = %lluu + (id.y * %uu + id.x) * %uu;\n"
                 "    let c = min(lane, %uu);\n    var most = -3.0e38;\n    var norm = 0.0;\n",
                 JOIN_LANES, (unsigned long long)f->scratch, f->node->params.n_head,
                 f->parts * part_vecs(f), f->dim_v / 4 - 1);
    hy__wgsl_put(&w,
                 "    for (var k = 0u; k < %uu; k++) {\n"
                 "        most = max(most, bitcast<f32>(codes[at + k * %uu + %uu].x));\n    }\n",
                 f->parts, part_vecs(f), f->dim_v / 4);
    hy__wgsl_put(&w,
                 "    var v = vec4<f32>();\n    for (var k = 0u; k < %uu; k++) {\n"
                 "        let p = bitcast<vec4<f32>>(codes[at + k * %uu + %uu]);\n"
                 "        let e = exp(max(p.x - most, -80.0));\n"
                 "        norm += e * p.y;\n"
                 "        v += e * bitcast<vec4<f32>>(codes[at + k * %uu + c]);\n    }\n"
                 "    v /= norm;\n",
                 f->parts, part_vecs(f), f->dim_v / 4, part_vecs(f));
    put_joined(f, &w);
    hy__wgsl_put(&w, "}\n");
    hy__gpu_dispatch d = *range;
    d.groups = f->node->params.n_head;
    d.cols_each = 1;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* The shape for so many tokens that rows are full, or for one. */
static void choose_shape(flash *f, bool one)
{
    const uint32_t bytes = f->m->gpu.caps.workgroup_bytes;
    f->rows = MOST_ROWS;
    f->keys = MOST_KEYS;
    f->deep = 1;
    while (one && f->rows / 2 >= f->shared) {
        f->rows /= 2;
    }
    while (f->rows > 0 && memory_of(f) > bytes) {
        if (f->keys > EACH) {
            f->keys /= 2;
        } else {
            f->rows /= 2;
        }
    }
    f->tokens = one ? 1 : f->rows / f->shared;
}

/* With several rows for each invocation: a processor may take a single workgroup of so much memory,
 * so many rows matter more than many keys.  False: there is no room for a group of heads. */
static bool choose_deep_shape(flash *f)
{
    const uint32_t bytes = f->m->gpu.caps.workgroup_bytes;
    f->deep = DEEP;
    f->keys = MOST_KEYS;
    for (f->rows = MOST_DEEP; memory_of(f) > bytes && f->keys > EACH;) {
        if (f->keys > 2 * EACH) {
            f->keys /= 2;
        } else if (f->rows > MOST_DEEP / 4) {
            f->rows /= 2;
            f->keys = MOST_KEYS;
        } else {
            f->keys /= 2;
        }
    }
    f->tokens = f->rows / f->shared;
    return f->tokens > 0 && memory_of(f) <= bytes;
}

static hy_status write_divided(flash *f, hy__gpu_writer *wr, uint32_t parts, uint32_t most_tokens)
{
    hy__gpu_model *m = f->m;
    const hy__gpu_dispatch range = {.cols = HY__PER_T,
                                    .attention = (uint32_t)(f->node - m->g->nodes),
                                    .most_cols = most_tokens,
                                    .least_pos = m->undivided + 1};
    const uint64_t vecs = (uint64_t)most_tokens * f->node->params.n_head * parts * part_vecs(f);
    f->parts = parts;
    f->scratch = f->single ? 3 * (uint64_t)m->q8_vecs : 0;
    m->scratch_vecs = HY_MAX(m->scratch_vecs, f->scratch + vecs);
    HY_TRY(write_parts(f, wr, &range));
    return write_join(f, wr, &range);
}

/* False: heads of such a shape are not for these kernels. */
static bool begin(flash *f, const hy__gpu_writer *wr)
{
    const hy__graph *g = wr->m->g;
    const hy__node *node = &g->nodes[wr->p->first + wr->p->n_prologue];
    const hy__params *p = &node->params;
    *f = (flash){.m = wr->m,
                 .single = wr->single,
                 .node = node,
                 .nk = g->values[node->in[1]].n,
                 .nv = g->values[node->in[2]].n,
                 .shared = p->n_head / p->n_head_kv,
                 .parts = 1};
    f->dim = f->nk / p->n_head_kv;
    f->dim_v = f->nv / p->n_head_kv;
    choose_shape(f, wr->single);
    return f->dim % 4 == 0 && f->dim_v % 4 == 0 && f->dim_v <= 4 * JOIN_LANES && f->tokens > 0 &&
           f->rows >= f->shared;
}

uint32_t hy__gpu_flash_rest(const hy__gpu_writer *wr)
{
    flash f;
    return !begin(&f, wr) ? UINT32_MAX : wr->single ? wr->m->undivided : 0;
}

hy_status hy__gpu_write_flash(hy__gpu_writer *wr)
{
    flash f;
    begin(&f, wr);
    if (wr->single) {
        return write_divided(&f, wr, PARTS_OF_ONE, 1);
    }
    hy__gpu_dispatch range = {.cols = HY__PER_T,
                              .attention = (uint32_t)(f.node - wr->m->g->nodes),
                              .most_cols = FEW,
                              .most_pos = wr->m->undivided};
    HY_TRY(write_parts(&f, wr, &range));
    HY_TRY(write_divided(&f, wr, PARTS_OF_FEW, FEW));
    range.most_cols = range.most_pos = 0;
    range.least_cols = FEW + 1;
    bool done;
    HY_TRY(hy__gpu_write_attend_matrices(wr, &range, &done));
    if (done) {
        return HY_OK;
    }
    f.parts = 1;
    if (!choose_deep_shape(&f)) {
        choose_shape(&f, false);
    }
    return write_parts(&f, wr, &range);
}
