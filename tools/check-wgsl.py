#!/usr/bin/env python3
"""check-wgsl.py FOLDER: compiles every .wgsl file under a folder, with all of its entry points.

The compiler is Dawn's, behind its Null backend: it checks and translates, and needs no GPU.  Prints what it
complains about; the exit code is 1 if it complains about anything, or if there is nothing to check.
"""
import os
import re
import sys

os.environ["WGPU_BACKEND_TYPE"] = "Null"
import wgpudawn  # noqa: E402  (reads the variable)


def complaints(device, text):
    """Messages about one shader."""
    try:
        module = device.create_shader_module(code=text)
        entries = re.findall(r"@compute[^{]*?fn (\w+)", text)
        if not entries:
            return ["no entry point"]
        for entry in entries:
            device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": entry})
    except wgpudawn.GPUError as error:
        return [str(error)]
    return []


def main(folder):
    device = wgpudawn.gpu.request_adapter_sync().request_device_sync()
    paths = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(".wgsl"))
    seen = set()
    bad = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        # Layers differ in names alone, which stand in comments: each text once.
        code = re.sub(r"//.*", "", text)
        if code in seen:
            continue
        seen.add(code)
        for message in complaints(device, text):
            print(f"{path}: {message}")
            bad += 1
    print(f"{len(paths)} kernels, {len(seen)} of them different, {bad} with errors")
    return 1 if bad or not paths else 0


if len(sys.argv) != 2:
    sys.exit(__doc__)
sys.exit(main(sys.argv[1]))
