/* text.h: bytes and strings of the command line: growable buffer, whole files, escapes, clean
 * UTF-8, sizes for people.
 *
 * Owners free what they were given with free() or text_free.  No function keeps a pointer.  Any
 * thread. */
#ifndef HY_CLI_TEXT_H
#define HY_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "halyard/compiler.h"

/* Growable bytes; begin with {0}.  data is NUL-terminated once something was appended. */
typedef struct text {
    char *data;
    size_t len;
    size_t cap;
} text;

/* False if memory is out; the text is then as before. */
bool text_add(text *t, const char *data, size_t len);
bool text_puts(text *t, const char *s);
HY_PRINTF(2, 3) bool text_printf(text *t, const char *fmt, ...);
void text_free(text *t);

/* Everything that is left in f, appended; false if reading or memory failed. */
bool text_read(text *t, FILE *f);
/* The file of that name. On failure false and a sentence. */
bool text_read_file(text *t, const char *path, char *message, size_t message_bytes);

/* Replaces \n \r \t \' \" \\ and \xHH in place; other backslashes stay. Returns the new length. */
size_t text_unescape(char *s, size_t len);

/* Length of the UTF-8 character at s (1..4), or 0 if there is no valid one within len bytes. */
size_t utf8_length(const char *s, size_t len);
/* Appends the bytes with everything that is no UTF-8 replaced by U+FFFD. */
bool text_add_clean(text *t, const char *data, size_t len);
/* Appends the bytes on one line: \n, \t, \xHH for control characters and bytes that are no UTF-8.
 */
bool text_add_visible(text *t, const char *data, size_t len);

/* "18.60 MiB", "512 B". Returns buf. */
char *bytes_text(uint64_t bytes, char *buf, size_t cap);

/* "loading [###      ]  43 %, 2 s left", after `ns` nanoseconds. */
void text_progress(char *buf, size_t cap, const char *title, uint64_t done, uint64_t total,
                   uint64_t ns);

#endif
