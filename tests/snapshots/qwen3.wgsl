// The epilogue of a embed phase.
// anchors: from 0 * columns: token_embd, [columns][256]
// vectors: from 0: blk.0.attn_norm.weight, [256]
// results: from 0 * columns: blk.0.attn_norm, [columns][256]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 256u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }

var<workgroup> stat2: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); // the last sum was read
    partial[lane] = x;
    workgroupBarrier();
    for (var n = 128u; n > 0u; n /= 2u) {
        if (lane < n) { partial[lane] += partial[lane + n]; }
        workgroupBarrier();
    }
    return partial[0];
}

@compute @workgroup_size(256)
fn part0(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 256u;
    // blk.0.attn_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 256u; c += 256u) {
            let a0 = f0(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        if (lane == 0u) { stat2[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // blk.0.attn_norm
        let v0 = f0(c, t);
        let v1 = f1(c);
        let m2 = stat2[0u];
        let v2 = v0 * m2.x * v1;
        results[0u * step.n_tokens + t * 256u + c] = v2;
    }
}

// The prologue of a matmul phase.
// x0: blk.0.x_ffn, [columns][256]
// vectors: from 0: attn_norm.weight, [256]
// results: from 0 * columns: attn_norm, [columns][256]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> x0: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 256u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }

var<workgroup> stat2: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); // the last sum was read
    partial[lane] = x;
    workgroupBarrier();
    for (var n = 128u; n > 0u; n /= 2u) {
        if (lane < n) { partial[lane] += partial[lane + n]; }
        workgroupBarrier();
    }
    return partial[0];
}

@compute @workgroup_size(256)
fn part0(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 256u;
    // attn_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 256u; c += 256u) {
            let a0 = f0(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        if (lane == 0u) { stat2[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // attn_norm
        let v0 = f0(c, t);
        let v1 = f1(c);
        let m2 = stat2[0u];
        let v2 = v0 * m2.x * v1;
        results[0u * step.n_tokens + t * 256u + c] = v2;
    }
}

// The prologue of a attention phase.
// x0: attn_q, [columns][512]
// vectors: from 0: attn_q_norm.weight, [128]
// x3: attn_k, [columns][256]
// vectors: from 128: attn_k_norm.weight, [128]
// angles6: cosine and sine of position times rope_frequencies, [columns][64]
// results: from 0 * columns: q_rotated, [columns][512]
// results: from 512 * columns: k_rotated, [columns][256]
// Dispatch of part0: 4 workgroups for each of the columns, in y.
// Dispatch of part1: 2 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> x0: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(4) var<storage, read> angles6: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 512u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c % 128u]; }
fn f3(c: u32, t: u32) -> f32 { return x3[t * 256u + c]; }
fn f4(c: u32) -> f32 { return vectors[128u + c % 128u]; }
// attn_q_norm
fn f2(c: u32, t: u32) -> f32 {
    let a0 = f0(c, t);
    let a1 = f1(c);
    let m = stat2[0u];
    return a0 * m.x * a1;
}
// attn_k_norm
fn f5(c: u32, t: u32) -> f32 {
    let a0 = f3(c, t);
    let a1 = f4(c);
    let m = stat5[0u];
    return a0 * m.x * a1;
}
// q_rotated
fn f7(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = f2(ca, t);
    let b = f2(cb, t);
    let angle = angles6[t * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}
// k_rotated
fn f8(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = f5(ca, t);
    let b = f5(cb, t);
    let angle = angles6[t * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

var<workgroup> stat2: array<vec2<f32>, 1>;
var<workgroup> stat5: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 64>;

fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); // the last sum was read
    partial[lane] = x;
    workgroupBarrier();
    for (var n = 32u; n > 0u; n /= 2u) {
        if (lane < n) { partial[lane] += partial[lane + n]; }
        workgroupBarrier();
    }
    return partial[0];
}

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 128u;
    // attn_q_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 128u; c += 64u) {
            let a0 = f0(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 128.0 + 9.99999997e-07);
        if (lane == 0u) { stat2[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 128u; c += 64u) {
        // attn_q_norm
        let v0 = f0(c, t);
        let v1 = f1(c);
        let m2 = stat2[0u];
        let v2 = v0 * m2.x * v1;
        // q_rotated
        let v7 = f7(c, t);
        results[0u * step.n_tokens + t * 512u + c] = v7;
    }
}

@compute @workgroup_size(64)
fn part1(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 128u;
    // attn_k_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 128u; c += 64u) {
            let a0 = f3(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 128.0 + 9.99999997e-07);
        if (lane == 0u) { stat5[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 128u; c += 64u) {
        // attn_k_norm
        let v3 = f3(c, t);
        let v4 = f4(c);
        let m5 = stat5[0u];
        let v5 = v3 * m5.x * v4;
        // k_rotated
        let v8 = f8(c, t);
        results[512u * step.n_tokens + t * 256u + c] = v8;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: attn_output, [columns][256]
// x1: blk.0.x_ffn, [columns][256]
// results: from 0 * columns: x_attention, [columns][256]
// Dispatch of part0: 4 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 256u + c]; }
fn f1(c: u32, t: u32) -> f32 { return x1[t * 256u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 256u) {
        // x_attention
        let v1 = f1(c, t);
        let v0 = f0(c, t);
        let v2 = v1 + v0;
        results[0u * step.n_tokens + t * 256u + c] = v2;
    }
}

// The prologue of a matmul phase.
// x0: x_attention, [columns][256]
// vectors: from 0: ffn_norm.weight, [256]
// results: from 0 * columns: ffn_norm, [columns][256]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> x0: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 256u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }

var<workgroup> stat2: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); // the last sum was read
    partial[lane] = x;
    workgroupBarrier();
    for (var n = 128u; n > 0u; n /= 2u) {
        if (lane < n) { partial[lane] += partial[lane + n]; }
        workgroupBarrier();
    }
    return partial[0];
}

@compute @workgroup_size(256)
fn part0(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 256u;
    // ffn_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 256u; c += 256u) {
            let a0 = f0(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        if (lane == 0u) { stat2[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // ffn_norm
        let v0 = f0(c, t);
        let v1 = f1(c);
        let m2 = stat2[0u];
        let v2 = v0 * m2.x * v1;
        results[0u * step.n_tokens + t * 256u + c] = v2;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: ffn_gate, [columns][512]
// anchors: from 512 * columns: ffn_up, [columns][512]
// results: from 0 * columns: ffn_gated, [columns][512]
// Dispatch of part0: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32, t: u32) -> f32 { return anchors[512u * step.n_tokens + t * 512u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 512u) {
        // ffn_act
        let v0 = f0(c, t);
        let v2 = v0 / (1.0 + exp(clamp(-v0, -80.0, 80.0)));
        // ffn_gated
        let v1 = f1(c, t);
        let v3 = v2 * v1;
        results[0u * step.n_tokens + t * 512u + c] = v3;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: ffn_down, [columns][256]
// x1: x_attention, [columns][256]
// results: from 0 * columns: x_ffn, [columns][256]
// Dispatch of part0: 4 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 256u + c]; }
fn f1(c: u32, t: u32) -> f32 { return x1[t * 256u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 256u) {
        // x_ffn
        let v1 = f1(c, t);
        let v0 = f0(c, t);
        let v2 = v1 + v0;
        results[0u * step.n_tokens + t * 256u + c] = v2;
    }
}

// The prologue of a matmul phase.
// x0: blk.2.x_ffn, [columns][256]
// vectors: from 0: output_norm.weight, [256]
// results: from 0 * columns: output_norm, [columns][256]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> x0: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 256u + c]; }
fn f2(c: u32) -> f32 { return vectors[0u + c]; }
// x_selected
fn f1(c: u32, t: u32) -> f32 {
    return f0(c, t + step.n_tokens - step.n_outputs);
}

var<workgroup> stat3: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); // the last sum was read
    partial[lane] = x;
    workgroupBarrier();
    for (var n = 128u; n > 0u; n /= 2u) {
        if (lane < n) { partial[lane] += partial[lane + n]; }
        workgroupBarrier();
    }
    return partial[0];
}

@compute @workgroup_size(256)
fn part0(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let u = t + step.n_tokens - step.n_outputs;
    let first = id.x * 256u;
    // output_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 256u; c += 256u) {
            let a0 = f1(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        if (lane == 0u) { stat3[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // x_selected
        let v1 = f0(c, u);
        // output_norm
        let v2 = f2(c);
        let m3 = stat3[0u];
        let v3 = v1 * m3.x * v2;
        results[0u * step.n_outputs + t * 256u + c] = v3;
    }
}
