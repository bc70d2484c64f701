/* main.c: finds the command, reads its options, runs it; and the commands that only print from the
 * lists.
 *
 * One thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "help.h"
#include "term.h"

static void error_line(const options *o, const char *fmt, va_list args)
{
    fprintf(stderr, "halyard %s: ", cli_commands[o->command].name);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

int cli_fail(const options *o, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_line(o, fmt, args);
    va_end(args);
    return CLI_FAILURE;
}

int cli_usage(const options *o, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_line(o, fmt, args);
    va_end(args);
    help_hint(stderr, o->command);
    return CLI_USAGE;
}

static int interrupted(const options *o)
{
    fprintf(stderr, "halyard %s: interrupted\n", cli_commands[o->command].name);
    return CLI_INTERRUPTED;
}

int cli_error(const options *o, const hy_error *err)
{
    if (err->code == HY_E_CANCELLED && term_interrupted()) {
        return interrupted(o);
    }
    const bool has_size = (opt_table[OPT_ID_CTX].commands & 1u << o->command) != 0;
    return cli_fail(o, "%s%s", err->text,
                    err->code == HY_E_CONTEXT && has_size ? "; -c sets its size" : "");
}

static int output_errno; /* of the first flush that failed: a second one no longer knows why */

bool cli_write(const char *data, size_t len)
{
    errno = 0;
    fwrite(data, 1, len, stdout);
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    output_errno = output_errno ? output_errno : errno;
    return false;
}

int cli_finish_output(void)
{
    if (cli_write("", 0)) {
        return CLI_OK;
    }
    if (output_errno != EPIPE) {
        fprintf(stderr, "halyard: standard output cannot be written%s%s\n",
                output_errno ? ": " : "", output_errno ? strerror(output_errno) : "");
    }
    return CLI_FAILURE;
}

json_t *json_bytes(const char *data, size_t len)
{
    text clean = {0};
    json_t *string = NULL;
    if (text_add_clean(&clean, data, len)) {
        string = json_stringn(clean.data, clean.len);
    }
    text_free(&clean);
    return string;
}

json_t *json_tokens(const hy_token *ids, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        if (json_array_append_new(array, json_integer(ids[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *json_number(double x)
{
    json_t *number = json_real(x); /* refuses what is not finite */
    return number ? number : json_null();
}

bool json_print(json_t *root)
{
    char *line = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    if (!line) {
        return false;
    }
    fputs(line, stdout);
    fputc('\n', stdout);
    free(line);
    return true;
}

static int read_input(const options *o, text *t)
{
    char buf[16384];
    for (;;) {
        const long n = term_read_input(buf, sizeof buf);
        if (n < 0) {
            return term_interrupted() ? interrupted(o)
                                      : cli_fail(o, "standard input: %s", strerror(errno));
        }
        if (!text_add(t, buf, (size_t)n)) {
            return cli_fail(o, "out of memory");
        }
        if (n == 0) {
            return CLI_OK;
        }
    }
}

int cli_read_file(const options *o, const char *path, text *t)
{
    char message[512] = "";
    if (strcmp(path, "-") == 0) {
        return read_input(o, t);
    }
    return text_read_file(t, path, message, sizeof message) ? CLI_OK : cli_fail(o, "%s", message);
}

int cli_input_text(const options *o, bool use_stdin, bool force, text *t, bool *given)
{
    const char *prompt = OPT(o, PROMPT)->s;
    const char *file = OPT(o, FILE)->s;
    *given = true;
    if (prompt && file) {
        return cli_usage(o, "--prompt and --file exclude each other");
    }
    if (prompt) {
        if (!text_puts(t, prompt)) {
            return cli_fail(o, "out of memory");
        }
        if (OPT(o, ESCAPE)->on) {
            t->len = text_unescape(t->data, t->len);
            t->data[t->len] = '\0';
        }
        return CLI_OK;
    }
    if (!file && !(force || (use_stdin && !term_is_tty(stdin)))) {
        *given = false;
        return CLI_OK;
    }
    return cli_read_file(o, file ? file : "-", t);
}

int cli_model_path(const options *o, const char **path)
{
    *path = OPT(o, MODEL)->s;
    const bool takes_file = o->command == CMD_INFO || o->command == CMD_PLAN;
    if (takes_file && o->n_args > 0) {
        if (*path) {
            return cli_usage(o, "two model files are given: \"%s\" and \"%s\"", *path, o->args[0]);
        }
        *path = o->args[0];
    }
    if (!*path) {
        return cli_usage(o, "a model file is needed: %s", takes_file ? "FILE" : "-m FILE");
    }
    return CLI_OK;
}

int cmd_help(const options *o)
{
    if (o->n_args == 0) {
        help_overview(stdout);
        return cli_finish_output();
    }
    const cli_command_id command = cli_command_find(o->args[0]);
    if (command == CMD_COUNT) {
        const char *near_name = cli_command_near(o->args[0]);
        return cli_usage(o, "there is no command \"%.60s\"%s%s%s", o->args[0],
                         near_name ? "; did you mean " : "", near_name ? near_name : "",
                         near_name ? "?" : "");
    }
    help_command(stdout, command);
    return cli_finish_output();
}

int cmd_completion(const options *o)
{
    if (!completion_print(stdout, o->args[0])) {
        return cli_usage(o, "no completion for \"%.60s\", only for bash, zsh and fish", o->args[0]);
    }
    return cli_finish_output();
}

int cmd_man(const options *o)
{
    (void)o;
    manual_print(stdout);
    return cli_finish_output();
}

int cmd_version(const options *o)
{
    (void)o;
    printf("halyard %s\n", hy_version());
    return cli_finish_output();
}

static int (*const functions[CMD_COUNT])(const options *o) = {
#define X(id, name, args, least, most, text) cmd_##name,
#include "commands.inc"
#undef X
};

int main(int argc, char **argv)
{
    term_start();
    if (argc < 2) {
        help_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    const cli_command_id command = cli_command_find(name);
    if (command == CMD_COUNT) {
        const char *near_name = cli_command_near(name);
        if (name[0] == '-') {
            fprintf(stderr,
                    "halyard: the command comes before the options, as in \"halyard run %.40s\"\n",
                    name);
        } else if (near_name) {
            fprintf(stderr, "halyard: there is no command \"%.60s\"; did you mean %s?\n", name,
                    near_name);
        } else {
            fprintf(stderr, "halyard: there is no command \"%.60s\"\n", name);
        }
        help_hint(stderr, CMD_COUNT);
        return CLI_USAGE;
    }
    options o;
    char message[512] = "";
    int code = options_parse(&o, command, argc - 2, argv + 2, message, sizeof message);
    if (code == CLI_USAGE) {
        cli_usage(&o, "%s", message);
    } else if (code != CLI_OK) {
        cli_fail(&o, "%s", message);
    } else if (OPT(&o, HELP)->on) {
        help_command(stdout, command);
        code = cli_finish_output();
    } else {
        code = functions[command](&o);
    }
    options_finish(&o);
    return code;
}
