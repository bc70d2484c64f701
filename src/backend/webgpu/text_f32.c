/* text_f32.c: matrices that are multiplied in f32, in the plain ways that the ladder of `halyard
 * bench` compares with the usual one (docs/decisions/ladder.md): one invocation for a row of raw
 * blocks, several for a row of raw blocks, several for a row of planes.
 *
 * Each kernel multiplies one matrix with any number of columns, and needs a phase of that matrix
 * alone.  Model creation only; one thread. */
#include <stdio.h>

#include "webgpu.h"

enum {
    ROW_LANES = 32,  /* invocations of a row */
    LANES = 256,     /* of a workgroup of such rows */
    TILE = 2048,     /* elements of the input that a workgroup shares at a time */
    NAIVE_LANES = 64 /* of a workgroup where an invocation has a row */
};

/* What an invocation multiplies at a time, elements. */
static uint32_t unit_of(const hy__gpu_format *f)
{
    return f->elements > 0 ? 8 : f->codes ? HY__GPU_BLOCK : 256 * 16 / f->planes[0];
}

static uint32_t padded(const hy__gpu_matrix *x)
{
    return (x->n + HY__GPU_BLOCK - 1) / HY__GPU_BLOCK * HY__GPU_BLOCK;
}

static uint32_t block_bytes(const hy__gpu_format *f)
{
    return f->planes[0] * f->elements / 256;
}

/* fn input(t, i): elements i to i + 3 of the column, zeros behind its end. */
static void put_input(hy__wgsl *w, const hy__node *node, uint32_t n)
{
    const hy__wgsl_text from = hy__wgsl_place(w, HY__AT_RESULT, node->in[1], 0);
    hy__wgsl_use(w, HY__BUFFER_arena);
    hy__wgsl_put(w, "fn input(t: u32, i: u32) -> vec4<f32> {\n    let x = %s + t * %uu + i;\n",
                 from.text, n);
    if (n % 4 == 0 && n % HY__GPU_BLOCK == 0) {
        hy__wgsl_put(w, "    return vec4<f32>(arena[x], arena[x + 1u], arena[x + 2u], "
                        "arena[x + 3u]);\n}\n");
        return;
    }
    hy__wgsl_put(w, "    var v = vec4<f32>();\n    for (var k = 0u; k < 4u; k++) {\n");
    hy__wgsl_put(w, "        if (i + k < %uu) { v[k] = arena[x + k]; }\n    }\n    return v;\n}\n",
                 n);
}

/* fn unit(at, u, x): the product of unit u of the matrix with the input from vec4 x of `xs` on.
 * There is a gap behind eight vec4 each, so that invocations that read neighbouring blocks of 32 at
 * a time meet in no bank of the memory that they share. */
static void put_unit(hy__wgsl *w, const hy__gpu_format *f)
{
    const char *name = f->name;
    hy__wgsl_put(w, "fn place(i: u32) -> u32 { return i + i / 8u; }\n"
                    "fn unit(at: vec4<u32>, u: u32, at4: u32) -> f32 {\n"
                    "    let x = place(at4);\n");
    if (f->elements > 0) {
        const uint32_t units = f->elements / 8;
        name += strlen("raw_");
        hy__wgsl_put(w,
                     "    let block = 16u * at.x + u / %uu * %uu;\n    let k = u %% %uu * 2u;\n"
                     "    let f = scale_%s(block, k / %uu);\n"
                     "    return dot(f.x * codes_%s(block, k) - f.y, xs[x]) +\n"
                     "        dot(f.x * codes_%s(block, k + 1u) - f.y, xs[x + 1u]);\n}\n",
                     units, block_bytes(f), units, name, f->group / 4, name, name);
    } else if (f->codes) {
        hy__wgsl_put(w,
                     "    let w = block_%s(at, u);\n    var sum = 0.0;\n"
                     "    for (var k = 0u; k < 4u; k++) {\n"
                     "        sum += dot(w.a.x * numbers(w.lo[k]) - w.c.x, xs[x + k]);\n"
                     "        sum += dot(w.a.y * numbers(w.hi[k]) - w.c.y, xs[x + 4u + k]);\n"
                     "    }\n    return sum;\n}\n",
                     name);
    } else {
        hy__wgsl_put(w, "    let w = weights[at.x + u];\n    var sum = 0.0;\n");
        hy__wgsl_put(w,
                     "    for (var k = 0u; k < %uu; k++) { sum += dot(four_of_%s(w, k), xs[x + k]); "
                     "}\n    return sum;\n}\n",
                     unit_of(f) / 4, name);
    }
}

static const char numbers[] =
    "fn numbers(four: u32) -> vec4<f32> {\n"
    "    let high = bitcast<vec4<i32>>(vec4<u32>(four) << vec4<u32>(24u, 16u, 8u, 0u));\n"
    "    return vec4<f32>(high >> vec4<u32>(24u));\n}\n";

static void put_planes(hy__wgsl *w, const hy__node *node, const hy__gpu_format *f, uint32_t chunk)
{
    hy__wgsl_put(w, "    let at = vec4<u32>(");
    for (uint32_t p = 0; p < HY__GPU_PLANES; p++) {
        const uint32_t part = HY__GPU_PLANE + p + 4 * chunk;
        hy__wgsl_put(w, "%s%s", p ? ", " : "",
                     f->planes[p] ? hy__wgsl_place(w, HY__AT_OTHER, node->in[0], part).text : "0u");
    }
    hy__wgsl_put(w, ");\n");
}

/* Where the result of `row` of the chunk goes. */
static void put_result(hy__wgsl *w, const hy__node *node, const hy__gpu_matrix *x, uint32_t chunk,
                       const char *result)
{
    const hy__wgsl_text to = hy__wgsl_place(w, HY__AT_RESULT, node->out, 0);
    hy__wgsl_put(w, "arena[%s + t * %uu + %uu + row] = %s;\n", to.text, x->m, chunk * x->chunk_rows,
                 result);
}

/* As a first port is written: each invocation walks along its own row. */
static void put_naive(hy__wgsl *w, const hy__node *node, const hy__gpu_matrix *x, uint32_t chunk,
                      uint32_t rows)
{
    const hy__gpu_format *f = x->format;
    const char *name = f->name + strlen("raw_");
    const uint32_t blocks = padded(x) / f->elements, quads = f->group / 4;
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%d)\n"
                 "fn naive(@builtin(global_invocation_id) id: vec3<u32>) {\n"
                 "    let row = id.x;\n    let t = id.y;\n    if (row >= %uu) { return; }\n",
                 NAIVE_LANES, rows);
    put_planes(w, node, f, chunk);
    hy__wgsl_put(w,
                 "    var sum = 0.0;\n    for (var b = 0u; b < %uu; b++) {\n"
                 "        let block = 16u * at.x + (row * %uu + b) * %uu;\n"
                 "        for (var g = 0u; g < %uu; g++) {\n"
                 "            let f = scale_%s(block, g);\n",
                 blocks, blocks, block_bytes(f), f->elements / f->group, name);
    hy__wgsl_put(w,
                 "            for (var k = %uu * g; k < %uu * (g + 1u); k++) {\n"
                 "                sum += dot(f.x * codes_%s(block, k) - f.y, input(t, b * %uu + 4u "
                 "* k));\n            }\n        }\n    }\n    ",
                 quads, quads, name, f->elements);
    put_result(w, node, x, chunk, "sum");
}

/* Neighbouring invocations read neighbouring units of a row, and all the input from memory that the
 * workgroup shares. */
static void put_rows(hy__wgsl *w, const hy__node *node, const hy__gpu_matrix *x, uint32_t chunk,
                     uint32_t rows)
{
    const uint32_t n = padded(x), unit = unit_of(x->format), tile = HY_MIN(n, (uint32_t)TILE);
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%d)\n"
                 "fn rows(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n    let row = id.x * %uu + lane / %uu;\n    let part = lane %% %uu;\n"
                 "    let t = id.y;\n",
                 LANES, LANES / ROW_LANES, ROW_LANES, ROW_LANES);
    put_planes(w, node, x->format, chunk);
    hy__wgsl_put(w,
                 "    let first = min(row, %uu) * %uu;\n    var some = 0.0;\n"
                 "    for (var begin = 0u; begin < %uu; begin += %uu) {\n"
                 "        let end = min(%uu - begin, %uu);\n        workgroupBarrier();\n"
                 "        for (var i = lane; i < end / 4u; i += %du) { xs[place(i)] = input(t, "
                 "begin + 4u * i); }\n        workgroupBarrier();\n",
                 rows - 1, n / unit, n, tile, n, tile, LANES);
    hy__wgsl_put(w,
                 "        for (var u = part; u < end / %uu; u += %uu) {\n"
                 "            some += unit(at, first + begin / %uu + u, u * %uu);\n        }\n"
                 "    }\n    let sum = sum_%d(lane, some);\n"
                 "    if (part == 0u && row < %uu) {\n        ",
                 unit, ROW_LANES, unit, unit / 4, ROW_LANES, rows);
    put_result(w, node, x, chunk, "sum");
    hy__wgsl_put(w, "    }\n");
}

static hy_status write_chunk(hy__gpu_writer *wr, const hy__node *node, uint32_t chunk)
{
    const hy__gpu_matrix *x = &wr->m->matrices[node->in[0]];
    const bool naive = wr->m->form == HY__GPU_FORM_NAIVE;
    const uint32_t rows = HY_MIN(x->m - chunk * x->chunk_rows, x->chunk_rows);
    const uint32_t each = naive ? NAIVE_LANES : LANES / ROW_LANES;
    hy__gpu_dispatch d = {.groups = (rows + each - 1) / each,
                          .cols_each = 1,
                          .cols = wr->p->cols,
                          .attention = UINT32_MAX};
    hy__wgsl w;
    bool block = false;
    uint32_t written = 0, kernel;
    hy__gpu_matrix_window(wr->m, x, chunk, &d);
    wr->window = d.window;
    hy__gpu_begin(wr, &w, naive ? NAIVE_LANES : LANES);
    hy__gpu_write_format(&w, x->format, &block);
    put_input(&w, node, x->n);
    if (naive) {
        put_naive(&w, node, x, chunk, rows);
    } else {
        hy__wgsl_put(&w,
                     "var<workgroup> xs: array<vec4<f32>, %u>;\n"
                     "var<workgroup> partial: array<f32, %u>;\n",
                     HY_MIN(padded(x), (uint32_t)TILE) / HY__GPU_BLOCK * 9, LANES);
        hy__wgsl_put(&w, "%s", x->format->codes ? numbers : "");
        put_unit(&w, x->format);
        hy__gpu_write_sum(wr, &w, ROW_LANES, &written);
        put_rows(&w, node, x, chunk, rows);
    }
    hy__wgsl_put(&w, "}\n");
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, naive ? "naive" : "rows", &d);
}

hy_status hy__gpu_write_f32(hy__gpu_writer *wr)
{
    const hy__node *node = &wr->m->g->nodes[wr->p->first];
    if (wr->p->n_prologue > 0 || wr->p->n_anchor != 1 || wr->p->n_epilogue > 0) {
        return hy__fail(wr->err, HY_E_UNSUPPORTED,
                        "backend webgpu: the GPU masks no-codes, no-planes and no-lanes need every "
                        "operation alone, without fusions (no_fuse: all)");
    }
    for (uint32_t c = 0; c < wr->m->matrices[node->in[0]].n_chunks; c++) {
        HY_TRY(write_chunk(wr, node, c));
    }
    return HY_OK;
}
