/* cmd_plan.c: `halyard plan`: what a model does for a token, and what that reads and keeps.  One
 * thread. */
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "halyard/unstable.h"

/* Weight bytes by tensor type, of one token. */
typedef struct type_bytes {
    const char *type; /* NULL: vectors and other operations without a matrix */
    uint64_t bytes;
} type_bytes;

enum { MAX_ROWS = 64 };

static size_t count_types(const hy_model *m, uint32_t n_ops, type_bytes *rows)
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_ops; i++) {
        hy_plan_op op = {.size = sizeof op};
        hy_model_plan_op(m, i, &op);
        size_t k = 0;
        while (k < n &&
               !(rows[k].type == op.weight_type ||
                 (rows[k].type && op.weight_type && strcmp(rows[k].type, op.weight_type) == 0))) {
            k++;
        }
        if (op.weight_bytes == 0 || k == MAX_ROWS) {
            continue;
        }
        if (k == n) {
            rows[n].type = op.weight_type;
            rows[n++].bytes = 0;
        }
        rows[k].bytes += op.weight_bytes;
    }
    return n;
}

/* The layer that is shown for all: the second, because a first layer may differ; or the first of a
 * model with one. */
static int32_t shown_layer(const hy_plan_info *info)
{
    return info->n_layer > 1 ? 1 : 0;
}

/* ---- text */

static const char *const roles[] = {"before", "", "behind"};

static void print_op(const hy_plan_op *op, bool why)
{
    printf("    %-6s  %-12s %-26s %8u  %-7s %10llu %9llu  ", roles[op->role], op->op, op->result,
           op->n, op->weight_type ? op->weight_type : "", (unsigned long long)op->weight_bytes,
           (unsigned long long)op->state_bytes);
    for (uint32_t k = 0; k < op->n_inputs && k < 8; k++) {
        printf("%s%s", k ? ", " : "", op->inputs[k]);
    }
    printf("\n");
    if (why && op->rule) {
        printf("            %s: %s%s\n", op->rule, op->refusal ? "refused, " : "",
               op->refusal ? op->refusal : op->rule_text);
    }
}

/* The phases of a layer, or of what is outside of layers (-1). */
static void print_phases(const hy_model *m, const hy_plan_info *info, int32_t layer, bool why)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < info->n_phases; i++) {
        hy_plan_phase phase = {.size = sizeof phase};
        hy_model_plan_phase(m, i, &phase);
        if (phase.layer != layer) {
            continue;
        }
        printf("  phase %u: %s%s\n", ++number, phase.kind,
               phase.per_output ? " (only where logits are wanted)" : "");
        const uint32_t n_ops = phase.n_prologue + phase.n_anchor + phase.n_epilogue;
        for (uint32_t k = 0; k < n_ops; k++) {
            hy_plan_op op = {.size = sizeof op};
            hy_model_plan_op(m, phase.first_op + k, &op);
            print_op(&op, why);
        }
    }
}

static void print_text(const engine *e, const char *path, const hy_plan_info *info)
{
    const hy_model *m = e->model;
    char size[32];
    const bool why = OPT(e->o, WHY)->on;
    printf("%s: %s, %u layers, backend %s\n", path, hy_model_arch(m), info->n_layer,
           hy_model_backend(m));
    printf("%u operations in %u phases: %u in a layer, %u outside\n", info->n_ops, info->n_phases,
           info->phases_per_layer, info->phases_outside);
    printf("    %-6s  %-12s %-26s %8s  %-7s %10s %9s  %s\n", "", "operation", "result", "channels",
           "type", "weights B", "state B", "inputs");
    printf("\noutside of the layers\n");
    print_phases(m, info, -1, why);
    if (info->n_layer > 0) {
        printf("\nlayer %d of 0 to %u\n", (int)shown_layer(info), info->n_layer - 1);
        print_phases(m, info, shown_layer(info), why);
    }
    type_bytes rows[MAX_ROWS];
    const size_t n = count_types(m, info->n_ops, rows);
    printf("\nweights read for one token, all layers\n");
    for (size_t i = 0; i < n; i++) {
        printf("  %-8s %12llu bytes  %10s\n", rows[i].type ? rows[i].type : "vectors",
               (unsigned long long)rows[i].bytes, bytes_text(rows[i].bytes, size, sizeof size));
    }
    printf("  %-8s %12llu bytes  %10s\n", "all", (unsigned long long)info->weight_bytes,
           bytes_text(info->weight_bytes, size, sizeof size));
    printf("\nmemory of a session\n");
    printf("  state                  %12llu bytes\n", (unsigned long long)info->state_bytes);
    printf("  cache per position     %12llu bytes\n", (unsigned long long)info->kv_bytes_per_token);
    printf("  scratch per token      %12llu bytes, times the tokens of a step\n",
           (unsigned long long)info->scratch_bytes_per_token);
    printf("  scratch per output     %12llu bytes, times the positions whose logits are wanted\n",
           (unsigned long long)info->scratch_bytes_per_output);
}

/* ---- JSON */

static json_t *op_json(const hy_plan_op *op)
{
    json_t *inputs = json_array();
    for (uint32_t k = 0; k < op->n_inputs && k < 8; k++) {
        json_array_append_new(inputs, json_bytes(op->inputs[k], strlen(op->inputs[k])));
    }
    static const char *const names[] = {"prologue", "anchor", "epilogue"};
    return json_pack("{s:s, s:o, s:i, s:I, s:b, s:o, s:s?, s:I, s:I, s:I, s:s, s:s?, s:s?}", "op",
                     op->op, "result", json_bytes(op->result, strlen(op->result)), "layer",
                     (int)op->layer, "channels", (json_int_t)op->n, "per_output",
                     op->per_output ? 1 : 0, "inputs", inputs, "weight_type", op->weight_type,
                     "weight_bytes", (json_int_t)op->weight_bytes, "state_bytes",
                     (json_int_t)op->state_bytes, "phase", (json_int_t)op->phase, "role",
                     names[op->role], "rule", op->rule, "refusal", op->refusal);
}

static int print_json(const engine *e, const char *path, const hy_plan_info *info)
{
    const hy_model *m = e->model;
    json_t *ops = json_array();
    uint32_t per_layer = 0;
    for (uint32_t i = 0; i < info->n_ops; i++) {
        hy_plan_op op = {.size = sizeof op};
        hy_model_plan_op(m, i, &op);
        per_layer += info->n_layer > 0 && op.layer == shown_layer(info);
        json_array_append_new(ops, op_json(&op));
    }
    type_bytes rows[MAX_ROWS];
    const size_t n = count_types(m, info->n_ops, rows);
    json_t *types = json_object();
    for (size_t i = 0; i < n; i++) {
        json_object_set_new(types, rows[i].type ? rows[i].type : "vectors",
                            json_integer((json_int_t)rows[i].bytes));
    }
    json_t *root = json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:o}", "file",
        json_bytes(path, strlen(path)), "arch", hy_model_arch(m), "backend", hy_model_backend(m),
        "layers", (json_int_t)info->n_layer, "n_ops", (json_int_t)info->n_ops, "ops_per_layer",
        (json_int_t)per_layer, "n_phases", (json_int_t)info->n_phases, "phases_per_layer",
        (json_int_t)info->phases_per_layer, "phases_outside", (json_int_t)info->phases_outside,
        "weight_bytes", (json_int_t)info->weight_bytes, "weight_bytes_by_type", types,
        "state_bytes", (json_int_t)info->state_bytes, "kv_bytes_per_token",
        (json_int_t)info->kv_bytes_per_token, "scratch_bytes_per_token",
        (json_int_t)info->scratch_bytes_per_token, "scratch_bytes_per_output",
        (json_int_t)info->scratch_bytes_per_output, "ops", ops);
    return json_print(root) ? CLI_OK : cli_fail(e->o, "out of memory");
}

int cmd_plan(const options *o)
{
    engine e;
    memset(&e, 0, sizeof e);
    const char *path = NULL;
    int code = cli_model_path(o, &path);
    if (code == CLI_OK) {
        code = engine_load(&e, o, false);
    }
    if (code == CLI_OK) {
        hy_plan_info info = {.size = sizeof info};
        hy_model_plan(e.model, &info);
        if (OPT(o, JSON)->on) {
            code = print_json(&e, path, &info);
        } else {
            print_text(&e, path, &info);
        }
    }
    if (code == CLI_OK) {
        code = cli_finish_output();
    }
    engine_close(&e);
    return code;
}
