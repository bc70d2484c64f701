#!/usr/bin/env bash
# check-wgsl.sh PROGRAM: renders the kernels of every phase of every model that is here, fused and not, with
# `PROGRAM plan --wgsl`, and lets a WGSL compiler check them, and those that are written by hand.  check-wgsl.sh
# install: fetches that compiler, a Python package, into build/wgsl-compiler, if it is not there.
#
# Without the compiler the check is skipped, and says so; with HALYARD_WGSL=required, as in the gate, it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

compiler=build/wgsl-compiler
usage="usage: $0 PROGRAM|install"
what=${1:?$usage}
export PYTHONPATH=$PWD/$compiler

compiler_works() { python3 -c 'import wgpudawn' >/dev/null 2>&1; }

install_compiler() {
    if ! compiler_works; then
        echo "installing the WGSL compiler of tools/wgsl-requirements.txt"
        rm -rf "$compiler"
        python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action ignore \
            --target "$compiler" --require-hashes --no-deps --only-binary=:all: -r tools/wgsl-requirements.txt
        compiler_works
    fi
}

if [ "$what" = install ]; then
    install_compiler
    exit
fi
if ! (install_compiler); then
    if [ "${HALYARD_WGSL:-}" = required ]; then
        echo "wgsl: the compiler could not be installed"
        exit 1
    fi
    echo "wgsl: skipped: the compiler could not be installed"
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
shared=${HALYARD_SHARED:-../shared}
models=0
for model in models/*.gguf tests/golden/*/*.gguf "$shared"/golden/mini/*.gguf; do
    [ -f "$model" ] || continue
    models=$((models + 1))
    for left_out in "" all norm,shift; do
        folder=$scratch/$models-${left_out:-fused}
        mkdir "$folder"
        "$what" plan "$model" --backend null ${left_out:+--no-fuse "$left_out"} --wgsl "$folder" >/dev/null
    done
done
cp src/backend/webgpu/*.wgsl "$scratch"
# Dawn complains about the Vulkan that it does not find, on standard error.
python3 tools/check-wgsl.py "$scratch" 2>"$scratch/log" >"$scratch/result" || {
    cat "$scratch/log" "$scratch/result"
    exit 1
}
echo "wgsl: $models models, $(cat "$scratch/result")"
