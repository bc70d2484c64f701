/* text_matmul.c: phases of matrices: their jobs, and what their kernels have in common.
 *
 * In a step of one token one kernel computes a whole phase, the prologue on the way
 * (text_matvec.c); in a step of several, what comes before is a dispatch of its own (text_gemm.c).
 * Model creation only; one thread. */
#include <stdio.h>

#include "kernels/kernels.h"
#include "text_matmul.h"

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

void hy__mm_put_formats(hy__mm *mk, hy__wgsl *w, const hy__mm_job *jobs, uint32_t n_jobs,
                        bool with_products)
{
    bool blocks = false, dot = true;
    for (size_t i = 0; hy__gpu_format_at(i); i++) {
        const hy__gpu_format *f = hy__gpu_format_at(i);
        bool used = false;
        for (uint32_t k = 0; k < n_jobs; k++) {
            for (uint32_t a = 0; a < jobs[k].n_anchors; a++) {
                used |= hy__mm_matrix(mk, jobs[k].anchors[a])->format == f;
            }
        }
        if (used) {
            dot = dot && (!f->codes || mk->wr->m->use & hy__gpu_use_dot(f));
            hy__gpu_write_format(w, f, &blocks);
        }
    }
    if (blocks && with_products) {
        hy__wgsl_put(w, "%s", dot ? dot_native : dot_by_bytes);
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

/* ---- pieces of work */

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
            HY_TRY(mk->wr->single ? hy__mm_write_one(mk, &p) : hy__mm_write_columns(mk, &p));
        }
        first = end;
    }
    return HY_OK;
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
    hy_status status = wr->single ? HY_OK : hy__mm_write_inputs(&mk);
    status = status == HY_OK ? write_pieces(&mk) : status;
    hy__mm_end(&mk);
    return status;
}
