/* stop.h: finding stop texts in a growing text without printing part of one.  No state; any thread.
 */
#ifndef HY_CLI_STOP_H
#define HY_CLI_STOP_H

#include <stddef.h>

/* Offset of the first stop text in data, or len if there is none. */
size_t stop_find(const char *data, size_t len, const char *const *stops, size_t n_stops);
/* How many of the last bytes could be the beginning of a stop text that is not complete yet. */
size_t stop_held(const char *data, size_t len, const char *const *stops, size_t n_stops);

#endif
