/* options.c: the parser of the command line, driven by options.inc and commands.inc.
 *
 * Lists are owned by the struct options; strings belong to argv.  Called by one thread. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "halyard/compiler.h"

const cli_command cli_commands[CMD_COUNT] = {
#define X(id, name, args, least, most, text) {#name, args, least, most, text},
#include "commands.inc"
#undef X
};

const char *const opt_group_titles[OPT_GROUP_COUNT] = {
#define X(id, title) title,
    OPT_GROUP_LIST(X)
#undef X
};

/* The names that the column `commands` of options.inc may use. */
enum {
#define X(id, name, args, least, most, text) id = 1 << CMD_##id,
#include "commands.inc"
#undef X
    EVERY = (1 << CMD_COUNT) - 1
};

const opt_info opt_table[OPT_COUNT] = {
#define X(id, name, brief, aliases, kind, least, most, def, arg, group, commands, text)            \
    {name, brief, aliases, OPT_##kind, least, most, def, arg, OPT_GROUP_##group, commands, text},
#include "options.inc"
#undef X
};

enum { MAX_NAME = 64 };

HY_PRINTF(4, 5)
static int fail(char *message, size_t bytes, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, bytes, fmt, args);
    va_end(args);
    return code;
}

/* ---- names */

/* Edits (insert, delete, replace, swap neighbours) between two names; large for long ones. */
static unsigned distance(const char *a, const char *b)
{
    const size_t na = strlen(a);
    const size_t nb = strlen(b);
    if (na >= MAX_NAME || nb >= MAX_NAME) {
        return MAX_NAME;
    }
    unsigned rows[3][MAX_NAME + 1];
    for (size_t j = 0; j <= nb; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= na; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *last = rows[(i + 2) % 3];
        const unsigned *before = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) {
                best = last[j] + 1;
            }
            if (now[j - 1] + 1 < best) {
                best = now[j - 1] + 1;
            }
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]
                && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[na % 3][nb];
}

static unsigned near_limit(const char *name)
{
    const size_t n = strlen(name);
    return n < 4 ? 1 : n < 8 ? 2 : 3;
}

cli_command_id cli_command_find(const char *name)
{
    for (int i = 0; i < CMD_COUNT; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) {
            return (cli_command_id)i;
        }
    }
    return CMD_COUNT;
}

const char *cli_command_near(const char *name)
{
    const char *best = NULL;
    unsigned least = near_limit(name) + 1;
    for (int i = 0; i < CMD_COUNT; i++) {
        const unsigned d = distance(name, cli_commands[i].name);
        if (d < least) {
            least = d;
            best = cli_commands[i].name;
        }
    }
    return best;
}

/* One of the blank-separated words equals name[0..len). */
static bool has_word(const char *words, const char *name, size_t len)
{
    while (*words) {
        const size_t n = strcspn(words, " ");
        if (n == len && memcmp(words, name, n) == 0) {
            return true;
        }
        words += n;
        words += strspn(words, " ");
    }
    return false;
}

static bool is_named(const opt_info *info, const char *name, size_t len)
{
    return (strlen(info->name) == len && memcmp(info->name, name, len) == 0)
           || (*info->brief && strlen(info->brief) == len && memcmp(info->brief, name, len) == 0)
           || has_word(info->aliases, name, len);
}

/* The row of a name among those in `commands`; *off is set for the --no- form of a toggle.
 * OPT_COUNT if there is none. */
static opt_id find(uint32_t commands, const char *name, size_t len, bool *off)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        if (!(info->commands & commands)) {
            continue;
        }
        if (is_named(info, name, len)) {
            *off = false;
            return (opt_id)i;
        }
        if (info->kind == OPT_TOGGLE && len > 3 && memcmp(name, "no-", 3) == 0
            && is_named(info, name + 3, len - 3)) {
            *off = true;
            return (opt_id)i;
        }
    }
    return OPT_COUNT;
}

static int unknown(cli_command_id command, const char *arg, const char *name, size_t len,
                   char *message, size_t bytes)
{
    bool off = false;
    const opt_id elsewhere = find(EVERY, name, len, &off);
    if (elsewhere != OPT_COUNT) {
        int used = snprintf(message, bytes, "%s is not an option of \"halyard %s\", only of", arg,
                            cli_commands[command].name);
        for (int c = 0; c < CMD_COUNT && used >= 0 && (size_t)used < bytes; c++) {
            for (int i = 0; i < OPT_COUNT; i++) {
                if ((opt_table[i].commands & 1u << c)
                    && is_named(&opt_table[i], name + 3 * off, len - 3 * off)) {
                    used +=
                        snprintf(message + used, bytes - (size_t)used, " %s", cli_commands[c].name);
                    break;
                }
            }
        }
        return CLI_USAGE;
    }
    char given[MAX_NAME];
    snprintf(given, sizeof given, "%.*s", (int)(len < sizeof given ? len : sizeof given - 1), name);
    const char *best = NULL;
    const char *no = "";
    unsigned least = near_limit(given) + 1;
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        if (!(info->commands & 1u << command)) {
            continue;
        }
        const unsigned d = distance(given, info->name);
        if (d < least) {
            least = d;
            best = info->name;
            no = "";
        }
        if (info->kind == OPT_TOGGLE && strncmp(given, "no-", 3) == 0) {
            const unsigned e = distance(given + 3, info->name);
            if (e < least) {
                least = e;
                best = info->name;
                no = "no-";
            }
        }
    }
    if (best) {
        return fail(message, bytes, CLI_USAGE, "unknown option %.60s; did you mean --%s%s?", arg,
                    no, best);
    }
    return fail(message, bytes, CLI_USAGE, "unknown option %.60s", arg);
}

/* ---- values */

static bool read_int(const char *text, size_t len, int64_t *out)
{
    char buf[32];
    if (len == 0 || len >= sizeof buf
        || !(isdigit((unsigned char)text[0]) || text[0] == '-' || text[0] == '+')) {
        return false;
    }
    memcpy(buf, text, len);
    buf[len] = '\0';
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(buf, &end, 10);
    if (errno != 0 || *end != '\0' || end == buf) {
        return false;
    }
    *out = value;
    return true;
}

static bool int_in_range(const opt_info *info, int64_t value)
{
    return (double)value >= info->least && (double)value <= info->most;
}

static void range_text(const opt_info *info, char *buf, size_t bytes)
{
    if (info->kind == OPT_FLOAT) {
        snprintf(buf, bytes, "%g to %g", info->least, info->most);
    } else {
        snprintf(buf, bytes, "%.0f to %.0f", info->least, info->most);
    }
}

bool parse_ints(const char *text, int64_t least, int64_t most, int64_t **ints, size_t *n,
                char *message, size_t message_bytes)
{
    static const char gaps[] = " \t\r\n,[]";
    size_t cap = *n;
    for (text += strspn(text, gaps); *text; text += strspn(text, gaps)) {
        const size_t len = strcspn(text, gaps);
        int64_t value = 0;
        if (!read_int(text, len, &value) || value < least || value > most) {
            fail(message, message_bytes, CLI_USAGE, "\"%.*s\" is no whole number from %lld to %lld",
                 (int)(len < 40 ? len : 40), text, (long long)least, (long long)most);
            return false;
        }
        if (*n == cap) {
            const size_t more = cap < 64 ? 64 : cap * 2;
            int64_t *grown =
                more < SIZE_MAX / sizeof *grown ? realloc(*ints, more * sizeof *grown) : NULL;
            if (!grown) {
                fail(message, message_bytes, CLI_FAILURE, "out of memory");
                return false;
            }
            *ints = grown;
            cap = more;
        }
        (*ints)[(*n)++] = value;
        text += len;
    }
    return true;
}

static int set_ints(const opt_info *info, opt_value *v, const char *shown, const char *text,
                    char *message, size_t bytes)
{
    if (!v->given) {
        v->n = 0; /* what the command line says replaces the default */
    }
    const size_t before = v->n;
    char why[160] = "";
    /* parse_ints grows from the count; so the block must not be larger than it claims. */
    if (!parse_ints(text, (int64_t)info->least, (int64_t)info->most, &v->ints, &v->n, why,
                    sizeof why)) {
        return fail(message, bytes, CLI_USAGE, "%s: %s", shown, why);
    }
    if (v->n == before) {
        return fail(message, bytes, CLI_USAGE, "%s needs at least one number (%s)", shown,
                    info->arg);
    }
    return CLI_OK;
}

static int add_string(opt_value *v, const char *text, char *message, size_t bytes)
{
    const char **grown = realloc((void *)v->list, (v->n + 1) * sizeof *grown);
    if (!grown) {
        return fail(message, bytes, CLI_FAILURE, "out of memory");
    }
    v->list = grown;
    v->list[v->n++] = text;
    return CLI_OK;
}

/* Gives option `info` the value `text`; shown is how the user wrote its name. */
static int set_value(const opt_info *info, opt_value *v, const char *shown, const char *text,
                     char *message, size_t bytes)
{
    char range[64];
    range_text(info, range, sizeof range);
    switch (info->kind) {
    case OPT_FLAG:
    case OPT_TOGGLE:
        v->on = strcmp(text, "on") == 0;
        return CLI_OK;
    case OPT_INT:
        if (!read_int(text, strlen(text), &v->i) || !int_in_range(info, v->i)) {
            return fail(message, bytes, CLI_USAGE, "%s needs a whole number from %s, not \"%.60s\"",
                        shown, range, text);
        }
        return CLI_OK;
    case OPT_FLOAT: {
        char *end = NULL;
        const double value = isspace((unsigned char)text[0]) ? NAN : strtod(text, &end);
        if (!end || end == text || *end != '\0' || !isfinite(value) || value < info->least
            || value > info->most) {
            return fail(message, bytes, CLI_USAGE, "%s needs a number from %s, not \"%.60s\"",
                        shown, range, text);
        }
        v->f = value;
        return CLI_OK;
    }
    case OPT_STRING:
        v->s = text;
        return CLI_OK;
    case OPT_CHOICE: {
        const size_t len = strlen(text);
        for (const char *word = info->arg; *word; word += *word == '|') {
            const size_t n = strcspn(word, "|");
            if (n == len && memcmp(word, text, n) == 0) {
                v->s = text;
                return CLI_OK;
            }
            word += n;
        }
        return fail(message, bytes, CLI_USAGE, "%s needs one of %s, not \"%.60s\"", shown,
                    info->arg, text);
    }
    case OPT_STRINGS:
        return add_string(v, text, message, bytes);
    case OPT_INTS:
        return set_ints(info, v, shown, text, message, bytes);
    }
    return CLI_OK;
}

/* argv[*at] is an option; moves *at to its last argument. */
static int parse_option(options *o, int argc, char **argv, int *at, char *message, size_t bytes)
{
    const char *arg = argv[*at];
    const bool is_long = arg[1] == '-';
    const char *name = arg + 1 + is_long;
    const char *equals = is_long ? strchr(name, '=') : NULL;
    const size_t len = equals ? (size_t)(equals - name) : strlen(name);
    char plain[MAX_NAME] = "";
    if (len < sizeof plain) {
        for (size_t i = 0; i < len; i++) { /* --top_k is --top-k */
            plain[i] = (char)(is_long && name[i] == '_' ? '-' : name[i]);
        }
        name = plain;
    }
    char shown[MAX_NAME + 3];
    snprintf(shown, sizeof shown, "%.*s", (int)(len + 1 + is_long), arg);
    bool off = false;
    const opt_id id = len == 0 ? OPT_COUNT : find(1u << o->command, name, len, &off);
    if (id == OPT_COUNT) {
        return unknown(o->command, shown, name, len, message, bytes);
    }
    const opt_info *info = &opt_table[id];
    opt_value *v = &o->value[id];
    int code = CLI_OK;
    if (info->kind == OPT_FLAG || info->kind == OPT_TOGGLE) {
        if (equals) {
            return fail(message, bytes, CLI_USAGE, "%s takes no value", shown);
        }
        code = set_value(info, v, shown, off ? "off" : "on", message, bytes);
    } else {
        const char *text = equals ? equals + 1 : NULL;
        if (!equals) {
            if (*at + 1 >= argc) {
                return fail(message, bytes, CLI_USAGE, "%s needs a value (%s)", shown, info->arg);
            }
            text = argv[++*at];
        }
        code = set_value(info, v, shown, text, message, bytes);
    }
    v->given = true;
    return code;
}

int options_parse(options *o, cli_command_id command, int argc, char **argv, char *message,
                  size_t message_bytes)
{
    memset(o, 0, sizeof *o);
    o->command = command;
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        if ((info->commands & 1u << command) && *info->def) {
            const int code =
                set_value(info, &o->value[i], info->name, info->def, message, message_bytes);
            if (code != CLI_OK) {
                return code;
            }
        }
    }
    o->args = malloc(((size_t)(argc > 0 ? argc : 0) + 1) * sizeof *o->args);
    if (!o->args) {
        return fail(message, message_bytes, CLI_FAILURE, "out of memory");
    }
    bool only_args = false;
    for (int at = 0; at < argc; at++) {
        if (only_args || argv[at][0] != '-' || argv[at][1] == '\0') {
            o->args[o->n_args++] = argv[at];
        } else if (strcmp(argv[at], "--") == 0) {
            only_args = true;
        } else {
            const int code = parse_option(o, argc, argv, &at, message, message_bytes);
            if (code != CLI_OK) {
                return code;
            }
            if (o->value[OPT_ID_HELP].on) {
                return CLI_OK;
            }
        }
    }
    const cli_command *c = &cli_commands[command];
    if (o->n_args > c->most) {
        return fail(message, message_bytes, CLI_USAGE, "\"%.60s\" is one argument too many%s",
                    o->args[c->most], command == CMD_RUN ? "; a prompt is given with -p" : "");
    }
    if (o->n_args < c->least) {
        return fail(message, message_bytes, CLI_USAGE, "arguments are missing: %s", c->args);
    }
    return CLI_OK;
}

void options_finish(options *o)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        free((void *)o->value[i].list);
        free(o->value[i].ints);
    }
    free(o->args);
    memset(o, 0, sizeof *o);
}

/* ---- how an option is shown */

void opt_usage(const opt_info *info, char *buf, size_t bytes)
{
    int used = 0;
    buf[0] = '\0';
#define ADD(...)                                                                                   \
    do {                                                                                           \
        if (used >= 0 && (size_t)used < bytes) {                                                   \
            used += snprintf(buf + used, bytes - (size_t)used, __VA_ARGS__);                       \
        }                                                                                          \
    } while (0)
    if (*info->brief) {
        ADD("-%s, ", info->brief);
    }
    ADD("--%s", info->name);
    for (const char *word = info->aliases; *word;) {
        const size_t n = strcspn(word, " ");
        ADD(", %s%.*s", n <= 2 ? "-" : "--", (int)n, word);
        word += n;
        word += strspn(word, " ");
    }
    if (info->kind == OPT_TOGGLE) {
        ADD(", --no-%s", info->name);
        for (const char *word = info->aliases; *word;) {
            const size_t n = strcspn(word, " ");
            ADD(", --no-%.*s", (int)n, word);
            word += n;
            word += strspn(word, " ");
        }
    }
    if (*info->arg) {
        ADD(" %s", info->arg);
    }
#undef ADD
}

void opt_limits(const opt_info *info, char *buf, size_t bytes)
{
    char range[64] = "";
    if (info->kind == OPT_INT || info->kind == OPT_FLOAT || info->kind == OPT_INTS) {
        range_text(info, range, sizeof range);
    }
    if (*info->def) {
        snprintf(buf, bytes, " (%s%sdefault %s)", range, *range ? ", " : "", info->def);
    } else if (*range) {
        snprintf(buf, bytes, " (%s)", range);
    } else {
        snprintf(buf, bytes, "%s", "");
    }
}
