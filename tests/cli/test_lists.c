/* test_lists.c: help, manual page and shell completion name every command and every option of the
 * lists. */
#include "support/support.h"

#include "help.h"

/* What a printing function writes. free() it. */
static char *printed_by(void (*print)(FILE *out, int arg), int arg)
{
    FILE *f = tmpfile();
    assert_non_null(f);
    print(f, arg);
    const long len = ftell(f);
    assert_true(len > 0);
    rewind(f);
    char *text = calloc(1, (size_t)len + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)len, f), (size_t)len);
    fclose(f);
    return text;
}

static void print_help(FILE *out, int command)
{
    help_command(out, (cli_command_id)command);
}

static void print_overview(FILE *out, int unused)
{
    (void)unused;
    help_overview(out);
}

static void print_manual(FILE *out, int unused)
{
    (void)unused;
    manual_print(out);
}

static const char *const shells[] = {"bash", "zsh", "fish"};

static void print_completion(FILE *out, int shell)
{
    assert_true(completion_print(out, shells[shell]));
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("\"%s\" is missing in: %s", part, text);
    }
}

/* Another row of the command may look the same: -c has one for chunks and one for contexts. */
static bool has_row(const char *usage, cli_command_id command)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        char other[160];
        opt_usage(&opt_table[i], other, sizeof other);
        if ((opt_table[i].commands & 1u << command) && strcmp(other, usage) == 0) {
            return true;
        }
    }
    return false;
}

static void test_help(void **state)
{
    (void)state;
    char *overview = printed_by(print_overview, 0);
    for (int c = 0; c < CMD_COUNT; c++) {
        has(overview, cli_commands[c].name);
        has(overview, cli_commands[c].summary);
        char *help = printed_by(print_help, c);
        for (int i = 0; i < OPT_COUNT; i++) {
            char usage[160];
            opt_usage(&opt_table[i], usage, sizeof usage);
            if (opt_table[i].commands & 1u << c) {
                has(help, usage);
            } else {
                char line[170];
                snprintf(line, sizeof line, "\n  %s ", usage);
                assert_true(!strstr(help, line) || has_row(usage, (cli_command_id)c));
            }
        }
        free(help);
    }
#define X(id, value, text) has(overview, text);
    CLI_EXIT_LIST(X)
#undef X
    free(overview);
}

/* Help lines fit into 100 columns, but for what cannot be broken. */
static void test_help_width(void **state)
{
    (void)state;
    for (int c = 0; c < CMD_COUNT; c++) {
        char *help = printed_by(print_help, c);
        for (const char *line = help; *line; line += strcspn(line, "\n"), line += *line == '\n') {
            assert_true(strcspn(line, "\n") <= 100);
        }
        free(help);
    }
}

/* Text as roff prints it: escapes undone. */
static void unroff(char *s)
{
    char *out = s;
    while (*s) {
        if (strncmp(s, "\\-", 2) == 0) {
            *out++ = '-';
            s += 2;
        } else if (strncmp(s, "\\e", 2) == 0) {
            *out++ = '\\';
            s += 2;
        } else if (strncmp(s, "\\(dq", 4) == 0) {
            *out++ = '"';
            s += 4;
        } else if (strncmp(s, "\\(aq", 4) == 0) {
            *out++ = '\'';
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

static void test_manual(void **state)
{
    (void)state;
    char *page = printed_by(print_manual, 0);
    has(page, ".TH HALYARD 1");
    for (const char *line = page; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        assert_true(*line != '\'');
    }
    unroff(page);
    for (int c = 0; c < CMD_COUNT; c++) {
        has(page, cli_commands[c].name);
    }
    for (int i = 0; i < OPT_COUNT; i++) {
        char usage[160];
        opt_usage(&opt_table[i], usage, sizeof usage);
        has(page, usage);
        has(page, opt_table[i].text);
    }
#define X(id, value, text) has(page, text);
    CLI_EXIT_LIST(X)
#undef X
#define X(name, arg, text) has(page, "/" #name);
#include "chat_commands.inc"
#undef X
    free(page);
}

static void test_completion(void **state)
{
    (void)state;
    for (int shell = 0; shell < 3; shell++) {
        char *script = printed_by(print_completion, shell);
        for (int c = 0; c < CMD_COUNT; c++) {
            has(script, cli_commands[c].name);
        }
        for (int i = 0; i < OPT_COUNT; i++) {
            char name[80];
            snprintf(name, sizeof name, "%s%s", shell == 2 ? "-l " : "--", opt_table[i].name);
            has(script, name);
            if (opt_table[i].kind == OPT_TOGGLE) {
                snprintf(name, sizeof name, "%sno-%s", shell == 2 ? "-l " : "--",
                         opt_table[i].name);
                has(script, name);
            }
        }
        free(script);
    }
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_false(completion_print(f, "tcsh"));
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_help_width),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_completion),
    };
    return cmocka_run_group_tests_name("cli_lists", tests, NULL, NULL);
}
