#!/usr/bin/env python3
"""first_token.py: how long a program takes from its start to its first token, and how much memory it needs.

Starts the program anew for each round, prompt and all, and takes the time until the first byte of the answer; the memory
at that moment (of its own, and pages of the model file), and the largest at the end.  --cold drops the file from the
page cache before each round, as far as the system follows (nobody else may have it mapped).  --cold-kernels keeps no
compiled kernels, neither Halyard's nor (NVIDIA, Mesa) the driver's.
"""
import argparse
import os
import subprocess
import time

from measure import HALYARD, File, fail, median, need_program, table

PROMPT = "The sea was calm that morning, and the old man sat down in front of his boat."

NO_DRIVER_CACHE = {"__GL_SHADER_DISK_CACHE": "0", "MESA_SHADER_CACHE_DISABLE": "true"}


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("model", metavar="MODEL.gguf")
    a.add_argument("--halyard", default=HALYARD, metavar="PROGRAM", help="default: build/release/halyard")
    a.add_argument("--llama-completion", metavar="PROGRAM", help="measure it too")
    a.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    a.add_argument("-c", "--ctx-size", type=int, default=4096, metavar="N", help="positions of a transformer's cache (4096)")
    a.add_argument("-n", "--n-predict", type=int, default=8, metavar="N", help="tokens to generate (8)")
    a.add_argument("-r", "--rounds", type=int, default=5, metavar="N")
    a.add_argument("-p", "--prompt", default=PROMPT, metavar="TEXT")
    a.add_argument("--cold", action="store_true", help="the file is not in the page cache")
    a.add_argument("--backend", metavar="NAME", help="Halyard's, in place of its own choice")
    a.add_argument("--cold-kernels", action="store_true", help="compile the kernels of a GPU anew")
    return a.parse_args()


def drop_from_cache(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def memory_now(pid):
    """MiB of own memory and of pages of files, by the names of /proc; None where there is none."""
    found = {}
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                name, _, rest = line.partition(":")
                if name in ("RssAnon", "RssFile"):
                    found[name] = int(rest.split()[0]) / 1024
    except OSError:
        pass
    return found.get("RssAnon"), found.get("RssFile")


def once(command, env=None):
    """(seconds to the first byte, own MiB, file MiB, largest MiB in all)"""
    start = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             env=env)
    first = child.stdout.read(1)
    seconds = time.monotonic() - start
    own, pages = memory_now(child.pid)
    child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status != 0 or not first:
        fail(f"{' '.join(command)} ended with status {status}")
    return seconds, own, pages, usage.ru_maxrss / 1024


def show(values, form):
    known = [v for v in values if v is not None]
    return form.format(median(known)) if known else ""


def main():
    o = arguments()
    rest = ["-m", o.model, "-p", o.prompt, "-n", str(o.n_predict), "-t", str(o.threads), "-c", str(o.ctx_size),
            "--temp", "0"]
    programs = {"halyard": [need_program(o.halyard), "run", *rest, "--no-display-prompt", "--ignore-eos"]}
    if o.backend:
        programs["halyard"] += ["--backend", o.backend]
    if o.cold_kernels:
        programs["halyard"] += ["--kernel-cache", "none"]
    environment = dict(os.environ, **NO_DRIVER_CACHE) if o.cold_kernels else None
    if o.llama_completion:
        programs["llama.cpp"] = [need_program(o.llama_completion), *rest, "-no-cnv", "--no-display-prompt", "--ignore-eos"]
    file = File(o.model)
    results = {name: [] for name in programs}
    for _ in range(o.rounds):
        for name, command in programs.items():
            if o.cold:
                drop_from_cache(o.model)
            results[name].append(once(command, environment))
    rows = []
    for name, rounds in results.items():
        seconds, own, pages, peak = zip(*rounds)
        rows.append([name, f"{1000 * median(seconds):.0f}", f"{1000 * min(seconds):.0f}", show(own, "{:.0f}"),
                     show(pages, "{:.0f}"), show(peak, "{:.0f}"), f"{median(peak) * 1048576 / file.stat[2]:.2f}"])
    print(f"{file.name}, {file.stat[2] / 1048576:.0f} MiB, {'not ' if o.cold else ''}in the page cache; {o.threads} threads, "
          f"{len(o.prompt)} bytes of prompt; medians of {o.rounds} rounds\n")
    print(table(["program", "first token ms", "best ms", "own MiB", "file MiB", "peak MiB", "peak / file"], rows))


if __name__ == "__main__":
    main()
