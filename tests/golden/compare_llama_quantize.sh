#!/bin/sh
# Compares `halyard quantize` with llama-quantize: both encode each model with each mix, and the files must be equal byte for byte.
#
#   LLAMA_QUANTIZE=/path/to/llama-quantize [HALYARD=build/release/halyard] [MIXES="Q4_K_M Q8_0"] \
#       tests/golden/compare_llama_quantize.sh MODEL.gguf...
#
# Models with F32, F16 or BF16 tensors; `test_quant_file --write-models FOLDER` (a test program of the build) writes small
# ones that reach every rule.
# Prints a table; exit status 1 if a pair of files differs, or if one program fails where the other does not.
# A failure of llama-quantize that asks for an importance matrix is reported and not counted: Halyard has the
# same choice of types without it.
set -u

: "${LLAMA_QUANTIZE:?set it to the path of llama-quantize}"
HALYARD=${HALYARD:-build/release/halyard}
MIXES=${MIXES:-F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS MXFP4_MOE Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S Q2_0 Q5_K Q4_K Q3_K}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
[ $# -gt 0 ] || { echo "no models given" >&2; exit 2; }

for model in "$@"; do
    for mix in $MIXES; do
        rm -f "$work"/*.gguf
        "$LLAMA_QUANTIZE" --allow-requantize "$model" "$work/theirs.gguf" "$mix" 2 >"$work/theirs.log" 2>&1
        theirs=$?
        "$HALYARD" quantize --allow-requantize "$model" "$work/ours.gguf" "$mix" >"$work/ours.log" 2>&1
        ours=$?
        if [ $theirs -ne 0 ] && grep -q -i 'importance matrix\|imatrix' "$work/theirs.log"; then
            result="llama-quantize wants an importance matrix (halyard: status $ours)"
        elif [ $theirs -ne 0 ] && [ $ours -ne 0 ]; then
            result="both refuse: $(tail -n 1 "$work/ours.log")"
        elif [ $theirs -ne 0 ] || [ $ours -ne 0 ]; then
            result="DIFFERENT: status $ours, llama-quantize $theirs: $(tail -n 1 "$work/ours.log")"
            failed=1
        elif cmp "$work/ours.gguf" "$work/theirs.gguf" >"$work/cmp.log" 2>&1; then
            result="equal, $(wc -c <"$work/ours.gguf") bytes"
        else
            result="DIFFERENT: $(head -n 1 "$work/cmp.log")"
            failed=1
        fi
        printf '%-24s %-10s %s\n' "$(basename "$model")" "$mix" "$result"
    done
done
exit $failed
