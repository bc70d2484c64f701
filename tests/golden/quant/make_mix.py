#!/usr/bin/env python3
"""Records what llama-quantize does with the models of tests/unit/test_quant_file.c: make_mix.py LLAMA_QUANTIZE TEST_PROGRAM

mix_types.txt: model, mix, tensor (with * for the layer), type, layers; every tensor that changes its type.
mix_files.txt: model, mix, crc64 of the whole file that is written, for the models that are not too large.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

MIXES = ("F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS MXFP4_MOE "
         "Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S Q2_0").split()
WHOLE = ["llama-rows-80", "llama-rows-96", "qwen2-fused", "experts-4"]


def crc64(data):
    """CRC-64/XZ."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0xC96C5795D7870F42 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def ranges(layers):
    if layers == [-1]:
        return "-"
    parts = []
    for layer in sorted(layers):
        if parts and parts[-1][1] == layer - 1:
            parts[-1][1] = layer
        else:
            parts.append([layer, layer])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def type_name(shown):
    return {"q2_k": "Q2_K", "q3_k": "Q3_K", "q4_k": "Q4_K", "q5_k": "Q5_K", "q6_k": "Q6_K"}.get(shown.lower(), shown.upper())


def types_of(quantize, model, mix):
    done = subprocess.run([quantize, "--dry-run", model, mix, "2"], capture_output=True, text=True)
    log = done.stdout + done.stderr
    groups = {}
    seen = set()
    for line in log.splitlines():
        m = re.match(r"\[ *\d+/ *\d+\] +(\S+) .*-> .*\((\w+)\)$", line)
        if m and m[1] not in seen:
            seen.add(m[1])
            layer = re.match(r"blk\.(\d+)\.", m[1])
            key = (re.sub(r"^blk\.\d+\.", "blk.*.", m[1]), type_name(m[2]))
            groups.setdefault(key, []).append(int(layer[1]) if layer else -1)
    return groups


def main():
    quantize, program = sys.argv[1:3]
    here = pathlib.Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder, open(here / "mix_types.txt", "w") as types, open(
            here / "mix_files.txt", "w") as files:
        subprocess.run([program, "--write-models", folder], check=True)
        for model in sorted(pathlib.Path(folder).glob("*.gguf")):
            for mix in MIXES:
                for (tensor, kind), layers in sorted(types_of(quantize, model, mix).items()):
                    print(model.stem, mix, tensor, kind, ranges(layers), file=types)
                if model.stem in WHOLE:
                    out = pathlib.Path(folder) / "out"
                    done = subprocess.run([quantize, model, out, mix, "2"], capture_output=True)
                    if done.returncode == 0:
                        print(model.stem, mix, f"{crc64(out.read_bytes()):016x}", file=files)


if __name__ == "__main__":
    main()
