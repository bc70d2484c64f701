/* completion.c: completion scripts of bash, zsh and fish, made from the lists.  No state. */
#include "help.h"

#include <string.h>

static bool takes_file(const opt_info *info)
{
    return info->kind == OPT_STRING && strstr(info->arg, "FILE");
}

static bool takes_value(const opt_info *info)
{
    return info->kind != OPT_FLAG && info->kind != OPT_TOGGLE;
}

/* One way to write an option: "--" or "-", "no-" or "", and the name. */
typedef void each_name(FILE *out, const char *dashes, const char *no, const char *name, size_t len);

static void aliases(FILE *out, const opt_info *info, each_name *each)
{
    for (const char *word = info->aliases; *word;) {
        const size_t n = strcspn(word, " ");
        each(out, n <= 2 ? "-" : "--", "", word, n);
        word += n;
        word += strspn(word, " ");
    }
}

static void names(FILE *out, const opt_info *info, each_name *each)
{
    each(out, "--", "", info->name, strlen(info->name));
    if (info->kind == OPT_TOGGLE) {
        each(out, "--", "no-", info->name, strlen(info->name));
    }
    if (*info->brief) {
        each(out, "-", "", info->brief, strlen(info->brief));
    }
    aliases(out, info, each);
}

static void spaced(FILE *out, const char *dashes, const char *no, const char *name, size_t len)
{
    fprintf(out, " %s%s%.*s", dashes, no, (int)len, name);
}

/* Text inside single quotes of a shell. */
static void quoted(FILE *out, const char *text, const char *also_escape)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            if (strchr(also_escape, *text)) {
                fputc('\\', out);
            }
            fputc(*text, out);
        }
    }
}

static void words_of_choice(FILE *out, const char *choice)
{
    for (; *choice; choice++) {
        fputc(*choice == '|' ? ' ' : *choice, out);
    }
}

static void bash(FILE *out)
{
    fputs("# bash completion of halyard\n_halyard() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} "
          "command=${COMP_WORDS[1]} names=\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '",
          out);
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "%s%s", c ? " " : "", cli_commands[c].name);
    }
    fputs(" --help --version' -- \"$word\"))\n        return\n    fi\n    case $command:$last in\n",
          out);
    for (int c = 0; c < CMD_COUNT; c++) {
        for (int i = 0; i < OPT_COUNT; i++) {
            const opt_info *info = &opt_table[i];
            if (!(info->commands & 1u << c) || !takes_value(info)) {
                continue;
            }
            fprintf(out, "    %s:--%s", cli_commands[c].name, info->name);
            if (*info->brief) {
                fprintf(out, "|%s:-%s", cli_commands[c].name, info->brief);
            }
            if (takes_file(info)) {
                fputs(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", out);
            } else if (info->kind == OPT_CHOICE) {
                fputs(") COMPREPLY=($(compgen -W '", out);
                words_of_choice(out, info->arg);
                fputs("' -- \"$word\")); return ;;\n", out);
            } else {
                fputs(") return ;;\n", out);
            }
        }
    }
    fputs("    esac\n    case $command in\n", out);
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "    %s) names='", cli_commands[c].name);
        for (int i = 0; i < OPT_COUNT; i++) {
            if (opt_table[i].commands & 1u << c) {
                names(out, &opt_table[i], spaced);
            }
        }
        if (c == CMD_COMPLETION) {
            fputs(" bash zsh fish", out);
        } else if (c == CMD_HELP) {
            for (int k = 0; k < CMD_COUNT; k++) {
                fprintf(out, " %s", cli_commands[k].name);
            }
        }
        fputs("' ;;\n", out);
    }
    fputs("    esac\n    COMPREPLY=($(compgen -W \"$names\" -- \"$word\"))\n"
          "    case $command in info|plan|quantize) case $word in -*) ;; *) "
          "COMPREPLY+=($(compgen -f -- \"$word\")) ;; esac ;; esac\n"
          "}\ncomplete -o filenames -F _halyard halyard\n",
          out);
}

static void listed(FILE *out, const char *dashes, const char *no, const char *name, size_t len)
{
    fprintf(out, ",%s%s%.*s", dashes, no, (int)len, name);
}

/* '*'{--name,-n}, or '*--name' if there is only one: an option that may come again, for _arguments.
 */
static void zsh_names(FILE *out, const opt_info *info)
{
    if (info->kind != OPT_TOGGLE && !*info->brief && !*info->aliases) {
        fprintf(out, "'*--%s'", info->name);
        return;
    }
    fprintf(out, "'*'{--%s", info->name);
    if (info->kind == OPT_TOGGLE) {
        listed(out, "--", "no-", info->name, strlen(info->name));
    }
    if (*info->brief) {
        listed(out, "-", "", info->brief, strlen(info->brief));
    }
    aliases(out, info, listed);
    fputs("}", out);
}

static void zsh(FILE *out)
{
    fputs("#compdef halyard\n# zsh completion of halyard\n_halyard() {\n    local -a commands\n    "
          "commands=(\n",
          out);
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "        '%s:", cli_commands[c].name);
        quoted(out, cli_commands[c].summary, ":");
        fputs("'\n", out);
    }
    fputs(
        "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        "
        "return\n    fi\n"
        "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n",
        out);
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "    %s) _arguments", cli_commands[c].name);
        for (int i = 0; i < OPT_COUNT; i++) {
            const opt_info *info = &opt_table[i];
            if (!(info->commands & 1u << c)) {
                continue;
            }
            fputs(" \\\n        ", out);
            zsh_names(out, info);
            fputs("'[", out);
            quoted(out, info->text, "[]:\\");
            fputs("]", out);
            if (takes_value(info)) {
                fputs(":", out);
                quoted(out, info->arg, ":");
                if (takes_file(info)) {
                    fputs(":_files", out);
                } else if (info->kind == OPT_CHOICE) {
                    fputs(":(", out);
                    words_of_choice(out, info->arg);
                    fputs(")", out);
                } else {
                    fputs(":", out);
                }
            }
            fputs("'", out);
        }
        fputs(c == CMD_COMPLETION ? " '1:shell:(bash zsh fish)'"
              : c == CMD_HELP     ? " '1:command:_halyard_commands'"
                                  : " '*:file:_files'",
              out);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n_halyard_commands() {\n    compadd", out);
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, " %s", cli_commands[c].name);
    }
    fputs("\n}\n_halyard \"$@\"\n", out);
}

static void fish_name(FILE *out, const char *dashes, const char *no, const char *name, size_t len)
{
    if (dashes[1]) {
        fprintf(out, " -l %s%.*s", no, (int)len, name);
    } else {
        fprintf(out, " -%c %.*s", len == 1 ? 's' : 'o', (int)len, name);
    }
}

static void fish(FILE *out)
{
    fputs("# fish completion of halyard\ncomplete -c halyard -f\n"
          "complete -c halyard -n __fish_use_subcommand -l help -d 'show the commands'\n"
          "complete -c halyard -n __fish_use_subcommand -l version -d 'print the version'\n",
          out);
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "complete -c halyard -n __fish_use_subcommand -a %s -d '",
                cli_commands[c].name);
        quoted(out, cli_commands[c].summary, "\\");
        fputs("'\n", out);
    }
    for (int i = 0; i < OPT_COUNT; i++) {
        const opt_info *info = &opt_table[i];
        fputs("complete -c halyard -n '__fish_seen_subcommand_from", out);
        for (int c = 0; c < CMD_COUNT; c++) {
            if (info->commands & 1u << c) {
                fprintf(out, " %s", cli_commands[c].name);
            }
        }
        fputs("'", out);
        names(out, info, fish_name);
        if (takes_file(info)) {
            fputs(" -r -F", out);
        } else if (info->kind == OPT_CHOICE) {
            fputs(" -x -a '", out);
            words_of_choice(out, info->arg);
            fputs("'", out);
        } else if (takes_value(info)) {
            fputs(" -x", out);
        }
        fputs(" -d '", out);
        quoted(out, info->text, "\\");
        fputs("'\n", out);
    }
    fputs("complete -c halyard -n '__fish_seen_subcommand_from info plan quantize' -F\n"
          "complete -c halyard -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n",
          out);
}

bool completion_print(FILE *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        bash(out);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh(out);
    } else if (strcmp(shell, "fish") == 0) {
        fish(out);
    } else {
        return false;
    }
    return true;
}
