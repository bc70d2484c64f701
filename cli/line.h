/* line.h: lines from the user: with editing and history on a terminal, plain otherwise.
 *
 * A reader belongs to one thread. */
#ifndef HY_CLI_LINE_H
#define HY_CLI_LINE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct line_reader line_reader;

/* Editing if standard input and output are terminals. NULL if memory is out. */
line_reader *line_open(void);
void line_close(line_reader *r);
bool line_is_edited(const line_reader *r);
/* The next line without its newline, valid until the next call; NULL at the end of input or if
 * reading failed. */
const char *line_read(line_reader *r);

#endif
