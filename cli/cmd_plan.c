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

static const char *const list_names[] = {"inputs", "outputs", "weights", "states"};

static void print_list(const hy_model *m, uint32_t phase, hy_plan_list list)
{
    hy_plan_value v = {.size = sizeof v};
    for (uint32_t k = 0; hy_model_plan_value(m, phase, list, k, &v); k++) {
        printf("    %-8s  %s", k == 0 ? list_names[list] : "", v.name);
        if (v.first > 0) {
            printf("+%llu", (unsigned long long)v.first);
        }
        printf("  %s%s", v.type ? v.type : "", v.type ? " " : "");
        if (v.m > 1) {
            printf("[%u, %u]\n", v.n, v.m);
        } else {
            printf("[%u]\n", v.n);
        }
    }
}

/* False with a line printed if memory is out. */
static bool print_trees(const engine *e, uint32_t phase, hy_plan_role role)
{
    hy_plan_tree tree = {.size = sizeof tree};
    hy_error err;
    hy_status status;
    for (uint32_t k = 0;
         (status = hy_model_plan_tree(e->model, phase, role, k, &tree, &err)) == HY_OK; k++) {
        printf("    %-8s  %s = %s\n",
               k > 0                 ? ""
               : role == HY_PROLOGUE ? "before"
                                     : "behind",
               tree.result, tree.text);
        hy_model_plan_free(e->model, tree.text);
    }
    return status == HY_E_NOT_FOUND || cli_error(e->o, &err) == CLI_OK;
}

static bool print_phase_trees(const engine *e, uint32_t phase)
{
    for (int list = HY_PLAN_INPUTS; list <= HY_PLAN_STATES; list++) {
        print_list(e->model, phase, (hy_plan_list)list);
    }
    return print_trees(e, phase, HY_PROLOGUE) && print_trees(e, phase, HY_EPILOGUE);
}

/* The phases of a layer, or of what is outside of layers (-1).  False with a line printed if memory
 * is out. */
static bool print_phases(const engine *e, const hy_plan_info *info, int32_t layer)
{
    const hy_model *m = e->model;
    uint32_t number = 0;
    for (uint32_t i = 0; i < info->n_phases; i++) {
        hy_plan_phase phase = {.size = sizeof phase};
        hy_model_plan_phase(m, i, &phase);
        if (phase.layer != layer) {
            continue;
        }
        printf("  phase %u: %s%s\n", ++number, phase.kind,
               phase.per_output ? " (only where logits are wanted)" : "");
        if (OPT(e->o, TREE)->on) {
            if (!print_phase_trees(e, i)) {
                return false;
            }
            continue;
        }
        const uint32_t n_ops = phase.n_prologue + phase.n_anchor + phase.n_epilogue;
        for (uint32_t k = 0; k < n_ops; k++) {
            hy_plan_op op = {.size = sizeof op};
            hy_model_plan_op(m, phase.first_op + k, &op);
            print_op(&op, OPT(e->o, WHY)->on);
        }
    }
    return true;
}

static int print_text(const engine *e, const char *path, const hy_plan_info *info)
{
    const hy_model *m = e->model;
    char size[32];
    printf("%s: %s, %u layers, backend %s\n", path, hy_model_arch(m), info->n_layer,
           hy_model_backend(m));
    printf("%u operations in %u phases: %u in a layer, %u outside\n", info->n_ops, info->n_phases,
           info->phases_per_layer, info->phases_outside);
    if (!OPT(e->o, TREE)->on) {
        printf("    %-6s  %-12s %-26s %8s  %-7s %10s %9s  %s\n", "", "operation", "result",
               "channels", "type", "weights B", "state B", "inputs");
    }
    printf("\noutside of the layers\n");
    bool all = print_phases(e, info, -1);
    if (info->n_layer > 0 && all) {
        printf("\nlayer %d of 0 to %u\n", (int)shown_layer(info), info->n_layer - 1);
        all = print_phases(e, info, shown_layer(info));
    }
    if (!all) {
        return CLI_FAILURE;
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
    return CLI_OK;
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

static json_t *list_json(const hy_model *m, uint32_t phase, hy_plan_list list)
{
    json_t *values = json_array();
    hy_plan_value v = {.size = sizeof v};
    for (uint32_t k = 0; hy_model_plan_value(m, phase, list, k, &v); k++) {
        json_t *name = json_bytes(v.name, strlen(v.name));
        json_array_append_new(values,
                              list != HY_PLAN_WEIGHTS
                                  ? name
                                  : json_pack("{s:o, s:s, s:I, s:I, s:I}", "name", name, "type",
                                              v.type, "n", (json_int_t)v.n, "m", (json_int_t)v.m,
                                              "first", (json_int_t)v.first));
    }
    return values;
}

/* NULL if memory is out. */
static json_t *trees_json(const hy_model *m, uint32_t phase, hy_plan_role role)
{
    json_t *trees = json_array();
    hy_plan_tree tree = {.size = sizeof tree};
    hy_status status;
    for (uint32_t k = 0; (status = hy_model_plan_tree(m, phase, role, k, &tree, NULL)) == HY_OK;
         k++) {
        json_array_append_new(trees, json_pack("{s:o, s:b, s:o}", "result",
                                               json_bytes(tree.result, strlen(tree.result)),
                                               "leaves", tree.leaves ? 1 : 0, "tree",
                                               json_bytes(tree.text, strlen(tree.text))));
        hy_model_plan_free(m, tree.text);
    }
    if (status != HY_E_NOT_FOUND) {
        json_decref(trees);
        return NULL;
    }
    return trees;
}

static json_t *phase_json(const hy_model *m, uint32_t i)
{
    hy_plan_phase p = {.size = sizeof p};
    hy_model_plan_phase(m, i, &p);
    return json_pack("{s:s, s:i, s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", p.kind,
                     "layer", (int)p.layer, "per_output", p.per_output ? 1 : 0, "first_op",
                     (json_int_t)p.first_op, "anchors", (json_int_t)p.n_anchor, "inputs",
                     list_json(m, i, HY_PLAN_INPUTS), "outputs", list_json(m, i, HY_PLAN_OUTPUTS),
                     "weights", list_json(m, i, HY_PLAN_WEIGHTS), "states",
                     list_json(m, i, HY_PLAN_STATES), "prologue", trees_json(m, i, HY_PROLOGUE),
                     "epilogue", trees_json(m, i, HY_EPILOGUE));
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
    json_t *phases = json_array();
    for (uint32_t i = 0; i < info->n_phases; i++) {
        if (json_array_append_new(phases, phase_json(m, i)) != 0) {
            json_decref(ops);
            json_decref(phases);
            return cli_fail(e->o, "out of memory");
        }
    }
    type_bytes rows[MAX_ROWS];
    const size_t n = count_types(m, info->n_ops, rows);
    json_t *types = json_object();
    for (size_t i = 0; i < n; i++) {
        json_object_set_new(types, rows[i].type ? rows[i].type : "vectors",
                            json_integer((json_int_t)rows[i].bytes));
    }
    json_t *root = json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o}",
        "file", json_bytes(path, strlen(path)), "arch", hy_model_arch(m), "backend",
        hy_model_backend(m), "layers", (json_int_t)info->n_layer, "n_ops", (json_int_t)info->n_ops,
        "ops_per_layer", (json_int_t)per_layer, "n_phases", (json_int_t)info->n_phases,
        "phases_per_layer", (json_int_t)info->phases_per_layer, "phases_outside",
        (json_int_t)info->phases_outside, "weight_bytes", (json_int_t)info->weight_bytes,
        "weight_bytes_by_type", types, "state_bytes", (json_int_t)info->state_bytes,
        "kv_bytes_per_token", (json_int_t)info->kv_bytes_per_token, "scratch_bytes_per_token",
        (json_int_t)info->scratch_bytes_per_token, "scratch_bytes_per_output",
        (json_int_t)info->scratch_bytes_per_output, "ops", ops, "phases", phases);
    return json_print(root) ? CLI_OK : cli_fail(e->o, "out of memory");
}

/* ---- kernels */

/* DIR/PHASE-prologue.wgsl or DIR/PHASE-epilogue.wgsl, if there is something to compute. */
static int write_kernel(const engine *e, uint32_t phase, hy_plan_role role, uint32_t *n)
{
    const char *folder = OPT(e->o, WGSL)->s;
    char path[4096];
    hy_error err;
    char *kernel = NULL;
    if (hy_model_plan_kernel(e->model, phase, role, "wgsl", &kernel, &err) != HY_OK) {
        return cli_error(e->o, &err);
    }
    if (!kernel) {
        return CLI_OK;
    }
    const int len = snprintf(path, sizeof path, "%s/%03u-%s.wgsl", folder, phase,
                             role == HY_PROLOGUE ? "prologue" : "epilogue");
    FILE *f = len > 0 && (size_t)len < sizeof path ? fopen(path, "wb") : NULL;
    const bool wrote = f && fputs(kernel, f) >= 0;
    const bool closed = f && fclose(f) == 0;
    hy_model_plan_free(e->model, kernel);
    *n += 1;
    return wrote && closed ? CLI_OK : cli_fail(e->o, "%s: cannot be written", path);
}

static int write_kernels(const engine *e, const hy_plan_info *info)
{
    int code = CLI_OK;
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->n_phases && code == CLI_OK; i++) {
        code = write_kernel(e, i, HY_PROLOGUE, &n);
        if (code == CLI_OK) {
            code = write_kernel(e, i, HY_EPILOGUE, &n);
        }
    }
    if (code == CLI_OK) {
        printf("%u kernels of %u phases in %s\n", n, info->n_phases, OPT(e->o, WGSL)->s);
    }
    return code;
}

/* ---- kernels of the WebGPU backend */

typedef struct kernel_folder {
    const engine *e;
    const char *adapter;
    uint64_t *seen; /* hashes of what was written */
    size_t n, cap;
    int code;
} kernel_folder;

static uint64_t hash(uint64_t h, const char *string)
{
    for (; *string; string++) {
        h = (h ^ (unsigned char)*string) * UINT64_C(0x100000001b3);
    }
    return h;
}

/* Whether the text was not there yet.  Keeps it. */
static bool is_new(kernel_folder *to, const char *head, const char *string)
{
    const uint64_t h = hash(hash(UINT64_C(0xcbf29ce484222325), head), string);
    for (size_t i = 0; i < to->n; i++) {
        if (to->seen[i] == h) {
            return false;
        }
    }
    if (to->n == to->cap) {
        to->cap = to->cap * 2 + 256;
        uint64_t *more = realloc(to->seen, to->cap * sizeof *more);
        if (!more) {
            to->code = cli_fail(to->e->o, "out of memory");
            return false;
        }
        to->seen = more;
    }
    to->seen[to->n++] = h;
    return true;
}

/* DIR/ADAPTER-PROGRAM-PHASE-KIND-NUMBER.LIBRARY.wgsl */
static void write_gpu_text(kernel_folder *to, const hy_webgpu_kernel *k, const char *library,
                           const char *head)
{
    char path[4096];
    hy_plan_phase phase = {.size = sizeof phase};
    if (to->code != CLI_OK || !is_new(to, head, k->text)) {
        return;
    }
    hy_model_plan_phase(to->e->model, k->phase, &phase);
    const int len =
        snprintf(path, sizeof path, "%s/%s-%s-%03u-%s-%u%s.wgsl", OPT(to->e->o, WGSL)->s,
                 to->adapter, k->program, k->phase, phase.kind, k->number, library);
    FILE *f = len > 0 && (size_t)len < sizeof path ? fopen(path, "wb") : NULL;
    const bool wrote = f && fputs(head, f) >= 0 && fputs(k->text, f) >= 0;
    const bool closed = f && fclose(f) == 0;
    if (!wrote || !closed) {
        to->code = cli_fail(to->e->o, "%s: cannot be written", path);
    }
}

static void write_gpu_kernel(void *user, const hy_webgpu_kernel *k)
{
    if (strcmp(k->dawn_head, k->wgpu_head) == 0) {
        write_gpu_text(user, k, "", k->dawn_head);
        return;
    }
    write_gpu_text(user, k, ".dawn", k->dawn_head);
    write_gpu_text(user, k, ".wgpu", k->wgpu_head);
}

static int write_gpu_kernels(const engine *e)
{
    const char *wanted = OPT(e->o, ADAPTER)->s, *mask = OPT(e->o, GPU_MASK)->s;
    const bool all = strcmp(wanted, "all") == 0;
    kernel_folder to = {.e = e};
    for (size_t i = 0; to.code == CLI_OK && (all || i == 0); i++) {
        hy_error err;
        to.adapter = all ? hy_webgpu_adapter_at(i) : wanted;
        if (!to.adapter) {
            break;
        }
        if (hy_model_webgpu_kernels(e->model, to.adapter, mask, write_gpu_kernel, &to, &err) !=
            HY_OK) {
            to.code = cli_error(e->o, &err);
        }
    }
    if (to.code == CLI_OK) {
        printf("%zu kernels in %s\n", to.n, OPT(e->o, WGSL)->s);
    }
    free(to.seen);
    return to.code;
}

int cmd_plan(const options *given)
{
    engine e;
    memset(&e, 0, sizeof e);
    options own = *given;
    const options *o = &own;
    if (OPT(o, ADAPTER)->s) {
        if (!OPT(o, WGSL)->s) {
            return cli_usage(o, "--adapter needs --wgsl, the folder for the kernels");
        }
        own.value[OPT_ID_BACKEND].s = "null"; /* a GPU need not be there */
    }
    const char *path = NULL;
    int code = cli_model_path(o, &path);
    if (code == CLI_OK) {
        code = engine_load(&e, o, false);
    }
    if (code == CLI_OK) {
        hy_plan_info info = {.size = sizeof info};
        hy_model_plan(e.model, &info);
        if (OPT(o, ADAPTER)->s) {
            code = write_gpu_kernels(&e);
        } else if (OPT(o, WGSL)->s) {
            code = write_kernels(&e, &info);
        } else if (OPT(o, JSON)->on) {
            code = print_json(&e, path, &info);
        } else {
            code = print_text(&e, path, &info);
        }
    }
    if (code == CLI_OK) {
        code = cli_finish_output();
    }
    engine_close(&e);
    return code;
}
