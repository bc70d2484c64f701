#!/usr/bin/env python3
"""Writes src/quant/iq_grids.inc: the codebooks of the IQ1, IQ2 and IQ3 tensor types.

The points are constants of the GGUF format and cannot be computed. They are read from the `gguf` package of PyPI
(pip install gguf), which has each codebook as an array of levels; this program checks the shapes and levels and packs
every point into one number: level k of the point is digit k, counted from the lowest, of 2 bits (three levels) or
3 bits (eight levels). Run it again only if a codebook is added:

    python3 tools/make-iq-grids.py > src/quant/iq_grids.inc
"""
from gguf import quants

# name in C, class of the package, points, levels per point, values of the digits
GRIDS = [
    ("iq1_grid", quants.IQ1_S, 2048, 8, [-1, 0, 1]),
    ("iq2_xxs_grid", quants.IQ2_XXS, 256, 8, [8, 25, 43]),
    ("iq2_xs_grid", quants.IQ2_XS, 512, 8, [8, 25, 43]),
    ("iq2_s_grid", quants.IQ2_S, 1024, 8, [8, 25, 43]),
    ("iq3_xxs_grid", quants.IQ3_XXS, 256, 4, [4, 12, 20, 28, 36, 44, 52, 62]),
    ("iq3_s_grid", quants.IQ3_S, 512, 4, [1, 3, 5, 7, 9, 11, 13, 15]),
]


def packed(cls, points, per_point, values):
    cls.init_grid()
    grid = cls.grid.reshape(points, per_point)
    bits = 2 if len(values) == 3 else 3
    digit_of = {float(v): d for d, v in enumerate(values)}
    for point in grid:
        yield sum(digit_of[float(level)] << (bits * k) for k, level in enumerate(point))


def main():
    print("/* iq_grids.inc: codebooks of the IQ types, written by tools/make-iq-grids.py: do not edit.")
    print(" * A point's level k is digit k from the lowest, of 2 bits (IQ1, IQ2) or 3 bits (IQ3). */")
    for name, cls, points, per_point, values in GRIDS:
        numbers = list(packed(cls, points, per_point, values))
        assert len(set(numbers)) == points
        print(f"static const uint16_t {name}[{points}] = {{")
        for i in range(0, points, 14):
            print("    " + " ".join(f"{n}," for n in numbers[i:i + 14]))
        print("};")


if __name__ == "__main__":
    main()
