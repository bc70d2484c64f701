#!/usr/bin/env python3
"""qmatmul.py: how fast products of halyard/qmatmul.h are with each WebGPU library, beside the GPU's limits.

Runs bench_qmatmul (built with -DHALYARD_BENCH=ON) for one library after the other and writes RESULTS/NAME.csv, a row for
each type, shape and number of columns as it comes, and from it NAME.md and NAME.svg.  --from shows rows of earlier runs.
"""
import argparse
import csv
import os
import subprocess
import sys

from measure import ROOT, fail, need_program, read_rows, stamp, table, write_report
from plot import bars

PROGRAM = os.path.join(ROOT, "build", "release", "bench", "bench_qmatmul")
QUICK = ["--shapes", "61x256,40x512", "--columns", "1,8,64,130", "--between", "0.5"]


def arguments(words=None):
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--program", default=PROGRAM, metavar="PROGRAM", help="default: build/release/bench/bench_qmatmul")
    a.add_argument("--libs", default="dawn,wgpu", metavar="NAME,...", help="WebGPU libraries (default: dawn,wgpu)")
    a.add_argument("--webgpu-dir", metavar="DIR", help="where they are; default: what HALYARD_WEBGPU names")
    a.add_argument("--types", metavar="T,...", help="default: all that can be decoded")
    a.add_argument("--shapes", metavar="ROWSxCOLS,...", help="default: 4096x4096,4096x14336")
    a.add_argument("--columns", metavar="N,...", help="default: 1,8,64,512")
    a.add_argument("--between", metavar="MIB", help="other weights read before the same ones come again (384)")
    a.add_argument("--seconds", metavar="N", help="begin nothing any more N seconds after a library's start")
    a.add_argument("--quick", action="store_true", help="small shapes, for a GPU made of software")
    a.add_argument("--from", dest="rows", nargs="+", metavar="CSV", help="measure nothing, show these rows")
    a.add_argument("--name", default="qmatmul-" + stamp(), help="of the results; default: qmatmul-TIME")
    a.add_argument("--results", default=os.path.join(ROOT, "bench", "results"), metavar="FOLDER")
    o = a.parse_args(words)
    o.libs = o.libs.split(",")
    return o


def command(o, lib):
    words = [o.program, lib] + (QUICK if o.quick else [])
    for option in ("types", "shapes", "columns", "between", "seconds"):  # the last one of an option counts
        if getattr(o, option):
            words += ["--" + option, getattr(o, option)]
    return words


def measure(o, base):
    """The rows of all libraries; of one that breaks down those that it printed before, and its reason."""
    env = dict(os.environ, **({"HALYARD_WEBGPU": o.webgpu_dir} if o.webgpu_dir else {}))
    rows = []
    with open(base + ".csv", "w", newline="") as f:
        out = None
        for lib in o.libs:
            ran = subprocess.Popen(command(o, lib), stdout=subprocess.PIPE, env=env, text=True)
            for row in csv.DictReader(ran.stdout):
                if out is None:
                    out = csv.DictWriter(f, row.keys())
                    out.writeheader()
                out.writerow(row)
                f.flush()
                rows.append(row)
            if ran.wait() != 0:
                print(f"{lib} ended with {ran.returncode}", file=sys.stderr)
    return rows


# ---- tables

def counted(n):
    return f"{n} column" + ("" if int(n) == 1 else "s")


def in_order(items):
    return list(dict.fromkeys(items))


def shape_of(row):
    return f"{row['rows']} x {row['cols']}"


def percent(share):
    return f"{100 * float(share):.1f} %"


def shape_table(rows, columns):
    lines = []
    for r in rows:
        if r["columns"] == columns:
            lines.append([r["type"], f"{float(r['us']):.1f}", f"{float(r['gb_per_second']):.4g}", percent(r["read_share"]),
                          f"{float(r['tflops']):.4g}", percent(r["limit_share"]), r["limit"], r["kernel"]])
    return table([counted(columns), "us", "GB/s", "of read", "Tflop/s", "of limit", "limit", "kernel"], lines)


def report(rows):
    parts = ["# Products with quantized matrices\n\nGB/s are those of the file's bytes; a type without a kernel of its own is "
             "kept as F16, and reads more."]
    for lib in in_order(r["library"] for r in rows):
        mine = [r for r in rows if r["library"] == lib]
        limits = "; ".join(in_order(f"{float(r['limit_tflops']):.4g} T/s {r['limit']}" for r in mine))
        parts.append(f"## {lib}\n\n{mine[0]['gpu']}; reads {mine[0]['read_gb_per_second']} GB/s; {limits}")
        for shape in in_order(map(shape_of, mine)):
            parts.append(f"### {shape}, {lib}")
            parts += [shape_table([r for r in mine if shape_of(r) == shape], n) for n in in_order(r["columns"] for r in mine)]
    return "\n\n".join(parts) + "\n"


def chart(rows):
    """Of types with kernels of their own: GB/s with the fewest columns, Tflop/s with the most."""
    own = [r for r in rows if f" {r['type']}," in r["kernel"]]
    groups = []
    for shape in in_order(map(shape_of, own)):
        counts = sorted({int(r["columns"]) for r in own if shape_of(r) == shape})
        for n, field, unit in ((counts[0], "gb_per_second", "GB/s"), (counts[-1], "tflops", "Tflop/s")):
            groups.append((f"{shape}, {counted(n)}, {unit}", [(f"{r['type']} {r['library']}", float(r[field])) for r in own
                                                             if shape_of(r) == shape and int(r["columns"]) == n]))
    return bars("products with quantized matrices", groups)


def main():
    o = arguments()
    os.makedirs(o.results, exist_ok=True)
    base = os.path.join(o.results, o.name)
    if o.rows:
        rows = read_rows(o.rows)
    else:
        need_program(o.program)
        rows = measure(o, base)
    if not rows:
        fail("nothing was measured")
    write_report(base, report(rows), chart(rows))
    print(f"written: {base}.md, .svg" + ("" if o.rows else ", .csv"))


if __name__ == "__main__":
    main()
