/* cmd_info.c: `halyard info`: what is in a file, from its metadata alone, and what this program
 * supports.  One thread. */
#include <string.h>

#include "gguf_facts.h"
#include "halyard/unstable.h"

static double bits_per_weight(const hy_type_info *t)
{
    return 8.0 * t->block_bytes / t->block_elems;
}

/* ---- info --matrix */

static const uint32_t type_ids[] = {
#define X(name, id, elems, bytes, codec) id,
    HY_TYPE_LIST(X)
#undef X
};
enum { N_TYPES = sizeof type_ids / sizeof type_ids[0] };

/* {"op":NAME,"reads_matrix":BOOL,"backends":{BACKEND:[TYPE...] or BOOL}} */
static json_t *op_json(size_t op)
{
    json_t *backends = json_object();
    for (size_t b = 0; hy_backend_at(b); b++) {
        const char *backend = hy_backend_at(b);
        json_t *value = NULL;
        if (hy_op_reads_matrix(op)) {
            value = json_array();
            for (size_t i = 0; i < N_TYPES; i++) {
                if (hy_backend_supports(backend, op, (hy_type)type_ids[i])) {
                    json_array_append_new(value, json_string(hy_type_find(type_ids[i])->name));
                }
            }
        } else {
            value = json_boolean(hy_backend_supports(backend, op, HY_TYPE_F32));
        }
        json_object_set_new(backends, backend, value);
    }
    return json_pack("{s:s, s:s, s:b, s:o}", "op", hy_op_at(op), "summary", hy_op_summary(op),
                     "reads_matrix", (int)hy_op_reads_matrix(op), "backends", backends);
}

/* {"one":LEVEL,"many":LEVEL} of every built level; null: decoded to F32 first. */
static json_t *kernels_json(size_t op, hy_type type)
{
    json_t *levels = json_object();
    for (size_t l = 0; hy_cpu_level_at(l); l++) {
        if (hy_cpu_level_built(l)) {
            json_object_set_new(levels, hy_cpu_level_at(l),
                                json_pack("{s:s?, s:s?}", "one", hy_cpu_kernel(l, op, type, false),
                                          "many", hy_cpu_kernel(l, op, type, true)));
        }
    }
    return levels;
}

/* Types with panels of columns: {LEVEL:LEVEL} of every built level; null: it has no such kernel. */
static json_t *columns_json(void)
{
    json_t *types = json_object();
    for (size_t i = 0; i < N_TYPES; i++) {
        json_t *levels = json_object();
        for (size_t l = 0; hy_cpu_level_at(l); l++) {
            const char *name = hy_cpu_columns_kernel(l, (hy_type)type_ids[i]);
            if (hy_cpu_level_built(l)) {
                json_object_set_new(levels, hy_cpu_level_at(l),
                                    name ? json_string(name) : json_null());
            }
        }
        json_object_set_new(types, hy_type_find(type_ids[i])->name, levels);
    }
    return types;
}

static json_t *levels_json(void)
{
    json_t *levels = json_array();
    for (size_t l = 0; hy_cpu_level_at(l); l++) {
        json_array_append_new(levels, json_pack("{s:s, s:s, s:b, s:b}", "name", hy_cpu_level_at(l),
                                                "summary", hy_cpu_level_summary(l), "built",
                                                (int)hy_cpu_level_built(l), "here",
                                                (int)hy_cpu_level_here(l)));
    }
    return levels;
}

static json_t *all_kernels_json(void)
{
    json_t *ops = json_object();
    for (size_t op = 0; hy_op_at(op); op++) {
        if (!hy_op_reads_matrix(op)) {
            json_object_set_new(ops, hy_op_at(op), kernels_json(op, HY_TYPE_F32));
            continue;
        }
        json_t *types = json_object();
        for (size_t i = 0; i < N_TYPES; i++) {
            json_object_set_new(types, hy_type_find(type_ids[i])->name,
                                kernels_json(op, (hy_type)type_ids[i]));
        }
        json_object_set_new(ops, hy_op_at(op), types);
    }
    return ops;
}

static int matrix_json(const options *o)
{
    json_t *types = json_array();
    for (size_t i = 0; i < N_TYPES; i++) {
        const hy_type_info *t = hy_type_find(type_ids[i]);
        json_array_append_new(types, json_pack("{s:s, s:I, s:I, s:I, s:f, s:b, s:b}", "name",
                                               t->name, "id", (json_int_t)type_ids[i],
                                               "block_elems", (json_int_t)t->block_elems,
                                               "block_bytes", (json_int_t)t->block_bytes,
                                               "bits_per_weight", bits_per_weight(t), "decode",
                                               (int)t->can_decode, "encode", (int)t->can_encode));
    }
    json_t *backends = json_array();
    for (size_t i = 0; hy_backend_at(i); i++) {
        const char *why = hy_backend_absent_reason(hy_backend_at(i));
        json_array_append_new(backends, json_pack("{s:s, s:b, s:s?}", "name", hy_backend_at(i),
                                                  "available", why == NULL, "reason", why));
    }
    json_t *ops = json_array();
    for (size_t i = 0; hy_op_at(i); i++) {
        json_array_append_new(ops, op_json(i));
    }
    if (!json_print(json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "types", types, "backends",
                              backends, "ops", ops, "cpu_levels", levels_json(), "cpu_kernels",
                              all_kernels_json(), "cpu_columns", columns_json()))) {
        return cli_fail(o, "out of memory");
    }
    return cli_finish_output();
}

static void print_op(size_t op, const char *backend)
{
    printf("  %-16s ", hy_op_at(op));
    if (!hy_op_reads_matrix(op)) {
        printf("%s\n", hy_backend_supports(backend, op, HY_TYPE_F32) ? "yes" : "-");
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < N_TYPES; i++) {
        if (hy_backend_supports(backend, op, (hy_type)type_ids[i])) {
            printf("%s%s", n++ ? " " : "", hy_type_find(type_ids[i])->name);
        }
    }
    printf("%s\n", n ? "" : "-");
}

/* A cell: "own", the level that lends its kernel, or "F32"; "one/many" columns if they differ. */
static void print_cell(size_t level, size_t op, hy_type type)
{
    const char *names[2];
    for (int many = 0; many < 2; many++) {
        const char *name = hy_cpu_kernel(level, op, type, many == 1);
        names[many] = !name ? "F32" : strcmp(name, hy_cpu_level_at(level)) == 0 ? "own" : name;
    }
    char cell[40];
    const bool same = strcmp(names[0], names[1]) == 0;
    snprintf(cell, sizeof cell, "%s%s%s", names[0], same ? "" : "/", same ? "" : names[1]);
    printf(" %-12s", cell);
}

static void print_kernel_row(size_t op, const char *title, hy_type type, const char *type_name)
{
    printf("\n  %-10s %-8s", title, type_name);
    for (size_t l = 0; hy_cpu_level_at(l); l++) {
        if (hy_cpu_level_built(l)) {
            print_cell(l, op, type);
        }
    }
}

/* Whether every level decodes every type first. */
static bool never_has_kernel(size_t op)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        for (size_t l = 0; hy_cpu_level_at(l); l++) {
            if (hy_cpu_level_built(l) && hy_cpu_kernel(l, op, (hy_type)type_ids[i], false)) {
                return false;
            }
        }
    }
    return true;
}

static void print_levels(void)
{
    printf("\nlevels of instructions of cpu\n");
    for (size_t l = 0; hy_cpu_level_at(l); l++) {
        printf("  %-8s %-44s %s\n", hy_cpu_level_at(l), hy_cpu_level_summary(l),
               hy_cpu_level_here(l)    ? "available"
               : hy_cpu_level_built(l) ? "not on this machine"
                                       : "not in this build");
    }
}

/* For each type that some level has in panels of columns: which. */
static void print_columns(void)
{
    printf("\nkernels of cpu that leave out the zeros of a squared ReLU, for one column\n");
    for (size_t i = 0; i < N_TYPES; i++) {
        bool any = false;
        for (size_t l = 0; hy_cpu_level_at(l); l++) {
            const char *name = hy_cpu_columns_kernel(l, (hy_type)type_ids[i]);
            if (hy_cpu_level_built(l) && name && strcmp(name, hy_cpu_level_at(l)) == 0) {
                if (!any) {
                    printf("  %-8s", hy_type_find(type_ids[i])->name);
                }
                printf(" %s", name);
                any = true;
            }
        }
        printf("%s", any ? "\n" : "");
    }
}

/* Operations that read no matrix are alike; one line stands for them. */
static void print_kernels(void)
{
    printf("\nkernels of cpu: own, of another level, or F32 (decoded first); one/many columns\n");
    printf("  %-10s %-8s", "operation", "type");
    for (size_t l = 0; hy_cpu_level_at(l); l++) {
        if (hy_cpu_level_built(l)) {
            printf(" %-12s", hy_cpu_level_at(l));
        }
    }
    size_t other = 0;
    for (size_t op = 0; hy_op_at(op); op++) {
        if (!hy_op_reads_matrix(op)) {
            other = op;
        } else if (never_has_kernel(op)) {
            print_kernel_row(op, hy_op_at(op), HY_TYPE_F32, "every");
        } else {
            for (size_t i = 0; i < N_TYPES; i++) {
                if (hy_backend_supports("cpu", op, (hy_type)type_ids[i])) {
                    print_kernel_row(op, hy_op_at(op), (hy_type)type_ids[i],
                                     hy_type_find(type_ids[i])->name);
                }
            }
        }
    }
    print_kernel_row(other, "others", HY_TYPE_F32, "");
    printf("\n");
}

static int matrix(const options *o)
{
    if (OPT(o, JSON)->on) {
        return matrix_json(o);
    }
    printf("%-8s %3s  %5s %6s %7s  %-6s %-6s\n", "type", "id", "block", "bytes", "bits", "decode",
           "encode");
    for (size_t i = 0; i < N_TYPES; i++) {
        const hy_type_info *t = hy_type_find(type_ids[i]);
        printf("%-8s %3u  %5u %6u %7.4f  %-6s %-6s\n", t->name, type_ids[i], t->block_elems,
               t->block_bytes, bits_per_weight(t), t->can_decode ? "yes" : "-",
               t->can_encode ? "yes" : "-");
    }
    printf("\nbackends\n");
    for (size_t i = 0; hy_backend_at(i); i++) {
        const char *why = hy_backend_absent_reason(hy_backend_at(i));
        printf("  %-8s %s\n", hy_backend_at(i), why ? why : "available");
    }
    for (size_t b = 0; hy_backend_at(b); b++) {
        if (hy_backend_absent_reason(hy_backend_at(b))) {
            continue;
        }
        printf("\noperations of %s; with the tensor types where one is read\n", hy_backend_at(b));
        for (size_t i = 0; hy_op_at(i); i++) {
            print_op(i, hy_backend_at(b));
        }
    }
    print_levels();
    print_kernels();
    print_columns();
    return cli_finish_output();
}

/* ---- info FILE */

static bool starts_with(hy_str s, const char *prefix)
{
    const size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.data, prefix, n) == 0;
}

/* Which part of the report a key belongs to. */
typedef enum section { GENERAL, HYPER, TOKENIZER, SPLIT, OTHER, N_SECTIONS } section;
static const char *const section_titles[N_SECTIONS] = {"general", "hyper-parameters", "tokenizer",
                                                       "split", "other"};

static section section_of(hy_str key, const char *arch_dot)
{
    return starts_with(key, "general.")              ? GENERAL
           : *arch_dot && starts_with(key, arch_dot) ? HYPER
           : starts_with(key, "tokenizer.")          ? TOKENIZER
           : starts_with(key, "split.")              ? SPLIT
                                                     : OTHER;
}

/* "rwkv7." of general.architecture, "" if there is none. */
static void arch_prefix(const hy_gguf *g, char *buf, size_t cap)
{
    hy_str arch = {NULL, 0};
    buf[0] = '\0';
    if (hy_gguf_get_str(g, "general.architecture", &arch, NULL) == HY_OK && arch.len + 2 < cap) {
        snprintf(buf, cap, "%.*s.", (int)arch.len, arch.data);
    }
}

/* The chat format that the file's template is recognised as: its name, or why there is none. */
static const char *chat_name(const hy_gguf *g, bool *known)
{
    hy_str text_of_template = {NULL, 0};
    hy_str model = {NULL, 0};
    char name[32] = "";
    *known = false;
    if (hy_gguf_get_str(g, "tokenizer.chat_template", &text_of_template, NULL) != HY_OK) {
        return "none in the file";
    }
    if (hy_gguf_get_str(g, "tokenizer.ggml.model", &model, NULL) == HY_OK &&
        model.len < sizeof name) {
        memcpy(name, model.data, model.len);
        name[model.len] = '\0';
    }
    const hy_chat_format *f =
        hy_chat_format_detect(text_of_template.data, text_of_template.len, name);
    *known = f != NULL;
    return f ? hy_chat_format_name(f) : "a template that is not known; chat needs --chat-template";
}

static bool print_keys(const hy_gguf *g, const char *arch_dot)
{
    for (int s = 0; s < N_SECTIONS; s++) {
        bool titled = false;
        for (size_t k = 0; k < hy_gguf_n_keys(g); k++) {
            const hy_str key = hy_gguf_key_name(g, k);
            if ((int)section_of(key, arch_dot) != s) {
                continue;
            }
            text line = {0};
            const bool ok = text_add_visible(&line, key.data, key.len);
            const size_t width = line.len;
            if (!ok || !text_printf(&line, "%*s", (int)(width < 44 ? 45 - width : 1), "") ||
                !gguf_value_text(g, k, &line)) {
                text_free(&line);
                return false;
            }
            if (!titled) {
                printf("\n%s\n", section_titles[s]);
                titled = true;
            }
            printf("  %s\n", line.data);
            text_free(&line);
        }
    }
    return true;
}

static bool print_tensors(const hy_gguf *g)
{
    printf("\ntensors\n");
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        const hy_type_info *type = hy_type_find((uint32_t)t->type);
        text line = {0};
        if (!text_add_visible(&line, t->name, strlen(t->name))) {
            return false;
        }
        printf("  %-40s %-8s [", line.data, type ? type->name : "?");
        text_free(&line);
        for (uint32_t d = 0; d < t->n_dims; d++) {
            printf("%s%llu", d ? ", " : "", (unsigned long long)t->ne[d]);
        }
        printf("]  %llu bytes at %llu", (unsigned long long)t->bytes,
               (unsigned long long)t->file_offset);
        if (hy_gguf_n_files(g) > 1) {
            printf(" of part %u", t->file_index + 1);
        }
        putchar('\n');
    }
    return true;
}

static int print_info(const options *o, const char *path, const hy_gguf *g)
{
    char arch_dot[80];
    char size[32];
    arch_prefix(g, arch_dot, sizeof arch_dot);
    gguf_facts f;
    gguf_count(g, &f);
    printf("%s: GGUF version %u, %s, alignment %u", path, hy_gguf_version(g),
           bytes_text(hy_gguf_file_bytes(g), size, sizeof size), hy_gguf_alignment(g));
    if (hy_gguf_n_files(g) > 1) {
        printf(", %u parts", hy_gguf_n_files(g));
    }
    if (*gguf_file_type(g)) {
        printf(", %s", gguf_file_type(g));
    }
    putchar('\n');
    bool known = false;
    if (!print_keys(g, arch_dot)) {
        return cli_fail(o, "out of memory");
    }
    printf("\nchat format\n  %s\n", chat_name(g, &known));
    printf("\ntensor types\n");
    for (size_t i = 0; i < f.n_types; i++) {
        printf("  %-8s %5llu tensors  %14llu weights  %10s\n", f.types[i].type->name,
               (unsigned long long)f.types[i].n, (unsigned long long)f.types[i].elems,
               bytes_text(f.types[i].bytes, size, sizeof size));
    }
    printf("  %-8s %5zu tensors  %14llu weights  %10s", "all", hy_gguf_n_tensors(g),
           (unsigned long long)f.elems, bytes_text(f.bytes, size, sizeof size));
    if (f.elems > 0) {
        printf("  %.2f bits per weight", 8.0 * (double)f.bytes / (double)f.elems);
    }
    putchar('\n');
    if (OPT(o, TENSORS)->on && !print_tensors(g)) {
        return cli_fail(o, "out of memory");
    }
    return cli_finish_output();
}

static json_t *tensors_json(const hy_gguf *g)
{
    json_t *list = json_array();
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        const hy_type_info *type = hy_type_find((uint32_t)t->type);
        json_t *shape = json_array();
        for (uint32_t d = 0; d < t->n_dims; d++) {
            json_array_append_new(shape, json_integer((json_int_t)t->ne[d]));
        }
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:I, s:I, s:I}", "name",
                            json_bytes(t->name, strlen(t->name)), "type", type ? type->name : "?",
                            "shape", shape, "bytes", (json_int_t)t->bytes, "offset",
                            (json_int_t)t->file_offset, "file", (json_int_t)t->file_index));
    }
    return list;
}

static json_t *metadata_json(const hy_gguf *g)
{
    json_t *metadata = json_object();
    for (size_t k = 0; k < hy_gguf_n_keys(g); k++) {
        const hy_str key = hy_gguf_key_name(g, k);
        text name = {0};
        const bool ok = text_add_clean(&name, key.data, key.len) &&
                        json_object_set_new(metadata, name.data, gguf_value_json(g, k)) == 0;
        text_free(&name);
        if (!ok) {
            json_decref(metadata);
            return NULL;
        }
    }
    return metadata;
}

static int print_info_json(const options *o, const char *path, const hy_gguf *g)
{
    gguf_facts f;
    gguf_count(g, &f);
    json_t *types = json_array();
    for (size_t i = 0; i < f.n_types; i++) {
        json_array_append_new(
            types, json_pack("{s:s, s:I, s:I, s:I}", "type", f.types[i].type->name, "tensors",
                             (json_int_t)f.types[i].n, "weights", (json_int_t)f.types[i].elems,
                             "bytes", (json_int_t)f.types[i].bytes));
    }
    bool known = false;
    const char *chat = chat_name(g, &known);
    json_t *root =
        json_pack("{s:o, s:I, s:I, s:I, s:I, s:s, s:s?, s:I, s:I, s:I, s:o, s:o}", "file",
                  json_bytes(path, strlen(path)), "version", (json_int_t)hy_gguf_version(g),
                  "alignment", (json_int_t)hy_gguf_alignment(g), "files",
                  (json_int_t)hy_gguf_n_files(g), "file_bytes", (json_int_t)hy_gguf_file_bytes(g),
                  "file_type", gguf_file_type(g), "chat_format", known ? chat : NULL, "tensors",
                  (json_int_t)hy_gguf_n_tensors(g), "weights", (json_int_t)f.elems, "weight_bytes",
                  (json_int_t)f.bytes, "types", types, "metadata", metadata_json(g));
    if (root && OPT(o, TENSORS)->on) {
        json_object_set_new(root, "tensor_list", tensors_json(g));
    }
    if (!json_print(root)) {
        return cli_fail(o, "out of memory");
    }
    return cli_finish_output();
}

int cmd_info(const options *o)
{
    if (OPT(o, MATRIX)->on) {
        if (o->n_args > 0 || OPT(o, MODEL)->s) {
            return cli_usage(o, "--matrix is about this program and takes no file");
        }
        return matrix(o);
    }
    const char *path = NULL;
    int code = cli_model_path(o, &path);
    if (code != CLI_OK) {
        return code;
    }
    hy_gguf_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.size = sizeof opts;
    opts.no_mmap = !OPT(o, MMAP)->on;
    hy_error err = {HY_OK, ""};
    hy_gguf *g = NULL;
    if (hy_gguf_open(path, &opts, NULL, &g, &err) != HY_OK) {
        return cli_error(o, &err);
    }
    code = OPT(o, JSON)->on ? print_info_json(o, path, g) : print_info(o, path, g);
    hy_gguf_close(g);
    return code;
}
