/* test_options.c: the parser: every option of the table at its bounds and beyond, and the sentences
 * of its errors. */
#include "support/support.h"

#include "options.h"

static options parsed;
static char message[512];

static int parse_argv(cli_command_id command, int argc, char **argv)
{
    options_finish(&parsed);
    message[0] = '\0';
    return options_parse(&parsed, command, argc, argv, message, sizeof message);
}

#define parse(command, ...)                                                                        \
    parse_argv(CMD_##command, (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)),             \
               (char *[]){__VA_ARGS__})

static int teardown(void **state)
{
    (void)state;
    options_finish(&parsed);
    return 0;
}

/* A command that takes the option. */
static cli_command_id a_command(const opt_info *info)
{
    for (int c = 0; c < CMD_COUNT; c++) {
        if ((info->commands & 1u << c) && cli_commands[c].least == 0) {
            return (cli_command_id)c;
        }
    }
    return CMD_QUANTIZE;
}

/* Parses "--NAME VALUE" or "--NAME=VALUE", with the arguments that the command must have. */
static int parse_value(const opt_info *info, const char *dashes, const char *name,
                       const char *value, bool joined)
{
    static char in[] = "IN";
    static char out[] = "OUT";
    static char type[] = "Q8_0";
    static char first[256]; /* parsed strings point into these until the next call */
    static char second[256];
    const cli_command_id command = a_command(info);
    char *argv[5];
    int argc = 0;
    snprintf(second, sizeof second, "%s", value ? value : "");
    if (joined) {
        snprintf(first, sizeof first, "%s%s=%s", dashes, name, value);
    } else {
        snprintf(first, sizeof first, "%s%s", dashes, name);
    }
    if (command == CMD_QUANTIZE) {
        argv[argc++] = in;
        argv[argc++] = out;
        argv[argc++] = type;
    }
    argv[argc++] = first;
    if (value && !joined) {
        argv[argc++] = second;
    }
    return parse_argv(command, argc, argv);
}

static void number_text(double x, char *buf, size_t cap)
{
    if (x == (double)(int64_t)x) {
        snprintf(buf, cap, "%lld", (long long)x);
    } else {
        snprintf(buf, cap, "%.17g", x);
    }
}

static void check_number(const opt_info *info, opt_id id)
{
    char text[64];
    for (int end = 0; end < 2; end++) {
        const double bound = end ? info->most : info->least;
        number_text(bound, text, sizeof text);
        assert_int_equal(parse_value(info, "--", info->name, text, false), CLI_OK);
        assert_true(parsed.value[id].given);
        if (info->kind == OPT_FLOAT) {
            assert_true(parsed.value[id].f == bound);
        } else {
            assert_true(
                (double)(info->kind == OPT_INT ? parsed.value[id].i : parsed.value[id].ints[0])
                == bound);
        }
        assert_int_equal(parse_value(info, "--", info->name, text, true), CLI_OK);
        number_text(end ? bound + 1 : bound - 1, text, sizeof text);
        assert_int_equal(parse_value(info, "--", info->name, text, false), CLI_USAGE);
        assert_non_null(strstr(message, info->name));
        assert_non_null(strstr(message, text));
        assert_non_null(strstr(message, "from"));
    }
    static const char *const wrong[] = {"",    "abc", "1x",    "0x",    "nan",
                                        "inf", " 1",  "1e999", "--json"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (info->kind == OPT_INTS && strcmp(wrong[i], " 1") == 0) {
            continue; /* blanks divide the numbers of a list */
        }
        assert_int_equal(parse_value(info, "--", info->name, wrong[i], false), CLI_USAGE);
        assert_non_null(strstr(message, info->name));
    }
}

/* Every row of the table by every name it has. */
static void test_every_option(void **state)
{
    (void)state;
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        const opt_id id = (opt_id)i;
        const opt_value *v = &parsed.value[id];
        switch (info->kind) {
        case OPT_FLAG:
            assert_int_equal(parse_value(info, "--", info->name, NULL, false), CLI_OK);
            assert_true(v->on && v->given);
            assert_int_equal(parse_value(info, "--", info->name, "yes", true), CLI_USAGE);
            assert_non_null(strstr(message, "takes no value"));
            break;
        case OPT_TOGGLE:
            assert_int_equal(parse_value(info, "--no-", info->name, NULL, false), CLI_OK);
            assert_false(v->on);
            assert_int_equal(parse_value(info, "--", info->name, NULL, false), CLI_OK);
            assert_true(v->on);
            break;
        case OPT_INT:
        case OPT_FLOAT:
        case OPT_INTS:
            check_number(info, id);
            break;
        case OPT_STRING:
            assert_int_equal(parse_value(info, "--", info->name, "--a=b", false), CLI_OK);
            assert_string_equal(v->s, "--a=b");
            break;
        case OPT_STRINGS:
            assert_int_equal(parse_value(info, "--", info->name, "text", true), CLI_OK);
            assert_int_equal(v->n, 1);
            assert_string_equal(v->list[0], "text");
            break;
        case OPT_CHOICE:
            for (const char *word = info->arg; *word; word += *word == '|') {
                char choice[32];
                const size_t n = strcspn(word, "|");
                snprintf(choice, sizeof choice, "%.*s", (int)n, word);
                assert_int_equal(parse_value(info, "--", info->name, choice, false), CLI_OK);
                assert_string_equal(v->s, choice);
                word += n;
            }
            assert_int_equal(parse_value(info, "--", info->name, "other", false), CLI_USAGE);
            assert_non_null(strstr(message, info->arg));
            break;
        }
        if (info->kind != OPT_FLAG && info->kind != OPT_TOGGLE) {
            assert_int_equal(parse_value(info, "--", info->name, NULL, false), CLI_USAGE);
            assert_non_null(strstr(message, "needs a value"));
        }
    }
}

static void test_short_names_and_aliases(void **state)
{
    (void)state;
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        const char *value = info->kind == OPT_FLAG || info->kind == OPT_TOGGLE ? NULL
                            : info->kind == OPT_CHOICE                         ? info->def
                                                                               : "1";
        if (info->kind == OPT_INT || info->kind == OPT_FLOAT) {
            value = info->def;
        } else if (info->kind == OPT_INTS) {
            value = "7";
        }
        if (*info->brief) {
            assert_int_equal(parse_value(info, "-", info->brief, value, false), CLI_OK);
            assert_true(parsed.value[i].given);
        }
        for (const char *word = info->aliases; *word;) {
            char name[64];
            const size_t n = strcspn(word, " ");
            snprintf(name, sizeof name, "%.*s", (int)n, word);
            assert_int_equal(parse_value(info, n <= 2 ? "-" : "--", name, value, false), CLI_OK);
            assert_true(parsed.value[i].given);
            word += n;
            word += strspn(word, " ");
        }
    }
}

/* Within a command a name must lead to one row only, and every default must be legal. */
static void test_table_is_consistent(void **state)
{
    (void)state;
    for (int c = 0; c < CMD_COUNT; c++) {
        for (int i = 0; i < OPT_COUNT; i++) {
            for (int k = i + 1; k < OPT_COUNT; k++) {
                const opt_info *a = &opt_table[i];
                const opt_info *b = &opt_table[k];
                if ((a->commands & 1u << c) && (b->commands & 1u << c)) {
                    assert_string_not_equal(a->name, b->name);
                    assert_true(!*a->brief || strcmp(a->brief, b->brief) != 0);
                }
            }
        }
        static char one[] = "bash";
        char *argv[] = {one, one, one};
        assert_int_equal(parse_argv((cli_command_id)c, (int)cli_commands[c].least, argv), CLI_OK);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse(RUN, "-p", "x"), CLI_OK);
    assert_true(parsed.value[OPT_ID_TEMP].f == 0.8);
    assert_int_equal(parsed.value[OPT_ID_TOP_K].i, 40);
    assert_true(parsed.value[OPT_ID_TOP_P].f == 0.95);
    assert_true(parsed.value[OPT_ID_MIN_P].f == 0.05);
    assert_true(parsed.value[OPT_ID_REPEAT_PENALTY].f == 1.0);
    assert_int_equal(parsed.value[OPT_ID_REPEAT_LAST_N].i, 64);
    assert_int_equal(parsed.value[OPT_ID_SEED].i, -1);
    assert_int_equal(parsed.value[OPT_ID_PREDICT].i, -1);
    assert_true(parsed.value[OPT_ID_ESCAPE].on && parsed.value[OPT_ID_MMAP].on);
    assert_false(parsed.value[OPT_ID_TEMP].given);
    assert_int_equal(parse(PERPLEXITY, "-f", "x"), CLI_OK);
    assert_int_equal(parsed.value[OPT_ID_CHUNK].i, 512);
}

/* One name, two meanings. */
static void test_same_name_other_command(void **state)
{
    (void)state;
    assert_int_equal(parse(BENCH, "-p", "16,32", "-n", "0", "-t", "1,2", "-p", "64", "-r", "3"),
                     CLI_OK);
    const opt_value *p = &parsed.value[OPT_ID_BENCH_PROMPT];
    assert_int_equal(p->n, 3);
    assert_int_equal(p->ints[0], 16);
    assert_int_equal(p->ints[2], 64);
    assert_int_equal(parsed.value[OPT_ID_BENCH_GEN].n, 1);
    assert_int_equal(parsed.value[OPT_ID_BENCH_GEN].ints[0], 0);
    assert_int_equal(parse(RUN, "-p", "16,32"), CLI_OK);
    assert_string_equal(parsed.value[OPT_ID_PROMPT].s, "16,32");
}

static void test_unknown(void **state)
{
    (void)state;
    assert_int_equal(parse(RUN, "--tmep", "1"), CLI_USAGE);
    assert_non_null(strstr(message, "unknown option --tmep; did you mean --temp?"));
    assert_int_equal(parse(RUN, "--no-mmpa"), CLI_USAGE);
    assert_non_null(strstr(message, "did you mean --no-mmap?"));
    assert_int_equal(parse(RUN, "--wholly-different=3"), CLI_USAGE);
    assert_null(strstr(message, "did you mean"));
    assert_non_null(strstr(message, "unknown option --wholly-different"));
    assert_int_equal(parse(CHAT, "--state-in", "f"), CLI_USAGE);
    assert_non_null(
        strstr(message, "--state-in is not an option of \"halyard chat\", only of run"));
    assert_int_equal(parse(RUN, "--no-temp"), CLI_USAGE);
    assert_int_equal(parse(RUN, "--="), CLI_USAGE);
    assert_int_equal(parse(RUN, "-"), CLI_USAGE); /* an argument, and run takes none */
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest, "--", 2);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(parse(RUN, longest), CLI_USAGE);
}

static void test_spelling(void **state)
{
    (void)state;
    assert_int_equal(parse(RUN, "--top_k=7", "--n_predict", "3", "-p", "a"), CLI_OK);
    assert_int_equal(parsed.value[OPT_ID_TOP_K].i, 7);
    assert_int_equal(parsed.value[OPT_ID_PREDICT].i, 3);
    assert_int_equal(parse(RUN, "--prompt=a_b=c"), CLI_OK);
    assert_string_equal(parsed.value[OPT_ID_PROMPT].s, "a_b=c");
    assert_int_equal(parse(RUN, "-n", "-1", "-p", "-x"), CLI_OK);
    assert_int_equal(parsed.value[OPT_ID_PREDICT].i, -1);
    assert_string_equal(parsed.value[OPT_ID_PROMPT].s, "-x");
    /* The last of several counts; lists grow. */
    assert_int_equal(parse(RUN, "-n", "1", "-n", "2", "-r", "a", "-r", "b", "--tokens", "1,2",
                           "--tokens", "[3, 4]"),
                     CLI_OK);
    assert_int_equal(parsed.value[OPT_ID_PREDICT].i, 2);
    assert_int_equal(parsed.value[OPT_ID_STOP].n, 2);
    assert_string_equal(parsed.value[OPT_ID_STOP].list[1], "b");
    assert_int_equal(parsed.value[OPT_ID_TOKENS].n, 4);
    assert_int_equal(parsed.value[OPT_ID_TOKENS].ints[3], 4);
    assert_int_equal(parse(RUN, "--tokens", "1,,2, ,3"), CLI_OK);
    assert_int_equal(parsed.value[OPT_ID_TOKENS].n, 3);
    assert_int_equal(parse(RUN, "--tokens", "1,-2"), CLI_USAGE);
    assert_int_equal(parse(RUN, "--tokens", ","), CLI_USAGE);
}

static void test_arguments(void **state)
{
    (void)state;
    assert_int_equal(parse(QUANTIZE, "a", "-t", "2", "b", "c"), CLI_OK);
    assert_int_equal(parsed.n_args, 3);
    assert_string_equal(parsed.args[2], "c");
    assert_int_equal(parse(QUANTIZE, "a", "b"), CLI_USAGE);
    assert_non_null(strstr(message, "IN OUT TYPE"));
    assert_int_equal(parse(QUANTIZE, "a", "b", "c", "d"), CLI_USAGE);
    assert_non_null(strstr(message, "\"d\" is one argument too many"));
    assert_int_equal(parse(INFO, "--", "--json"), CLI_OK);
    assert_string_equal(parsed.args[0], "--json");
    assert_false(parsed.value[OPT_ID_JSON].on);
    assert_int_equal(parse(RUN, "hello"), CLI_USAGE);
    assert_non_null(strstr(message, "a prompt is given with -p"));
    assert_int_equal(parse(QUANTIZE, "--help"), CLI_OK); /* asks for help, so nothing is missing */
}

static void test_many_numbers(void **state)
{
    (void)state;
    static char list[60000];
    size_t len = 0;
    for (int i = 0; i < 10000; i++) {
        len += (size_t)snprintf(list + len, sizeof list - len, "%d,", i);
    }
    assert_int_equal(parse(RUN, "--tokens", list), CLI_OK);
    assert_int_equal(parsed.value[OPT_ID_TOKENS].n, 10000);
    assert_int_equal(parsed.value[OPT_ID_TOKENS].ints[9999], 9999);
}

static void test_commands(void **state)
{
    (void)state;
    assert_int_equal(cli_command_find("bench"), CMD_BENCH);
    assert_int_equal(cli_command_find("Bench"), CMD_COUNT);
    assert_string_equal(cli_command_near("perplexty"), "perplexity");
    assert_string_equal(cli_command_near("rnu"), "run");
    assert_null(cli_command_near("something"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_short_names_and_aliases),
        cmocka_unit_test(test_table_is_consistent),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_same_name_other_command),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_many_numbers),
        cmocka_unit_test(test_commands),
    };
    return cmocka_run_group_tests_name("cli_options", tests, NULL, teardown);
}
