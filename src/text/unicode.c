/* unicode.c: classes of code points, by binary search in a table of runs.  Pure functions, any
 * thread. */
#include "unicode.h"

/* A run as one number: first code point above, class (its bit's index) in the lower four bits. */
enum { I_OTHER, I_SPACE, I_LU, I_LL, I_LT, I_LM, I_LO, I_M, I_N, I_P, I_S };
#define R(first, name) ((uint32_t)(first) << 4 | I_##name),
static const uint32_t runs[] = {
#include "unicode_tables.inc"
};
#undef R

/* ASCII is most of most texts: o other, w white space, u and l letters, n digits, p punctuation, s
 * symbols. */
static const char ascii[] = "ooooooooowwwwwoooooooooooooooooo"
                            "wpppsppppppsppppnnnnnnnnnnppsssp"
                            "puuuuuuuuuuuuuuuuuuuuuuuuuupppsp"
                            "sllllllllllllllllllllllllllpspso";

static unsigned ascii_class(char c)
{
    switch (c) {
    case 'l':
        return HY__CP_LL;
    case 'w':
        return HY__CP_SPACE;
    case 'p':
        return HY__CP_P;
    case 'u':
        return HY__CP_LU;
    case 'n':
        return HY__CP_N;
    case 's':
        return HY__CP_S;
    default:
        return HY__CP_OTHER;
    }
}

unsigned hy__cp_class(uint32_t cp)
{
    if (cp < 0x80) {
        return ascii_class(ascii[cp]);
    }
    if (cp > 0x10FFFF) {
        return HY__CP_OTHER;
    }
    size_t low = 0, high = HY_COUNT(runs); /* the run is in [low, high) */
    while (high - low > 1) {
        const size_t mid = low + (high - low) / 2;
        if (runs[mid] >> 4 <= cp) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return 1u << (runs[low] & 15);
}
