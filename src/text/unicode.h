/* unicode.h: what the tokenizers need to know of a code point.
 *
 * Pure functions over constant tables: no memory, any thread. */
#ifndef HY_TEXT_UNICODE_H
#define HY_TEXT_UNICODE_H

#include "base/base.h"

/* One bit per class, so that a set of classes is one mask.  Every code point has exactly one class;
 * OTHER is everything without a bit of its own (controls, unassigned, bytes that are no UTF-8). */
enum {
    HY__CP_OTHER = 1 << 0,
    HY__CP_SPACE = 1 << 1, /* White_Space, whatever the category */
    HY__CP_LU = 1 << 2,
    HY__CP_LL = 1 << 3,
    HY__CP_LT = 1 << 4,
    HY__CP_LM = 1 << 5,
    HY__CP_LO = 1 << 6,
    HY__CP_M = 1 << 7,
    HY__CP_N = 1 << 8,
    HY__CP_P = 1 << 9,
    HY__CP_S = 1 << 10,
    HY__CP_L = HY__CP_LU | HY__CP_LL | HY__CP_LT | HY__CP_LM | HY__CP_LO
};

/* The class of any number; above U+10FFFF OTHER. */
unsigned hy__cp_class(uint32_t cp);

#endif
