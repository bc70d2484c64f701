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
run() { # run NAME: one target
    local name=$1 program log=$build/fuzz_$1.log
    local corpus=("$build/found/$name")
    program=$(find $build/tests/fuzz -name "fuzz_$name" -type f | head -n 1)
    mkdir -p "${corpus[0]}"
    if [ -d "tests/fuzz/corpus/$name" ]; then
        corpus+=("tests/fuzz/corpus/$name")
    fi
    if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$build/crash/$name-" "${corpus[@]}" >"$log" 2>&1 </dev/null; then
        tail -n 60 "$log"
        echo "fuzz: $name FAILED, input in $build/crash/"
        return 1
    fi
    echo "fuzz: $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, no finding"
}

# As many at a time as there are processors.
pids=()
rc=0
for name in "$@"; do
    if [ ${#pids[@]} -ge "$jobs" ]; then
        wait "${pids[0]}" || rc=1
        pids=("${pids[@]:1}")
    fi
    run "$name" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || rc=1
done
exit $rc
