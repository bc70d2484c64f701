/* cmd_doctor.c: `halyard doctor`: what this machine offers, and in one sentence why something is
 * not there.  One thread. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "halyard/unstable.h"

/* A library that was tried: what it has, or why it cannot be used. */
typedef struct finding {
    const char *name; /* as --webgpu-lib takes it */
    bool works;
    hy_webgpu_info info;
    json_t *variants; /* what the self-test found; NULL: it could not be done, err says why */
    hy_error err;
    json_t *tuned;    /* what the tuner chose before; NULL: nobody can know, for the same reason */
    json_t *measured; /* with --measure; one that could not be done has only "reason" */
} finding;

static void add_variant(void *user, const hy_webgpu_variant *v)
{
    json_array_append_new(user,
                          json_pack("{s:s, s:s, s:s, s:o, s:s}", "name", v->name, "what", v->what,
                                    "state", v->state, "why", json_bytes(v->why, strlen(v->why)),
                                    "instead", v->instead));
}

/* ---- --measure */

static void add_offer(void *user, const hy_webgpu_offer *o)
{
    json_t *offers = json_object_get(user, "offers");
    json_t *beside = o->beside ? json_pack("{s:s, s:o}", "of", o->beside, "rate",
                                           o->beside_rate > 0 ? json_number(o->beside_rate)
                                                              : json_null())
                               : json_null();
    json_array_append_new(
        offers, json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:s}", "name", o->name, "what",
                          o->what, "state", o->state, "why", json_bytes(o->why, strlen(o->why)),
                          "unit", o->unit, "of", o->of, "rate",
                          o->rate > 0 ? json_number(o->rate) : json_null(), "beside", beside,
                          "native", o->native));
}

static void add_hatch(void *user, const hy_webgpu_hatch *h)
{
    json_t *hatch = json_pack("{s:s, s:s, s:s, s:o}", "name", h->name, "what", h->what, "state",
                              h->state, "why", json_bytes(h->why, strlen(h->why)));
    if (h->rate > 0 && h->beside_rate > 0) {
        json_object_update_new(
            hatch, json_pack("{s:s, s:s, s:o, s:{s:s, s:o}, s:o}", "unit", h->unit, "of", h->of,
                             "rate", json_number(h->rate), "beside", "of", h->beside, "rate",
                             json_number(h->beside_rate), "gain",
                             json_number(h->rate / h->beside_rate)));
    }
    json_array_append_new(json_object_get(user, "hatches"), hatch);
}

static json_t *measure(const options *o, const char *name, const char *folder)
{
    hy_error err;
    hy_webgpu_facts facts = {.size = sizeof facts};
    json_t *root = json_pack("{s:[], s:[]}", "offers", "hatches");
    const hy_webgpu_told told = {.user = root, .offer = add_offer, .hatch = add_hatch};
    if (hy_webgpu_measure(name, folder, OPT(o, GPU_MASK)->s, NULL, &facts, &told, &err) != HY_OK) {
        json_decref(root);
        return json_pack("{s:o}", "reason", json_bytes(err.text, strlen(err.text)));
    }
    json_object_set_new(root, "native", json_string(facts.native));
    json_object_set_new(root, "read_bytes_per_second", json_number(facts.read_bytes_per_second));
    json_object_set_new(root, "dispatch_gpu_ns", json_number(facts.dispatch_gpu_ns));
    json_object_set_new(root, "dispatch_cpu_ns", json_number(facts.dispatch_cpu_ns));
    json_object_set_new(root, "round_trip_ns", json_number(facts.round_trip_ns));
    return root;
}

static hy_status examine(const options *o, const char *name, finding *f)
{
    const char *folder = OPT(o, WEBGPU_DIR)->s ? OPT(o, WEBGPU_DIR)->s : getenv("HALYARD_WEBGPU");
    memset(f, 0, sizeof *f);
    f->name = name;
    f->info.size = sizeof f->info;
    const hy_status status =
        hy_webgpu_probe(name, folder, OPT(o, GPU_MASK)->s, NULL, &f->info, &f->err);
    f->works = status == HY_OK;
    char cache[1024];
    if (f->works) {
        f->variants = json_array();
        if (hy_webgpu_selftest(name, folder, OPT(o, GPU_MASK)->s,
                               cli_kernel_cache(o, cache, sizeof cache), NULL, add_variant,
                               f->variants, &f->err) != HY_OK) {
            json_decref(f->variants);
            f->variants = NULL;
        } else {
            f->tuned = cli_tuning(o, name, false, &f->err);
        }
    }
    if (f->works && OPT(o, MEASURE)->on) {
        f->measured = measure(o, name, folder);
    }
    return status;
}

/* The best level of instructions that this machine can run. */
static size_t best_level(void)
{
    size_t best = 0;
    for (size_t i = 0; hy_cpu_level_at(i); i++) {
        best = hy_cpu_level_here(i) ? i : best;
    }
    return best;
}

/* ---- JSON */

static json_t *finding_json(const finding *f)
{
    const hy_webgpu_info *const i = &f->info;
    if (!f->works) {
        return json_pack("{s:s, s:b, s:o}", "name", f->name, "works", 0, "reason",
                         json_bytes(f->err.text, strlen(f->err.text)));
    }
    json_t *subgroups = json_null();
    if (i->subgroups) {
        subgroups = json_pack("{s:I, s:I}", "min", (json_int_t)i->subgroup_min, "max",
                              (json_int_t)i->subgroup_max);
    }
    json_t *limits = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "buffer_bytes", (json_int_t)i->max_buffer_bytes,
        "binding_bytes", (json_int_t)i->max_binding_bytes, "storage_buffers",
        (json_int_t)i->storage_buffers, "workgroup_bytes", (json_int_t)i->workgroup_bytes,
        "workgroup_invocations", (json_int_t)i->workgroup_invocations, "workgroups",
        (json_int_t)i->max_workgroups, "storage_alignment_bytes",
        (json_int_t)i->storage_alignment_bytes, "uniform_alignment_bytes",
        (json_int_t)i->uniform_alignment_bytes);
    return json_pack("{s:s, s:b, s:o*, s:o*, s:s, s:o, s:o, s:s, s:s, s:b, s:o, s:b, s:b, s:o, s:o*, s:o*}",
                     "name", f->name, "works", 1, "variants", f->variants, "selftest",
                     f->variants ? NULL : json_bytes(f->err.text, strlen(f->err.text)), "library",
                     i->library, "path", json_bytes(i->path, strlen(i->path)), "adapter",
                     json_bytes(i->adapter, strlen(i->adapter)), "api", i->api, "kind", i->kind,
                     "f16", (int)i->f16, "subgroups", subgroups, "packed_dot", (int)i->packed_dot,
                     "timestamps", (int)i->timestamps, "limits", limits, "tuned",
                     f->tuned, "measured", f->measured);
}

static int print_json(const options *o, const finding *list, size_t n)
{
    json_t *webgpu = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(webgpu, finding_json(&list[i]));
    }
    const size_t level = best_level();
    json_t *cpu = json_pack("{s:s, s:s, s:I}", "level", hy_cpu_level_at(level), "summary",
                            hy_cpu_level_summary(level), "cores", (json_int_t)hy_cpu_count());
    if (!json_print(
            json_pack("{s:s, s:o, s:o}", "version", hy_version(), "cpu", cpu, "webgpu", webgpu))) {
        return cli_fail(o, "out of memory");
    }
    return cli_finish_output();
}

/* ---- text */

static void print_features(const hy_webgpu_info *i)
{
    printf("  features  %s, ", i->f16 ? "f16" : "no f16");
    if (!i->subgroups) {
        printf("no subgroups, ");
    } else if (i->subgroup_min == i->subgroup_max) {
        printf("subgroups of %u, ", i->subgroup_min);
    } else {
        printf("subgroups of %u to %u, ", i->subgroup_min, i->subgroup_max);
    }
    printf("%s, %s\n", i->packed_dot ? "packed dot" : "no packed dot",
           i->timestamps ? "timestamps" : "no timestamps");
}

/* The names of all variants in a state, in lines; nothing if there are none. */
static void print_state(const json_t *variants, const char *state)
{
    enum { WIDTH = 100 };
    size_t i, column = 0;
    const json_t *v;
    json_array_foreach(variants, i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));
        if (strcmp(json_string_value(json_object_get(v, "state")), state) != 0) {
            continue;
        }
        if (column == 0) {
            column = (size_t)printf("  %-9s %s", state, name);
        } else if (column + strlen(name) + 2 > WIDTH) {
            column = (size_t)printf(",\n            %s", name);
        } else {
            column += (size_t)printf(", %s", name);
        }
    }
    if (column > 0) {
        printf("\n");
    }
}

static void print_variants(const finding *f)
{
    size_t i;
    const json_t *v;
    if (!f->variants) {
        printf("  kernels   %s\n", f->err.text);
        return;
    }
    print_state(f->variants, "passed");
    json_array_foreach(f->variants, i, v)
    {
        if (strcmp(json_string_value(json_object_get(v, "state")), "failed") == 0) {
            printf("  failed    %s (%s): %s; so %s\n",
                   json_string_value(json_object_get(v, "name")),
                   json_string_value(json_object_get(v, "what")),
                   json_string_value(json_object_get(v, "why")),
                   json_string_value(json_object_get(v, "instead")));
        }
    }
    print_state(f->variants, "missing");
    print_state(f->variants, "masked");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* "1.23 Gflop/s". */
static const char *rate_text(double x, const char *unit, char *buf, size_t cap)
{
    static const char prefixes[] = " kMGTP";
    size_t i = 0;
    for (; x >= 999.5 && i + 2 < sizeof prefixes; i++) {
        x /= 1000;
    }
    snprintf(buf, cap, "%.3g %.*s%s", x, i > 0, prefixes + i, unit);
    return buf;
}

static void print_offer(const json_t *o)
{
    const json_t *const beside = json_object_get(o, "beside");
    const json_t *const rate = json_object_get(o, "rate"), *const other =
                                                               json_object_get(beside, "rate");
    char made[40] = "-", instead[100] = "";
    if (json_is_number(rate)) {
        rate_text(json_number_value(rate), text_of(o, "unit"), made, sizeof made);
    }
    if (json_is_number(other)) {
        rate_text(json_number_value(other), "", instead, sizeof instead);
        const size_t n = strlen(instead);
        snprintf(instead + n, sizeof instead - n, " %s", text_of(beside, "of"));
    }
    printf("    %-22s %-8s %-17s %-30s %s\n", text_of(o, "what"), text_of(o, "state"), made,
           instead, text_of(o, "native"));
}

/* What it gains, on a line of its own. */
static void print_hatch(const json_t *h)
{
    const json_t *const beside = json_object_get(h, "beside");
    char rate[40], other[40];
    printf("    %-31s %-8s %s\n", text_of(h, "what"), text_of(h, "state"), text_of(h, "why"));
    if (beside) {
        printf("    %-31s %-8s gains %.3g x here: %s %s, %s %s\n", "", "",
               json_number_value(json_object_get(h, "gain")),
               rate_text(json_number_value(json_object_get(h, "rate")), text_of(h, "unit"), rate,
                         sizeof rate),
               text_of(h, "of"),
               rate_text(json_number_value(json_object_get(beside, "rate")), text_of(h, "unit"),
                         other, sizeof other),
               text_of(beside, "of"));
    }
}

static void print_measured(const json_t *m)
{
    static const char *const facts[][2] = {
        {"dispatch_gpu_ns", "us for a dispatch that waits for another, on the GPU"},
        {"dispatch_cpu_ns", "us to encode and submit one"},
        {"round_trip_ns", "us from the CPU to the result of one and back"}};
    char rate[40];
    size_t i;
    const json_t *x;
    if (json_object_get(m, "reason")) {
        printf("  measured  %s\n", text_of(m, "reason"));
        return;
    }
    printf("  measured  %s read from memory\n",
           rate_text(json_number_value(json_object_get(m, "read_bytes_per_second")), "B/s", rate,
                     sizeof rate));
    for (i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        printf("            %.2f %s\n",
               json_number_value(json_object_get(m, facts[i][0])) / 1000, facts[i][1]);
    }
    printf("  WebGPU beside the native API\n    %-22s %-8s %-17s %-30s %s\n", "", "here", "rate",
           "without it", text_of(m, "native"));
    json_array_foreach(json_object_get(m, "offers"), i, x)
    {
        print_offer(x);
    }
    json_array_foreach(json_object_get(m, "offers"), i, x)
    {
        const char *const state = text_of(x, "state");
        if (strcmp(state, "wrong") == 0 || strcmp(state, "failed") == 0 ||
            strcmp(state, "none") == 0) {
            printf("    %s: %s\n", text_of(x, "what"), text_of(x, "why"));
        }
    }
    printf("  ways around WebGPU\n");
    json_array_foreach(json_object_get(m, "hatches"), i, x)
    {
        print_hatch(x);
    }
}

static void print_finding(const finding *f)
{
    const hy_webgpu_info *const i = &f->info;
    char buffer[32], binding[32], shared[32];
    printf("\nwebgpu %s\n", f->name);
    if (!f->works) {
        printf("  %s\n", f->err.text);
        return;
    }
    printf("  library   %s, %s\n", i->library, i->path);
    printf("  adapter   %s, %s, through %s\n", i->adapter, i->kind, i->api);
    print_features(i);
    printf("  limits    %s a buffer, %s a binding, %u storage buffers, workgroups of %u with %s\n",
           bytes_text(i->max_buffer_bytes, buffer, sizeof buffer),
           bytes_text(i->max_binding_bytes, binding, sizeof binding), i->storage_buffers,
           i->workgroup_invocations, bytes_text(i->workgroup_bytes, shared, sizeof shared));
    print_variants(f);
    json_decref(f->variants);
    if (f->tuned) {
        cli_print_tuning(f->tuned, f->measured != NULL);
        json_decref(f->tuned);
    }
    if (f->measured) {
        print_measured(f->measured);
        json_decref(f->measured);
    }
}

static int print_text(const finding *list, size_t n)
{
    const size_t level = best_level();
    const char *named = getenv("HALYARD_CPU");
    printf("cpu\n  level     %s, %s", hy_cpu_level_at(level), hy_cpu_level_summary(level));
    if (named) {
        printf("; HALYARD_CPU asks for %s", named);
    }
    printf("\n  cores     %u\n", hy_cpu_count());
    for (size_t i = 0; i < n; i++) {
        print_finding(&list[i]);
    }
    return cli_finish_output();
}

int cmd_doctor(const options *o)
{
    finding list[8];
    size_t n = 0;
    const char *only = OPT(o, WEBGPU_LIB)->s;
    for (size_t i = 0; n < sizeof list / sizeof list[0]; i++) {
        const char *name = only ? only : hy_webgpu_library_at(i);
        if (!name) {
            break;
        }
        const hy_status status = examine(o, name, &list[n]);
        if (status == HY_E_NOT_FOUND) {
            return cli_usage(o, "%s", list[n].err.text);
        }
        if (only && status != HY_OK) {
            return cli_error(o, &list[n].err);
        }
        n++;
        if (only) {
            break;
        }
    }
    return OPT(o, JSON)->on ? print_json(o, list, n) : print_text(list, n);
}
