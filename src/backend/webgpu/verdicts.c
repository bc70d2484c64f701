/* verdicts.c: what the self-test found and what the tuner chose, in files: a line for each unit that
 * passed and each variant that was dropped, or for each thing that was changed or timed, and a
 * checksum.  See selftest.h and tune.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tune.h"

enum { MOST_BYTES = 1 << 16 };

static const struct kind {
    const char *head, *ending;
} of_selftest = {"halyard: self-test of kernels, 1", "selftest"},
  of_tuner = {"halyard: choice of the tuner, 1", "tuned"};

static void path_of(char *path, size_t cap, const char *folder, uint64_t name,
                    const struct kind *kind)
{
    snprintf(path, cap, "%s/webgpu-%016llx.%s", folder, (unsigned long long)name, kind->ending);
}

void hy__gpu_choice_path(char *path, size_t cap, const char *folder, uint64_t name)
{
    path_of(path, cap, folder, name, &of_tuner);
}

/* ---- reading */

/* The whole file, NUL-terminated; NULL: none that makes sense. */
static char *read_all(const hy_env *env, const char *path)
{
    void *file;
    uint64_t bytes = 0;
    if (env->file_open(env->user, path, HY_FILE_READ, &file, &bytes, NULL) != HY_OK) {
        return NULL;
    }
    char *text =
        bytes > 0 && bytes < MOST_BYTES ? hy__alloc(env, (size_t)bytes + 1, 1, NULL) : NULL;
    bool good = text && env->file_read(env->user, file, 0, text, (size_t)bytes, NULL) == HY_OK;
    good = env->file_close(env->user, file, NULL) == HY_OK && good;
    if (!good) {
        hy__free(env, text);
        return NULL;
    }
    text[bytes] = '\0';
    return text;
}

/* The lines of the file of a name, if it is whole and of this key, else NULL; to be freed. *from:
 * where they begin. */
static char *read_lines(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                        const struct kind *kind, char **from)
{
    char path[1024], begin[120];
    path_of(path, sizeof path, folder, name, kind);
    char *text = read_all(env, path);
    const size_t n = (size_t)snprintf(begin, sizeof begin, "%s\nkey %016llx\n", kind->head,
                                      (unsigned long long)key);
    char *sum = text ? strstr(text, "\nsum ") : NULL;
    if (sum && strncmp(text, begin, n) == 0 &&
        strtoull(sum + 5, NULL, 16) == hy__crc64(0, text, (size_t)(sum - text))) {
        sum[1] = '\0';
        *from = text + n;
        return text;
    }
    hy__free(env, text);
    return NULL;
}

/* The line at *at without its end, and *at behind it; NULL: there is none. */
static const char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (!end) {
        return NULL;
    }
    *end = '\0';
    *at = end + 1;
    return line;
}

static void take_line(const char *line, hy__gpu_verdict *v)
{
    hy__gpu_unit unit;
    hy__gpu_variant variant;
    for (uint32_t i = 0; strncmp(line, "passed ", 7) == 0 && hy__gpu_unit_at(i, &unit); i++) {
        v->passed |= strcmp(line + 7, unit.name) == 0 ? UINT64_C(1) << i : 0;
    }
    for (uint32_t i = 0; strncmp(line, "dropped ", 8) == 0 && hy__gpu_variant_at(i, &variant);
         i++) {
        const size_t n = strlen(variant.name);
        if (strncmp(line + 8, variant.name, n) == 0 && line[8 + n] == ' ') {
            v->dropped |= (hy__gpu_use)1 << i;
            snprintf(v->why[i], sizeof v->why[i], "%s", line + 8 + n + 1);
        }
    }
}

void hy__gpu_verdict_load(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                          hy__gpu_verdict *v)
{
    char *at, *text = read_lines(env, folder, name, key, &of_selftest, &at);
    for (const char *line; text && (line = next_line(&at)) != NULL;) {
        take_line(line, v);
    }
    v->dropped &= v->possible;
    hy__free(env, text);
}

static uint32_t find(const char *const *names, uint32_t n, const char *name)
{
    uint32_t i = 0;
    while (i < n && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

static bool find_option(const char *name, uint32_t *i, hy__gpu_option *o)
{
    for (*i = 0; hy__gpu_option_at(*i, o); (*i)++) {
        if (strcmp(o->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void take_gain(const char *line, hy__gpu_choice *c)
{
    char name[40], place[40], outcome[40];
    hy__gpu_option o;
    hy__gpu_gain gain;
    if (c->n_gains < HY__GPU_MOST_GAINS &&
        sscanf(line, "gain %39s %39s %39s %lf %lf", name, place, outcome, &gain.ns,
               &gain.other_ns) == 5 &&
        find_option(name, &gain.option, &o)) {
        gain.place = find(hy__gpu_place_names, HY__GPU_N_PLACES, place);
        gain.outcome = find(hy__gpu_outcome_names, HY__GPU_N_OUTCOMES, outcome);
        if (gain.place < HY__GPU_N_PLACES && gain.outcome < HY__GPU_N_OUTCOMES) {
            c->gains[c->n_gains++] = gain;
        }
    }
}

static void take_change(const char *line, hy__gpu_choice *c)
{
    char name[40];
    uint32_t i, value;
    hy__gpu_option o;
    if (sscanf(line, "without %39s", name) == 1 && find_option(name, &i, &o)) {
        c->tuning.without |= o.without;
    } else if (sscanf(line, "number %39s %" SCNu32, name, &value) == 2) {
        i = find(hy__gpu_number_names, HY__GPU_N_NUMBERS, name);
        if (i < HY__GPU_N_NUMBERS) {
            c->tuning.numbers[i] = value;
        }
    }
}

void hy__gpu_choice_load(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                         hy__gpu_choice *c)
{
    char *at, *text = read_lines(env, folder, name, key, &of_tuner, &at);
    for (const char *line; text && (line = next_line(&at)) != NULL;) {
        c->made = sscanf(line, "tuned %lf %31s", &c->seconds, c->when) >= 1 || c->made;
        take_change(line, c);
        take_gain(line, c);
    }
    hy__free(env, text);
}

/* ---- writing */

HY_PRINTF(3, 4)
static void put(const hy_env *env, hy__buf *text, const char *fmt, ...)
{
    char line[500];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n > 0) {
        (void)hy__buf_append(env, text, line, HY_MIN((size_t)n, sizeof line - 1), NULL);
    }
}

/* Adds the checksum, writes the file, frees the text. */
static hy_status write_lines(const hy_env *env, const char *folder, uint64_t name,
                             const struct kind *kind, hy__buf *text, hy_error *err)
{
    char path[1024];
    hy__out_file out;
    hy_status status = text->len > 0 ? HY_OK : HY_E_NOMEM;
    if (status == HY_OK) {
        put(env, text, "sum %016llx\n", (unsigned long long)hy__crc64(0, text->data, text->len - 1));
        path_of(path, sizeof path, folder, name, kind);
        status = hy__out_open(&out, env, path, err);
    }
    if (status == HY_OK) {
        status = hy__out_write(&out, text->data, text->len, err);
        if (status == HY_OK) {
            status = hy__out_commit(&out, err);
        } else {
            hy__out_abandon(&out);
        }
    }
    hy__buf_finish(env, text);
    return status;
}

void hy__gpu_verdict_save(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                          const hy__gpu_verdict *v)
{
    hy__buf text = {0};
    hy__gpu_unit unit;
    hy__gpu_variant variant;
    put(env, &text, "%s\nkey %016llx\n", of_selftest.head, (unsigned long long)key);
    for (uint32_t i = 0; hy__gpu_unit_at(i, &unit); i++) {
        if (v->passed >> i & 1) {
            put(env, &text, "passed %s\n", unit.name);
        }
    }
    for (uint32_t i = 0; hy__gpu_variant_at(i, &variant); i++) {
        if (v->dropped >> i & 1) {
            put(env, &text, "dropped %s %s\n", variant.name, v->why[i]);
        }
    }
    (void)write_lines(env, folder, name, &of_selftest, &text, NULL);
}

hy_status hy__gpu_choice_save(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                              const hy__gpu_choice *c, hy_error *err)
{
    hy__buf text = {0};
    hy__gpu_option o;
    put(env, &text, "%s\nkey %016llx\n", of_tuner.head, (unsigned long long)key);
    put(env, &text, "tuned %.1f %s\n", c->seconds, c->when);
    for (uint32_t i = 0; hy__gpu_option_at(i, &o); i++) {
        if (o.without & c->tuning.without) {
            put(env, &text, "without %s\n", o.name);
        }
    }
    for (uint32_t i = 0; i < HY__GPU_N_NUMBERS; i++) {
        if (c->tuning.numbers[i]) {
            put(env, &text, "number %s %u\n", hy__gpu_number_names[i], c->tuning.numbers[i]);
        }
    }
    for (uint32_t i = 0; i < c->n_gains; i++) {
        const hy__gpu_gain *gain = &c->gains[i];
        if (hy__gpu_option_at(gain->option, &o)) {
            put(env, &text, "gain %s %s %s %.0f %.0f\n", o.name, hy__gpu_place_names[gain->place],
                hy__gpu_outcome_names[gain->outcome], gain->ns, gain->other_ns);
        }
    }
    return write_lines(env, folder, name, &of_tuner, &text, err);
}
