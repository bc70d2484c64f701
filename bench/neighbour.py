#!/usr/bin/env python3
"""neighbour.py: what a busy neighbour costs.

Measures generation with one thread and with N threads while another process keeps one of N cores busy, and without it.
A program whose threads wait for each other in every phase can be slower with two threads than with one then; N
threads beside a neighbour should keep at least 0.8 of what one thread reaches beside it.  Exits with 1 if not.
"""
import argparse
import os
import subprocess
import sys

from measure import HALYARD, File, bench_json, fail, machine, median, need_program, speed, table

BUSY = "while True: pass"


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("model", metavar="MODEL.gguf")
    a.add_argument("--halyard", default=HALYARD, metavar="PROGRAM", help="default: build/release/halyard")
    a.add_argument("--llama-bench", metavar="PROGRAM", help="measure it too")
    a.add_argument("-t", "--threads", type=int, default=2, metavar="N", help="threads and cores (2)")
    a.add_argument("-n", "--n-gen", type=int, default=32, metavar="N")
    a.add_argument("-r", "--rounds", type=int, default=5, metavar="N")
    a.add_argument("--best", action="store_true", help="fastest rounds in place of medians, for a busy machine")
    a.add_argument("--least", type=float, default=0.8, metavar="X", help="least ratio (0.8)")
    return a.parse_args()


def generation(program, o, threads):
    command = [*program, "-m", o.model, "-p", "0", "-n", str(o.n_gen), "-t", str(threads), "-r", "1", "-o", "json"]
    return bench_json(command)


def measure(program, o, threads, core):
    """Tokens per second; beside a process that keeps `core` busy, unless that is None."""
    neighbour = None
    if core is not None:
        neighbour = subprocess.Popen([sys.executable, "-c", BUSY], preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        tests = generation(program, o, threads)
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()
    return tests


def main():
    o = arguments()
    programs = {"halyard": [need_program(o.halyard), "bench"]}
    if o.llama_bench:
        programs["llama.cpp"] = [need_program(o.llama_bench)]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < o.threads:
        fail(f"{o.threads} cores are needed, this process may use {len(cores)}")
    os.sched_setaffinity(0, cores[:o.threads])  # of the programs too
    busy = cores[o.threads - 1]
    file = File(o.model)
    cases = [(1, None), (o.threads, None), (1, busy), (o.threads, busy)]
    speeds = {(name, case): [] for name in programs for case in cases}
    tests = []
    for _ in range(o.rounds):
        for case in cases:
            for name, program in programs.items():
                tests = measure(program, o, *case)
                file.check(tests, name)
                speeds[name, case].append(speed(tests[0]))
    rows = []
    good = True
    middle = max if o.best else median
    for name in programs:
        one, all_, one_busy, all_busy = (middle(speeds[name, case]) for case in cases)
        rows.append([name, *(f"{x:.2f}" for x in (one, all_, one_busy, all_busy)), f"{all_busy / one_busy:.2f}"])
        good = good and (name != "halyard" or all_busy >= o.least * one_busy)
    print(f"{file.name}, {machine(tests)}; tg{o.n_gen}, {'best' if o.best else 'medians'} of {o.rounds} rounds, tokens per second\n")
    n = o.threads
    print(table(["program", "1 thread", f"{n} threads", "1 thread, busy", f"{n} threads, busy", f"{n} to 1, busy"], rows))
    print(f"\n{'ok' if good else 'too slow'}: at least {o.least} is wanted")
    sys.exit(not good)


if __name__ == "__main__":
    main()
