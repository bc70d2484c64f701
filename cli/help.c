/* help.c: help texts made from commands.inc and options.inc.  No state. */
#include "help.h"

#include <string.h>

#include "halyard/base.h"

/* Longer texts than the summaries of commands.inc; NULL where the summary says it all. */
static const char *const details[CMD_COUNT] = {
    [CMD_RUN] = "Prints the prompt and its continuation on standard output, piece by piece. The "
                "last line, on standard error, has the number of tokens, the speeds, the bytes "
                "that each token needs and the seed. Ends at an end token, at -n tokens, before a "
                "--reverse-prompt, at a full context or at Ctrl-C. Models of the RWKV tokenizer "
                "end only at their end-of-text token here, not at the blank line that ends a turn "
                "in a chat. With --json nothing is streamed and one object is printed at the end, "
                "with the generated tokens, their text and the timings (predicted_per_second "
                "counts evaluations: the first token comes from the prompt's).",
    [CMD_CHAT] = "Reads messages line by line, from a terminal with line editing, and prints the "
                 "answers. Ctrl-C stops an answer, or clears the line; Ctrl-D leaves. Lines that "
                 "begin with / are commands.",
    [CMD_INFO] = "Reads the file only, so that it also works for vocabulary files and for "
                 "architectures that cannot be run.",
    [CMD_TOKENIZE] = "The text comes from standard input, -p or -f. Prints one token a line, as "
                     "id and text; with --json {\"tokens\":[...]}.",
    [CMD_DETOKENIZE] = "The ids come from the arguments, --tokens, -f or standard input, divided "
                       "by blanks or commas, or as JSON ([1,2] or {\"tokens\":[1,2]}).",
    [CMD_LOGITS] = "Evaluates a text or --tokens and shows, after each position, the best next "
                   "tokens. With --json one line a position: "
                   "{\"pos\":0,\"top\":[[id,logit,logprob],...]}.",
    [CMD_PERPLEXITY] =
        "Cuts the tokens of a text into chunks, evaluates each alone and averages the negative "
        "log-likelihood (natural logarithm) of the tokens of each chunk's second half. With "
        "--json: {\"tokens\":N,\"nll\":X,\"ppl\":Y}, with nll per token.",
    [CMD_BENCH] = "Measures prompt tests (pp) and generation tests (tg) and prints tokens per "
                  "second beside the bytes that a token needs, the bandwidth this makes, and its "
                  "share of the read bandwidth of this machine, measured in the same run with the "
                  "same threads. With --ladder it measures one generation test on the backend webgpu, "
                  "rung by rung from a naive port to what the other tests measure, and a native "
                  "backend if there is one; says how much each adds, and how many of its tokens "
                  "another backend chooses too.",
    [CMD_QUANTIZE] = "Reads the model IN and writes OUT with the tensor types of the mix TYPE. "
                     "Never overwrites IN; OUT appears under its name only when it is complete.",
    [CMD_DOCTOR] =
        "For each WebGPU library, Dawn (dawn) and wgpu-native (wgpu): its version, the "
        "GPU that it finds, what that can do, and which ways of computing passed "
        "the self-test, failed it, are missing or masked; or one sentence that "
        "says why it cannot be used. With --webgpu-lib a library that cannot be used is an error.",
    [CMD_TUNE] =
        "For each WebGPU library that works: times steps of made-up models with each way of "
        "computing that passed the self-test and without it, shows what each is worth on this GPU, "
        "and keeps what is faster beside the results of the self-test. Models that are loaded later "
        "use it, unless --gpu-mask has no-tuned. Takes up to 20 s for a GPU whose self-test has run.",
    [CMD_COMPLETION] =
        "For example: halyard completion bash > ~/.local/share/bash-completion/completions/halyard",
};

const char *help_details(cli_command_id command)
{
    return details[command] ? details[command] : "";
}

/* Prints text with lines broken before `width` columns and indented by `indent`; the cursor is at
 * column `at`. */
static void wrapped(FILE *out, const char *text, int at, int indent, int width)
{
    bool first = true;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (!first && at + 1 + n > width) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, (size_t)n, out);
        at += n;
        first = false;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void help_overview(FILE *out)
{
    fprintf(out,
            "Halyard %s runs quantized language models from GGUF files.\n\n"
            "Usage: halyard COMMAND [OPTION...]\n\nCommands:\n",
            hy_version());
    for (int i = 0; i < CMD_COUNT; i++) {
        fprintf(out, "  %-12s %s\n", cli_commands[i].name, cli_commands[i].summary);
    }
    fprintf(
        out,
        "\n\"halyard help COMMAND\" shows the options of a command. Text goes to standard output,\n"
        "everything else to standard error.\n\nExit codes:\n");
#define X(id, value, text) fprintf(out, "  %-4d %s\n", value, text);
    CLI_EXIT_LIST(X)
#undef X
    fprintf(out, "\nTry: halyard run -p \"Once upon a time\"\n");
}

void help_chat_commands(FILE *out)
{
#define X(name, arg, text) fprintf(out, "  /%-12s %s\n", *arg ? #name " " arg : #name, text);
#include "chat_commands.inc"
#undef X
}

void help_command(FILE *out, cli_command_id command)
{
    const cli_command *c = &cli_commands[command];
    fprintf(out, "Usage: halyard %s%s%s [OPTION...]\n\n", c->name, *c->args ? " " : "", c->args);
    char summary[128];
    snprintf(summary, sizeof summary, "%s.", c->summary);
    if (summary[0] >= 'a' && summary[0] <= 'z') {
        summary[0] = (char)(summary[0] - 'a' + 'A');
    }
    fprintf(out, "%s\n", summary);
    if (details[command]) {
        wrapped(out, details[command], 0, 0, 96);
    }
    for (int g = 0; g < OPT_GROUP_COUNT; g++) {
        bool titled = false;
        for (int i = 0; i < OPT_COUNT; i++) {
            const opt_info *info = &opt_table[i];
            if ((int)info->group != g || !(info->commands & 1u << command)) {
                continue;
            }
            if (!titled) {
                fprintf(out, "\n%s:\n", opt_group_titles[g]);
                titled = true;
            }
            char usage[160];
            char limits[96];
            char text[512];
            opt_usage(info, usage, sizeof usage);
            opt_limits(info, limits, sizeof limits);
            snprintf(text, sizeof text, "%s%s", info->text, limits);
            const int column = 34;
            int at = fprintf(out, "  %s", usage);
            if (at > column - 2) {
                fprintf(out, "\n");
                at = 0;
            }
            fprintf(out, "%*s", column - at, "");
            wrapped(out, text, column, column, 100);
        }
    }
    if (command == CMD_CHAT) {
        fprintf(out, "\nIn the conversation:\n");
        help_chat_commands(out);
    }
}

void help_hint(FILE *out, cli_command_id command)
{
    if (command == CMD_COUNT) {
        fprintf(out, "\"halyard help\" shows the commands.\n");
    } else {
        fprintf(out, "\"halyard help %s\" shows its options.\n", cli_commands[command].name);
    }
}
