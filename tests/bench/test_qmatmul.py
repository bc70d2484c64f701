"""test_qmatmul.py: how bench/qmatmul.py starts the program that measures, and the tables and chart that it makes of rows."""
import contextlib
import csv
import io
import os
import stat
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))

import qmatmul  # noqa: E402  (found by the line above)

HEAD = ("library,gpu,type,rows,cols,columns,file_bytes,gpu_bytes,us,gb_per_second,tflops,read_share,limit_share,"
        "read_gb_per_second,limit,limit_tflops,error,sets,kernel\n")
ROWS = HEAD + """\
"Dawn","G, Vulkan",Q4_K,64,256,1,9216,10240,4.000,2.304,0.0082,0.5120,0.0001,4500.0,packed dot int8,122,0.01,9,"main Q4_K, 256 lanes, dot; 1 column each"
"Dawn","G, Vulkan",Q4_K,64,256,512,9216,10240,100.000,0.092,200.5,0.0200,0.3109,4500.0,subgroup matrices f16,645,0.001,9,"main Q4_K, 256 lanes, subgroup matrices; 128 columns each"
"Dawn","G, Vulkan",IQ1_S,64,256,1,3200,32768,8.000,0.4,0.0041,0.1000,0.0001,4500.0,f32,60,0.001,9,"main F16, 256 lanes; 1 column each"
"""


class Words(unittest.TestCase):
    def test_command(self):
        o = qmatmul.arguments(["--program", "p", "--types", "Q4_K,F16", "--between", "5"])
        self.assertEqual(qmatmul.command(o, "dawn"), ["p", "dawn", "--types", "Q4_K,F16", "--between", "5"])
        o = qmatmul.arguments(["--program", "p", "--quick", "--columns", "3"])
        words = qmatmul.command(o, "wgpu")
        self.assertEqual(words[:2] + words[-2:], ["p", "wgpu", "--columns", "3"])
        self.assertIn("--shapes", words)


class Whole(unittest.TestCase):
    def run_main(self, words):
        errors, text = io.StringIO(), io.StringIO()
        sys.argv = ["qmatmul.py"] + words
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(errors):
            qmatmul.main()
        return text.getvalue(), errors.getvalue()

    def test_run(self):
        """A program that prints rows for one library and breaks down for the other after some; read back, all is the same."""
        with tempfile.TemporaryDirectory() as folder:
            program, both = os.path.join(folder, "program"), "\n".join(ROWS.splitlines()[:2])
            with open(program, "w") as f:
                f.write(f"#!/bin/sh\nif [ $1 = dawn ]; then cat <<'END'\n{ROWS}END\nexit; fi\nsed s/Dawn/wgpu-native/ <<'END'\n"
                        f"{both}\nEND\nexit 3\n")
            os.chmod(program, os.stat(program).st_mode | stat.S_IXUSR)
            text, errors = self.run_main(["--program", program, "--results", folder, "--name", "x"])
            self.assertEqual(errors, "wgpu ended with 3\n")
            with open(os.path.join(folder, "x.csv"), newline="") as f:
                rows = list(csv.DictReader(f))
            self.assertEqual([(r["library"], r["type"], r["columns"]) for r in rows],
                             [("Dawn", "Q4_K", "1"), ("Dawn", "Q4_K", "512"), ("Dawn", "IQ1_S", "1"), ("wgpu-native", "Q4_K", "1")])
            again, _ = self.run_main(["--from", os.path.join(folder, "x.csv"), "--results", folder, "--name", "y"])
            self.assertEqual(text.splitlines()[:-1], again.splitlines()[:-1])
            lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
            self.assertIn(["Q4_K", "100.0", "0.092", "2.0 %", "200.5", "31.1 %", "subgroup matrices f16",
                           "main Q4_K, 256 lanes, subgroup matrices; 128 columns each"], lines)
            self.assertIn("1 column", [line[0] for line in lines])
            self.assertIn("reads 4500.0 GB/s; 122 T/s packed dot int8; 645 T/s subgroup matrices f16; 60 T/s f32", text)
            with open(os.path.join(folder, "y.svg")) as f:
                root = xml.fromstring(f.read())
            # Two libraries with one column, one with 512; what is kept as F16 is left out.
            bars = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("x")]
            self.assertEqual(len(bars), 3)

    def test_nothing(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(SystemExit) as e:
            self.run_main(["--program", "/bin/true", "--results", folder])
        self.assertIn("nothing was measured", str(e.exception))


if __name__ == "__main__":
    unittest.main()
