/* text_touch.c: kernels of one token read ahead for each other.
 *
 * Most of what a kernel takes is latency, and meanwhile the memory stands still.  So each one also
 * reads a word of every line of the weights that the next one multiplies with: then they are in the
 * GPU's cache when that one begins.  WGSL knows no such reads, so something is done with the words
 * in the end.  Model creation only; one thread. */
#include <stdio.h>

#include "webgpu.h"

enum {
    LINE = 64,      /* bytes that memory delivers together */
    MOST_READS = 8, /* of an invocation */
    NEVER = 0x5bd1e995
};

/* The matrices of the first phase behind this one that has some. */
static bool next_weights(const hy__gpu_writer *wr, hy__gpu_dispatch *d)
{
    const hy__gpu_model *m = wr->m;
    for (uint32_t i = wr->phase + 1; i < m->f->n_phases && d->window_bytes == 0; i++) {
        const hy__phase *p = &m->f->phases[i];
        const hy__node *anchors = &m->g->nodes[p->first + p->n_prologue];
        for (uint32_t k = 0; k < p->n_anchor && p->kind == HY__PHASE_MATMUL; k++) {
            if (!hy__gpu_matrix_window(m, &m->matrices[anchors[k].in[0]], 0, d)) {
                return false;
            }
        }
    }
    return d->window_bytes > 0;
}

hy__gpu_touch hy__gpu_find_touch(const hy__gpu_writer *wr, hy__gpu_dispatch *d, uint32_t groups,
                                 uint32_t lanes)
{
    hy__gpu_touch t = {0};
    hy__gpu_dispatch next = {0};
    if (!next_weights(wr, &next)) {
        return t;
    }
    const uint64_t begin = d->window_bytes ? d->window : next.window;
    const uint64_t end = next.window + next.window_bytes;
    if ((d->window_bytes && d->slab != next.slab) || next.window < begin ||
        end - begin > wr->m->gpu.caps.max_binding) {
        return t;
    }
    t.threads = groups * lanes;
    t.lanes = lanes;
    t.lines = (uint32_t)HY_MIN(next.window_bytes / LINE, (uint64_t)MOST_READS * t.threads);
    t.at = (uint32_t)((next.window - begin) / 16);
    d->slab = next.slab;
    d->window = begin;
    d->window_bytes = HY_MAX(end, begin + d->window_bytes) - begin;
    return t;
}

static uint32_t reads_of(const hy__gpu_touch *t)
{
    return t->lines == 0 ? 0 : (t->lines + t->threads - 1) / t->threads;
}

void hy__gpu_put_touch(hy__wgsl *w, const hy__gpu_touch *t)
{
    if (t->lines == 0) {
        return;
    }
    hy__wgsl_use(w, HY__BUFFER_weights);
    hy__wgsl_put(w, "    let line = id.x * %uu + lane;\n", t->lanes);
    for (uint32_t i = 0; i < reads_of(t); i++) {
        hy__wgsl_put(w, "    let touched%u = weights[%uu + min(line + %uu, %uu) * %uu].x;\n", i,
                     t->at, i * t->threads, t->lines - 1, LINE / 16);
    }
}

void hy__gpu_end_touch(const hy__gpu_writer *wr, hy__wgsl *w, const hy__gpu_touch *t)
{
    if (t->lines == 0) {
        return;
    }
    const hy__graph *g = wr->m->g;
    hy__wgsl_use(w, HY__BUFFER_arena);
    hy__wgsl_put(w, "    if ((touched0");
    for (uint32_t i = 1; i < reads_of(t); i++) {
        hy__wgsl_put(w, " ^ touched%u", i);
    }
    /* Behind the logits, where nobody reads. */
    hy__wgsl_put(w, ") == %uu) { arena[%lluu] = 0.0; }\n", (uint32_t)NEVER,
                 (unsigned long long)(hy__gpu_logits_place(wr->m, 1, 1) + g->values[g->logits].n));
}
