#!/usr/bin/env python3
"""Writes tiny random transformers and their logits, computed here in double precision from the published equations.

    python3 make.py FOLDER

For each model NAME.gguf and NAME.logits.f32: logits after each of TOKENS, little-endian f32 [token][vocabulary].  Nothing
but the standard library; shares no code with the library.  Two models are qwen2 (plain; tied output with linear rope scaling),
one is llama with what its models rarely have at once: YaRN, frequency factors, biases, values of another length than keys.
"""
import math
import random
import struct
import sys

TOKENS = [3, 17, 0, 39, 8, 8, 25, 11, 30, 2, 19]
U32, F32, STRING = 4, 6, 8


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


# ---- the file

def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(v):
    if isinstance(v, str):
        return struct.pack("<I", STRING) + string(v)
    if isinstance(v, float):
        return struct.pack("<If", F32, v)
    return struct.pack("<II", U32, v)


def write_gguf(path, keys, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for k, v in keys.items():
        head += string(k) + value(v)
    data = b""
    for name, (ne, values) in tensors.items():
        head += string(name) + struct.pack("<I", len(ne)) + struct.pack("<%dQ" % len(ne), *ne)
        head += struct.pack("<IQ", 0, len(data))
        data += struct.pack("<%df" % len(values), *values)
        data += bytes(-len(data) % 32)
    head += bytes(-len(head) % 32)
    with open(path, "wb") as f:
        f.write(head + data)


# ---- the model

class Model:
    def __init__(self, seed, arch, **options):
        self.arch = arch
        self.c, self.f, self.layers, self.vocab = 24, 40, 2, 40
        self.hq, self.hkv, self.dk, self.dv = 4, 2, 6, 6
        self.eps, self.base = 1e-6, 1e6
        self.scaling, self.factor, self.original, self.attn_factor = None, 1.0, 0, 1.0
        self.tied = self.biases = self.divisors = False
        self.__dict__.update(options)
        self.rng = random.Random(seed)
        self.t = {}
        self.build()

    def add(self, name, *ne, scale=0.4, around=0.0):
        n = math.prod(ne)
        self.t[name] = (ne, [f32(around + self.rng.uniform(-scale, scale)) for _ in range(n)])

    def build(self):
        q, k, v = self.hq * self.dk, self.hkv * self.dk, self.hkv * self.dv
        self.add("token_embd.weight", self.c, self.vocab, scale=1.0)
        self.add("output_norm.weight", self.c, around=1.0)
        if not self.tied:
            self.add("output.weight", self.c, self.vocab)
        if self.divisors:
            self.t["rope_freqs.weight"] = ((self.dk // 2,), [1.0, 2.5, 8.0])
        for i in range(self.layers):
            b = "blk.%d." % i
            self.add(b + "attn_norm.weight", self.c, around=1.0)
            self.add(b + "ffn_norm.weight", self.c, around=1.0)
            matrices = {"attn_q": (self.c, q), "attn_k": (self.c, k), "attn_v": (self.c, v),
                        "attn_output": (self.hq * self.dv, self.c), "ffn_gate": (self.c, self.f),
                        "ffn_up": (self.c, self.f), "ffn_down": (self.f, self.c)}
            for name, (n, m) in matrices.items():
                self.add(b + name + ".weight", n, m)
                if name in ("attn_q", "attn_k", "attn_v") and self.arch == "qwen2" or self.biases:
                    self.add(b + name + ".bias", m)

    def keys(self):
        a = self.arch + "."
        keys = {"general.architecture": self.arch, a + "context_length": 64, a + "embedding_length": self.c,
                a + "block_count": self.layers, a + "feed_forward_length": self.f,
                a + "attention.head_count": self.hq, a + "attention.head_count_kv": self.hkv,
                a + "attention.layer_norm_rms_epsilon": self.eps, a + "rope.freq_base": float(self.base)}
        if self.dv != self.c // self.hq:
            keys[a + "attention.value_length"] = self.dv
        if self.scaling:
            keys[a + "rope.scaling.type"] = self.scaling
            keys[a + "rope.scaling.factor"] = self.factor
        if self.scaling == "yarn":
            keys[a + "rope.scaling.original_context_length"] = self.original
            keys[a + "rope.scaling.attn_factor"] = self.attn_factor
        return keys

    # ---- equations

    def linear(self, name, x):
        (n, m), w = self.t[name + ".weight"]
        y = [math.fsum(w[o * n + i] * x[i] for i in range(n)) for o in range(m)]
        if name + ".bias" in self.t:
            y = [a + b for a, b in zip(y, self.t[name + ".bias"][1])]
        return y

    def norm(self, name, x):
        s = 1 / math.sqrt(math.fsum(v * v for v in x) / len(x) + f32(self.eps))
        return [v * s * g for v, g in zip(x, self.t[name + ".weight"][1])]

    def angle(self, pos, j):
        r = self.dk
        theta = pos * self.base ** (-2 * j / r)
        if self.divisors:
            theta /= self.t["rope_freqs.weight"][1][j]
        if self.scaling != "yarn":
            return theta / self.factor, 1.0

        def corr(beta):
            return r * math.log(self.original / (2 * math.pi * beta)) / (2 * math.log(self.base))
        lo, hi = max(0, math.floor(corr(32))), min(r - 1, math.ceil(corr(1)))
        ramp = 1 - min(1, max(0, (j - lo) / max(0.001, hi - lo)))
        return theta / self.factor * (1 - ramp) + theta * ramp, self.attn_factor * (1 + 0.1 * math.log(self.factor))

    def rotate(self, x, pos):
        y = list(x)
        for h in range(0, len(x), self.dk):
            for j in range(self.dk // 2):
                a, b = (h + 2 * j, h + 2 * j + 1) if self.arch == "llama" else (h + j, h + j + self.dk // 2)
                phi, scale = self.angle(pos, j)
                y[a] = (x[a] * math.cos(phi) - x[b] * math.sin(phi)) * scale
                y[b] = (x[a] * math.sin(phi) + x[b] * math.cos(phi)) * scale
        return y

    def attend(self, q, keys, values):
        out = []
        for h in range(self.hq):
            g = h // (self.hq // self.hkv)
            qh = q[h * self.dk:(h + 1) * self.dk]
            s = [sum(a * b for a, b in zip(qh, k[g * self.dk:(g + 1) * self.dk])) / math.sqrt(self.dk) for k in keys]
            p = [math.exp(v - max(s)) for v in s]
            for c in range(self.dv):
                out.append(sum(w * v[g * self.dv + c] for w, v in zip(p, values)) / sum(p))
        return out

    def logits(self, tokens):
        cache = [([], []) for _ in range(self.layers)]
        rows = []
        for pos, token in enumerate(tokens):
            x = list(self.t["token_embd.weight"][1][token * self.c:(token + 1) * self.c])
            for i in range(self.layers):
                b = "blk.%d." % i
                n = self.norm(b + "attn_norm", x)
                cache[i][0].append(self.rotate(self.linear(b + "attn_k", n), pos))
                cache[i][1].append(self.linear(b + "attn_v", n))
                y = self.attend(self.rotate(self.linear(b + "attn_q", n), pos), *cache[i])
                x = [a + c for a, c in zip(x, self.linear(b + "attn_output", y))]
                n = self.norm(b + "ffn_norm", x)
                gate = [v / (1 + math.exp(-v)) for v in self.linear(b + "ffn_gate", n)]
                h = [a * c for a, c in zip(gate, self.linear(b + "ffn_up", n))]
                x = [a + c for a, c in zip(x, self.linear(b + "ffn_down", h))]
            rows += self.linear("token_embd" if self.tied else "output", self.norm("output_norm", x))
        return rows


MODELS = {
    "qwen2": Model(1, "qwen2"),
    "qwen2-tied-linear": Model(2, "qwen2", tied=True, scaling="linear", factor=4.0),
    "llama-yarn": Model(3, "llama", base=500.0, scaling="yarn", factor=8.0, original=24, attn_factor=0.75, biases=True,
                        divisors=True, dv=4),
}

if __name__ == "__main__":
    for name, model in MODELS.items():
        rows = model.logits(TOKENS)
        write_gguf("%s/%s.gguf" % (sys.argv[1], name), model.keys(), model.t)
        with open("%s/%s.logits.f32" % (sys.argv[1], name), "wb") as f:
            f.write(struct.pack("<%df" % len(rows), *rows))
