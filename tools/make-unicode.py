#!/usr/bin/env python3
"""Writes src/text/unicode_tables.inc: where the class of a code point changes, as R(first code point, class).

Usage: tools/make-unicode.py > src/text/unicode_tables.inc

The Unicode data is that of the Python package unicodedata2 if it is installed (pip install unicodedata2: it follows
the newest version of Unicode), else of Python's own unicodedata.
"""
try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

CLASSES = {"Lu": "LU", "Ll": "LL", "Lt": "LT", "Lm": "LM", "Lo": "LO"}
# White_Space as of Unicode 6.3 and later.
SPACES = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def cp_class(cp):
    if cp in SPACES:
        return "SPACE"
    category = unicodedata.category(chr(cp))
    if category in CLASSES:
        return CLASSES[category]
    return category[0] if category[0] in "MNPS" else "OTHER"


def main():
    out, last = [], None
    for cp in range(0x110000):
        now = cp_class(cp)
        if now != last:
            out.append(f"R(0x{cp:X},{now})")
            last = now
    print(f"/* Made by tools/make-unicode.py from Unicode {unicodedata.unidata_version}: "
          "the first code point of each run of one class. */")
    emit(out)


def emit(items):
    line = ""
    for item in items:
        if len(line) + len(item) > 99:
            print(line)
            line = ""
        line += item
    print(line)


main()
