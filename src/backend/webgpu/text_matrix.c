/* text_matrix.c: phases of matrices in steps of many tokens, with matrices that subgroups multiply
 * (tensor cores and their like; WebGPU's experimental subgroup matrices).
 *
 * Inputs are f16 numbers, which a dispatch leaves in `codes`: [columns] [vecs] vec4 of eight.
 * Weights become f16 on their way into workgroup memory; sums are f32.  Weights are taken times
 * SCALE and activations over it, which f16 then holds up to 4,094 and up to a million: the products
 * are the same.
 *
 * A workgroup has a tile of rows and columns, and walks along them two blocks of 32 at a time; weights
 * and activations of the next ones are on their way meanwhile.  Matrices whose results meet in the
 * epilogue share the rows of a tile.  Large tiles do more between two barriers, which is what takes
 * time, small ones leave fewer processors idle: the number of columns decides when a step is encoded.
 * Model creation only; one thread. */
#include <stdio.h>

#include "text_matmul.h"

enum {
    SUBGROUP = HY__GPU_MATRIX_LANES,
    UNITS = 2,                    /* blocks of a row in workgroup memory at once */
    SUB_ROWS = 64,                /* of a tile, in a subgroup: of all matrices of a job */
    STRIDE = 4 * UNITS + 1, /* vec4 of a row or column there: one more, against bank conflicts */
    MOST_ANCHORS = 4,
    INPUT_LANES = 256, /* a workgroup has a column */
    SCALE = 16,
    AT_ONCE = 2 /* results of an invocation that the epilogue gets together */
};

/* How a workgroup's tile is divided. */
typedef struct tiling {
    uint32_t rows, columns; /* of a tile */
    uint32_t subgroups;
    uint32_t lanes;    /* each brings a block of 32 weights at a time */
    uint32_t sub_cols; /* columns of a subgroup */
    uint32_t m, n, k;  /* of a matrix */
} tiling;

/* From the smallest tiles to the largest. */
static const struct tile_size {
    uint32_t rows, columns;
    uint32_t least_columns; /* of a step */
    uint32_t waves;         /* of tiles that a step must have for all processors */
} tile_sizes[HY__GPU_TILE_SIZES] = {{64, 128, 1, 0}, {128, 128, 1, 1}, {128, 192, 1024, 2}};

/* Jobs of a piece that differ in numbers only share their text. */
typedef struct kind {
    const hy__mm_job *like;
    uint32_t jobs[HY__MM_MOST_ANCHORS], n_jobs;
    uint32_t stacked; /* matrices that share a tile's rows: 1, 2 or 4 */
} kind;

typedef struct maker {
    hy__mm *mk;
    hy__wgsl *w;
    const hy__mm_piece *p;
    tiling t;
    kind kinds[HY__MM_MOST_ANCHORS];
    uint32_t n_kinds;
} maker;

static tiling tiling_of(const hy__gpu_model *m, const struct tile_size *size)
{
    const hy__gpu_caps *c = &m->gpu.caps;
    tiling t = {.rows = size->rows,
                .columns = size->columns,
                .m = c->matrix_m,
                .n = c->matrix_n,
                .k = c->matrix_k};
    t.lanes = t.rows * UNITS;
    t.subgroups = t.lanes / SUBGROUP;
    t.sub_cols = t.columns * t.rows / SUB_ROWS / t.subgroups;
    return t;
}

/* vec4 of workgroup memory: blocks of the tile's rows and columns, then some of its results. */
static uint32_t memory_of(const tiling *t)
{
    return HY_MAX(STRIDE * (t->rows + t->columns), t->subgroups * SUB_ROWS * t->n / 4);
}

static bool fits(const hy__gpu_model *m, const struct tile_size *size)
{
    const tiling t = tiling_of(m, size);
    return 16 * memory_of(&t) <= m->gpu.caps.workgroup_bytes &&
           t.lanes <= m->gpu.caps.invocations && t.sub_cols % t.n == 0;
}

static uint32_t blocks_of(const hy__mm_input *in)
{
    return (in->n + 31) / 32;
}

static const hy__gpu_format *format_of(const maker *o, const hy__mm_job *j, uint32_t k)
{
    return hy__mm_matrix(o->mk, j->anchors[k])->format;
}

static uint32_t stacked_of(const hy__mm_job *j)
{
    return j->n_anchors > 2 ? 4 : j->n_anchors;
}

bool hy__mm_by_matrices(const hy__mm *mk)
{
    const hy__gpu_model *m = mk->wr->m;
    bool able = m->use & HY__GPU_USE_MATRICES && mk->wr->p->cols != HY__PER_OUT;
    for (uint32_t k = 0; k < mk->n_jobs; k++) {
        able = able && mk->jobs[k].n_anchors <= MOST_ANCHORS;
    }
    return able && fits(m, &tile_sizes[0]);
}

/* ---- inputs */

/* Input i of the phase, or NULL where an earlier one has the same value in another form. */
static const hy__mm_input *input_of(const hy__mm *mk, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++) {
        if (mk->phase_input[k].value == mk->phase_input[i].value) {
            return NULL;
        }
    }
    return &mk->phase_input[i];
}

/* Where input `value` begins in a column: vec4 of eight numbers.  *vecs: of a column. */
static uint32_t input_at(const hy__mm *mk, hy__id value, uint32_t *vecs)
{
    uint32_t at = 0, found = UINT32_MAX;
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        const hy__mm_input *in = input_of(mk, i);
        if (in) {
            found = in->value == value ? at : found;
            at += 4 * blocks_of(in);
        }
    }
    *vecs = at;
    return found;
}

/* Four channels an invocation; two neighbours have a vec4. */
static void put_input(hy__mm *mk, hy__wgsl *w, const hy__mm_input *in)
{
    uint32_t vecs;
    const uint32_t end = 32 * blocks_of(in);
    const uint32_t at = input_at(mk, in->value, &vecs);
    hy__wgsl_put(w,
                 "        for (var base = 0u; base < %uu; base += %uu) {\n"
                 "            let c = base + 4u * lane;\n            var v = vec4<f32>();\n",
                 end, 4 * INPUT_LANES);
    for (uint32_t e = 0; e < 4; e++) {
        char channel[16];
        snprintf(channel, sizeof channel, "c + %uu", e);
        hy__wgsl_put(w, "            if (c + %uu < %uu) { v.%c = %s; }\n", e, in->n, "xyzw"[e],
                     hy__gpu_value(mk->wr, w, &mk->pt, in->value, channel, "t").text);
    }
    hy__wgsl_put(w,
                 "            v = clamp(v / %u.0, vec4<f32>(-65504.0), vec4<f32>(65504.0));\n"
                 "            let x = pack2x16float(v.xy);\n"
                 "            let y = pack2x16float(v.zw);\n"
                 "            let z = vec4<u32>(x, y, subgroupShuffleXor(x, 1u), "
                 "subgroupShuffleXor(y, 1u));\n"
                 "            if (lane %% 2u == 0u && c < %uu) { codes[column + %uu + c / 8u] = z; "
                 "}\n        }\n",
                 SCALE, end, at);
}

hy_status hy__mm_write_halves(hy__mm *mk, uint32_t least)
{
    hy__gpu_writer *wr = mk->wr;
    hy__wgsl w;
    uint32_t kernel, vecs;
    (void)input_at(mk, mk->phase_input[0].value, &vecs);
    hy__gpu_begin(wr, &w, INPUT_LANES);
    hy__wgsl_use(&w, HY__BUFFER_codes);
    hy__mm_begin_inputs(mk, &w, vecs);
    for (uint32_t i = 0; i < mk->n_phase_inputs; i++) {
        if (input_of(mk, i)) {
            put_input(mk, &w, input_of(mk, i));
        }
    }
    hy__wgsl_put(&w, "}\n");
    wr->m->code_vecs = HY_MAX(wr->m->code_vecs, vecs);
    const hy__gpu_dispatch d = {.cols = wr->p->cols,
                                .cols_each = 1,
                                .groups = 1,
                                .least_cols = least,
                                .attention = UINT32_MAX};
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* ---- kinds of jobs */

static bool alike(const maker *o, const hy__mm_job *a, const hy__mm_job *b)
{
    bool same = a->n_anchors == b->n_anchors && a->n_anchors == 1;
    for (uint32_t k = 0; k < a->n_anchors && same; k++) {
        same = format_of(o, a, k) == format_of(o, b, k) &&
               a->input[a->inputs[k]].n == b->input[b->inputs[k]].n;
    }
    return same;
}

static void find_kinds(maker *o)
{
    o->n_kinds = 0;
    for (uint32_t k = o->p->first; k < o->p->end; k++) {
        const hy__mm_job *j = &o->mk->jobs[k];
        uint32_t i = 0;
        while (i < o->n_kinds && !alike(o, o->kinds[i].like, j)) {
            i++;
        }
        if (i == o->n_kinds) {
            o->kinds[o->n_kinds++] = (kind){.like = j, .stacked = stacked_of(j)};
        }
        o->kinds[i].jobs[o->kinds[i].n_jobs++] = k;
    }
}

/* ---- tiles on their way into workgroup memory */

/* vec4 of a format without codes that hold 32 numbers. */
static uint32_t number_vecs(const hy__gpu_format *f)
{
    return f->planes[0] / 128;
}

static uint32_t raw_vecs(const hy__gpu_format *f)
{
    return f->codes ? f->raw_vecs : number_vecs(f);
}

/* Reads an invocation's block of weights, number b + br of the row, to `raw`. */
static void put_read(const maker *o, const hy__mm_job *j, uint32_t k, const char *b)
{
    const hy__gpu_format *f = format_of(o, j, k);
    const uint32_t blocks = blocks_of(&j->input[j->inputs[k]]), n = raw_vecs(f);
    hy__wgsl_put(o->w, "            let block = row * %uu + min(%s + bk, %uu);\n", blocks, b,
                 blocks - 1);
    if (f->codes) {
        hy__wgsl_put(o->w, "            let r = raw_%s(at%u, block);\n", f->name, k);
        for (uint32_t i = 0; i < n; i++) {
            hy__wgsl_put(o->w, "            raw%u = r[%u];\n", i, i);
        }
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        hy__wgsl_put(o->w, "            raw%u = weights[at%u.x + block * %uu + %uu];\n", i, k, n, i);
    }
}

/* Writes it to `to` of workgroup memory as f16. */
static void put_write(const maker *o, const hy__mm_job *j, uint32_t k, const char *b)
{
    static const char *const halves[] = {"lo", "hi"};
    const hy__gpu_format *f = format_of(o, j, k);
    const uint32_t blocks = blocks_of(&j->input[j->inputs[k]]);
    if (!f->codes) {
        const uint32_t each = 8 / number_vecs(f); /* fours of a vec4 */
        for (uint32_t i = 0; i < 8; i += 2) {
            hy__wgsl_put(o->w,
                         "            tiles[to + %uu] = vec4<u32>(halves_of(%u.0 * "
                         "four_of_%s(raw%u, %uu)), halves_of(%u.0 * four_of_%s(raw%u, %uu)));\n",
                         i / 2, SCALE, f->name, i / each, i % each, SCALE, f->name, (i + 1) / each,
                         (i + 1) % each);
        }
        return;
    }
    char raw[64] = "";
    for (uint32_t i = 0; i < f->raw_vecs; i++) {
        const size_t n = strlen(raw);
        snprintf(raw + n, sizeof raw - n, "%sraw%u", i ? ", " : "", i);
    }
    hy__wgsl_put(o->w,
                 "            let x = unpack_%s(row * %uu + min(%s + bk, %uu), array<vec4<u32>, "
                 "%u>(%s));\n",
                 f->name, blocks, b, blocks - 1, f->raw_vecs, raw);
    for (uint32_t h = 0; h < 2; h++) {
        hy__wgsl_put(o->w,
                     "            let a%u = vec2<f16>(f16(%u.0 * x.a.%c));\n"
                     "            let c%u = vec2<f16>(f16(%u.0 * x.c.%c));\n",
                     h, SCALE, "xy"[h], h, SCALE, "xy"[h]);
        for (uint32_t q = 0; q < 4; q += 2) {
            hy__wgsl_put(o->w,
                         "            tiles[to + %uu] = vec4<u32>(four_halves(x.%s.%c, a%u, c%u), "
                         "four_halves(x.%s.%c, a%u, c%u));\n",
                         2 * h + q / 2, halves[h], "xyzw"[q], h, h, halves[h], "xyzw"[q + 1], h, h);
        }
    }
}

/* For the matrix that the invocation's row belongs to, of those that read input `in`. */
static void put_of_anchor(const maker *o, const kind *x, uint32_t in, const char *b,
                          void (*put)(const maker *, const hy__mm_job *, uint32_t, const char *))
{
    const hy__mm_job *j = x->like;
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        if (j->inputs[k] != in) {
            continue;
        }
        if (x->stacked > 1) {
            hy__wgsl_put(o->w, "        if (lane / %uu == %uu) {\n", o->t.lanes / x->stacked, k);
        } else {
            hy__wgsl_put(o->w, "        {\n");
        }
        put(o, j, k, b);
        hy__wgsl_put(o->w, "        }\n");
    }
}

/* vec4 of columns that an invocation brings at a time. */
static uint32_t x_vecs(const maker *o)
{
    return o->t.columns * 4 * UNITS / o->t.lanes;
}

/* Reads blocks b on of the columns. */
static void put_read_columns(const maker *o, uint32_t blocks, const char *b)
{
    hy__wgsl_put(o->w, "        let at = min(4u * (%s) + part, %uu);\n", b, 4 * blocks - 1);
    for (uint32_t i = 0; i < x_vecs(o); i++) {
        hy__wgsl_put(o->w, "        x%u = coded[from%u + at];\n", i, i);
    }
}

static void put_write_columns(const maker *o)
{
    const uint32_t each = 4 * UNITS; /* vec4 of a column */
    for (uint32_t i = 0; i < x_vecs(o); i++) {
        hy__wgsl_put(o->w, "        tiles[(lane / %uu + %uu) * %uu + part] = x%u;\n", each,
                     o->t.rows + i * o->t.lanes / each, STRIDE, i);
    }
}

/* ---- products */

/* Fragments of rows that a subgroup has of a matrix. */
static uint32_t fragments_of(const maker *o, const kind *x)
{
    return SUB_ROWS / o->t.m / x->stacked;
}

/* Row of the tile where fragment f of anchor k begins for a subgroup, as text. */
static hy__wgsl_text fragment_row(const maker *o, const kind *x, uint32_t k, uint32_t f)
{
    const uint32_t all = o->t.rows / x->stacked;
    hy__wgsl_text out;
    snprintf(out.text, sizeof out.text, "(%uu + sub_row * %uu)", k * all + f * o->t.m,
             SUB_ROWS / x->stacked);
    return out;
}

static void put_products(const maker *o, const kind *x, uint32_t in)
{
    const tiling *t = &o->t;
    const hy__mm_job *j = x->like;
    for (uint32_t k = 0; k < 32 * UNITS / t->k; k++) {
        hy__wgsl_put(o->w, "        {\n");
        for (uint32_t c = 0; c < t->sub_cols / t->n; c++) {
            hy__wgsl_put(o->w,
                         "        let b%u = subgroupMatrixLoad<subgroup_matrix_right<f16, %u, %u>, "
                         "col_major>(&tiles, (sub_col + %uu) * %uu + %uu, %uu);\n",
                         c, t->n, t->k, t->rows + c * t->n, STRIDE, k * t->k / 8, STRIDE);
        }
        for (uint32_t a = 0; a < j->n_anchors; a++) {
            for (uint32_t f = 0; f < fragments_of(o, x) && j->inputs[a] == in; f++) {
                hy__wgsl_put(o->w,
                             "        { let a = subgroupMatrixLoad<subgroup_matrix_left<f16, %u, %u>, "
                             "row_major>(&tiles, %s * %uu + %uu, %uu);\n",
                             t->k, t->m, fragment_row(o, x, a, f).text, STRIDE, k * t->k / 8,
                             STRIDE);
                for (uint32_t c = 0; c < t->sub_cols / t->n; c++) {
                    hy__wgsl_put(o->w,
                                 "        sum%u_%u_%u = subgroupMatrixMultiplyAccumulate(a, b%u, "
                                 "sum%u_%u_%u);\n",
                                 a, f, c, c, a, f, c);
                }
                hy__wgsl_put(o->w, "        }\n");
            }
        }
        hy__wgsl_put(o->w, "        }\n");
    }
}

/* A walk along the rows, for the matrices that read input `in`. */
static void put_walk(const maker *o, const kind *x, uint32_t in)
{
    const hy__mm_job *j = x->like;
    const uint32_t blocks = blocks_of(&j->input[in]), each = 4 * UNITS;
    uint32_t n = 0;
    char next[40];
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        n = HY_MAX(n, j->inputs[k] == in ? raw_vecs(format_of(o, j, k)) : 0);
    }
    hy__wgsl_put(o->w, "    {\n");
    for (uint32_t i = 0; i < n; i++) {
        hy__wgsl_put(o->w, "    var raw%u = vec4<u32>();\n", i);
    }
    hy__wgsl_put(o->w, "    let part = lane %% %uu;\n", each);
    for (uint32_t i = 0; i < x_vecs(o); i++) {
        hy__wgsl_put(o->w,
                     "    let from%u = min(t0 + lane / %uu + %uu, n_cols - 1u) * columns_each + "
                     "in%u;\n",
                     i, each, i * o->t.lanes / each, in);
        hy__wgsl_put(o->w, "    var x%u: vec4<u32>;\n", i);
    }
    put_of_anchor(o, x, in, "0u", put_read);
    hy__wgsl_put(o->w, "    {\n");
    put_read_columns(o, blocks, "0u");
    hy__wgsl_put(o->w, "    }\n");
    hy__wgsl_put(o->w, "    for (var b = 0u; b < %uu; b += %uu) {\n        workgroupBarrier();\n",
                 blocks, UNITS);
    put_write_columns(o);
    put_of_anchor(o, x, in, "b", put_write);
    if (blocks % UNITS != 0) {
        /* What is behind the last block counts as zero. */
        hy__wgsl_put(o->w,
                     "        if (b + bk >= %uu) { for (var i = 0u; i < 4u; i++) { tiles[to + i] = "
                     "vec4<u32>(); } }\n",
                     blocks);
    }
    hy__wgsl_put(o->w, "        workgroupBarrier();\n");
    snprintf(next, sizeof next, "b + %uu", UNITS);
    put_of_anchor(o, x, in, next, put_read);
    put_read_columns(o, blocks, next);
    put_products(o, x, in);
    hy__wgsl_put(o->w, "    }\n    }\n");
}

/* ---- results */

/* The results at channels channelE and columns columnE, E < AT_ONCE, of the job that `which` names: what all of
 * them read comes first, as no read passes a write. */
static void put_finish_calls(const maker *o, const kind *x)
{
    for (uint32_t i = 0; i < x->n_jobs; i++) {
        const uint32_t number = x->jobs[i] - o->p->first;
        const hy__mm_job *j = &o->mk->jobs[x->jobs[i]];
        const bool leaves = hy__mm_has_leaves(o->mk, j);
        const hy__wgsl_text first = hy__wgsl_place(
            o->w, HY__AT_OTHER, o->p->chunk * j->chunk_rows, HY__GPU_NUMBER + 1);
        hy__wgsl_put(o->w, "        %sif (which == %uu) {\n", i ? "else " : "", i);
        for (uint32_t e = 0; e < AT_ONCE && leaves; e++) {
            hy__wgsl_put(o->w,
                         "            let leaves%u_ = leaves%u(min(channel%u, n_rows - 1u) + %s, min(column%u, "
                         "n_cols - 1u));\n",
                         e, number, e, first.text, e);
        }
        for (uint32_t e = 0; e < AT_ONCE; e++) {
            hy__wgsl_put(o->w,
                         "            if (channel%u < n_rows && column%u < n_cols) { finish%u(channel%u + %s, column%u",
                         e, e, number, e, first.text, e);
            for (uint32_t k = 0; k < j->n_anchors; k++) {
                hy__wgsl_put(o->w, ", r%u_%u", k, e);
            }
            hy__wgsl_put(o->w, leaves ? ", leaves%u_); }\n" : "); }\n", e);
        }
        hy__wgsl_put(o->w, "        }\n");
    }
}

/* The sums of a fragment's columns c on to workgroup memory, [matrix] [column] [row] numbers. */
static void put_strip(const maker *o, const kind *x, uint32_t c)
{
    const uint32_t rows = SUB_ROWS / x->stacked; /* of a matrix */
    for (uint32_t a = 0; a < x->like->n_anchors; a++) {
        for (uint32_t f = 0; f < fragments_of(o, x); f++) {
            hy__wgsl_put(o->w,
                         "    subgroupMatrixStore<col_major>(&tiles, strip / 4u + %uu, "
                         "sum%u_%u_%u, %uu);\n",
                         (a * rows * o->t.n + f * o->t.m) / 4, a, f, c, rows / 4);
        }
    }
}

/* From there to the epilogue. */
static void put_epilogue(const maker *o, const kind *x, uint32_t c)
{
    const tiling *t = &o->t;
    const uint32_t rows = SUB_ROWS / x->stacked, size = rows * t->n; /* of a matrix */
    hy__wgsl_put(o->w, "    for (var i = lane %% %uu; i < %uu; i += %uu) {\n", SUBGROUP, size,
                 AT_ONCE * SUBGROUP);
    for (uint32_t e = 0; e < AT_ONCE; e++) {
        hy__wgsl_put(o->w,
                     "        let channel%u = row0 + sub_row * %uu + (i + %uu) %% %uu;\n"
                     "        let column%u = t0 + sub_col + %uu + (i + %uu) / %uu;\n",
                     e, rows, e * SUBGROUP, rows, e, c * t->n, e * SUBGROUP, rows);
        for (uint32_t a = 0; a < x->like->n_anchors; a++) {
            const uint32_t at = a * size + e * SUBGROUP; /* both are a multiple of four */
            hy__wgsl_put(o->w,
                         "        let r%u_%u = bitcast<f32>(tiles[(strip + i) / 4u + %uu][i %% "
                         "4u]);\n",
                         a, e, at / 4);
        }
    }
    put_finish_calls(o, x);
    hy__wgsl_put(o->w, "    }\n");
}

/* The columns of a fragment at a time. */
static void put_results(const maker *o, const kind *x)
{
    const tiling *t = &o->t;
    hy__wgsl_put(o->w, "    let strip = subgroup * %uu;\n", SUB_ROWS * t->n);
    for (uint32_t c = 0; c < t->sub_cols / t->n; c++) {
        hy__wgsl_put(o->w, "    workgroupBarrier();\n");
        put_strip(o, x, c);
        hy__wgsl_put(o->w, "    workgroupBarrier();\n");
        put_epilogue(o, x, c);
    }
}

/* ---- the kernel */

/* fn tilesN(tile, lane, t0, n_cols, which, n_rows, planes and inputs): a tile of a job of kind N. */
static void put_kind(const maker *o, const kind *x, uint32_t number)
{
    const hy__mm_job *j = x->like;
    const tiling *t = &o->t;
    const uint32_t rows = t->rows / x->stacked; /* of a matrix */
    hy__wgsl_put(o->w, "\nfn tiles%u(tile: u32, lane: u32, t0: u32, n_cols: u32, which: u32, n_rows: u32",
                 number);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        hy__wgsl_put(o->w, ", at%u: vec4<u32>", k);
    }
    for (uint32_t i = 0; i < j->n_inputs; i++) {
        hy__wgsl_put(o->w, ", in%u: u32", i);
    }
    hy__wgsl_put(o->w,
                 ") {\n    let subgroup = lane / %uu;\n    let sub_row = subgroup %% %uu;\n"
                 "    let sub_col = subgroup / %uu * %uu;\n    let row0 = tile * %uu;\n"
                 "    let bk = lane %% %uu;\n    let to = lane / %uu * %uu + bk * 4u;\n"
                 "    let row = min(row0 + lane / %uu %% %uu, n_rows - 1u);\n",
                 SUBGROUP, t->rows / SUB_ROWS, t->rows / SUB_ROWS, t->sub_cols, rows, UNITS,
                 UNITS, STRIDE, UNITS, rows);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        for (uint32_t f = 0; f < fragments_of(o, x); f++) {
            for (uint32_t c = 0; c < t->sub_cols / t->n; c++) {
                hy__wgsl_put(o->w, "    var sum%u_%u_%u: subgroup_matrix_result<f32, %u, %u>;\n", k, f,
                             c, t->n, t->m);
            }
        }
    }
    for (uint32_t i = 0; i < j->n_inputs; i++) {
        put_walk(o, x, i);
    }
    put_results(o, x);
    hy__wgsl_put(o->w, "}\n");
}

/* Workgroups in x are those of job after job, jobs of numbers first, as they take longest. */
static uint32_t put_main(const maker *o)
{
    uint32_t begin = 0, vecs;
    hy__wgsl_use(o->w, HY__BUFFER_step);
    hy__wgsl_put(o->w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let t0 = id.y * %uu;\n    let n_cols = step.n_tokens;\n",
                 o->t.lanes, o->t.columns);
    for (uint32_t i = 0; i < o->n_kinds; i++) {
        const kind *x = &o->kinds[i];
        for (uint32_t k = 0; k < x->n_jobs; k++) {
            const hy__mm_job *j = &o->mk->jobs[x->jobs[k]];
            const uint32_t each = o->t.rows / x->stacked, m = hy__mm_rows(j, o->p->chunk);
            const uint32_t groups = (m + each - 1) / each;
            hy__wgsl_put(o->w, "    %sif (id.x < %uu) {\n", begin ? "else " : "", begin + groups);
            hy__mm_put_planes(o->mk, o->w, j, o->p->chunk);
            hy__wgsl_put(o->w, "        tiles%u(id.x - %uu, lane, t0, n_cols, %uu, %uu", i, begin, k, m);
            for (uint32_t a = 0; a < j->n_anchors; a++) {
                hy__wgsl_put(o->w, ", at%u", a);
            }
            for (uint32_t a = 0; a < j->n_inputs; a++) {
                hy__wgsl_put(o->w, ", %uu", input_at(o->mk, j->input[a].value, &vecs));
            }
            hy__wgsl_put(o->w, ");\n    }\n");
            begin += groups;
        }
    }
    hy__wgsl_put(o->w, "}\n");
    return begin;
}

static const char halves[] =
    "fn halves_of(v: vec4<f32>) -> vec2<u32> {\n"
    "    return vec2<u32>(bitcast<u32>(vec2<f16>(v.xy)), bitcast<u32>(vec2<f16>(v.zw)));\n}\n"
    "// Four signed bytes u as a * u - c: 1024 + (u + 128) is a byte within an f16.\n"
    "fn four_halves(u: u32, a: vec2<f16>, c: vec2<f16>) -> vec2<u32> {\n"
    "    let even = bitcast<vec2<f16>>((u & 0x00ff00ffu) ^ 0x64806480u) - vec2<f16>(1152.0);\n"
    "    let odd = bitcast<vec2<f16>>(((u >> 8u) & 0x00ff00ffu) ^ 0x64806480u) - vec2<f16>(1152.0);\n"
    "    let x = even * a - c;\n    let y = odd * a - c;\n"
    "    return vec2<u32>(bitcast<u32>(vec2<f16>(x.x, y.x)), bitcast<u32>(vec2<f16>(x.y, y.y)));\n}\n";

static hy_status write_kernel(maker *o, uint32_t least, uint32_t most)
{
    hy__gpu_writer *wr = o->mk->wr;
    hy__gpu_dispatch d = {.cols = wr->p->cols,
                          .cols_each = o->t.columns,
                          .least_cols = least,
                          .most_cols = most,
                          .attention = UINT32_MAX};
    hy__wgsl w;
    uint32_t kernel, vecs;
    o->w = &w;
    hy__gpu_begin(wr, &w, o->t.lanes);
    hy__wgsl_use(&w, HY__BUFFER_coded);
    (void)input_at(o->mk, o->mk->phase_input[0].value, &vecs);
    hy__mm_put_formats(o->mk, &w, o->mk->jobs + o->p->first, o->p->end - o->p->first, false);
    hy__wgsl_functions(&w, &o->mk->et, false);
    hy__wgsl_put(&w,
                 "const columns_each = %uu;\n%s"
                 "var<workgroup> tiles: array<vec4<u32>, %u>; // of rows, then of columns\n",
                 vecs, halves, memory_of(&o->t));
    for (uint32_t k = o->p->first; k < o->p->end; k++) {
        hy__mm_window(o->mk, &o->mk->jobs[k], o->p->chunk, &d);
        hy__mm_put_finish(o->mk, &w, &o->mk->jobs[k], k - o->p->first);
    }
    for (uint32_t i = 0; i < o->n_kinds; i++) {
        put_kind(o, &o->kinds[i], i);
    }
    d.groups = put_main(o);
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

/* Columns of a step from which on tiles of a size keep the GPU busy. */
static uint32_t least_columns(const maker *o, const struct tile_size *size)
{
    const uint32_t processors = HY_MAX(o->mk->wr->m->workers / (9 * 128), 1u);
    uint32_t tiles = 0;
    for (uint32_t k = o->p->first; k < o->p->end; k++) {
        const hy__mm_job *j = &o->mk->jobs[k];
        const uint32_t each = size->rows / stacked_of(j);
        tiles += (hy__mm_rows(j, o->p->chunk) + each - 1) / each;
    }
    const uint32_t times = (size->waves * processors + tiles - 1) / tiles;
    return HY_MAX(size->least_columns, times > 0 ? (times - 1) * size->columns + 1 : 1);
}

hy_status hy__mm_write_matrices(hy__mm *mk, const hy__mm_piece *p, uint32_t least)
{
    const hy__gpu_model *m = mk->wr->m;
    maker o = {.mk = mk, .p = p};
    uint32_t begin[HY__GPU_TILE_SIZES + 1]; /* columns from which on a size is used */
    find_kinds(&o);
    begin[HY__GPU_TILE_SIZES] = UINT32_MAX;
    for (uint32_t i = HY__GPU_TILE_SIZES; i-- > 0;) {
        const struct tile_size *size = &tile_sizes[i];
        const uint32_t from = HY_MIN(least_columns(&o, size), m->tile_columns[i]);
        begin[i] = fits(m, size) ? HY_MIN(begin[i + 1], i > 0 ? HY_MAX(from, least) : least)
                                 : begin[i + 1];
    }
    for (uint32_t i = 0; i < HY__GPU_TILE_SIZES; i++) {
        const uint32_t end = begin[i + 1];
        o.t = tiling_of(m, &tile_sizes[i]);
        if (begin[i] < end) {
            HY_TRY(write_kernel(&o, begin[i], end == UINT32_MAX ? 0 : end - 1));
        }
    }
    return HY_OK;
}
