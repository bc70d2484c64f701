/* text_gemm.c: phases of matrices in steps of several tokens.
 *
 * First a dispatch computes the prologue and leaves what the matrices read in `codes`, [columns]
 * [vecs] vec4: an input in 8 bits as planes of its blocks of 32 (first 16 codes, last 16, then the
 * factor d, d times the sum of the codes of each half, and of both), another one as it is.
 *
 * Then the matrices, in one of two ways, chosen by the number of columns when a step is encoded.
 * Few columns: neighbouring invocations walk along a row, as for one token, and have several rows
 * and up to 8 columns at once: weights are read as fast as memory gives them.  Many: tiles of rows
 * and 64 columns, parts of which all invocations of a workgroup bring into workgroup memory and
 * multiply from there, 4 columns of several rows each.  Where subgroups multiply matrices, those do
 * it (text_matrix.c).
 *
 * Model creation only; one thread. */
#include <stdio.h>

#include "text_matmul.h"

enum {
    LANES = 256,
    FEW_COLUMNS = 8,
    FEW_ROWS = 4,  /* most rows of an invocation, with few columns */
    MOST_RESULTS = 32, /* of a group of neighbouring invocations */
    MOST_FEW = 32, /* columns that are always few */
    SIDE = 16,     /* invocations of a tile along its rows, and along its columns */
    TILE_COLUMNS = 4 * SIDE,
    MOST_TOGETHER = 8, /* matrices of a tile */
    SLICE = 2048       /* channels that a workgroup quantizes */
};

typedef hy__mm maker;
typedef hy__mm_job job;
typedef hy__mm_input input;

static const hy__gpu_format *format_of(const maker *mk, const job *j, uint32_t k)
{
    return hy__mm_matrix(mk, j->anchors[k])->format;
}

static bool in_codes(const input *in)
{
    return in->unit == 0;
}

/* The input of anchor k, with its place in a column of `codes`. */
static const input *input_of(const maker *mk, const job *j, uint32_t k)
{
    const input *in = &j->input[j->inputs[k]];
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        const input *p = &mk->phase_input[i];
        if (p->value == in->value && in_codes(p) == in_codes(in)) {
            return p;
        }
    }
    return in;
}

static uint32_t blocks_of(const input *in)
{
    return (in->n + 31) / 32;
}

/* What an invocation reads at once: blocks of codes, or quads of numbers. */
static uint32_t units_of(const input *in)
{
    return in_codes(in) ? blocks_of(in) : 8 * blocks_of(in);
}

/* ---- inputs */

static const char stage_q8[] =
    "        workgroupBarrier();\n"
    "        peaks[lane] = largest(v);\n"
    "        workgroupBarrier();\n"
    "        let eight = lane - lane % 8u;\n"
    "        var top = peaks[eight];\n"
    "        for (var k = 1u; k < 8u; k++) { top = max(top, peaks[eight + k]); }\n"
    "        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));\n"
    "        fours[lane] = packed(q);\n"
    "        counts[lane] = sum_of(q);\n"
    "        workgroupBarrier();\n";

/* By shuffles: four channels an invocation, which needs no workgroup memory. */
static void put_input_by_shuffles(maker *mk, hy__wgsl *w, const input *in, uint32_t from, uint32_t end)
{
    char at[40];
    hy__wgsl_put(w,
                 "    for (var base = %uu; base < %uu; base += %uu) {\n"
                 "        let g = base / 4u + lane;\n        let c = 4u * g;\n"
                 "        var v = vec4<f32>();\n",
                 from, end, 4 * LANES);
    for (uint32_t e = 0; e < 4; e++) {
        char channel[16];
        snprintf(channel, sizeof channel, "c + %uu", e);
        hy__wgsl_put(w, "        if (c + %uu < %uu) { v.%c = %s; }\n", e, in->n, "xyzw"[e],
                     hy__gpu_value(mk->wr, w, &mk->pt, in->value, channel, "t").text);
    }
    snprintf(at, sizeof at, "column + %uu", in->at);
    hy__gpu_put_q8(w, "g", end / 4, "codes", at, blocks_of(in));
    hy__wgsl_put(w, "    }\n");
}

/* A slice of an input, 1024 channels at a time, four an invocation. */
static void put_input(maker *mk, hy__wgsl *w, const input *in, uint32_t slice)
{
    const uint32_t from = slice * SLICE, all = 32 * blocks_of(in);
    const uint32_t end = HY_MIN(from + SLICE, all);
    if (in_codes(in) && hy__gpu_quantizes_by_shuffles(mk->wr->m)) {
        put_input_by_shuffles(mk, w, in, from, end);
        return;
    }
    hy__wgsl_put(w, "    for (var base = %uu; base < %uu; base += %uu) {\n", from, end, 4 * LANES);
    hy__wgsl_put(w,
                 "        workgroupBarrier();\n"
                 "        for (var e = 0u; e < 4u; e++) {\n"
                 "            let c = base + %uu * e + lane;\n            var x = 0.0;\n"
                 "            if (c < %uu) { x = %s; }\n"
                 "            channels[%uu * e + lane] = x;\n        }\n"
                 "        workgroupBarrier();\n",
                 LANES, in->n, hy__gpu_value(mk->wr, w, &mk->pt, in->value, "c", "t").text, LANES);
    hy__wgsl_put(w, "        let v = vec4<f32>(channels[4u * lane], channels[4u * lane + 1u], "
                    "channels[4u * lane + 2u], channels[4u * lane + 3u]);\n");
    if (!in_codes(in)) {
        hy__wgsl_put(w,
                     "        if (base + 4u * lane < %uu) { codes[column + %uu + base / 4u + lane] "
                     "= bitcast<vec4<u32>>(v); }\n    }\n",
                     all, in->at);
        return;
    }
    hy__wgsl_text_append(w, stage_q8);
    hy__wgsl_put(w,
                 "        let half = base / 16u + lane;\n"
                 "        if (lane < %uu && half < %uu) {\n"
                 "            codes[column + %uu + half / 2u + half %% 2u * %uu] = "
                 "vec4<u32>(fours[4u * lane], fours[4u * lane + 1u], fours[4u * lane + 2u], "
                 "fours[4u * lane + 3u]);\n        }\n",
                 LANES / 4, 2 * blocks_of(in), in->at, blocks_of(in));
    hy__wgsl_put(w,
                 "        if (lane %% 8u == 0u && base / 32u + lane / 8u < %uu) {\n"
                 "            let d = top / 127.0;\n"
                 "            let s0 = d * f32(counts[lane] + counts[lane + 1u] + counts[lane + "
                 "2u] + counts[lane + 3u]);\n"
                 "            let s1 = d * f32(counts[lane + 4u] + counts[lane + 5u] + "
                 "counts[lane + 6u] + counts[lane + 7u]);\n"
                 "            codes[column + %uu + base / 32u + lane / 8u] = "
                 "bitcast<vec4<u32>>(vec4<f32>(d, s0, s1, s0 + s1));\n        }\n    }\n",
                 blocks_of(in), in->at + 2 * blocks_of(in));
}

/* Whether the prologue leaves anything but inputs: results that others read, or a state. */
static bool leaves_more(const maker *mk)
{
    const hy__tree *t = &mk->wr->x->prologue;
    bool any = false;
    for (uint32_t i = 0; i < t->n; i++) {
        any |= t->exprs[i].kind == HY__EXPR_STATE || mk->pt.stored[i];
    }
    return any;
}

static void put_prologue(maker *mk, hy__wgsl *w)
{
    const hy__layout *l = &mk->prologue;
    for (uint32_t k = 0; k < l->n_parts; k++) {
        hy__wgsl_sums(w, &mk->pt, k);
    }
    if (!leaves_more(mk)) {
        return;
    }
    hy__wgsl_put(w, "    if (id.x == 0u) {\n");
    for (uint32_t k = 0; k < l->n_parts; k++) {
        hy__wgsl_put(w, "    for (var c = lane; c < %uu; c += %uu) {\n", l->parts[k].n, LANES);
        hy__wgsl_body(w, &mk->pt, k);
        hy__wgsl_put(w, "    }\n");
    }
    hy__wgsl_put(w, "    }\n");
}

void hy__mm_begin_inputs(hy__mm *mk, hy__wgsl *w, uint32_t vecs)
{
    hy__wgsl_functions(w, &mk->pt, false);
    hy__wgsl_put(
        w,
        "\n@compute @workgroup_size(%u)\n"
        "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
        "lane: u32) {\n    let t = id.y;\n    let column = t * %uu;\n    let first = 0u;\n",
        LANES, vecs);
    if (mk->wr->p->cols == HY__PER_OUT) {
        hy__wgsl_use(w, HY__BUFFER_step);
        hy__wgsl_put(w, "    let u = t + step.n_tokens - step.n_outputs;\n    _ = u;\n");
    }
    put_prologue(mk, w);
    hy__wgsl_put(w, "    _ = first;\n");
}

/* As codes and numbers, for steps of at most `most` columns (0: any). */
static hy_status write_codes(hy__mm *mk, uint32_t most)
{
    hy__gpu_writer *wr = mk->wr;
    hy__wgsl w;
    uint32_t groups = 0;
    const bool shuffles = hy__gpu_quantizes_by_shuffles(wr->m);
    bool q8 = false, numbers = false;
    hy__gpu_begin(wr, &w, LANES);
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        q8 |= in_codes(&mk->phase_input[i]);
        numbers |= !in_codes(&mk->phase_input[i]);
    }
    hy__wgsl_use(&w, HY__BUFFER_codes);
    if (numbers || !shuffles) {
        hy__wgsl_put(&w, "var<workgroup> channels: array<f32, %u>;\n", 4 * LANES);
    }
    if (q8) {
        hy__gpu_put_quantize(&w);
    }
    if (q8 && !shuffles) {
        hy__wgsl_put(&w,
                     "var<workgroup> peaks: array<f32, %u>;\nvar<workgroup> fours: array<u32, "
                     "%u>;\nvar<workgroup> counts: array<i32, %u>;\n",
                     LANES, LANES, LANES);
    }
    hy__mm_begin_inputs(mk, &w, mk->vecs);
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        const input *in = &mk->phase_input[i];
        for (uint32_t slice = 0; slice * SLICE < 32 * blocks_of(in); slice++, groups++) {
            hy__wgsl_put(&w, "    if (id.x == %uu) {\n", groups);
            put_input(mk, &w, in, slice);
            hy__wgsl_put(&w, "    }\n");
        }
    }
    hy__wgsl_put(&w, "}\n");
    wr->m->code_vecs = HY_MAX(wr->m->code_vecs, mk->vecs);
    const hy__gpu_dispatch d = {
        .cols = wr->p->cols, .cols_each = 1, .groups = groups, .most_cols = most,
        .attention = UINT32_MAX};
    uint32_t kernel;
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

hy_status hy__mm_write_inputs(hy__mm *mk)
{
    if (!hy__mm_by_matrices(mk)) {
        return write_codes(mk, 0);
    }
    HY_TRY(write_codes(mk, mk->wr->m->few_columns));
    return hy__mm_write_halves(mk, mk->wr->m->few_columns + 1);
}

/* ---- what both ways share */

typedef struct piece {
    uint32_t first, end, chunk; /* as of hy__mm_piece */
    uint32_t columns;           /* of a workgroup */
    uint32_t all_rows;          /* of the phase */
} piece;

static hy__wgsl_text first_row(hy__wgsl *w, const job *j, uint32_t chunk)
{
    return hy__wgsl_place(w, HY__AT_OTHER, chunk * j->chunk_rows, HY__GPU_NUMBER + 1);
}

static bool reads_numbers(const job *j)
{
    bool any = false;
    for (uint32_t i = 0; i < j->n_inputs; i++) {
        any |= !in_codes(&j->input[i]);
    }
    return any;
}

bool hy__mm_has_leaves(hy__mm *mk, const hy__mm_job *j)
{
    uint32_t ids[HY__MM_MOST_LEAVES];
    mk->et.only = j->only;
    const uint32_t n = hy__wgsl_leaf_ids(&mk->et, ids, HY__MM_MOST_LEAVES);
    return n > 0 && n <= HY__MM_MOST_LEAVES;
}

bool hy__mm_put_finish(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t number)
{
    uint32_t ids[HY__MM_MOST_LEAVES];
    const bool has = hy__mm_has_leaves(mk, j);
    const uint32_t n = has ? hy__wgsl_leaf_ids(&mk->et, ids, HY__MM_MOST_LEAVES) : 0;
    if (has) {
        hy__wgsl_put(w, "\nfn leaves%u(c: u32, t: u32) -> array<f32, %u> {\n", number, n);
        for (uint32_t i = 0; i < n; i++) {
            hy__wgsl_leaf(w, &mk->et, ids[i]);
        }
        hy__wgsl_put(w, "        return array<f32, %u>(", n);
        for (uint32_t i = 0; i < n; i++) {
            hy__wgsl_put(w, "%sv%u", i ? ", " : "", ids[i]);
        }
        hy__wgsl_put(w, ");\n}\n");
    }
    hy__wgsl_put(w, "\nfn finish%u(c: u32, t: u32", number);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        hy__wgsl_put(w, ", v%u: f32", j->anchors[k]);
    }
    if (has) {
        hy__wgsl_put(w, ", leaves: array<f32, %u>", n);
    }
    hy__wgsl_put(w, ") {\n");
    for (uint32_t i = 0; i < n; i++) {
        hy__wgsl_put(w, "        let v%u = leaves[%u];\n", ids[i], i);
    }
    mk->et.has_leaves = has;
    hy__wgsl_body(w, &mk->et, HY__ALL_PARTS);
    mk->et.has_leaves = false;
    hy__wgsl_put(w, "}\n");
    return has;
}

/* The entry point: workgroups in x are those of job after job, jobs of numbers first, as they take
 * longest.  groups[k]: of job k. */
static uint32_t put_main(maker *mk, hy__wgsl *w, const piece *p, const uint32_t *groups)
{
    uint32_t begin = 0;
    hy__wgsl_use(w, HY__BUFFER_step);
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let t0 = id.y * %uu;\n    let n_cols = step.%s;\n    ",
                 LANES, p->columns, mk->wr->p->cols == HY__PER_OUT ? "n_outputs" : "n_tokens");
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t k = p->first; k < p->end; k++) {
            if (reads_numbers(&mk->jobs[k]) == (turn == 0)) {
                hy__wgsl_put(w,
                             "%sif (id.x < %uu) {\n        job%u(id.x - %uu, lane, t0, n_cols);\n"
                             "    }",
                             begin ? " else " : "", begin + groups[k], k - p->first, begin);
                begin += groups[k];
            }
        }
    }
    hy__wgsl_put(w, "\n}\n");
    return begin;
}

/* A kernel of a piece, `put` for each of its jobs, for steps of least to most columns. */
static hy_status write_kernel(maker *mk, const piece *p, uint32_t least, uint32_t most,
                              void (*put_shared)(maker *, hy__wgsl *, const piece *),
                              uint32_t (*put)(maker *, hy__wgsl *, const piece *, uint32_t))
{
    hy__gpu_writer *wr = mk->wr;
    uint32_t groups[HY__MM_MOST_ANCHORS] = {0}, kernel;
    hy__gpu_dispatch d = {.cols = wr->p->cols,
                          .cols_each = p->columns,
                          .least_cols = least,
                          .most_cols = most,
                          .attention = UINT32_MAX};
    hy__wgsl w;
    hy__gpu_begin(wr, &w, LANES);
    hy__wgsl_use(&w, HY__BUFFER_coded);
    hy__mm_put_formats(mk, &w, mk->jobs + p->first, p->end - p->first, true);
    hy__wgsl_functions(&w, &mk->et, false);
    put_shared(mk, &w, p);
    for (uint32_t k = p->first; k < p->end; k++) {
        const job *j = &mk->jobs[k];
        hy__mm_window(mk, j, p->chunk, &d);
        hy__mm_put_finish(mk, &w, j, k - p->first);
        groups[k] = put(mk, &w, p, k);
    }
    d.groups = put_main(mk, &w, p, groups);
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* ---- few columns */

/* Neighbouring invocations whose sums are made by shuffles; 0: by memory. */
static uint32_t few_shuffled(const hy__wgsl *w, uint32_t lanes)
{
    const uint32_t all = HY_MIN(lanes, w->subgroup);
    return all >= FEW_COLUMNS ? all : 0;
}

/* Invocations along a row: as many as a row has units, so that all its weights are on their way at
 * once.  Sums by memory take longer the more there are. */
static uint32_t few_lanes(const maker *mk, const hy__wgsl *w, const job *j)
{
    uint32_t units = 1, lanes = 8;
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        units = HY_MAX(units, units_of(input_of(mk, j, k)));
    }
    const uint32_t most = few_shuffled(w, LANES) ? LANES : MOST_RESULTS;
    while (lanes < most && lanes < units) {
        lanes *= 2;
    }
    return lanes;
}

/* Rows of an invocation: as many as read what they have of the columns together, but enough
 * invocations to keep the GPU busy. */
static uint32_t few_rows(const maker *mk, const hy__wgsl *w, const piece *p, uint32_t lanes)
{
    const uint64_t all = (uint64_t)p->all_rows * lanes, workers = mk->wr->m->workers;
    const uint32_t shuffled = few_shuffled(w, lanes);
    const uint32_t most = HY_MIN((uint32_t)MOST_RESULTS, shuffled ? shuffled : lanes) / p->columns;
    uint32_t rows = 1;
    while (rows < FEW_ROWS && 2 * rows <= most && all / (2 * rows) >= workers / 8) {
        rows *= 2;
    }
    return rows;
}

static void put_few_shared(maker *mk, hy__wgsl *w, const piece *p)
{
    uint32_t words = 0;
    for (uint32_t k = p->first; k < p->end; k++) {
        const uint32_t lanes = few_lanes(mk, w, &mk->jobs[k]), shuffled = few_shuffled(w, lanes);
        words = HY_MAX(words, shuffled == 0 ? p->columns * LANES : shuffled < lanes ? LANES : 0);
    }
    if (words > 0) {
        hy__wgsl_put(w, "var<workgroup> sums: array<f32, %u>;\n", words);
    }
}

/* The products of a unit of anchor k: b is its number in the row. */
static void put_few_products(maker *mk, hy__wgsl *w, const job *j, uint32_t k, uint32_t rows,
                             uint32_t cols)
{
    const hy__gpu_format *f = format_of(mk, j, k);
    const input *in = input_of(mk, j, k);
    for (uint32_t r = 0; r < rows; r++) {
        if (f->codes) {
            hy__wgsl_put(w, "            let w%u = block_%s(at%u, row%u * %uu + b);\n", r, f->name,
                         k, r, blocks_of(in));
        } else {
            hy__wgsl_put(w, "            let w%u = four_%s(at%u, row%u * %uu + b / 8u, b %% 8u);\n",
                         r, f->name, k, r, blocks_of(in));
        }
    }
    for (uint32_t e = 0; e < cols; e++) {
        hy__wgsl_put(w, "            {\n            let x = x%u + %uu + b;\n", e, in->at);
        if (f->codes) {
            hy__wgsl_put(w,
                         "            let lo = coded[x];\n            let hi = coded[x + %uu];\n"
                         "            let f = bitcast<vec4<f32>>(coded[x + %uu]);\n",
                         blocks_of(in), 2 * blocks_of(in));
        } else {
            hy__wgsl_put(w, "            let f = bitcast<vec4<f32>>(coded[x]);\n");
        }
        for (uint32_t r = 0; r < rows; r++) {
            if (f->codes) {
                hy__wgsl_put(w, "            a%u_%u += product%s(w%u, lo, hi, f);\n", r, e,
                             f->halves ? "" : "_whole", r);
            } else {
                hy__wgsl_put(w, "            a%u_%u += dot(w%u, f);\n", r, e, r);
            }
        }
        hy__wgsl_put(w, "            }\n");
    }
}

/* The sums of a group's lanes: lane `sub` of the first `n_in` gets that of `result`, where result
 * e * rows + r is row r, column e.  By shuffles half of the results leave a lane at each exchange;
 * what subgroups have then is added in memory. */
static void put_few_sums(hy__wgsl *w, uint32_t anchor, uint32_t rows, uint32_t cols, uint32_t lanes)
{
    const uint32_t n = rows * cols, shuffled = few_shuffled(w, lanes);
    if (shuffled > 0) {
        uint32_t mask = shuffled / 2;
        for (uint32_t i = 0; i < n; i++) {
            hy__wgsl_put(w, "        let h%u_%u = a%u_%u;\n", n, i, i % rows, i / rows);
        }
        for (uint32_t half = n / 2; half > 0; half /= 2, mask /= 2) {
            hy__wgsl_put(w, "        let up%u = (sub & %uu) != 0u;\n", half, mask);
            for (uint32_t i = 0; i < half; i++) {
                hy__wgsl_put(w,
                             "        let h%u_%u = select(h%u_%u, h%u_%u, up%u) + "
                             "subgroupShuffleXor(select(h%u_%u, h%u_%u, up%u), %uu);\n",
                             half, i, 2 * half, i, 2 * half, i + half, half, 2 * half, i + half,
                             2 * half, i, half, mask);
            }
        }
        hy__wgsl_put(w, "        v%u = h1_0;\n", anchor);
        for (; mask > 0; mask /= 2) {
            hy__wgsl_put(w, "        v%u += subgroupShuffleXor(v%u, %uu);\n", anchor, anchor, mask);
        }
        if (shuffled < lanes) {
            hy__wgsl_put(w,
                         "        workgroupBarrier();\n        sums[lane] = v%u;\n"
                         "        workgroupBarrier();\n        if (sub < %uu) {\n",
                         anchor, shuffled);
            for (uint32_t i = shuffled; i < lanes; i += shuffled) {
                hy__wgsl_put(w, "            v%u += sums[lane + %uu];\n", anchor, i);
            }
            hy__wgsl_put(w, "        }\n");
        }
        return;
    }
    for (uint32_t r = 0; r < rows; r++) {
        hy__wgsl_put(w, "        workgroupBarrier();\n");
        for (uint32_t e = 0; e < cols; e++) {
            hy__wgsl_put(w, "        sums[%uu + lane] = a%u_%u;\n", e * LANES, r, e);
        }
        hy__wgsl_put(w,
                     "        workgroupBarrier();\n        if (result %% %uu == %uu) {\n"
                     "            for (var i = 0u; i < %uu; i++) { v%u += sums[result / %uu * %uu "
                     "+ lane - sub + i]; }\n        }\n",
                     rows, r, lanes, anchor, rows, LANES);
    }
}

static void put_few_anchor(maker *mk, hy__wgsl *w, const job *j, uint32_t k, uint32_t rows,
                           uint32_t cols, uint32_t lanes)
{
    const uint32_t units = units_of(input_of(mk, j, k));
    hy__wgsl_put(w, "    var v%u = 0.0;\n    {\n", j->anchors[k]);
    for (uint32_t i = 0; i < rows * cols; i++) {
        hy__wgsl_put(w, "        var a%u_%u = 0.0;\n", i / cols, i % cols);
    }
    /* A number of turns that compilers know lets them read several blocks at once. */
    if (units % lanes == 0) {
        hy__wgsl_put(w,
                     "        for (var n = 0u; n < %uu; n++) {\n            let b = sub + %uu * "
                     "n;\n",
                     units / lanes, lanes);
    } else {
        hy__wgsl_put(w, "        for (var b = sub; b < %uu; b += %uu) {\n", units, lanes);
    }
    put_few_products(mk, w, j, k, rows, cols);
    hy__wgsl_put(w, "        }\n");
    put_few_sums(w, j->anchors[k], rows, cols, lanes);
    hy__wgsl_put(w, "    }\n");
}

static uint32_t put_few(maker *mk, hy__wgsl *w, const piece *p, uint32_t number)
{
    const job *j = &mk->jobs[number];
    const uint32_t lanes = few_lanes(mk, w, j), rows = few_rows(mk, w, p, lanes), cols = p->columns;
    const uint32_t m = hy__mm_rows(j, p->chunk), sets = LANES / lanes * rows;
    const uint32_t shuffled = few_shuffled(w, lanes), n_in = shuffled ? shuffled : lanes;
    const uint32_t each = n_in / (rows * cols); /* lanes that have the same result */
    hy__wgsl_put(w, "\nfn job%u(wg: u32, lane: u32, t0: u32, n_cols: u32) {\n", number - p->first);
    hy__mm_put_planes(mk, w, j, p->chunk);
    hy__wgsl_put(w, "    let sub = lane %% %uu;\n    let result = sub %% %uu / %uu;\n", lanes, n_in,
                 each);
    for (uint32_t e = 0; e < cols; e++) {
        hy__wgsl_put(w, "    let x%u = min(t0 + %uu, n_cols - 1u) * %uu;\n", e, e, mk->vecs);
    }
    for (uint32_t r = 0; r < rows; r++) {
        hy__wgsl_put(w, "    let row%u = min(wg * %uu + lane / %uu * %uu + %uu, %uu);\n", r, sets,
                     lanes, rows, r, m - 1);
    }
    const bool leaves = hy__mm_has_leaves(mk, j);
    const hy__wgsl_text first = first_row(w, j, p->chunk);
    hy__wgsl_put(w,
                 "    let row = wg * %uu + lane / %uu * %uu + result %% %uu;\n"
                 "    let t = t0 + result / %uu;\n",
                 sets, lanes, rows, rows, rows);
    if (leaves) {
        hy__wgsl_put(w,
                     "    let leaves = leaves%u(min(row, %uu) + %s, min(t, n_cols - 1u));\n",
                     number - p->first, m - 1, first.text);
    }
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        put_few_anchor(mk, w, j, k, rows, cols, lanes);
    }
    hy__wgsl_put(w,
                 "    if (sub < %uu && sub %% %uu == 0u && row < %uu && t < n_cols) { finish%u(row + "
                 "%s, t",
                 n_in, each, m, number - p->first, first.text);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        hy__wgsl_put(w, ", v%u", j->anchors[k]);
    }
    hy__wgsl_put(w, "%s); }\n}\n", leaves ? ", leaves" : "");
    return (m + sets - 1) / sets;
}

/* ---- many columns */

/* Anchors of a job with the same input and format walk along it together. */
typedef struct tile {
    uint32_t anchors[MOST_TOGETHER]; /* numbers in the job */
    uint32_t n;
    const input *in;
    uint32_t each;  /* rows of an anchor in an invocation */
    uint32_t rows;  /* in the tile, of all anchors */
    uint32_t units; /* of a row in workgroup memory at once */
} tile;

/* Rows of a matrix that an invocation has: fewer where there would be too few tiles, and where
 * several matrices share the registers. */
static uint32_t tile_each(const piece *p, const job *j)
{
    const uint32_t enough = HY_MIN(p->all_rows / 512, j->rows / SIDE);
    uint32_t each = enough >= 8 ? 8 : enough >= 4 ? 4 : 2;
    for (uint32_t most = 8 / HY_MIN(j->n_anchors, 8u); each > 1 && each > most;) {
        each /= 2;
    }
    return each;
}

static bool joins(const maker *mk, const job *j, uint32_t first, uint32_t k)
{
    return input_of(mk, j, k) == input_of(mk, j, first) &&
           format_of(mk, j, k) == format_of(mk, j, first);
}

/* The tile of anchor `first` and those behind it that can join; false: an earlier one has it. */
static bool tile_of(const maker *mk, const piece *p, const job *j, uint32_t first, tile *t)
{
    const uint32_t bytes = mk->wr->m->gpu.caps.workgroup_bytes;
    *t = (tile){.in = input_of(mk, j, first), .each = tile_each(p, j)};
    uint32_t before = 0;
    for (uint32_t k = 0; k < first; k++) {
        before += joins(mk, j, first, k);
    }
    for (uint32_t k = first; k < j->n_anchors && t->n < MOST_TOGETHER; k++) {
        if (joins(mk, j, first, k)) {
            t->anchors[t->n++] = k;
        }
    }
    t->rows = SIDE * t->each * t->n;
    /* Blocks take two vec4 of codes and one of factors, quads one. */
    const uint32_t unit = 16 * (t->rows + TILE_COLUMNS) * (in_codes(t->in) ? 3 : 1);
    t->units = in_codes(t->in) ? 1 : 8;
    while (t->units > 2 && t->units * unit > bytes) {
        t->units /= 2;
    }
    return before % MOST_TOGETHER == 0;
}

static void put_tile_shared(maker *mk, hy__wgsl *w, const piece *p)
{
    uint32_t most = 1;
    tile t;
    for (uint32_t k = p->first; k < p->end; k++) {
        for (uint32_t a = 0; a < mk->jobs[k].n_anchors; a++) {
            tile_of(mk, p, &mk->jobs[k], a, &t);
            most = HY_MAX(most, t.units * (t.rows + TILE_COLUMNS) * (in_codes(t.in) ? 3 : 1));
        }
    }
    hy__wgsl_put(
        w,
        "var<workgroup> tile: array<vec4<u32>, %u>;\n"
        "fn numbers(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(tile[i]); }\n"
        "fn pick(v: vec4<f32>, e: u32) -> f32 {\n"
        "    return select(select(v.x, v.y, e == 1u), select(v.z, v.w, e == 3u), e > 1u);\n"
        "}\n",
        most);
}

/* Vec4 of a unit in workgroup memory: [vec][unit][row], all of the rows first. */
static uint32_t tile_vecs(const tile *t)
{
    return in_codes(t->in) ? 3 : 1;
}

/* What an invocation brings: units uI of rows, sI of columns, where they begin: at hI and baseI,
 * and at fromI of `coded`. */
static void put_tile_places(maker *mk, hy__wgsl *w, const tile *t, uint32_t m)
{
    const uint32_t vecs = tile_vecs(t), rows = t->rows * t->units, side = SIDE * t->each;
    const uint32_t cols = TILE_COLUMNS * t->units;
    for (uint32_t i = 0; i * LANES < rows; i++) {
        hy__wgsl_put(w,
                     "    let u%u = min(lane + %uu, %uu);\n"
                     "    let base%u = min(row0 + u%u / %uu %% %uu, %uu) * %uu;\n    var h%u = "
                     "at%u;\n",
                     i, i * LANES, rows - 1, i, i, t->units, side, m - 1, units_of(t->in), i,
                     t->anchors[0]);
        for (uint32_t a = 1; a < t->n; a++) {
            hy__wgsl_put(w, "    if (u%u >= %uu) { h%u = at%u; }\n", i, a * side * t->units, i,
                         t->anchors[a]);
        }
    }
    for (uint32_t i = 0; i * LANES < vecs * cols; i++) {
        hy__wgsl_put(w,
                     "    let s%u = min(lane + %uu, %uu);\n"
                     "    let from%u = min(t0 + s%u / %uu %% %uu, n_cols - 1u) * %uu + %uu + "
                     "s%u / %uu * %uu;\n",
                     i, i * LANES, vecs * cols - 1, i, i, t->units, TILE_COLUMNS, mk->vecs,
                     t->in->at, i, cols, units_of(t->in));
    }
}

/* Loads what comes to workgroup memory next, as it lies in memory: `next` is the first unit. */
static void put_tile_load(maker *mk, hy__wgsl *w, const job *j, const tile *t, const char *what,
                          const char *next)
{
    const hy__gpu_format *f = format_of(mk, j, t->anchors[0]);
    const uint32_t units = units_of(t->in);
    for (uint32_t i = 0; i * LANES < t->rows * t->units; i++) {
        hy__wgsl_put(w, "    %sw%u = ", what, i);
        if (f->codes) {
            hy__wgsl_put(w, "raw_%s(h%u, base%u + min(%s + u%u %% %uu, %uu));\n", f->name, i, i,
                         next, i, t->units, units - 1);
        } else {
            hy__wgsl_put(w, "weights[h%u.x + (base%u + min(%s + u%u %% %uu, %uu)) / %uu];\n", i, i,
                         next, i, t->units, units - 1, 256 * 4 / f->planes[0]);
        }
    }
    for (uint32_t i = 0; i * LANES < tile_vecs(t) * TILE_COLUMNS * t->units; i++) {
        hy__wgsl_put(w, "    %sx%u = coded[from%u + min(%s + s%u %% %uu, %uu)];\n", what, i, i,
                     next, i, t->units, units - 1);
    }
}

/* Brings what was loaded to workgroup memory; k is its first unit. */
static void put_tile_store(maker *mk, hy__wgsl *w, const job *j, const tile *t)
{
    const hy__gpu_format *f = format_of(mk, j, t->anchors[0]);
    const uint32_t vecs = tile_vecs(t), part = t->rows * t->units, units = units_of(t->in);
    const uint32_t cols = TILE_COLUMNS * t->units;
    hy__wgsl_put(w, "        workgroupBarrier();\n");
    for (uint32_t i = 0; i * LANES < part; i++) {
        hy__wgsl_put(w, (i + 1) * LANES > part ? "        if (lane < %uu) {\n" : "        {\n",
                     part - i * LANES);
        hy__wgsl_put(w,
                     "            let b = k + u%u %% %uu;\n"
                     "            let to = u%u %% %uu * %uu + u%u / %uu;\n",
                     i, t->units, i, t->units, t->rows, i, t->units);
        if (f->codes) {
            hy__wgsl_put(w,
                         "            var g = unpack_%s(base%u + b, w%u);\n"
                         "            tile[to] = g.lo;\n            tile[to + %uu] = g.hi;\n",
                         f->name, i, i, part);
            if (units % t->units != 0) {
                hy__wgsl_put(
                    w, "            if (b >= %uu) { g.a = vec2<f32>(); g.c = vec2<f32>(); }\n",
                    units);
            }
            hy__wgsl_put(w,
                         "            tile[to + %uu] = bitcast<vec4<u32>>(vec4<f32>(g.a, g.c));\n",
                         2 * part);
        } else {
            hy__wgsl_put(w, "            tile[to] = bitcast<vec4<u32>>(four_of_%s(w%u, b));\n",
                         f->name, i);
        }
        hy__wgsl_put(w, "        }\n");
    }
    for (uint32_t i = 0; i * LANES < cols * vecs; i++) {
        if ((i + 1) * LANES > cols * vecs) {
            hy__wgsl_put(w, "        if (lane < %uu) ", cols * vecs - i * LANES);
        }
        hy__wgsl_put(
            w,
            "        { tile[%uu + s%u / %uu * %uu + s%u %% %uu * %uu + s%u / %uu %% %uu] = "
            "x%u; }\n",
            vecs * part, i, cols, cols, i, t->units, TILE_COLUMNS, i, t->units, TILE_COLUMNS, i);
    }
    hy__wgsl_put(w, "        workgroupBarrier();\n");
}

/* Products of a block: dots in integers, then with the factors of rows and columns. */
static void put_tile_codes(maker *mk, hy__wgsl *w, const job *j, const tile *t)
{
    const uint32_t part = t->rows * t->units, cols = TILE_COLUMNS * t->units;
    for (uint32_t e = 0; e < 4; e++) {
        hy__wgsl_put(w,
                     "            let x%u = tile[%uu + u * %uu + tc];\n"
                     "            let y%u = tile[%uu + u * %uu + tc];\n"
                     "            let f%u = numbers(%uu + u * %uu + tc);\n",
                     e, 3 * part + SIDE * e, TILE_COLUMNS, e, 3 * part + cols + SIDE * e,
                     TILE_COLUMNS, e, 3 * part + 2 * cols + SIDE * e, TILE_COLUMNS);
    }
    for (uint32_t c = 0; c < 4; c++) {
        static const char *const names[] = {"d", "low", "high", "both"};
        hy__wgsl_put(w, "            let %s = vec4<f32>(f0.%c, f1.%c, f2.%c, f3.%c);\n", names[c],
                     "xyzw"[c], "xyzw"[c], "xyzw"[c], "xyzw"[c]);
    }
    for (uint32_t a = 0; a < t->n; a++) {
        const hy__gpu_format *f = format_of(mk, j, t->anchors[a]);
        for (uint32_t r = 0; r < t->each; r++) {
            const uint32_t at = (a * t->each + r) * SIDE;
            hy__wgsl_put(w,
                         "            {\n            let i = u * %uu + %uu + tr;\n"
                         "            let lo = tile[i];\n            let hi = tile[i + %uu];\n"
                         "            let g = numbers(i + %uu);\n",
                         t->rows, at, part, 2 * part);
            if (f->halves) {
                hy__wgsl_put(w, "            let l = vec4<i32>(dot16(lo, x0), dot16(lo, x1), "
                                "dot16(lo, x2), dot16(lo, x3));\n"
                                "            let h = vec4<i32>(dot16(hi, y0), dot16(hi, y1), "
                                "dot16(hi, y2), dot16(hi, y3));\n");
                hy__wgsl_put(w,
                             "            acc%u_%u += d * (g.x * vec4<f32>(l) + g.y * "
                             "vec4<f32>(h))%s;\n            }\n",
                             t->anchors[a], r, f->offset ? " - (g.z * low + g.w * high)" : "");
            } else {
                hy__wgsl_put(w,
                             "            let l = vec4<i32>(dot16(lo, x0) + dot16(hi, y0), "
                             "dot16(lo, x1) + dot16(hi, y1), dot16(lo, x2) + dot16(hi, y2), "
                             "dot16(lo, x3) + dot16(hi, y3));\n"
                             "            acc%u_%u += g.x * d * vec4<f32>(l)%s;\n            }\n",
                             t->anchors[a], r, f->offset ? " - g.z * both" : "");
            }
        }
    }
    hy__wgsl_put(w, "            _ = low + high + both;\n");
}

static void put_tile_numbers(hy__wgsl *w, const tile *t)
{
    const uint32_t part = t->rows * t->units;
    for (uint32_t e = 0; e < 4; e++) {
        hy__wgsl_put(w, "            let x%u = numbers(%uu + u * %uu + tc);\n", e, part + SIDE * e,
                     TILE_COLUMNS);
    }
    for (uint32_t i = 0; i < t->n * t->each; i++) {
        hy__wgsl_put(w,
                     "            {\n            let g = numbers(u * %uu + %uu + tr);\n"
                     "            acc%u_%u += vec4<f32>(dot(g, x0), dot(g, x1), dot(g, x2), "
                     "dot(g, x3));\n            }\n",
                     t->rows, i * SIDE, t->anchors[i / t->each], i % t->each);
    }
}

static uint32_t put_tiles(maker *mk, hy__wgsl *w, const piece *p, uint32_t number)
{
    const job *j = &mk->jobs[number];
    const uint32_t m = hy__mm_rows(j, p->chunk), each = tile_each(p, j);
    tile t;
    hy__wgsl_put(w, "\nfn job%u(wg: u32, lane: u32, t0: u32, n_cols: u32) {\n", number - p->first);
    hy__mm_put_planes(mk, w, j, p->chunk);
    hy__wgsl_put(w,
                 "    let tr = lane %% %uu;\n    let tc = lane / %uu;\n    let row0 = wg * %uu;\n",
                 SIDE, SIDE, SIDE * each);
    for (uint32_t i = 0; i < j->n_anchors * each; i++) {
        hy__wgsl_put(w, "    var acc%u_%u = vec4<f32>();\n", i / each, i % each);
    }
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        if (!tile_of(mk, p, j, k, &t)) {
            continue;
        }
        char next[24];
        snprintf(next, sizeof next, "k + %uu", t.units);
        hy__wgsl_put(w, "    {\n");
        put_tile_places(mk, w, &t, m);
        put_tile_load(mk, w, j, &t, "var ", "0u");
        hy__wgsl_put(w, "    for (var k = 0u; k < %uu; k += %uu) {\n", units_of(t.in), t.units);
        put_tile_store(mk, w, j, &t);
        put_tile_load(mk, w, j, &t, "    ", next);
        hy__wgsl_put(w, "        for (var u = 0u; u < %uu; u++) {\n", t.units);
        if (in_codes(t.in)) {
            put_tile_codes(mk, w, j, &t);
        } else {
            put_tile_numbers(w, &t);
        }
        hy__wgsl_put(w, "        }\n    }\n    }\n");
    }
    for (uint32_t r = 0; r < each; r++) {
        hy__wgsl_put(w,
                     "    if (row0 + %uu + tr < %uu) {\n        for (var e = 0u; e < 4u; e++) {\n"
                     "            let t = t0 + tc + %uu * e;\n"
                     "            let c = row0 + %uu + tr + %s;\n"
                     "            if (t < n_cols) { finish%u(c, t",
                     r * SIDE, m, SIDE, r * SIDE, first_row(w, j, p->chunk).text,
                     number - p->first);
        for (uint32_t k = 0; k < j->n_anchors; k++) {
            hy__wgsl_put(w, ", pick(acc%u_%u, e)", k, r);
        }
        if (hy__mm_has_leaves(mk, j)) {
            hy__wgsl_put(w, ", leaves%u(c, t)", number - p->first);
        }
        hy__wgsl_put(w, "); }\n        }\n    }\n");
    }
    hy__wgsl_put(w, "}\n");
    return (m + SIDE * each - 1) / (SIDE * each);
}

/* Most columns that are few: more, if their tiles would leave most of the GPU idle. */
static uint32_t most_few(const maker *mk, const piece *p)
{
    const uint32_t wanted = HY_MAX(mk->wr->m->workers / (8 * LANES), 1u);
    uint32_t tiles = 0;
    for (uint32_t k = p->first; k < p->end; k++) {
        const job *j = &mk->jobs[k];
        const uint32_t side = SIDE * tile_each(p, j);
        tiles += (hy__mm_rows(j, p->chunk) + side - 1) / side;
    }
    return HY_MAX((uint32_t)MOST_FEW, ((wanted + tiles - 1) / tiles - 1) * TILE_COLUMNS);
}

/* ---- a piece */

hy_status hy__mm_write_columns(hy__mm *mk, const hy__mm_piece *jobs)
{
    piece p = {jobs->first, jobs->end, jobs->chunk, .columns = FEW_COLUMNS};
    uint32_t least = 1;
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        p.all_rows += mk->jobs[k].rows;
    }
    if (mk->wr->p->cols == HY__PER_OUT || mk->wr->one) {
        p.columns = 1;
        HY_TRY(write_kernel(mk, &p, 1, 1, put_few_shared, put_few));
        p.columns = FEW_COLUMNS;
        least = 2;
    }
    const bool matrices = hy__mm_by_matrices(mk);
    const uint32_t most = matrices ? mk->wr->m->few_columns : most_few(mk, &p);
    HY_TRY(write_kernel(mk, &p, least, most, put_few_shared, put_few));
    if (matrices) {
        return hy__mm_write_matrices(mk, jobs, most + 1);
    }
    p.columns = TILE_COLUMNS;
    return write_kernel(mk, &p, most + 1, 0, put_tile_shared, put_tiles);
}
