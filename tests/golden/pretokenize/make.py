#!/usr/bin/env python3
"""Makes cases.txt: how the regular expressions of each class cut a set of texts (needs the package "regex").

Usage: make.py > cases.txt          the stored cases
       make.py --check PROGRAM N    N random texts against PROGRAM, which reads u32 class, u32 length, bytes and writes
                                    u32 count, u32 lengths (little-endian), in the order of CLASSES
A line of cases.txt: class, the text in hexadecimal UTF-8 ("-" if empty), the lengths of its words in bytes.
"""
import random
import struct
import subprocess
import sys

import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SHORT = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def l3(numbers):
    return SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + numbers + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS


UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PREFIX = r"[^\r\n\p{L}\p{N}]?"
CLASSES = {
    "GPT2": [GPT2],
    "DIGITS1": [r"\p{N}", GPT2],
    "LLAMA3": [l3(r"\p{N}{1,3}")],
    "QWEN2": [l3(r"\p{N}")],
    "QWEN35": [SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + BLANKS],
    "FALCON": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
    "DEFAULT": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    "DEEPSEEK_CODER": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+",
                       "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "DEEPSEEK3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                  r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
                  r"| ?[\p{P}\p{S}]+[\r\n]*|" + BLANKS],
    "GPT4O": [PREFIX + UPPER + "*" + LOWER + "+(?:" + SHORT + ")?|" + PREFIX + UPPER + "+" + LOWER + "*(?:" + SHORT + ")?|"
              + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + BLANKS],
}
CLASSES = {name: [regex.compile(p) for p in patterns] for name, patterns in CLASSES.items()}


def cut(name, text):
    pieces = [text]
    for pattern in CLASSES[name]:
        out = []
        for piece in pieces:
            done = 0
            for m in pattern.finditer(piece):
                out += [piece[done:m.start()], m.group()]
                done = m.end()
            out.append(piece[done:])
        pieces = [p for p in out if p]
    return [len(p.encode()) for p in pieces]


# Characters whose classes have been the same in every recent version of Unicode.
COMMON = list(" \t\n\r'\"aAbBsStTrReEvVmMlLdD019.,!?$+<=>^~|`/\\_-#@") + [
    "\u00a0", "\u0085", "\u3000", "\u2028", "\u2009", "\u00e9", "\u00c9", "\u01c5", "\u02b0", "\u00aa", "\u0301", "\u0308", "\u20dd",
    "\u05d0", "\u4e2d", "\u9fa5", "\u9fa6", "\u3042", "\u30ab", "\u30fb", "\uac00", "\ud55c", "\u0663", "\u00bd", "\u2167", "\u20ac",
    "\u2019", "\u00ab", "\u00b4", "\u200d", "\ufe0f", "\U0001f30d", "\U0001f468", "\U00010400", "\U00010428", "\U0001d7d8", "\x00", "\x7f",
    "\u200b", "\ufeff", "\u0800", "\u0e01", "\u0e31", "\ue000", "\u017f", "\u212a"]
WORDS = ["'s", "'LL", "'re", "don't", "We'VE", " hello", "World", "HTTPServer", "iPhone", "123", "4567", "\r\n", "\n\n", "   ", " \n ",
         "https://", "++", "``", "\u00fcber", "e\u0301", "\u4f60\u597d", "\u0422\u0435\u0441\u0442", "1\u00bd", "//\n", " \u0301a", "\u0301A"]


def random_text(rng):
    pick = rng.choice([COMMON, COMMON[:12], WORDS, COMMON + WORDS, rng.sample(COMMON, 3)])
    return "".join(rng.choice(pick) for _ in range(rng.randrange(1, rng.choice([4, 10, 40]))))


def check(program, count):
    rng = random.Random()
    texts = [random_text(rng) for _ in range(count)]
    names = list(CLASSES)
    blob = b"".join(struct.pack("<II", k, len(t.encode())) + t.encode() for t in texts for k in range(len(names)))
    out = subprocess.run([program], input=blob, stdout=subprocess.PIPE, check=True).stdout
    at = bad = 0
    for t in texts:
        for name in names:
            n, = struct.unpack_from("<I", out, at)
            got = list(struct.unpack_from(f"<{n}I", out, at + 4))
            at += 4 + 4 * n
            if got != cut(name, t):
                bad += 1
                if bad < 20:
                    print(name, repr(t), got, cut(name, t))
    print(f"{count * len(names)} cuts, {bad} differ")


def main():
    if sys.argv[1:2] == ["--check"]:
        return check(sys.argv[2], int(sys.argv[3]))
    rng = random.Random(20230424)
    texts = ["", "".join(WORDS)] + [random_text(rng) for _ in range(150)]
    for name in CLASSES:
        for t in texts:
            print(name, t.encode().hex() or "-", *cut(name, t))


main()
