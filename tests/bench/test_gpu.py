"""test_gpu.py: what bench/gpu.py reads from programs, and the tables and charts that it makes of it.

halyard.json was printed by `halyard bench -o json --profile` on a GPU made of software, most phases left out.
"""
import contextlib
import csv
import io
import json
import os
import stat
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))

import gpu  # noqa: E402  (found by the line above)

with open(os.path.join(HERE, "halyard.json")) as file:
    HALYARD = file.read()

LLAMA_LINES = """\
llama.cpp rwkv7-1.5b.gguf tg128 ub 512 fa -1 thr 4 median 323.52 tok/s best 324.01 tok/s ms/tok 3.0910 reused 126 logit_rms 2.049
llama.cpp rwkv7-1.5b.gguf pp512 ub 512 fa -1 thr 4 median 14784.10 tok/s best 14900.00 tok/s ms/tok 0.0676 reused 0 logit_rms 2.049
"""
WEB_LINES = """\
web-rwkv rwkv7-1.5b int8 tg128 chunk 128 median 146.00 tok/s best 147.00 tok/s
web-rwkv rwkv7-1.5b int8 pp512 chunk 128 median 1429.50 tok/s best 1500.00 tok/s
web-rwkv rwkv7-1.5b int8 pp512 chunk 512 median 2642.25 tok/s best 2700.00 tok/s
"""
LLAMA_JSON = json.dumps([{"n_prompt": 512, "n_gen": 0, "samples_ts": [10.0, 30.0, 20.0]},
                         {"n_prompt": 0, "n_gen": 128, "samples_ts": [5.0]}])


def row(**fields):
    return {**dict.fromkeys(gpu.FIELDS, ""), "round": "0", "model": "m", **{k: str(v) for k, v in fields.items()}}


class Reading(unittest.TestCase):
    def test_halyard(self):
        rows, phases = gpu.halyard_rows(HALYARD)
        self.assertEqual([r["test"] for r in rows], ["pp4", "tg8"])
        tg = rows[1]
        self.assertEqual(tg["version"], "0.1.0, wgpu-native 29.0.1.1")
        self.assertEqual(tg["gpu"], "llvmpipe (LLVM 15.0.6, 256 bits), Vulkan")
        self.assertGreater(tg["tokens_per_second"], 0)
        self.assertGreater(tg["dispatches_per_token"], 60)
        self.assertEqual(tg["check_agree"], tg["check_tokens"])
        self.assertLessEqual(set(tg), set(gpu.FIELDS))
        self.assertEqual([p["kind"] for p in phases], ["embed", "wkv7"] * 2)
        self.assertIn("256 lanes", phases[1]["kernels"])
        self.assertLessEqual(set(phases[0]), set(gpu.PHASE_FIELDS))

    def test_peers(self):
        self.assertEqual(gpu.peer_rows("load 1.0 s\n" + LLAMA_LINES),
                         [{"test": "tg128", "tokens_per_second": 323.52}, {"test": "pp512", "tokens_per_second": 14784.1}])
        self.assertEqual(gpu.peer_rows(WEB_LINES),
                         [{"test": "tg128", "tokens_per_second": 146.0}, {"test": "pp512", "tokens_per_second": 2642.25}])
        self.assertEqual(gpu.peer_rows(LLAMA_JSON),
                         [{"test": "pp512", "tokens_per_second": 20.0}, {"test": "tg128", "tokens_per_second": 5.0}])
        self.assertEqual(gpu.peer_rows("no test here: median 3 tok/s"), [])

    def test_commands(self):
        o = gpu.arguments(["a/m.gguf", "-p", "8,32", "-n", "16", "--peer", "web=bench {stem}.st int8 {tests}"])
        self.assertIsNone(gpu.peer_command(o.peers[0][1], o, "a/m.gguf"))
        with tempfile.TemporaryDirectory() as folder:
            stem = os.path.join(folder, "m")
            open(stem + ".st", "w").close()
            self.assertEqual(gpu.peer_command(o.peers[0][1], o, stem + ".gguf"),
                             ["bench", stem + ".st", "int8", "tg16", "pp8", "pp32"])
        self.assertEqual(gpu.peer_command("b -m {model} -p {prompts} -n {gens}", o, "a/m.gguf"),
                         ["b", "-m", "a/m.gguf", "-p", "8,32", "-n", "16"])
        o = gpu.arguments(["a/m.gguf", "-p", "0"])
        self.assertEqual(gpu.peer_command("b -p {prompts} {tests}", o, "a/m.gguf"), ["b", "-p", "0", "tg128"])
        for wrong in (["m.gguf", "--peer", "nameless"], [], ["m.gguf", "--from", "x.csv"]):
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
                gpu.arguments(wrong)


class Showing(unittest.TestCase):
    ROWS = [
        row(program="halyard dawn", test="tg128", tokens_per_second=1000, bytes_per_token=2e9, read_gb_per_second=4000,
            dispatches_per_token=150.5, submits_per_token=0.05, cpu_us_per_token=100, text_hash="aa", check_backend="cpu",
            check_tokens=32, check_agree=31, check_lead=0.001, gpu="G, Vulkan", version="1, Dawn"),
        row(program="halyard wgpu", test="tg128", tokens_per_second=900, text_hash="aa"),
        row(program="peer", test="tg128", tokens_per_second=500),
        row(program="peer", test="tg128", tokens_per_second=300, round="1"),
        row(program="halyard dawn", test="pp512", tokens_per_second=20000),
        row(program="peer", test="pp512", tokens_per_second=10000),
        row(program="halyard dawn", test=gpu.COLD, milliseconds=1500),
        row(program="halyard dawn", test=gpu.WARM, milliseconds=400),
    ]

    def test_report(self):
        text = gpu.report(self.ROWS)
        lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
        self.assertIn(["halyard dawn", "1000.0", "1000.0 to 1000.0", "", "2000.0", "2000.0", "50.0 %", "150.5", "0.050", "100.0",
                       "10.0 %"], lines)
        self.assertIn(["peer", "400.0", "300.0 to 500.0", "2.50", "", "", "", "", "", "", ""], lines)
        self.assertIn(["peer", "10000 (2.00)"], lines)
        for sentence in ("medians of 2 rounds", "the GPU reads 4000.0 GB/s", "all runs gave the same text",
                         "cpu chooses 31 of 32 tokens of the text, another one leads by 0.10 % of the rms at most",
                         "wgpu-native reaches 90.0 % of Dawn's speed", "first token after 1500 ms cold, 400 ms warm"):
            self.assertIn(sentence, text)

    def test_texts_that_differ(self):
        rows = self.ROWS + [row(program="halyard wgpu", test="tg128", tokens_per_second=900, text_hash="bb")]
        self.assertIn("runs gave 2 texts: aa, bb", gpu.report(rows))

    def test_chart(self):
        root = xml.fromstring(gpu.chart(self.ROWS))
        widths = [float(r.get("width")) for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("x")]
        self.assertEqual(len(widths), 3)
        self.assertAlmostEqual(widths[2] / widths[0], 0.4, places=3)


class Whole(unittest.TestCase):
    def program(self, folder, name, text, code=0):
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def test_time_is_up(self):
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "m.gguf")
            open(model, "w").close()
            sys.argv = ["gpu.py", model, "--halyard", self.program(folder, "halyard", HALYARD), "--seconds", "-1", "--results",
                        folder]
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as e:
                gpu.main()
            self.assertIn("nothing was measured", str(e.exception))

    def test_run(self):
        """Programs that print what was recorded; one that fails is left out; the rows are read back."""
        with tempfile.TemporaryDirectory() as folder:
            halyard = self.program(folder, "halyard", HALYARD)
            peer = self.program(folder, "peer", LLAMA_LINES.replace("tg128", "tg8"))
            self.program(folder, "halves", WEB_LINES, 3)
            model = os.path.join(folder, "m.gguf")
            open(model, "w").close()
            words = ["gpu.py", model, "--halyard", halyard, "--peer", f"peer={peer} {{model}} {{tests}}", "--peer",
                     f"broken={folder}/nothing", "--peer", f"half={folder}/halves", "-r", "2", "--results", folder, "--name", "x"]
            errors = io.StringIO()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                sys.argv = words
                gpu.main()
                sys.argv = ["gpu.py", "--from", os.path.join(folder, "x.csv"), "--results", folder, "--name", "y"]
                gpu.main()
            self.assertIn("m, broken: ", errors.getvalue())
            self.assertIn("halves ended with 3", errors.getvalue())
            with open(os.path.join(folder, "x.csv"), newline="") as f:
                rows = list(csv.DictReader(f))
            # Two rounds of two libraries and two peers with two tests each, and two first tokens of each library.
            self.assertEqual(len(rows), 2 * (2 * 2 + 2 * 2) + 2 * 2)
            with open(os.path.join(folder, "x-phases.csv"), newline="") as f:
                self.assertEqual(len(list(csv.DictReader(f))), 2 * 4)
            with open(os.path.join(folder, "x.md")) as f, open(os.path.join(folder, "y.md")) as g:
                self.assertEqual(f.read(), g.read())
            self.assertTrue(os.path.isfile(os.path.join(folder, "y.svg")))


if __name__ == "__main__":
    unittest.main()
