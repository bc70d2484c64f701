/* help.h: everything that is printed from the lists: help, manual page, shell completion.
 *
 * All of it goes to a stdio stream; errors are left to the caller's ferror. */
#ifndef HY_CLI_HELP_H
#define HY_CLI_HELP_H

#include <stdbool.h>
#include <stdio.h>

#include "options.h"

void help_overview(FILE *out);
void help_command(FILE *out, cli_command_id command);
/* One line for an error about the command line. */
void help_hint(FILE *out, cli_command_id command);
void help_chat_commands(FILE *out);
void manual_print(FILE *out);
/* "bash", "zsh" or "fish"; false for another shell. */
bool completion_print(FILE *out, const char *shell);

/* What a command does, in a few sentences. */
const char *help_details(cli_command_id command);

#endif
