#!/usr/bin/env python3
"""run_kernels.py PROGRAM MODEL...: runs the rendered kernels of models on this machine's GPU, or on a software one.

PROGRAM is build/.../tests/unit/dump_kernels; models are paths from the top of the repository.  Each kernel runs in one
step, fused and not, on what the reference backend computed before it, and must give what that computed, up to 1e-5 of
the largest number.  Needs the packages of tools/wgsl-requirements.txt and numpy, and a Vulkan driver (a software one will
do: VK_DRIVER_FILES names SwiftShader's vk_swiftshader_icd.json).
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

TOKENS, OUTPUTS = 5, 3
MOST = 1e-5


def bindings(text):
    """{name: (number, access)} of a kernel."""
    found = re.finditer(r"@binding\((\d+)\) var<(uniform|storage, read|storage, read_write)> (\w+):", text)
    return {m[3]: (int(m[1]), m[2]) for m in found}


def used_by(text, entry):
    """Names that an entry point uses itself or through functions: its automatic layout has no others."""
    starts = list(re.finditer(r"^fn (\w+)\(", text, re.M))
    bodies = {m[1]: text[m.end():n.start() if n else len(text)] for m, n in zip(starts, starts[1:] + [None])}
    seen, todo = set(), [entry]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            words = set(re.findall(r"\w+", bodies[name]))
            todo += [f for f in bodies if f in words]
    return {b for b in bindings(text) if any(b in re.findall(r"\w+", bodies[f]) for f in seen)}


def run(wgpu, np, device, path):
    """Largest difference of a kernel's results."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    usage = wgpu.BufferUsage
    buffers, written = {}, {}
    for name, (number, access) in bindings(text).items():
        if access == "uniform":
            buffers[name] = device.create_buffer_with_data(
                data=np.array([TOKENS, OUTPUTS], np.uint32).tobytes(), usage=usage.UNIFORM)
            continue
        content = np.fromfile(path[:-len("wgsl")] + name, np.float32)
        if access == "storage, read":
            buffers[name] = device.create_buffer_with_data(data=content.tobytes(), usage=usage.STORAGE)
        else:
            buffers[name] = device.create_buffer(size=content.nbytes, usage=usage.STORAGE | usage.COPY_SRC)
            written[name] = content
    module = device.create_shader_module(code=text)
    columns = OUTPUTS if "* step.n_outputs + t" in text else TOKENS
    encoder = device.create_command_encoder()
    for entry, groups in re.findall(r"^// Dispatch of (\w+): (\d+) workgroups", text, re.M):
        pipeline = device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": entry})
        entries = [{"binding": bindings(text)[name][0], "resource": {"buffer": buffers[name]}}
                   for name in used_by(text, entry)]
        bound = device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
        work = encoder.begin_compute_pass()
        work.set_pipeline(pipeline)
        work.set_bind_group(0, bound)
        work.dispatch_workgroups(int(groups), columns)
        work.end()
    device.queue.submit([encoder.finish()])
    worst = 0.0
    for name, want in written.items():
        got = np.frombuffer(device.queue.read_buffer(buffers[name]), np.float32)
        off = float(np.abs(got - want).max() / np.abs(want).max())
        worst = max(worst, off if np.isfinite(got).all() else float("inf"))
    return worst


def main(program, models):
    try:
        import numpy as np
        import wgpudawn as wgpu
        device = wgpu.gpu.request_adapter_sync().request_device_sync()
    except (ImportError, RuntimeError) as error:
        sys.exit(f"{error}\n\n{__doc__}")
    bad = 0
    for model in models:
        for left_out in ("", "norm,shift", "all"):
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([program, model, folder] + ([left_out] if left_out else []), check=True)
                results = {path: run(wgpu, np, device, path) for path in sorted(glob.glob(os.path.join(folder, "*.wgsl")))}
            print(f"{model} without {left_out or 'nothing'}: {len(results)} kernels, off by at most {max(results.values()):.2g}")
            for path, off in results.items():
                if not off <= MOST:
                    print(f"    {os.path.basename(path)}: off by {off:.2g}")
                    bad += 1
    return 1 if bad else 0


if len(sys.argv) < 3:
    sys.exit(__doc__)
sys.exit(main(sys.argv[1], sys.argv[2:]))
