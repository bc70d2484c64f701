#!/usr/bin/env python3
"""gpu.py: Halyard on a GPU, with each WebGPU library, beside other programs on the same models.

All programs run in turn (A B C A B C ...); figures are medians over the rounds.  Writes RESULTS/NAME.csv, a row for each
measurement, NAME-phases.csv, the GPU's times phase by phase, and from the first NAME.md and NAME.svg.  Rows are written
as they come: what is there when something ends early can be shown with --from, also the rows of several runs together.

--peer NAME=COMMAND adds a program.  In its command, cut at blanks, {model} stands for the file, {stem} for its path
without .gguf, {tests} for words like tg128 pp512, {prompts} and {gens} for numbers divided by commas.  It prints a list
of llama-bench (-o json), or a line for each test that has the test's word and "median X tok/s"; of several lines for a
test the fastest counts.  A peer one of whose words begins with {stem} is left out for models without that file.
"""
import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import first_token
from measure import HALYARD, ROOT, fail, median, need_program, numbers, read_rows, stamp, table, test_name, write_report
from plot import bars

FIELDS = ["round", "model", "program", "version", "gpu", "test", "tokens_per_second", "milliseconds", "bytes_per_token",
          "read_gb_per_second", "dispatches_per_token", "submits_per_token", "cpu_us_per_token", "text_hash", "check_backend",
          "check_tokens", "check_agree", "check_lead"]
PHASE_FIELDS = ["model", "program", "test", "kind", "phase", "count", "us_per_token", "bytes_per_token", "gb_per_second",
                "bandwidth_share", "kernels"]
COLD, WARM = "first token, cold", "first token, warm"
LINE = re.compile(r"(?<!\S)((?:pp|tg)\d+)(?!\S).*?\bmedian ([0-9.]+) tok/s")


def arguments(words=None):
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("models", nargs="*", metavar="MODEL.gguf")
    a.add_argument("--halyard", default=HALYARD, metavar="PROGRAM", help="default: build/release/halyard")
    a.add_argument("--libs", default="dawn,wgpu", metavar="NAME,...", help="WebGPU libraries (default: dawn,wgpu)")
    a.add_argument("--webgpu-dir", metavar="DIR", help="where they are; default: as halyard finds them")
    a.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="may be given several times")
    a.add_argument("-p", "--n-prompt", type=numbers, default=[8, 32, 512, 2048], metavar="N,...")
    a.add_argument("-n", "--n-gen", type=numbers, default=[128], metavar="N,...")
    a.add_argument("-b", "--batch-size", type=int, default=2048, metavar="N", help="most tokens of a step (2048)")
    a.add_argument("-r", "--rounds", type=int, default=3, metavar="N")
    a.add_argument("--repetitions", type=int, default=3, metavar="N", help="of each test in a run of halyard (3)")
    a.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for one run of a program (300)")
    a.add_argument("--seconds", type=float, default=float("inf"), metavar="N", help="begin nothing any more after N seconds")
    a.add_argument("--check", metavar="BACKEND", help="has to choose the tokens of the first round's text too, say cpu")
    a.add_argument("--no-phases", dest="phases", action="store_false", help="do not time phases")
    a.add_argument("--no-first-token", dest="first_token", action="store_false", help="do not time first tokens")
    a.add_argument("--from", dest="rows", nargs="+", metavar="CSV", help="measure nothing, show these rows")
    a.add_argument("--name", default="gpu-" + stamp(), help="of the results; default: gpu-TIME")
    a.add_argument("--results", default=os.path.join(ROOT, "bench", "results"), metavar="FOLDER")
    o = a.parse_args(words)
    if bool(o.models) == bool(o.rows):
        a.error("either models or --from, not both")
    o.libs = o.libs.split(",")
    o.n_prompt, o.n_gen = ([n for n in sizes if n > 0] for sizes in (o.n_prompt, o.n_gen))
    o.peers = [tuple(p.split("=", 1)) for p in o.peer]
    if any(len(p) != 2 or not p[1].split() for p in o.peers):
        a.error("--peer needs NAME=COMMAND")
    return o


# ---- programs

class Failed(Exception):
    def __init__(self, command, ran):
        super().__init__(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr.decode(errors='replace')[-2000:]}")
        self.output = ran.stdout.decode(errors="replace")


def run(command, limit):
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit)
    if ran.returncode != 0:
        raise Failed(command, ran)
    return ran.stdout.decode(errors="replace")


def halyard_command(o, lib, model, *more):
    folder = ["--webgpu-dir", o.webgpu_dir] if o.webgpu_dir else []
    return [o.halyard, *more, "-m", model, "--backend", "webgpu", "--webgpu-lib", lib, *folder]


def halyard_rows(text):
    """Rows of what `halyard bench -o json` prints, and rows of phases."""
    rows, phases = [], []
    for t in json.loads(text):
        rows.append({**{k: t[k] for k in FIELDS if k in t},
                     "version": f"{t['build_version']}, {t['gpu_library']}", "gpu": f"{t['gpu_info']}, {t['gpu_api']}",
                     "test": test_name(t), "tokens_per_second": t["median_ts"]})
        for p in t.get("phases", []):
            phases.append({**{k: p[k] for k in PHASE_FIELDS if k in p}, "test": test_name(t),
                           "us_per_token": p["ns_per_token"] / 1e3, "kernels": "; ".join(p["kernels"])})
    return rows, phases


def peer_command(words, o, model):
    """The words of a peer's command for a model; None: it has no file for it."""
    stem = model[:-5] if model.endswith(".gguf") else model
    tests = [f"tg{n}" for n in o.n_gen] + [f"pp{n}" for n in o.n_prompt]
    fill = {"model": model, "stem": stem, "prompts": ",".join(map(str, o.n_prompt)) or "0",
            "gens": ",".join(map(str, o.n_gen)) or "0"}
    command = []
    for word in words.split():
        if word == "{tests}":
            command += tests
            continue
        filled = word.format(**fill)
        if word.startswith("{stem}") and not os.path.isfile(filled):
            return None
        command.append(filled)
    return command


def peer_rows(text):
    """Rows of what a peer prints: {"test": ..., "tokens_per_second": ...}, in the order in which they come."""
    best = {}
    if text.lstrip().startswith("["):
        found = [(test_name(t), median(t["samples_ts"])) for t in json.loads(text)]
    else:
        found = [(m.group(1), float(m.group(2))) for m in map(LINE.search, text.splitlines()) if m]
    for test, speed in found:
        best[test] = max(speed, best.get(test, 0))
    return [{"test": test, "tokens_per_second": speed} for test, speed in best.items()]


def peer(command, o):
    """Rows of a peer; of one that breaks down those that it printed before."""
    try:
        return peer_rows(run(command, o.limit))
    except Failed as e:
        print(e, file=sys.stderr)
        return peer_rows(e.output)


# ---- measuring

def bench_words(o, repetitions):
    return ["-p", ",".join(map(str, o.n_prompt)) or "0", "-n", ",".join(map(str, o.n_gen)) or "0",
            "-b", str(o.batch_size), "-r", str(repetitions), "-o", "json"]


def first_tokens(o, lib, model):
    """Milliseconds from the start of the program to its first byte: with neither the file nor any compiled kernel in a
    cache, then with both."""
    with tempfile.TemporaryDirectory() as caches:
        env = dict(os.environ, XDG_CACHE_HOME=caches, __GL_SHADER_DISK_CACHE_PATH=caches, MESA_SHADER_CACHE_DIR=caches)
        command = halyard_command(o, lib, model, "run") + ["-p", first_token.PROMPT, "-n", "8", "--temp", "0", "--ignore-eos",
                                                           "--no-display-prompt"]
        first_token.drop_from_cache(model)
        cold = first_token.once(command, env)[0]
        warm = median([first_token.once(command, env)[0] for _ in range(2)])
    return [{"test": COLD, "milliseconds": 1e3 * cold}, {"test": WARM, "milliseconds": 1e3 * warm}]


def jobs(o, model, number, phases):
    """(program, function that gives its rows) of one round of a model."""
    for lib in o.libs:
        who = f"halyard {lib}"
        check = ["--check", o.check] if o.check and number == 0 else []
        yield who, lambda lib=lib, check=check: halyard_rows(
            run(halyard_command(o, lib, model, "bench") + bench_words(o, o.repetitions) + check, o.limit))[0]
        if o.phases and number == 0:
            def timed(lib=lib, who=who):
                command = halyard_command(o, lib, model, "bench") + bench_words(o, 2) + ["--profile"]
                for p in halyard_rows(run(command, o.limit))[1]:
                    phases.writerow({"model": model_name(model), "program": who, **p})
                return []
            yield who, timed
        if o.first_token and number == 0:
            yield who, lambda lib=lib: first_tokens(o, lib, model)
    for name, words in o.peers:
        command = peer_command(words, o, model)
        if command:
            yield name, lambda command=command: peer(command, o)


def model_name(path):
    name = os.path.basename(path)
    return name[:-5] if name.endswith(".gguf") else name


def measure(o, base):
    """All rows; a program that fails is told of, and missing from the tables."""
    rows = []
    end = time.monotonic() + o.seconds
    with open(base + ".csv", "w", newline="") as f, open(base + "-phases.csv", "w", newline="") as g:
        out, phases = csv.DictWriter(f, FIELDS), csv.DictWriter(g, PHASE_FIELDS)
        out.writeheader()
        phases.writeheader()
        for number in range(o.rounds):
            for model in o.models:
                for who, rows_of in jobs(o, model, number, phases):
                    if time.monotonic() > end:
                        break
                    try:
                        new = rows_of()
                    except (Failed, ValueError, KeyError, OSError, SystemExit, subprocess.TimeoutExpired) as e:
                        print(f"{model_name(model)}, {who}: {e}", file=sys.stderr)
                        continue
                    for row in new:
                        row.update(round=number, model=model_name(model), program=who)
                        out.writerow(row)
                    rows += new
                    f.flush()
                    g.flush()
    return [{k: "" if row.get(k) is None else str(row[k]) for k in FIELDS} for row in rows]


# ---- tables

def of(rows, **wanted):
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def values(rows, field, **wanted):
    return [float(r[field]) for r in of(rows, **wanted) if r[field] != ""]


def middle(rows, field, **wanted):
    found = values(rows, field, **wanted)
    return median(found) if found else None


def in_order(items):
    return list(dict.fromkeys(items))


def show(x, form):
    return "" if x is None else form.format(x)


def ours_best(rows, test):
    """The fastest of Halyard's programs."""
    speeds = [middle(rows, "tokens_per_second", program=p, test=test) for p in in_order(r["program"] for r in rows)
              if p.startswith("halyard")]
    return max([s for s in speeds if s is not None], default=None)


def ratio(rows, program, test):
    """Ours over the program's."""
    ours, theirs = ours_best(rows, test), middle(rows, "tokens_per_second", program=program, test=test)
    return ours / theirs if ours and theirs and not program.startswith("halyard") else None


def decode_table(rows, test):
    lines = []
    for program in in_order(r["program"] for r in of(rows, test=test)):
        def m(field):
            return middle(rows, field, program=program, test=test)
        speeds = values(rows, "tokens_per_second", program=program, test=test)
        speed, size, read, cpu = median(speeds), m("bytes_per_token"), m("read_gb_per_second"), m("cpu_us_per_token")
        rate = speed * size / 1e9 if size else None
        lines.append([program, f"{speed:.1f}", f"{min(speeds):.1f} to {max(speeds):.1f}", show(ratio(rows, program, test), "{:.2f}"),
                      show(size and size / 1e6, "{:.1f}"), show(rate, "{:.1f}"),
                      show(100 * rate / read if rate and read else None, "{:.1f} %"), show(m("dispatches_per_token"), "{:.1f}"),
                      show(m("submits_per_token"), "{:.3f}"), show(cpu, "{:.1f}"),
                      show(cpu * speed / 1e4 if cpu is not None else None, "{:.1f} %")])
    return table([f"{test}", "tok/s", "least to most", "ours / it", "MB/token", "GB/s", "of read", "dispatches", "submits",
                  "CPU us", "CPU of time"], lines)


def prompt_table(rows, tests):
    lines = []
    for program in in_order(r["program"] for r in rows if r["test"] in tests):
        cells = []
        for test in tests:
            speed, by = middle(rows, "tokens_per_second", program=program, test=test), ratio(rows, program, test)
            cells.append(show(speed, "{:.0f}") + show(by, " ({:.2f})"))
        lines.append([program, *cells])
    return table(["prompts, tok/s (ours / it)", *tests], lines)


def check_lines(rows):
    """What was said of texts, and how libraries compare."""
    lines = []
    for r in rows:
        if r["check_tokens"] != "" and int(r["check_tokens"]) > 0:
            lead = "" if r["check_agree"] == r["check_tokens"] else f", another one leads by {100 * float(r['check_lead']):.2f} % of the rms at most"
            lines.append(f"{r['program']}, {r['test']}: {r['check_backend']} chooses {r['check_agree']} of {r['check_tokens']} "
                         f"tokens of the text{lead}")
    for test in in_order(r["test"] for r in rows if r["text_hash"]):
        hashes = in_order(r["text_hash"] for r in of(rows, test=test) if r["text_hash"])
        lines.append(f"{test}: " + ("all runs gave the same text" if len(hashes) == 1 else f"runs gave {len(hashes)} texts: {', '.join(hashes)}"))
        speeds = [middle(rows, "tokens_per_second", program=f"halyard {lib}", test=test) for lib in ("wgpu", "dawn")]
        if all(speeds):
            lines.append(f"{test}: wgpu-native reaches {100 * speeds[0] / speeds[1]:.1f} % of Dawn's speed")
    for program in in_order(r["program"] for r in of(rows, test=COLD)):
        cold, warm = (middle(rows, "milliseconds", program=program, test=t) for t in (COLD, WARM))
        lines.append(f"{program}: first token after {show(cold, '{:.0f}')} ms cold, {show(warm, '{:.0f}')} ms warm")
    return lines


def report(rows):
    """The tables of all models as Markdown."""
    parts = ["# Halyard on a GPU\n\n" + "; ".join(in_order(r["gpu"] for r in rows if r["gpu"])) + "; "
             + "; ".join(in_order(r["version"] for r in rows if r["version"]))
             + f"; medians of {1 + max(int(r['round']) for r in rows)} rounds"]
    for model in in_order(r["model"] for r in rows):
        mine = of(rows, model=model)
        tests = in_order(r["test"] for r in mine)
        prompts = sorted((t for t in tests if t.startswith("pp")), key=lambda t: int(t[2:]))
        reads = values(mine, "read_gb_per_second")
        parts.append(f"## {model}" + (f"\n\nthe GPU reads {median(reads):.1f} GB/s" if reads else ""))
        parts += [decode_table(mine, t) for t in tests if t.startswith("tg")]
        parts += [prompt_table(mine, prompts)] if prompts else []
        parts += ["\n".join(f"- {line}" for line in check_lines(mine))]
    return "\n\n".join(p for p in parts if p) + "\n"


def chart(rows):
    """An SVG of the speeds of generation, model by model."""
    groups = []
    for model in in_order(r["model"] for r in rows):
        mine = of(rows, model=model)
        for test in in_order(r["test"] for r in mine if r["test"].startswith("tg")):
            groups.append((f"{model}, {test}", [(p, middle(mine, "tokens_per_second", program=p, test=test))
                                                for p in in_order(r["program"] for r in of(mine, test=test))]))
    return bars("tokens per second", groups)


def main():
    o = arguments()
    os.makedirs(o.results, exist_ok=True)
    base = os.path.join(o.results, o.name)
    if o.rows:
        rows = read_rows(o.rows)
    else:
        need_program(o.halyard)
        for model in o.models:
            if not os.path.isfile(model):
                fail(f"{model} is not a file")
        rows = measure(o, base)
    if not rows:
        fail("nothing was measured")
    write_report(base, report(rows), chart(rows))
    print(f"written: {base}.md, .svg" + ("" if o.rows else ", .csv, -phases.csv"))


if __name__ == "__main__":
    main()
