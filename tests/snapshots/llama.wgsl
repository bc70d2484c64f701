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
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999975e-06);
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
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999975e-06);
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
// x0: attn_q, [columns][256]
// angles1: cosine and sine of position times rope_frequencies, [columns][32]
// results: from 0 * columns: q_rotated, [columns][256]
// x3: attn_k, [columns][128]
// results: from 256 * columns: k_rotated, [columns][128]
// Dispatch of part0: 4 workgroups for each of the columns, in y.
// Dispatch of part1: 2 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read> angles1: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(4) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 256u + c]; }
fn f3(c: u32, t: u32) -> f32 { return x3[t * 128u + c]; }
// q_rotated
fn f2(c: u32, t: u32) -> f32 {
    let j = c % 64u;
    let pair = j / 2u;
    let second = j % 2u == 1u;
    let ca = c - j + 2u * pair;
    let cb = ca + 1u;
    let a = f0(ca, t);
    let b = f0(cb, t);
    let angle = angles1[t * 32u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}
// k_rotated
fn f4(c: u32, t: u32) -> f32 {
    let j = c % 64u;
    let pair = j / 2u;
    let second = j % 2u == 1u;
    let ca = c - j + 2u * pair;
    let cb = ca + 1u;
    let a = f3(ca, t);
    let b = f3(cb, t);
    let angle = angles1[t * 32u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 256u) {
        // q_rotated
        let v2 = f2(c, t);
        results[0u * step.n_tokens + t * 256u + c] = v2;
    }
}

@compute @workgroup_size(64)
fn part1(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 128u) {
        // k_rotated
        let v4 = f4(c, t);
        results[256u * step.n_tokens + t * 128u + c] = v4;
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
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999975e-06);
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
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999975e-06);
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
