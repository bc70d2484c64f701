#!/usr/bin/env bash
# install-deps.sh build|test|ci: sees to the packages that a build, the tests or the whole gate need.
#
# Every need is found out by trying it, so nothing is done, and no rights are wanted, when nothing is missing; how it
# got there does not matter.  What is missing is installed with apt where there is apt; elsewhere the list is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: $0 build|test|ci"
level=${1:?$usage}
case $level in build | test | ci) ;; *) echo "$usage" >&2; exit 2 ;; esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf 'int main(void)\n{\n    return 0;\n}\n' >"$scratch/try.c"

missing=()
# need PACKAGES COMMAND...: the packages are wanted unless the command succeeds.
need() {
    local packages=$1
    shift
    if ! "$@" >"$scratch/log" 2>&1 </dev/null; then
        # shellcheck disable=SC2206 # several names in one word
        missing+=($packages)
    fi
}
links() {
    "$@" "$scratch/try.c" -o "$scratch/try"
}

# foreign_package FOLDER NAME: a library for the processor whose libraries are in that folder.
foreign_package() {
    PKG_CONFIG_LIBDIR=/usr/lib/$1/pkgconfig pkg-config --exists "$2"
}

# What `tools/check-wgsl.sh install` builds, or what it builds it with: Rust 1.87.
naga_or_rust() {
    tools/check-wgsl.sh has-naga ||
        { cargo --version && rustc --version | awk '{ split($2, v, "."); exit v[1] == 1 && v[2] < 87 }'; }
}

# The run-time libraries of clang's sanitizers have the version in their package's name.
clang_runtime() {
    local major=
    if command -v clang >/dev/null; then
        major=$(clang -dumpversion | cut -d. -f1)
    elif command -v apt-cache >/dev/null; then
        major=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    fi
    local name="libclang-rt-$major-dev"
    if [ -n "$major" ] && { ! command -v apt-cache >/dev/null || apt-cache show "$name" >/dev/null 2>&1; }; then
        echo "$name"
    fi
}

find_missing() {
    missing=()
    need "gcc libc6-dev" links cc
    need make make --version
    need cmake cmake --version
    need pkg-config pkg-config --version
    need libjansson-dev pkg-config --exists jansson
    need libedit-dev pkg-config --exists libedit
    if [ "$level" != build ]; then
        need libcmocka-dev pkg-config --exists cmocka
    fi
    if [ "$level" = ci ]; then
        need "gcc libc6-dev" links gcc
        need g++ g++ --version
        need "clang libclang-rt-dev" links clang
        need "clang $(clang_runtime)" links clang -fsanitize=address,undefined
        need "valgrind libc6-dbg" valgrind --error-exitcode=1 -q true
        need gcovr gcovr --version
        # Not gcc-multilib, which Debian does not install beside a cross compiler.
        need "gcc-$(gcc -dumpversion 2>/dev/null || echo 12)-multilib" links gcc -m32
        need libcmocka-dev:i386 foreign_package i386-linux-gnu cmocka
        need libjansson-dev:i386 foreign_package i386-linux-gnu jansson
        need "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" links aarch64-linux-gnu-gcc
        need qemu-user qemu-aarch64 --version
        need libcmocka-dev:arm64 foreign_package aarch64-linux-gnu cmocka
        need libjansson-dev:arm64 foreign_package aarch64-linux-gnu jansson
        need git git --version
        need binutils nm --version
        need glslang-tools glslangValidator --version
        need spirv-tools spirv-val --version
        need "python3 python3-pip" python3 -m pip --version
        need "rustc-web cargo-web" naga_or_rust
    fi
    # "libclang-rt-dev" only stands for a runtime that clang_runtime names.
    local kept=() name
    for name in "${missing[@]}"; do
        if [ "$name" != libclang-rt-dev ] && [[ " ${kept[*]} " != *" $name "* ]]; then
            kept+=("$name")
        fi
    done
    missing=("${kept[@]}")
}

find_missing
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
echo "needed for '$level' and not here (Debian and Ubuntu names): ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "install them, or what they are called on this system, and try again" >&2
    exit 1
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "ask someone who may to run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi

for architecture in i386 arm64; do
    if [[ " ${missing[*]}" == *:$architecture* ]] && ! dpkg --print-foreign-architectures | grep -qx $architecture; then
        echo "adding the architecture $architecture, for tests of other processors"
        "${root[@]}" dpkg --add-architecture $architecture
    fi
done
echo "updating apt's lists"
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null ||
    echo "some lists could not be fetched; going on with what there is"
for _ in 1 2; do # the name of clang's runtime may only be known once clang is there
    echo "installing: ${missing[*]}"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >"$scratch/apt" 2>&1 || {
        cat "$scratch/apt" >&2
        exit 1
    }
    find_missing
    if [ ${#missing[@]} -eq 0 ]; then
        exit 0
    fi
done
echo "still missing after the installation: ${missing[*]}" >&2
exit 1
