/* fuzz_cli.c: any bytes as a command line: the parser takes it or says in one sentence why not.
 *
 * Input: the first byte chooses the command, the rest are its arguments, each ending in a NUL. What
 * the parser takes is checked against the table; what follows it in the program, escapes and lists
 * of ids, is run as well. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#include "options.h"
#include "text.h"

enum { MAX_ARGS = 64 };

static void check_values(const options *o)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        const opt_value *v = &o->value[i];
        CHECK(!v->given || (info->commands & 1u << o->command));
        if (info->kind == OPT_INT && (v->given || *info->def)
            && (info->commands & 1u << o->command)) {
            CHECK((double)v->i >= info->least && (double)v->i <= info->most);
        }
        if (info->kind == OPT_FLOAT && v->given) {
            CHECK(isfinite(v->f) && v->f >= info->least && v->f <= info->most);
        }
        if (info->kind == OPT_INTS) {
            CHECK(!v->given || v->n > 0);
            for (size_t k = 0; k < v->n; k++) {
                CHECK((double)v->ints[k] >= info->least && (double)v->ints[k] <= info->most);
            }
        }
        if ((info->kind == OPT_STRING || info->kind == OPT_CHOICE) && v->given) {
            CHECK(v->s);
        }
    }
    const cli_command *c = &cli_commands[o->command];
    CHECK(o->value[OPT_ID_HELP].on || (o->n_args >= c->least && o->n_args <= c->most));
}

static void check_text(const char *s)
{
    const size_t len = strlen(s);
    text t = {0};
    CHECK(text_add(&t, s, len));
    const size_t shorter = text_unescape(t.data, t.len);
    CHECK(shorter <= len);
    text shown = {0};
    CHECK(text_add_clean(&shown, t.data, shorter));
    for (size_t i = 0; i < shown.len;) {
        const size_t n = utf8_length(shown.data + i, shown.len - i);
        CHECK(n > 0);
        i += n;
    }
    shown.len = 0;
    CHECK(text_add_visible(&shown, t.data, shorter));
    CHECK(!strchr(shown.data, '\n'));
    text_free(&shown);
    text_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char *bytes = malloc(size + 1);
    CHECK(bytes);
    memcpy(bytes, data, size);
    bytes[size] = '\0';
    char *argv[MAX_ARGS];
    int argc = 0;
    for (size_t at = 1; at < size && argc < MAX_ARGS; at += strlen(bytes + at) + 1) {
        argv[argc++] = bytes + at;
    }
    options o;
    char message[300];
    message[0] = '\0';
    const int code = options_parse(&o, (cli_command_id)(data[0] % CMD_COUNT), argc, argv, message,
                                   sizeof message);
    if (code == CLI_OK) {
        check_values(&o);
    } else {
        CHECK(code == CLI_USAGE);
        CHECK(message[0] != '\0');
    }
    options_finish(&o);
    for (int i = 0; i < argc; i++) {
        int64_t *ids = NULL;
        size_t n = 0;
        if (parse_ints(argv[i], 0, INT32_MAX, &ids, &n, message, sizeof message)) {
            for (size_t k = 0; k < n; k++) {
                CHECK(ids[k] >= 0 && ids[k] <= INT32_MAX);
            }
        }
        free(ids);
        check_text(argv[i]);
        (void)cli_command_near(argv[i]);
    }
    free(bytes);
    return 0;
}
