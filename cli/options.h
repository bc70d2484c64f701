/* options.h: the command line as values.
 *
 * options.inc and commands.inc are the only lists; everything here is made from them.  The parser
 * allocates the lists of a struct options, options_finish frees them; strings point into argv.  One
 * thread. */
#ifndef HY_CLI_OPTIONS_H
#define HY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* id, value, meaning */
#define CLI_EXIT_LIST(X)                                                                           \
    X(OK, 0, "success")                                                                            \
    X(FAILURE, 1, "something failed; a sentence on standard error says what")                      \
    X(USAGE, 2, "the command line is wrong")                                                       \
    X(INTERRUPTED, 130, "stopped by Ctrl-C; what there was has been printed and saved")

enum {
#define X(id, value, text) CLI_##id = value,
    CLI_EXIT_LIST(X)
#undef X
};

typedef enum cli_command_id {
#define X(id, name, args, least, most, text) CMD_##id,
#include "commands.inc"
#undef X
    CMD_COUNT
} cli_command_id;

typedef struct cli_command {
    const char *name;
    const char *args; /* as the usage line shows them */
    size_t least;     /* positional arguments */
    size_t most;
    const char *summary;
} cli_command;

extern const cli_command cli_commands[CMD_COUNT];
/* CMD_COUNT if there is none. */
cli_command_id cli_command_find(const char *name);
/* The name nearest to a mistyped one, or NULL. */
const char *cli_command_near(const char *name);

typedef enum opt_kind {
    OPT_FLAG,   /* no value */
    OPT_TOGGLE, /* --NAME and --no-NAME */
    OPT_INT,    /* a whole number */
    OPT_FLOAT,  /* a finite number */
    OPT_STRING,
    OPT_CHOICE,  /* one of the words in the argument name, divided by '|' */
    OPT_STRINGS, /* may be given several times */
    OPT_INTS     /* whole numbers divided by commas or blanks, may be given several times */
} opt_kind;

/* id, title in help and manual */
#define OPT_GROUP_LIST(X)                                                                          \
    X(MODEL, "Model")                                                                              \
    X(INPUT, "Input")                                                                              \
    X(OUTPUT, "Output")                                                                            \
    X(SAMPLING, "Sampling")                                                                        \
    X(BENCH, "Benchmark")                                                                          \
    X(GENERAL, "General")

typedef enum opt_group {
#define X(id, title) OPT_GROUP_##id,
    OPT_GROUP_LIST(X)
#undef X
        OPT_GROUP_COUNT
} opt_group;

extern const char *const opt_group_titles[OPT_GROUP_COUNT];

typedef enum opt_id {
#define X(id, name, brief, aliases, kind, least, most, def, arg, group, commands, text) OPT_ID_##id,
#include "options.inc"
#undef X
    OPT_COUNT
} opt_id;

typedef struct opt_info {
    const char *name;
    const char *brief;   /* "" if there is no short name */
    const char *aliases; /* further names, divided by blanks; one letter or two are short ones */
    opt_kind kind;
    double least;
    double most;
    const char *def;
    const char *arg;
    opt_group group;
    uint32_t commands; /* bit 1 << cli_command_id */
    const char *text;
} opt_info;

extern const opt_info opt_table[OPT_COUNT];

typedef struct opt_value {
    bool given;
    bool on;           /* flags and toggles */
    int64_t i;         /* INT */
    double f;          /* FLOAT */
    const char *s;     /* STRING, CHOICE; NULL if there is none */
    const char **list; /* STRINGS */
    int64_t *ints;     /* INTS */
    size_t n;          /* of list or ints */
} opt_value;

typedef struct options {
    cli_command_id command;
    opt_value value[OPT_COUNT];
    char **args; /* positional arguments */
    size_t n_args;
} options;

/* Reads the arguments behind the command's name.  0, or CLI_USAGE (CLI_FAILURE: out of memory) with
 * a sentence that names the option, the value and what would be right.  Call options_finish in
 * every case.  Stops early, with success, at
 * --help. */
int options_parse(options *o, cli_command_id command, int argc, char **argv, char *message,
                  size_t message_bytes);
void options_finish(options *o);

/* Whole numbers divided by blanks, commas, or as a JSON array, appended to *ints (free it); false
 * with a sentence in message if a part is no number between least and most, or memory is out. */
bool parse_ints(const char *text, int64_t least, int64_t most, int64_t **ints, size_t *n,
                char *message, size_t message_bytes);

/* "--temp X" or "--escape, --no-escape"; the names of an option with their argument, as help shows
 * them. */
void opt_usage(const opt_info *info, char *buf, size_t bytes);
/* The text that says range and default: " (0 to 1, default 0.95)"; may be empty. */
void opt_limits(const opt_info *info, char *buf, size_t bytes);

#endif
