#!/usr/bin/env bash
# run-tests.sh BUILD [ctest option...]: runs the tests of a build and ends with "N passed, N failed, N skipped".
#
# The last line counts single tests: each function of a cmocka program, and 1 for a program that is no cmocka program.
# A program that fails outside its tests (crash, time limit, leak) counts as one failure more.
set -euo pipefail

build=${1:?usage: $0 BUILD [ctest option...]}
shift
jobs=${JOBS:-2}

rc=0
ctest --test-dir "$build" --no-tests=error --output-on-failure -j "$jobs" "$@" || rc=$?

log=$build/Testing/Temporary/LastTest.log
if [ ! -f "$log" ]; then
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
awk '
    /^[0-9]+\/[0-9]+ Testing: / { ok = bad = skip = 0; inside = 0 }
    /^\[==========\] Running / { inside = 1 }
    /^\[==========\] [0-9]+ test\(s\) run/ { inside = 0 }
    inside && /^\[       OK \]/ { ok++ }
    inside && /^\[  FAILED  \]/ { bad++ }
    inside && /^\[  SKIPPED \]/ { skip++ }
    /^Test (Passed|Skipped|Failed)|^Test Timeout|^Test Not Run/ {
        passed = $2 == "Passed."
        if (ok + bad + skip == 0) {
            ok = passed; bad = $2 != "Passed." && $2 != "Skipped."; skip = $2 == "Skipped."
        } else if (!passed && bad == 0) {
            bad = 1
        }
        n_ok += ok; n_bad += bad; n_skip += skip
        ok = bad = skip = 0
    }
    END { printf "%d passed, %d failed, %d skipped\n", n_ok, n_bad, n_skip }
' "$log"
exit "$rc"
