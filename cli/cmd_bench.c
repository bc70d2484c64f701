/* cmd_bench.c: `halyard bench`: tokens per second beside the bytes that a token needs.  One thread
 * (sessions and the bandwidth measurement start their own). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bandwidth.h"
#include "generate.h"
#include "gguf_facts.h"
#include "profile.h"
#include "scores.h"
#include "term.h"

/* One row of the result. */
typedef struct test {
    uint32_t n_prompt; /* one of both is 0 */
    uint32_t n_gen;
    uint32_t n_threads;
    double *ns;    /* [repetitions] */
    double *speed; /* [repetitions] tokens per second */
    char time[32];
    double bytes;     /* that one token of the test must read */
    double bandwidth; /* bytes per second of this machine with these threads */
    profile phases;   /* filled if --profile or --trace asks for it */
} test;

typedef struct bench {
    engine e;
    test *tests;
    size_t n;
    uint32_t reps;
    uint64_t peak; /* bytes of memory, before the bandwidth was measured */
    bool profiles; /* times of phases are taken */
    FILE *trace;   /* of --trace, or NULL */
} bench;

/* "tg128" */
static const char *test_name(const test *t, char *buf, size_t cap)
{
    snprintf(buf, cap, "%s%u", t->n_prompt ? "pp" : "tg", t->n_prompt ? t->n_prompt : t->n_gen);
    return buf;
}

/* The same tokens in every run: a linear congruential sequence over the vocabulary. */
static hy_token next_id(uint64_t *state, uint32_t n_vocab)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (hy_token)((*state >> 33) % n_vocab);
}

static hy_status evaluate(engine *e, const hy_token *ids, size_t n, hy_error *err)
{
    hy_status status = hy_session_append(e->session, ids, n, err);
    hy_step step = {0, 0, 0};
    do {
        status = status == HY_OK ? hy_session_step(e->session, &step, err) : status;
    } while (status == HY_OK && step.pending > 0);
    return status;
}

/* Tokens one by one, each the likeliest after those before. */
static hy_status generate(engine *e, const hy_sampler *greedy, const hy_token *first, uint32_t n,
                          hy_error *err)
{
    hy_token id = *first;
    hy_status status = evaluate(e, &id, 1, err);
    for (uint32_t i = 1; status == HY_OK && i < n; i++) {
        status = hy_session_sample(e->session, greedy, &id, err);
        status = status == HY_OK ? evaluate(e, &id, 1, err) : status;
    }
    return status;
}

/* One run of a test; *ns is its time. */
static hy_status run_once(engine *e, const test *t, const hy_sampler *greedy, hy_token *ids,
                          double *ns, hy_error *err)
{
    const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
    uint64_t state = 1;
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = next_id(&state, e->info.n_vocab);
    }
    hy_session_reset(e->session);
    hy_status status = HY_OK;
    const uint64_t start = term_now_ns();
    if (t->n_prompt) {
        status = evaluate(e, ids, n, err);
    } else if (greedy) {
        status = generate(e, greedy, ids, n, err);
    } else {
        for (uint32_t i = 0; status == HY_OK && i < n; i++) {
            status = evaluate(e, &ids[i], 1, err);
        }
    }
    *ns = (double)(term_now_ns() - start);
    return status;
}

/* The measured runs of a test, after the one that is not counted. */
static hy_status run_all(bench *b, test *t, const hy_sampler *greedy, hy_token *ids, hy_error *err)
{
    engine *e = &b->e;
    const uint32_t n = t->n_prompt ? t->n_prompt : t->n_gen;
    hy_status status = HY_OK;
    if (OPT(e->o, BENCH_WARMUP)->on) {
        status = run_once(e, t, greedy, ids, &t->ns[0], err);
    }
    if (status == HY_OK && b->profiles) {
        status = hy_session_set_profile(e->session, profile_phase, &t->phases, err);
    }
    for (uint32_t r = 0; status == HY_OK && r < b->reps; r++) {
        if (b->profiles) {
            profile_begin(&t->phases);
        }
        status = run_once(e, t, greedy, ids, &t->ns[r], err);
        t->speed[r] = t->ns[r] > 0 ? n * 1e9 / t->ns[r] : 0;
        if (b->profiles) {
            profile_end(&t->phases, n, t->ns[r]);
        }
    }
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
    int code = ids && t->ns && t->speed ? CLI_OK : cli_fail(o, "out of memory");
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
        hy_status status = hy_model_draws_ahead(e->model)
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

static void print_phases(const test *t, double all_ns)
{
    const profile *p = &t->phases;
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
        const double rate = ns > 0 ? bytes / ns : 0; /* bytes in a nanosecond are GB in a second */
        print_phase(row->kind, row->name, row->spares, row->n_phases, ns, all_ns);
        printf("%8.3f | %8.2f | %5.1f %% | %8.1f |\n", bytes / 1e6, rate,
               t->bandwidth > 0 ? 100e9 * rate / t->bandwidth : 0.0,
               ns > 0 ? profile_ops(p, row) / ns : 0.0);
    }
    print_phase(NULL, "outside of phases", false, 0, profile_rest_ns(p), all_ns);
    printf("%8s | %8s | %7s | %8s |\n", "", "", "", "");
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
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:b, s:I, s:f, s:f, s:f, s:f, s:f}", "kind", row->kind,
                            "phase", row->name, "zeros_left_out", (int)row->spares, "count",
                            (json_int_t)row->n_phases, "ns_per_token", ns, "bytes_per_token", bytes,
                            "gb_per_second", rate, "bandwidth_share",
                            t->bandwidth > 0 ? rate * 1e9 / t->bandwidth : 0.0, "gop_per_second",
                            ns > 0 ? profile_ops(p, row) / ns : 0.0));
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
    "peak_bytes,cpu_info,build_version";

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
        if (OPT(e->o, BENCH_PROFILE)->on) {
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
    uint32_t shown = 0;
    bool first = true;
    for (size_t i = 0; i < b->n; i++) {
        if (b->tests[i].n_threads != shown) {
            shown = b->tests[i].n_threads;
            printf("%s %.1f GB/s with %u thread%s", first ? ", this machine reads" : " and",
                   b->tests[i].bandwidth / 1e9, shown, shown == 1 ? "" : "s");
            first = false;
        }
    }
    printf("; halyard %s\n", hy_version());
    for (size_t i = 0; i < b->n && OPT(e->o, BENCH_PROFILE)->on; i++) {
        const test *t = &b->tests[i];
        print_phases(t, scores_median(t->ns, b->reps) / (t->n_prompt ? t->n_prompt : t->n_gen));
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
    for (size_t i = 0; i < b->n; i++) {
        test *t = &b->tests[i];
        const bool same = i > 0 && b->tests[i - 1].n_threads == t->n_threads;
        t->bandwidth = same ? b->tests[i - 1].bandwidth : bandwidth_measure(t->n_threads);
        if (term_interrupted()) {
            return CLI_INTERRUPTED;
        }
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
    bench b;
    memset(&b, 0, sizeof b);
    b.reps = (uint32_t)OPT(o, BENCH_REPS)->i;
    int code = engine_load(&b.e, o, false);
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
        profile_free(&b.tests[i].phases);
    }
    if (b.trace) {
        fclose(b.trace); /* something failed before */
    }
    free(b.tests);
    engine_close(&b.e);
    return code;
}
