#!/usr/bin/env python3
"""Writes small models that reach every rule of the quantization mixes (pip install gguf numpy): make_mix_models.py FOLDER

The weights are random and the models are of no use but to compare_llama_quantize.sh.
"""
import pathlib
import sys

import gguf
import numpy as np


def write(path, arch, layers, rows, tensors, heads=4, kv_heads=2, experts=0, dtype=np.float32):
    rng = np.random.default_rng(7)
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(64)
    w.add_embedding_length(rows)
    w.add_feed_forward_length(rows)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(rows // heads)
    w.add_vocab_size(64)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
    for name, shape in tensors:
        x = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
        w.add_tensor(name, x.astype(np.float32 if len(shape) < 2 else dtype))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def dense(layers, n, tied=False, fused=False, up=None):
    up = up or n
    t = [("token_embd.weight", (64, n)), ("output_norm.weight", (n,))]
    if not tied:
        t.append(("output.weight", (64, n)))
    # Last layer first: the rules must not count in the order of the file.
    for i in reversed(range(layers)):
        b = f"blk.{i}."
        names = ["attn_qkv"] if fused else ["attn_q", "attn_k", "attn_v"]
        t += [(b + f"{name}.weight", (16, n)) for name in names]
        t += [(b + "attn_output.weight", (16, n)), (b + "attn_norm.weight", (n,)), (b + "attn_v.bias", (16,))]
        t += [(b + "ffn_gate.weight", (16, n)), (b + "ffn_up.weight", (16, n)), (b + "ffn_down.weight", (16, up))]
    return t


def experts(layers, n, count):
    t = [("token_embd.weight", (64, n)), ("output_norm.weight", (n,)), ("output.weight", (64, n))]
    for i in range(layers):
        b = f"blk.{i}."
        t += [(b + f"{name}.weight", (16, n)) for name in ["attn_q", "attn_k", "attn_v", "attn_output"]]
        t += [(b + "ffn_gate_inp.weight", (count, n)), (b + "attn_norm.weight", (n,))]
        t += [(b + f"ffn_{name}_exps.weight", (count, 8, n)) for name in ["gate", "up", "down"]]
    return t


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "llama-20.gguf", "llama", 20, 256, dense(20, 256))
    write(folder / "llama-33-f16.gguf", "llama", 33, 256, dense(33, 256), dtype=np.float16)
    write(folder / "llama-gqa4-tied.gguf", "llama", 17, 256, dense(17, 256, tied=True), heads=8, kv_heads=2)
    write(folder / "qwen2-fused.gguf", "qwen2", 9, 256, dense(9, 256, fused=True))
    write(folder / "llama-rows-96.gguf", "llama", 9, 96, dense(9, 96))
    write(folder / "llama-rows-80.gguf", "llama", 3, 80, dense(3, 80, up=512))
    write(folder / "llama-80-layers.gguf", "llama", 80, 256, dense(80, 256), heads=8, kv_heads=1)
    write(folder / "llama-65b-like.gguf", "llama", 80, 256, dense(80, 256), heads=4, kv_heads=4)
    write(folder / "qwen2-80-layers.gguf", "qwen2", 80, 256, dense(80, 256), heads=4, kv_heads=4)
    write(folder / "experts-8.gguf", "llama", 17, 256, experts(17, 256, 8), experts=8)
    write(folder / "experts-4.gguf", "llama", 16, 256, experts(16, 256, 4), experts=4)


if __name__ == "__main__":
    main()
