/* cli.h: what the commands share: their functions, error lines, JSON.
 *
 * Each command is one function that returns an exit code and has printed a sentence if it is not 0.
 */
#ifndef HY_CLI_CLI_H
#define HY_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "halyard/halyard.h"
#include "options.h"
#include "text.h"

#define X(id, name, args, least, most, text) int cmd_##name(const options *o);
#include "commands.inc"
#undef X

/* The value of an option, by its id in options.inc. */
#define OPT(o, id) (&(o)->value[OPT_ID_##id])

/* Prints "halyard COMMAND: SENTENCE" on standard error and returns CLI_FAILURE; cli_usage:
 * CLI_USAGE, with a hint. */
HY_PRINTF(2, 3) int cli_fail(const options *o, const char *fmt, ...);
HY_PRINTF(2, 3) int cli_usage(const options *o, const char *fmt, ...);
int cli_error(const options *o, const hy_error *err);

/* Writes to standard output at once; false if that failed. cli_finish_output says why. */
bool cli_write(const char *data, size_t len);
/* CLI_OK, or CLI_FAILURE if something could not be written to standard output, with a sentence
 * unless its reader has gone. */
int cli_finish_output(void);

/* Bytes as a JSON string, what is no UTF-8 replaced. NULL if memory is out. */
json_t *json_bytes(const char *data, size_t len);
json_t *json_tokens(const hy_token *ids, size_t n);
/* null if x is not finite. */
json_t *json_number(double x);
/* Prints one line on standard output and drops the reference. False if root is NULL or memory is
 * out. */
bool json_print(json_t *root);

/* The bytes of a file, "-" for standard input. CLI_OK, or a code with a line printed. */
int cli_read_file(const options *o, const char *path, text *t);

/* The text that --prompt, --file or standard input gives, in this order. CLI_OK, or a code with a
 * line printed. use_stdin: read standard input if neither is given and it is no terminal (or
 * force); *given says whether there was any. */
int cli_input_text(const options *o, bool use_stdin, bool force, text *t, bool *given);

/* Where compiled kernels are kept: the option, or a folder of the user's caches; NULL: nowhere. */
const char *cli_kernel_cache(const options *o, char *buf, size_t cap);

/* What `tune` found with a library before, or finds now (run); NULL: nothing, err says why.
 * {"made", "when", "seconds", "path", "gains": [...]}. */
json_t *cli_tuning(const options *o, const char *library, bool run, hy_error *err);
/* In lines of `doctor`; table: with all that was timed. */
void cli_print_tuning(const json_t *tuning, bool table);

/* The model file of -m or the first positional argument; CLI_USAGE if there is none. */
int cli_model_path(const options *o, const char **path);

#endif
