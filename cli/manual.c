/* manual.c: the manual page, as roff for `man`, made from the lists.  No state. */
#include "help.h"

#include <string.h>

#include "halyard/base.h"

/* Text with what roff would take for its own escaped. */
static void roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'') {
        fputs("\\&", out);
    }
    for (; *text; text++) {
        switch (*text) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '"':
            fputs("\\(dq", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

static void option(FILE *out, const opt_info *info)
{
    char usage[160];
    char limits[96];
    opt_usage(info, usage, sizeof usage);
    opt_limits(info, limits, sizeof limits);
    fputs(".TP\n\\fB", out);
    roff(out, usage);
    fputs("\\fR\n", out);
    roff(out, info->text);
    roff(out, limits);
    fputs(".\nOf", out);
    uint32_t left = info->commands;
    if (left == (1u << CMD_COUNT) - 1) {
        fputs(" every command", out);
        left = 0;
    }
    for (int c = 0; c < CMD_COUNT && left; c++) {
        if (left & 1u << c) {
            left &= ~(1u << c);
            fprintf(out, " \\fB%s\\fR%s", cli_commands[c].name, left ? "," : "");
        }
    }
    fputs(".\n", out);
}

void manual_print(FILE *out)
{
    fprintf(out, ".TH HALYARD 1 \"\" \"Halyard %s\" \"User Commands\"\n", hy_version());
    fputs(".SH NAME\n"
          "halyard \\- run quantized language models from GGUF files\n"
          ".SH SYNOPSIS\n"
          ".B halyard\n"
          "\\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
          ".SH DESCRIPTION\n"
          "Loads a quantized language model from a GGUF file and continues texts, answers, shows "
          "tokens and scores, measures and converts. Text goes to standard output, everything "
          "else to standard error; progress is shown on a terminal only.\n"
          ".SH COMMANDS\n",
          out);
    for (int i = 0; i < CMD_COUNT; i++) {
        const cli_command *c = &cli_commands[i];
        fprintf(out, ".TP\n\\fB%s\\fR", c->name);
        if (*c->args) {
            fputs(" \\fI", out);
            roff(out, c->args);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        roff(out, c->summary);
        fputs(".\n", out);
        const char *details = help_details((cli_command_id)i);
        if (*details) {
            roff(out, details);
            fputc('\n', out);
        }
    }
    fputs(".SH OPTIONS\n"
          "A value follows its option as the next argument, or behind \"=\" for long names. \"_\" "
          "may be written for \"\\-\" in long names. \\fB\\-\\-\\fR ends the options.\n",
          out);
    for (int g = 0; g < OPT_GROUP_COUNT; g++) {
        fprintf(out, ".SS %s\n", opt_group_titles[g]);
        for (int i = 0; i < OPT_COUNT; i++) {
            if ((int)opt_table[i].group == g) {
                option(out, &opt_table[i]);
            }
        }
    }
    fputs(".SH CHAT COMMANDS\n", out);
#define X(name, arg, text)                                                                         \
    fprintf(out, ".TP\n\\fB/%s\\fR \\fI%s\\fR\n", #name, arg);                                     \
    roff(out, text);                                                                               \
    fputs(".\n", out);
#include "chat_commands.inc"
#undef X
    fputs(".SH EXIT STATUS\n", out);
#define X(id, value, text)                                                                         \
    fprintf(out, ".TP\n.B %d\n", value);                                                           \
    roff(out, text);                                                                               \
    fputs(".\n", out);
    CLI_EXIT_LIST(X)
#undef X
    fputs(".SH ENVIRONMENT\n"
          "\\fBHALYARD_CPU\\fR stands for \\fB\\-\\-cpu\\-level\\fR, \\fBHALYARD_WEBGPU\\fR for "
          "\\fB\\-\\-webgpu\\-dir\\fR, where the option is not given; \\fBXDG_CACHE_HOME\\fR "
          "and \\fBHOME\\fR lead to \\fB\\-\\-kernel\\-cache\\fR. The line editor of "
          "\\fBchat\\fR uses "
          "\\fBTERM\\fR and the locale (\\fBLC_ALL\\fR, \\fBLC_CTYPE\\fR, \\fBLANG\\fR).\n"
          ".SH EXAMPLES\n"
          ".TP\n"
          "Continue a text with the built-in model\n"
          "halyard run \\-p \\(dqOnce upon a time\\(dq\n"
          ".TP\n"
          "Talk with a model\n"
          "halyard chat \\-m model.gguf \\-\\-temp 0.7\n"
          ".TP\n"
          "The same text every time\n"
          "halyard run \\-m model.gguf \\-p Hello \\-n 50 \\-s 42\n"
          ".TP\n"
          "Evaluate a long prompt once, go on from it later\n"
          "halyard run \\-m model.gguf \\-f long.txt \\-n 0 \\-\\-state\\-out long.state\n"
          ".br\n"
          "halyard run \\-m model.gguf \\-\\-state\\-in long.state \\-p \\(dqSummary:\\(dq\n",
          out);
}
