/* guarded.h: buffers around which nothing may be touched.
 *
 * The pages on both sides of a buffer cannot be accessed: a read or a write there ends the test.  A
 * buffer is rarely whole pages long, so that it can begin where they begin or end where they end;
 * tests run once for each place.  The bytes between buffer and page are 0xff, floats there are NaN:
 * a sum that takes one in shows it, and one that has changed when the buffer is given back fails
 * the test.  Systems without such pages have these bytes only.  One thread. */
#ifndef HY_TESTS_GUARDED_H
#define HY_TESTS_GUARDED_H

#include <stdbool.h>
#include <stddef.h>

/* Where buffers lie from now on: against the page behind them (the beginning is then aligned to as
 * large a power of 2 as divides the length), or against the one before.  Buffers that a failed test
 * has left are given back. */
void guarded_place(bool against_end);

/* Bytes of 0xff; 0 are fine. */
void *guarded(size_t bytes);
/* Begins at a multiple of 64 in either place; behind it up to 63 bytes of 0xff before the page. */
void *guarded_64(size_t bytes);
/* A copy that can only be read. */
const void *guarded_copy(const void *from, size_t bytes);
const void *guarded_copy_64(const void *from, size_t bytes);
/* Gives a buffer or a copy back; NULL is fine.  Fails the test, with its name, if bytes around it
 * have changed. */
void guarded_free(const char *what, const void *buffer);

#endif
