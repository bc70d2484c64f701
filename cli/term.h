/* term.h: what the command line asks of the operating system: terminal, signals, clock, cores,
 * memory, threads.
 *
 * The only place of the CLI with POSIX calls.  The interrupt state is one per process; all else has
 * no state. */
#ifndef HY_CLI_TERM_H
#define HY_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "halyard/session.h"

bool term_is_tty(FILE *f);
/* A write to a closed pipe or beyond a size limit becomes an error of the stream, Ctrl-C is caught, a standard stream that
 * is closed fails. Call once at the start. */
void term_start(void);

/* Ctrl-C: counts; cancels the session given here, if any (NULL: none). A third Ctrl-C without
 * term_clear_interrupt ends the process with CLI_INTERRUPTED. */
void term_cancel_on_interrupt(hy_session *s);
bool term_interrupted(void);
void term_clear_interrupt(void);

/* At most cap bytes of standard input as they come; 0 at its end; negative with errno on an error,
 * an interrupt (EINTR) included, also one that came before. */
long term_read_input(void *buf, size_t cap);

/* Nanoseconds that all threads of this process have worked so far. */
uint64_t term_cpu_ns(void);
/* Nanoseconds of a clock that never goes back, and "2026-01-31T12:00:00Z". */
uint64_t term_now_ns(void);
void term_utc(char *buf, size_t cap);
/* 32 bits that differ from run to run. */
uint32_t term_random(void);

/* "AMD EPYC 7763", or "". */
void term_cpu_name(char *buf, size_t cap);
/* Largest resident memory of this process so far. */
uint64_t term_peak_bytes(void);
/* Of the last-level cache, 0 if unknown; and of the machine's memory. */
uint64_t term_cache_bytes(void);
uint64_t term_memory_bytes(void);

/* True if both names lead to the same existing file. */
bool term_same_file(const char *a, const char *b);
bool term_readable(const char *path);
/* NULL if a file of this name can be made or replaced, as far as can be told, else why not. */
const char *term_why_no_file(const char *path);
/* Writes the path of this program's folder with a final slash; false if unknown. */
bool term_program_folder(char *buf, size_t cap);

/* Runs work(arg, i) for 0 <= i < n at once, i = 0 in this thread; false if a thread could not be
 * started (those started have ended). */
bool term_parallel(uint32_t n, void (*work)(void *arg, uint32_t i), void *arg);

/* A bar on standard error, shown only if that is a terminal that can take it back, and only of what
 * takes longer than half a second. */
typedef struct progress {
    const char *title;
    bool shown;
    bool drawn;
    uint64_t start_ns, drawn_ns;
} progress;
void progress_start(progress *p, const char *title);
/* An hy_progress: user is the struct. False, to cancel, after Ctrl-C. */
bool progress_update(void *user, uint64_t done, uint64_t total);
/* Removes the bar. */
void progress_end(progress *p);

#endif
