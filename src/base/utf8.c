/* utf8.c: strict UTF-8.  Pure functions. */
#include "base.h"

/* Length that a lead byte announces; 0 for bytes that cannot lead. */
static unsigned lead_length(unsigned char c)
{
    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xc2 && c <= 0xdf) {
        return 2;
    }
    if (c >= 0xe0 && c <= 0xef) {
        return 3;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        return 4;
    }
    return 0;
}

/* Whether `c` may follow the lead byte directly: this is where overlong forms, surrogates and
 * values above U+10FFFF are ruled out. */
static bool second_byte_ok(unsigned char lead, unsigned char c)
{
    switch (lead) {
    case 0xe0:
        return c >= 0xa0 && c <= 0xbf;
    case 0xed:
        return c >= 0x80 && c <= 0x9f;
    case 0xf0:
        return c >= 0x90 && c <= 0xbf;
    case 0xf4:
        return c >= 0x80 && c <= 0x8f;
    default:
        return c >= 0x80 && c <= 0xbf;
    }
}

/* How many of the bytes at s belong to one well-formed, perhaps unfinished, character. */
static unsigned good_prefix(const unsigned char *s, size_t len, unsigned want)
{
    unsigned n = 1;
    while (n < want && n < len) {
        const bool ok = n == 1 ? second_byte_ok(s[0], s[1]) : (s[n] & 0xc0) == 0x80;
        if (!ok) {
            break;
        }
        n++;
    }
    return n;
}

unsigned hy__utf8_decode(const char *s, size_t len, uint32_t *cp)
{
    const unsigned char *b = (const unsigned char *)s;
    const unsigned want = lead_length(b[0]);
    if (want == 0 || want > len || good_prefix(b, len, want) < want) {
        return 0;
    }
    static const unsigned char lead_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t v = b[0] & lead_mask[want];
    for (unsigned i = 1; i < want; i++) {
        v = v << 6 | (b[i] & 0x3f);
    }
    *cp = v;
    return want;
}

unsigned hy__utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    const unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (unsigned i = n; i-- > 1;) {
        out[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (char)(lead[n] | cp);
    return n;
}

unsigned hy__utf8_tail(const char *s, size_t len)
{
    const unsigned char *b = (const unsigned char *)s;
    for (unsigned back = 1; back <= 3 && back <= len; back++) {
        const unsigned char *p = b + len - back;
        const unsigned want = lead_length(*p);
        if (want > back && good_prefix(p, back, want) == back) {
            return back;
        }
        if ((*p & 0xc0) != 0x80) {
            return 0;
        }
    }
    return 0;
}
