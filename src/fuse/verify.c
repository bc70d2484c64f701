/* verify.c: checks a fusion against its graph without trusting the compiler that made it. */
#include "rules.h"

typedef struct place {
    uint32_t phase; /* plus one; 0: nowhere yet */
    uint32_t role;  /* prologue 0, anchor 1, epilogue 2 */
} place;

static hy_status bad(const hy__graph *g, uint32_t phase, uint32_t node, const char *what,
                     hy_error *err)
{
    return hy__fail(err, HY_E_INTERNAL, "phase %u: %s (%s) %s", phase,
                    hy__ops[g->nodes[node].op].name, g->values[g->nodes[node].out].name, what);
}

/* A node may use what is computed in earlier phases, and in its own what comes before it. */
static hy_status check_inputs(const hy__graph *g, const uint32_t *made_by, const place *places,
                              uint32_t i, hy_error *err)
{
    const hy__node *node = &g->nodes[i];
    const place here = places[i];
    bool follows = here.role != 2;
    for (uint32_t k = 0; k < hy__ops[node->op].n_inputs; k++) {
        if (g->values[node->in[k]].kind != HY__RESULT) {
            continue;
        }
        const place there = places[made_by[node->in[k]]];
        if (there.phase == 0) {
            return bad(g, here.phase - 1, i, "runs before one of its inputs", err);
        }
        if (there.role == 0 && there.phase != here.phase) {
            return bad(g, here.phase - 1, i, "needs the prologue of another phase", err);
        }
        if (there.phase == here.phase && there.role == here.role && here.role == 1) {
            return bad(g, here.phase - 1, i, "is an anchor that needs another one of its phase",
                       err);
        }
        follows = follows || (there.phase == here.phase && there.role > 0);
    }
    return follows ? HY_OK
                   : bad(g, here.phase - 1, i, "is in an epilogue that computes none of its inputs",
                         err);
}

static hy_status check_phase(const hy__fusion *f, const hy__graph *g, const uint32_t *made_by,
                             place *places, uint32_t n, hy_error *err)
{
    const hy__phase *p = &f->phases[n];
    const uint32_t counts[] = {p->n_prologue, p->n_anchor, p->n_epilogue};
    uint32_t at = p->first;
    if (p->n_anchor == 0) {
        return hy__fail(err, HY_E_INTERNAL, "phase %u: has no anchor", n);
    }
    for (uint32_t role = 0; role < 3; role++) {
        for (uint32_t k = 0; k < counts[role]; k++, at++) {
            const uint32_t i = f->order[at];
            hy__phase_kind kind = HY__PHASE_MAP;
            if (i >= g->n_nodes || places[i].phase != 0) {
                return hy__fail(err, HY_E_INTERNAL,
                                "phase %u: node %u is not there or is there twice", n, i);
            }
            const bool anchor = hy__anchor_kind(g->nodes[i].op, &kind);
            if (role == 1 ? kind != p->kind : anchor) {
                return bad(g, n, i, "is no operation for its place", err);
            }
            if (g->values[g->nodes[i].out].cols != p->cols && role != 0) {
                return bad(g, n, i, "has other columns than its phase", err);
            }
            places[i] = (place){n + 1, role};
            HY_TRY(check_inputs(g, made_by, places, i, err));
        }
    }
    return HY_OK;
}

hy_status hy__fusion_verify(const hy__fusion *f, const hy__graph *g, hy_error *err)
{
    uint32_t *made_by = hy__calloc(&g->env, g->n_values, sizeof *made_by, err);
    place *places = made_by ? hy__calloc(&g->env, g->n_nodes, sizeof *places, err) : NULL;
    hy_status status = places ? HY_OK : HY_E_NOMEM;
    uint32_t covered = 0;
    for (uint32_t i = 0; i < g->n_nodes && status == HY_OK; i++) {
        made_by[g->nodes[i].out] = i;
    }
    for (uint32_t n = 0; n < f->n_phases && status == HY_OK; n++) {
        const hy__phase *p = &f->phases[n];
        const uint64_t nodes = (uint64_t)p->n_prologue + p->n_anchor + p->n_epilogue;
        if (p->first != covered || nodes > g->n_nodes - covered) {
            status = hy__fail(err, HY_E_INTERNAL, "phase %u: begins at node %u instead of %u", n,
                              p->first, covered);
        } else {
            covered += (uint32_t)nodes;
            status = check_phase(f, g, made_by, places, n, err);
        }
    }
    if (status == HY_OK && covered != g->n_nodes) {
        status = hy__fail(err, HY_E_INTERNAL, "%u of %u nodes are in no phase",
                          g->n_nodes - covered, g->n_nodes);
    }
    hy__free(&g->env, places);
    hy__free(&g->env, made_by);
    return status;
}
