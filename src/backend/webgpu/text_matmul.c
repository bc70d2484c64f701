/* text_matmul.c: phases of matrices: their jobs, and kernels for many tokens.
 *
 * One kernel computes a whole phase.  In a step of one token the prologue is computed on the way
 * (text_matvec.c); in a step of many, prologue and quantization are dispatches of their own, and a
 * workgroup multiplies each row with several columns.  Model creation only; one thread. */
#include <stdio.h>

#include "kernels/kernels.h"
#include "text_matmul.h"

enum {
    LANES = 256, /* of a workgroup */
    COLUMNS = 8, /* of a row at once */
    F32_VECS = 8 /* vec4 of a block of f32 */
};

static const hy__node *anchor_node(const hy__mm *mk, uint32_t a)
{
    return &mk->g->nodes[mk->wr->p->first + mk->wr->p->n_prologue + a];
}

const hy__gpu_matrix *hy__mm_matrix(const hy__mm *mk, uint32_t a)
{
    return &mk->wr->m->matrices[anchor_node(mk, a)->in[0]];
}

uint32_t hy__mm_input_vecs(const hy__mm_input *in)
{
    return in->unit == 0 ? in->units * HY__MM_Q8_VECS : in->units * in->unit / 4;
}

uint32_t hy__mm_rows(const hy__mm_job *j, uint32_t chunk)
{
    return HY_MIN(j->rows - chunk * j->chunk_rows, j->chunk_rows);
}

/* ---- jobs */

/* Number of an input in a list, added if it is new; UINT32_MAX: the list is full. */
static uint32_t input_of(const hy__mm *mk, hy__mm_input *list, uint32_t *n, uint32_t cap,
                         uint32_t *vecs, hy__id value, uint32_t unit)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (list[i].value == value && list[i].unit == unit) {
            return i;
        }
    }
    if (*n == cap) {
        return UINT32_MAX;
    }
    hy__mm_input *in = &list[*n];
    *in = (hy__mm_input){.value = value, .unit = unit, .n = mk->g->values[value].n, .at = *vecs};
    in->units = (in->n + 31) / 32 * (unit == 0 ? 1 : 32 / unit);
    *vecs += hy__mm_input_vecs(in);
    return (*n)++;
}

static void mark_users(const hy__mm *mk, const hy__tree *t, bool *mine)
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
static void cluster(const hy__mm *mk, uint32_t a, bool *mine)
{
    const hy__tree *t = &mk->wr->x->epilogue;
    memset(mine, 0, t->n * sizeof *mine);
    mine[a] = true; /* an epilogue begins with the anchors */
    for (uint32_t before = 0, now = 1; before != now; now = count_marks(mine, t->n)) {
        before = now;
        mark_users(mk, t, mine);
    }
}

static hy_status fill_job(hy__mm *mk, hy__mm_job *j, hy_error *err)
{
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__gpu_matrix *x = hy__mm_matrix(mk, j->anchors[k]);
        const hy__node *node = anchor_node(mk, j->anchors[k]);
        const bool codes = x->format->codes;
        const uint32_t unit = codes ? 0 : 256 * 16 / x->format->planes[0];
        j->inputs[k] = input_of(mk, j->input, &j->n_inputs, HY__MM_MOST_INPUTS, &j->vecs,
                                node->in[1], unit);
        const uint32_t there =
            input_of(mk, mk->phase_input, &mk->n_phase_inputs, HY__MM_MOST_INPUTS * 2, &mk->vecs,
                     node->in[1], codes ? 0 : 32);
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
    return HY_OK;
}

static hy_status make_jobs(hy__mm *mk, hy_error *err)
{
    const uint32_t n = mk->wr->p->n_anchor, n_exprs = mk->wr->x->epilogue.n;
    if (n > HY__MM_MOST_ANCHORS) {
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
        hy__mm_job *j = &mk->jobs[mk->n_jobs];
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
static void choose_lanes(hy__mm *mk)
{
    uint32_t rows = 0;
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        rows += mk->jobs[k].rows;
    }
    const uint32_t wanted = HY_MAX(mk->wr->m->workers / HY_MAX(rows, 1u), 8u);
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        hy__mm_job *j = &mk->jobs[k];
        j->lanes = 1;
        while (j->lanes < 32 && 64 * j->lanes < j->input[0].n && 2 * j->lanes <= wanted) {
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

void hy__mm_put_formats(hy__mm *mk, hy__wgsl *w, const hy__mm_job *jobs, uint32_t n_jobs)
{
    bool blocks = false;
    for (size_t i = 0; hy__gpu_format_at(i); i++) {
        const hy__gpu_format *f = hy__gpu_format_at(i);
        bool used = false;
        for (uint32_t k = 0; k < n_jobs; k++) {
            for (uint32_t a = 0; a < jobs[k].n_anchors; a++) {
                used |= hy__mm_matrix(mk, jobs[k].anchors[a])->format == f;
            }
        }
        if (used) {
            hy__gpu_write_format(w, f, &blocks);
        }
    }
    if (blocks) {
        hy__wgsl_put(w, "%s", mk->wr->m->gpu.caps.dot ? dot_native : dot_by_bytes);
        hy__wgsl_put(w, "%s", products);
    }
}

void hy__mm_put_planes(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t chunk)
{
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__node *node = anchor_node(mk, j->anchors[k]);
        const hy__gpu_format *f = hy__mm_matrix(mk, j->anchors[k])->format;
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

/* Anchor k's block i times block b of the inputs, for all columns: in a loop of a constant length,
 * which compilers of GPUs unroll. */
static void put_columns(hy__wgsl *w, uint32_t k)
{
    hy__wgsl_put(w,
                 "            for (var e = 0u; e < %uu; e++) {\n"
                 "            let x = x%u[e] + b;\n            acc%u[e] += ",
                 COLUMNS, k, k);
}

static void put_codes(hy__wgsl *w, const hy__gpu_format *f, uint32_t k, uint32_t width)
{
    hy__wgsl_put(w, "            let w = block_%s(at%u, i);\n", f->name, k);
    put_columns(w, k);
    hy__wgsl_put(w,
                 "product%s(w, codes[x], codes[x + %uu], bitcast<vec4<f32>>(codes[x + %uu]));\n"
                 "            }\n",
                 f->halves ? "" : "_whole", width, 2 * width);
}

static void put_numbers(hy__wgsl *w, const hy__gpu_format *f, uint32_t k, uint32_t width)
{
    for (uint32_t q = 0; q < F32_VECS; q++) {
        hy__wgsl_put(w, "            let w%u = four_%s(at%u, i, %uu);\n", q, f->name, k, q);
    }
    put_columns(w, k);
    for (uint32_t q = 0; q < F32_VECS; q++) {
        hy__wgsl_put(w, "%sdot(w%u, bitcast<vec4<f32>>(codes[x + %uu]))", q ? " + " : "", q,
                     q * width);
    }
    hy__wgsl_put(w, ";\n            }\n");
}

/* Sums of an anchor's row over the blocks of a lane. */
static void put_anchor(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t k)
{
    const hy__gpu_format *f = hy__mm_matrix(mk, j->anchors[k])->format;
    const uint32_t blocks = (j->input[j->inputs[k]].n + 31) / 32;
    hy__wgsl_put(w,
                 "        for (var b = sub; b < %uu; b += %uu) {\n"
                 "            let i = row * %uu + b;\n",
                 blocks, j->lanes, blocks);
    if (f->codes) {
        put_codes(w, f, k, blocks);
    } else {
        put_numbers(w, f, k, blocks);
    }
    hy__wgsl_put(w, "        }\n");
}

/* ---- a job */

static void put_results(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t row0)
{
    hy__wgsl_put(w, "        for (var e = 0u; e < %uu; e++) {\n", COLUMNS);
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

static void put_job(hy__mm *mk, hy__wgsl *w, const hy__mm_job *j, uint32_t number, uint32_t chunk)
{
    const uint32_t rows = hy__mm_rows(j, chunk), each = LANES / j->lanes;
    hy__wgsl_put(w, "\nfn job%u(wg: u32, n_wg: u32, lane: u32, t0: u32, n_cols: u32) {\n", number);
    hy__mm_put_planes(mk, w, j, chunk);
    hy__wgsl_put(w, "    let sub = lane %% %uu;\n", j->lanes);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__mm_input *in = &j->input[j->inputs[k]];
        uint32_t at = 0;
        for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
            const hy__mm_input *p = &mk->phase_input[i];
            at = p->value == in->value && (p->unit == 0) == (in->unit == 0) ? p->at : at;
        }
        hy__wgsl_put(
            w,
            "    var x%u: array<u32, %u>;\n"
            "    for (var e = 0u; e < %uu; e++) { x%u[e] = min(t0 + e, n_cols - 1u) * %uu + "
            "%uu; }\n",
            k, COLUMNS, COLUMNS, k, mk->vecs, at);
    }
    hy__wgsl_put(w, "    for (var turn = wg; turn < %uu; turn += n_wg) {\n",
                 (rows + each - 1) / each);
    hy__wgsl_put(w, "        let there = turn * %uu + lane / %uu < %uu;\n", each, j->lanes, rows);
    hy__wgsl_put(w, "        let row = min(turn * %uu + lane / %uu, %uu);\n", each, j->lanes,
                 rows - 1);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        /* With a value: libraries set a variable without one to zero once, not at every turn. */
        hy__wgsl_put(w, "        var acc%u = array<f32, %u>();\n", k, COLUMNS);
    }
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        put_anchor(mk, w, j, k);
    }
    put_results(mk, w, j, chunk * j->chunk_rows);
    hy__wgsl_put(w, "    }\n}\n");
}

/* ---- kernels */

static uint32_t groups_of(const hy__mm *mk, const hy__mm_job *j, uint64_t all_bytes)
{
    const uint32_t each = LANES / j->lanes, rows = hy__mm_rows(j, 0);
    const uint32_t sets = (rows + each - 1) / each;
    const uint64_t workers = mk->wr->m->workers / LANES;
    const uint64_t share = workers * j->bytes * rows / HY_MAX(all_bytes, (uint64_t)1);
    return (uint32_t)HY_MIN((uint64_t)sets, HY_MAX(share, (uint64_t)1));
}

static void put_main(hy__mm *mk, hy__wgsl *w, const hy__mm_piece *p, hy__gpu_dispatch *d)
{
    uint64_t bytes = 0;
    uint32_t begin = 0;
    hy__wgsl_use(w, HY__BUFFER_step);
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let t0 = id.y * %uu;\n    let n_cols = step.%s;\n",
                 LANES, COLUMNS, mk->wr->p->cols == HY__PER_OUT ? "n_outputs" : "n_tokens");
    for (uint32_t k = p->first; k < p->end; k++) {
        bytes += mk->jobs[k].bytes * hy__mm_rows(&mk->jobs[k], 0);
    }
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

static hy_status write_many(hy__mm *mk, const hy__mm_piece *p)
{
    hy__gpu_writer *wr = mk->wr;
    hy__gpu_dispatch d = {.cols = wr->p->cols, .cols_each = COLUMNS, .attention = UINT32_MAX};
    uint32_t written = 0, kernel;
    hy__wgsl w;
    hy__gpu_begin(wr, &w, LANES);
    hy__wgsl_use(&w, HY__BUFFER_codes);
    hy__mm_put_formats(mk, &w, mk->jobs + p->first, p->end - p->first);
    hy__wgsl_functions(&w, &mk->et, false);
    hy__wgsl_total(&w);
    for (uint32_t k = p->first; k < p->end; k++) {
        hy__gpu_write_sum(wr, &w, mk->jobs[k].lanes, &written);
    }
    for (uint32_t k = p->first; k < p->end; k++) {
        hy__mm_window(mk, &mk->jobs[k], p->chunk, &d);
        put_job(mk, &w, &mk->jobs[k], k - p->first, p->chunk);
    }
    put_main(mk, &w, p, &d);
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

void hy__mm_window(const hy__mm *mk, const hy__mm_job *j, uint32_t chunk, hy__gpu_dispatch *d)
{
    for (uint32_t a = 0; a < j->n_anchors; a++) {
        hy__gpu_matrix_window(mk->wr->m, hy__mm_matrix(mk, j->anchors[a]), chunk, d);
    }
}

/* Whether all matrices of jobs first to last can be bound at once. */
static bool fits(const hy__mm *mk, uint32_t first, uint32_t last)
{
    hy__gpu_dispatch d = {0};
    for (uint32_t k = first; k <= last; k++) {
        const hy__mm_job *j = &mk->jobs[k];
        for (uint32_t a = 0; a < j->n_anchors; a++) {
            if (j->n_chunks > 1 ||
                !hy__gpu_matrix_window(mk->wr->m, hy__mm_matrix(mk, j->anchors[a]), 0, &d)) {
                return false;
            }
        }
    }
    return true;
}

static hy_status write_pieces(hy__mm *mk)
{
    for (uint32_t first = 0; first < mk->n_jobs;) {
        uint32_t end = first + 1;
        while (end < mk->n_jobs && fits(mk, first, end)) {
            end++;
        }
        for (uint32_t chunk = 0; chunk < mk->jobs[first].n_chunks; chunk++) {
            const hy__mm_piece p = {first, end, chunk};
            HY_TRY(mk->wr->single ? hy__mm_write_one(mk, &p) : write_many(mk, &p));
        }
        first = end;
    }
    return HY_OK;
}

/* ---- many tokens: the inputs, in a dispatch of their own */

static hy_status write_prepare(hy__mm *mk)
{
    hy__gpu_writer *wr = mk->wr;
    hy__wgsl w;
    uint32_t groups = 0;
    hy__gpu_begin(wr, &w, 64);
    hy__wgsl_use(&w, HY__BUFFER_codes);
    hy__gpu_put_quantize(&w);
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(64)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let t = id.y;\n    let column = t * %uu;\n",
                 mk->vecs);
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        const hy__mm_input *in = &mk->phase_input[i];
        const uint32_t n = (in->units + 63) / 64;
        hy__wgsl_use(&w, HY__BUFFER_arena);
        const hy__wgsl_text at = hy__wgsl_place(&w, HY__AT_RESULT, in->value, 0);
        hy__wgsl_put(&w, "    %sif (id.x < %uu) {\n", i ? "else " : "", groups + n);
        hy__wgsl_put(&w, "        let b = (id.x - %uu) * 64u + lane;\n", groups);
        hy__wgsl_put(&w, "        if (b < %uu) {\n", in->units);
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
        if (in->unit == 0) {
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
                in->units, 2 * in->units);
        } else {
            for (uint32_t q = 0; q < F32_VECS; q++) {
                hy__wgsl_put(&w, "        codes[to + %uu] = bitcast<vec4<u32>>(v%u);\n",
                             q * in->units, q);
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
static bool *stored_of(const hy__mm *mk, hy_error *err)
{
    const hy__tree *t = &mk->wr->x->prologue;
    bool *stored = hy__calloc(&mk->g->env, (size_t)t->n + 1, sizeof *stored, err);
    for (uint32_t i = 0; stored && i < t->n; i++) {
        stored[i] = t->exprs[i].kind == HY__EXPR_OP && hy__gpu_leaves(mk->wr, t->exprs[i].value);
    }
    return stored;
}

static hy_status make(hy__mm *mk)
{
    hy__gpu_writer *wr = mk->wr;
    const hy_env *env = &mk->g->env;
    HY_TRY(hy__layout_make(&mk->prologue, mk->g, wr->p, wr->x, false, wr->single, true, wr->err));
    HY_TRY(hy__layout_make(&mk->epilogue, mk->g, wr->p, wr->x, true, wr->single, false, wr->err));
    mk->stored = stored_of(mk, wr->err);
    mk->jobs = mk->stored ? hy__calloc(env, wr->p->n_anchor, sizeof *mk->jobs, wr->err) : NULL;
    if (!mk->jobs) {
        return HY_E_NOMEM;
    }
    mk->pt = (hy__wgsl_tree){.l = &mk->prologue, .prefix = 'p', .stored = mk->stored};
    mk->et = (hy__wgsl_tree){.l = &mk->epilogue, .prefix = 'e', .own_anchors = true};
    HY_TRY(hy__wgsl_check(&mk->pt, wr->err));
    HY_TRY(hy__wgsl_check(&mk->et, wr->err));
    return make_jobs(mk, wr->err);
}

hy_status hy__mm_begin(hy__mm *mk, hy__gpu_writer *wr)
{
    *mk = (hy__mm){.wr = wr, .g = wr->m->g};
    const hy_status status = make(mk);
    if (status != HY_OK) {
        hy__mm_end(mk);
    }
    return status;
}

void hy__mm_end(hy__mm *mk)
{
    const hy_env *env = &mk->g->env;
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        hy__free(env, mk->jobs[k].only);
    }
    hy__free(env, mk->jobs);
    hy__free(env, mk->stored);
    if (mk->epilogue.g) {
        hy__layout_finish(&mk->epilogue);
    }
    if (mk->prologue.g) {
        hy__layout_finish(&mk->prologue);
    }
}

hy_status hy__gpu_write_matmul(hy__gpu_writer *wr)
{
    hy__mm mk;
    HY_TRY(hy__mm_begin(&mk, wr));
    hy_status status = HY_OK;
    if (!wr->single) {
        choose_lanes(&mk);
        status = hy__gpu_write_tree(wr, false);
        status = status == HY_OK ? write_prepare(&mk) : status;
    }
    status = status == HY_OK ? write_pieces(&mk) : status;
    hy__mm_end(&mk);
    return status;
}
