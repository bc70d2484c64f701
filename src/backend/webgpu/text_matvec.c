/* text_matvec.c: the kernel of a phase of matrices for one token.
 *
 * Every workgroup computes the prologue for itself: that is faster than a dispatch more.  It brings
 * the inputs of its job into workgroup memory, in 8 bits where the formats want it, and multiplies
 * rows, `lanes` invocations a row.
 *
 * What a token waits for is latency, so all that does not depend on the prologue is read before it:
 * the first rows' weights, as they lie in memory, into registers (`preI`).  While sums of rows are
 * made (of `nowI`), the next rows' weights are on their way (to `nextI`, or to `nowI` again), and so
 * is what the epilogue reads.  Model creation only; one thread. */
#include <stdio.h>

#include "text_matmul.h"

enum {
    MOST_ONCE = 64,     /* words of weights that an invocation holds, of its only rows */
    MOST_TWICE = 40,    /* of rows beside the next ones */
    FEW_WORDS = 28,     /* in all: so few, and three workgroups run where else two do */
    TURN_WORDS = 10,    /* what a turn costs beside its weights, in words */
    WAIT_WORDS = 10,    /* and what more if those are asked for behind the turn before */
    MOST_JOINED = 80,   /* in a kernel of heads, whose workgroups are few */
    FLOOR_BYTES = 4096, /* of workgroup memory, beside inputs */
    MOST_BYTES = 36864  /* of workgroup memory: more, and fewer workgroups run at once */
};

/* How a job is computed. */
typedef struct shape {
    uint32_t lanes;  /* of a row */
    uint32_t raws;   /* vec4 of weights that a row takes of each lane */
    bool ahead;      /* they are held in registers */
    bool twice;      /* beside the next turn's */
    uint32_t tile;   /* units of the only input that are in workgroup memory at once; 0: all */
    uint32_t sets;   /* groups of rows that a workgroup computes together */
    uint32_t groups; /* workgroups */
    uint32_t turns;  /* sets of a workgroup, one after the other */
    uint32_t run;    /* turns whose rows are whole blocks of 32 */
    uint32_t q8;     /* result that is left in 8 bits: number in the epilogue, UINT32_MAX: none */
} shape;

typedef struct one {
    hy__mm *mk;
    hy__wgsl *w;
    const hy__mm_piece *p;
    shape shapes[HY__MM_MOST_ANCHORS]; /* of jobs p->first on */
    uint32_t lanes;                    /* of a workgroup */
    uint32_t shared;                   /* vec4 of inputs in workgroup memory */
    uint32_t raws;                     /* most of the jobs' that are ahead */
    bool joined;                       /* results stay in workgroup memory */
    bool *stored;                      /* [epilogue.n] results that go to the arena */
} one;

/* Inputs that fit into workgroup memory, in vec4. */
static uint32_t shared_vecs(const hy__gpu_model *m)
{
    return (HY_MIN(m->gpu.caps.workgroup_bytes, (uint32_t)MOST_BYTES) - FLOOR_BYTES) / 16;
}

static const hy__mm_input *input_of(const hy__mm_job *j, uint32_t k)
{
    return &j->input[j->inputs[k]];
}

static const hy__gpu_format *format_of(const one *o, const hy__mm_job *j, uint32_t k)
{
    return hy__mm_matrix(o->mk, j->anchors[k])->format;
}

static uint32_t steps_of(const hy__mm_job *j, uint32_t k, uint32_t lanes)
{
    return (input_of(j, k)->units + lanes - 1) / lanes;
}

/* ---- shapes */

static uint32_t raws_of(const one *o, const hy__mm_job *j, uint32_t lanes)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        n += steps_of(j, k, lanes) * format_of(o, j, k)->raw_vecs;
    }
    return n;
}

/* Words that are used of them. */
static uint32_t words_of(const one *o, const hy__mm_job *j, uint32_t lanes)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        n += steps_of(j, k, lanes) * format_of(o, j, k)->raw_words;
    }
    return n;
}

static uint32_t q8_result(const one *o, const hy__mm_job *j);

/* How a job is computed with so many invocations for a row and by so many workgroups at most;
 * returns what it costs: words that the workgroups of a processor read one after the other, where
 * two run on each and `share` is the job's share of all.  few: it may hold no more than FEW_WORDS.
 * UINT64_MAX: it would have to hold too many. */
static uint64_t try_shape(const one *o, const hy__mm_job *j, uint64_t share, uint64_t most,
                          bool few, shape *s)
{
    const uint32_t rows = hy__mm_rows(j, o->p->chunk), each = o->lanes / s->lanes;
    const uint64_t words = words_of(o, j, s->lanes);
    s->raws = raws_of(o, j, s->lanes);
    s->sets = (rows + each - 1) / each;
    s->turns = (uint32_t)((s->sets + most - 1) / most);
    s->groups = (s->sets + s->turns - 1) / s->turns;
    const bool once = s->turns == 1;
    s->ahead = few ? words * (s->twice && !once ? 2 : 1) <= FEW_WORDS
                   : words <= (uint64_t)(once ? MOST_ONCE : MOST_TWICE);
    const uint64_t at_once = (2 * s->groups + share - 1) / share;
    const uint64_t waits = once ? 0 : s->twice ? words : (uint64_t)WAIT_WORDS * s->turns;
    return s->ahead ? s->turns * (words * at_once + TURN_WORDS) + waits : UINT64_MAX;
}

/* The cheapest way with s->lanes; what it costs. */
static uint64_t choose_turns(const one *o, const hy__mm_job *j, uint64_t share, bool few, shape *s)
{
    shape ways[4] = {*s, *s, *s, *s};
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < (few ? HY_COUNT(ways) : 1); i++) {
        const uint64_t most = i < 2 ? share : share * 3 / 2;
        ways[i].twice = i % 2 == 0;
        const uint64_t cost = try_shape(o, j, share, most, few, &ways[i]);
        if (i == 0 || cost < least) {
            least = cost;
            *s = ways[i];
        }
    }
    return least;
}

/* Invocations for a row, a power of two: at least 8, so that they read whole lines of memory, and
 * as many as cost least of those whose weights are held in registers. */
static uint64_t choose_rows(const one *o, const hy__mm_job *j, uint64_t share, bool few, shape *s)
{
    uint32_t units = 1;
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 0; k < j->n_inputs; k++) {
        units = HY_MAX(units, j->input[k].units);
    }
    for (uint32_t lanes = 1; lanes <= o->lanes; lanes *= 2) {
        shape t = *s;
        const bool last = 2 * lanes > o->lanes || lanes >= units;
        if (lanes < 8 && !last) {
            continue;
        }
        t.lanes = lanes;
        const uint64_t cost = choose_turns(o, j, share, few, &t);
        if (cost <= least) {
            least = cost;
            *s = t;
        }
        if (last) {
            break;
        }
    }
    return least;
}

/* Rows of a result in 8 bits are computed by one workgroup, whole blocks of 32 of them. */
static void choose_q8(const one *o, const hy__mm_job *j, shape *s)
{
    const uint32_t each = o->lanes / s->lanes;
    s->run = each < 32 ? 32 / each : 1;
    const bool whole = s->turns == 1 ? s->run == 1 : s->groups > 0;
    s->q8 = whole ? q8_result(o, j) : UINT32_MAX;
    if (s->q8 != UINT32_MAX && s->turns % s->run != 0) {
        s->turns = (s->turns + s->run - 1) / s->run * s->run;
        s->groups = (s->sets + s->turns - 1) / s->turns;
    }
}

/* Each job gets of the workgroups that run at once what it has of the bytes.  All of them hold few
 * words, or none does for the others' sake: they are one kernel, which has the registers that its
 * job with most words needs. */
static void choose_all_rows(one *o)
{
    const uint64_t workers = o->mk->wr->m->workers / o->lanes;
    uint64_t bytes = 1, least = UINT64_MAX;
    for (uint32_t k = o->p->first; k < o->p->end; k++) {
        bytes += o->mk->jobs[k].bytes * hy__mm_rows(&o->mk->jobs[k], o->p->chunk);
    }
    for (int few = 1; few >= 0; few--) {
        shape shapes[HY__MM_MOST_ANCHORS] = {{0}};
        uint64_t all = 0;
        for (uint32_t k = o->p->first; k < o->p->end; k++) {
            const hy__mm_job *j = &o->mk->jobs[k];
            const uint64_t own = j->bytes * hy__mm_rows(j, o->p->chunk);
            const uint64_t share = HY_MAX(workers * own / bytes, UINT64_C(1));
            const uint64_t cost = choose_rows(o, j, share, few, &shapes[k - o->p->first]);
            all = cost == UINT64_MAX || all == UINT64_MAX ? UINT64_MAX : all + cost * share;
        }
        if (few == 1 || all < least || least == UINT64_MAX) {
            least = all;
            memcpy(o->shapes, shapes, sizeof shapes);
        }
    }
}

static hy_status choose_shapes(one *o)
{
    choose_all_rows(o);
    for (uint32_t k = o->p->first; k < o->p->end; k++) {
        const hy__mm_job *j = &o->mk->jobs[k];
        shape *s = &o->shapes[k - o->p->first];
        if (j->vecs > o->shared) {
            if (j->n_inputs > 1) {
                return hy__fail(o->mk->wr->err, HY_E_UNSUPPORTED,
                                "the inputs of matrices that are computed together are too long");
            }
            const hy__mm_input *in = &j->input[0];
            s->tile = o->shared / (in->unit == 0 ? HY__MM_Q8_VECS : in->unit / 4) / 32 * 32;
            s->ahead = false;
        }
        choose_q8(o, j, s);
        o->raws = HY_MAX(o->raws, s->ahead ? s->raws : 0);
    }
    return HY_OK;
}

/* What of the epilogue goes to the arena. */
static void mark_stored(one *o)
{
    const hy__tree *t = &o->mk->wr->x->epilogue;
    for (uint32_t i = 0; i < t->n; i++) {
        o->stored[i] = t->exprs[i].root;
    }
    for (uint32_t k = 0; k < o->p->end - o->p->first; k++) {
        if (o->shapes[k].q8 != UINT32_MAX) {
            o->stored[o->shapes[k].q8] = false;
        }
    }
    o->mk->et.stored = o->stored;
}

/* ---- weights */

static void put_row(const one *o, const hy__mm_job *j, const shape *s, const char *turn)
{
    hy__wgsl_put(o->w, "        let row = min((%s) * %uu + lane / %uu, %uu);\n", turn,
                 o->lanes / s->lanes, s->lanes, hy__mm_rows(j, o->p->chunk) - 1);
}

/* Raw weights of a row's units, one vec4 a variable: PREFIX0 on. */
static void put_raws(const one *o, const hy__mm_job *j, const shape *s, const char *turn,
                     const char *prefix)
{
    uint32_t to = 0;
    hy__wgsl_put(o->w, "        {\n");
    put_row(o, j, s, turn);
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__gpu_format *f = format_of(o, j, k);
        const uint32_t units = input_of(j, k)->units;
        for (uint32_t i = 0; i < steps_of(j, k, s->lanes); i++) {
            char unit[64];
            snprintf(unit, sizeof unit,
                     (i + 1) * s->lanes > units ? "min(sub + %uu, %uu)" : "sub + %uu",
                     i * s->lanes, units - 1);
            if (!f->codes) {
                hy__wgsl_put(o->w, "        %s%u = weights[at%u.x + row * %uu + %s];\n", prefix,
                             to++, k, units, unit);
                continue;
            }
            hy__wgsl_put(o->w, "        { let r = raw_%s(at%u, row * %uu + %s);", f->name, k, units,
                         unit);
            for (uint32_t r = 0; r < f->raw_vecs; r++) {
                hy__wgsl_put(o->w, " %s%u = r[%u];", prefix, to++, r);
            }
            hy__wgsl_put(o->w, " }\n");
        }
    }
    hy__wgsl_put(o->w, "        }\n");
}

/* ---- products: of a unit whose raw weights are PREFIXn on, and unit x of the inputs */

static void put_codes(const one *o, const hy__gpu_format *f, uint32_t k, const char *raw,
                      const char *block, uint32_t at, uint32_t width)
{
    hy__wgsl_put(o->w, "            let w = unpack_%s(%s, array<vec4<u32>, %u>(%s));\n", f->name,
                 block, f->raw_vecs, raw);
    hy__wgsl_put(o->w,
                 "            acc%u += product%s(w, xs[x + %uu], xs[x + %uu], "
                 "bitcast<vec4<f32>>(xs[x + %uu]));\n",
                 k, f->halves ? "" : "_whole", at, at + width, at + 2 * width);
}

static void put_numbers(const one *o, const hy__gpu_format *f, uint32_t k, const char *raw,
                        const hy__mm_input *in, uint32_t at, uint32_t width)
{
    for (uint32_t q = 0; q < in->unit / 4; q++) {
        hy__wgsl_put(o->w,
                     "            acc%u += dot(four_of_%s(%s, %uu), bitcast<vec4<f32>>(xs[x + "
                     "%uu]));\n",
                     k, f->name, raw, q, at + q * width);
    }
}

static void put_unit(const one *o, const hy__mm_job *j, const shape *s, uint32_t k, const char *raw)
{
    const hy__gpu_format *f = format_of(o, j, k);
    const hy__mm_input *in = input_of(j, k);
    const uint32_t width = s->tile ? s->tile : in->units, at = s->tile ? 0 : in->at;
    if (f->codes) {
        char block[48];
        snprintf(block, sizeof block, "row * %uu + unit", in->units);
        put_codes(o, f, k, raw, block, at, width);
    } else {
        put_numbers(o, f, k, raw, in, at, width);
    }
}

/* From registers. */
static void put_held(const one *o, const hy__mm_job *j, const shape *s, const char *prefix)
{
    uint32_t from = 0;
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__gpu_format *f = format_of(o, j, k);
        const uint32_t units = input_of(j, k)->units;
        for (uint32_t i = 0; i < steps_of(j, k, s->lanes); i++) {
            char raw[120] = "";
            for (uint32_t r = 0; r < f->raw_vecs; r++, from++) {
                const size_t n = strlen(raw);
                snprintf(raw + n, sizeof raw - n, "%s%s%u", r ? ", " : "", prefix, from);
            }
            if ((i + 1) * s->lanes > units) {
                hy__wgsl_put(o->w, "        if (sub + %uu < %uu)", i * s->lanes, units);
            }
            hy__wgsl_put(o->w,
                         "        {\n            let unit = sub + %uu;\n"
                         "            let x = unit;\n",
                         i * s->lanes);
            put_unit(o, j, s, k, raw);
            hy__wgsl_put(o->w, "        }\n");
        }
    }
}

/* From memory, in a loop over the units of the tile at hand. */
static void put_loop(const one *o, const hy__mm_job *j, const shape *s)
{
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        const hy__gpu_format *f = format_of(o, j, k);
        const uint32_t units = input_of(j, k)->units;
        if (s->tile) {
            hy__wgsl_put(o->w,
                         "        for (var x = sub; x < min(%uu, %uu - tile); x += %uu) {\n"
                         "            let unit = tile + x;\n",
                         s->tile, units, s->lanes);
        } else {
            hy__wgsl_put(o->w,
                         "        for (var x = sub; x < %uu; x += %uu) {\n"
                         "            let unit = x;\n",
                         units, s->lanes);
        }
        char raw[64] = "";
        if (f->codes) {
            hy__wgsl_put(o->w, "            let r = raw_%s(at%u, row * %uu + unit);\n", f->name, k,
                         units);
            for (uint32_t r = 0; r < f->raw_vecs; r++) {
                const size_t n = strlen(raw);
                snprintf(raw + n, sizeof raw - n, "%sr[%u]", r ? ", " : "", r);
            }
        } else {
            hy__wgsl_put(o->w, "            let r = weights[at%u.x + row * %uu + unit];\n", k,
                         units);
            snprintf(raw, sizeof raw, "r");
        }
        put_unit(o, j, s, k, raw);
        hy__wgsl_put(o->w, "        }\n");
    }
}

/* ---- inputs in workgroup memory */

/* Four channels of an input as a vec4; all of them are there. */
static void put_vec4(const one *o, const hy__mm_input *in, const char *channel)
{
    const hy__gpu_writer *wr = o->mk->wr;
    const hy__tree *t = &wr->x->prologue;
    for (uint32_t i = 0; o->w->wide && in->n % 4 == 0 && i < t->n; i++) {
        if (t->exprs[i].value == in->value && t->exprs[i].kind == HY__EXPR_OP) {
            hy__wgsl_put(o->w, "%s", hy__wgsl_call4(&o->mk->pt, i, channel, "0u").text);
            return;
        }
    }
    hy__wgsl_put(o->w, "vec4<f32>(");
    for (uint32_t e = 0; e < 4; e++) {
        char at[32];
        snprintf(at, sizeof at, "%s + %uu", channel, e);
        hy__wgsl_put(o->w, "%s%s", e ? ", " : "",
                     hy__gpu_value(o->mk->wr, o->w, &o->mk->pt, in->value, at, "0u").text);
    }
    hy__wgsl_put(o->w, ")");
}

/* Four channels an invocation, eight invocations a block: they exchange numbers by shuffles. */
static void put_load_q8_by_shuffles(const one *o, const shape *s, const hy__mm_input *in)
{
    hy__wgsl *w = o->w;
    const uint32_t width = s->tile ? s->tile : in->units, at = s->tile ? 0 : in->at;
    const uint32_t turns = (8 * width + o->lanes - 1) / o->lanes;
    hy__wgsl_put(w, "    for (var g0 = 0u; g0 < %uu; g0 += %uu) {\n", turns * o->lanes, o->lanes);
    hy__wgsl_put(w,
                 "        let g = g0 + lane;\n        let c = %s + 4u * g;\n"
                 "        var v = vec4<f32>();\n",
                 s->tile ? "32u * tile" : "0u");
    hy__wgsl_put(w, "        if (g < %uu && c < %uu) {\n            v = ", 8 * width, in->n);
    put_vec4(o, in, "c");
    hy__wgsl_put(w, ";\n        }\n");
    char to[24];
    snprintf(to, sizeof to, "%uu", at);
    hy__gpu_put_q8(w, "g", 8 * width, "xs", to, width);
    hy__wgsl_put(w, "    }\n");
}

/* From what the phase before has left in 8 bits. */
static void put_load_codes(const one *o, const shape *s, const hy__mm_input *in)
{
    const uint32_t width = s->tile ? s->tile : in->units, at = s->tile ? 0 : in->at;
    hy__wgsl_use(o->w, HY__BUFFER_codes);
    hy__wgsl_put(o->w, "    for (var h = lane; h < %uu; h += %uu) {\n",
                 HY__MM_Q8_VECS * width, o->lanes);
    if (s->tile) {
        hy__wgsl_put(o->w,
                     "        xs[%uu + h] = codes[%uu + h / %uu * %uu + tile + h %% %uu];\n    }\n",
                     at, o->mk->wr->m->q8_place[in->value], width, in->units, width);
    } else {
        hy__wgsl_put(o->w, "        xs[%uu + h] = codes[%uu + h];\n    }\n", at,
                     o->mk->wr->m->q8_place[in->value]);
    }
}

static void put_load_q8(const one *o, const shape *s, const hy__mm_input *in)
{
    hy__wgsl *w = o->w;
    if (o->mk->wr->m->q8_place[in->value] != UINT32_MAX) {
        put_load_codes(o, s, in);
        return;
    }
    if (hy__gpu_quantizes_by_shuffles(o->mk->wr->m)) {
        put_load_q8_by_shuffles(o, s, in);
        return;
    }
    const uint32_t width = s->tile ? s->tile : in->units, at = s->tile ? 0 : in->at;
    hy__wgsl_put(w, "    for (var h0 = 0u; h0 < %uu; h0 += %uu) {\n", 2 * width, o->lanes);
    hy__wgsl_put(w, "        let h = h0 + lane;\n        let c = %s + 16u * h;\n",
                 s->tile ? "32u * tile" : "0u");
    hy__wgsl_put(w, "        let there = h < %uu && c < %uu;\n", 2 * width, in->n);
    /* A loop: what computes a value is long, and would be compiled once for each place that calls
     * it. */
    hy__wgsl_put(w, "        var v = array<vec4<f32>, 4>();\n"
                    "        if (there) {\n            for (var q = 0u; q < 4u; q++) {\n"
                    "                v[q] = ");
    put_vec4(o, in, "c + 4u * q");
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

/* Numbers, unit by unit: vec4 q of unit u at u + q * units. */
static void put_load_numbers(const one *o, const shape *s, const hy__mm_input *in)
{
    hy__wgsl *w = o->w;
    const uint32_t width = s->tile ? s->tile : in->units, at = s->tile ? 0 : in->at;
    const uint32_t vecs = in->unit / 4;
    hy__wgsl_put(w, "    for (var h = lane; h < %uu; h += %uu) {\n", vecs * width, o->lanes);
    hy__wgsl_put(w, "        let c = %u%s + 4u * h;\n        var v = vec4<f32>();\n", in->unit,
                 s->tile ? "u * tile" : "u * 0u");
    if (in->n % 4 == 0) {
        hy__wgsl_put(w, "        if (c < %uu) { v = ", in->n);
        put_vec4(o, in, "c");
        hy__wgsl_put(w, "; }\n");
    }
    for (uint32_t e = 0; e < 4 && in->n % 4 != 0; e++) {
        char channel[24];
        snprintf(channel, sizeof channel, "c + %uu", e);
        hy__wgsl_put(w, "        if (c + %uu < %uu) { v.%c = %s; }\n", e, in->n, "xyzw"[e],
                     hy__gpu_value(o->mk->wr, w, &o->mk->pt, in->value, channel, "0u").text);
    }
    hy__wgsl_put(w,
                 "        xs[%uu + h / %uu + h %% %uu * %uu] = bitcast<vec4<u32>>(v);\n    }\n", at,
                 vecs, vecs, width);
}

static void put_inputs(const one *o, const hy__mm_job *j, const shape *s)
{
    for (uint32_t k = 0; k < j->n_inputs; k++) {
        if (j->input[k].unit == 0) {
            put_load_q8(o, s, &j->input[k]);
        } else {
            put_load_numbers(o, s, &j->input[k]);
        }
    }
}

static void put_load(const one *o, const hy__mm_job *j, const shape *s)
{
    put_inputs(o, j, s);
    hy__wgsl_put(o->w, "    workgroupBarrier();\n");
}

/* ---- a job */

static void put_parameters(const one *o, const shape *s, const char *before, const char *type)
{
    for (uint32_t i = 0; s->ahead && i < s->raws; i++) {
        hy__wgsl_put(o->w, ", %s%u%s", before, i, type);
    }
}

/* The result of a job that is left in 8 bits: number in the epilogue, UINT32_MAX: none. */
static uint32_t q8_result(const one *o, const hy__mm_job *j)
{
    const hy__gpu_writer *wr = o->mk->wr;
    for (uint32_t i = 0; i < wr->x->epilogue.n; i++) {
        const hy__expr *e = &wr->x->epilogue.exprs[i];
        if (e->root && j->only[i] && j->rows % 32 == 0 && j->chunk_rows % 32 == 0 &&
            hy__gpu_wants_q8(wr, e->value)) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* Rows of a turn, which are whole blocks of 32, from `staged`. */
static void put_q8_rows(const one *o, const hy__mm_job *j, const shape *s, hy__id value)
{
    const uint32_t rows = o->lanes / s->lanes * s->run, blocks = j->rows / 32;
    char at[80];
    hy__wgsl_use(o->w, HY__BUFFER_codes);
    hy__wgsl_put(o->w,
                 "        if (turn %% %uu == %uu) {\n        workgroupBarrier();\n"
                 "        let v = staged[min(lane, %uu)];\n"
                 "        let there = turn / %uu * %uu + 4u * lane < %uu;\n"
                 "        let g = select(%uu, lane, there);\n",
                 s->run, s->run - 1, rows / 4 - 1, s->run, rows, hy__mm_rows(j, o->p->chunk),
                 rows / 4);
    snprintf(at, sizeof at, "%uu + turn / %uu * %uu",
             hy__gpu_q8_place(o->mk->wr) + o->p->chunk * j->chunk_rows / 32, s->run, rows / 32);
    hy__gpu_put_q8(o->w, "g", rows / 4, "codes", at, blocks);
    hy__wgsl_put(o->w, "        }\n");
    o->mk->wr->m->q8_place[value] = hy__gpu_q8_place(o->mk->wr);
}

/* Weights of the next turn's rows, to PREFIX0 on. */
static void put_next(const one *o, const hy__mm_job *j, const shape *s, const char *prefix)
{
    hy__wgsl_put(o->w, "        if (k + 1u < %uu) {\n", s->turns);
    put_raws(o, j, s, "turn + 1u", prefix);
    hy__wgsl_put(o->w, "        }\n");
}

/* The rows of a turn: their weights are in PREFIX0 on if they are held. */
static void put_turn(const one *o, const hy__mm_job *j, const shape *s, const char *held)
{
    hy__wgsl *w = o->w;
    const uint32_t rows = hy__mm_rows(j, o->p->chunk), each = o->lanes / s->lanes;
    hy__wgsl_put(w, "        let there = sub == 0u && turn * %uu + lane / %uu < %uu;\n", each,
                 s->lanes, rows);
    put_row(o, j, s, "turn");
    hy__wgsl_put(w, "        let t = 0u;\n        let c = row + %s;\n",
                 hy__wgsl_place(w, HY__AT_OTHER, o->p->chunk * j->chunk_rows, HY__GPU_NUMBER + 1)
                     .text);
    o->mk->et.only = j->only;
    uint32_t leaves[HY__MM_MOST_LEAVES];
    const uint32_t n_leaves = hy__wgsl_leaf_ids(&o->mk->et, leaves, HY__MM_MOST_LEAVES);
    o->mk->et.has_leaves = n_leaves <= HY__MM_MOST_LEAVES;
    for (uint32_t i = 0; o->mk->et.has_leaves && i < n_leaves; i++) {
        hy__wgsl_leaf(w, &o->mk->et, leaves[i]);
    }
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        hy__wgsl_put(w, "        var acc%u = 0.0;\n", k);
    }
    if (s->tile) {
        hy__wgsl_put(w,
                     "    for (var tile = 0u; tile < %uu; tile += %uu) {\n"
                     "    workgroupBarrier();\n",
                     j->input[0].units, s->tile);
        put_load(o, j, s);
    }
    if (held) {
        put_held(o, j, s, held);
        if (s->turns > 1 && !s->twice) {
            put_next(o, j, s, held);
        }
    } else {
        put_loop(o, j, s);
    }
    if (s->tile) {
        hy__wgsl_put(w, "    }\n");
    }
    for (uint32_t k = 0; k < j->n_anchors; k++) {
        hy__wgsl_put(w, "        let v%u = sum_%u(lane, acc%u);\n", j->anchors[k], s->lanes, k);
    }
    const uint32_t q8 = s->q8;
    if (q8 != UINT32_MAX && s->turns > s->run) {
        /* The last ones were read. */
        hy__wgsl_put(w, "        if (turn %% %uu == 0u) { workgroupBarrier(); }\n", s->run);
    }
    hy__wgsl_put(w, "        if (there) {\n");
    hy__wgsl_body(w, &o->mk->et, HY__ALL_PARTS);
    if (q8 != UINT32_MAX) {
        hy__wgsl_put(w,
                     "        let slot = turn %% %uu * %uu + lane / %uu;\n"
                     "        staged[slot / 4u][slot %% 4u] = v%u;\n",
                     s->run, each, s->lanes, q8);
    }
    for (uint32_t i = 0; o->joined && i < o->mk->wr->x->epilogue.n; i++) {
        const hy__expr *e = &o->mk->wr->x->epilogue.exprs[i];
        if (e->root && j->only[i]) {
            hy__wgsl_put(w, "        joint%u[lane / %uu] = v%u;\n", i, s->lanes, i);
        }
    }
    hy__wgsl_put(w, "        }\n");
    if (q8 != UINT32_MAX) {
        put_q8_rows(o, j, s, o->mk->wr->x->epilogue.exprs[q8].value);
    }
}

static void put_job(const one *o, const hy__mm_job *j, uint32_t number)
{
    hy__wgsl *w = o->w;
    const shape *s = &o->shapes[number];
    const bool once = s->turns == 1;
    hy__wgsl_put(w, "\nfn job%u(wg: u32, lane: u32", number);
    put_parameters(o, s, "pre", ": vec4<u32>");
    hy__wgsl_put(w, ") {\n");
    hy__mm_put_planes(o->mk, w, j, o->p->chunk);
    hy__wgsl_put(w, "    let sub = lane %% %uu;\n", s->lanes);
    if (!s->tile) {
        put_load(o, j, s);
    }
    if (once) {
        hy__wgsl_put(w, "    let turn = wg;\n");
        put_turn(o, j, s, s->ahead ? "pre" : NULL);
        hy__wgsl_put(w, "}\n");
        return;
    }
    const uint32_t held = s->ahead ? s->raws : 0;
    for (uint32_t i = 0; i < held; i++) {
        hy__wgsl_put(w, "    var %s%u = pre%u;\n", s->twice ? "next" : "now", i, i);
    }
    hy__wgsl_put(w, "    for (var k = 0u; k < %uu; k++) {\n        let turn = wg * %uu + k;\n",
                 s->turns, s->turns);
    for (uint32_t i = 0; s->twice && i < held; i++) {
        hy__wgsl_put(w, "        let now%u = next%u;\n", i, i);
    }
    if (s->twice && held > 0) {
        put_next(o, j, s, "next");
    }
    put_turn(o, j, s, held > 0 ? "now" : NULL);
    hy__wgsl_put(w, "    }\n}\n");
}

/* ---- the kernel */

static void put_shared(const one *o)
{
    hy__wgsl *w = o->w;
    uint32_t written = 0, vecs = 1, staged = 0;
    bool q8 = false;
    hy__wgsl_total(w);
    for (uint32_t k = o->p->first; k < o->p->end; k++) {
        const hy__mm_job *j = &o->mk->jobs[k];
        hy__gpu_write_sum(o->mk->wr, w, o->shapes[k - o->p->first].lanes, &written);
        vecs = HY_MAX(vecs, HY_MIN(j->vecs, o->shared));
        if (o->shapes[k - o->p->first].q8 != UINT32_MAX) {
            const shape *s = &o->shapes[k - o->p->first];
            staged = HY_MAX(staged, o->lanes / s->lanes * s->run / 4);
        }
        for (uint32_t i = 0; i < j->n_inputs; i++) {
            q8 |= j->input[i].unit == 0;
        }
    }
    hy__wgsl_put(w, "var<workgroup> xs: array<vec4<u32>, %u>;\n", vecs);
    if (staged > 0) {
        hy__wgsl_put(w, "var<workgroup> staged: array<vec4<f32>, %u>;\n", staged);
    }
    if (q8 || staged > 0) {
        hy__gpu_put_quantize(w);
        if (!hy__gpu_quantizes_by_shuffles(o->mk->wr->m)) {
            hy__gpu_write_pairs(o->mk->wr, w);
        }
    }
}

/* Whether the prologue changes a state, or other phases read what it computes. */
static bool stores_prologue(const one *o)
{
    const hy__tree *t = &o->mk->wr->x->prologue;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].kind == HY__EXPR_OP &&
            (o->mk->pt.stored[i] ||
             o->mk->g->nodes[t->exprs[i].node].op == HY__OP_TOKEN_SHIFT)) {
            return true;
        }
    }
    return false;
}

/* Branches of jobs: of workgroup ids from begin to end - 1. */
static void put_branch(const one *o, uint32_t k, uint32_t begin)
{
    hy__wgsl_put(o->w, "    %sif (id.x < %uu) {\n", k ? "else " : "",
                 begin + o->shapes[k].groups);
}

static void put_prefetch(const one *o)
{
    for (uint32_t i = 0; i < o->raws; i++) {
        hy__wgsl_put(o->w, "    var pre%u = vec4<u32>();\n", i);
    }
    uint32_t begin = 0;
    for (uint32_t k = 0; k < o->p->end - o->p->first && o->raws > 0; k++) {
        const hy__mm_job *j = &o->mk->jobs[o->p->first + k];
        const shape *s = &o->shapes[k];
        put_branch(o, k, begin);
        if (s->ahead) {
            char turn[32];
            snprintf(turn, sizeof turn, "(id.x - %uu) * %uu", begin, s->turns);
            hy__mm_put_planes(o->mk, o->w, j, o->p->chunk);
            hy__wgsl_put(o->w, "        let sub = lane %% %uu;\n", s->lanes);
            put_raws(o, j, s, turn, "pre");
        }
        hy__wgsl_put(o->w, "    }\n");
        begin += s->groups;
    }
}

static void put_prologue(const one *o)
{
    if (o->mk->prologue.n_ops == 0) {
        return;
    }
    hy__wgsl_put(o->w, "    let t = 0u;\n    let u = 0u;\n    let first = 0u;\n"
                       "    _ = t + u + first;\n");
    for (uint32_t k = 0; k < o->mk->prologue.n_parts; k++) {
        hy__wgsl_sums(o->w, &o->mk->pt, k);
    }
}

/* What others need of the prologue, by a workgroup of its own, so that none has more to do. */
static void put_stores(const one *o)
{
    for (uint32_t k = 0; k < o->mk->prologue.n_parts; k++) {
        hy__wgsl_put(o->w, "        for (var c = lane; c < %uu; c += %uu) {\n",
                     o->mk->prologue.parts[k].n, o->lanes);
        hy__wgsl_body(o->w, &o->mk->pt, k);
        hy__wgsl_put(o->w, "        }\n");
    }
}

static void put_main(const one *o, hy__gpu_dispatch *d)
{
    hy__wgsl *w = o->w;
    uint32_t begin = 0;
    hy__wgsl_put(w,
                 "\n@compute @workgroup_size(%u)\n"
                 "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) "
                 "lane: u32) {\n",
                 o->lanes);
    put_prefetch(o);
    put_prologue(o);
    for (uint32_t k = 0; k < o->p->end - o->p->first; k++) {
        put_branch(o, k, begin);
        hy__wgsl_put(w, "        job%u(id.x - %uu, lane", k, begin);
        put_parameters(o, &o->shapes[k], "pre", "");
        hy__wgsl_put(w, ");\n    }\n");
        begin += o->shapes[k].groups;
    }
    if (o->p->first == 0 && o->p->chunk == 0 && stores_prologue(o)) {
        hy__wgsl_put(w, "    else {\n");
        put_stores(o);
        hy__wgsl_put(w, "    }\n");
        begin++;
    }
    hy__wgsl_put(w, "}\n");
    d->groups = begin;
}

static hy_status write_one(one *o)
{
    hy__gpu_writer *wr = o->mk->wr;
    const hy__mm_piece *p = o->p;
    hy__gpu_dispatch d = {.cols = wr->p->cols, .attention = UINT32_MAX};
    uint32_t kernel;
    HY_TRY(choose_shapes(o));
    mark_stored(o);
    for (uint32_t k = p->first; k < p->end; k++) {
        hy__mm_window(o->mk, &o->mk->jobs[k], p->chunk, &d);
    }
    wr->window = d.window;
    hy__gpu_begin(wr, o->w, o->lanes);
    o->w->fresh = true;
    hy__mm_put_formats(o->mk, o->w, o->mk->jobs + p->first, p->end - p->first, true);
    if (o->mk->prologue.n_ops > 0) {
        hy__wgsl_functions(o->w, &o->mk->pt, wr->m->wide);
    }
    hy__wgsl_functions(o->w, &o->mk->et, false);
    put_shared(o);
    for (uint32_t k = p->first; k < p->end; k++) {
        put_job(o, &o->mk->jobs[k], k - p->first);
    }
    put_main(o, &d);
    HY_TRY(hy__gpu_add_kernel(wr, o->w, &kernel));
    return hy__gpu_add_dispatch(wr, o->w, kernel, "main", &d);
}

hy_status hy__mm_write_one(hy__mm *mk, const hy__mm_piece *p)
{
    hy__gpu_writer *wr = mk->wr;
    hy__wgsl w;
    one o = {.mk = mk, .w = &w, .p = p, .lanes = wr->m->lanes, .shared = shared_vecs(wr->m)};
    o.stored = hy__calloc(&wr->m->env, (size_t)wr->x->epilogue.n + 1, sizeof *o.stored, wr->err);
    const hy_status status = o.stored ? write_one(&o) : HY_E_NOMEM;
    mk->et.stored = NULL;
    hy__free(&wr->m->env, o.stored);
    return status;
}

/* ---- in a kernel of heads */

struct hy__mm_joined {
    hy__mm mk;
    hy__mm_piece piece;
    one o;
    bool *stored; /* [epilogue.n] */
    uint32_t vecs;
};

/* Whether a phase other than `heads` reads a value. */
static bool read_elsewhere(const hy__gpu_model *m, uint32_t heads, hy__id value)
{
    for (uint32_t i = 0; i < m->f->n_phases; i++) {
        const hy__ids *in = &m->x->phases[i].inputs;
        for (uint32_t k = 0; i != heads && k < in->n; k++) {
            if (in->ids[k] == value) {
                return true;
            }
        }
    }
    return false;
}

static bool fits(hy__mm_joined *j, uint32_t channels, uint32_t n)
{
    uint32_t words = 0;
    hy__gpu_dispatch d = {0};
    for (uint32_t k = 0; k < j->mk.n_jobs; k++) {
        hy__mm_job *job = &j->mk.jobs[k];
        shape *s = &j->o.shapes[k];
        *s = (shape){.lanes = j->o.lanes / n, .ahead = true, .q8 = UINT32_MAX};
        s->raws = raws_of(&j->o, job, s->lanes);
        s->sets = s->groups = channels / n;
        s->turns = s->run = 1;
        words += words_of(&j->o, job, s->lanes);
        for (uint32_t i = 0; i < job->n_inputs; i++) {
            job->input[i].at += j->vecs;
        }
        j->vecs += job->vecs;
        if (job->rows != channels || job->n_chunks != 1) {
            return false;
        }
        for (uint32_t a = 0; a < job->n_anchors; a++) {
            if (!hy__gpu_matrix_window(j->mk.wr->m, hy__mm_matrix(&j->mk, job->anchors[a]), 0,
                                       &d)) {
                return false;
            }
        }
    }
    return words <= MOST_JOINED && j->vecs <= j->o.shared / 2;
}

hy_status hy__mm_join(hy__gpu_writer *wr, hy__wgsl *w, uint32_t heads, uint32_t channels,
                      uint32_t n, hy__mm_joined **out)
{
    *out = NULL;
    hy__mm_joined *j = hy__calloc(&wr->m->env, 1, sizeof *j, wr->err);
    if (!j) {
        return HY_E_NOMEM;
    }
    hy_status status = hy__mm_begin(&j->mk, wr);
    if (status != HY_OK) {
        hy__free(&wr->m->env, j);
        return status;
    }
    const hy__tree *t = &wr->x->epilogue;
    j->piece = (hy__mm_piece){.end = j->mk.n_jobs};
    j->o = (one){.mk = &j->mk, .w = w, .p = &j->piece, .lanes = w->lanes, .joined = true};
    j->o.shared = shared_vecs(wr->m);
    j->stored = hy__calloc(&wr->m->env, (size_t)t->n + 1, sizeof *j->stored, wr->err);
    if (!j->stored) {
        hy__mm_joined_destroy(j);
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < t->n; i++) {
        j->stored[i] = t->exprs[i].root && read_elsewhere(wr->m, heads, t->exprs[i].value);
    }
    j->mk.et.prefix = 'j';
    j->mk.et.stored = j->stored;
    if (j->mk.prologue.n_ops > 0 || !fits(j, channels, n)) {
        hy__mm_joined_destroy(j);
        return HY_OK;
    }
    *out = j;
    return HY_OK;
}

void hy__mm_joined_destroy(hy__mm_joined *j)
{
    if (j) {
        const hy_env env = j->mk.wr->m->env;
        hy__free(&env, j->stored);
        hy__mm_end(&j->mk);
        hy__free(&env, j);
    }
}

uint32_t hy__mm_joined_number(const hy__mm_joined *j, hy__id value)
{
    const hy__tree *t = &j->mk.wr->x->epilogue;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].root && t->exprs[i].value == value) {
            return i;
        }
    }
    return UINT32_MAX;
}

void hy__mm_joined_window(const hy__mm_joined *j, hy__gpu_dispatch *d)
{
    for (uint32_t k = 0; k < j->mk.n_jobs; k++) {
        hy__mm_window(&j->mk, &j->mk.jobs[k], 0, d);
    }
}

void hy__mm_joined_functions(hy__mm_joined *j)
{
    hy__wgsl *w = j->o.w;
    const hy__tree *t = &j->mk.wr->x->epilogue;
    const uint32_t n = j->o.lanes / j->o.shapes[0].lanes;
    uint32_t written = 0;
    bool q8 = false;
    hy__mm_put_formats(&j->mk, w, j->mk.jobs, j->mk.n_jobs, true);
    hy__wgsl_functions(w, &j->mk.et, false);
    hy__wgsl_total(w);
    for (uint32_t k = 0; k < j->mk.n_jobs; k++) {
        hy__gpu_write_sum(j->mk.wr, w, j->o.shapes[k].lanes, &written);
        for (uint32_t i = 0; i < j->mk.jobs[k].n_inputs; i++) {
            q8 |= j->mk.jobs[k].input[i].unit == 0;
        }
    }
    if (q8) {
        hy__gpu_put_quantize(w);
        if (!hy__gpu_quantizes_by_shuffles(j->mk.wr->m)) {
            hy__gpu_write_pairs(j->mk.wr, w);
        }
    }
    hy__wgsl_put(w, "var<workgroup> xs: array<vec4<u32>, %u>;\n", j->vecs);
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->exprs[i].root) {
            hy__wgsl_put(w, "var<workgroup> joint%u: array<f32, %u>;\n", i, n);
        }
    }
}

void hy__mm_joined_prefetch(hy__mm_joined *j)
{
    for (uint32_t k = 0; k < j->mk.n_jobs; k++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "raw%u_", k);
        for (uint32_t i = 0; i < j->o.shapes[k].raws; i++) {
            hy__wgsl_put(j->o.w, "    var %s%u = vec4<u32>();\n", prefix, i);
        }
        hy__wgsl_put(j->o.w, "    {\n");
        hy__mm_put_planes(&j->mk, j->o.w, &j->mk.jobs[k], 0);
        hy__wgsl_put(j->o.w, "        let sub = lane %% %uu;\n", j->o.shapes[k].lanes);
        put_raws(&j->o, &j->mk.jobs[k], &j->o.shapes[k], "id.x", prefix);
        hy__wgsl_put(j->o.w, "    }\n");
    }
}

void hy__mm_joined_compute(hy__mm_joined *j)
{
    for (uint32_t k = 0; k < j->mk.n_jobs; k++) {
        put_inputs(&j->o, &j->mk.jobs[k], &j->o.shapes[k]);
    }
    hy__wgsl_put(j->o.w, "    workgroupBarrier();\n");
    for (uint32_t k = 0; k < j->mk.n_jobs; k++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "raw%u_", k);
        hy__wgsl_put(j->o.w, "    {\n    let turn = id.x;\n    let sub = lane %% %uu;\n",
                     j->o.shapes[k].lanes);
        put_turn(&j->o, &j->mk.jobs[k], &j->o.shapes[k], prefix);
        hy__wgsl_put(j->o.w, "    }\n");
    }
    hy__wgsl_put(j->o.w, "    workgroupBarrier();\n");
}
