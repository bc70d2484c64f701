#!/usr/bin/env bash
# check-fuzz.sh [TARGET...]: runs libFuzzer targets from their stored corpus, SECONDS_EACH (20) each, under sanitizers.
#
# New inputs go to build/fuzz/found/TARGET, so the corpus in the repository stays as it is; a crash leaves its input in
# build/fuzz/crash/.  A target is tests/fuzz/fuzz_NAME.c, its corpus tests/fuzz/corpus/NAME.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-20}
build=build/fuzz
jobs=${JOBS:-$(nproc)}

cmake --preset fuzz -DHALYARD_TESTS=ON
cmake --build $build -j "$jobs"
if [ $# -eq 0 ]; then
    mapfile -t names < <(ls tests/fuzz/fuzz_*.c 2>/dev/null | sed 's/.*fuzz_\(.*\)\.c$/\1/')
    set -- "${names[@]}"
fi
if [ $# -eq 0 ]; then
    echo "no fuzz target in tests/fuzz"
    exit 1
fi
mkdir -p $build/crash
for name in "$@"; do
    program=$(find $build/tests/fuzz -name "fuzz_$name" -type f | head -n 1)
    found=$build/found/$name
    mkdir -p "$found"
    corpus=("$found")
    if [ -d "tests/fuzz/corpus/$name" ]; then
        corpus+=("tests/fuzz/corpus/$name")
    fi
    log=$build/fuzz_$name.log
    if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$build/crash/$name-" "${corpus[@]}" >"$log" 2>&1 </dev/null; then
        tail -n 60 "$log"
        echo "fuzz: $name FAILED, input in $build/crash/"
        exit 1
    fi
    echo "fuzz: $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, no finding"
done
