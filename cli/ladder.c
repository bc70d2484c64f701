/* ladder.c: see ladder.h.  Each rung is the model loaded anew with other options; the rungs belong
 * to ladder_run. */
#include "ladder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_facts.h"
#include "scores.h"
#include "term.h"

static const rung rungs[] = {
#define HY_RUNG(name_, what_, mask_, alone_, needs_, least_, most_)                                \
    {.name = name_,                                                                                \
     .what = what_,                                                                                \
     .mask = mask_,                                                                                \
     .alone = alone_,                                                                              \
     .needs = needs_,                                                                              \
     .least = least_,                                                                              \
     .most = most_},
#include "rungs.inc"
};
enum { N_RUNGS = sizeof rungs / sizeof *rungs };

static bool is_native(const rung *r)
{
    return !r->mask;
}

/* ---- one rung */

/* Collects the descriptions of its kernels for a token; whether one of them has the word. */
static bool find_kernels(const hy_model *m, const char *word, rung *r)
{
    hy_plan_info plan = {.size = sizeof plan};
    bool found = !*word;
    char kernel[128];
    hy_model_plan(m, &plan);
    for (uint32_t i = 0; i < plan.n_phases; i++) {
        for (uint32_t k = 0; hy_model_gpu_kernel(m, i, false, k, kernel, sizeof kernel); k++) {
            size_t at = 0;
            found = found || strstr(kernel, word);
            while (at < r->n_kernels && strcmp(r->kernels[at], kernel) != 0) {
                at++;
            }
            if (at == r->n_kernels && at < LADDER_MOST_KERNELS) {
                memcpy(r->kernels[r->n_kernels++], kernel, sizeof kernel);
            }
        }
    }
    return found;
}

/* Whether the model is what the rung says; else why not. */
static bool is_there(const engine *e, rung *r)
{
    if (is_native(r)) {
        return true;
    }
    if (!find_kernels(e->model, r->needs, r)) {
        snprintf(r->why, sizeof r->why, "missing: no kernel uses %s%s on this GPU", r->needs,
                 strcmp(r->needs, "dot") == 0 ? " products" : "");
        return false;
    }
    if (!*r->mask && !hy_model_draws_ahead(e->model)) {
        snprintf(r->why, sizeof r->why, "missing: tokens are not drawn on this GPU");
        return false;
    }
    return true;
}

static hy_status run_once(engine *e, const hy_sampler *greedy, hy_token *ids, uint32_t n,
                          double *ns, hy_error *err)
{
    uint64_t state = 1;
    ids[0] = greedy_arbitrary(&state, e->info.n_vocab);
    hy_session_reset(e->session);
    const uint64_t start = term_now_ns();
    const hy_status status = greedy_generate(e->session, greedy, ids, n, err);
    *ns = (double)(term_now_ns() - start);
    return status;
}

static hy_status run_all(const ladder *l, engine *e, const hy_sampler *greedy, hy_token *ids,
                         double *speeds, rung *r, hy_error *err)
{
    hy_gpu_counts before = {.size = sizeof before}, after = {.size = sizeof after};
    double ns = 0, mean = 0;
    hy_status status =
        OPT(l->o, BENCH_WARMUP)->on ? run_once(e, greedy, ids, l->n_gen, &ns, err) : HY_OK;
    hy_model_gpu_counts(e->model, &before);
    const uint64_t cpu = term_cpu_ns();
    for (uint32_t i = 0; status == HY_OK && i < l->reps; i++) {
        status = run_once(e, greedy, ids, l->n_gen, &ns, err);
        speeds[i] = ns > 0 ? l->n_gen * 1e9 / ns : 0;
    }
    const double tokens = (double)l->n_gen * l->reps;
    r->cpu_us = (double)(term_cpu_ns() - cpu) / 1e3 / tokens;
    if (hy_model_gpu_counts(e->model, &after) && after.tokens > before.tokens) {
        r->dispatches =
            (double)(after.dispatches - before.dispatches) / (double)(after.tokens - before.tokens);
        r->submits = (double)(after.submits - before.submits) / tokens;
    }
    r->speed = scores_median(speeds, l->reps);
    scores_mean(speeds, l->reps, &mean, &r->deviation);
    r->n_text = l->n_gen < LADDER_CHECKED + 1 ? l->n_gen : LADDER_CHECKED + 1;
    memcpy(r->text, ids, r->n_text * sizeof *ids);
    r->measured = status == HY_OK;
    return status;
}

/* With the model loaded. */
static int measure(ladder *l, engine *e, rung *r)
{
    hy_token *ids = malloc(l->n_gen * sizeof *ids);
    double *speeds = calloc(l->reps, sizeof *speeds);
    int code = ids && speeds ? engine_session(e, l->n_gen, hy_cpu_count(), false)
                             : cli_fail(l->o, "out of memory");
    if (code == CLI_OK) {
        const hy_sampler_opts opts = {.size = sizeof opts, .greedy = true};
        hy_error err = {HY_OK, ""};
        hy_sampler *greedy = NULL;
        term_cancel_on_interrupt(e->session);
        hy_status status = hy_sampler_create(&opts, NULL, NULL, &greedy, &err);
        status = status == HY_OK ? run_all(l, e, greedy, ids, speeds, r, &err) : status;
        term_cancel_on_interrupt(NULL);
        hy_sampler_destroy(greedy);
        code = status == HY_OK ? CLI_OK : cli_error(l->o, &err);
    }
    if (code == CLI_OK) {
        l->bytes = engine_token_bytes(e, (l->n_gen - 1) / 2.0);
        r->bytes_per_second = l->bytes * r->speed;
        snprintf(l->model, sizeof l->model, "%s %s", hy_model_arch(e->model),
                 gguf_file_type(hy_model_gguf(e->model)));
    }
    if (code == CLI_OK && !is_native(r)) {
        hy_error err = {HY_OK, ""};
        hy_model_gpu_info(e->model, &l->gpu);
        if (l->read <= 0 && hy_model_gpu_read_speed(e->model, &l->read, &err) != HY_OK) {
            cli_error(l->o, &err); /* the ladder is worth showing without */
        }
    }
    free(ids);
    free(speeds);
    return code;
}

enum { MOST_MASK = 150 /* bytes of --gpu-mask */ };

static int climb(ladder *l, rung *r)
{
    const char *given = OPT(l->o, GPU_MASK)->s;
    char mask[MOST_MASK + 150];
    options asked = *l->o;
    engine e;
    memset(&e, 0, sizeof e);
    snprintf(mask, sizeof mask, "%s%s%s", given ? given : "",
             given && *given && r->mask && *r->mask ? "," : "", r->mask ? r->mask : "");
    if (!is_native(r)) { /* a choice of `tune` would be found by some of the rungs only */
        const size_t n = strlen(mask);
        snprintf(mask + n, sizeof mask - n, "%sno-tuned", n > 0 ? "," : "");
    }
    OPT(&asked, GPU_MASK)->s = *mask ? mask : NULL;
    OPT(&asked, BACKEND)->s = is_native(r) ? r->name : "webgpu";
    if (r->alone) {
        OPT(&asked, NO_FUSE)->s = "all";
    }
    int code = engine_load(&e, &asked, false);
    if (code != CLI_OK && is_native(r) && !term_interrupted()) {
        snprintf(r->why, sizeof r->why, "the %s backend does not work here", r->name);
        code = CLI_OK;
    } else if (code == CLI_OK && is_there(&e, r)) {
        code = measure(l, &e, r);
    }
    engine_close(&e);
    return code;
}

/* ---- all of them */

/* A native backend, if the program has one. */
static void add_native(ladder *l)
{
    static const char *const names[] = {"cuda", "metal"};
    rung *r = &l->rungs[l->n++];
    *r = (rung){.name = "native",
                .what = "a backend for this GPU without WebGPU",
                .needs = "",
                .least = LADDER_NATIVE_LEAST,
                .most = LADDER_NATIVE_MOST};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *absent = hy_backend_absent_reason(names[i]);
        if (!absent) {
            r->name = names[i];
            r->why[0] = '\0';
            return;
        }
        const size_t n = strlen(r->why);
        snprintf(r->why + n, sizeof r->why - n, "%s%s", n ? ", and " : "missing: ", absent);
    }
}

static int climb_all(ladder *l)
{
    const rung *first = NULL, *before = NULL;
    for (size_t i = 0; i < l->n; i++) {
        rung *r = &l->rungs[i];
        if (term_is_tty(stderr)) {
            fprintf(stderr, "\r\033[K%s", r->name);
        }
        const int code = r->why[0] ? CLI_OK : climb(l, r);
        if (code != CLI_OK) {
            return code;
        }
        if (r->measured) {
            r->step = before && before->speed > 0 ? r->speed / before->speed : 0;
            r->total = first && first->speed > 0 ? r->speed / first->speed : 0;
            first = first ? first : r;
            before = r;
        }
        if (term_interrupted()) {
            return CLI_INTERRUPTED;
        }
    }
    if (term_is_tty(stderr)) {
        fprintf(stderr, "\r\033[K");
    }
    return CLI_OK;
}

/* Tokens behind the first that both texts begin with. */
static size_t same_tokens(const rung *a, const rung *b)
{
    size_t n = 1;
    while (n < a->n_text && n < b->n_text && a->text[n] == b->text[n]) {
        n++;
    }
    return n - 1;
}

/* Equal texts are judged once. */
static int check_all(ladder *l)
{
    options asked = *l->o;
    engine other;
    memset(&other, 0, sizeof other);
    OPT(&asked, BACKEND)->s = l->check;
    OPT(&asked, GPU_MASK)->s = NULL;
    int code = engine_load(&other, &asked, false);
    for (size_t i = 0; code == CLI_OK && i < l->n; i++) {
        rung *r = &l->rungs[i];
        for (size_t k = 0; k < i && r->measured && r->check.n == 0; k++) {
            if (l->rungs[k].measured && same_tokens(&l->rungs[k], r) + 1 == r->n_text) {
                r->check = l->rungs[k].check;
            }
        }
        if (r->measured && r->check.n == 0) {
            code = greedy_compare(&other, r->text, r->n_text, &r->check);
        }
    }
    engine_close(&other);
    return code;
}

/* ---- output */

static void factor_text(char *to, size_t cap, double x)
{
    to[0] = '\0';
    if (x > 0) {
        snprintf(to, cap, "%.2f", x);
    }
}

static void expected_text(char *to, size_t cap, double least, double most)
{
    to[0] = '\0';
    if (most > 0) {
        snprintf(to, cap, "%.1f to %.1f", least, most);
    }
}

static void print_row(const ladder *l, const rung *r)
{
    char step[24], total[24], expected[32], speed[40];
    factor_text(step, sizeof step, r->step);
    factor_text(total, sizeof total, r->total);
    expected_text(expected, sizeof expected, r->least, r->most);
    if (!r->measured) {
        printf("| %-9s | %17s | %7s | %10s | %7s | %8s | %7s | %10s | %11s |\n", r->name, "missing",
               "", expected, "", "", "", "", "");
        return;
    }
    snprintf(speed, sizeof speed, "%.2f \xC2\xB1 %.2f", r->speed, r->deviation);
    /* The sign between both numbers has two bytes and one column. */
    printf("| %-9s | %18s | %7s | %10s | %7s | %8.2f | %5.1f %% | %10.1f | %4zu of %4zu |\n",
           r->name, speed, step, expected, total, r->bytes_per_second / 1e9,
           l->read > 0 ? 100 * r->bytes_per_second / l->read : 0.0, r->dispatches,
           r->check.agree, r->check.n);
}

/* Whether all rungs wrote the same, and by how much the judge prefers what it would have written. */
static void print_texts(const ladder *l)
{
    const rung *last = NULL;
    bool all = true;
    for (size_t i = 0; i < l->n; i++) {
        last = l->rungs[i].measured ? &l->rungs[i] : last;
    }
    for (size_t i = 0; last && i < l->n; i++) {
        const rung *r = &l->rungs[i];
        const size_t n = r->measured ? same_tokens(r, last) : 0;
        if (r->measured && n + 1 < last->n_text) {
            all = false;
            printf("%s chooses another token than %s behind %zu\n", r->name, last->name, n);
        }
        if (r->measured && r->check.agree < r->check.n) {
            printf("%s: %s prefers another token by %.2f %% of the logits' rms at most\n", r->name,
                   l->check, 100 * r->check.lead);
        }
    }
    if (last && all) {
        printf("all rungs choose the same %zu tokens\n", last->n_text - 1);
    }
}

static void print_markdown(const ladder *l)
{
    const double all = ladder_all(l);
    printf("%s, %.2f MB for a token; %s, %s through %s", l->model, l->bytes / 1e6, l->gpu.library,
           l->gpu.adapter, l->gpu.api);
    if (l->read > 0) {
        printf(", which reads %.1f GB/s", l->read / 1e9);
    }
    printf("; halyard %s\n\n", hy_version());
    printf("| %-9s | %17s | %7s | %10s | %7s | %8s | %7s | %10s | %12s |\n", "rung", "t/s", "step",
           "expected", "in all", "GB/s", "of read", "dispatches", l->check);
    printf("| --------- | ----------------: | ------: | ---------: | ------: | -------: | ------: | "
           "---------: | -----------: |\n");
    for (size_t i = 0; i < l->n; i++) {
        print_row(l, &l->rungs[i]);
    }
    printf("\n");
    if (all > 0) {
        printf("at best %.2f times the first rung; %.1f to %.1f was expected of all together\n", all,
               LADDER_ALL_LEAST, LADDER_ALL_MOST);
    }
    print_texts(l);
    printf("\n");
    for (size_t i = 0; i < l->n; i++) {
        const rung *r = &l->rungs[i];
        printf("- %s: %s%s%s\n", r->name, r->what, r->measured ? "" : "; ",
               r->measured ? "" : r->why);
    }
}

static json_t *number_or_null(double x)
{
    return x > 0 ? json_real(x) : json_null();
}

static json_t *rung_json(const ladder *l, const rung *r)
{
    json_t *root = json_pack("{s:s, s:s, s:b}", "rung", r->name, "adds", r->what, "measured",
                             (int)r->measured);
    json_t *kernels = json_array();
    char hash[20];
    for (size_t k = 0; k < r->n_kernels; k++) {
        json_array_append_new(kernels, json_string(r->kernels[k]));
    }
    snprintf(hash, sizeof hash, "%016llx",
             (unsigned long long)greedy_hash(r->text + 1, r->n_text ? r->n_text - 1 : 0));
    json_object_set_new(root, "why", r->measured ? json_null() : json_string(r->why));
    json_object_set_new(root, "expected_least", number_or_null(r->least));
    json_object_set_new(root, "expected_most", number_or_null(r->most));
    json_object_set_new(root, "tokens_per_second", number_or_null(r->speed));
    json_object_set_new(root, "deviation", r->measured ? json_real(r->deviation) : json_null());
    json_object_set_new(root, "step", number_or_null(r->step));
    json_object_set_new(root, "total", number_or_null(r->total));
    json_object_set_new(root, "gb_per_second", number_or_null(r->bytes_per_second / 1e9));
    json_object_set_new(root, "bandwidth_share",
                        number_or_null(l->read > 0 ? r->bytes_per_second / l->read : 0));
    json_object_set_new(root, "dispatches_per_token", number_or_null(r->dispatches));
    json_object_set_new(root, "submits_per_token", number_or_null(r->submits));
    json_object_set_new(root, "cpu_us_per_token", number_or_null(r->cpu_us));
    json_object_set_new(root, "text_hash", r->measured ? json_string(hash) : json_null());
    json_object_set_new(root, "check_tokens", json_integer((json_int_t)r->check.n));
    json_object_set_new(root, "check_agree", json_integer((json_int_t)r->check.agree));
    json_object_set_new(root, "check_lead", json_real(r->check.lead));
    json_object_set_new(root, "kernels", kernels);
    return root;
}

static int print_json(const ladder *l)
{
    const char *path = OPT(l->o, MODEL)->s;
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++) {
        json_array_append_new(list, rung_json(l, &l->rungs[i]));
    }
    json_t *root = json_pack(
        "{s:o, s:s, s:s, s:s, s:o, s:s, s:I, s:I, s:f, s:o, s:s, s:o, s:f, s:f, s:o}",
        "model_filename", json_bytes(path, strlen(path)), "model_type", l->model, "build_version",
        hy_version(), "gpu_library", l->gpu.library, "gpu_info",
        json_bytes(l->gpu.adapter, strlen(l->gpu.adapter)), "gpu_api",
        l->gpu.api ? l->gpu.api : "", "n_gen", (json_int_t)l->n_gen, "repetitions",
        (json_int_t)l->reps, "bytes_per_token", l->bytes, "read_gb_per_second",
        number_or_null(l->read / 1e9), "check_backend", l->check, "total",
        number_or_null(ladder_all(l)), "total_expected_least", LADDER_ALL_LEAST,
        "total_expected_most", LADDER_ALL_MOST, "rungs", list);
    char *out = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!out) {
        return cli_fail(l->o, "out of memory");
    }
    puts(out);
    free(out);
    return CLI_OK;
}

static int write_chart(const ladder *l, FILE *out)
{
    if (!out) {
        return CLI_OK;
    }
    const bool written = ladder_svg(l, out);
    return fclose(out) == 0 && written
               ? CLI_OK
               : cli_fail(l->o, "%s could not be written", OPT(l->o, BENCH_SVG)->s);
}

/* ---- the command */

static int look_at_options(const options *o)
{
    const char *backend = OPT(o, BACKEND)->s, *path = OPT(o, MODEL)->s, *svg = OPT(o, BENCH_SVG)->s;
    const char *check = OPT(o, BENCH_CHECK)->s, *mask = OPT(o, GPU_MASK)->s;
    if (backend && strcmp(backend, "webgpu") != 0) {
        return cli_usage(o, "--ladder is of the backend webgpu, not of %s", backend);
    }
    if (OPT(o, BENCH_PROFILE)->on || OPT(o, BENCH_TRACE)->s) {
        return cli_usage(o, "--ladder goes without --profile and --trace");
    }
    if (strcmp(OPT(o, BENCH_OUTPUT)->s, "csv") == 0) {
        return cli_usage(o, "--ladder prints md or json");
    }
    if (OPT(o, BENCH_GEN)->n != 1 || OPT(o, BENCH_GEN)->ints[0] < 2) {
        return cli_usage(o, "--ladder wants one number of --n-gen, 2 or more");
    }
    if (mask && (strstr(mask, "no-codes") || strstr(mask, "no-planes") || strstr(mask, "no-lanes"))) {
        return cli_usage(o, "--ladder goes without the masks no-codes, no-planes and no-lanes: they "
                            "are its first rungs");
    }
    if (mask && strlen(mask) > MOST_MASK) {
        return cli_usage(o, "--gpu-mask is longer than %d bytes", MOST_MASK);
    }
    size_t known = 0;
    while (check && hy_backend_at(known) && strcmp(hy_backend_at(known), check) != 0) {
        known++;
    }
    if (check && !hy_backend_at(known)) {
        return cli_usage(o, "--check: there is no backend \"%s\"", check);
    }
    if (check && hy_backend_absent_reason(check)) {
        return cli_fail(o, "--check %s: %s", check, hy_backend_absent_reason(check));
    }
    if (path && svg && term_same_file(path, svg)) {
        return cli_fail(o, "%s is the model's own file; it would be lost", svg);
    }
    return CLI_OK;
}

int ladder_run(const options *o)
{
    const char *svg = OPT(o, BENCH_SVG)->s, *check = OPT(o, BENCH_CHECK)->s;
    ladder l = {.o = o, .check = check ? check : "cpu", .gpu = {.size = sizeof l.gpu}};
    FILE *chart = NULL;
    int code = look_at_options(o);
    if (code != CLI_OK) {
        return code;
    }
    l.n_gen = (uint32_t)OPT(o, BENCH_GEN)->ints[0];
    l.reps = (uint32_t)OPT(o, BENCH_REPS)->i;
    l.rungs = calloc(N_RUNGS + 1, sizeof *l.rungs);
    if (!l.rungs) {
        return cli_fail(o, "out of memory");
    }
    memcpy(l.rungs, rungs, sizeof rungs);
    l.n = N_RUNGS;
    add_native(&l);
    if (svg && !(chart = fopen(svg, "w"))) {
        code = cli_fail(o, "%s cannot be opened for writing: %s", svg, strerror(errno));
    }
    code = code == CLI_OK ? climb_all(&l) : code;
    code = code == CLI_OK ? check_all(&l) : code;
    if (code == CLI_OK) {
        code = write_chart(&l, chart);
        chart = NULL;
    }
    if (code == CLI_OK && strcmp(OPT(o, BENCH_OUTPUT)->s, "json") == 0) {
        code = print_json(&l);
    } else if (code == CLI_OK) {
        print_markdown(&l);
    }
    if (chart) {
        fclose(chart); /* something failed before */
    }
    free(l.rungs);
    return code == CLI_OK ? cli_finish_output() : code;
}
