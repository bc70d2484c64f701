/* text_matmul.c: phases of matrices.
 *
 * One kernel computes a whole phase.  Matrices with as many rows whose results meet in the epilogue
 * are a job; a workgroup works on one job: it brings the job's inputs into workgroup memory, in 8
 * bits where the formats want it, and multiplies rows, `lanes` invocations a row.  In a step of one
 * token the prologue is computed on the way, by every workgroup for itself: that is faster than a
 * dispatch more.  In a step of many, prologue and quantization are dispatches of their own, and a
 * workgroup multiplies each row with several columns.  Model creation only; one thread. */
#include <stdio.h>

#include "kernels/kernels.h"
#include "webgpu.h"

enum {
    FEW_LANES = 256, /* of a workgroup, in steps of many tokens */
    SHARED = 768,    /* vec4 of inputs in workgroup memory */
    COLUMNS = 8,     /* of a row at once, in steps of many tokens */
    Q8_VECS = 3,     /* vec4 of a block in 8 bits: two of codes, one of factors */
    F32_VECS = 8,    /* of a block of f32 */
    MOST_INPUTS = 16,
    MOST_ANCHORS = 32
};

/* An input of matrices in the form in which they read it. */
typedef struct input {
    hy__id value;
    bool q8;
    uint32_t n, blocks; /* of 32 */
    uint32_t at;        /* vec4 from the beginning of the job's, or of a column of `codes` */
} input;

typedef struct job {
    uint32_t anchors[MOST_ANCHORS]; /* number among the phase's */
    uint32_t inputs[MOST_ANCHORS];  /* of each anchor: number in `input` */
    uint32_t n_anchors;
    input input[MOST_INPUTS];
    uint32_t n_inputs;
    uint32_t rows, chunk_rows, n_chunks;
    uint32_t lanes;  /* of a row */
    uint64_t bytes;  /* of a row of all matrices */
    bool *only;      /* [epilogue.n] */
    uint32_t blocks; /* of the longest input, or of a tile */
    uint32_t tile;   /* blocks that are in workgroup memory at once: all, or of the only input */
} job;

typedef struct maker {
    hy__gpu_writer *wr;
    const hy__graph *g;
    job *jobs;
    uint32_t n_jobs;
    hy__layout prologue, epilogue;
    hy__wgsl_tree pt, et;
    uint32_t lanes;                     /* of a workgroup */
    input phase_input[MOST_INPUTS * 2]; /* of all jobs, for prefill: at in `codes` */
    uint32_t n_phase_inputs, vecs;      /* vec4 of a column in `codes` */
} maker;

static const hy__node *anchor_node(const maker *mk, uint32_t a)
{
    return &mk->g->nodes[mk->wr->p->first + mk->wr->p->n_prologue + a];
}

static const hy__gpu_matrix *matrix_of(const maker *mk, uint32_t a)
{
    return &mk->wr->m->matrices[anchor_node(mk, a)->in[0]];
}

static uint32_t vecs_of(const input *in)
{
    return in->blocks * (in->q8 ? Q8_VECS : F32_VECS);
}

/* ---- jobs */

/* Number of an input in a list, added if it is new; UINT32_MAX: the list is full. */
static uint32_t input_of(const maker *mk, input *list, uint32_t *n, uint32_t cap, uint32_t *vecs,
                         hy__id value, bool q8)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (list[i].value == value && list[i].q8 == q8) {
            return i;
        }
    }
    if (*n == cap) {
        return UINT32_MAX;
    }
    input *in = &list[*n];
    *in = (input){.value = value, .q8 = q8, .n = mk->g->values[value].n, .at = *vecs};
    in->blocks = (in->n + 31) / 32;
    *vecs += vecs_of(in);
    return (*n)++;
}

static void mark_users(const maker *mk, const hy__tree *t, bool *mine)
{
    (void)mk;
    for (uint32_t i = 0; i < t->n; i++) {
        const hy__expr *e = &t->exprs[i];
        for (uint32_t k = 0; e->kind == HY__EXPR_OP && k < HY__MAX_INPUTS; k++) {
            if (k < hy__ops[mk->g->nodes[e->node].op].n_inputs && mine[e->in[k]] &&
                (t->exprs[e->in[k]].kind == HY__EXPR_OP ||
                 t->exprs[e->in[k]].kind == HY__EXPR_ANCHOR)) {
                mine[i] = true;
            }
        }
    }
    /* What they need of others: anchors that meet them. */
    for (uint32_t i = t->n; i-- > 0;) {
        const hy__expr *e = &t->exprs[i];
        for (uint32_t k = 0; e->kind == HY__EXPR_OP && mine[i] && k < HY__MAX_INPUTS; k++) {
            if (k < hy__ops[mk->g->nodes[e->node].op].n_inputs) {
                mine[e->in[k]] = true;
            }
        }
    }
}

static uint32_t count_marks(const bool *marks, uint32_t n)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += marks[i];
    }
    return sum;
}

/* Expressions that belong together with anchor `a`: closed under use in both directions. */
static void cluster(const maker *mk, uint32_t a, bool *mine)
{
    const hy__tree *t = &mk->wr->x->epilogue;
    memset(mine, 0, t->n * sizeof *mine);
    mine[a] = true; /* an epilogue begins with the anchors */
    for (uint32_t before = 0, now = 1; before != now; now = count_marks(mine, t->n)) {
        before = now;
        mark_users(mk, t, mine);
    }
}

static hy_status fill_job(maker *mk, job *j, hy_error *err)
{
    uint32_t vecs = 0;
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__gpu_matrix *x = matrix_of(mk, j->anchors[k]);
        const hy__node *node = anchor_node(mk, j->anchors[k]);
        j->inputs[k] =
            input_of(mk, j->input, &j->n_inputs, MOST_INPUTS, &vecs, node->in[1], x->format->codes);
        const uint32_t there = input_of(mk, mk->phase_input, &mk->n_phase_inputs, MOST_INPUTS * 2,
                                        &mk->vecs, node->in[1], x->format->codes);
        if (j->inputs[k] == UINT32_MAX || there == UINT32_MAX) {
            return hy__fail(err, HY_E_UNSUPPORTED, "a phase has too many different inputs");
        }
        j->rows = x->m;
        if (k > 0 && j->chunk_rows != x->chunk_rows) {
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "matrices that are computed together are not cut at the same rows");
        }
        j->chunk_rows = x->chunk_rows;
        j->n_chunks = x->n_chunks;
        j->bytes += hy__gpu_format_bytes(x->format, x->n, 1);
    }
    j->tile = 0;
    uint32_t blocks = 1;
    for (uint32_t k = 0; k < j->n_inputs; k++) {
        blocks = HY_MAX(blocks, j->input[k].blocks);
    }
    if (mk->wr->single && vecs > SHARED) {
        if (j->n_inputs > 1) {
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "the inputs of matrices that are computed together are too long");
        }
        j->tile = SHARED / (j->input[0].q8 ? Q8_VECS : F32_VECS) / 32 * 32;
        blocks = j->tile;
    }
    j->blocks = blocks;
    return HY_OK;
}

static hy_status make_jobs(maker *mk, hy_error *err)
{
    const uint32_t n = mk->wr->p->n_anchor, n_exprs = mk->wr->x->epilogue.n;
    if (n > MOST_ANCHORS) {
        return hy__fail(err, HY_E_UNSUPPORTED, "a phase has %u matrices", n);
    }
    for (uint32_t a = 0; a < n; a++) {
        bool taken = false;
        for (uint32_t k = 0; k < mk->n_jobs; k++) {
            taken |= mk->jobs[k].only[a];
        }
        if (taken) {
            continue;
        }
        job *j = &mk->jobs[mk->n_jobs];
        j->only = hy__calloc(&mk->g->env, n_exprs, sizeof *j->only, err);
        if (!j->only) {
            return HY_E_NOMEM;
        }
        mk->n_jobs++;
        cluster(mk, a, j->only);
        for (uint32_t b = 0; b < n; b++) {
            if (j->only[b]) {
                j->anchors[j->n_anchors++] = b;
            }
        }
        HY_TRY(fill_job(mk, j, err));
    }
    return HY_OK;
}

/* Invocations for a row: so many that all rows of the phase keep the GPU busy, at least 8, so that
 * they read whole lines of memory, and no more than there are blocks. */
static void choose_lanes(maker *mk)
{
    uint32_t rows = 0;
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        rows += mk->jobs[k].rows;
    }
    const uint32_t wanted = HY_MAX(mk->wr->m->workers / HY_MAX(rows, 1u), 8u);
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        job *j = &mk->jobs[k];
        j->lanes = 1;
        while (j->lanes < 32 && j->lanes < j->blocks && 2 * j->lanes <= wanted) {
            j->lanes *= 2;
        }
    }
}

/* ---- pieces of text */

static const char products[] =
    "fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {\n"
    "    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y "
    "+ "
    "w.c.y * f.z);\n"
    "}\n"
    "fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {\n"
    "    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;\n"
    "}\n";

static const char dot_native[] =
    "fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {\n"
    "    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +\n"
    "        dot4I8Packed(w.w, x.w);\n"
    "}\n";

/* The same integers without the instruction. */
static const char dot_by_bytes[] =
    "fn byte_of(w: vec4<u32>, shift: u32) -> vec4<i32> {\n"
    "    return bitcast<vec4<i32>>(w << vec4<u32>(shift)) >> vec4<u32>(24u);\n"
    "}\n"
    "fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {\n"
    "    let s = byte_of(w, 24u) * byte_of(x, 24u) + byte_of(w, 16u) * byte_of(x, 16u) +\n"
    "        byte_of(w, 8u) * byte_of(x, 8u) + byte_of(w, 0u) * byte_of(x, 0u);\n"
    "    return s.x + s.y + s.z + s.w;\n"
    "}\n";

/* Sixteen numbers in 8 bits, d the size of a step. */
static const char quantize[] =
    "fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {\n"
    "    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));\n"
    "}\n"
    "fn packed(q: vec4<i32>) -> u32 {\n"
    "    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);\n"
    "    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);\n"
    "}\n"
    "fn largest(v: vec4<f32>) -> f32 {\n"
    "    let a = abs(v);\n"
    "    return max(max(a.x, a.y), max(a.z, a.w));\n"
    "}\n"
    "fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }\n";

static void put_formats(maker *mk, hy__wgsl *w, const job *jobs, uint32_t n_jobs)
{
    bool blocks = false, scales = false;
    for (size_t i = 0; hy__gpu_format_at(i); i++) {
        const hy__gpu_format *f = hy__gpu_format_at(i);
        bool used = false;
        for (uint32_t k = 0; k < n_jobs; k++) {
            for (uint32_t a = 0; a < jobs[k].n_anchors; a++) {
                used |= matrix_of(mk, jobs[k].anchors[a])->format == f;
            }
        }
        if (used) {
            hy__gpu_write_format(mk->wr, w, f, &blocks, &scales);
        }
    }
    if (blocks) {
        hy__wgsl_put(w, "%s", mk->wr->m->gpu.caps.dot ? dot_native : dot_by_bytes);
        hy__wgsl_put(w, "%s", products);
    }
}

static void put_planes(maker *mk, hy__wgsl *w, const job *j, uint32_t chunk)
{
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__node *node = anchor_node(mk, j->anchors[k]);
        const hy__gpu_format *f = matrix_of(mk, j->anchors[k])->format;
        hy__wgsl_put(w, "    let at%u = vec4<u32>(", k);
        for (uint32_t p = 0; p < HY__GPU_PLANES; p++) {
            hy__wgsl_put(w, "%s%s", p ? ", " : "",
                         f->planes[p] ? hy__wgsl_place(w, HY__AT_OTHER, node->in[0],
                                                       HY__GPU_PLANE + p + 4 * chunk)
                                            .text
                                      : "0u");
        }
        hy__wgsl_put(w, ");\n");
    }
}

/* Whether the blocks of a lane are written one behind another, so that all are read at once. */
static bool is_unrolled(const maker *mk, const job *j, const input *in)
{
    return mk->wr->single && !j->tile && in->blocks % j->lanes == 0 && in->blocks / j->lanes <= 8;
}

/* The head of the loop over blocks of an input within the tile at hand. */
static void put_block_loop(hy__wgsl *w, const job *j, const input *in)
{
    if (j->tile) {
        hy__wgsl_put(w,
                     "        for (var b = sub; b < min(%uu, %uu - tile); b += %uu) {\n"
                     "            let block = tile + b;\n",
                     j->tile, in->blocks, j->lanes);
    } else {
        hy__wgsl_put(w,
                     "        for (var b = sub; b < %uu; b += %uu) {\n"
                     "            let block = b;\n",
                     in->blocks, j->lanes);
    }
}

/* Columns of inputs are walked in loops of a constant length, which compilers of GPUs unroll. */
static void put_columns(hy__wgsl *w, uint32_t k, uint32_t cols)
{
    if (cols > 1) {
        hy__wgsl_put(w,
                     "            for (var e = 0u; e < %uu; e++) {\n"
                     "            let x = x%u[e] + b;\n            acc%u[e] += ",
                     cols, k, k);
    } else {
        hy__wgsl_put(w, "            {\n            acc%u[0] += ", k);
    }
}

/* The vec4 of a block of the inputs that is plane p. */
static void put_input(hy__wgsl *w, bool shared, uint32_t at)
{
    hy__wgsl_put(w, shared ? "xs[b + %uu]" : "codes[x + %uu]", at);
}

/* Anchor k's block i times block b of the inputs. */
static void put_codes(hy__wgsl *w, const hy__gpu_format *f, uint32_t k, uint32_t cols, bool shared,
                      uint32_t at, uint32_t width)
{
    hy__wgsl_put(w, "            let w = block_%s(at%u, i);\n", f->name, k);
    put_columns(w, k, cols);
    hy__wgsl_put(w, "product%s(w", f->halves ? "" : "_whole");
    for (uint32_t p = 0; p < 3; p++) {
        hy__wgsl_put(w, p < 2 ? ", " : ", bitcast<vec4<f32>>(");
        put_input(w, shared, at + p * width);
    }
    hy__wgsl_put(w, "));\n            }\n");
}

static void put_numbers(hy__wgsl *w, const hy__gpu_format *f, uint32_t k, uint32_t cols,
                        bool shared, uint32_t at, uint32_t width)
{
    for (uint32_t q = 0; q < F32_VECS; q++) {
        hy__wgsl_put(w, "            let w%u = four_%s(at%u, i, %uu);\n", q, f->name, k, q);
    }
    put_columns(w, k, cols);
    for (uint32_t q = 0; q < F32_VECS; q++) {
        hy__wgsl_put(w, "%sdot(w%u, bitcast<vec4<f32>>(", q ? " + " : "", q);
        put_input(w, shared, at + q * width);
        hy__wgsl_put(w, "))");
    }
    hy__wgsl_put(w, ";\n            }\n");
}

/* Sums of an anchor's row over the blocks of a lane, for columns 0 to cols - 1. */
static void put_anchor(maker *mk, hy__wgsl *w, const job *j, uint32_t k, uint32_t cols)
{
    const hy__gpu_format *f = matrix_of(mk, j->anchors[k])->format;
    const input *in = &j->input[j->inputs[k]];
    const bool shared = mk->wr->single;
    const uint32_t width = j->tile ? j->tile : in->blocks; /* from plane to plane of the input */
    const uint32_t at = shared ? (j->tile ? 0 : in->at) : 0;
    const bool unrolled = is_unrolled(mk, j, in);
    const uint32_t turns = unrolled ? in->blocks / j->lanes : 1;
    for (uint32_t turn = 0; turn < turns; turn++) {
        if (unrolled) {
            hy__wgsl_put(w,
                         "        {\n            let b = sub + %uu;\n            let block = b;\n",
                         turn * j->lanes);
        } else {
            put_block_loop(w, j, in);
        }
        hy__wgsl_put(w, "            let i = row * %uu + block;\n", in->blocks);
        if (f->codes) {
            put_codes(w, f, k, cols, shared, at, width);
        } else {
            put_numbers(w, f, k, cols, shared, at, width);
        }
        hy__wgsl_put(w, "        }\n");
    }
}

/* ---- inputs in workgroup memory, for one token */

/* Four channels of an input as a vec4; all of them are there. */
static void put_vec4(maker *mk, hy__wgsl *w, const input *in, const char *channel)
{
    const hy__tree *t = &mk->wr->x->prologue;
    for (uint32_t i = 0; mk->wr->m->wide && in->n % 4 == 0 && i < t->n; i++) {
        if (t->exprs[i].value == in->value && t->exprs[i].kind == HY__EXPR_OP) {
            hy__wgsl_put(w, "%s", hy__wgsl_call4(&mk->pt, i, channel, "0u").text);
            return;
        }
    }
    hy__wgsl_put(w, "vec4<f32>(");
    for (uint32_t e = 0; e < 4; e++) {
        char one[32];
        snprintf(one, sizeof one, "%s + %uu", channel, e);
        hy__wgsl_put(w, "%s%s", e ? ", " : "",
                     hy__gpu_value(mk->wr, w, &mk->pt, in->value, one, "0u").text);
    }
    hy__wgsl_put(w, ")");
}

/* Four channels an invocation, eight invocations a block: they exchange numbers by shuffles. */
static void put_load_q8_by_shuffles(maker *mk, hy__wgsl *w, const job *j, const input *in)
{
    const uint32_t width = j->tile ? j->tile : in->blocks, at = j->tile ? 0 : in->at;
    const uint32_t turns = (8 * width + mk->lanes - 1) / mk->lanes;
    hy__wgsl_put(w, "    for (var g0 = 0u; g0 < %uu; g0 += %uu) {\n", turns * mk->lanes, mk->lanes);
    hy__wgsl_put(w,
                 "        let g = g0 + lane;\n        let c = %s + 4u * g;\n"
                 "        var v = vec4<f32>();\n",
                 j->tile ? "32u * tile" : "0u");
    hy__wgsl_put(w, "        if (g < %uu && c < %uu) {\n            v = ", 8 * width, in->n);
    put_vec4(mk, w, in, "c");
    hy__wgsl_put(w, ";\n        }\n"
                    "        var top = largest(v);\n"
                    "        top = max(top, subgroupShuffleXor(top, 4u));\n"
                    "        top = max(top, subgroupShuffleXor(top, 2u));\n"
                    "        top = max(top, subgroupShuffleXor(top, 1u));\n"
                    "        let d = top / 127.0;\n"
                    "        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));\n"
                    "        let x = packed(q);\n"
                    "        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), "
                    "subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));\n"
                    "        var sum = sum_of(q);\n"
                    "        sum += subgroupShuffleXor(sum, 1u);\n"
                    "        sum += subgroupShuffleXor(sum, 2u);\n"
                    "        let s = d * f32(sum);\n"
                    "        let other = subgroupShuffleXor(s, 4u);\n");
    hy__wgsl_put(
        w,
        "        if (g < %uu && g %% 4u == 0u) { xs[%uu + g / 8u + g / 4u %% 2u * %uu] = words4; "
        "}\n",
        8 * width, at, width);
    hy__wgsl_put(w,
                 "        if (g < %uu && g %% 8u == 0u) { xs[%uu + g / 8u] = "
                 "bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }\n    }\n",
                 8 * width, at + 2 * width);
}

static void put_load_q8(maker *mk, hy__wgsl *w, const job *j, const input *in)
{
    if (w->subgroup >= 8) {
        put_load_q8_by_shuffles(mk, w, j, in);
        return;
    }
    const uint32_t width = j->tile ? j->tile : in->blocks, at = j->tile ? 0 : in->at;
    hy__wgsl_put(w, "    for (var h0 = 0u; h0 < %uu; h0 += %uu) {\n", 2 * width, mk->lanes);
    hy__wgsl_put(w, "        let h = h0 + lane;\n        let c = %s + 16u * h;\n",
                 j->tile ? "32u * tile" : "0u");
    hy__wgsl_put(w, "        let there = h < %uu && c < %uu;\n", 2 * width, in->n);
    /* A loop: what computes a value is long, and would be compiled once for each place that calls
     * it. */
    hy__wgsl_put(w, "        var v = array<vec4<f32>, 4>();\n"
                    "        if (there) {\n            for (var q = 0u; q < 4u; q++) {\n"
                    "                v[q] = ");
    put_vec4(mk, w, in, "c + 4u * q");
    hy__wgsl_put(w, ";\n            }\n");
    hy__wgsl_put(
        w,
        "        }\n"
        "        let top = pair_max(lane, max(max(largest(v[0]), largest(v[1])), "
        "max(largest(v[2]), "
        "largest(v[3]))));\n"
        "        let d = top / 127.0;\n"
        "        let inverse = select(0.0, 127.0 / top, top > 0.0);\n"
        "        let q0 = four_codes(v[0], inverse);\n        let q1 = four_codes(v[1], inverse);\n"
        "        let q2 = four_codes(v[2], inverse);\n        let q3 = four_codes(v[3], inverse);\n"
        "        let s = d * f32(sum_of(q0 + q1 + q2 + q3));\n"
        "        let other = pair_other(lane, s);\n");
    hy__wgsl_put(w,
                 "        if (h < %uu) {\n"
                 "            xs[%uu + h / 2u + h %% 2u * %uu] = vec4<u32>(packed(q0), packed(q1), "
                 "packed(q2), packed(q3));\n",
                 2 * width, at, width);
    hy__wgsl_put(
        w,
        "            if (h %% 2u == 0u) { xs[%uu + h / 2u] = bitcast<vec4<u32>>(vec4<f32>(d, "
        "s, other, s + other)); }\n"
        "        }\n    }\n",
        at + 2 * width);
}

static void put_load_f32(maker *mk, hy__wgsl *w, const job *j, const input *in)
{
    const uint32_t width = j->tile ? j->tile : in->blocks, at = j->tile ? 0 : in->at;
    hy__wgsl_put(w, "    for (var h = lane; h < %uu; h += %uu) {\n", 8 * width, mk->lanes);
    hy__wgsl_put(w, "        let c = %s + 4u * h;\n        var v = vec4<f32>();\n",
                 j->tile ? "32u * tile" : "0u");
    if (in->n % 4 == 0) {
        hy__wgsl_put(w, "        if (c < %uu) { v = ", in->n);
        put_vec4(mk, w, in, "c");
        hy__wgsl_put(w, "; }\n");
    }
    for (uint32_t e = 0; e < 4 && in->n % 4 != 0; e++) {
        char channel[24];
        snprintf(channel, sizeof channel, "c + %uu", e);
        hy__wgsl_put(w, "        if (c + %uu < %uu) { v.%c = %s; }\n", e, in->n, "xyzw"[e],
                     hy__gpu_value(mk->wr, w, &mk->pt, in->value, channel, "0u").text);
    }
    hy__wgsl_put(w, "        xs[%uu + h / 8u + h %% 8u * %uu] = bitcast<vec4<u32>>(v);\n    }\n",
                 at, width);
}

static void put_load(maker *mk, hy__wgsl *w, const job *j)
{
    hy__wgsl_put(w, "    workgroupBarrier();\n");
    for (uint32_t k = 0; k < j->n_inputs; k++) {
        if (j->input[k].q8) {
            put_load_q8(mk, w, j, &j->input[k]);
        } else {
            put_load_f32(mk, w, j, &j->input[k]);
        }
    }
    hy__wgsl_put(w, "    workgroupBarrier();\n");
}

/* ---- a job */

static void put_results(maker *mk, hy__wgsl *w, const job *j, uint32_t row0, uint32_t cols)
{
    hy__wgsl_put(w, "        for (var e = 0u; e < %uu; e++) {\n", cols);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        hy__wgsl_put(w, "        let v%u = sum_%u(lane, acc%u[e]);\n", j->anchors[k], j->lanes, k);
    }
    hy__wgsl_put(w,
                 "        if (sub == 0u && there && t0 + e < n_cols) {\n"
                 "        let t = t0 + e;\n        let c = row + %s;\n",
                 hy__wgsl_place(w, HY__AT_OTHER, row0, HY__GPU_NUMBER + 1).text);
    mk->et.only = j->only;
    hy__wgsl_body(w, &mk->et, HY__ALL_PARTS);
    hy__wgsl_put(w, "        }\n        }\n");
}

static void put_job(maker *mk, hy__wgsl *w, const job *j, uint32_t number, uint32_t chunk)
{
    const uint32_t row0 = chunk * j->chunk_rows, cols = mk->wr->single ? 1 : COLUMNS;
    const uint32_t rows = HY_MIN(j->rows - row0, j->chunk_rows);
    const uint32_t each = mk->lanes / j->lanes;
    hy__wgsl_put(w, "\nfn job%u(wg: u32, n_wg: u32, lane: u32, t0: u32, n_cols: u32) {\n", number);
    put_planes(mk, w, j, chunk);
    hy__wgsl_put(w, "    let sub = lane %% %uu;\n", j->lanes);
    for (uint32_t k = 0; k < j->n_anchors && cols > 1; k++) {
        const input *in = &j->input[j->inputs[k]];
        uint32_t at = 0;
        for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
            const input *p = &mk->phase_input[i];
            at = p->value == in->value && p->q8 == in->q8 ? p->at : at;
        }
        hy__wgsl_put(
            w,
            "    var x%u: array<u32, %u>;\n"
            "    for (var e = 0u; e < %uu; e++) { x%u[e] = min(t0 + e, n_cols - 1u) * %uu + "
            "%uu; }\n",
            k, cols, cols, k, mk->vecs, at);
    }
    if (mk->wr->single && !j->tile) {
        put_load(mk, w, j);
    }
    hy__wgsl_put(w, "    for (var turn = wg; turn < %uu; turn += n_wg) {\n",
                 (rows + each - 1) / each);
    hy__wgsl_put(w, "        let there = turn * %uu + lane / %uu < %uu;\n", each, j->lanes, rows);
    hy__wgsl_put(w, "        let row = min(turn * %uu + lane / %uu, %uu);\n", each, j->lanes,
                 rows - 1);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        /* With a value: libraries set a variable without one to zero once, not at every turn. */
        hy__wgsl_put(w, "        var acc%u = array<f32, %u>();\n", k, cols);
    }
    if (j->tile) {
        hy__wgsl_put(w, "    for (var tile = 0u; tile < %uu; tile += %uu) {\n", j->input[0].blocks,
                     j->tile);
        put_load(mk, w, j);
    }
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        put_anchor(mk, w, j, k, cols);
    }
    if (j->tile) {
        hy__wgsl_put(w, "    }\n");
    }
    put_results(mk, w, j, row0, cols);
    hy__wgsl_put(w, "    }\n}\n");
}

/* ---- kernels */

/* Jobs first to end - 1, or rows of a chunk of a single job. */
typedef struct piece {
    uint32_t first, end, chunk;
} piece;

static uint32_t groups_of(const maker *mk, const job *j, uint64_t all_bytes)
{
    const uint32_t each = mk->lanes / j->lanes, rows = HY_MIN(j->rows, j->chunk_rows);
    const uint32_t sets = (rows + each - 1) / each;
    const uint64_t workers = mk->wr->m->workers / mk->lanes;
    const uint64_t share = workers * j->bytes * rows / HY_MAX(all_bytes, (uint64_t)1);
    return (uint32_t)HY_MIN((uint64_t)sets, HY_MAX(share, (uint64_t)1));
}

static void put_shared(maker *mk, hy__wgsl *w, const piece *p)
{
    uint32_t written = 0;
    bool q8 = false;
    hy__wgsl_total(w);
    for (uint32_t k = p->first; k < p->end; k++) {
        hy__gpu_write_sum(mk->wr, w, mk->jobs[k].lanes, &written);
        for (uint32_t i = 0; i < mk->jobs[k].n_inputs; i++) {
            q8 |= mk->jobs[k].input[i].q8;
        }
    }
    if (!mk->wr->single) {
        hy__wgsl_use(w, HY__BUFFER_codes);
        return;
    }
    hy__wgsl_put(w, "var<workgroup> xs: array<vec4<u32>, %u>;\n", SHARED);
    if (q8) {
        hy__wgsl_put(w, "%s", quantize);
        if (w->subgroup < 8) {
            hy__gpu_write_pairs(mk->wr, w);
        }
    }
}

static void put_main(maker *mk, hy__wgsl *w, const piece *p, hy__gpu_dispatch *d)
{
    const bool single = mk->wr->single;
    uint64_t bytes = 0;
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n",
                 mk->lanes);
    if (single && mk->prologue.n_ops > 0) {
        hy__wgsl_put(w, "    let t = 0u;\n    let u = 0u;\n    let first = 0u;\n");
        for (uint32_t k = 0; k < mk->prologue.n_parts; k++) {
            hy__wgsl_sums(w, &mk->pt, k);
        }
        if (p->first == 0 && p->chunk == 0) {
            /* What others need of the prologue is stored once. */
            hy__wgsl_put(w, "    if (id.x == 0u) {\n");
            for (uint32_t k = 0; k < mk->prologue.n_parts; k++) {
                hy__wgsl_put(w, "    for (var c = lane; c < %uu; c += %uu) {\n",
                             mk->prologue.parts[k].n, mk->lanes);
                hy__wgsl_body(w, &mk->pt, k);
                hy__wgsl_put(w, "    }\n");
            }
            hy__wgsl_put(w, "    }\n");
        }
        hy__wgsl_put(w, "    _ = t + u + first;\n");
    }
    if (single) {
        hy__wgsl_put(w, "    let t0 = 0u;\n    let n_cols = 1u;\n");
    } else {
        hy__wgsl_use(w, HY__BUFFER_step);
        hy__wgsl_put(w, "    let t0 = id.y * %uu;\n    let n_cols = step.%s;\n", COLUMNS,
                     mk->wr->p->cols == HY__PER_OUT ? "n_outputs" : "n_tokens");
    }
    for (uint32_t k = p->first; k < p->end; k++) {
        const job *j = &mk->jobs[k];
        bytes += j->bytes * HY_MIN(j->rows, j->chunk_rows);
    }
    uint32_t begin = 0;
    for (uint32_t k = p->first; k < p->end; k++) {
        const uint32_t n = groups_of(mk, &mk->jobs[k], bytes);
        hy__wgsl_put(
            w, "    %sif (id.x < %uu) {\n        job%u(id.x - %uu, %uu, lane, t0, n_cols);\n    }",
            k > p->first ? " else " : "", begin + n, k - p->first, begin, n);
        begin += n;
    }
    hy__wgsl_put(w, "\n}\n");
    d->groups = begin;
}

static hy_status write_piece(maker *mk, const piece *p)
{
    hy__gpu_writer *wr = mk->wr;
    hy__gpu_dispatch d = {
        .cols = wr->p->cols, .cols_each = wr->single ? 0 : COLUMNS, .attention = UINT32_MAX};
    hy__wgsl w;
    hy__gpu_begin(wr, &w, mk->lanes);
    put_formats(mk, &w, mk->jobs + p->first, p->end - p->first);
    if (wr->single && mk->prologue.n_ops > 0) {
        hy__wgsl_functions(&w, &mk->pt, wr->m->wide);
    }
    hy__wgsl_functions(&w, &mk->et, false);
    put_shared(mk, &w, p);
    for (uint32_t k = p->first; k < p->end; k++) {
        const job *j = &mk->jobs[k];
        for (uint32_t a = 0; a < j->n_anchors; a++) {
            hy__gpu_matrix_window(wr->m, matrix_of(mk, j->anchors[a]), p->chunk, &d);
        }
        put_job(mk, &w, j, k - p->first, p->chunk);
    }
    put_main(mk, &w, p, &d);
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* Whether all matrices of jobs first to last can be bound at once. */
static bool fits(const maker *mk, uint32_t first, uint32_t last)
{
    hy__gpu_dispatch d = {0};
    for (uint32_t k = first; k <= last; k++) {
        const job *j = &mk->jobs[k];
        for (uint32_t a = 0; a < j->n_anchors; a++) {
            if (j->n_chunks > 1 ||
                !hy__gpu_matrix_window(mk->wr->m, matrix_of(mk, j->anchors[a]), 0, &d)) {
                return false;
            }
        }
    }
    return true;
}

static hy_status write_pieces(maker *mk)
{
    for (uint32_t first = 0; first < mk->n_jobs;) {
        uint32_t end = first + 1;
        while (end < mk->n_jobs && fits(mk, first, end)) {
            end++;
        }
        for (uint32_t chunk = 0; chunk < mk->jobs[first].n_chunks; chunk++) {
            HY_TRY(write_piece(mk, &(piece){first, end, chunk}));
        }
        first = end;
    }
    return HY_OK;
}

/* ---- many tokens: the inputs, in a dispatch of their own */

static hy_status write_prepare(maker *mk)
{
    hy__gpu_writer *wr = mk->wr;
    hy__wgsl w;
    uint32_t groups = 0;
    hy__gpu_begin(wr, &w, 64);
    hy__wgsl_use(&w, HY__BUFFER_codes);
    hy__wgsl_put(&w, "%s", quantize);
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(64)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let t = id.y;\n    let column = t * %uu;\n",
                 mk->vecs);
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        const input *in = &mk->phase_input[i];
        const uint32_t n = (in->blocks + 63) / 64;
        hy__wgsl_use(&w, HY__BUFFER_arena);
        const hy__wgsl_text at = hy__wgsl_place(&w, HY__AT_RESULT, in->value, 0);
        hy__wgsl_put(&w, "    %sif (id.x < %uu) {\n", i ? "else " : "", groups + n);
        hy__wgsl_put(&w, "        let b = (id.x - %uu) * 64u + lane;\n", groups);
        hy__wgsl_put(&w, "        if (b < %uu) {\n", in->blocks);
        hy__wgsl_put(&w, "        let to = column + %uu + b;\n", in->at);
        hy__wgsl_put(&w, "        let from_ = %s + t * %uu + 32u * b;\n", at.text, in->n);
        for (uint32_t q = 0; q < F32_VECS; q++) {
            hy__wgsl_put(&w, "        var v%u = vec4<f32>();\n", q);
            for (uint32_t e = 0; e < 4; e++) {
                if (in->n % 32 == 0) {
                    hy__wgsl_put(&w, "        v%u.%c = arena[from_ + %uu];\n", q, "xyzw"[e],
                                 4 * q + e);
                } else {
                    hy__wgsl_put(
                        &w, "        if (32u * b + %uu < %uu) { v%u.%c = arena[from_ + %uu]; }\n",
                        4 * q + e, in->n, q, "xyzw"[e], 4 * q + e);
                }
            }
        }
        if (in->q8) {
            hy__wgsl_put(&w, "        var top = 0.0;\n");
            for (uint32_t q = 0; q < F32_VECS; q++) {
                hy__wgsl_put(&w, "        top = max(top, largest(v%u));\n", q);
            }
            hy__wgsl_put(&w, "        let d = top / 127.0;\n"
                             "        let inverse = select(0.0, 127.0 / top, top > 0.0);\n");
            for (uint32_t q = 0; q < F32_VECS; q++) {
                hy__wgsl_put(&w, "        let q%u = four_codes(v%u, inverse);\n", q, q);
            }
            hy__wgsl_put(
                &w,
                "        codes[to] = vec4<u32>(packed(q0), packed(q1), packed(q2), packed(q3));\n"
                "        codes[to + %uu] = vec4<u32>(packed(q4), packed(q5), packed(q6), "
                "packed(q7));\n"
                "        let s0 = d * f32(sum_of(q0 + q1 + q2 + q3));\n"
                "        let s1 = d * f32(sum_of(q4 + q5 + q6 + q7));\n"
                "        codes[to + %uu] = bitcast<vec4<u32>>(vec4<f32>(d, s0, s1, s0 + s1));\n",
                in->blocks, 2 * in->blocks);
        } else {
            for (uint32_t q = 0; q < F32_VECS; q++) {
                hy__wgsl_put(&w, "        codes[to + %uu] = bitcast<vec4<u32>>(v%u);\n",
                             q * in->blocks, q);
            }
        }
        hy__wgsl_put(&w, "        }\n    }\n");
        groups += n;
    }
    hy__wgsl_put(&w, "}\n");
    wr->m->code_vecs = HY_MAX(wr->m->code_vecs, mk->vecs);
    const hy__gpu_dispatch d = {
        .cols = wr->p->cols, .cols_each = 1, .groups = groups, .attention = UINT32_MAX};
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* ---- the phase */

/* Of the prologue only what other phases read is stored. */
static bool *stored_of(const maker *mk, hy_error *err)
{
    const hy__tree *t = &mk->wr->x->prologue;
    bool *stored = hy__calloc(&mk->g->env, (size_t)t->n + 1, sizeof *stored, err);
    for (uint32_t i = 0; stored && i < t->n; i++) {
        stored[i] = t->exprs[i].kind == HY__EXPR_OP && hy__gpu_leaves(mk->wr, t->exprs[i].value);
    }
    return stored;
}

static hy_status write_phase(maker *mk)
{
    hy__gpu_writer *wr = mk->wr;
    HY_TRY(hy__wgsl_check(&mk->pt, wr->err));
    HY_TRY(hy__wgsl_check(&mk->et, wr->err));
    HY_TRY(make_jobs(mk, wr->err));
    choose_lanes(mk);
    if (!wr->single) {
        HY_TRY(hy__gpu_write_tree(wr, false));
        HY_TRY(write_prepare(mk));
    }
    return write_pieces(mk);
}

hy_status hy__gpu_write_matmul(hy__gpu_writer *wr)
{
    maker mk = {.wr = wr, .g = wr->m->g, .lanes = wr->single ? wr->m->lanes : FEW_LANES};
    const hy_env *env = &mk.g->env;
    HY_TRY(hy__layout_make(&mk.prologue, mk.g, wr->p, wr->x, false, wr->single, true, wr->err));
    hy_status status =
        hy__layout_make(&mk.epilogue, mk.g, wr->p, wr->x, true, wr->single, false, wr->err);
    bool *stored = status == HY_OK ? stored_of(&mk, wr->err) : NULL;
    mk.jobs = stored ? hy__calloc(env, wr->p->n_anchor, sizeof *mk.jobs, wr->err) : NULL;
    status = status == HY_OK && !mk.jobs ? HY_E_NOMEM : status;
    if (status == HY_OK) {
        mk.pt = (hy__wgsl_tree){.l = &mk.prologue, .prefix = 'p', .stored = stored};
        mk.et = (hy__wgsl_tree){.l = &mk.epilogue, .prefix = 'e', .own_anchors = true};
        status = write_phase(&mk);
    }
    for (uint32_t k = 0; k < mk.n_jobs; k++) {
        hy__free(env, mk.jobs[k].only);
    }
    hy__free(env, mk.jobs);
    hy__free(env, stored);
    hy__layout_finish(&mk.epilogue);
    hy__layout_finish(&mk.prologue);
    return status;
}
