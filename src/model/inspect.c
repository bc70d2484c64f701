/* inspect.c: the unstable interface: operations and plans as text and numbers. */
#include "model.h"
#include "render/render.h"

const char *hy_op_at(size_t i)
{
    return i < HY__N_OPS ? hy__ops[i].name : NULL;
}

const char *hy_op_summary(size_t i)
{
    return i < HY__N_OPS ? hy__ops[i].summary : NULL;
}

bool hy_op_reads_matrix(size_t i)
{
    return i == HY__OP_MATMUL || i == HY__OP_EMBED;
}

/* The phase of node i. */
static uint32_t phase_of(const hy__fusion *f, uint32_t i)
{
    uint32_t phase = 0;
    while (phase + 1 < f->n_phases && f->phases[phase + 1].first <= i) {
        phase++;
    }
    return phase;
}

void hy_model_plan(const hy_model *m, hy_plan_info *info)
{
    const hy__plan *p = &m->plan;
    const hy_plan_info full = {
        .size = info->size,
        .n_ops = m->graph.n_nodes,
        .n_layer = m->graph.n_layer,
        .weight_bytes = p->weight_bytes,
        .state_bytes = m->info.state_bytes,
        .kv_bytes_per_token = m->info.kv_bytes_per_token,
        .scratch_bytes_per_token = p->per_token * sizeof(float),
        .scratch_bytes_per_output = (p->per_output + m->info.n_vocab) * sizeof(float),
        .n_phases = m->fusion.n_phases,
        .phases_per_layer = hy__phases_per_layer(&m->fusion, m->graph.n_layer),
        .phases_outside = hy__phases_outside(&m->fusion),
    };
    memcpy(info, &full, HY_MIN(info->size, sizeof full));
}

void hy_model_plan_phase(const hy_model *m, uint32_t i, hy_plan_phase *phase)
{
    const hy__phase *p = &m->fusion.phases[i];
    const hy_plan_phase full = {
        .size = phase->size,
        .kind = hy__phase_kinds[p->kind],
        .layer = p->layer == HY__NO_LAYER ? -1 : (int32_t)p->layer,
        .per_output = p->cols == HY__PER_OUT,
        .first_op = p->first,
        .n_prologue = p->n_prologue,
        .n_anchor = p->n_anchor,
        .n_epilogue = p->n_epilogue,
    };
    memcpy(phase, &full, HY_MIN(phase->size, sizeof full));
}

void hy_model_plan_op(const hy_model *m, uint32_t i, hy_plan_op *op)
{
    const hy__graph *g = &m->graph;
    const hy__node *node = &g->nodes[i];
    const hy__value *out = &g->values[node->out];
    hy_plan_op full = {
        .size = op->size,
        .op = hy__ops[node->op].name,
        .result = out->name,
        .layer = node->layer == HY__NO_LAYER ? -1 : (int32_t)node->layer,
        .n = out->n,
        .per_output = out->cols == HY__PER_OUT,
        .n_inputs = hy__ops[node->op].n_inputs,
        .weight_bytes = hy__node_weight_bytes(g, node),
        .state_bytes = hy__node_state_bytes(g, node),
    };
    full.phase = phase_of(&m->fusion, i);
    const hy__phase *p = &m->fusion.phases[full.phase];
    full.role = i < p->first + p->n_prologue                 ? HY_PROLOGUE
                : i < p->first + p->n_prologue + p->n_anchor ? HY_ANCHOR
                                                             : HY_EPILOGUE;
    const hy__reason *reason = &m->fusion.reasons[i];
    if (reason->rule < HY__N_RULES) {
        full.rule = hy__rules[reason->rule].name;
        full.rule_text = hy__rules[reason->rule].text;
        full.refusal = reason->joined ? NULL : reason->why;
    }
    for (uint32_t k = 0; k < full.n_inputs; k++) {
        const hy__value *v = &g->values[node->in[k]];
        full.inputs[k] = v->name;
        if (v->kind == HY__WEIGHT && hy_op_reads_matrix(node->op)) {
            full.weight_type = hy_type_find((uint32_t)v->tensor->type)->name;
        }
    }
    memcpy(op, &full, HY_MIN(op->size, sizeof full));
}

/* ---- what a phase computes */

bool hy_model_plan_value(const hy_model *m, uint32_t i, hy_plan_list list, uint32_t k,
                         hy_plan_value *value)
{
    const hy__phase_exprs *x = &m->exprs.phases[i];
    const hy__ids *const lists[] = {&x->inputs, &x->outputs, &x->weights, &x->states};
    if (k >= lists[list]->n) {
        return false;
    }
    const hy__value *v = &m->graph.values[lists[list]->ids[k]];
    const hy_plan_value full = {
        .size = value->size,
        .name = v->name,
        .type = v->kind == HY__WEIGHT ? hy_type_find((uint32_t)v->tensor->type)->name : NULL,
        .n = v->n,
        .m = v->m,
        .first = v->first,
    };
    memcpy(value, &full, HY_MIN(value->size, sizeof full));
    return true;
}

static const hy__tree *tree_of(const hy_model *m, uint32_t i, hy_plan_role role)
{
    const hy__phase_exprs *x = &m->exprs.phases[i];
    return role == HY_PROLOGUE ? &x->prologue : &x->epilogue;
}

hy_status hy_model_plan_tree(const hy_model *m, uint32_t i, hy_plan_role role, uint32_t k,
                             hy_plan_tree *tree, hy_error *err)
{
    const hy__tree *t = tree_of(m, i, role);
    hy__buf text = {0};
    uint32_t at = 0;
    for (; at < t->n; at++) {
        if (hy__expr_written(t, at) && k-- == 0) {
            break;
        }
    }
    if (at == t->n) {
        return hy__fail(err, HY_E_NOT_FOUND, "the phase has no such tree");
    }
    const hy_status status = hy__expr_text(&m->graph, &m->fusion.phases[i], t, at, &text, err);
    if (status != HY_OK) {
        hy__buf_finish(&m->graph.env, &text);
        return status;
    }
    const hy_plan_tree full = {
        .size = tree->size,
        .result = m->graph.values[t->exprs[at].value].name,
        .leaves = t->exprs[at].root,
        .text = text.data,
    };
    memcpy(tree, &full, HY_MIN(tree->size, sizeof full));
    return HY_OK;
}

hy_status hy_model_plan_kernel(const hy_model *m, uint32_t i, hy_plan_role role,
                               const char *dialect, char **text, hy_error *err)
{
    hy__buf buf = {0};
    *text = NULL;
    if (strcmp(dialect, "wgsl") != 0) {
        return hy__fail(err, HY_E_NOT_FOUND, "kernels are not rendered in \"%.60s\", only in wgsl",
                        dialect);
    }
    const hy_status status = hy__render(&m->graph, &m->fusion.phases[i], &m->exprs.phases[i],
                                        role == HY_EPILOGUE, &buf, err);
    if (status != HY_OK) {
        hy__buf_finish(&m->graph.env, &buf);
        return status;
    }
    *text = buf.data;
    return HY_OK;
}

bool hy_model_draws_ahead(const hy_model *m)
{
    const hy__backend *const b = m->backend;
    const bool asked = b->gpu && b->gpu->draws;
    return b->ahead_begin && (!asked || b->gpu->draws(m->backend_model));
}

/* ---- GPUs */

bool hy_model_gpu_info(const hy_model *m, hy_webgpu_info *info)
{
    if (m->backend->gpu) {
        m->backend->gpu->info(m->backend_model, info);
    }
    return m->backend->gpu != NULL;
}

bool hy_model_gpu_counts(const hy_model *m, hy_gpu_counts *counts)
{
    if (m->backend->gpu) {
        m->backend->gpu->counts(m->backend_model, counts);
    }
    return m->backend->gpu != NULL;
}

bool hy_model_gpu_kernel(const hy_model *m, uint32_t i, bool many, uint32_t k, char *text,
                         size_t cap)
{
    return m->backend->gpu && m->backend->gpu->kernel(m->backend_model, i, many, k, text, cap);
}

hy_status hy_model_gpu_read_speed(hy_model *m, double *bytes_per_second, hy_error *err)
{
    if (!m->backend->gpu) {
        return hy__fail(err, HY_E_UNSUPPORTED, "backend %s runs on no GPU", m->backend->name);
    }
    return m->backend->gpu->measure_read(m->backend_model, bytes_per_second, err);
}

hy_status hy_device_native(hy_model *m, size_t i, hy_native_handle *handle, hy_error *err)
{
    if (!m->backend->gpu) {
        return hy__fail(err, HY_E_UNSUPPORTED, "backend %s runs on no GPU", m->backend->name);
    }
    return m->backend->gpu->native(m->backend_model, i, handle, err);
}

void hy_model_plan_free(const hy_model *m, char *text)
{
    hy__free(&m->graph.env, text);
}
