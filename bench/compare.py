#!/usr/bin/env python3
"""compare.py: tokens per second of Halyard and of llama.cpp on the same model files.

Both programs run in turn (A B A B ...), each round with one counted repetition of each test behind an uncounted one; the
results are medians over the rounds; the smallest and the largest ratio of a round are shown too.  Writes all
single measurements as CSV and the tables as Markdown to the folder of results, and prints the tables.
"""
import argparse
import csv
import os

from measure import HALYARD, ROOT, File, bench_json, fail, machine, median, need_program, numbers, speed, stamp, table
from measure import test_name

FIELDS = ["round", "model", "sha256", "level", "program", "version", "threads", "test", "tokens_per_second",
          "bytes_per_token", "read_gb_per_second"]


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("models", nargs="+", metavar="MODEL.gguf")
    a.add_argument("--halyard", default=HALYARD, metavar="PROGRAM", help="default: build/release/halyard")
    a.add_argument("--llama-bench", required=True, metavar="PROGRAM", help="built for this machine")
    a.add_argument("--cpu-level", metavar="NAME", help="measure Halyard at this level too, against the program of --peer")
    a.add_argument("--peer", metavar="PROGRAM", help="llama-bench built for the instructions of --cpu-level")
    a.add_argument("-t", "--threads", type=numbers, default=[1, 2], metavar="N,...")
    a.add_argument("-p", "--n-prompt", type=numbers, default=[128, 512], metavar="N,...")
    a.add_argument("-n", "--n-gen", type=numbers, default=[64], metavar="N,...")
    a.add_argument("-r", "--rounds", type=int, default=5, metavar="N", help="at least 5 (default); fewer only show that it works")
    a.add_argument("--best", action="store_true", help="each program's fastest round in place of medians, for a busy machine")
    a.add_argument("--results", default=os.path.join(ROOT, "bench", "results"), metavar="FOLDER")
    o = a.parse_args()
    if bool(o.cpu_level) != bool(o.peer):
        a.error("--cpu-level and --peer belong together")
    if o.rounds < 1:
        a.error("--rounds needs at least 1")
    return o


def common(o, model, threads):
    return ["-m", model, "-p", ",".join(map(str, o.n_prompt)), "-n", ",".join(map(str, o.n_gen)),
            "-t", str(threads), "-r", "1", "-o", "json"]


class Cell:
    """The rounds of one test: speeds of both programs, and the bandwidth that Halyard measured beside them."""

    def __init__(self):
        self.halyard, self.llama, self.read = [], [], []
        self.bytes = None

    def row(self, name, threads, middle):
        ratios = [h / l for h, l in zip(self.halyard, self.llama)]
        h, l, read = middle(self.halyard), middle(self.llama), middle(self.read)
        share = [f"{100 * self.bytes * s / 1e9 / read:.1f} %" if self.bytes and read else "" for s in (h, l)]
        return [name, threads, f"{h:.2f}", f"{l:.2f}", f"{h / l:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}", *share,
                f"{read:.1f}"]


def measure_round(o, number, file, level, peer, threads, cells, out):
    """One run of each program: A, then B."""
    wanted = [] if level == "native" else ["--cpu-level", level]
    tests = {"halyard": bench_json([o.halyard, "bench", *common(o, file.path, threads), *wanted]),
             "llama.cpp": bench_json([peer, *common(o, file.path, threads)])}
    for program, list_ in tests.items():
        file.check(list_, program)
    a, b = tests["halyard"], tests["llama.cpp"]
    if [test_name(x) for x in a] != [test_name(x) for x in b]:
        fail(f"the programs ran different tests: {[test_name(x) for x in a]}, {[test_name(x) for x in b]}")
    if a[0]["model_n_params"] != b[0]["model_n_params"]:
        fail(f"{file.path}: {a[0]['model_n_params']} and {b[0]['model_n_params']} parameters")
    for x, y in zip(a, b):
        if x["n_threads"] != threads or y["n_threads"] != threads:
            fail("a program ran with another number of threads")
        cell = cells.setdefault((level, threads, test_name(x)), Cell())
        cell.halyard.append(speed(x))
        cell.llama.append(speed(y))
        cell.read.append(x["read_gb_per_second"])
        cell.bytes = x["bytes_per_token"]
        for program, test in (("halyard", x), ("llama.cpp", y)):
            out.writerow([number, file.name, file.sha256, level, program,
                          test.get("build_version") or test.get("build_commit"), threads, test_name(x), speed(test),
                          x["bytes_per_token"] or "", x["read_gb_per_second"]])
    return a


def main():
    o = arguments()
    levels = [("native", need_program(o.llama_bench))]
    if o.cpu_level:
        levels.append((o.cpu_level, need_program(o.peer)))
    need_program(o.halyard)
    files = [File(path) for path in o.models]
    os.makedirs(o.results, exist_ok=True)
    base = os.path.join(o.results, "compare-" + stamp())
    parts = []
    tests = []
    with open(base + ".csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(FIELDS)
        for file in files:
            cells = {}
            for number in range(o.rounds):
                for threads in o.threads:
                    for level, peer in levels:
                        tests = measure_round(o, number, file, level, peer, threads, cells, out)
                        f.flush()
            for level, _ in levels:
                rows = [c.row(name, t, max if o.best else median) for (l, t, name), c in cells.items() if l == level]
                parts.append(f"## {file.name}, instructions: {level}\n\n" + table(
                    ["test", "threads", "halyard t/s", "llama.cpp t/s", "ratio", "least to most", "halyard of read",
                     "llama.cpp of read", "read GB/s"], rows))
    load = os.getloadavg()[0]
    text = (f"# Halyard and llama.cpp\n\n{machine(tests)}; {'best' if o.best else 'medians'} of {o.rounds} rounds; load at the end {load:.2f}\n\n"
            + "\n\n".join(parts) + "\n")
    with open(base + ".md", "w") as f:
        f.write(text)
    print(text)
    print(f"written: {base}.csv, {base}.md")


if __name__ == "__main__":
    main()
