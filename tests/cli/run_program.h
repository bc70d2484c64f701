/* run_program.h: the built program as a user runs it.
 *
 * POSIX only.  Results belong to the caller; one thread. */
#ifndef HY_TESTS_CLI_RUN_PROGRAM_H
#define HY_TESTS_CLI_RUN_PROGRAM_H

#include "support/support.h"

#include <jansson.h>

#define EMBEDDED_MODEL "models/halyard-tiny-rwkv7-Q4_K_M.gguf"

typedef struct ran {
    int code;  /* exit code, or 1000 + signal */
    char *out; /* standard output, NUL-terminated */
    size_t out_len;
    char *err; /* standard error */
} ran;

/* Runs `halyard` with the arguments up to NULL; input NULL: /dev/null. */
ran run_program(const char *input, const char *const *args);
/* run(input, "info", path, ...) */
#define run(input, ...) run_program((input), (const char *const[]){__VA_ARGS__, NULL})
void ran_free(ran *r);

/* The exit code must be `code`; otherwise the test fails with both outputs. */
#define expect_code(r, code) expect_code_at(&(r), (code), __FILE__, __LINE__)
void expect_code_at(const ran *r, int code, const char *file, int line);
/* text must contain part. */
#define expect_has(text, part) expect_has_at((text), (part), __FILE__, __LINE__)
void expect_has_at(const char *text, const char *part, const char *file, int line);
/* Standard output as JSON; fails the test if it is none. json_decref it. */
json_t *ran_json(const ran *r);

/* A program on a pseudo-terminal. */
typedef struct on_terminal {
    int fd; /* of the terminal's other side */
    long pid;
    char *seen; /* everything that was printed so far, NUL-terminated */
    size_t len;
} on_terminal;

on_terminal terminal_run(const char *const *args);
void terminal_type(on_terminal *t, const char *keys);
/* Waits until `text` is printed behind the first `from` bytes; fails the test after 60 s. Returns
 * the length seen. */
size_t terminal_expect(on_terminal *t, size_t from, const char *text);
/* Waits until `n` more bytes were printed. */
void terminal_expect_more(on_terminal *t, size_t n);
/* Waits for the end; the exit code as in struct ran. */
int terminal_end(on_terminal *t);

#endif
