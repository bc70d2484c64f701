/* error.c: status names and error sentences.  No memory, callable from any thread. */
#include "base.h"

#include <stdio.h>

const char *hy_version(void)
{
    return HY_VERSION_STRING;
}

const char *hy_status_name(hy_status status)
{
    switch (status) {
#define STATUS_NAME(name, value, text)                                                             \
    case HY_##name:                                                                                \
        return "HY_" #name;
        HY_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    }
    return "HY_E_?";
}

const char *hy_status_text(hy_status status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text)                                                             \
    case HY_##name:                                                                                \
        return text;
        HY_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

/* A sentence is one line of UTF-8: names and paths inside it may hold anything, and a character at
 * the end may have been cut. */
static void one_line(char *s)
{
    for (size_t left = strlen(s); left > 0;) {
        uint32_t cp = 0;
        unsigned n = hy__utf8_decode(s, left, &cp);
        if (n == 0 || cp < 0x20 || cp == 0x7f) {
            *s = '?';
            n = 1;
        }
        s += n;
        left -= n;
    }
}

hy_status hy__fail(hy_error *err, hy_status code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        one_line(err->text);
    }
    return code;
}

hy_status hy__wrap(hy_error *err, hy_status status, const char *fmt, ...)
{
    if (err) {
        char old[sizeof err->text];
        memcpy(old, err->text, sizeof old);
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        if (n >= 0 && (size_t)n + 2 < sizeof err->text) {
            int room = (int)(sizeof err->text - (size_t)n);
            snprintf(err->text + n, (size_t)room, ": %.*s", room - 3, old);
        }
        err->code = status;
        one_line(err->text);
    }
    return status;
}

char *hy__printable(hy_str s, char *buf, size_t cap)
{
    size_t n = HY_MIN(s.len, cap - 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.data[i];
        buf[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    buf[n] = '\0';
    if (n < s.len && n >= 3) {
        memset(buf + n - 3, '.', 3);
    }
    return buf;
}
