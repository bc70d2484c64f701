/* test_ladder.c: `halyard bench --ladder`: the chart of made-up results, what the command refuses,
 * and with HALYARD_WEBGPU_LIB the whole of it on that library: the order of the rungs, that their
 * kernels are what they say, that all choose the same tokens.  Never how fast they are.  One
 * thread. */
#include <ctype.h>
#include <math.h>

#include "base/base.h"
#include "ladder.h"
#include "run_program.h"

static const char mini_model[] = "tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf";

/* ---- charts */

/* What stands between '<' and '>' at `at`: the end, or NULL if attributes have no quotes or '<'
 * stands in them. */
static const char *end_of_tag(const char *at)
{
    bool quoted = false;
    for (; *at && (quoted || *at != '>'); at++) {
        if (*at == '<' || (*at == '=' && !quoted && at[1] != '"')) {
            return NULL;
        }
        quoted = *at == '"' ? !quoted : quoted;
    }
    return *at ? at : NULL;
}

/* Every tag is closed in its turn, and '&' begins a reference. */
static void check_xml(const char *s)
{
    char open[16][16];
    size_t depth = 0, n = 0;
    for (; *s; s++) {
        if (*s == '&') {
            assert_true(strncmp(s, "&amp;", 5) == 0 || strncmp(s, "&lt;", 4) == 0 ||
                        strncmp(s, "&gt;", 4) == 0 || strncmp(s, "&quot;", 6) == 0);
        }
        if (*s != '<') {
            assert_true(depth > 0 || isspace((unsigned char)*s));
            continue;
        }
        const char *end = end_of_tag(s + 1);
        assert_non_null(end);
        const char *name = s + 1 + (s[1] == '/');
        const size_t len = strcspn(name, " />");
        assert_true(len > 0 && len < sizeof *open);
        if (s[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_true(strlen(open[depth]) == len && memcmp(open[depth], name, len) == 0);
        } else if (end[-1] != '/') {
            assert_true(depth < 16);
            snprintf(open[depth++], sizeof *open, "%.*s", (int)len, name);
        }
        n++;
        s = end;
    }
    assert_int_equal(depth, 0);
    assert_true(n > 10);
}

static char *chart_of(const ladder *l)
{
    size_t len;
    FILE *f = fopen(temp_path("chart.svg"), "w");
    assert_non_null(f);
    assert_true(ladder_svg(l, f));
    fclose(f);
    char *chart = read_file(temp_path("chart.svg"), &len);
    check_xml(chart);
    return chart;
}

static void test_chart(void **state)
{
    (void)state;
    rung rungs[] = {
        {.name = "first", .what = "a < b & \"c\"", .mask = "", .measured = true, .speed = 50},
        {.name = "absent", .what = "nothing", .mask = "", .least = 1.2, .most = 1.4},
        {.name = "second",
         .what = "more",
         .mask = "",
         .measured = true,
         .speed = 100,
         .step = 2,
         .total = 2,
         .least = 1.3,
         .most = 1.5},
        {.name = "native", .what = "most", .measured = true, .speed = 200, .step = 2, .total = 4},
    };
    ladder l = {.rungs = rungs, .n = HY_COUNT(rungs), .model = "a\x01model", .bytes = 2e6};
    snprintf(l.gpu.adapter, sizeof l.gpu.adapter, "a <GPU>");
    assert_true(fabs(ladder_all(&l) - 2) < 1e-9); /* a native backend is not WebGPU's */
    char *svg = chart_of(&l);
    expect_has(svg, ">amodel: tokens");
    expect_has(svg, "a &lt;GPU&gt;");
    expect_has(svg, "a &lt; b &amp; &quot;c&quot;");
    expect_has(svg, "50.0 tokens/s<");
    expect_has(svg, "100.0 tokens/s, \xC3\x97 2.00 (expected \xC3\x97 1.3 to 1.5)<");
    expect_has(svg, "missing (expected \xC3\x97 1.2 to 1.4)<");
    expect_has(svg, "class=\"bar\" x=\"110\" y=\"84\" width=\"100.0\"");
    expect_has(svg, "class=\"none\"");
    expect_has(svg, "class=\"native\" x=\"110\" y=\"222\" width=\"400.0\"");
    expect_has(svg, "prefers-color-scheme: dark");
    free(svg);
    l.n = 0;
    assert_true(ladder_all(&l) == 0);
    free(chart_of(&l));
}

/* ---- the command */

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *args[3], *sentence;
        int code;
    } cases[] = {
        {{"--ladder", "--backend", "cpu"}, "--ladder is of the backend webgpu, not of cpu", 2},
        {{"--ladder", "--profile"}, "--ladder goes without --profile and --trace", 2},
        {{"--ladder", "-o", "csv"}, "--ladder prints md or json", 2},
        {{"--ladder", "-n", "1"}, "--ladder wants one number of --n-gen, 2 or more", 2},
        {{"--ladder", "-n", "8,9"}, "--ladder wants one number of --n-gen, 2 or more", 2},
        {{"--ladder", "--svg", mini_model}, "is the model's own file", 1},
        {{"--ladder", "--svg", "nowhere/chart.svg"}, "nowhere/chart.svg cannot be opened", 1},
        {{"--svg", "chart.svg"}, "--svg needs --ladder", 2},
    };
    for (size_t i = 0; i < HY_COUNT(cases); i++) {
        ran r = run(NULL, "bench", "-m", mini_model, cases[i].args[0], cases[i].args[1],
                    cases[i].args[2]);
        expect_code(r, cases[i].code);
        expect_has(r.err, cases[i].sentence);
        ran_free(&r);
    }
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *string(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* Kernels whose descriptions have both words. */
static size_t kernels_with(const json_t *r, const char *a, const char *b)
{
    size_t i, n = 0;
    const json_t *k;
    json_array_foreach(json_object_get(r, "kernels"), i, k)
    {
        n += strstr(json_string_value(k), a) && strstr(json_string_value(k), b);
    }
    return n;
}

/* What each r's kernels are, by its name; the next ones build on what is there. */
static void check_kernels(const json_t *r)
{
    const char *name = string(r, "rung");
    const bool naive = strcmp(name, "naive") == 0, shaders = strcmp(name, "shaders") == 0,
               layout = strcmp(name, "layout") == 0, subgroups = strcmp(name, "subgroups") == 0,
               dot = strcmp(name, "dot") == 0;
    const bool planes = layout || subgroups, f32 = naive || shaders || planes;
    assert_int_equal(kernels_with(r, "naive", " raw_Q4_K") > 0, naive);
    assert_int_equal(kernels_with(r, "rows", " raw_Q4_K") > 0, shaders);
    assert_int_equal(kernels_with(r, "rows ", " Q4_K") > 0, planes);
    assert_int_equal(kernels_with(r, " raw_", "") > 0, naive || shaders);
    if (naive || shaders || layout) {
        assert_int_equal(kernels_with(r, "subgroups", ""), 0);
    } else if (subgroups) {
        assert_true(kernels_with(r, "subgroups", "") > 0);
    }
    if (f32) {
        assert_int_equal(kernels_with(r, ", dot", ""), 0);
    } else if (dot) {
        assert_true(kernels_with(r, "main", ", dot") > 0);
    }
}

/* Runs the ladder; which rungs must be missing, by a letter each, 'x' ones. */
static void climb(const char *model, const char *n_gen, const char *mask, const char *missing)
{
    static const char *const order[] = {"naive", "shaders", "layout", "subgroups",
                                        "dot",   "fused",   "device"};
    char svg[512];
    snprintf(svg, sizeof svg, "%s", temp_path("ladder.svg"));
    const char *kept = getenv("HALYARD_TEST_CACHE");
    ran done = run(NULL, "bench", "-m", model, "--ladder", "-n", n_gen, "-r", "1", "--no-warmup", "-o",
                "json", "--svg", svg, "--webgpu-lib", getenv("HALYARD_WEBGPU_LIB"), "--webgpu-dir",
                getenv("HALYARD_WEBGPU") ? getenv("HALYARD_WEBGPU") : "build/webgpu",
                "--kernel-cache", kept ? kept : temp_path("kept"), "--gpu-mask", mask);
    expect_code(done, 0);
    json_t *root = ran_json(&done);
    const json_t *rungs = json_object_get(root, "rungs");
    assert_int_equal(json_array_size(rungs), HY_COUNT(order) + 1);
    assert_string_equal(string(root, "check_backend"), "cpu");
    double before = 0, first = 0;
    double least_dispatches = 1e9, alone_dispatches = 0;
    const char *hash = NULL;
    for (size_t i = 0; i < HY_COUNT(order); i++) {
        const json_t *r = json_array_get(rungs, i);
        assert_string_equal(string(r, "rung"), order[i]);
        const bool measured = json_is_true(json_object_get(r, "measured"));
        assert_int_equal(measured, missing[i] != 'x');
        if (!measured) {
            expect_has(string(r, "why"), "missing: ");
            assert_true(json_is_null(json_object_get(r, "tokens_per_second")));
            continue;
        }
        check_kernels(r);
        const double speed = number(r, "tokens_per_second");
        assert_true(speed > 0 && number(r, "gb_per_second") > 0);
        if (before > 0) {
            assert_float_equal(number(r, "step"), speed / before, 1e-4 * speed / before);
            assert_float_equal(number(r, "total"), speed / first, 1e-4 * speed / first);
        } else {
            assert_true(json_is_null(json_object_get(r, "step")));
        }
        first = first > 0 ? first : speed;
        before = speed;
        /* All have as many tokens right, and the same ones. */
        assert_true(number(r, "check_tokens") > 0);
        assert_true(number(r, "check_agree") == number(r, "check_tokens"));
        assert_true(!hash || strcmp(hash, string(r, "text_hash")) == 0);
        hash = string(r, "text_hash");
        const double dispatches = number(r, "dispatches_per_token");
        if (i < 5) { /* every operation alone */
            assert_true(alone_dispatches <= 0 || fabs(dispatches - alone_dispatches) < 1);
            alone_dispatches = dispatches;
        }
        least_dispatches = dispatches < least_dispatches ? dispatches : least_dispatches;
    }
    assert_true(least_dispatches < alone_dispatches / 2);
    const json_t *native = json_array_get(rungs, HY_COUNT(order));
    if (hy_backend_absent_reason("cuda") && hy_backend_absent_reason("metal")) {
        assert_string_equal(string(native, "rung"), "native");
        expect_has(string(native, "why"), hy_backend_absent_reason("cuda"));
    }
    json_decref(root);
    ran_free(&done);
    size_t len;
    char *chart = read_file(svg, &len);
    check_xml(chart);
    expect_has(chart, ">naive<");
    free(chart);
}

static void test_embedded(void **state)
{
    (void)state;
    if (!getenv("HALYARD_WEBGPU_LIB")) {
        print_message("skipped: HALYARD_WEBGPU_LIB names no library\n");
        skip();
    }
    climb(EMBEDDED_MODEL, "4", "", "-------");
}

static void test_masked(void **state)
{
    (void)state;
    if (!getenv("HALYARD_WEBGPU_LIB")) {
        print_message("skipped: HALYARD_WEBGPU_LIB names no library\n");
        skip();
    }
    climb(mini_model, "3", "no-dot,no-subgroups,no-draws", "---xx-x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chart),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_embedded),
        cmocka_unit_test(test_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
