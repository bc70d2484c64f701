/* program.c: from the phases of a model to lists of dispatches, and those to pipelines.  Model
 * creation only; one thread. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "webgpu.h"

enum { PLACE_ALIGN = 256 };

/* ---- pieces of text that several kernels have */

bool hy__gpu_sums_by_lanes(const hy__gpu_model *m, uint32_t lanes)
{
    return m->use & HY__GPU_USE_SUMS && lanes <= m->gpu.caps.subgroup_min;
}

bool hy__gpu_by_lanes(const hy__gpu_model *m, hy__gpu_use way)
{
    const hy__gpu_use all = way | HY__GPU_USE_SUMS | HY__GPU_USE_TOTALS;
    return (m->use & all) == all;
}

void hy__gpu_write_sum(hy__gpu_writer *wr, hy__wgsl *w, uint32_t lanes, uint32_t *written)
{
    if (*written & lanes) {
        return;
    }
    *written |= lanes;
    hy__wgsl_put(w, "fn sum_%u(lane: u32, x: f32) -> f32 {\n", lanes);
    if (lanes == 1) {
        hy__wgsl_put(w, "    return x;\n}\n");
        return;
    }
    if (hy__gpu_sums_by_lanes(wr->m, lanes)) {
        hy__wgsl_put(w, "    var s = x;\n");
        for (uint32_t n = lanes / 2; n > 0; n /= 2) {
            hy__wgsl_put(w, "    s += subgroupShuffleXor(s, %uu);\n", n);
        }
        hy__wgsl_put(w, "    return s;\n}\n");
        return;
    }
    const uint32_t group =
        wr->m->use & HY__GPU_USE_SUMS ? HY_MIN(wr->m->gpu.caps.subgroup_min, 32u) : 1;
    if (group >= 8 && lanes <= group * group) {
        hy__wgsl_put(w, "    var s = x;\n");
        for (uint32_t n = group / 2; n > 0; n /= 2) {
            hy__wgsl_put(w, "    s += subgroupShuffleXor(s, %uu);\n", n);
        }
        hy__wgsl_put(w,
                     "    workgroupBarrier();\n"
                     "    if (lane %% %uu == 0u) { partial[lane / %uu] = s; }\n"
                     "    workgroupBarrier();\n    let first = lane / %uu * %uu;\n"
                     "    s = partial[first];\n",
                     group, group, lanes, lanes / group);
        for (uint32_t i = 1; i < lanes / group; i++) {
            hy__wgsl_put(w, "    s += partial[first + %uu];\n", i);
        }
        hy__wgsl_put(w, "    return s;\n}\n");
        return;
    }
    hy__wgsl_put(w, "    workgroupBarrier();\n    partial[lane] = x;\n    workgroupBarrier();\n");
    for (uint32_t n = lanes / 2; n > 0; n /= 2) {
        hy__wgsl_put(w, "    if (lane %% %uu < %uu) { partial[lane] += partial[lane + %uu]; }\n",
                     lanes, n, n);
        hy__wgsl_put(w, "    workgroupBarrier();\n");
    }
    hy__wgsl_put(w, "    return partial[lane - lane %% %uu];\n}\n", lanes);
}

void hy__gpu_write_pairs(hy__gpu_writer *wr, hy__wgsl *w)
{
    if (hy__gpu_sums_by_lanes(wr->m, 2)) {
        hy__wgsl_put(w,
                     "fn pair_other(lane: u32, x: f32) -> f32 { return subgroupShuffleXor(x, 1u); "
                     "}\n");
    } else {
        hy__wgsl_put(w, "fn pair_other(lane: u32, x: f32) -> f32 {\n"
                        "    workgroupBarrier();\n    partial[lane] = x;\n    workgroupBarrier();\n"
                        "    return partial[lane ^ 1u];\n}\n");
    }
    hy__wgsl_put(w,
                 "fn pair_max(lane: u32, x: f32) -> f32 { return max(x, pair_other(lane, x)); }\n");
}

/* ---- places */

uint64_t hy__gpu_logits_place(const hy__gpu_model *m, uint64_t n_batch, uint64_t n_out)
{
    return (m->p->per_token * n_batch + m->p->per_output * n_out + 63) / 64 * 64;
}

uint64_t hy__gpu_result_place(const hy__gpu_model *m, hy__id id, uint64_t n_batch, uint64_t n_out)
{
    if (id == m->g->logits) {
        return hy__gpu_logits_place(m, n_batch, n_out);
    }
    return m->g->values[id].cols == HY__PER_OUT
               ? m->p->per_token * n_batch + m->p->place[id] * n_out
               : m->p->place[id] * n_batch;
}

uint64_t hy__gpu_plane_place(const hy__gpu_model *m, uint64_t window, hy__id id, uint32_t part)
{
    const hy__gpu_matrix *x = &m->matrices[id];
    const uint32_t chunk = part / HY__GPU_PLANES, plane = part % HY__GPU_PLANES;
    const uint32_t rows = HY_MIN(x->m - chunk * x->chunk_rows, x->chunk_rows);
    uint64_t at = x->chunks[chunk].offset - window;
    for (uint32_t k = 0; k < plane; k++) {
        at += hy__gpu_plane_bytes(x->format, x->n, rows, k);
    }
    return at / (plane == 0 ? 16 : 4);
}

/* Angles and KV caches lie where a session has them. */
static bool known_place(const void *user, const hy__place *p, uint32_t *out)
{
    const hy__gpu_writer *wr = user;
    const hy__gpu_model *m = wr->m;
    uint64_t at = p->value;
    switch (p->where) {
    case HY__AT_VECTOR:
        at = m->vector_place[p->value] - wr->vectors;
        break;
    case HY__AT_RESULT:
        at = hy__gpu_result_place(m, p->value, 1, 1);
        break;
    case HY__AT_STATE:
        at = m->p->state_place[m->g->values[p->value].state] - wr->state;
        break;
    case HY__AT_ANGLES:
        return false;
    case HY__AT_OTHER:
        if (p->part >= HY__GPU_CACHE) {
            return false;
        }
        if (p->part >= HY__GPU_PLANE) {
            at = hy__gpu_plane_place(m, wr->window, p->value, p->part - HY__GPU_PLANE);
        }
        break;
    }
    *out = (uint32_t)at;
    return at <= UINT32_MAX;
}

uint64_t hy__gpu_places_bytes(const hy__gpu_dispatch *d)
{
    return ((uint64_t)d->n_places * 4 + 15) / 16 * 16;
}

/* Each at a multiple of the alignment that uniform buffers need. */
uint64_t hy__gpu_places_stride(const hy__gpu_dispatch *d)
{
    return (hy__gpu_places_bytes(d) + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
}

hy_status hy__gpu_places_make(hy__gpu_model *m, const hy__gpu_program *p,
                              hy__gpu_place_of place_of, const void *user, WGPUBuffer *out,
                              hy_error *err)
{
    hy__gpu *gpu = &m->gpu;
    uint64_t bytes = PLACE_ALIGN;
    for (uint32_t i = 0; i < p->n; i++) {
        bytes += hy__gpu_places_stride(&p->dispatches[i]);
    }
    uint32_t *all = hy__calloc(&m->env, (size_t)bytes / 4, sizeof *all, err);
    if (!all) {
        return HY_E_NOMEM;
    }
    uint64_t at = 0;
    hy_status status = HY_OK;
    for (uint32_t i = 0; i < p->n && status == HY_OK; i++) {
        const hy__gpu_dispatch *d = &p->dispatches[i];
        for (uint32_t k = 0; k < d->n_places; k++) {
            const uint64_t place = place_of(user, d, &d->places[k]);
            if (place > UINT32_MAX) {
                status = hy__fail(err, HY_E_LIMIT, "a buffer of the GPU is too large");
            }
            all[at / 4 + k] = (uint32_t)place;
        }
        at += hy__gpu_places_stride(d);
    }
    if (status == HY_OK) {
        status = hy__gpu_buffer(gpu, bytes, WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst,
                                "places", out, err);
    }
    if (status == HY_OK) {
        gpu->lib.QueueWriteBuffer(gpu->queue, *out, 0, all, (size_t)bytes);
    }
    hy__free(&m->env, all);
    return status;
}

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

void hy__gpu_put_quantize(hy__wgsl *w)
{
    if (!w->quantizes) {
        w->quantizes = true;
        hy__wgsl_put(w, "%s", quantize);
    }
}

bool hy__gpu_quantizes_by_shuffles(const hy__gpu_model *m)
{
    return m->use & HY__GPU_USE_QUANTIZE && m->gpu.caps.subgroup_min >= 8;
}

void hy__gpu_put_q8(hy__wgsl *w, const char *g, uint32_t n, const char *to, const char *at,
                    uint32_t width)
{
    hy__wgsl_put(w, "        var top = largest(v);\n"
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
    hy__wgsl_put(w,
                 "        if (%s < %uu && %s %% 4u == 0u) { %s[%s + %s / 8u + %s / 4u %% 2u * %uu] = "
                 "words4; }\n",
                 g, n, g, to, at, g, g, width);
    hy__wgsl_put(w,
                 "        if (%s < %uu && %s %% 8u == 0u) { %s[%s + %s / 8u + %uu] = "
                 "bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }\n",
                 g, n, g, to, at, g, 2 * width);
}

/* Text that begins with what this GPU can do. */
void hy__gpu_begin(hy__gpu_writer *wr, hy__wgsl *w, uint32_t lanes)
{
    const hy__gpu_model *m = wr->m;
    hy__wgsl_init(w, lanes, &m->env, wr->err);
    w->subgroup = m->use & HY__GPU_USE_TOTALS ? HY_MIN(m->gpu.caps.subgroup_min, 32u) : 0;
    w->known = wr->single ? known_place : NULL;
    w->known_user = wr;
}

void hy__gpu_write_format(hy__wgsl *w, const hy__gpu_format *f, bool *block)
{
    hy__wgsl_use(w, HY__BUFFER_words);
    if (f->elements > 0) {
        const char *type = f->name + strlen("raw_");
        hy__wgsl_text_append(w, hy__kernel_raw);
        hy__wgsl_text_append(w, f->wgsl);
        hy__wgsl_put(w,
                     "fn four_%s(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> {\n"
                     "    let block = 16u * at.x + i / %uu * %uu;\n"
                     "    let four = i %% %uu * 8u + k;\n    let f = scale_%s(block, four / %uu);\n"
                     "    return f.x * codes_%s(block, four) - f.y;\n}\n",
                     f->name, f->elements / 32, f->planes[0] * f->elements / 256, f->elements / 32,
                     type, f->group / 4, type);
        return;
    }
    hy__wgsl_use(w, HY__BUFFER_weights);
    if (f->codes && !*block) {
        *block = true;
        hy__wgsl_text_append(w, hy__kernel_block);
    }
    hy__wgsl_text_append(w, f->wgsl);
    if (f->codes) {
        hy__wgsl_put(w,
                     "fn block_%s(at: vec4<u32>, i: u32) -> Block { return unpack_%s(i, raw_%s(at, "
                     "i)); }\n",
                     f->name, f->name, f->name);
    } else {
        const uint32_t elements = 256 * 16 / f->planes[0];
        hy__wgsl_put(w,
                     "fn four_%s(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> { return "
                     "four_of_%s(weights[at.x + (32u * i + 4u * k) / %uu], k); }\n",
                     f->name, f->name, elements);
    }
}

bool hy__gpu_leaves(const hy__gpu_writer *wr, hy__id id)
{
    for (uint32_t i = 0; i < wr->x->outputs.n; i++) {
        if (wr->x->outputs.ids[i] == id) {
            return true;
        }
    }
    return false;
}

hy__wgsl_text hy__gpu_value(hy__gpu_writer *wr, hy__wgsl *w, const hy__wgsl_tree *prologue,
                            hy__id id, const char *channel, const char *column)
{
    const hy__tree *t = &wr->x->prologue;
    for (uint32_t i = 0; prologue && i < t->n; i++) {
        if (t->exprs[i].value == id && t->exprs[i].kind == HY__EXPR_OP) {
            return hy__wgsl_call(prologue, i, channel, column);
        }
    }
    hy__wgsl_text out;
    hy__wgsl_use(w, HY__BUFFER_arena);
    const hy__wgsl_text place = hy__wgsl_place(w, HY__AT_RESULT, id, 0);
    snprintf(out.text, sizeof out.text, "arena[%.40s + %.20s * %uu + %.20s]", place.text, column,
             wr->m->g->values[id].n, channel);
    return out;
}

bool hy__gpu_matrix_window(const hy__gpu_model *m, const hy__gpu_matrix *x, uint32_t chunk,
                           hy__gpu_dispatch *d)
{
    const hy__gpu_chunk *c = &x->chunks[chunk];
    const uint32_t rows = HY_MIN(x->m - chunk * x->chunk_rows, x->chunk_rows);
    const uint64_t bytes = hy__gpu_format_bytes(x->format, x->n, rows);
    if (d->window_bytes == 0) {
        d->slab = c->slab;
        d->window = c->offset;
        d->window_bytes = bytes;
        return true;
    }
    const uint64_t begin = HY_MIN(d->window, c->offset);
    const uint64_t end = HY_MAX(d->window + d->window_bytes, c->offset + bytes);
    if (d->slab != c->slab || end - begin > m->gpu.caps.max_binding) {
        return false;
    }
    d->window = begin;
    d->window_bytes = end - begin;
    return true;
}

/* ---- what steps of one token hand over in 8 bits */

static bool contains(const hy__ids *ids, hy__id id)
{
    for (uint32_t i = 0; i < ids->n; i++) {
        if (ids->ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Whether phase i reads value `id` only as the input of matrices of codes. */
static bool reads_as_codes(const hy__gpu_model *m, uint32_t i, hy__id id)
{
    const hy__phase *p = &m->f->phases[i];
    const hy__phase_exprs *x = &m->x->phases[i];
    bool any = false;
    if (p->kind != HY__PHASE_MATMUL || x->prologue.n > 0) {
        return false;
    }
    for (uint32_t k = 0; k < p->n_anchor; k++) {
        const hy__node *node = &m->g->nodes[p->first + p->n_prologue + k];
        if (node->in[1] == id) {
            any = true;
            if (!m->matrices[node->in[0]].format->codes) {
                return false;
            }
        }
    }
    for (uint32_t k = 0; k < x->epilogue.n; k++) {
        if (x->epilogue.exprs[k].kind == HY__EXPR_COLUMN && x->epilogue.exprs[k].value == id) {
            return false;
        }
    }
    return any;
}

/* Two phases may be in one kernel, so a phase has another place than the two before it; the first
 * one that is free, so that layers are alike. */
static void choose_slots(hy__gpu_model *m)
{
    enum { NONE = 3 };
    uint8_t before[2] = {NONE, NONE};
    for (uint32_t i = 0; i < m->f->n_phases; i++) {
        const hy__ids *out = &m->x->phases[i].outputs;
        const bool plain = m->f->phases[i].kind == HY__PHASE_EMBED || m->f->phases[i].kind == HY__PHASE_MAP;
        uint8_t slot = NONE; /* as of those that leave nothing in 8 bits */
        for (uint32_t k = 0; k < out->n && slot == NONE && !plain; k++) {
            if (m->q8_wanted[out->ids[k]]) {
                for (slot = 0; slot == before[0] || slot == before[1];) {
                    slot++;
                }
            }
        }
        m->q8_slots[i] = slot == NONE ? 0 : slot;
        before[0] = before[1];
        before[1] = slot;
    }
}

static void free_q8(hy__gpu_model *m)
{
    hy__free(&m->env, m->q8_wanted);
    hy__free(&m->env, m->q8_place);
    hy__free(&m->env, m->q8_slots);
}

/* Results that only the next phase reads, and only so. */
static hy_status find_q8(hy__gpu_model *m, hy_error *err)
{
    free_q8(m); /* of an earlier program */
    m->q8_vecs = 0;
    m->q8_wanted = hy__calloc(&m->env, m->g->n_values, sizeof *m->q8_wanted, err);
    m->q8_place = hy__calloc(&m->env, m->g->n_values, sizeof *m->q8_place, err);
    m->q8_slots = hy__calloc(&m->env, m->f->n_phases, sizeof *m->q8_slots, err);
    if (!m->q8_wanted || !m->q8_place || !m->q8_slots) {
        return HY_E_NOMEM;
    }
    memset(m->q8_place, 0xff, m->g->n_values * sizeof *m->q8_place);
    if (!(m->use & HY__GPU_USE_QUANTIZE) || m->form != HY__GPU_FORM_BEST) {
        return HY_OK;
    }
    for (uint32_t i = 0; i + 1 < m->f->n_phases; i++) {
        const hy__ids *out = &m->x->phases[i].outputs;
        for (uint32_t k = 0; k < out->n; k++) {
            const hy__value *v = &m->g->values[out->ids[k]];
            bool wanted = v->n % 32 == 0 && out->ids[k] != m->g->logits &&
                          reads_as_codes(m, i + 1, out->ids[k]);
            for (uint32_t other = 0; wanted && other < m->f->n_phases; other++) {
                wanted = other == i + 1 || !contains(&m->x->phases[other].inputs, out->ids[k]);
            }
            m->q8_wanted[out->ids[k]] = wanted;
            m->q8_vecs = wanted ? HY_MAX(m->q8_vecs, v->n / 32 * 3) : m->q8_vecs;
        }
    }
    choose_slots(m);
    return HY_OK;
}

bool hy__gpu_wants_q8(const hy__gpu_writer *wr, hy__id id)
{
    return wr->single && wr->m->q8_wanted[id];
}

uint32_t hy__gpu_q8_place(const hy__gpu_writer *wr)
{
    return wr->m->q8_slots[wr->phase] * wr->m->q8_vecs;
}

/* ---- kernels and dispatches */

static bool same(const hy__gpu_kernel *k, const hy__gpu_kernel *other)
{
    return k->hash == other->hash && k->text.len == other->text.len &&
           memcmp(k->text.data, other->text.data, k->text.len) == 0;
}

/* Names of values in comments differ from layer to layer: they are left out. */
static void drop_comments(hy__buf *text)
{
    size_t to = 0;
    bool comment = false;
    for (size_t i = 0; i < text->len; i++) {
        comment = comment ? text->data[i] != '\n'
                          : text->data[i] == '/' && i + 1 < text->len && text->data[i + 1] == '/';
        if (!comment) {
            text->data[to++] = text->data[i];
        }
    }
    text->len = to;
    text->data[to] = '\0';
}

/* Bytes of `array<TYPE, N>` or `TYPE` at `at`, as WebGPU counts them; 0: none that is known. */
static uint64_t bytes_of_type(const char *at)
{
    static const struct {
        const char *name;
        uint32_t bytes;
    } types[] = {{"f32", 4},       {"u32", 4},       {"i32", 4},
                 {"vec2<f32>", 8}, {"vec2<u32>", 8}, {"atomic<u32>", 4},
                 {"vec4<f16>", 8}, {"vec4<f32>", 16}, {"vec4<u32>", 16}, {"vec4<i32>", 16}};
    const bool array = strncmp(at, "array<", 6) == 0;
    at += array ? 6 : 0;
    for (size_t i = 0; i < HY_COUNT(types); i++) {
        const size_t n = strlen(types[i].name);
        if (strncmp(at, types[i].name, n) == 0) {
            const uint64_t count = array ? strtoull(at + n + 1, NULL, 10) : 1;
            return (types[i].bytes * count + 15) / 16 * 16;
        }
    }
    return 0;
}

static uint32_t count_of(const char *text, const char *what)
{
    uint32_t n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

/* What the text declares against what the device has been asked for. */
static hy_status check_needs(const hy__gpu_model *m, const char *text, hy_error *err)
{
    const hy__gpu_caps *caps = &m->gpu.caps;
    const uint32_t buffers = count_of(text, "var<storage");
    uint64_t shared = 0, lanes = 0;
    for (const char *at = strstr(text, "var<workgroup>"); at;
         at = strstr(at + 1, "var<workgroup>")) {
        const uint64_t bytes = bytes_of_type(at + strcspn(at, ":") + 2);
        if (bytes == 0) {
            return hy__fail(err, HY_E_INTERNAL, "a kernel shares memory of a size not known: %.60s",
                            at);
        }
        shared += bytes;
    }
    for (const char *at = strstr(text, "@workgroup_size("); at;
         at = strstr(at + 1, "@workgroup_size(")) {
        lanes = HY_MAX(lanes, (uint64_t)strtoull(at + 16, NULL, 10));
    }
    if (buffers > caps->storage_buffers || shared > caps->workgroup_bytes ||
        lanes > caps->invocations) {
        return hy__fail(err, HY_E_INTERNAL,
                        "a kernel needs %u buffers, %llu bytes in a workgroup and %llu "
                        "invocations; this GPU has %u, %u and %u",
                        buffers, (unsigned long long)shared, (unsigned long long)lanes,
                        caps->storage_buffers, caps->workgroup_bytes, caps->invocations);
    }
    return HY_OK;
}

hy_status hy__gpu_add_kernel(hy__gpu_writer *wr, hy__wgsl *w, uint32_t *kernel)
{
    hy__gpu_model *m = wr->m;
    hy_status status = hy__wgsl_finish(w);
    hy__gpu_kernel k = {.text = w->text, .uses = w->uses, .lanes = w->lanes};
    if (status == HY_OK) {
        drop_comments(&k.text);
        k.hash = hy__hash(0, k.text.data, k.text.len);
        k.subgroups = strstr(k.text.data, "subgroup") != NULL;
        k.dot = strstr(k.text.data, "dot4I8Packed") != NULL;
        k.matrices = strstr(k.text.data, "subgroupMatrix") != NULL;
        for (uint32_t i = 0; i < m->n_kernels; i++) {
            if (same(&m->kernels[i], &k)) {
                *kernel = i;
                hy__buf_finish(&m->env, &k.text);
                return HY_OK;
            }
        }
        status = check_needs(m, k.text.data, wr->err);
    }
    if (status == HY_OK) {
        if (m->n_kernels == m->cap_kernels) {
            const uint32_t cap = m->cap_kernels * 2 + 16;
            hy__gpu_kernel *more = hy__realloc(&m->env, m->kernels, cap, sizeof *more, wr->err);
            status = more ? HY_OK : HY_E_NOMEM;
            m->kernels = more ? more : m->kernels;
            m->cap_kernels = more ? cap : m->cap_kernels;
        }
    }
    if (status != HY_OK) {
        hy__buf_finish(&m->env, &k.text);
        return status;
    }
    *kernel = m->n_kernels;
    m->kernels[m->n_kernels++] = k;
    return HY_OK;
}

static hy_status entry_of(hy__gpu_model *m, uint32_t kernel, const char *name, uint32_t *entry,
                          hy_error *err)
{
    for (uint32_t i = 0; i < m->n_entries; i++) {
        if (m->entries[i].kernel == kernel && strcmp(m->entries[i].name, name) == 0) {
            *entry = i;
            return HY_OK;
        }
    }
    if (m->n_entries == m->cap_entries) {
        const uint32_t cap = m->cap_entries * 2 + 16;
        hy__gpu_entry *more = hy__realloc(&m->env, m->entries, cap, sizeof *more, err);
        if (!more) {
            return HY_E_NOMEM;
        }
        m->entries = more;
        m->cap_entries = cap;
    }
    hy__gpu_entry *e = &m->entries[m->n_entries];
    *e = (hy__gpu_entry){.kernel = kernel};
    snprintf(e->name, sizeof e->name, "%s", name);
    *entry = m->n_entries++;
    return HY_OK;
}

hy_status hy__gpu_add_dispatch(hy__gpu_writer *wr, const hy__wgsl *w, uint32_t kernel,
                               const char *name, const hy__gpu_dispatch *like)
{
    hy__gpu_program *p = wr->program;
    const hy_env *env = &wr->m->env;
    if (p->n == p->cap) {
        const uint32_t cap = p->cap * 2 + 64;
        hy__gpu_dispatch *more = hy__realloc(env, p->dispatches, cap, sizeof *more, wr->err);
        if (!more) {
            return HY_E_NOMEM;
        }
        p->dispatches = more;
        p->cap = cap;
    }
    hy__gpu_dispatch *d = &p->dispatches[p->n];
    *d = *like;
    d->phase = wr->phase;
    d->vectors = wr->vectors;
    d->state = wr->state;
    d->n_places = w->n_places;
    d->places = hy__alloc(env, (size_t)w->n_places + 1, sizeof *d->places, wr->err);
    if (!d->places) {
        return HY_E_NOMEM;
    }
    memcpy(d->places, w->places, w->n_places * sizeof *d->places);
    p->n++;
    return entry_of(wr->m, kernel, name, &d->entry, wr->err);
}

/* ---- phases */

hy_status hy__gpu_write_tree(hy__gpu_writer *wr, bool epilogue)
{
    const hy__graph *g = wr->m->g;
    hy__layout l;
    HY_TRY(hy__layout_make(&l, g, wr->p, wr->x, epilogue, wr->single, false, wr->err));
    const hy__wgsl_tree t = {.l = &l, .prefix = epilogue ? 'e' : 'p'};
    hy__wgsl w;
    uint32_t kernel = 0;
    hy_status status = hy__wgsl_check(&t, wr->err);
    if (status == HY_OK && l.n_ops > 0) {
        hy__gpu_begin(wr, &w, hy__wgsl_tree_lanes(&l));
        hy__wgsl_functions(&w, &t, false);
        for (uint32_t k = 0; k < l.n_parts; k++) {
            hy__wgsl_part(&w, &t, k);
        }
        status = hy__gpu_add_kernel(wr, &w, &kernel);
        for (uint32_t k = 0; k < l.n_parts && status == HY_OK; k++) {
            char name[16];
            snprintf(name, sizeof name, "part%u", k);
            const hy__gpu_dispatch d = {.groups = hy__wgsl_part_groups(&l, k, w.lanes),
                                        .cols_each = 1,
                                        .cols = wr->p->cols,
                                        .attention = UINT32_MAX};
            status = hy__gpu_add_dispatch(wr, &w, kernel, name, &d);
        }
    }
    hy__layout_finish(&l);
    return status;
}

static hy_status write_phase(hy__gpu_writer *wr)
{
    switch (wr->p->kind) {
    case HY__PHASE_MATMUL:
        return wr->m->form == HY__GPU_FORM_BEST ? hy__gpu_write_matmul(wr) : hy__gpu_write_f32(wr);
    case HY__PHASE_EMBED:
        HY_TRY(hy__gpu_write_embed(wr));
        return hy__gpu_write_tree(wr, true);
    case HY__PHASE_WKV7: {
        bool done = false;
        HY_TRY(hy__gpu_write_wkv7_lanes(wr, NULL, &done));
        return done ? HY_OK : hy__gpu_write_wkv7(wr);
    }
    case HY__PHASE_ATTENTION:
        HY_TRY(hy__gpu_write_attention(wr));
        return hy__gpu_write_tree(wr, true);
    case HY__PHASE_MAP:
        break;
    }
    return hy__gpu_write_tree(wr, true);
}

/* Where the vectors and the state of a phase begin, at a multiple of what bindings need. */
static void find_windows(hy__gpu_writer *wr)
{
    const hy__tree *const trees[] = {&wr->x->prologue, &wr->x->epilogue};
    const hy__gpu_model *m = wr->m;
    uint64_t vectors = UINT64_MAX, state = UINT64_MAX;
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < trees[k]->n; i++) {
            const hy__expr *e = &trees[k]->exprs[i];
            if (e->kind == HY__EXPR_VECTOR) {
                vectors = HY_MIN(vectors, m->vector_place[e->value]);
            } else if (e->kind == HY__EXPR_STATE) {
                state = HY_MIN(state, m->p->state_place[m->g->values[e->value].state]);
            }
        }
    }
    const hy__node *anchor = &m->g->nodes[wr->p->first + wr->p->n_prologue];
    if (wr->p->kind == HY__PHASE_WKV7) {
        state = HY_MIN(state, m->p->state_place[m->g->values[anchor->in[6]].state]);
    }
    wr->vectors = vectors == UINT64_MAX ? 0 : vectors / 64 * 64;
    wr->state = state == UINT64_MAX ? 0 : state / 64 * 64;
}

static hy__gpu_writer writer_of(hy__gpu_model *m, uint32_t phase, bool single, hy_error *err)
{
    hy__gpu_writer wr = {.m = m,
                         .phase = phase,
                         .p = &m->f->phases[phase],
                         .x = &m->x->phases[phase],
                         .single = single,
                         .program = single ? &m->decode : &m->prefill,
                         .err = err};
    if (single) {
        find_windows(&wr);
    }
    return wr;
}

/* Two phases at once where a kernel can compute both. */
static hy_status write_pair(hy__gpu_model *m, uint32_t phase, bool single, bool *done,
                            hy_error *err)
{
    *done = false;
    if (!single || m->form != HY__GPU_FORM_BEST || phase + 1 >= m->f->n_phases ||
        m->f->phases[phase].kind != HY__PHASE_MATMUL ||
        m->f->phases[phase + 1].kind != HY__PHASE_WKV7) {
        return HY_OK;
    }
    const hy__gpu_writer before = writer_of(m, phase, single, err);
    hy__gpu_writer wr = writer_of(m, phase + 1, single, err);
    return hy__gpu_write_wkv7_lanes(&wr, &before, done);
}

static hy_status write_phases(hy__gpu_model *m, bool single, hy_error *err)
{
    for (uint32_t i = 0; i < m->f->n_phases; i++) {
        bool done;
        HY_TRY(write_pair(m, i, single, &done, err));
        if (done) {
            i++;
            continue;
        }
        hy__gpu_writer wr = writer_of(m, i, single, err);
        HY_TRY(write_phase(&wr));
    }
    return HY_OK;
}

hy_status hy__gpu_program_make_half(hy__gpu_model *m, bool single, hy_error *err)
{
    HY_TRY(find_q8(m, err));
    return write_phases(m, single, err);
}

hy_status hy__gpu_program_make(hy__gpu_model *m, hy_error *err)
{
    HY_TRY(hy__gpu_program_make_half(m, false, err));
    return hy__gpu_program_make_half(m, true, err);
}

hy_status hy__gpu_program_make_phase(hy__gpu_model *m, uint32_t phase, hy_error *err)
{
    hy__gpu_writer wr = writer_of(m, phase, false, err);
    wr.one = true;
    return write_phase(&wr);
}

/* ---- pipelines */

static hy_status make_layout(hy__gpu_model *m, hy__gpu_kernel *k, hy_error *err)
{
    const hy__gpu_lib *lib = &m->gpu.lib;
    WGPUBindGroupLayoutEntry entries[HY__N_BUFFERS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < HY__N_BUFFERS; i++) {
        if (k->uses & 1u << i) {
            const bool uniform = i == HY__BUFFER_step || i == HY__BUFFER_places;
            entries[n++] = (WGPUBindGroupLayoutEntry){
                .binding = i,
                .visibility = WGPUShaderStage_Compute,
                .buffer = {.type = uniform ? WGPUBufferBindingType_Uniform
                                   : hy__wgsl_is_written(i)
                                       ? WGPUBufferBindingType_Storage
                                       : WGPUBufferBindingType_ReadOnlyStorage}};
        }
    }
    k->bindings = lib->DeviceCreateBindGroupLayout(
        m->gpu.device, &(WGPUBindGroupLayoutDescriptor){.entryCount = n, .entries = entries});
    k->layout = lib->DeviceCreatePipelineLayout(
        m->gpu.device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1,
                                                       .bindGroupLayouts = &k->bindings});
    return hy__gpu_check(&m->gpu, err);
}

/* Whether a step runs it: there may be kernels of other programs too, in the tuner. */
static bool is_wanted(const hy__gpu_model *m, uint32_t entry)
{
    bool wanted = false;
    for (uint32_t i = 0; i < m->decode.n && !wanted; i++) {
        wanted = m->decode.dispatches[i].entry == entry;
    }
    for (uint32_t i = 0; i < m->prefill.n && !wanted; i++) {
        const hy__gpu_dispatch *d = &m->prefill.dispatches[i];
        wanted = d->entry == entry &&
                 (m->only_columns == 0 || hy__gpu_takes(d, m->only_columns));
    }
    return wanted;
}

/* The sampler's kernels are wanted right after the first step, and are among the largest.  A
 * software adapter compiles slowly and is not what one draws tokens with: there they wait until
 * they are needed. */
static hy_status start_pipelines(hy__gpu_model *m, hy_error *err)
{
    const bool sampler = m->gpu.caps.type != WGPUAdapterType_CPU && m->use & HY__GPU_USE_DRAWS;
    hy__free(&m->env, m->jobs);
    m->jobs =
        hy__calloc(&m->env, (size_t)m->n_entries + HY__GPU_SAMPLE_N_KERNELS, sizeof *m->jobs, err);
    if (!m->jobs) {
        return HY_E_NOMEM;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_entries; i++) {
        hy__gpu_entry *e = &m->entries[i];
        const hy__gpu_kernel *k = &m->kernels[e->kernel];
        if (!e->pipeline && is_wanted(m, i)) {
            m->jobs[n++] = (hy__gpu_job){
                .module = k->module, .layout = k->layout, .entry = e->name, .out = &e->pipeline};
        }
    }
    if (sampler) {
        HY_TRY(hy__gpu_sample_jobs(&m->gpu, &m->sample_kernels, m->jobs, &n, err));
    }
    hy__gpu_compile_begin(&m->compiling, &m->gpu, m->jobs, n);
    return HY_OK;
}

hy_status hy__gpu_program_modules(hy__gpu_model *m, hy_error *err)
{
    for (uint32_t i = 0; i < m->n_kernels; i++) {
        hy__gpu_kernel *k = &m->kernels[i];
        char label[32];
        if (k->module) {
            continue; /* from an earlier call */
        }
        snprintf(label, sizeof label, "kernel %u", i);
        HY_TRY(hy__gpu_module(&m->gpu, k->text.data, k->text.len,
                              hy__gpu_kernel_uses(k), label, &k->module, err));
        HY_TRY(make_layout(m, k, err));
    }
    return HY_OK;
}

hy_status hy__gpu_program_compile(hy__gpu_model *m, hy_error *err)
{
    HY_TRY(hy__gpu_program_modules(m, err));
    return start_pipelines(m, err);
}

typedef struct waiting {
    hy_progress progress;
    void *user;
    uint64_t bytes;
} waiting;

/* All bytes are there; nobody knows how long the rest takes. */
static bool go_on(void *user)
{
    const waiting *w = user;
    return w->progress(w->user, w->bytes, w->bytes);
}

hy_status hy__gpu_program_wait(hy__gpu_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    waiting w = {opts->progress, opts->progress_user, hy__gpu_weights_bytes(m)};
    return hy__gpu_compile_end(&m->compiling, w.progress ? go_on : NULL, &w, err);
}

void hy__gpu_program_free(hy__gpu_model *m, hy__gpu_program *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        hy__free(&m->env, p->dispatches[i].places);
    }
    hy__free(&m->env, p->dispatches);
    *p = (hy__gpu_program){0};
}

void hy__gpu_program_finish(hy__gpu_model *m)
{
    const hy__gpu_lib *lib = &m->gpu.lib;
    (void)hy__gpu_compile_end(&m->compiling, NULL, NULL, NULL);
    for (uint32_t i = 0; i < m->n_entries; i++) {
        if (m->entries[i].pipeline) {
            lib->ComputePipelineRelease(m->entries[i].pipeline);
        }
    }
    for (uint32_t i = 0; i < m->n_kernels; i++) {
        hy__gpu_kernel *k = &m->kernels[i];
        if (k->layout) {
            lib->PipelineLayoutRelease(k->layout);
        }
        if (k->bindings) {
            lib->BindGroupLayoutRelease(k->bindings);
        }
        if (k->module) {
            lib->ShaderModuleRelease(k->module);
        }
        hy__buf_finish(&m->env, &k->text);
    }
    free_q8(m);
    hy__free(&m->env, m->entries);
    hy__free(&m->env, m->kernels);
    hy__free(&m->env, m->jobs);
    hy__gpu_program_free(m, &m->decode);
    hy__gpu_program_free(m, &m->prefill);
}
