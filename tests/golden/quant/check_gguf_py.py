#!/usr/bin/env python3
"""Compares decode/*.bin, made with ggml's C code, with the decoders of the `gguf` package (pip install gguf).

The two implementations are independent. They may differ by one rounding where they order a product differently, so each type
is reported as equal, or with its largest difference in units of the last place; more than 2 is an error.
"""
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGML_QUANT_SIZES, quants

ELEMS = 1024


def ordered(x):
    """Floats as integers whose difference counts the floats between them."""
    i = x.view(np.int32).astype(np.int64)
    return np.where(i < 0, -(i & 0x7FFFFFFF), i)


def main():
    failed = False
    for path in sorted(pathlib.Path(__file__).parent.glob("decode/*.bin")):
        kind = GGMLQuantizationType.__members__.get(path.stem)
        if kind is None:
            print(f"{path.stem:8} not known to this version of gguf")
            continue
        elems, size = GGML_QUANT_SIZES[kind]
        data = np.fromfile(path, dtype=np.uint8)
        cut = ELEMS // elems * size
        want = data[cut:].view(np.float32)
        try:
            got = quants.dequantize(data[:cut], kind).reshape(-1)
        except NotImplementedError:
            print(f"{path.stem:8} not known to this version of gguf")
            continue
        off = int(np.abs(ordered(want) - ordered(got.astype(np.float32))).max())
        print(f"{path.stem:8} {'equal' if off == 0 else f'{off} ulp'}")
        failed |= off > 2
    sys.exit(failed)


if __name__ == "__main__":
    main()
