#!/usr/bin/env python3
"""check-wgsl.py NAGA PROGRAM SHARED: lets two compilers check the kernels of the WebGPU backend.

Kernels are what `PROGRAM plan --wgsl` writes: those of every adapter that the backend distinguishes, as Dawn
and as wgpu-native get them, and phases rendered alone; of every model of the repository and of the folder
SHARED, and of one of each architecture in every tensor type, fused and not.  Files of src/ are checked too,
parts of kernels behind the files that they say they need.  Equal texts are checked once.

The compilers are Dawn's (Tint) behind its Null backend, which needs no GPU, and naga (NAGA is its program).  Dawn also
makes the pipelines, on a device with the limits that every device has: texts of the floor must keep to them.

Prints what they complain about; the exit code is 1 if they do, or if there is nothing to check.  Before, each is
given broken texts, all of which it must refuse.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

os.environ["WGPU_BACKEND_TYPE"] = "Null"
import wgpudawn  # noqa: E402  (reads the variable)
from wgpudawn.backends.dawn.extras import set_instance_extras  # noqa: E402

TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K IQ4_NL".split()
ARCHITECTURES = [
    "tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf",
    "tests/golden/mini/llama-mini-Q3_K_M.gguf",
    "tests/golden/mini/qwen3-mini-Q4_K_M.gguf",
    "tests/golden/arwkv7/arwkv7-plain-Q8_0.gguf",
    "tests/golden/arwkv7/arwkv7-gate-norm-Q4_0.gguf",
    "tests/golden/qwen2/qwen2.gguf",
]
FUSIONS = ["", "all", "norm,shift"]
FORMS = ["no-codes", "no-planes", "no-lanes"]  # plain ways of multiplying, where every operation is alone
PARTS = "src/backend/webgpu/kernels/"
FLOOR_BUFFERS = 8


# ---- texts


class Texts:
    """Of each library: text -> (where it came from, whether it must keep to the limits of every device)."""

    def __init__(self):
        self.of = {"dawn": {}, "wgpu": {}}

    def add(self, name, text, libraries=("dawn", "wgpu"), floor=False):
        for library in libraries:
            _, before = self.of[library].setdefault(text, (name, floor))
            if floor and not before:
                self.of[library][text] = (name, True)

    def add_folder(self, folder, model):
        for entry in os.scandir(folder):
            with open(entry.path, encoding="utf-8") as file:
                text = file.read()
            os.unlink(entry.path)
            library = entry.name.split(".")[-2]
            if library == "wgpu" and "subgroup_matrix" in text:
                continue  # wgpu-native has none, and naga no line for them
            self.add(f"{model} {entry.name}", text, (library,) if library in self.of else tuple(self.of),
                     entry.name.startswith("floor-"))  # fmt: skip


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}\n{done.stdout}")


def make_models(program, folder):
    """One of each architecture in every type."""
    for path in ARCHITECTURES:
        for kind in TYPES:
            out = os.path.join(folder, f"{os.path.basename(path)[:-5]}-as-{kind}.gguf")
            run(program, "quantize", "--allow-requantize", path, out, kind)
            yield out


def collect(program, model, made, texts):
    """made: only in another type than a model that is there; phases that are rendered alone have no types."""
    name = os.path.basename(model)
    with tempfile.TemporaryDirectory() as folder:
        plan = [program, "plan", model, "--wgsl", folder]
        for options in [["--adapter", "all"], ["--adapter", "all", "--gpu-mask", "no-dot"]]:
            run(*plan, *options)
            texts.add_folder(folder, " ".join([name] + options))
        for form in FORMS:
            for adapter in ["floor", "subgroups-32"]:
                options = ["--no-fuse", "all", "--gpu-mask", form, "--adapter", adapter]
                run(*plan, *options)
                texts.add_folder(folder, " ".join([name] + options))
        for fusion in [] if made else FUSIONS:
            options = ["--no-fuse", fusion] if fusion else []
            for adapter in [["--backend", "null"]] + ([["--adapter", "all"]] if fusion else []):
                run(*plan, *options, *adapter)
                texts.add_folder(folder, " ".join([name] + options))


# What a kernel must say in front of its text, as hy__gpu_head does; wgpu-native has subgroups without a line, and no
# matrices of them.
HEADS = {
    "f16": {"dawn": "enable f16;\n", "wgpu": "enable f16;\n"},
    "subgroups": {"dawn": "enable subgroups;\n", "wgpu": ""},
    "matrices": {"dawn": "enable chromium_experimental_subgroup_matrix;\n"
                 "diagnostic(off, chromium.subgroup_matrix_uniformity);\n"},
}  # fmt: skip


def add_sources(texts):
    """A file whose first line says `// behind A, B` is a part of kernels, one with `// uses A, B` needs lines in front."""
    n = 0
    for path in sorted(glob.glob("src/**/*.wgsl", recursive=True)):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        behind = re.match(r"// behind (.*)\n", text)
        before = ""
        for name in behind[1].split(", ") if behind else []:
            with open(PARTS + name, encoding="utf-8") as file:
                before += file.read()
        uses = re.match(r"// uses (.*)\n", text)
        heads = [HEADS[name] for name in (uses[1].split(", ") if uses else [])]
        for library in ("dawn", "wgpu"):
            if all(library in head for head in heads):
                head = "".join(head[library] for head in heads)
                texts.add(path, head + before + text, (library,), floor="matrices" not in text)
        n += 1
    return n


# ---- compilers


class Tint:
    """Dawn's compiler, and its pipelines at the limits of every device."""

    def __init__(self):
        set_instance_extras(enable_toggles=["allow_unsafe_apis"])  # for matrices of subgroups
        self.plain = wgpudawn.gpu.request_adapter_sync().request_device_sync()
        able = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]
        self.able = wgpudawn.gpu.request_adapter_sync().request_device_sync(required_features=able)
        self.large = 0

    def complaint(self, text, floor):
        """A message about a text, or None.  floor: it must have pipelines."""
        device = self.able if re.search(r"^enable ", text, re.M) else self.plain
        try:
            module = device.create_shader_module(code=text)
            for entry in re.findall(r"@compute[^{]*?fn (\w+)", text):
                device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": entry})
        except wgpudawn.GPUError as error:
            message = str(error)
            if floor or not self.is_large(message):
                return message
            self.large += 1
        return None

    @staticmethod
    def is_large(message):
        """Whether a text only asks for more than every device has.  The program itself makes no kernels for more buffers
        and invocations than a device has; its adapters have 48 KiB of workgroup memory at most.  The Null backend says
        that its subgroups may have 128 lanes, and has matrices of none but one shape."""
        storage = re.search(r"total use of workgroup storage \((\d+) bytes\)", message)
        if storage:
            return int(storage[1]) <= 49152
        return re.search(
            r"workgroup_size\(.*\) that exceeds|number of storage buffers .* exceeds|multiple of the device maxSubgroupSize|"
            r"subgroup matrix.*not supported",
            message,
        )


class Naga:
    MOST_FILES = 400  # of a command line

    def __init__(self, program):
        self.program = program

    def complaints(self, texts):
        """For each text a message, or None; of good texts many are checked at once."""
        out = []
        for at in range(0, len(texts), self.MOST_FILES):
            some = texts[at : at + self.MOST_FILES]
            out += [None] * len(some) if self.message(some) is None else [self.message([text]) for text in some]
        return out

    def message(self, texts):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for text in texts:
                paths.append(os.path.join(folder, f"{len(paths)}.wgsl"))
                with open(paths[-1], "w", encoding="utf-8") as file:
                    file.write(text)
            done = subprocess.run(
                [self.program, "--bulk-validate", *paths],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
        return None if done.returncode == 0 else done.stdout


# ---- whether they complain at all

GOOD = """@group(0) @binding(0) var<storage, read_write> a: array<f32>;
var<workgroup> shared_by: array<f32, 4096>;
@compute @workgroup_size(256) fn run(@builtin(local_invocation_index) lane: u32) {
    shared_by[lane] = a[lane];
    workgroupBarrier();
    a[lane] = shared_by[255u - lane];
}
"""
# What is replaced in GOOD, and who must refuse the result.
BROKEN = [
    ("a[lane];", "a[lane]", "dawn wgpu"),  # a missing semicolon
    ("255u - lane", "255.5", "dawn wgpu"),  # a type
    ("shared_by[lane]", "unknown[lane]", "dawn wgpu"),
    ("    workgroupBarrier", "    if (a[lane] > 0.0) { return; } workgroupBarrier", "dawn"),
    ("    workgroupBarrier", "    a[0] = subgroupAdd(a[lane]); workgroupBarrier", "dawn"),  # without `enable`
    ("@group", "enable subgroups;\n@group", "wgpu"),
    ("@group", "var<private> h: f16;\n@group", "dawn wgpu"),  # without `enable`
    ("f32, 4096>", "f32, 4097>", "dawn"),  # above the limits of every device, as are the next two
    ("_size(256)", "_size(257)", "dawn"),
    ("    shared_by[lane]", "".join(f"    a[1] += b{i}[lane];\n" for i in range(FLOOR_BUFFERS)) + "    shared_by[lane]", "dawn"),
]  # fmt: skip
BUFFERS = "".join(f"@group(0) @binding({1 + i}) var<storage, read> b{i}: array<f32>;\n" for i in range(FLOOR_BUFFERS))


def check_compilers(tint, naga):
    """Ends the program if a compiler takes a broken text or refuses a good one."""
    for text in (GOOD, "enable f16;\n" + GOOD.replace("a[lane];", "f32(f16(a[lane]));")):
        for name, message in (("Tint", tint.complaint(text, True)), ("naga", naga.message([text]))):
            if message:
                sys.exit(f"{name} refuses a text that is right: {message}")
    for old, new, whom in BROKEN:
        assert old in GOOD
        text = BUFFERS + GOOD.replace(old, new, 1) if "b0" in new else GOOD.replace(old, new, 1)
        text = re.sub(r"^(.*)^(enable .*?\n)", r"\2\1", text, flags=re.M | re.S)
        if "dawn" in whom and not tint.complaint(text, True):
            sys.exit(f"Tint takes a broken text ({old} became {new})")
        if "wgpu" in whom and naga.complaints([GOOD, text])[1] is None:
            sys.exit(f"naga takes a broken text ({old} became {new})")


def main(naga_program, program, shared):
    tint, naga = Tint(), Naga(naga_program)
    check_compilers(tint, naga)
    texts = Texts()
    n_files = add_sources(texts)
    # What threads do is to wait for programs; Tint is part of this one.
    with ThreadPoolExecutor(os.cpu_count()) as pool, tempfile.TemporaryDirectory() as folder:
        models = ["models/halyard-tiny-rwkv7-Q4_K_M.gguf"]
        models += sorted(glob.glob("tests/golden/*/*.gguf")) + sorted(glob.glob(shared + "/golden/mini/*.gguf"))
        made = list(make_models(program, folder))
        for done in [pool.submit(collect, program, model, model in made, texts) for model in models + made]:
            done.result()
        by_naga = pool.submit(naga.complaints, list(texts.of["wgpu"]))
        by_tint = [tint.complaint(text, floor) for text, (_, floor) in texts.of["dawn"].items()]
        told = [("Tint", *of) for of in zip(texts.of["dawn"].values(), by_tint)]
        told += [("naga", *of) for of in zip(texts.of["wgpu"].values(), by_naga.result())]
    bad = [f"{compiler}, {name}:\n{message}" for compiler, (name, _), message in told if message]
    if bad:
        print("\n".join(bad[:20]))
    n = len(texts.of["dawn"]), len(texts.of["wgpu"])
    print(f"wgsl: {len(models) + len(made)} models, {n_files} files of src; {n[0]} texts to Tint ({tint.large} of them need more "
          f"than every device has: no pipelines), {n[1]} to naga; {len(bad)} with errors")  # fmt: skip
    return 1 if bad or min(n) == 0 else 0


if len(sys.argv) != 4:
    sys.exit(__doc__)
sys.exit(main(*sys.argv[1:]))
