/* verdicts.c: what the self-test found, in a file: a line for each unit that passed and each
 * variant that was dropped, and a checksum.  See selftest.h. */
#include <stdio.h>
#include <stdlib.h>

#include "selftest.h"

enum { MOST_BYTES = 1 << 16 };

static const char head[] = "halyard: self-test of kernels, 1";

static void path_of(char path[1024], const char *folder, uint64_t name)
{
    snprintf(path, 1024, "%s/webgpu-%016llx.selftest", folder, (unsigned long long)name);
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

static void take_lines(char *text, hy__gpu_verdict *v)
{
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        take_line(line, v);
    }
}

void hy__gpu_verdict_load(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                          hy__gpu_verdict *v)
{
    char path[1024], begin[120];
    path_of(path, folder, name);
    char *text = read_all(env, path);
    if (!text) {
        return;
    }
    const size_t n =
        (size_t)snprintf(begin, sizeof begin, "%s\nkey %016llx\n", head, (unsigned long long)key);
    char *sum = strstr(text, "\nsum ");
    if (sum && strncmp(text, begin, n) == 0 &&
        strtoull(sum + 5, NULL, 16) == hy__crc64(0, text, (size_t)(sum - text))) {
        sum[1] = '\0';
        take_lines(text + n - 1, v);
        v->dropped &= v->possible;
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

void hy__gpu_verdict_save(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                          const hy__gpu_verdict *v)
{
    char path[1024];
    hy__buf text = {0};
    hy__gpu_unit unit;
    hy__gpu_variant variant;
    put(env, &text, "%s\nkey %016llx\n", head, (unsigned long long)key);
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
    if (text.len > 0) {
        put(env, &text, "sum %016llx\n", (unsigned long long)hy__crc64(0, text.data, text.len - 1));
    }
    hy__out_file out;
    path_of(path, folder, name);
    if (hy__out_open(&out, env, path, NULL) == HY_OK) {
        if (text.len > 0 && hy__out_write(&out, text.data, text.len, NULL) == HY_OK) {
            (void)hy__out_commit(&out, NULL);
        } else {
            hy__out_abandon(&out);
        }
    }
    hy__buf_finish(env, &text);
}
