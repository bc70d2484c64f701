#!/usr/bin/env bash
# check-install.sh: installs the library, static and shared, moves the installed tree, and builds and runs the consumer in
# tests/consumer against it: with the CMake package and with pkg-config, from C and from C++.
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=${JOBS:-$(nproc)}
top=$PWD/build/install
rm -rf "$top/tree" "$top/moved" "$top/consumer"
mkdir -p "$top"
prompt="Once upon a time"

same_text() { # same_text NAME PROGRAM...: what the programs print must be one text
    local name=$1 first='' text program
    shift
    for program in "$@"; do
        text=$("$program" "$model" "$prompt")
        if [ -z "$text" ] || [ "${first:=$text}" != "$text" ]; then
            echo "install: $name: $program printed \"$text\", expected \"$first\""
            return 1
        fi
    done
    echo "install: $name: C and C++ print \"$first\""
}

for kind in static shared; do
    shared=OFF
    if [ $kind = shared ]; then
        shared=ON
    fi
    build=$top/build-$kind
    cmake --preset release -B "$build" -DBUILD_SHARED_LIBS=$shared -DCMAKE_INSTALL_PREFIX="$top/tree/$kind" \
        -DCMAKE_INSTALL_LIBDIR=lib
    cmake --build "$build" -j "$jobs"
    cmake --install "$build"
    mkdir -p "$top/moved"
    mv "$top/tree/$kind" "$top/moved/$kind"
    at=$top/moved/$kind
    model=$at/share/halyard/halyard-tiny-rwkv7-Q4_K_M.gguf
    cmp "$model" models/halyard-tiny-rwkv7-Q4_K_M.gguf
    for file in share/halyard/halyard-tiny-rwkv7.md include/halyard/halyard.h bin/halyard share/man/man1/halyard.1 \
        share/bash-completion/completions/halyard share/zsh/site-functions/_halyard \
        share/fish/vendor_completions.d/halyard.fish; do
        if [ ! -s "$at/$file" ]; then
            echo "install: $file is missing or empty"
            exit 1
        fi
    done
    if grep -rIl "$PWD" "$at"; then
        echo "install: the files above name the folder they were built in"
        exit 1
    fi

    cmake -S tests/consumer -B "$top/consumer/$kind" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$at" \
        -DCMAKE_C_FLAGS="-Wall -Wextra -Wpedantic -Werror" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Wpedantic -Werror"
    cmake --build "$top/consumer/$kind" -j "$jobs"
    same_text "$kind, CMake package" "$top/consumer/$kind/consumer_c" "$top/consumer/$kind/consumer_cpp"

    export PKG_CONFIG_PATH=$at/lib/pkgconfig
    if [ $kind = shared ]; then
        export LD_LIBRARY_PATH=$at/lib
    fi
    # shellcheck disable=SC2046 # pkg-config prints words
    cc -std=c99 tests/consumer/main.c -o "$top/consumer/pc_c" $(pkg-config --cflags --libs halyard)
    # shellcheck disable=SC2046
    c++ -std=c++11 tests/consumer/main.cpp -o "$top/consumer/pc_cpp" $(pkg-config --cflags --libs halyard)
    same_text "$kind, pkg-config" "$top/consumer/pc_c" "$top/consumer/pc_cpp"
done
