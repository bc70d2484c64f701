#!/usr/bin/env python3
"""Makes the models of this folder, and index.jsonl: small random ARWKV-7 models. Needs: numpy, gguf.

usage: make.py           writes the models (the same bytes every time) and index.jsonl
       make.py PROGRAM   also asks PROGRAM for the logits of the weights decoded to F32. It is run as `PROGRAM MODEL ub=1`
                         (one token at a time) and reads lines "L FILE ID..." from its standard input: write the logits
                         after every id into FILE, as f32 [n][vocabulary].

256 tokens, one for each byte. Weights have a size that keeps the logits near 1 to 2.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFWriter
from gguf.quants import dequantize, quantize

HERE = Path(__file__).resolve().parent
L, C, N, V = 3, 128, 64, 256  # layers, channels, channels of a head, vocabulary
MODELS = {  # encoding of the large matrices, feed-forward, rank; gate and group norm or neither
    "arwkv7-gate-norm-Q4_0": dict(seed=1, big=T.Q4_0, head=T.Q8_0, F=192, rank=16, gate=True, norm=True),
    "arwkv7-plain-Q8_0": dict(seed=2, big=T.Q8_0, head=T.Q8_0, F=96, rank=8, gate=False, norm=False),
}
IDS = list(b"State 7: \xc3\xa9\xe4\xb8\x96 a recurrence inside a transformer -- 0123\n\n\x00\xff {end}")


def tensors(seed, big, head, F, rank, gate, norm):
    """yields name, type and values; shapes are those of NumPy: rows first"""
    rng = np.random.Generator(np.random.PCG64(seed))

    def normal(*shape, std=1.0, mean=0.0):
        return (mean + std * rng.standard_normal(shape)).astype(np.float32)

    yield "token_embd.weight", big, normal(V, C)
    for i in range(L):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", T.F32, normal(C, mean=1, std=0.1)
        planes = 6 if gate else 5
        yield b + "time_mix_lerp_fused.weight", T.F32, rng.uniform(0, 1, (planes, 1, 1, C)).astype(np.float32)
        yield b + "time_mix_w0.weight", T.F32, rng.uniform(-6.5, -0.5, C).astype(np.float32)
        yield b + "time_mix_a0.weight", T.F32, normal(C, mean=-0.5, std=0.5)
        yield b + "time_mix_v0.weight", T.F32, normal(C, std=0.5)
        for k in "wavg" if gate else "wav":
            yield f"{b}time_mix_{k}1.weight", T.F16, normal(rank, C, std=C ** -0.5)
            yield f"{b}time_mix_{k}2.weight", T.F16, normal(C, rank, std=(2 if k == "g" else 0.7) * rank ** -0.5)
        yield b + "time_mix_k_k.weight", T.F32, normal(C, mean=0.85, std=0.1)
        yield b + "time_mix_k_a.weight", T.F32, normal(C, mean=1, std=0.1)
        yield b + "time_mix_r_k.weight", T.F32, normal(C, std=0.1)
        for k in ("receptance", "key", "value"):
            yield f"{b}time_mix_{k}.weight", big, normal(C, C, std=C ** -0.5)
        if norm:
            yield b + "time_mix_ln.weight", T.F32, normal(C, mean=1, std=0.1)
            yield b + "time_mix_ln.bias", T.F32, normal(C, std=0.1)
        # Without the norm, r S k grows with the root of the head.
        yield b + "time_mix_output.weight", big, normal(C, C, std=(1 if norm else 0.2) * C ** -0.5)
        yield b + "ffn_norm.weight", T.F32, normal(C, mean=1, std=0.1)
        yield b + "ffn_gate.weight", big, normal(F, C, std=C ** -0.5)
        yield b + "ffn_up.weight", big, normal(F, C, std=C ** -0.5)
        yield b + "ffn_down.weight", big, normal(C, F, std=F ** -0.5)
    yield "output_norm.weight", T.F32, normal(C, mean=1, std=0.1)
    yield "output.weight", head, normal(V, C, std=1.5 * C ** -0.5)


def write(path, model, decoded):
    """The model; with every weight decoded to F32 if `decoded`."""
    w = GGUFWriter(path, "arwkv7")
    w.add_name(Path(path).stem + " (random weights)")
    w.add_context_length(1048576)
    w.add_embedding_length(C)
    w.add_block_count(L)
    w.add_feed_forward_length(model["F"])
    w.add_layer_norm_rms_eps(1e-2)  # so large that another value shows
    w.add_wkv_head_size(N)
    w.add_decay_lora_rank(model["rank"])
    w.add_iclr_lora_rank(model["rank"])
    w.add_value_residual_mix_lora_rank(model["rank"])
    w.add_gate_lora_rank(model["rank"] if model["gate"] else 0)
    w.add_token_shift_count(1)
    w.add_head_count(0)
    w.add_tokenizer_model("rwkv")
    w.add_token_list([repr(bytes([i]))[2:-1] for i in range(V)])
    w.add_token_types([1] * V)
    for name, kind, values in tensors(**model):
        data = quantize(values, kind)
        if decoded:
            w.add_tensor(name, dequantize(data, kind).astype(np.float32).reshape(values.shape))
        else:
            w.add_tensor(name, data, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    with tempfile.TemporaryDirectory() as tmp, open(HERE / "index.jsonl", "w") as index:
        for name, model in MODELS.items():
            write(HERE / f"{name}.gguf", model, False)
            index.write(json.dumps({"model": f"{name}.gguf", "ids": IDS, "n_vocab": V}) + "\n")
            if len(sys.argv) > 1:
                write(f"{tmp}/{name}.gguf", model, True)
                logits = HERE / f"{name}.logits.f32"
                subprocess.run([sys.argv[1], f"{tmp}/{name}.gguf", "ub=1"], check=True, text=True,
                               input=f"L {logits} {' '.join(map(str, IDS))}\n")
                x = np.fromfile(logits, "<f4").reshape(len(IDS), V)
                print(f"{name}: rms of the logits {np.sqrt((x ** 2).mean()):.2f}")


main()
