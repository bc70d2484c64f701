#!/usr/bin/env bash
# check-symbols.sh SHARED_LIBRARY [STATIC_LIBRARY]: what the library exports is what its headers declare, no more, no less.
#
# The static library must define names of the project alone (hy_..., hy__...), so that it fits beside any other.
set -euo pipefail
cd "$(dirname "$0")/.."

shared=${1:?usage: $0 SHARED_LIBRARY [STATIC_LIBRARY]}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A declaration is HY_API up to the parenthesis behind its name, over any number of lines.
cat include/halyard/*.h | grep -v '^#' | tr '\n' ' ' |
    grep -oE 'HY_API [^(;]*(HY_PRINTF\([^)]*\))?[^(;]*\(' | sed -E 's/ *\($//; s/.*[^a-z0-9_]//' |
    sort -u >"$scratch/declared"
nm -D --defined-only "$shared" | awk '{ print $NF }' | sort -u >"$scratch/exported"

bad=0
if ! diff -u "$scratch/declared" "$scratch/exported" >"$scratch/diff"; then
    echo "the headers (-) and $shared (+) disagree:"
    grep -E '^[-+][^-+]' "$scratch/diff"
    bad=1
fi
if grep -vE '^hy_[a-z][a-z0-9_]*$' "$scratch/exported"; then
    echo "names above are exported but are no public names"
    bad=1
fi
if [ $# -gt 1 ]; then
    if nm -g --defined-only "$2" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -vE '^hy_' | sort -u |
        grep -vE '^(__gcov|__asan|__odr_asan)'; then
        echo "names above are defined in $2 without the project's prefix"
        bad=1
    fi
fi
if [ "$bad" -ne 0 ]; then
    exit 1
fi
echo "symbols: $(wc -l <"$scratch/exported") exported, all of them declared, none missing"
