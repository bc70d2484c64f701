#!/usr/bin/env bash
# check-headers.sh: every public header compiles alone, as C99 and as C++11, without a warning, with both compilers.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=(-Iinclude -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror)
n=0
for header in include/halyard/*.h; do
    # An empty translation unit is not C, hence the declaration behind the line.
    line="#include \"halyard/$(basename "$header")\"
extern int not_empty;"
    for cc in gcc clang; do
        echo "$line" | "$cc" -x c -std=c99 "${flags[@]}" -
        echo "$line" | "$cc" -x c++ -std=c++11 "${flags[@]}" -
        n=$((n + 2))
    done
done
echo "headers: $n compilations of $(ls include/halyard/*.h | wc -l) headers, no warning"
