/* stop.c: finding stop texts in a growing text without printing part of one.  No state; any thread.
 */
#include <string.h>

#include "stop.h"

size_t stop_find(const char *data, size_t len, const char *const *stops, size_t n_stops)
{
    size_t first = len;
    for (size_t k = 0; k < n_stops; k++) {
        const size_t n = strlen(stops[k]);
        for (size_t i = 0; n > 0 && i + n <= len && i < first; i++) {
            if (memcmp(data + i, stops[k], n) == 0) {
                first = i;
            }
        }
    }
    return first;
}

size_t stop_held(const char *data, size_t len, const char *const *stops, size_t n_stops)
{
    size_t held = 0;
    for (size_t k = 0; k < n_stops; k++) {
        const size_t n = strlen(stops[k]);
        for (size_t part = n > 0 ? (n - 1 < len ? n - 1 : len) : 0; part > held; part--) {
            if (memcmp(data + len - part, stops[k], part) == 0) {
                held = part;
            }
        }
    }
    return held;
}
