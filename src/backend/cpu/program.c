/* program.c: from the phases of a model to what the threads run.
 *
 * Done once per model, by one thread. */
#include "cpu.h"

typedef struct work {
    const hy__graph *g;
    uint32_t *made_by; /* [n_values] node that computes it, UINT32_MAX: none */
    /* [n_nodes] of the phase at hand: number of the cluster's first anchor, for anchors and
     * epilogue */
    uint32_t *cluster;
    /* where the next entries go */
    uint32_t *cut, *list;
    hy__cpu_input *input;
    hy__cpu_cluster *clusters;
    hy__cpu_phase *phases;
} work;

static bool made_inside(const work *w, hy__id id, uint32_t first, uint32_t end)
{
    const uint32_t node = w->made_by[id];
    return node >= first && node < end;
}

static void cut_prologue(work *w, hy__cpu_phase *out)
{
    const uint32_t first = out->p->first;
    const uint32_t end = first + out->p->n_prologue;
    uint32_t begin = first; /* of the part at hand */
    out->cuts = w->cut;
    *w->cut++ = first;
    for (uint32_t i = first; i < end; i++) {
        const hy__node *node = &w->g->nodes[i];
        if (hy__cpu_crosses_columns(node->op) && made_inside(w, node->in[0], begin, i)) {
            *w->cut++ = begin = i;
        }
    }
    *w->cut++ = end;
    out->n_parts = (uint32_t)(w->cut - out->cuts) - 1;
}

static void collect_inputs(work *w, const hy__cpu_model *m, hy__cpu_phase *out)
{
    const uint32_t first = out->p->first + out->p->n_prologue;
    out->inputs = w->input;
    for (uint32_t i = first; i < first + out->p->n_anchor; i++) {
        const hy__node *node = &w->g->nodes[i];
        const hy__cpu_matrix *matrix = &m->matrices[node->in[0]];
        uint32_t k = 0;
        while (k < out->n_inputs && out->inputs[k].value != node->in[1]) {
            k++;
        }
        if (k == out->n_inputs) {
            *w->input++ = (hy__cpu_input){.value = node->in[1]};
            out->n_inputs++;
        }
        hy__cpu_input *in = w->input - out->n_inputs + k;
        in->q8 |= matrix->index >= 0;
        in->f32 |= matrix->index < 0;
        in->chosen = matrix->columns ? hy__packed_block(matrix->index) : in->chosen;
    }
}

/* All nodes of cluster `from` become nodes of cluster `to`. */
static void join(work *w, uint32_t first, uint32_t end, uint32_t from, uint32_t to)
{
    for (uint32_t i = first; i < end; i++) {
        w->cluster[i] = w->cluster[i] == from ? to : w->cluster[i];
    }
}

static void collect_clusters(work *w, const hy__cpu_model *m, hy__cpu_phase *out)
{
    const uint32_t first = out->p->first + out->p->n_prologue;
    const uint32_t behind = first + out->p->n_anchor;
    const uint32_t end = behind + out->p->n_epilogue;
    for (uint32_t i = first; i < behind; i++) {
        w->cluster[i] = i;
    }
    for (uint32_t i = behind; i < end; i++) {
        const hy__node *node = &w->g->nodes[i];
        w->cluster[i] = UINT32_MAX;
        for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
            if (!made_inside(w, node->in[k], first, i)) {
                continue;
            }
            const uint32_t theirs = w->cluster[w->made_by[node->in[k]]];
            if (w->cluster[i] == UINT32_MAX) {
                w->cluster[i] = theirs;
            } else if (w->cluster[i] != theirs) {
                join(w, first, i, theirs, w->cluster[i]);
            }
        }
    }
    out->clusters = w->clusters;
    for (uint32_t c = first; c < behind; c++) {
        hy__cpu_cluster cluster = {.anchors = w->list};
        for (uint32_t i = first; i < behind; i++) {
            if (w->cluster[i] == c) {
                const hy__cpu_matrix *matrix = &m->matrices[w->g->nodes[i].in[0]];
                cluster.m = matrix->m;
                cluster.least = matrix->columns ? HY__COLUMNS_PANELS : HY_MAX(cluster.least, 1u);
                cluster.panel_bytes += (uint64_t)HY__PANEL_ROWS * matrix->row_bytes;
                cluster.n_anchors++;
                *w->list++ = i;
            }
        }
        if (cluster.n_anchors == 0) {
            continue;
        }
        cluster.epilogue = w->list;
        for (uint32_t i = behind; i < end; i++) {
            if (w->cluster[i] == c) {
                cluster.n_epilogue++;
                *w->list++ = i;
            }
        }
        *w->clusters++ = cluster;
        out->n_clusters++;
    }
}

/* Into how many equal ranges of channels a phase of heads can be cut: as many as the anchor has
 * heads, 1 if some operation does not divide like that. */
static uint32_t count_heads(const work *w, const hy__phase *p)
{
    const hy__node *anchor = &w->g->nodes[p->first + p->n_prologue];
    const uint32_t n = p->kind == HY__PHASE_ATTENTION
                           ? anchor->params.n_head_kv
                           : w->g->values[anchor->out].n / anchor->params.group;
    for (uint32_t i = p->first; i < p->first + p->n_prologue + p->n_anchor + p->n_epilogue; i++) {
        const hy__node *node = &w->g->nodes[i];
        const uint32_t channels = w->g->values[node->out].n;
        const bool whole = node->op == HY__OP_LAYER_NORM || hy__cpu_crosses_columns(node->op);
        if (channels % n != 0 || whole ||
            (i != p->first + p->n_prologue && node->params.group != 0 &&
             channels / n % node->params.group != 0)) {
            return 1;
        }
    }
    return n;
}

static void compile(work *w, const hy__cpu_model *m, hy__cpu_phase *out)
{
    switch (out->p->kind) {
    case HY__PHASE_MATMUL:
        cut_prologue(w, out);
        collect_inputs(w, m, out);
        collect_clusters(w, m, out);
        break;
    case HY__PHASE_WKV7:
    case HY__PHASE_ATTENTION:
        out->n_heads = count_heads(w, out->p);
        break;
    default:
        break;
    }
}

hy_status hy__cpu_program_make(hy__cpu_model *m, hy_error *err)
{
    const hy__graph *g = m->g;
    hy__cpu_program *program = &m->program;
    const size_t n = g->n_nodes;
    const size_t n_phases = m->f->n_phases;
    /* Most there can be of each: as many parts as nodes, as many inputs and clusters as anchors. */
    const size_t phases = n_phases * sizeof(hy__cpu_phase);
    const size_t clusters = n * sizeof(hy__cpu_cluster);
    const size_t inputs = n * sizeof(hy__cpu_input);
    const size_t words = (2 * n + 2 * n_phases) * sizeof(uint32_t);
    uint32_t *scratch = hy__alloc(&m->env, g->n_values + n, sizeof *scratch, err);
    char *memory = scratch ? hy__calloc(&m->env, 1, phases + clusters + inputs + words, err) : NULL;
    if (!memory) {
        hy__free(&m->env, scratch);
        return HY_E_NOMEM;
    }
    memset(scratch, 0xff, g->n_values * sizeof *scratch);
    work w = {.g = g,
              .made_by = scratch,
              .cluster = scratch + g->n_values,
              .phases = (void *)memory,
              .clusters = (void *)(memory + phases),
              .input = (void *)(memory + phases + clusters),
              .list = (void *)(memory + phases + clusters + inputs)};
    w.cut = w.list + n;
    for (uint32_t i = 0; i < n; i++) {
        w.made_by[g->nodes[i].out] = i;
    }
    for (uint32_t i = 0; i < n_phases; i++) {
        w.phases[i].p = &m->f->phases[i];
        compile(&w, m, &w.phases[i]);
        program->n_stages += w.phases[i].n_parts + 2;
    }
    hy__free(&m->env, scratch);
    program->memory = memory;
    program->phases = w.phases;
    program->n_phases = (uint32_t)n_phases;
    return HY_OK;
}

void hy__cpu_program_finish(hy__cpu_model *m)
{
    hy__free(&m->env, m->program.memory);
    m->program = (hy__cpu_program){0};
}
