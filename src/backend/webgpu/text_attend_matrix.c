/* text_attend_matrix.c: attention of many tokens, with matrices that subgroups multiply.
 *
 * A workgroup has a head of keys and as many tokens as give it rows (a row is a query: a token and
 * one of the heads that share the keys); each of its subgroups has ROWS of them, and all walk along
 * the positions, KEYS at a time.  Queries become f16 and stay with their subgroup; keys and values are
 * f16 as they lie in the cache.  A subgroup's scores go through workgroup memory, where two
 * invocations have a row: they bring it against the largest score that was seen, and leave f16.
 *
 * What was summed of values cannot be scaled within matrices.  So weights are taken against an
 * earlier largest score as long as they stay below exp(GROWTH), which f16 holds; only where a score
 * rises above that, the sums go through workgroup memory and are scaled.  Model creation only; one
 * thread. */
#include <stdio.h>

#include "webgpu.h"

enum {
    ROWS = 16,        /* of a subgroup */
    KEYS = 32,        /* of a block */
    MOST_DIM = 128,   /* what registers hold of sums and queries */
    GROWTH = 8,       /* of scores */
    SCORES = KEYS / 4 + 1, /* vec4 of a row of scores in workgroup memory, one against conflicts */
    WEIGHTS = KEYS / 8 + 1
};

typedef struct attend {
    hy__gpu_model *m;
    const hy__node *node;
    uint32_t nk, nv, dim, dim_v;          /* of all heads of keys and values; of one */
    uint32_t shared;                      /* heads of queries for one of keys */
    uint32_t subgroups, lanes, tokens;    /* of a workgroup */
    uint32_t stride, stride_v;            /* vec4 of a key and a value in workgroup memory */
    uint32_t values_at, scores_at, weights_at; /* vec4 there */
    uint32_t vecs;                        /* of it */
} attend;

/* How a workgroup of so many subgroups divides its memory; false: there is not enough. */
static bool divide(attend *a, uint32_t subgroups)
{
    const hy__gpu_caps *c = &a->m->gpu.caps;
    a->subgroups = subgroups;
    a->lanes = subgroups * HY__GPU_MATRIX_LANES;
    a->tokens = subgroups * ROWS / a->shared;
    a->stride = a->dim / 8 + 1;
    a->stride_v = a->dim_v / 8 + 1;
    a->values_at = KEYS * a->stride;
    a->scores_at = a->values_at + KEYS * a->stride_v;
    a->weights_at = a->scores_at + subgroups * ROWS * SCORES;
    /* The queries are there before all else. */
    a->vecs = HY_MAX(a->weights_at + subgroups * ROWS * WEIGHTS, subgroups * ROWS * a->stride);
    return a->tokens > 0 && 16 * a->vecs + 4 * subgroups <= c->workgroup_bytes &&
           a->lanes <= c->invocations;
}

static bool begin(attend *a, const hy__gpu_writer *wr)
{
    const hy__graph *g = wr->m->g;
    const hy__gpu_caps *c = &wr->m->gpu.caps;
    const hy__node *node = &g->nodes[wr->p->first + wr->p->n_prologue];
    const hy__params *p = &node->params;
    *a = (attend){.m = wr->m,
                  .node = node,
                  .nk = g->values[node->in[1]].n,
                  .nv = g->values[node->in[2]].n,
                  .shared = p->n_head / p->n_head_kv};
    a->dim = a->nk / p->n_head_kv;
    a->dim_v = a->nv / p->n_head_kv;
    return wr->m->use & HY__GPU_USE_MATRIX_ATTENTION && a->dim % 16 == 0 && a->dim_v % KEYS == 0 &&
           a->dim <= MOST_DIM && a->dim_v <= MOST_DIM && ROWS % c->matrix_m == 0 &&
           KEYS % c->matrix_n == 0 && KEYS % c->matrix_k == 0 && c->matrix_n % 8 == 0 &&
           c->matrix_k % 8 == 0 && a->dim % c->matrix_k == 0 && (divide(a, 8) || divide(a, 4));
}

/* ---- blocks of keys and values */

static const char *const names[] = {"key", "value"};

/* vec4 of a block of keys (which 0) or values that an invocation brings. */
static uint32_t block_vecs(const attend *a, uint32_t which)
{
    return (KEYS * (which ? a->dim_v : a->dim) / 8 + a->lanes - 1) / a->lanes;
}

/* Statements for each vec4 that an invocation brings of a block, `i` among those of the block. */
static void put_each(const attend *a, hy__wgsl *w, uint32_t which, uint32_t v)
{
    const uint32_t all = KEYS * (which ? a->dim_v : a->dim) / 8;
    hy__wgsl_put(w, "        { let i = lane + %uu;\n", v * a->lanes);
    hy__wgsl_put(w, all < (v + 1) * a->lanes ? "        if (i < %uu) {\n" : "        {\n", all);
}

static void put_read_block(const attend *a, hy__wgsl *w, uint32_t which, const char *k0)
{
    const uint32_t n = which ? a->nv : a->nk, dim = which ? a->dim_v : a->dim;
    const hy__wgsl_text cache = hy__wgsl_place(
        w, HY__AT_OTHER, (hy__id)(a->node - a->m->g->nodes), HY__GPU_CACHE + which);
    for (uint32_t v = 0; v < block_vecs(a, which); v++) {
        put_each(a, w, which, v);
        hy__wgsl_put(w,
                     "            let at = %s + (min(%s + i / %uu, last - 1u) * %uu + kv * %uu) / 2u "
                     "+ i %% %uu * 4u;\n"
                     "            %s%u = vec4<u32>(cache[at], cache[at + 1u], cache[at + 2u], "
                     "cache[at + 3u]);\n        } }\n",
                     cache.text, k0, dim / 8, n, dim, dim / 8, names[which], v);
    }
}

static void put_write_block(const attend *a, hy__wgsl *w, uint32_t which)
{
    const uint32_t dim = which ? a->dim_v : a->dim;
    for (uint32_t v = 0; v < block_vecs(a, which); v++) {
        put_each(a, w, which, v);
        hy__wgsl_put(w, "            mem[%uu + i / %uu * %uu + i %% %uu] = %s%u;\n        } }\n",
                     which ? a->values_at : 0, dim / 8, which ? a->stride_v : a->stride, dim / 8,
                     names[which], v);
    }
}

/* ---- queries, scores and weights */

static void put_queries(const attend *a, hy__wgsl *w)
{
    const hy__gpu_caps *c = &a->m->gpu.caps;
    const hy__id q = a->node->in[0];
    hy__wgsl_put(w,
                 "    for (var i = lane; i < %uu; i += %uu) {\n        let r = i / %uu;\n"
                 "        let at = %s + min(base + r / %uu, step.n_tokens - 1u) * %uu + (kv * %uu + r "
                 "%% %uu) * %uu + i %% %uu * 8u;\n        var x: vec4<u32>;\n",
                 a->subgroups * ROWS * a->dim / 8, a->lanes, a->dim / 8,
                 hy__wgsl_place(w, HY__AT_RESULT, q, 0).text, a->shared, a->m->g->values[q].n,
                 a->shared, a->shared, a->dim, a->dim / 8);
    for (uint32_t e = 0; e < 4; e++) {
        hy__wgsl_put(w,
                     "        x.%c = bitcast<u32>(vec2<f16>(clamp(vec2<f32>(arena[at + %uu], arena[at "
                     "+ %uu]) * %.9g, vec2<f32>(-65504.0), vec2<f32>(65504.0))));\n",
                     "xyzw"[e], 2 * e, 2 * e + 1, (double)a->node->params.scale);
    }
    hy__wgsl_put(w, "        mem[r * %uu + i %% %uu] = x;\n    }\n    workgroupBarrier();\n",
                 a->stride, a->dim / 8);
    for (uint32_t i = 0; i < ROWS / c->matrix_m; i++) {
        for (uint32_t j = 0; j < a->dim / c->matrix_k; j++) {
            hy__wgsl_put(w,
                         "    let q%u_%u = subgroupMatrixLoad<subgroup_matrix_left<f16, %u, %u>, "
                         "row_major>(&mem, (subgroup * %uu + %uu) * %uu + %uu, %uu);\n",
                         i, j, c->matrix_k, c->matrix_m, ROWS, i * c->matrix_m, a->stride,
                         j * c->matrix_k / 8, a->stride);
        }
    }
}

/* Products of a block, to workgroup memory. */
static void put_scores(const attend *a, hy__wgsl *w)
{
    const hy__gpu_caps *c = &a->m->gpu.caps;
    const uint32_t parts = ROWS / c->matrix_m;
    for (uint32_t n = 0; n < KEYS / c->matrix_n; n++) {
        hy__wgsl_put(w, "        {\n");
        for (uint32_t i = 0; i < parts; i++) {
            /* With a number: Dawn makes one without it zero in the first turn of a loop only. */
            hy__wgsl_put(w, "        var s%u = subgroup_matrix_result<f32, %u, %u>(0.0);\n", i,
                         c->matrix_n, c->matrix_m);
        }
        for (uint32_t j = 0; j < a->dim / c->matrix_k; j++) {
            hy__wgsl_put(w,
                         "        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, %u, %u>, "
                         "col_major>(&mem, %uu, %uu);\n",
                         c->matrix_n, c->matrix_k,
                         n * c->matrix_n * a->stride + j * c->matrix_k / 8, a->stride);
            for (uint32_t i = 0; i < parts; i++) {
                hy__wgsl_put(
                    w, "        s%u = subgroupMatrixMultiplyAccumulate(q%u_%u, b, s%u);\n", i, i, j,
                    i);
            }
            hy__wgsl_put(w, "        }\n");
        }
        for (uint32_t i = 0; i < parts; i++) {
            hy__wgsl_put(w,
                         "        subgroupMatrixStore<row_major>(&mem, own + %uu, s%u, %uu);\n",
                         i * c->matrix_m * SCORES + n * c->matrix_n / 4, i, SCORES);
        }
        hy__wgsl_put(w, "        }\n");
    }
}

/* From scores to weights; an invocation has half of a row. */
static void put_weights(hy__wgsl *w)
{
    enum { VECS = KEYS / 8 };
    hy__wgsl_put(w, "        var top = -3.0e38;\n");
    for (uint32_t v = 0; v < VECS; v++) {
        hy__wgsl_put(w,
                     "        let see%u = vec4<u32>(k0 + half * %uu) + vec4<u32>(%uu, %uu, %uu, %uu) "
                     "< vec4<u32>(end);\n"
                     "        let x%u = select(vec4<f32>(-3.0e38), bitcast<vec4<f32>>(mem[mine + "
                     "%uu]), see%u);\n"
                     "        top = max(top, max(max(x%u.x, x%u.y), max(x%u.z, x%u.w)));\n",
                     v, KEYS / 2, 4 * v, 4 * v + 1, 4 * v + 2, 4 * v + 3, v, v, v, v, v, v, v);
    }
    hy__wgsl_put(w,
                 "        top = max(top, subgroupShuffleXor(top, 1u));\n"
                 "        let grows = top > most + %u.0;\n"
                 "        let factor = select(1.0, exp(max(most - top, -80.0)), grows);\n"
                 "        most = select(most, top, grows);\n        var sum = 0.0;\n",
                 GROWTH);
    for (uint32_t v = 0; v < VECS; v++) {
        hy__wgsl_put(w,
                     "        let e%u = select(vec4<f32>(), exp(max(x%u - most, "
                     "vec4<f32>(-80.0))), see%u);\n"
                     "        sum += dot(e%u, vec4<f32>(1.0));\n",
                     v, v, v, v);
    }
    for (uint32_t v = 0; v < VECS; v += 2) {
        hy__wgsl_put(w,
                     "        mem[weight + %uu] = vec4<u32>(bitcast<u32>(vec2<f16>(e%u.xy)), "
                     "bitcast<u32>(vec2<f16>(e%u.zw)), bitcast<u32>(vec2<f16>(e%u.xy)), "
                     "bitcast<u32>(vec2<f16>(e%u.zw)));\n",
                     v / 2, v, v, v + 1, v + 1);
    }
    hy__wgsl_put(w,
                 "        norm = norm * factor + sum + subgroupShuffleXor(sum, 1u);\n"
                 "        let any = subgroupAny(grows && k0 > 0u);\n"
                 "        if (lane %% %uu == 0u) { grown[subgroup] = select(0u, 1u, any); }\n"
                 "        let all = workgroupUniformLoad(&grown);\n",
                 HY__GPU_MATRIX_LANES);
}

/* ---- sums */

/* Calls `put` for every matrix of the sums at KEYS channels from c on. */
static void put_moves(const attend *a, hy__wgsl *w, uint32_t c, bool back)
{
    const hy__gpu_caps *caps = &a->m->gpu.caps;
    const uint32_t each = KEYS / caps->matrix_n;
    for (uint32_t i = 0; i < ROWS / caps->matrix_m; i++) {
        for (uint32_t n = 0; n < each; n++) {
            const uint32_t at = i * caps->matrix_m * SCORES + n * caps->matrix_n / 4;
            const uint32_t of = c * each + n;
            if (back) {
                hy__wgsl_put(w,
                             "        sum%u_%u = subgroupMatrixLoad<subgroup_matrix_result<f32, %u, "
                             "%u>, row_major>(&mem, own + %uu, %uu);\n",
                             i, of, caps->matrix_n, caps->matrix_m, at, SCORES);
            } else {
                hy__wgsl_put(w,
                             "        subgroupMatrixStore<row_major>(&mem, own + %uu, sum%u_%u, "
                             "%uu);\n",
                             at, i, of, SCORES);
            }
        }
    }
}

static void put_scaling(const attend *a, hy__wgsl *w)
{
    hy__wgsl_put(w, "        var scaled = 0u;\n");
    for (uint32_t s = 0; s < a->subgroups; s++) {
        hy__wgsl_put(w, "        scaled += all[%u];\n", s);
    }
    hy__wgsl_put(w, "        if (scaled > 0u) {\n");
    for (uint32_t c = 0; c < a->dim_v / KEYS; c++) {
        put_moves(a, w, c, false);
        hy__wgsl_put(w, "        workgroupBarrier();\n");
        for (uint32_t v = 0; v < KEYS / 8; v++) {
            hy__wgsl_put(w,
                         "        mem[mine + %uu] = bitcast<vec4<u32>>(factor * "
                         "bitcast<vec4<f32>>(mem[mine + %uu]));\n",
                         v, v);
        }
        hy__wgsl_put(w, "        workgroupBarrier();\n");
        put_moves(a, w, c, true);
        hy__wgsl_put(w, "        workgroupBarrier();\n");
    }
    hy__wgsl_put(w, "        }\n");
}

static void put_sums(const attend *a, hy__wgsl *w)
{
    const hy__gpu_caps *c = &a->m->gpu.caps;
    for (uint32_t k = 0; k < KEYS / c->matrix_k; k++) {
        hy__wgsl_put(w, "        {\n");
        for (uint32_t i = 0; i < ROWS / c->matrix_m; i++) {
            hy__wgsl_put(w,
                         "        let p%u = subgroupMatrixLoad<subgroup_matrix_left<f16, %u, %u>, "
                         "row_major>(&mem, %uu + (subgroup * %uu + %uu) * %uu + %uu, %uu);\n",
                         i, c->matrix_k, c->matrix_m, a->weights_at, ROWS, i * c->matrix_m, WEIGHTS,
                         k * c->matrix_k / 8, WEIGHTS);
        }
        for (uint32_t n = 0; n < a->dim_v / c->matrix_n; n++) {
            hy__wgsl_put(w,
                         "        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, %u, %u>, "
                         "row_major>(&mem, %uu, %uu);\n",
                         c->matrix_n, c->matrix_k,
                         a->values_at + k * c->matrix_k * a->stride_v + n * c->matrix_n / 8,
                         a->stride_v);
            for (uint32_t i = 0; i < ROWS / c->matrix_m; i++) {
                hy__wgsl_put(w,
                             "        sum%u_%u = subgroupMatrixMultiplyAccumulate(p%u, b, "
                             "sum%u_%u);\n",
                             i, n, i, i, n);
            }
            hy__wgsl_put(w, "        }\n");
        }
        hy__wgsl_put(w, "        }\n");
    }
}

static void put_results(const attend *a, hy__wgsl *w)
{
    const hy__id out = a->node->out;
    hy__wgsl_put(w,
                 "    let to = %s + t * %uu + head * %uu + half * %uu;\n"
                 "    let factor = 1.0 / norm;\n"
                 "    let here = row < %uu && t < step.n_tokens;\n",
                 hy__wgsl_place(w, HY__AT_RESULT, out, 0).text, a->m->g->values[out].n, a->dim_v,
                 KEYS / 2, a->tokens * a->shared);
    for (uint32_t c = 0; c < a->dim_v / KEYS; c++) {
        hy__wgsl_put(w, "    workgroupBarrier();\n");
        put_moves(a, w, c, false);
        hy__wgsl_put(w, "    workgroupBarrier();\n    if (here) {\n");
        for (uint32_t v = 0; v < KEYS / 8; v++) {
            hy__wgsl_put(w, "        { let y = factor * bitcast<vec4<f32>>(mem[mine + %uu]);\n", v);
            for (uint32_t e = 0; e < 4; e++) {
                hy__wgsl_put(w, "        arena[to + %uu] = y.%c;\n", c * KEYS + 4 * v + e,
                             "xyzw"[e]);
            }
            hy__wgsl_put(w, "        }\n");
        }
        hy__wgsl_put(w, "    }\n");
    }
}

/* ---- the kernel */

static void put_begin(const attend *a, hy__wgsl *w)
{
    const hy__gpu_caps *c = &a->m->gpu.caps;
    /* Those with the most positions first. */
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n"
                 "    let kv = id.x;\n    let subgroup = lane / %uu;\n    let row = lane / %uu;\n"
                 "    let half = lane %% %uu;\n"
                 "    let base = ((step.n_tokens + %uu) / %uu - 1u - id.y) * %uu;\n"
                 "    let last = step.pos + min(base + %uu, step.n_tokens);\n"
                 "    let t = base + row / %uu;\n    let head = kv * %uu + row %% %uu;\n"
                 "    let end = min(step.pos + t + 1u, last);\n"
                 "    let own = %uu + subgroup * %uu;\n    let mine = %uu + row * %uu + half * %uu;\n"
                 "    let weight = %uu + row * %uu + half * %uu;\n"
                 "    var most = -3.0e38;\n    var norm = 0.0;\n",
                 a->lanes, HY__GPU_MATRIX_LANES, HY__GPU_MATRIX_LANES / ROWS,
                 HY__GPU_MATRIX_LANES / ROWS, a->tokens - 1, a->tokens, a->tokens, a->tokens,
                 a->shared, a->shared, a->shared, a->scores_at, ROWS * SCORES, a->scores_at, SCORES,
                 KEYS / 8, a->weights_at, WEIGHTS, KEYS / 16);
    for (uint32_t i = 0; i < ROWS / c->matrix_m; i++) {
        for (uint32_t n = 0; n < a->dim_v / c->matrix_n; n++) {
            hy__wgsl_put(w, "    var sum%u_%u: subgroup_matrix_result<f32, %u, %u>;\n", i, n,
                         c->matrix_n, c->matrix_m);
        }
    }
    for (uint32_t which = 0; which < 2; which++) {
        for (uint32_t v = 0; v < block_vecs(a, which); v++) {
            hy__wgsl_put(w, "    var %s%u: vec4<u32>;\n", names[which], v);
        }
    }
}

hy_status hy__gpu_write_attend_matrices(hy__gpu_writer *wr, const hy__gpu_dispatch *range,
                                        bool *done)
{
    attend a;
    uint32_t kernel;
    hy__wgsl w;
    *done = begin(&a, wr);
    if (!*done) {
        return HY_OK;
    }
    hy__gpu_begin(wr, &w, a.lanes);
    hy__wgsl_use(&w, HY__BUFFER_step);
    hy__wgsl_use(&w, HY__BUFFER_arena);
    hy__wgsl_use(&w, HY__BUFFER_cache);
    hy__wgsl_put(&w,
                 "// Keys, values, scores of each subgroup, weights of each.\n"
                 "var<workgroup> mem: array<vec4<u32>, %u>;\n"
                 "var<workgroup> grown: array<u32, %u>;\n",
                 a.vecs, a.subgroups);
    put_begin(&a, &w);
    put_queries(&a, &w);
    put_read_block(&a, &w, 0, "0u");
    put_read_block(&a, &w, 1, "0u");
    hy__wgsl_put(&w, "    for (var k0 = 0u; k0 < last; k0 += %uu) {\n        workgroupBarrier();\n",
                 KEYS);
    put_write_block(&a, &w, 0);
    put_write_block(&a, &w, 1);
    hy__wgsl_put(&w, "        workgroupBarrier();\n        let next = k0 + %uu;\n", KEYS);
    put_read_block(&a, &w, 0, "next");
    put_read_block(&a, &w, 1, "next");
    put_scores(&a, &w);
    hy__wgsl_put(&w, "        workgroupBarrier();\n");
    put_weights(&w);
    put_scaling(&a, &w);
    put_sums(&a, &w);
    hy__wgsl_put(&w, "    }\n");
    put_results(&a, &w);
    hy__wgsl_put(&w, "}\n");
    hy__gpu_dispatch d = *range;
    d.groups = a.node->params.n_head_kv;
    d.cols_each = a.tokens;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}
