#!/usr/bin/env python3
"""Writes corpus/tokenizer: a few inputs of each kind, in the form that fuzz_tokenizer.c states."""
import pathlib

OUT = pathlib.Path(__file__).parent / "corpus" / "tokenizer"
TEXTS = {
    "hello": b"hello world, hellhe 123456 don't WE'LL",
    "special": b"<s>hello</s><|im_end|>USER<tool>x<|tool|><unk>[PAD]",
    "blanks": b"  a \n\n\n b\r\n\t c   ",
    "wide": "é e\u0301 你好，世界 🌍 한국어 かな\u00a0½\u2167".encode(),
    "broken": b"\xff\xfe\xe4\xbd\xc3 \xf0\x9f\x8c\xed\xa0\x80abcd\x00",
}


def entries(*texts, kind=1):
    return b"".join(bytes([kind | i % 32 << 3, len(t)]) + t for i, t in enumerate(texts))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    files = {f"{kind}-{name}": bytes([k, 2]) + text
             for k, kind in enumerate(["rwkv", "gpt2", "llama"]) for name, text in TEXTS.items()}
    files.update({f"gpt2-pre{i}": bytes([1, i << 2 | 1]) + TEXTS["wide"] + TEXTS["blanks"] + TEXTS["hello"] for i in range(11)})
    none, special = b"\x01\x00", entries(b"aa", b"aaa", b"a\nb", b"\nb", kind=3) + entries(b"aaab", b"b\n", kind=4)
    files["vocab-rwkv"] = bytes([3, 64 | 4 | 2]) + entries(rb"ab\n", rb"abc", rb"\xe4\xbd\xa0", rb"\\") + special
    files["vocab-rwkv-escape"] = bytes([3, 64]) + entries(rb"ab\x", rb"\x4")
    files["vocab-gpt2"] = bytes([7, 64 | 4 | 2]) + entries(b"ab", b"abc", b"cd") + special + none + entries(b"a b", b"ab c", b"c d", b"z z")
    files["vocab-gpt2-merges"] = bytes([7, 64]) + entries(b"ab") + none + entries(b" ", b"ab")
    files["vocab-llama"] = bytes([11, 64 | 4 | 8 | 2]) + entries(b"a", b"b", b"ab", b"aba", b"\xe2\x96\x81") + special
    files["vocab-llama-byte"] = bytes([11, 4]) + entries(b"<0x1g>", kind=6)
    files["vocab-same"] = bytes([11, 0]) + entries(b"a", b"a")
    for name, data in files.items():
        (OUT / name).write_bytes(data)


main()
