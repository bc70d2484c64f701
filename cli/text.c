/* text.c: see text.h.  No state; any thread. */
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(text *t, size_t more)
{
    if (more >= SIZE_MAX / 2 - t->len) {
        return false;
    }
    const size_t need = t->len + more + 1;
    if (need <= t->cap) {
        return true;
    }
    const size_t cap = need < 128 ? 128 : need + need / 2;
    char *data = realloc(t->data, cap);
    if (!data) {
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

bool text_add(text *t, const char *data, size_t len)
{
    if (!reserve(t, len)) {
        return false;
    }
    if (len > 0) {
        memcpy(t->data + t->len, data, len);
    }
    t->len += len;
    t->data[t->len] = '\0';
    return true;
}

bool text_puts(text *t, const char *s)
{
    return text_add(t, s, strlen(s));
}

bool text_printf(text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0 || !reserve(t, (size_t)len)) {
        return false;
    }
    va_start(args, fmt);
    vsnprintf(t->data + t->len, (size_t)len + 1, fmt, args);
    va_end(args);
    t->len += (size_t)len;
    return true;
}

void text_free(text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

bool text_read(text *t, FILE *f)
{
    char buf[16384];
    while (!feof(f) && !ferror(f)) {
        if (!text_add(t, buf, fread(buf, 1, sizeof buf, f))) {
            return false;
        }
    }
    return !ferror(f) && text_add(t, "", 0);
}

bool text_read_file(text *t, const char *path, char *message, size_t message_bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        snprintf(message, message_bytes, "%s: %s", path, strerror(errno));
        return false;
    }
    errno = 0;
    const bool ok = text_read(t, f);
    if (!ok) {
        snprintf(message, message_bytes, "%s: %s", path,
                 errno ? strerror(errno) : "cannot be read");
    }
    fclose(f);
    return ok;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

size_t text_unescape(char *s, size_t len)
{
    static const char from[] = "nrt'\"\\";
    static const char to[] = "\n\r\t'\"\\";
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] != '\\' || i + 1 >= len) {
            s[out++] = s[i];
            continue;
        }
        const char c = s[i + 1];
        const char *known = c ? strchr(from, c) : NULL;
        if (known) {
            s[out++] = to[known - from];
            i++;
        } else if (c == 'x' && i + 3 < len && hex(s[i + 2]) >= 0 && hex(s[i + 3]) >= 0) {
            s[out++] = (char)(hex(s[i + 2]) * 16 + hex(s[i + 3]));
            i += 3;
        } else {
            s[out++] = '\\';
        }
    }
    return out;
}

size_t utf8_length(const char *s, size_t len)
{
    const unsigned char *b = (const unsigned char *)s;
    if (len == 0) {
        return 0;
    }
    if (b[0] < 0x80) {
        return 1;
    }
    const size_t n = b[0] >= 0xC2 && b[0] < 0xE0   ? 2
                     : (b[0] & 0xF0) == 0xE0       ? 3
                     : b[0] >= 0xF0 && b[0] < 0xF5 ? 4
                                                   : 0;
    if (n == 0 || n > len) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates and what lies behind U+10FFFF show in the second byte. */
    if ((b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] >= 0xA0)
        || (b[0] == 0xF0 && b[1] < 0x90) || (b[0] == 0xF4 && b[1] >= 0x90)) {
        return 0;
    }
    return n;
}

bool text_add_clean(text *t, const char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        const size_t n = utf8_length(data + i, len - i);
        if (!(n ? text_add(t, data + i, n) : text_puts(t, "\xEF\xBF\xBD"))) {
            return false;
        }
        i += n ? n : 1;
    }
    return text_add(t, "", 0);
}

bool text_add_visible(text *t, const char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        const unsigned char c = (unsigned char)data[i];
        const size_t n = utf8_length(data + i, len - i);
        const bool ok = c == '\n'                         ? text_puts(t, "\\n")
                        : c == '\t'                       ? text_puts(t, "\\t")
                        : n == 0 || c < 0x20 || c == 0x7F ? text_printf(t, "\\x%02X", c)
                                                          : text_add(t, data + i, n);
        if (!ok) {
            return false;
        }
        i += n ? n : 1;
    }
    return text_add(t, "", 0);
}

char *bytes_text(uint64_t bytes, char *buf, size_t cap)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(buf, cap, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
    return buf;
}

void text_progress(char *buf, size_t cap, const char *title, uint64_t done, uint64_t total,
                   uint64_t ns)
{
    static const char full[] = "##############################";
    const double part = total > 0 ? (double)(done < total ? done : total) / (double)total : 0;
    const double left = part > 0 ? (double)ns * 1e-9 * (1 - part) / part : 0;
    const int n =
        snprintf(buf, cap, "%s [%-30.*s] %3d %%", title, (int)(30 * part), full, (int)(100 * part));
    if (n <= 0 || (size_t)n >= cap) {
        return;
    }
    if (part >= 1) {
        snprintf(buf + n, cap - (size_t)n, ", finishing");
    } else if (left > 0) {
        const bool minutes = left > 99;
        const double exact = minutes ? left / 60 : left;
        const uint64_t whole = exact < 1e6 ? (uint64_t)exact : 1000000;
        snprintf(buf + n, cap - (size_t)n, ", %llu %s left",
                 (unsigned long long)(whole + (exact - (double)whole > 0.01)), minutes ? "min" : "s");
    }
}
