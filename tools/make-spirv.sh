#!/usr/bin/env bash
# make-spirv.sh: makes src/backend/webgpu/measure/matvec.spv.inc, the words of matvec.comp in SPIR-V, with
# glslangValidator.  make-spirv.sh check: whether that file is valid, and of this source.
#
# Compilers of other versions number and arrange things differently, so checking compares instructions and constants in
# their order, without their numbers.  Needs glslang-tools and spirv-tools; without them the check is skipped, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=src/backend/webgpu/measure
case "${1-}" in "" | check) ;; *) echo "usage: $0 [check]" >&2; exit 2 ;; esac
for program in glslangValidator spirv-val spirv-dis; do
    if ! command -v $program >/dev/null; then
        echo "spirv: skipped, there is no $program"
        [ "${1-}" = check ]
        exit
    fi
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# words FILE: the module of a list of words.
words() {
    perl -ne 'next if m{^/\*}; print pack("V", hex) for /0x([0-9a-f]{8})/g' "$1"
}
# text MODULE: what it does.
text() {
    spirv-val --target-env vulkan1.1 "$1"
    spirv-dis --no-header "$1" | sed -E 's/%[0-9]+/%/g; s/^ +//'
}

glslangValidator --quiet -V -g0 --target-env vulkan1.1 -o "$scratch/made.spv" $folder/matvec.comp
if [ "${1-}" = check ]; then
    words $folder/matvec.spv.inc >"$scratch/kept.spv"
    text "$scratch/kept.spv" >"$scratch/kept"
    text "$scratch/made.spv" >"$scratch/made"
    if ! diff "$scratch/kept" "$scratch/made"; then
        echo "spirv: $folder/matvec.spv.inc is not of matvec.comp: run tools/make-spirv.sh" >&2
        exit 1
    fi
    echo "spirv: $(wc -l <"$scratch/kept") instructions, valid and of their source"
    exit
fi
{
    echo '/* matvec.spv.inc: matvec.comp in SPIR-V 1.3, by tools/make-spirv.sh. */'
    od -An -v -tx4 -w32 "$scratch/made.spv" | sed -E 's/ +([0-9a-f]{8})/0x\1, /g; s/ +$//'
} >$folder/matvec.spv.inc
echo "spirv: $(wc -l <$folder/matvec.spv.inc) lines"
