/* plan.c: lifetimes to places, by first fit.  One thread makes a plan; it is then immutable. */
#include "plan.h"

#include "halyard/types.h"

/* A hole in an arena. The list is sorted by begin, and neighbours are never adjacent. */
typedef struct hole {
    uint64_t begin, end;
} hole;

typedef struct arena {
    hole *holes; /* [n] with room for one more than there are results */
    uint32_t n;
    uint64_t size; /* largest end so far */
} arena;

static uint64_t take(arena *a, uint64_t want)
{
    for (uint32_t i = 0; i < a->n; i++) {
        hole *h = &a->holes[i];
        if (h->end - h->begin >= want) {
            const uint64_t at = h->begin;
            h->begin += want;
            if (h->begin == h->end) {
                memmove(h, h + 1, (a->n - i - 1) * sizeof *h);
                a->n--;
            }
            a->size = HY_MAX(a->size, at + want);
            return at;
        }
    }
    return 0; /* the last hole has no end: not reached */
}

static void give(arena *a, uint64_t begin, uint64_t size)
{
    uint32_t i = 0;
    while (i < a->n && a->holes[i].begin < begin) {
        i++;
    }
    memmove(&a->holes[i + 1], &a->holes[i], (a->n - i) * sizeof *a->holes);
    a->holes[i] = (hole){begin, begin + size};
    a->n++;
    if (i + 1 < a->n && a->holes[i].end == a->holes[i + 1].begin) {
        a->holes[i].end = a->holes[i + 1].end;
        memmove(&a->holes[i + 1], &a->holes[i + 2], (a->n - i - 2) * sizeof *a->holes);
        a->n--;
    }
    if (i > 0 && a->holes[i - 1].end == a->holes[i].begin) {
        a->holes[i - 1].end = a->holes[i].end;
        memmove(&a->holes[i], &a->holes[i + 1], (a->n - i - 1) * sizeof *a->holes);
        a->n--;
    }
}

static bool in_arena(const hy__graph *g, hy__id id)
{
    return g->values[id].kind == HY__RESULT && id != g->logits;
}

/* Gives back what node i is the last to read; last[id] is the number of the last node that reads a
 * value. */
static void give_inputs(const hy__plan *p, const hy__graph *g, const uint32_t *last, uint32_t i,
                        arena arenas[2])
{
    const hy__node *node = &g->nodes[i];
    for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
        const hy__id id = node->in[k];
        bool again = false; /* the same value may be two inputs of one node */
        for (uint32_t j = 0; j < k; j++) {
            again |= node->in[j] == id;
        }
        if (in_arena(g, id) && last[id] == i && !again) {
            give(&arenas[g->values[id].cols == HY__PER_OUT], p->place[id], g->values[id].n);
        }
    }
}

/* Places the results of nodes first to end, which may run side by side. */
static void place_results(hy__plan *p, const hy__graph *g, const uint32_t *last, uint32_t first,
                          uint32_t end, arena arenas[2])
{
    for (uint32_t i = first; i < end; i++) {
        const hy__id id = g->nodes[i].out;
        const hy__value *out = &g->values[id];
        if (in_arena(g, id)) {
            p->place[id] = take(&arenas[out->cols == HY__PER_OUT], out->n);
        }
    }
    for (uint32_t i = first; i < end; i++) {
        give_inputs(p, g, last, i, arenas);
    }
}

static hy_status place_all(hy__plan *p, const hy__graph *g, const hy__fusion *f, hy_error *err)
{
    uint32_t *last = hy__calloc(&g->env, g->n_values, sizeof *last, err);
    hole *holes =
        last ? hy__alloc(&g->env, 2 * ((size_t)g->n_values + 2), sizeof *holes, err) : NULL;
    if (holes) {
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            for (uint32_t k = 0; k < hy__ops[g->nodes[i].op].n_inputs; k++) {
                last[g->nodes[i].in[k]] = i;
            }
        }
        arena arenas[2] = {{holes, 1, 0}, {holes + g->n_values + 2, 1, 0}};
        arenas[0].holes[0] = arenas[1].holes[0] = (hole){0, UINT64_MAX};
        for (uint32_t i = 0; f && i < f->n_phases; i++) {
            const hy__phase *phase = &f->phases[i];
            place_results(p, g, last, phase->first,
                          phase->first + phase->n_prologue + phase->n_anchor + phase->n_epilogue,
                          arenas);
        }
        for (uint32_t i = 0; !f && i < g->n_nodes; i++) {
            place_results(p, g, last, i, i + 1, arenas);
        }
        p->per_token = arenas[0].size;
        p->per_output = arenas[1].size;
    }
    hy__free(&g->env, holes);
    hy__free(&g->env, last);
    return holes ? HY_OK : HY_E_NOMEM;
}

static uint64_t weight_bytes_of(const hy__value *v, uint64_t elems)
{
    const hy_type_info *t = hy_type_find((uint32_t)v->tensor->type);
    return elems / t->block_elems * t->block_bytes;
}

uint64_t hy__node_weight_bytes(const hy__graph *g, const hy__node *node)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
        const hy__value *v = &g->values[node->in[k]];
        if (v->kind == HY__WEIGHT) {
            sum += weight_bytes_of(v, node->op == HY__OP_EMBED ? v->n : (uint64_t)v->n * v->m);
        }
    }
    return sum;
}

uint64_t hy__node_state_bytes(const hy__graph *g, const hy__node *node)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
        const hy__value *v = &g->values[node->in[k]];
        if (v->kind == HY__STATE && !v->per_position) {
            sum += 2 * sizeof(float) * (uint64_t)v->n;
        }
    }
    return sum;
}

hy_status hy__plan_make(hy__plan *p, const hy__graph *g, const hy__fusion *f, hy_error *err)
{
    memset(p, 0, sizeof *p);
    p->env = g->env;
    p->place = hy__calloc(&p->env, g->n_values, sizeof *p->place, err);
    p->state_place =
        p->place ? hy__calloc(&p->env, g->n_states, sizeof *p->state_place, err) : NULL;
    hy_status status = p->state_place ? place_all(p, g, f, err) : HY_E_NOMEM;
    if (status != HY_OK) {
        hy__plan_finish(p);
        return status;
    }
    for (uint32_t i = 0; i < g->n_states; i++) {
        const hy__value *v = &g->values[g->states[i]];
        uint64_t *sum = v->per_position ? &p->per_position : &p->recurrent;
        p->state_place[i] = *sum;
        *sum += v->n;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        p->weight_bytes += hy__node_weight_bytes(g, &g->nodes[i]);
    }
    return HY_OK;
}

void hy__plan_finish(hy__plan *p)
{
    hy__free(&p->env, p->place);
    hy__free(&p->env, p->state_place);
    memset(p, 0, sizeof *p);
}
