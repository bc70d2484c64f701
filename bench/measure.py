"""measure.py: what the programs of this folder share: running a benchmark, medians, tables.

Python 3.8 with its standard library; POSIX.
"""
import csv
import datetime
import hashlib
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HALYARD = os.path.join(ROOT, "build", "release", "halyard")

median = statistics.median


def fail(sentence):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {sentence}")


def need_program(path):
    if not os.access(path, os.X_OK):
        fail(f"{path} is not a program")
    return path


def read_rows(paths):
    """The rows of CSV files with the same columns, one after the other."""
    rows = []
    for path in paths:
        with open(path, newline="") as f:
            rows += list(csv.DictReader(f))
    return rows


def write_report(base, text, svg):
    """Writes BASE.md and BASE.svg, and prints the first."""
    for ending, content in ((".md", text), (".svg", svg)):
        with open(base + ending, "w") as f:
            f.write(content)
    print(text)


def numbers(text):
    """"1,2" as a list; for argparse."""
    return [int(part) for part in text.split(",")]


def bench_json(command):
    """Runs `halyard bench` or `llama-bench` with JSON output and returns its list of tests."""
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if ran.returncode != 0:
        fail(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr.decode(errors='replace')[-2000:]}")
    try:
        return json.loads(ran.stdout)
    except ValueError as e:
        fail(f"{' '.join(command)} printed no JSON: {e}")


def test_name(test):
    return f"pp{test['n_prompt']}" if test["n_prompt"] else f"tg{test['n_gen']}"


def speed(test):
    """Tokens per second: the median of a test's repetitions."""
    return median(test["samples_ts"])


class File:
    """A model file that has to stay the same while it is measured."""

    def __init__(self, path):
        self.path = path
        if not os.path.isfile(path):
            fail(f"{path} is not a file")
        self.stat = self._stat()
        digest = hashlib.sha256()
        with open(path, "rb") as f:
            while True:
                piece = f.read(1 << 22)
                if not piece:
                    break
                digest.update(piece)
        self.sha256 = digest.hexdigest()
        self.name = os.path.basename(path)
        if self.name.endswith(".gguf"):
            self.name = self.name[:-5]

    def _stat(self):
        s = os.stat(self.path)
        return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns

    def check(self, tests, who):
        """Fails unless all these tests read this file, and it is still what it was."""
        if self._stat() != self.stat:
            fail(f"{self.path} changed while it was measured")
        for test in tests:
            if not os.path.samefile(test["model_filename"], self.path):
                fail(f"{who} read {test['model_filename']} and not {self.path}")


def machine(tests):
    """The processor as a benchmark names it, and how many the system lets this process use."""
    return f"{tests[0].get('cpu_info') or 'unknown processor'}, {len(os.sched_getaffinity(0))} processors usable"


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")


def table(head, rows):
    """A Markdown table; the first column to the left, the others to the right."""
    cells = [[str(c) for c in row] for row in [head] + rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for n, row in enumerate(cells):
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(padded) + " |")
        if n == 0:
            lines.append("| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |")
    return "\n".join(lines)
