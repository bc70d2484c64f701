#!/usr/bin/env bash
# check-coverage.sh: runs the tests in an instrumented build, prints the covered lines of the library, and fails if one of
# the folders that read what others wrote is below the bound.
set -euo pipefail
cd "$(dirname "$0")/.."

bound=95
folders="gguf quant text session"
build=build/coverage
jobs=${JOBS:-$(nproc)}

cmake --preset coverage -DHALYARD_TESTS=ON
cmake --build $build -j "$jobs"
find $build -name '*.gcda' -delete
# Without those that run the same lines for minutes: whole models, long inputs, kernels on a GPU made of software, and the command
# line, which is no part of the library.
export HALYARD_TEST_STRIDE=20
tools/run-tests.sh $build -E '^(cpu|embedded|small_models|smollm2|tokenizer_time|example_.*|cli_.*|webgpu(_floor|_steps|_steps_floor)?|webgpu_(sample|selftest|loading|facts|measure|qmatmul))$'

gcovr --root . --filter 'src/' --exclude-unreachable-branches --json $build/coverage.json $build
gcovr --root . --add-tracefile $build/coverage.json --txt
bad=0
for folder in $folders; do
    percent=$(gcovr --root . --add-tracefile $build/coverage.json --filter "src/$folder/" --json-summary-pretty |
        sed -n 's/^ *"line_percent": *\([0-9.]*\).*/\1/p' | tail -n 1)
    if awk -v p="$percent" -v b=$bound 'BEGIN { exit !(p == "" || p < b) }'; then
        echo "coverage: src/$folder ${percent:-?} % of lines, below $bound %"
        bad=1
    else
        echo "coverage: src/$folder $percent % of lines"
    fi
done
exit $bad
