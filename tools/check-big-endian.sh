#!/usr/bin/env bash
# check-big-endian.sh: compiling for a big-endian machine must end with one sentence that says so.
set -euo pipefail
cd "$(dirname "$0")/.."

sentence='little-endian machines only'
if out=$(clang --target=s390x-linux-gnu -std=c11 -fsyntax-only -Iinclude -Isrc src/base/os_posix.c 2>&1); then
    echo "big-endian: the source compiles for s390x"
    exit 1
fi
if ! grep -q "error: .*$sentence" <<<"$out"; then
    echo "$out"
    echo "big-endian: the refusal does not say \"$sentence\""
    exit 1
fi
echo "big-endian: refused: $(sed -n "s/.*error: \"*\(.*$sentence.*\)/\1/p" <<<"$out" | tr -d '"')"
