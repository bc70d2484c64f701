/* support.h: what the test programs share: cmocka, paths, files, a failing environment.
 *
 * Tests see the internal headers of src/ and are linked with the static library. */
#ifndef HY_TESTS_SUPPORT_H
#define HY_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "halyard/halyard.h"

/* "SOURCE/rel" and, for goldens that the repository does not carry, "SOURCE/../shared/rel" or
 * $HALYARD_SHARED/rel. Both return one of a few rotating static buffers.  shared_path returns NULL,
 * after printing that the test is skipped, if the file is not there: `if (!p) { skip(); }`. */
const char *source_path(const char *rel);
const char *shared_path(const char *rel);
/* A fresh path for a temporary file with this name (in a folder of this process, removed at exit).
 */
const char *temp_path(const char *name);
/* HALYARD_TEST_STRIDE: tests with many cases of a kind take every so-manieth; 1: all of them. */
unsigned test_stride(void);

/* The whole file, NUL-terminated; fails the test if it cannot be read. free() it. */
char *read_file(const char *path, size_t *len);
void write_file(const char *path, const void *data, size_t len);

/* status must be HY_OK; prints the sentence otherwise. */
#define assert_ok(status, err) assert_ok_at((status), (err), __FILE__, __LINE__)
void assert_ok_at(hy_status status, const hy_error *err, const char *file, int line);
/* status must be `code` and the sentence must contain `text` (NULL: any). */
#define assert_fails(status, code, err, text)                                                      \
    assert_fails_at((status), (code), (err), (text), __FILE__, __LINE__)
void assert_fails_at(hy_status status, hy_status code, const hy_error *err, const char *text,
                     const char *file, int line);

/* Steps of a session until all appended tokens are evaluated; they must succeed. */
void step_all(hy_session *s);

/* An environment over the operating system's that counts every call that may fail and makes number
 * `fail_at` (1-based; 0: none) fail; also tracks live and peak bytes.  Thread-safe. */
typedef struct failing_env {
    hy_env env; /* hand this to the library */
    hy_env os;
    uint64_t fail_at;
    uint64_t calls;  /* memory, file and thread calls so far */
    uint64_t failed; /* how many were made to fail */
    size_t live_bytes;
    size_t peak_bytes;
    size_t live_blocks;
} failing_env;
void failing_env_init(failing_env *f, uint64_t fail_at);

#endif
