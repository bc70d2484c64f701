/* cmd_bench.c: `halyard bench`: tokens per second beside the bytes that a token needs.  One thread
 * (sessions and the bandwidth measurement start their own). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bandwidth.h"
#include "gguf_facts.h"
#include "greedy.h"
#include "ladder.h"
#include "profile.h"
#include "scores.h"
#include "term.h"

enum { CHECKED = 32 /* tokens of --check */ };

/* One row of the result. */
typedef struct test {
    uint32_t n_prompt; /* one of both is 0 */
    uint32_t n_gen;
    uint32_t n_threads;
    double *ns;    /* [repetitions] */
    double *speed; /* [repetitions] tokens per second */
    char time[32];
    double bytes;     /* that one token of the test must read */
    double bandwidth; /* bytes per second of this machine with these threads, or of its GPU */
    double cpu_us;    /* for each token, of all threads of the process */
    double dispatches, submits; /* to the GPU, for each token */
    profile phases;             /* filled if --profile or --trace asks for it */
    double *phases_ns;          /* [repetitions] of the runs whose phases were timed */
    hy_token text[CHECKED + 1]; /* what was chosen behind the first, with --check */
    size_t n_text;
    greedy_check check;
} test;

typedef struct bench {
    engine e;
    test *tests;
    size_t n;
    uint32_t reps;
    uint64_t peak; /* bytes of memory, before the bandwidth was measured */
    bool profiles; /* times of phases are taken */
    bool on_gpu;
    hy_webgpu_info gpu;
    FILE *trace;   /* of --trace, or NULL */
} bench;

/* "tg128" */
static const char *test_name(const test *t, char *buf, size_t cap)
{
    snprintf(buf, cap, "%s%u", t->n_prompt ? "pp" : "tg", t->n_prompt ? t->n_prompt : t->n_gen);
    return buf;
}

/* One run of a test; *ns is its time. */
static hy_status run_once(engine *e, const test *t, const hy_sampler *greedy, hy_token *ids,
                          double *ns, hy_error *err)
{
    const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
    uint64_t state = 1;
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = greedy_arbitrary(&state, e->info.n_vocab);
    }
    hy_session_reset(e->session);
    hy_status status = HY_OK;
    const uint64_t start = term_now_ns();
    if (t->n_prompt) {
        status = greedy_evaluate(e->session, ids, n, err);
    } else if (greedy) {
        status = greedy_generate(e->session, greedy, ids, n, err);
    } else {
        for (uint32_t i = 0; status == HY_OK && i < n; i++) {
            status = greedy_evaluate(e->session, &ids[i], 1, err);
        }
    }
    *ns = (double)(term_now_ns() - start);
    return status;
}

/* All repetitions, with or without the times of phases. */
static hy_status repeat(bench *b, test *t, const hy_sampler *greedy, hy_token *ids, bool phases,
                        double *ns, hy_error *err)
{
    engine *e = &b->e;
    const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
    hy_status status = hy_session_set_profile(e->session, phases ? profile_phase : NULL,
                                              phases ? &t->phases : NULL, err);
    for (uint32_t r = 0; status == HY_OK && r < b->reps; r++) {
        if (phases) {
            profile_begin(&t->phases);
        }
        status = run_once(e, t, greedy, ids, &ns[r], err);
        if (phases) {
            profile_end(&t->phases, n, ns[r]);
        }
    }
    return status;
}

/* The measured runs of a test, after the one that is not counted.  A GPU times phases apart from
 * each other, which takes longer: it does so in runs of their own. */
static hy_status run_all(bench *b, test *t, const hy_sampler *greedy, hy_token *ids, hy_error *err)
{
    engine *e = &b->e;
    const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
    const bool together = b->profiles && !b->on_gpu;
    hy_gpu_counts before = {.size = sizeof before}, after = {.size = sizeof after};
    hy_status status = HY_OK;
    if (OPT(e->o, BENCH_WARMUP)->on) {
        status = run_once(e, t, greedy, ids, &t->ns[0], err);
    }
    hy_model_gpu_counts(e->model, &before);
    const uint64_t cpu = term_cpu_ns();
    status = status == HY_OK ? repeat(b, t, greedy, ids, together, t->ns, err) : status;
    const double tokens = (double)n * b->reps;
    t->cpu_us = (double)(term_cpu_ns() - cpu) / 1e3 / tokens;
    if (hy_model_gpu_counts(e->model, &after) && after.tokens > before.tokens) {
        t->dispatches =
            (double)(after.dispatches - before.dispatches) / (double)(after.tokens - before.tokens);
        t->submits = (double)(after.submits - before.submits) / tokens;
    }
    for (uint32_t r = 0; r < b->reps; r++) {
        t->speed[r] = t->ns[r] > 0 ? n * 1e9 / t->ns[r] : 0;
    }
    if (greedy && t->n_gen) {
        t->n_text = n < CHECKED + 1 ? n : CHECKED + 1;
        memcpy(t->text, ids, t->n_text * sizeof *ids);
    }
    if (status == HY_OK && b->profiles && !together) {
        return repeat(b, t, greedy, ids, true, t->phases_ns, err);
    }
    memcpy(t->phases_ns, t->ns, b->reps * sizeof *t->ns);
    return status;
}

static int run_test(bench *b, test *t)
{
    engine *e = &b->e;
    const options *o = e->o;
    const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
    hy_token *ids = malloc(n * sizeof *ids);
    t->ns = calloc(b->reps, sizeof *t->ns);
    t->speed = calloc(b->reps, sizeof *t->speed);
    t->phases_ns = calloc(b->reps, sizeof *t->phases_ns);
    int code = ids && t->ns && t->speed && t->phases_ns ? CLI_OK : cli_fail(o, "out of memory");
    if (code == CLI_OK) {
        code = engine_session(e, n, t->n_threads, false);
    }
    if (code == CLI_OK && b->profiles &&
        !profile_init(&t->phases, e->session, b->reps, b->trace != NULL)) {
        code = cli_fail(o, "out of memory");
    }
    if (code == CLI_OK) {
        hy_error err = {HY_OK, ""};
        term_cancel_on_interrupt(e->session);
        term_utc(t->time, sizeof t->time);
        /* A backend that draws tokens itself is measured doing so. */
        const hy_sampler_opts greedy_opts = {.size = sizeof greedy_opts, .greedy = true};
        hy_sampler *greedy = NULL;
        hy_status status = hy_model_draws_ahead(e->model) || OPT(o, BENCH_CHECK)->s
                               ? hy_sampler_create(&greedy_opts, NULL, NULL, &greedy, &err)
                               : HY_OK;
        status = status == HY_OK ? run_all(b, t, greedy, ids, &err) : status;
        hy_sampler_destroy(greedy);
        term_cancel_on_interrupt(NULL);
        code = status == HY_OK ? CLI_OK : cli_error(o, &err);
        if (code == CLI_OK && t->phases.lost) {
            code = cli_fail(o, "out of memory for the trace");
        }
        /* The cache of a transformer is read up to the position of each token: half the length on
         * average. */
        const double tokens = (double)n * (b->reps + (OPT(o, BENCH_WARMUP)->on ? 1 : 0));
        t->bytes = engine_token_bytes(e, (n - 1) / 2.0) - engine_spared_bytes(e) / tokens;
    }
    hy_session_destroy(e->session);
    e->session = NULL;
    free(ids);
    return code;
}

/* ---- output: phases */

/* A row of the table of phases; kind NULL: the rest. */
static void print_phase(const char *kind, const char *name, bool spares, uint32_t n, double ns,
                        double all_ns)
{
    char title[200];
    snprintf(title, sizeof title, "%s%s%s%s", kind ? kind : "", kind ? " " : "", name,
             spares ? ", zeros left out" : "");
    printf("| %-60s | %5.0u | %10.1f | %5.1f %% | ", title, n, ns / 1e3,
           all_ns > 0 ? 100 * ns / all_ns : 0.0);
}

/* Whether it has the row's kernel number k, of those of its phases each once; its text. */
static bool row_kernel(const test *t, uint32_t row, uint32_t k, char *name, size_t cap)
{
    const profile *p = &t->phases;
    uint32_t n = 0;
    char seen[32][128];
    for (uint32_t i = 0; i < p->n_phases; i++) {
        for (uint32_t j = 0;
             p->row_of[i] == row && hy_model_gpu_kernel(p->model, i, t->n_prompt > 1, j, name, cap);
             j++) {
            uint32_t at = 0;
            while (at < n && strcmp(seen[at], name) != 0) {
                at++;
            }
            if (at == n && n == k) {
                return true;
            }
            if (at == n && n < sizeof seen / sizeof *seen) {
                snprintf(seen[n++], sizeof *seen, "%s", name);
            }
        }
    }
    return false;
}

static void print_kernels(const test *t)
{
    const profile *p = &t->phases;
    char kernel[128];
    printf("\nkernels of these phases\n\n");
    for (uint32_t i = 0; i < p->n_rows; i++) {
        uint32_t n = 0;
        printf("- %s %s", p->rows[i].kind, p->rows[i].name);
        for (; row_kernel(t, i, n, kernel, sizeof kernel); n++) {
            printf("%s %s", n ? ";" : ":", kernel);
        }
        printf("%s\n", n ? "" : ": in those of the next phase");
    }
}

static void print_phases(const bench *b, const test *t)
{
    const profile *p = &t->phases;
    const double tokens = t->n_prompt ? t->n_prompt : t->n_gen;
    const double all_ns = scores_median(t->phases_ns, b->reps) / tokens;
    double sum = 0;
    char name[24];
    printf("\n%s with %u thread%s: phases, for each token\n\n", test_name(t, name, sizeof name),
           t->n_threads, t->n_threads == 1 ? "" : "s");
    printf("| %-60s | %5s | %10s | %7s | %8s | %8s | %7s | %8s |\n", "phase", "count", "us",
           "of all", "MB", "GB/s", "of read", "Gop/s");
    printf("| ------------------------------------------------------------ | ----: | ---------: | "
           "------: | -------: | -------: | ------: | -------: |\n");
    for (uint32_t i = 0; i < p->n_rows; i++) {
        const profile_row *row = &p->rows[i];
        const double ns = profile_ns(p, row);
        const double bytes = profile_bytes(p, row);
        const double rate = bytes / ns; /* bytes in a nanosecond are GB in a second */
        sum += ns;
        print_phase(row->kind, row->name, row->spares, row->n_phases, ns, all_ns);
        if (ns <= 0) { /* it has no kernels of its own */
            printf("%8.3f | %8s | %7s | %8s |\n", bytes / 1e6, "", "", "");
            continue;
        }
        printf("%8.3f | %8.2f | %5.1f %% | %8.1f |\n", bytes / 1e6, rate,
               t->bandwidth > 0 ? 100e9 * rate / t->bandwidth : 0.0, profile_ops(p, row) / ns);
    }
    print_phase(NULL, "outside of phases", false, 0, profile_rest_ns(p), all_ns);
    printf("%8s | %8s | %7s | %8s |\n", "", "", "", "");
    if (b->on_gpu) {
        printf(
            "\ntimes of phases are the GPU's, each timed apart from the others: together %.1f us "
            "of %.1f us; in the test, which does not time them, all of it takes %.1f us\n",
            sum / 1e3, all_ns / 1e3, scores_median(t->ns, b->reps) / tokens / 1e3);
        print_kernels(t);
    }
}

static json_t *phases_json(const test *t)
{
    const profile *p = &t->phases;
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->n_rows; i++) {
        const profile_row *row = &p->rows[i];
        const double ns = profile_ns(p, row);
        const double bytes = profile_bytes(p, row);
        const double rate = ns > 0 ? bytes / ns : 0;
        json_t *entry = json_pack(
            "{s:s, s:s, s:b, s:I, s:f, s:f, s:f, s:f, s:f}", "kind", row->kind, "phase", row->name,
            "zeros_left_out", (int)row->spares, "count", (json_int_t)row->n_phases, "ns_per_token",
            ns, "bytes_per_token", bytes, "gb_per_second", rate, "bandwidth_share",
            t->bandwidth > 0 ? rate * 1e9 / t->bandwidth : 0.0, "gop_per_second",
            ns > 0 ? profile_ops(p, row) / ns : 0.0);
        json_t *kernels = json_array();
        char kernel[128];
        for (uint32_t k = 0; row_kernel(t, i, k, kernel, sizeof kernel); k++) {
            json_array_append_new(kernels, json_string(kernel));
        }
        json_object_set_new(entry, "kernels", kernels);
        json_array_append_new(list, entry);
    }
    return list;
}

/* The last run of every test as a trace that Chrome's tracing page and Perfetto show. */
static bool write_trace(const bench *b)
{
    bool first = true;
    fprintf(b->trace, "{\"traceEvents\":[\n");
    for (size_t i = 0; i < b->n; i++) {
        char name[24];
        char title[64];
        snprintf(title, sizeof title, "%s, threads: %u", test_name(&b->tests[i], name, sizeof name),
                 b->tests[i].n_threads);
        profile_trace(&b->tests[i].phases, b->trace, (int)i + 1, title, &first);
    }
    fprintf(b->trace, "\n]}\n");
    return !ferror(b->trace);
}

/* ---- output */

static const char *const json_keys_and_ours =
    "model_filename,model_type,model_size,model_n_params,backends,n_batch,n_threads,n_prompt,n_gen,"
    "n_depth,test_time,"
    "avg_ns,stddev_ns,avg_ts,stddev_ts,median_ns,median_ts,bytes_per_token,gb_per_second,"
    "read_gb_per_second,bandwidth_share,load_ms,"
    "peak_bytes,cpu_info,build_version,gpu_library,gpu_info,gpu_api,cpu_us_per_token,"
    "dispatches_per_token,submits_per_token,text_hash,check_backend,check_tokens,check_agree,"
    "check_lead";

/* What a GPU or --check adds; null where there is none. */
static void set_gpu_json(const bench *b, const test *t, json_t *root)
{
    const bool gpu = b->on_gpu, chosen = t->n_text > 1, checked = t->check.n > 0;
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx",
             (unsigned long long)greedy_hash(t->text + 1, chosen ? t->n_text - 1 : 0));
    json_object_set_new(root, "gpu_library", gpu ? json_string(b->gpu.library) : json_null());
    json_object_set_new(root, "gpu_info", gpu ? json_string(b->gpu.adapter) : json_null());
    json_object_set_new(root, "gpu_api", gpu ? json_string(b->gpu.api) : json_null());
    json_object_set_new(root, "cpu_us_per_token", json_real(t->cpu_us));
    json_object_set_new(root, "dispatches_per_token", gpu ? json_real(t->dispatches) : json_null());
    json_object_set_new(root, "submits_per_token", gpu ? json_real(t->submits) : json_null());
    json_object_set_new(root, "text_hash", chosen ? json_string(hash) : json_null());
    json_object_set_new(root, "check_backend",
                        checked ? json_string(OPT(b->e.o, BENCH_CHECK)->s) : json_null());
    json_object_set_new(root, "check_tokens",
                        checked ? json_integer((json_int_t)t->check.n) : json_null());
    json_object_set_new(root, "check_agree",
                        checked ? json_integer((json_int_t)t->check.agree) : json_null());
    json_object_set_new(root, "check_lead", checked ? json_real(t->check.lead) : json_null());
}

static json_t *test_json(const bench *b, const test *t)
{
    const engine *e = &b->e;
    double ns = 0;
    double ns_dev = 0;
    double ts = 0;
    double ts_dev = 0;
    scores_mean(t->ns, b->reps, &ns, &ns_dev);
    scores_mean(t->speed, b->reps, &ts, &ts_dev);
    char type[64];
    char cpu[128];
    snprintf(type, sizeof type, "%s %s", hy_model_arch(e->model),
             gguf_file_type(hy_model_gguf(e->model)));
    term_cpu_name(cpu, sizeof cpu);
    const char *path = OPT(e->o, MODEL)->s;
    const int64_t batch = OPT(e->o, BATCH)->i;
    json_t *samples_ns = json_array();
    json_t *samples_ts = json_array();
    for (uint32_t r = 0; r < b->reps; r++) {
        json_array_append_new(samples_ns, json_integer((json_int_t)t->ns[r]));
        json_array_append_new(samples_ts, json_real(t->speed[r]));
    }
    /* Prompts read the weights once a step, not once a token: bytes and bandwidth are those of
     * generation. */
    const bool gen = t->n_gen > 0;
    const double median = scores_median(t->speed, b->reps);
    const double rate = t->bytes * median;
    json_t *root = json_pack(
        "{s:o, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:f, s:f, s:o, s:o, "
        "s:I, s:f, s:s, s:s, s:f, s:I}",
        "model_filename", json_bytes(path, strlen(path)), "model_type", type, "model_size",
        (json_int_t)e->info.weight_bytes, "model_n_params", (json_int_t)e->info.n_params,
        "backends", hy_model_backend(e->model), "n_batch", (json_int_t)(batch ? batch : 512),
        "n_threads", (json_int_t)t->n_threads, "n_prompt", (json_int_t)t->n_prompt, "n_gen",
        (json_int_t)t->n_gen, "n_depth", (json_int_t)0, "test_time", t->time, "avg_ns",
        (json_int_t)ns, "stddev_ns", (json_int_t)ns_dev, "avg_ts", ts, "stddev_ts", ts_dev,
        "samples_ns", samples_ns, "samples_ts", samples_ts, "median_ns",
        (json_int_t)scores_median(t->ns, b->reps), "median_ts", median, "cpu_info", cpu,
        "build_version", hy_version(), "load_ms", (double)e->load_ns / 1e6, "peak_bytes",
        (json_int_t)b->peak);
    if (root) {
        json_object_set_new(root, "bytes_per_token", gen ? json_real(t->bytes) : json_null());
        json_object_set_new(root, "gb_per_second", gen ? json_real(rate / 1e9) : json_null());
        json_object_set_new(root, "read_gb_per_second", json_real(t->bandwidth / 1e9));
        json_object_set_new(root, "bandwidth_share",
                            gen && t->bandwidth > 0 ? json_real(rate / t->bandwidth) : json_null());
        set_gpu_json(b, t, root);
        if (OPT(e->o, BENCH_PROFILE)->on) {
            json_object_set_new(root, "phases_ns", json_real(scores_median(t->phases_ns, b->reps)));
            json_object_set_new(root, "phases", phases_json(t));
            json_object_set_new(root, "rest_ns", json_real(profile_rest_ns(&t->phases)));
        }
    }
    return root;
}

static int print_json(const bench *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < b->n; i++) {
        if (json_array_append_new(list, test_json(b, &b->tests[i])) != 0) {
            json_decref(list);
            return cli_fail(b->e.o, "out of memory");
        }
    }
    char *out = json_dumps(list, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(list);
    if (!out) {
        return cli_fail(b->e.o, "out of memory");
    }
    puts(out);
    free(out);
    return CLI_OK;
}

/* A field of a CSV line, every one in quotes as llama-bench has them. */
static void print_csv_field(const json_t *value)
{
    putchar('"');
    if (json_is_integer(value)) {
        printf("%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        printf("%.9g", json_real_value(value));
    } else if (json_is_string(value)) {
        for (const char *s = json_string_value(value); *s; s++) {
            if (*s == '"') {
                putchar('"');
            }
            putchar(*s);
        }
    }
    putchar('"');
}

static int print_csv(const bench *b)
{
    printf("%s\n", json_keys_and_ours);
    for (size_t i = 0; i < b->n; i++) {
        json_t *root = test_json(b, &b->tests[i]);
        if (!root) {
            return cli_fail(b->e.o, "out of memory");
        }
        for (const char *key = json_keys_and_ours; *key;) {
            char name[32];
            const size_t len = strcspn(key, ",");
            snprintf(name, sizeof name, "%.*s", (int)len, key);
            print_csv_field(json_object_get(root, name));
            key += len;
            if (*key == ',') {
                putchar(',');
                key++;
            }
        }
        putchar('\n');
        json_decref(root);
    }
    return CLI_OK;
}

static void print_check(const bench *b, const test *t)
{
    char name[24];
    printf("%s: the text is %016llx; %s chooses %zu of its %zu tokens",
           test_name(t, name, sizeof name),
           (unsigned long long)greedy_hash(t->text + 1, t->n_text - 1), OPT(b->e.o, BENCH_CHECK)->s,
           t->check.agree, t->check.n);
    if (t->check.agree < t->check.n) {
        printf(", and prefers another one by %.2f %% of the logits' rms at most",
               100 * t->check.lead);
    }
    printf("\n");
}

/* What a GPU was asked for, and what that cost the processor. */
static void print_gpu(const bench *b)
{
    printf("%s, %s through %s%s%s%s\n", b->gpu.library, b->gpu.adapter, b->gpu.api,
           b->gpu.packed_dot ? ", dot" : "", b->gpu.subgroups ? ", subgroups" : "",
           b->gpu.f16 ? ", f16" : "");
    for (size_t i = 0; i < b->n; i++) {
        const test *t = &b->tests[i];
        const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
        const double us = scores_median(t->ns, b->reps) / 1e3 / n;
        char name[24];
        printf("%s, for each token: %.1f dispatches, %.3f submits, %.1f us of CPU time (%.1f %% of "
               "its %.1f us)\n",
               test_name(t, name, sizeof name), t->dispatches, t->submits, t->cpu_us,
               us > 0 ? 100 * t->cpu_us / us : 0.0, us);
    }
}

static void print_bandwidth(const bench *b)
{
    uint32_t shown = 0;
    if (b->on_gpu) {
        printf(", this GPU reads %.1f GB/s", b->tests[0].bandwidth / 1e9);
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        if (b->tests[i].n_threads != shown) {
            printf("%s %.1f GB/s with %u thread%s", shown ? " and" : ", this machine reads",
                   b->tests[i].bandwidth / 1e9, b->tests[i].n_threads,
                   b->tests[i].n_threads == 1 ? "" : "s");
            shown = b->tests[i].n_threads;
        }
    }
}

static void print_markdown(const bench *b)
{
    const engine *e = &b->e;
    char model[64];
    char size[32];
    char params[32];
    snprintf(model, sizeof model, "%s %s", hy_model_arch(e->model),
             gguf_file_type(hy_model_gguf(e->model)));
    bytes_text(e->info.weight_bytes, size, sizeof size);
    snprintf(params, sizeof params, e->info.n_params >= 1000000000 ? "%.2f B" : "%.2f M",
             (double)e->info.n_params / (e->info.n_params >= 1000000000 ? 1e9 : 1e6));
    printf("| %-20s | %10s | %10s | %-8s | %7s | %8s | %18s | %8s | %8s | %7s |\n", "model", "size",
           "params", "backend", "threads", "test", "t/s", "MB/token", "GB/s", "of read");
    printf("| -------------------- | ---------: | ---------: | -------- | ------: | -------: | "
           "-----------------: | "
           "-------: | -------: | ------: |\n");
    for (size_t i = 0; i < b->n; i++) {
        const test *t = &b->tests[i];
        double mean = 0;
        double dev = 0;
        char name[24];
        char speed[40];
        scores_mean(t->speed, b->reps, &mean, &dev);
        const double ts = scores_median(t->speed, b->reps);
        snprintf(speed, sizeof speed, "%.2f \xC2\xB1 %.2f", ts, dev);
        /* The sign between both numbers has two bytes and one column. */
        printf("| %-20s | %10s | %10s | %-8s | %7u | %8s | %19s | ", model, size, params,
               hy_model_backend(e->model), t->n_threads, test_name(t, name, sizeof name), speed);
        if (t->n_gen) {
            printf("%8.2f | %8.2f | %5.1f %% |\n", t->bytes / 1e6, t->bytes * ts / 1e9,
                   t->bandwidth > 0 ? 100 * t->bytes * ts / t->bandwidth : 0.0);
        } else {
            printf("%8s | %8s | %7s |\n", "", "", "");
        }
    }
    char peak[32];
    printf("\nload %.1f ms, peak memory %s", (double)e->load_ns / 1e6,
           bytes_text(b->peak, peak, sizeof peak));
    print_bandwidth(b);
    printf("; halyard %s\n", hy_version());
    if (b->on_gpu) {
        print_gpu(b);
    }
    for (size_t i = 0; i < b->n; i++) {
        if (b->tests[i].check.n > 0) {
            print_check(b, &b->tests[i]);
        }
    }
    for (size_t i = 0; i < b->n && OPT(e->o, BENCH_PROFILE)->on; i++) {
        print_phases(b, &b->tests[i]);
    }
}

/* ---- what to measure */

static int plan_tests(bench *b)
{
    const options *o = b->e.o;
    const opt_value *threads = OPT(o, BENCH_THREADS);
    const opt_value *sizes[2] = {OPT(o, BENCH_PROMPT), OPT(o, BENCH_GEN)};
    const size_t n_threads = threads->n ? threads->n : 1;
    b->tests = calloc(n_threads * (sizes[0]->n + sizes[1]->n) + 1, sizeof *b->tests);
    if (!b->tests) {
        return cli_fail(o, "out of memory");
    }
    for (size_t i = 0; i < n_threads; i++) {
        for (int kind = 0; kind < 2; kind++) {
            for (size_t k = 0; k < sizes[kind]->n; k++) {
                test *t = &b->tests[b->n];
                const uint32_t n = (uint32_t)sizes[kind]->ints[k];
                t->n_prompt = kind == 0 ? n : 0;
                t->n_gen = kind == 1 ? n : 0;
                t->n_threads = threads->n ? (uint32_t)threads->ints[i] : hy_cpu_count();
                b->n += n > 0;
            }
        }
    }
    return b->n > 0 ? CLI_OK : cli_usage(o, "nothing to measure: --n-prompt and --n-gen are 0");
}

static int open_trace(bench *b)
{
    const options *o = b->e.o;
    const char *path = OPT(o, BENCH_TRACE)->s;
    b->profiles = path || OPT(o, BENCH_PROFILE)->on;
    int code = path ? engine_keep_model(&b->e, path) : CLI_OK;
    if (code == CLI_OK && path && !(b->trace = fopen(path, "w"))) {
        code = cli_fail(o, "%s cannot be opened for writing: %s", path, strerror(errno));
    }
    return code;
}

static int close_trace(bench *b)
{
    if (!b->trace) {
        return CLI_OK;
    }
    const bool written = write_trace(b);
    const bool closed = fclose(b->trace) == 0;
    b->trace = NULL;
    return written && closed
               ? CLI_OK
               : cli_fail(b->e.o, "%s could not be written", OPT(b->e.o, BENCH_TRACE)->s);
}

/* How fast the weights can be read: of a GPU it is the same for all tests. */
static void measure_bandwidth(bench *b)
{
    hy_error err = {HY_OK, ""};
    for (size_t i = 0; i < b->n; i++) {
        test *t = &b->tests[i];
        if (i > 0 && (b->on_gpu || b->tests[i - 1].n_threads == t->n_threads)) {
            t->bandwidth = b->tests[i - 1].bandwidth;
        } else if (!b->on_gpu) {
            t->bandwidth = bandwidth_measure(t->n_threads);
        } else if (hy_model_gpu_read_speed(b->e.model, &t->bandwidth, &err) != HY_OK) {
            cli_error(b->e.o, &err); /* the tests are worth showing without */
        }
    }
}

/* Lets another backend choose behind the text of each test. */
static int check_texts(bench *b)
{
    const options *o = b->e.o;
    if (!OPT(o, BENCH_CHECK)->s) {
        return CLI_OK;
    }
    options asked = *o;
    engine other;
    memset(&other, 0, sizeof other);
    OPT(&asked, BACKEND)->s = OPT(o, BENCH_CHECK)->s;
    int code = engine_load(&other, &asked, false);
    for (size_t i = 0; code == CLI_OK && i < b->n; i++) {
        test *t = &b->tests[i];
        if (t->n_text > 1) {
            code = greedy_compare(&other, t->text, t->n_text, &t->check);
        }
    }
    engine_close(&other);
    return code;
}

static int measure(bench *b)
{
    const options *o = b->e.o;
    for (size_t i = 0; i < b->n; i++) {
        if (term_is_tty(stderr)) {
            fprintf(stderr, "\r\033[Ktest %zu of %zu", i + 1, b->n);
        }
        const int code = run_test(b, &b->tests[i]);
        if (code != CLI_OK) {
            return code;
        }
    }
    b->peak = term_peak_bytes();
    measure_bandwidth(b);
    if (term_interrupted()) {
        return CLI_INTERRUPTED;
    }
    const int code = check_texts(b);
    if (code != CLI_OK) {
        return code;
    }
    if (term_is_tty(stderr)) {
        fprintf(stderr, "\r\033[K");
    }
    const char *form = OPT(o, BENCH_OUTPUT)->s;
    if (strcmp(form, "json") == 0) {
        return print_json(b);
    }
    if (strcmp(form, "csv") == 0) {
        return print_csv(b);
    }
    print_markdown(b);
    return CLI_OK;
}

int cmd_bench(const options *o)
{
    if (OPT(o, BENCH_LADDER)->on) {
        return ladder_run(o);
    }
    if (OPT(o, BENCH_SVG)->s) {
        return cli_usage(o, "--svg needs --ladder");
    }
    bench b;
    memset(&b, 0, sizeof b);
    b.reps = (uint32_t)OPT(o, BENCH_REPS)->i;
    b.gpu.size = sizeof b.gpu;
    int code = engine_load(&b.e, o, false);
    b.on_gpu = code == CLI_OK && hy_model_gpu_info(b.e.model, &b.gpu);
    if (code == CLI_OK) {
        code = plan_tests(&b);
    }
    if (code == CLI_OK) {
        code = open_trace(&b);
    }
    if (code == CLI_OK) {
        code = measure(&b);
    }
    if (code == CLI_OK) {
        code = close_trace(&b);
    }
    if (code == CLI_OK) {
        code = cli_finish_output();
    }
    for (size_t i = 0; i < b.n; i++) {
        free(b.tests[i].ns);
        free(b.tests[i].speed);
        free(b.tests[i].phases_ns);
        profile_free(&b.tests[i].phases);
    }
    if (b.trace) {
        fclose(b.trace); /* something failed before */
    }
    free(b.tests);
    engine_close(&b.e);
    return code;
}
