#!/usr/bin/env bash
# check-style.sh: the rules of the source text that a program can see.  Prints each breach with its place.
set -euo pipefail
cd "$(dirname "$0")/.."

max_lines=1100          # of a C file
max_function_lines=120

mapfile -t files < <(git ls-files --cached --others --exclude-standard |
    grep -E '(\.(c|h|inc|cpp|md|sh|cmake|in|json|txt)|CMakeLists\.txt|Makefile|\.ci/run)$' |
    grep -vE '^(tests/golden|tests/fuzz/corpus|tests/snapshots)/' | while read -r f; do [ -f "$f" ] && echo "$f"; done)
mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep -E '\.(c|h|cpp)$')
mapfile -t code < <(printf '%s\n' "${files[@]}" | grep -E '\.(c|h|inc|cpp)$')

bad=0
# report RULE: fails if there is anything on standard input, and prints it.
report() {
    local found
    found=$(cat)
    if [ -n "$found" ]; then
        echo "$1:"
        echo "$found" | sed 's/^/    /' | head -n 40
        bad=1
    fi
}

report "files over $max_lines lines" < <(wc -l "${sources[@]}" | awk -v max=$max_lines '$2 != "total" && $1 > max')
report "tabs" < <(printf '%s\n' "${files[@]}" | grep -v '^Makefile$' | xargs grep -nP '\t' || true)
report "blanks at the end of a line" < <(grep -nP '[ \t\r]+$' "${files[@]}" | grep -v '\.md:' || true)
report "no newline at the end of the file" < <(for f in "${files[@]}"; do
    if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then echo "$f"; fi
done)
report "invisible characters" < <(LC_ALL=C.UTF-8 grep -nP \
    '[\x{00}-\x{08}\x{0b}-\x{1f}\x{7f}-\x{a0}\x{ad}\x{200b}-\x{200f}\x{2028}-\x{202f}\x{2060}-\x{206f}\x{feff}]' \
    "${files[@]}" || true)
report "compiler extensions outside include/halyard/compiler.h" < <(
    printf '%s\n' "${code[@]}" | grep -v '^include/halyard/compiler.h$' |
        xargs grep -nE '__attribute__|__builtin_|#pragma (GCC|clang)|__extension__|__typeof__|__declspec' || true)
report "headers of the operating system outside src/base/os_*.c, cli/term.c, docs/examples/ and tests/" < <(
    printf '%s\n' "${code[@]}" | grep -vE '^(src/base/os_[a-z0-9]*\.c|cli/term\.c|docs/examples/.*|tests/.*)$' |
        xargs grep -nE '#[ ]*include <(unistd|pthread|fcntl|termios|sched|dlfcn|dirent|poll|windows|sys/[a-z]+)\.h>' || true)
report "the library prints, exits, aborts or reads the environment" < <(
    printf '%s\n' "${code[@]}" | grep -E '^src/' |
        xargs grep -nE '(^|[^a-z_>.])(printf|fprintf|puts|exit|abort|getenv|system)\(' || true)
report "allocation that goes around hy_env" < <(
    printf '%s\n' "${code[@]}" | grep -E '^src/' | grep -vE '^src/base/os_' |
        xargs grep -nE '(^|[^a-z_>.])(malloc|calloc|realloc|free|fopen|fclose)\(' || true)
# A function's body stands between braces in the first column.
report "functions over $max_function_lines lines" < <(printf '%s\n' "${sources[@]}" | grep -E '\.c$' | xargs awk \
    -v max=$max_function_lines '
    FNR == 1 { start = 0 }
    /^\{/ { start = FNR }
    /^\}/ && start { if (FNR - start > max) { print FILENAME ":" start ": " FNR - start " lines" } start = 0 }')
report "C files without a banner comment" < <(for f in "${code[@]}"; do
    head -c 3 "$f" | grep -qE '^(/\*|//)' || echo "$f"
done)

if [ "$bad" -ne 0 ]; then
    exit 1
fi
echo "style: ${#files[@]} files, ${#code[@]} of them code, nothing found"
