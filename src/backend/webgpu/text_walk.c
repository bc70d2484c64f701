/* text_walk.c: the WKV-7 recurrence in steps of several tokens.
 *
 * Three dispatches: what comes before, for all tokens; the walk; what comes behind.  In the walk
 * the rows of a head's state are divided among workgroups, as no row needs another one.  A
 * workgroup keeps its rows in registers and brings the vectors of a block of tokens into workgroup
 * memory at once; those of the next block are on their way meanwhile.  A token waits for nothing but
 * the one before: a result is added up while the next token is computed.  Model creation only; one thread. */
#include <stdio.h>

#include "webgpu.h"

enum { MOST_BLOCK = 16 /* tokens */, MOST_ROWS = 16 };

typedef struct walk {
    hy__gpu_writer *wr;
    const hy__node *node;
    uint32_t n;                 /* channels of a head */
    uint32_t each, rows, lanes; /* invocations of a row; rows and invocations of a workgroup */
    uint32_t vecs;              /* vec4 of a row in an invocation */
    uint32_t block;             /* tokens in workgroup memory at once */
} walk;

/* Result `in` of the recurrence's inputs, at a channel and token, where earlier dispatches left it.
 */
static hy__wgsl_text input_at(walk *k, hy__wgsl *w, uint32_t in, const char *channel,
                              const char *token)
{
    return hy__gpu_value(k->wr, w, NULL, k->node->in[in], channel, token);
}

/* Names of inputs 0, 1, 2, 4 and 5 in workgroup memory: receptance, decay, key, removal key and a.
 */
static const char letters[] = {'r', 'w', 'k', '\0', 'q', 'a'};

static uint32_t turns_of(const walk *k)
{
    return (k->block * k->n / 4 + k->lanes - 1) / k->lanes;
}

static uint32_t value_turns(const walk *k)
{
    return (k->block * k->rows + k->lanes - 1) / k->lanes;
}

/* Reads the block that begins at token `begin` to registers: pLETTERn, n turns.  Behind the last
 * token the last one is read again. */
static void put_read(walk *k, hy__wgsl *w, const char *begin)
{
    const uint32_t quads = k->n / 4;
    for (uint32_t g = 0; g < turns_of(k); g++) {
        hy__wgsl_put(w,
                     "        {\n            let i = %uu + lane;\n"
                     "            let t = min(%s + i / %uu, step.n_tokens - 1u);\n"
                     "            let c = first + 4u * (i %% %uu);\n",
                     g * k->lanes, begin, quads, quads);
        for (uint32_t in = 0; in < sizeof letters; in++) {
            if (letters[in]) {
                hy__wgsl_put(w, "            p%c%u = vec4<f32>(", letters[in], g);
                for (uint32_t e = 0; e < 4; e++) {
                    char channel[16];
                    snprintf(channel, sizeof channel, "c + %uu", e);
                    hy__wgsl_put(w, "%s%s", e ? ", " : "", input_at(k, w, in, channel, "t").text);
                }
                hy__wgsl_put(w, ");\n");
            }
        }
        hy__wgsl_put(w, "        }\n");
    }
    for (uint32_t g = 0; g < value_turns(k); g++) {
        hy__wgsl_put(w,
                     "        {\n            let i = %uu + lane;\n"
                     "            let t = min(%s + i / ROWS, step.n_tokens - 1u);\n"
                     "            pv%u = %s;\n        }\n",
                     g * k->lanes, begin, g, input_at(k, w, 3, "rows0 + i % ROWS", "t").text);
    }
}

static void put_registers(walk *k, hy__wgsl *w)
{
    for (uint32_t g = 0; g < turns_of(k); g++) {
        for (uint32_t in = 0; in < sizeof letters; in++) {
            if (letters[in]) {
                hy__wgsl_put(w, "    var p%c%u = vec4<f32>();\n", letters[in], g);
            }
        }
    }
    for (uint32_t g = 0; g < value_turns(k); g++) {
        hy__wgsl_put(w, "    var pv%u = 0.0;\n", g);
    }
}

/* From the registers to workgroup memory. */
static void put_stage(walk *k, hy__wgsl *w)
{
    const uint32_t units = k->block * k->n / 4, values = k->block * k->rows;
    hy__wgsl_put(w, "        workgroupBarrier();\n");
    for (uint32_t g = 0; g < turns_of(k); g++) {
        hy__wgsl_put(w, (g + 1) * k->lanes > units ? "        if (%uu + lane < %uu) {\n" : "        {\n",
                     g * k->lanes, units);
        hy__wgsl_put(w, "            let i = %uu + lane;\n", g * k->lanes);
        for (uint32_t in = 0; in + 1 < sizeof letters; in++) {
            if (letters[in]) {
                hy__wgsl_put(w, "            x%c[i] = p%c%u;\n", letters[in], letters[in], g);
            }
        }
        hy__wgsl_put(w, "            xa[i] = pa%u * pq%u;\n        }\n", g, g);
    }
    for (uint32_t g = 0; g < value_turns(k); g++) {
        if ((g + 1) * k->lanes > values) {
            hy__wgsl_put(w, "        if (%uu + lane < %uu) ", g * k->lanes, values);
        }
        hy__wgsl_put(w, "        { xv[%uu + lane] = pv%u; }\n", g * k->lanes, g);
    }
    hy__wgsl_put(w, "        workgroupBarrier();\n");
}

/* Writes `result` of token `t`. */
static void put_result(walk *k, hy__wgsl *w, const char *when, const char *t)
{
    hy__wgsl_use(w, HY__BUFFER_arena);
    hy__wgsl_put(w,
                 "            if (part == 0u%s) { arena[%s + %s * %uu + rows0 + lane / %uu] = result; "
                 "}\n",
                 when, hy__wgsl_place(w, HY__AT_RESULT, k->node->out, 0).text, t,
                 k->wr->m->g->values[k->node->out].n, k->each);
}

static void put_token(walk *k, hy__wgsl *w)
{
    hy__wgsl_put(w, "            let at = j * %uu + part;\n", k->n / 4);
    hy__wgsl_put(w, "            let value = xv[j * %uu + lane / %uu];\n", k->rows, k->each);
    hy__gpu_put_wkv7(w, k->vecs, k->each, "at", true);
    put_result(k, w, " && t0 + j > 0u", "(t0 + j - 1u)");
}

static void put_state(walk *k, hy__wgsl *w, bool load)
{
    const hy__wgsl_text place = hy__wgsl_place(w, HY__AT_STATE, k->node->in[6], 0);
    hy__wgsl_use(w, load ? HY__BUFFER_state_old : HY__BUFFER_state_new);
    if (load) {
        hy__wgsl_put(w, "    let home = %s + (rows0 + lane / %uu) * %uu + 4u * part;\n", place.text,
                     k->each, k->n);
    }
    for (uint32_t i = 0; i < k->vecs; i++) {
        if (load) {
            hy__wgsl_put(w, "    var s%u = vec4<f32>(", i);
        }
        for (uint32_t e = 0; e < 4; e++) {
            const uint32_t at = 4 * i * k->each + e;
            if (load) {
                hy__wgsl_put(w, "%sstate_old[home + %uu]", e ? ", " : "", at);
            } else {
                hy__wgsl_put(w, "    state_new[home + %uu] = s%u.%c;\n", at, i, "xyzw"[e]);
            }
        }
        if (load) {
            hy__wgsl_put(w, ");\n");
        }
    }
}

static hy_status write_walk(walk *k)
{
    hy__gpu_writer *wr = k->wr;
    hy__wgsl w;
    uint32_t written = 0, kernel;
    char next[32];
    const uint32_t slices = k->n / k->rows;
    hy__gpu_begin(wr, &w, k->lanes);
    hy__wgsl_use(&w, HY__BUFFER_step);
    for (uint32_t in = 0; in < sizeof letters; in++) {
        if (letters[in]) {
            hy__wgsl_put(&w, "var<workgroup> x%c: array<vec4<f32>, %u>;\n", letters[in],
                         k->block * k->n / 4);
        }
    }
    hy__wgsl_put(&w, "var<workgroup> xv: array<f32, %u>;\nconst ROWS = %uu;\n", k->block * k->rows,
                 k->rows);
    if (!hy__gpu_sums_by_lanes(wr->m, k->each)) {
        hy__wgsl_put(&w, "var<workgroup> partial: array<f32, %u>;\n", k->lanes);
    }
    hy__gpu_write_sum(wr, &w, k->each, &written);
    hy__wgsl_put(&w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n"
                 "    let first = id.x / %uu * %uu;\n    let rows0 = id.x * %uu;\n"
                 "    let part = lane %% %uu;\n",
                 k->lanes, slices, k->n, k->rows, k->each);
    put_state(k, &w, true);
    put_registers(k, &w);
    put_read(k, &w, "0u");
    hy__wgsl_put(&w,
                 "    var late = 0.0;\n"
                 "    for (var t0 = 0u; t0 < step.n_tokens; t0 += %uu) {\n",
                 k->block);
    put_stage(k, &w);
    snprintf(next, sizeof next, "t0 + %uu", k->block);
    put_read(k, &w, next);
    hy__wgsl_put(&w,
                 "        let end = min(%uu, step.n_tokens - t0);\n"
                 "        for (var j = 0u; j < end; j++) {\n",
                 k->block);
    put_token(k, &w);
    hy__wgsl_put(&w, "        }\n    }\n    let result = sum_%u(lane, late);\n", k->each);
    put_result(k, &w, "", "(step.n_tokens - 1u)");
    put_state(k, &w, false);
    hy__wgsl_put(&w, "}\n");
    const hy__gpu_dispatch d = {.groups = wr->m->g->values[k->node->out].n / k->rows,
                                .cols = HY__PER_T,
                                .attention = UINT32_MAX};
    HY_TRY(hy__gpu_add_kernel(wr, &w, &kernel));
    return hy__gpu_add_dispatch(wr, &w, kernel, "main", &d);
}

hy_status hy__gpu_write_walk(hy__gpu_writer *wr)
{
    const hy__gpu_caps *caps = &wr->m->gpu.caps;
    const hy__node *node = &wr->m->g->nodes[wr->p->first + wr->p->n_prologue];
    walk k = {.wr = wr, .node = node, .n = node->params.group, .block = MOST_BLOCK};
    if (k.n % 4 != 0) {
        return hy__fail(wr->err, HY_E_UNSUPPORTED, "backend webgpu: heads of %u channels", k.n);
    }
    k.each = wr->m->use & HY__GPU_USE_SUMS && caps->subgroup_min >= 8 ? 8 : 4;
    while (k.n % (4 * k.each) != 0) {
        k.each /= 2;
    }
    k.rows = HY_MIN(k.n, (uint32_t)MOST_ROWS);
    while (k.n % k.rows != 0) {
        k.rows--;
    }
    k.lanes = k.rows * k.each;
    k.vecs = k.n / 4 / k.each;
    /* Five vectors of a head and the rows' values for each token, and the sums. */
    while (k.block > 1 && 4 * (k.block * (5 * k.n + k.rows) + k.lanes) > caps->workgroup_bytes) {
        k.block /= 2;
    }
    HY_TRY(hy__gpu_write_tree(wr, false));
    HY_TRY(write_walk(&k));
    return hy__gpu_write_tree(wr, true);
}
