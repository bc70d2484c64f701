/* cmd_tune.c: `halyard tune`: times ways of computing on GPUs, and has the fastest chosen; and what
 * `halyard doctor` shows of that.  One thread. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "halyard/unstable.h"
#include "term.h"

static void add_gain(void *user, const hy_webgpu_gain *g)
{
    json_array_append_new(user, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "name", g->name, "what",
                                          g->what, "where", g->where, "state", g->state, "ns",
                                          json_number(g->ns), "other_ns",
                                          json_number(g->other_ns)));
}

/* With err->code: what was found, which cannot be kept. */
json_t *cli_tuning(const options *o, const char *library, bool run, hy_error *err)
{
    const char *folder = OPT(o, WEBGPU_DIR)->s ? OPT(o, WEBGPU_DIR)->s : getenv("HALYARD_WEBGPU");
    const char *const mask = OPT(o, GPU_MASK)->s;
    char buf[1024], now[40];
    const char *const cache = cli_kernel_cache(o, buf, sizeof buf);
    hy_webgpu_tuning t = {.size = sizeof t};
    json_t *gains = json_array();
    term_utc(now, sizeof now);
    err->code = HY_OK;
    const hy_status status =
        run ? hy_webgpu_tune(library, folder, mask, cache, NULL, now, &t, add_gain, gains, err)
            : hy_webgpu_tuned(library, folder, mask, cache, NULL, &t, add_gain, gains, err);
    if (status != HY_OK && !t.made) {
        json_decref(gains);
        return NULL;
    }
    return json_pack("{s:b, s:s, s:f, s:o, s:o}", "made", (int)t.made, "when", t.when, "seconds",
                     t.seconds, "path", json_bytes(t.path, strlen(t.path)), "gains", gains);
}

/* ---- text */

static const char *text_of(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* The names of what was changed, each once. */
static void print_changed(const json_t *gains)
{
    size_t i, n = 0;
    bool timed = false;
    const json_t *g;
    json_array_foreach(gains, i, g)
    {
        bool before = false;
        timed = timed || json_number_value(json_object_get(g, "ns")) > 0;
        for (size_t k = 0; k < i; k++) {
            before = before ||
                     strcmp(text_of(json_array_get(gains, k), "name"), text_of(g, "name")) == 0;
        }
        if (strcmp(text_of(g, "state"), "changed") == 0 && !before) {
            const bool number = strpbrk(text_of(g, "name"), "/*") != NULL;
            printf("%s%s%s", n++ > 0 ? ", " : "", number ? "" : "without ", text_of(g, "name"));
        }
    }
    printf("%s\n", n > 0    ? ""
                   : timed ? "nothing is faster than the default"
                           : "nothing could be timed");
}

static void print_gain(const json_t *g)
{
    const double ns = json_number_value(json_object_get(g, "ns"));
    const double other = json_number_value(json_object_get(g, "other_ns"));
    char as_is[24] = "-", without[24] = "-", worth[24] = "-";
    if (ns > 0) {
        snprintf(as_is, sizeof as_is, "%.3f ms", ns * 1e-6);
        snprintf(without, sizeof without, "%.3f ms", other * 1e-6);
        snprintf(worth, sizeof worth, "%+.1f %%", 100 * (other / ns - 1));
    }
    printf("    %-22s %-32s %11s %11s %9s  %s\n", text_of(g, "name"), text_of(g, "where"), as_is,
           without, worth, text_of(g, "state"));
}

void cli_print_tuning(const json_t *tuning, bool table)
{
    size_t i;
    const json_t *g, *const gains = json_object_get(tuning, "gains");
    if (!json_is_true(json_object_get(tuning, "made"))) {
        printf("  tuned     not yet: halyard tune\n");
        return;
    }
    printf("  tuned     %s: ", text_of(tuning, "when"));
    print_changed(gains);
    if (table) {
        printf("            in %.1f s; %s\n",
               json_number_value(json_object_get(tuning, "seconds")),
               text_of(tuning, "path")[0] ? text_of(tuning, "path") : "not kept");
        printf("    %-22s %-32s %11s %11s %9s\n", "", "time of", "as it is", "otherwise", "worth");
        json_array_foreach(gains, i, g)
        {
            print_gain(g);
        }
    }
}

/* ---- the command */

/* A library that cannot be used is an error only if it was asked for. */
static int tune(const options *o, const char *library, bool only, json_t *all)
{
    hy_error err;
    json_t *found = cli_tuning(o, library, true, &err);
    const bool failed = err.code != HY_OK;
    if (!found && err.code == HY_E_NOT_FOUND) {
        return cli_usage(o, "%s", err.text);
    }
    if (!found && only) {
        return cli_error(o, &err);
    }
    if (OPT(o, JSON)->on) {
        json_t *one = found ? found : json_object();
        if (failed) {
            json_object_set_new(one, "reason", json_bytes(err.text, strlen(err.text)));
        }
        json_object_set_new(one, "name", json_string(library));
        json_array_append_new(all, one);
        return CLI_OK;
    }
    printf("webgpu %s\n", library);
    if (found) {
        cli_print_tuning(found, true);
        json_decref(found);
    }
    if (failed && only) {
        return cli_error(o, &err);
    }
    if (failed) {
        printf("  %s\n", err.text);
    }
    return CLI_OK;
}

int cmd_tune(const options *o)
{
    const char *const only = OPT(o, WEBGPU_LIB)->s;
    json_t *all = json_array();
    int code = CLI_OK;
    if (only) {
        code = tune(o, only, true, all);
    }
    for (size_t i = 0; !only && code == CLI_OK && hy_webgpu_library_at(i); i++) {
        code = tune(o, hy_webgpu_library_at(i), false, all);
    }
    if (code != CLI_OK || !OPT(o, JSON)->on) {
        json_decref(all);
        return code == CLI_OK ? cli_finish_output() : code;
    }
    return json_print(all) ? cli_finish_output() : cli_fail(o, "out of memory");
}
