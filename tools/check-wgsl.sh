#!/usr/bin/env bash
# check-wgsl.sh PROGRAM: lets two WGSL compilers, Tint and naga, check every kernel that the WebGPU backend of PROGRAM
# would run for the models that are here, on every kind of GPU: see check-wgsl.py.  No GPU is needed.
# check-wgsl.sh install: fetches the compilers, unless they are there: a Python package into build/wgsl-compiler, and
# naga, which is built (two to seven minutes) into build/naga.  check-wgsl.sh has-naga: whether that one is there.
#
# Without the compilers the check is skipped, and says so; with HALYARD_WGSL=required, as in the gate, it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

compiler=build/wgsl-compiler
naga_version=30.0.1
usage="usage: $0 PROGRAM|install|has-naga"
what=${1:?$usage}
export PYTHONPATH=$PWD/$compiler

compiler_works() { python3 -c 'import wgpudawn' >/dev/null 2>&1; }

# Prints the program, if there is one of the right version.
find_naga() {
    local program
    for program in build/naga/bin/naga "$(command -v naga || true)" "${CARGO_HOME:-$HOME/.cargo}/bin/naga"; do
        if [ -x "$program" ] && [ "$("$program" --version 2>/dev/null)" = $naga_version ]; then
            echo "$program"
            return
        fi
    done
    return 1
}

install_tint() {
    rm -rf "$compiler"
    python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action ignore \
        --target "$compiler" --require-hashes --no-deps --only-binary=:all: -r tools/wgsl-requirements.txt &&
        compiler_works
}
install_naga() {
    cargo install --quiet --locked --root build/naga --version $naga_version naga-cli </dev/null && find_naga >/dev/null
}

install_compilers() {
    mkdir -p build
    # One at a time: the gate begins this in the background.
    exec 9>build/wgsl-compilers.lock
    flock 9
    if ! compiler_works; then
        echo "installing the WGSL compiler of tools/wgsl-requirements.txt"
        install_tint || return 1
    fi
    if ! find_naga >/dev/null; then
        echo "building naga $naga_version, which takes some minutes"
        install_naga || return 1
    fi
    exec 9>&-
}

case $what in
install)
    install_compilers
    exit
    ;;
has-naga)
    find_naga >/dev/null
    exit
    ;;
esac
if ! install_compilers; then
    if [ "${HALYARD_WGSL:-}" = required ]; then
        echo "wgsl: the compilers could not be installed"
        exit 1
    fi
    echo "wgsl: skipped: the compilers could not be installed"
    exit 0
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Dawn complains about the Vulkan that it does not find, on standard error.
python3 tools/check-wgsl.py "$(find_naga)" "$what" "${HALYARD_SHARED:-../shared}" 2>"$log" || {
    cat "$log"
    exit 1
}
