/* profile.c: see profile.h.  One thread. */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

#include "halyard/types.h"
#include "scores.h"

/* ---- rows */

/* "key" of "blk.3.key". */
static const char *without_layer(const char *name)
{
    const char *dot = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    return dot ? dot + 1 : name;
}

static hy_plan_op op_at(const hy_model *m, uint32_t i)
{
    hy_plan_op op = {.size = sizeof op};
    hy_model_plan_op(m, i, &op);
    return op;
}

/* Length of what the names of all anchors begin with, up to and with a '_'. */
static size_t shared_start(const hy_model *m, uint32_t first, uint32_t n)
{
    const char *name = without_layer(op_at(m, first).result);
    size_t len = 0;
    for (size_t k = 0; n > 1 && name[k]; k++) {
        for (uint32_t i = 1; i < n; i++) {
            if (strncmp(without_layer(op_at(m, first + i).result), name, k + 1) != 0) {
                return len;
            }
        }
        len = name[k] == '_' ? k + 1 : len;
    }
    return len;
}

/* "time_mix_{key,value}": what the anchors compute. */
static void name_phase(const hy_model *m, const hy_plan_phase *phase, char *buf, size_t cap)
{
    const uint32_t first = phase->first_op + phase->n_prologue;
    const uint32_t n = phase->n_anchor;
    const size_t start = shared_start(m, first, n);
    size_t used = 0;
    for (uint32_t i = 0; i < n && used < cap; i++) {
        const char *name = without_layer(op_at(m, first + i).result);
        used +=
            (size_t)snprintf(buf + used, cap - used, "%.*s%s%s%s", i == 0 ? (int)start : 0, name,
                             i > 0   ? ","
                             : n > 1 ? "{"
                                     : "",
                             name + start, n > 1 && i + 1 == n ? "}" : "");
    }
}

static profile_work work_of(const hy_model *m, const hy_plan_phase *phase)
{
    profile_work w = {.for_last = phase->per_output};
    for (uint32_t i = 0; i < phase->n_prologue + phase->n_anchor + phase->n_epilogue; i++) {
        const hy_plan_op op = op_at(m, phase->first_op + i);
        const hy_type_info *type = op.weight_type ? hy_type_by_name(op.weight_type) : NULL;
        const bool looked_up = strcmp(op.op, "embed") == 0; /* a row of the matrix for each token */
        *(looked_up ? &w.per_token : &w.once) += (double)op.weight_bytes;
        w.once += (double)op.state_bytes;
        if (type && !looked_up) {
            w.ops += 2 * (double)op.weight_bytes / type->block_bytes * type->block_elems;
        }
    }
    return w;
}

static profile_row *row_for(profile *p, const char *kind, const char *name)
{
    for (uint32_t i = 0; i < p->n_rows; i++) {
        if (strcmp(p->rows[i].kind, kind) == 0 && strcmp(p->rows[i].name, name) == 0) {
            return &p->rows[i];
        }
    }
    profile_row *row = &p->rows[p->n_rows];
    row->kind = kind;
    snprintf(row->name, sizeof row->name, "%s", name);
    row->ns = calloc(p->most_runs, sizeof *row->ns);
    p->n_rows += row->ns != NULL;
    return row->ns ? row : NULL;
}

/* Every layer that attends has an equal part of a position's cache. */
static void share_caches(profile *p, const hy_session *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_phases; i++) {
        n += strcmp(p->rows[p->row_of[i]].kind, "attention") == 0;
    }
    for (uint32_t i = 0; i < p->n_phases; i++) {
        if (strcmp(p->rows[p->row_of[i]].kind, "attention") == 0) {
            p->work[i].per_position = (double)hy_session_kv_bytes_per_token(s) / n;
        }
    }
}

bool profile_init(profile *p, const hy_session *s, size_t runs, bool keep_events)
{
    const hy_model *m = hy_session_model(s);
    hy_plan_info info = {.size = sizeof info};
    hy_model_plan(m, &info);
    memset(p, 0, sizeof *p);
    p->model = m;
    p->session = s;
    p->n_phases = info.n_phases;
    p->most_runs = runs;
    p->keep = keep_events;
    p->work = calloc(info.n_phases, sizeof *p->work);
    p->row_of = calloc(info.n_phases, sizeof *p->row_of);
    p->rows = calloc(info.n_phases, sizeof *p->rows);
    p->rest = calloc(runs, sizeof *p->rest);
    if (!p->work || !p->row_of || !p->rows || !p->rest) {
        return false;
    }
    for (uint32_t i = 0; i < info.n_phases; i++) {
        hy_plan_phase phase = {.size = sizeof phase};
        char name[sizeof p->rows->name] = "";
        hy_model_plan_phase(m, i, &phase);
        name_phase(m, &phase, name, sizeof name);
        profile_row *row = row_for(p, phase.kind, name);
        if (!row) {
            return false;
        }
        row->n_phases++;
        p->row_of[i] = (uint32_t)(row - p->rows);
        p->work[i] = work_of(m, &phase);
    }
    share_caches(p, s);
    return true;
}

void profile_free(profile *p)
{
    for (uint32_t i = 0; i < p->n_rows; i++) {
        free(p->rows[i].ns);
    }
    free(p->work);
    free(p->row_of);
    free(p->rows);
    free(p->rest);
    free(p->events);
    memset(p, 0, sizeof *p);
}

/* ---- runs */

void profile_begin(profile *p)
{
    for (uint32_t i = 0; i < p->n_phases; i++) {
        p->work[i].spared = hy_session_spared_bytes(p->session, i);
    }
    for (uint32_t i = 0; i < p->n_rows; i++) {
        p->rows[i].ns[p->runs] = 0;
    }
    p->n_events = 0;
    p->pos = 0;
    p->last_phase = 0;
    p->last_tokens = 0;
}

static void keep_event(profile *p, const profile_event *event)
{
    if (p->n_events == p->cap) {
        const size_t cap = p->cap ? 2 * p->cap : 1024;
        profile_event *grown =
            cap < SIZE_MAX / sizeof *grown ? realloc(p->events, cap * sizeof *grown) : NULL;
        if (!grown) {
            p->lost = true;
            return;
        }
        p->events = grown;
        p->cap = cap;
    }
    p->events[p->n_events++] = *event;
}

void profile_phase(void *user, uint32_t phase, uint32_t n_tokens, uint64_t begin_ns,
                   uint64_t end_ns)
{
    profile *p = user;
    if (phase <= p->last_phase) { /* phases come in their order: this is another step */
        p->pos += p->last_tokens;
    }
    p->last_phase = phase;
    p->last_tokens = n_tokens;
    profile_work *w = &p->work[phase];
    profile_row *row = &p->rows[p->row_of[phase]];
    row->ns[p->runs] += (double)(end_ns - begin_ns);
    row->bytes +=
        w->once + w->per_token * n_tokens + w->per_position * ((double)p->pos + (double)n_tokens);
    row->ops += w->ops * (w->for_last ? 1 : n_tokens);
    const uint64_t spared = hy_session_spared_bytes(p->session, phase);
    row->bytes -= (double)(spared - w->spared);
    row->spares |= spared > w->spared;
    w->spared = spared;
    if (p->keep) {
        const profile_event event = {phase, n_tokens, begin_ns, end_ns};
        keep_event(p, &event);
    }
}

void profile_end(profile *p, uint64_t tokens, double ns)
{
    double phases = 0;
    for (uint32_t i = 0; i < p->n_rows; i++) {
        p->rows[i].ns[p->runs] /= (double)tokens;
        phases += p->rows[i].ns[p->runs];
    }
    p->rest[p->runs] = ns / (double)tokens - phases;
    p->tokens += tokens;
    p->runs++;
}

double profile_ns(const profile *p, const profile_row *row)
{
    return scores_median(row->ns, p->runs);
}

double profile_rest_ns(const profile *p)
{
    return scores_median(p->rest, p->runs);
}

double profile_bytes(const profile *p, const profile_row *row)
{
    return p->tokens ? row->bytes / (double)p->tokens : 0;
}

double profile_ops(const profile *p, const profile_row *row)
{
    return p->tokens ? row->ops / (double)p->tokens : 0;
}

/* ---- trace */

/* Names of the plan are letters, digits and signs that need no escape in JSON. */
void profile_trace(const profile *p, FILE *out, int thread, const char *title, bool *first)
{
    const uint64_t start = p->n_events ? p->events[0].begin_ns : 0;
    fprintf(out,
            "%s{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%d,"
            "\"args\":{\"name\":\"%s\"}}",
            *first ? "" : ",\n", thread, title);
    *first = false;
    for (size_t i = 0; i < p->n_events; i++) {
        const profile_event *e = &p->events[i];
        hy_plan_phase phase = {.size = sizeof phase};
        hy_model_plan_phase(p->model, e->phase, &phase);
        fprintf(out,
                ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,"
                "\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"phase\":%u,\"layer\":%d,\"tokens\":%u}}",
                p->rows[p->row_of[e->phase]].name, phase.kind, thread,
                (double)(e->begin_ns - start) / 1e3, (double)(e->end_ns - e->begin_ns) / 1e3,
                (unsigned)e->phase, (int)phase.layer, (unsigned)e->n_tokens);
    }
}
