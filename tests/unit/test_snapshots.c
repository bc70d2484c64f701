/* test_snapshots.c: plans and kernels as they were when somebody last looked at them.
 *
 * tests/snapshots/ holds, for a model of each family, the phases of one layer and of what is
 * outside of layers: what each reads, writes and computes (NAME.plan), and their kernels
 * (NAME.wgsl); and the kernels of one token that the WebGPU backend runs on one kind of GPU
 * (NAME.decode.wgsl).  A change that is not meant to change them shows it here; one that is renews
 * them with HALYARD_UPDATE_SNAPSHOTS=1 in the environment, and the difference is read in review. */
#include "halyard/unstable.h"
#include "support/support.h"

static const struct {
    const char *name, *model;
} cases[] = {
    {"rwkv7", "models/halyard-tiny-rwkv7-Q4_K_M.gguf"},
    {"llama", "tests/golden/mini/llama-mini-Q3_K_M.gguf"},
    {"qwen3", "tests/golden/mini/qwen3-mini-Q4_K_M.gguf"},
};

enum { SHOWN_LAYER = 1 };

typedef struct page {
    char *text;
    size_t len, cap;
} page;

HY_PRINTF(2, 3)
static void put(page *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert_true(n >= 0);
    while (p->len + (size_t)n + 1 > p->cap) {
        p->cap = p->cap * 2 + 4096;
        p->text = realloc(p->text, p->cap);
        assert_non_null(p->text);
    }
    va_start(args, fmt);
    vsnprintf(p->text + p->len, p->cap - p->len, fmt, args);
    va_end(args);
    p->len += (size_t)n;
}

static void put_list(page *p, const hy_model *m, uint32_t phase, hy_plan_list list)
{
    static const char *const names[] = {"inputs", "outputs", "weights", "states"};
    hy_plan_value v = {.size = sizeof v};
    for (uint32_t k = 0; hy_model_plan_value(m, phase, list, k, &v); k++) {
        put(p, "  %-8s %s", k ? "" : names[list], v.name);
        if (v.first > 0) {
            put(p, "+%llu", (unsigned long long)v.first);
        }
        put(p, " %s", v.type ? v.type : "");
        if (v.m > 1) {
            put(p, "[%u, %u]\n", v.n, v.m);
        } else {
            put(p, "[%u]\n", v.n);
        }
    }
}

static void put_trees(page *p, const hy_model *m, uint32_t phase, hy_plan_role role)
{
    hy_plan_tree tree = {.size = sizeof tree};
    for (uint32_t k = 0; hy_model_plan_tree(m, phase, role, k, &tree, NULL) == HY_OK; k++) {
        put(p, "  %-8s %s%s = %s\n",
            k                     ? ""
            : role == HY_PROLOGUE ? "before"
                                  : "behind",
            tree.result, tree.leaves ? "" : " (within)", tree.text);
        hy_model_plan_free(m, tree.text);
    }
}

static void put_kernel(page *p, const hy_model *m, uint32_t phase, hy_plan_role role)
{
    hy_error err;
    char *text;
    assert_ok(hy_model_plan_kernel(m, phase, role, "wgsl", &text, &err), &err);
    if (text) {
        put(p, "%s%s", p->len ? "\n" : "", text);
    }
    hy_model_plan_free(m, text);
}

typedef struct gpu_page {
    const hy_model *m;
    page text;
} gpu_page;

/* Layers behind the shown one have the same kernels, or such with other types. */
static void put_webgpu_kernel(void *user, const hy_webgpu_kernel *k)
{
    gpu_page *const at = user;
    page *const p = &at->text;
    hy_plan_phase phase = {.size = sizeof phase};
    hy_model_plan_phase(at->m, k->phase, &phase);
    if (strcmp(k->program, "decode") == 0 && phase.layer <= SHOWN_LAYER) {
        put(p, "%s// phase %u, kernel %u\n%s%s", p->len ? "\n" : "", k->phase, k->number,
            k->dawn_head, k->text);
    }
}

static bool updating(void)
{
    const char *set = getenv("HALYARD_UPDATE_SNAPSHOTS");
    return set && *set && strcmp(set, "0") != 0;
}

/* Prints the first line that differs. */
static void show_difference(const char *want, const char *got)
{
    int line = 1;
    const char *at = want, *begin = want, *begin_got = got;
    for (; *at && *at == *got; at++, got++) {
        if (*at == '\n') {
            line++;
            begin = at + 1;
            begin_got = got + 1;
        }
    }
    print_error("line %d was \"%.*s\"\n", line, (int)strcspn(begin, "\n"), begin);
    print_error("line %d is  \"%.*s\"\n", line, (int)strcspn(begin_got, "\n"), begin_got);
}

static void compare(const char *name, const char *kind, page *p)
{
    char path[200];
    snprintf(path, sizeof path, "tests/snapshots/%s.%s", name, kind);
    if (updating()) {
        write_file(source_path(path), p->text, p->len);
        print_message("%s is renewed\n", path);
    } else {
        size_t len;
        char *want = read_file(source_path(path), &len);
        if (len != p->len || memcmp(want, p->text, len) != 0) {
            show_difference(want, p->text);
            fail_msg("%s is not what the program makes now; if it should change, run this test "
                     "with HALYARD_UPDATE_SNAPSHOTS=1 and look at the difference",
                     path);
        }
        free(want);
    }
    free(p->text);
}

static void test_snapshots(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hy_model_opts opts = {.size = sizeof opts, .backend = "null"};
        page plan = {0}, kernels = {0};
        hy_error err;
        hy_model *m;
        assert_ok(hy_model_load(source_path(cases[i].model), &opts, NULL, &m, &err), &err);
        hy_plan_info info = {.size = sizeof info};
        hy_model_plan(m, &info);
        put(&plan, "%s: %u phases, %u in a layer\n", cases[i].model, info.n_phases,
            info.phases_per_layer);
        for (uint32_t k = 0; k < info.n_phases; k++) {
            hy_plan_phase phase = {.size = sizeof phase};
            hy_model_plan_phase(m, k, &phase);
            if (phase.layer != SHOWN_LAYER && phase.layer >= 0) {
                continue;
            }
            put(&plan, "\n%s of %s\n", phase.kind, phase.layer < 0 ? "no layer" : "layer 1");
            for (int list = HY_PLAN_INPUTS; list <= HY_PLAN_STATES; list++) {
                put_list(&plan, m, k, (hy_plan_list)list);
            }
            put_trees(&plan, m, k, HY_PROLOGUE);
            put_trees(&plan, m, k, HY_EPILOGUE);
            put_kernel(&kernels, m, k, HY_PROLOGUE);
            put_kernel(&kernels, m, k, HY_EPILOGUE);
        }
        gpu_page decode = {.m = m};
        assert_ok(
            hy_model_webgpu_kernels(m, "subgroups-32", NULL, put_webgpu_kernel, &decode, &err),
            &err);
        hy_model_destroy(m);
        compare(cases[i].name, "plan", &plan);
        compare(cases[i].name, "wgsl", &kernels);
        compare(cases[i].name, "decode.wgsl", &decode.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_snapshots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
