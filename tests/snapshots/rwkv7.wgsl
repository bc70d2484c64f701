// The epilogue of a embed phase.
// anchors: from 0 * columns: token_embd, [columns][512]
// vectors: from 0: token_embd_norm.weight, [512]
// vectors: from 512: token_embd_norm.bias, [512]
// results: from 0 * columns: token_embd_norm, [columns][512]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }
fn f2(c: u32) -> f32 { return vectors[512u + c]; }

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
    let first = id.x * 512u;
    // token_embd_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f0(c, col);
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f0(c, col);
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat3[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // token_embd_norm
        let v0 = f0(c, t);
        let v1 = f1(c);
        let v2 = f2(c);
        let m3 = stat3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        results[0u * step.n_tokens + t * 512u + c] = v3;
    }
}

// The prologue of a matmul phase.
// x0: blk.0.x_channel_mix, [columns][512]
// vectors: from 0: attn_norm.weight, [512]
// vectors: from 512: attn_norm.bias, [512]
// state_old, state_new: from 0: time_shift, [512]
// vectors: from 1024: time_mix_lerp_fused.weight, [512]
// results: from 0 * columns: xr, [columns][512]
// vectors: from 1536: time_mix_lerp_fused.weight+512, [512]
// results: from 512 * columns: xw, [columns][512]
// vectors: from 2048: time_mix_lerp_fused.weight+1024, [512]
// results: from 1024 * columns: xk, [columns][512]
// vectors: from 2560: time_mix_lerp_fused.weight+1536, [512]
// results: from 1536 * columns: xv, [columns][512]
// vectors: from 3072: time_mix_lerp_fused.weight+2048, [512]
// results: from 2048 * columns: xa, [columns][512]
// vectors: from 3584: time_mix_lerp_fused.weight+2560, [512]
// results: from 2560 * columns: xg, [columns][512]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> state_old: array<f32>;
@group(0) @binding(3) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(4) var<storage, read> x0: array<f32>;
@group(0) @binding(5) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 512u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }
fn f2(c: u32) -> f32 { return vectors[512u + c]; }
fn f6(c: u32) -> f32 { return vectors[1024u + c]; }
fn f8(c: u32) -> f32 { return vectors[1536u + c]; }
fn f10(c: u32) -> f32 { return vectors[2048u + c]; }
fn f12(c: u32) -> f32 { return vectors[2560u + c]; }
fn f14(c: u32) -> f32 { return vectors[3072u + c]; }
fn f16(c: u32) -> f32 { return vectors[3584u + c]; }
// attn_norm
fn f3(c: u32, t: u32, s: u32) -> f32 {
    let a0 = f0(c, t);
    let a1 = f1(c);
    let a2 = f2(c);
    let m = stat3[s];
    return (a0 - m.x) * m.y * a1 + a2;
}

var<workgroup> stat3: array<vec2<f32>, 2>;
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
    let first = id.x * 512u;
    // attn_norm
    for (var s = 0u; s < 2u; s++) {
        let begin = first;
        let col = t - min(t, s);
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f0(c, col);
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f0(c, col);
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat3[s] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // attn_norm
        let v0 = f0(c, t);
        let v1 = f1(c);
        let v2 = f2(c);
        let m3 = stat3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        // time_mix_shift
        var v5 = state_old[0u + c];
        if (t > 0u) { v5 = f3(c, t - 1u, 1u); }
        if (t + 1u == step.n_tokens) { state_new[0u + c] = v3; }
        // xr
        let v6 = f6(c);
        let v7 = v3 + (v5 - v3) * v6;
        results[0u * step.n_tokens + t * 512u + c] = v7;
        // xw
        let v8 = f8(c);
        let v9 = v3 + (v5 - v3) * v8;
        results[512u * step.n_tokens + t * 512u + c] = v9;
        // xk
        let v10 = f10(c);
        let v11 = v3 + (v5 - v3) * v10;
        results[1024u * step.n_tokens + t * 512u + c] = v11;
        // xv
        let v12 = f12(c);
        let v13 = v3 + (v5 - v3) * v12;
        results[1536u * step.n_tokens + t * 512u + c] = v13;
        // xa
        let v14 = f14(c);
        let v15 = v3 + (v5 - v3) * v14;
        results[2048u * step.n_tokens + t * 512u + c] = v15;
        // xg
        let v16 = f16(c);
        let v17 = v3 + (v5 - v3) * v16;
        results[2560u * step.n_tokens + t * 512u + c] = v17;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: time_mix_receptance, [columns][512]
// anchors: from 512 * columns: time_mix_key, [columns][512]
// anchors: from 1024 * columns: time_mix_value, [columns][512]
// anchors: from 1536 * columns: time_mix_v1, [columns][32]
// anchors: from 1568 * columns: time_mix_w1, [columns][32]
// anchors: from 1600 * columns: time_mix_a1, [columns][32]
// anchors: from 1632 * columns: time_mix_g1, [columns][64]
// results: from 0 * columns: time_mix_w1.act, [columns][32]
// results: from 32 * columns: time_mix_g1.act, [columns][64]
// vectors: from 0: time_mix_k_k.weight, [512]
// results: from 96 * columns: k_k, [columns][512]
// Dispatch of part0: 1 workgroups for each of the columns, in y.
// Dispatch of part1: 1 workgroups for each of the columns, in y.
// Dispatch of part2: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32, t: u32) -> f32 { return anchors[512u * step.n_tokens + t * 512u + c]; }
fn f2(c: u32, t: u32) -> f32 { return anchors[1024u * step.n_tokens + t * 512u + c]; }
fn f3(c: u32, t: u32) -> f32 { return anchors[1536u * step.n_tokens + t * 32u + c]; }
fn f4(c: u32, t: u32) -> f32 { return anchors[1568u * step.n_tokens + t * 32u + c]; }
fn f5(c: u32, t: u32) -> f32 { return anchors[1600u * step.n_tokens + t * 32u + c]; }
fn f6(c: u32, t: u32) -> f32 { return anchors[1632u * step.n_tokens + t * 64u + c]; }
fn f9(c: u32) -> f32 { return vectors[0u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 32u) {
        // time_mix_w1.act
        let v4 = f4(c, t);
        let v7 = tanh(clamp(v4, -20.0, 20.0));
        results[0u * step.n_tokens + t * 32u + c] = v7;
    }
}

@compute @workgroup_size(64)
fn part1(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 64u) {
        // time_mix_g1.act
        let v6 = f6(c, t);
        let v8 = 1.0 / (1.0 + exp(clamp(-v6, -80.0, 80.0)));
        results[32u * step.n_tokens + t * 64u + c] = v8;
    }
}

@compute @workgroup_size(64)
fn part2(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 512u) {
        // k_k
        let v1 = f1(c, t);
        let v9 = f9(c);
        let v10 = v1 * v9;
        results[96u * step.n_tokens + t * 512u + c] = v10;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: time_mix_v2, [columns][512]
// anchors: from 512 * columns: time_mix_w2, [columns][512]
// anchors: from 1024 * columns: time_mix_a2, [columns][512]
// anchors: from 1536 * columns: time_mix_g2, [columns][512]
// vectors: from 0: time_mix_v0.weight, [512]
// x7: time_mix_value, [columns][512]
// x8: blk.0.time_mix_value, [columns][512]
// results: from 0 * columns: v, [columns][512]
// vectors: from 512: time_mix_w0.weight, [512]
// results: from 512 * columns: decay, [columns][512]
// vectors: from 1024: time_mix_a0.weight, [512]
// results: from 1024 * columns: a, [columns][512]
// x16: time_mix_key, [columns][512]
// vectors: from 1536: time_mix_k_a.weight, [512]
// results: from 1536 * columns: k, [columns][512]
// Dispatch of part0: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> x7: array<f32>;
@group(0) @binding(4) var<storage, read> x8: array<f32>;
@group(0) @binding(5) var<storage, read> x16: array<f32>;
@group(0) @binding(6) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32, t: u32) -> f32 { return anchors[512u * step.n_tokens + t * 512u + c]; }
fn f2(c: u32, t: u32) -> f32 { return anchors[1024u * step.n_tokens + t * 512u + c]; }
fn f3(c: u32, t: u32) -> f32 { return anchors[1536u * step.n_tokens + t * 512u + c]; }
fn f4(c: u32) -> f32 { return vectors[0u + c]; }
fn f7(c: u32, t: u32) -> f32 { return x7[t * 512u + c]; }
fn f8(c: u32, t: u32) -> f32 { return x8[t * 512u + c]; }
fn f10(c: u32) -> f32 { return vectors[512u + c]; }
fn f13(c: u32) -> f32 { return vectors[1024u + c]; }
fn f16(c: u32, t: u32) -> f32 { return x16[t * 512u + c]; }
fn f17(c: u32) -> f32 { return vectors[1536u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 512u) {
        // time_mix_v0
        let v0 = f0(c, t);
        let v4 = f4(c);
        let v5 = v0 + v4;
        // v_mix
        let v6 = 1.0 / (1.0 + exp(clamp(-v5, -80.0, 80.0)));
        // v
        let v7 = f7(c, t);
        let v8 = f8(c, t);
        let v9 = v7 + (v8 - v7) * v6;
        results[0u * step.n_tokens + t * 512u + c] = v9;
        // time_mix_w0
        let v1 = f1(c, t);
        let v10 = f10(c);
        let v11 = v1 + v10;
        // decay
        let v12 = exp(-0.60653066 / (1.0 + exp(clamp(-v11, -80.0, 80.0))));
        results[512u * step.n_tokens + t * 512u + c] = v12;
        // time_mix_a0
        let v2 = f2(c, t);
        let v13 = f13(c);
        let v14 = v2 + v13;
        // a
        let v15 = 1.0 / (1.0 + exp(clamp(-v14, -80.0, 80.0)));
        results[1024u * step.n_tokens + t * 512u + c] = v15;
        // k
        let v16 = f16(c, t);
        let v17 = f17(c);
        let v18 = v16 * (1.0 + (v15 - 1.0) * v17);
        results[1536u * step.n_tokens + t * 512u + c] = v18;
    }
}

// The prologue of a wkv7 phase.
// x0: k_k, [columns][512]
// results: from 0 * columns: kk, [columns][512]
// Dispatch of part0: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 512u + c]; }

var<workgroup> stat1: array<vec2<f32>, 1>;
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
    let first = id.x * 64u;
    // kk
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 64u; c += 64u) {
            let a0 = f0(c, col);
            sum0 += a0 * a0;
        }
        m.x = 1.0 / max(sqrt(total(lane, sum0)), 9.99999996e-13);
        if (lane == 0u) { stat1[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 64u; c += 64u) {
        // kk
        let v0 = f0(c, t);
        let m1 = stat1[0u];
        let v1 = v0 * m1.x;
        results[0u * step.n_tokens + t * 512u + c] = v1;
    }
}

// The epilogue of a wkv7 phase.
// anchors: from 0 * columns: wkv, [columns][512]
// vectors: from 0: time_mix_ln.weight, [512]
// vectors: from 512: time_mix_ln.bias, [512]
// x4: time_mix_receptance, [columns][512]
// x5: k, [columns][512]
// x6: v, [columns][512]
// vectors: from 1024: time_mix_r_k.weight, [512]
// x9: time_mix_g2, [columns][512]
// results: from 0 * columns: gated, [columns][512]
// Dispatch of part0: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> x4: array<f32>;
@group(0) @binding(4) var<storage, read> x5: array<f32>;
@group(0) @binding(5) var<storage, read> x6: array<f32>;
@group(0) @binding(6) var<storage, read> x9: array<f32>;
@group(0) @binding(7) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }
fn f2(c: u32) -> f32 { return vectors[512u + c]; }
fn f4(c: u32, t: u32) -> f32 { return x4[t * 512u + c]; }
fn f5(c: u32, t: u32) -> f32 { return x5[t * 512u + c]; }
fn f6(c: u32, t: u32) -> f32 { return x6[t * 512u + c]; }
fn f7(c: u32) -> f32 { return vectors[1024u + c]; }
fn f9(c: u32, t: u32) -> f32 { return x9[t * 512u + c]; }

var<workgroup> stat3: array<vec2<f32>, 1>;
var<workgroup> stat8: array<vec2<f32>, 1>;
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
    let first = id.x * 64u;
    // time_mix_ln
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 64u; c += 64u) {
            let a0 = f0(c, col);
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 64.0;
        var sum1 = 0.0;
        for (var c = begin + lane; c < begin + 64u; c += 64u) {
            let a0 = f0(c, col);
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 64.0 + 0.000639999984);
        if (lane == 0u) { stat3[0u] = m; }
        workgroupBarrier();
    }
    // bonus
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 64u; c += 64u) {
            let a1 = f4(c, col);
            let a2 = f5(c, col);
            let a4 = f7(c);
            sum0 += a1 * a2 * a4;
        }
        m.x = total(lane, sum0);
        if (lane == 0u) { stat8[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 64u; c += 64u) {
        // time_mix_ln
        let v0 = f0(c, t);
        let v1 = f1(c);
        let v2 = f2(c);
        let m3 = stat3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        // bonus
        let v4 = f4(c, t);
        let v5 = f5(c, t);
        let v6 = f6(c, t);
        let v7 = f7(c);
        let m8 = stat8[0u];
        let v8 = v3 + m8.x * v6;
        // gated
        let v9 = f9(c, t);
        let v10 = v8 * v9;
        results[0u * step.n_tokens + t * 512u + c] = v10;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: time_mix_output, [columns][512]
// x1: blk.0.x_channel_mix, [columns][512]
// results: from 0 * columns: x_time_mix, [columns][512]
// Dispatch of part0: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32, t: u32) -> f32 { return x1[t * 512u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 512u) {
        // x_time_mix
        let v1 = f1(c, t);
        let v0 = f0(c, t);
        let v2 = v1 + v0;
        results[0u * step.n_tokens + t * 512u + c] = v2;
    }
}

// The prologue of a matmul phase.
// x0: x_time_mix, [columns][512]
// vectors: from 0: attn_norm_2.weight, [512]
// vectors: from 512: attn_norm_2.bias, [512]
// state_old, state_new: from 0: channel_shift, [512]
// vectors: from 1024: channel_mix_lerp_k.weight, [512]
// results: from 0 * columns: channel_mix_xk, [columns][512]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> state_old: array<f32>;
@group(0) @binding(3) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(4) var<storage, read> x0: array<f32>;
@group(0) @binding(5) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 512u + c]; }
fn f1(c: u32) -> f32 { return vectors[0u + c]; }
fn f2(c: u32) -> f32 { return vectors[512u + c]; }
fn f6(c: u32) -> f32 { return vectors[1024u + c]; }
// attn_norm_2
fn f3(c: u32, t: u32, s: u32) -> f32 {
    let a0 = f0(c, t);
    let a1 = f1(c);
    let a2 = f2(c);
    let m = stat3[s];
    return (a0 - m.x) * m.y * a1 + a2;
}

var<workgroup> stat3: array<vec2<f32>, 2>;
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
    let first = id.x * 512u;
    // attn_norm_2
    for (var s = 0u; s < 2u; s++) {
        let begin = first;
        let col = t - min(t, s);
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f0(c, col);
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f0(c, col);
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat3[s] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // attn_norm_2
        let v0 = f0(c, t);
        let v1 = f1(c);
        let v2 = f2(c);
        let m3 = stat3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        // channel_mix_shift
        var v5 = state_old[0u + c];
        if (t > 0u) { v5 = f3(c, t - 1u, 1u); }
        if (t + 1u == step.n_tokens) { state_new[0u + c] = v3; }
        // channel_mix_xk
        let v6 = f6(c);
        let v7 = v3 + (v5 - v3) * v6;
        results[0u * step.n_tokens + t * 512u + c] = v7;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: channel_mix_key, [columns][2048]
// results: from 0 * columns: channel_mix_k, [columns][2048]
// Dispatch of part0: 32 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 2048u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 2048u) {
        // channel_mix_k
        let v0 = f0(c, t);
        let v1 = max(v0, 0.0) * max(v0, 0.0);
        results[0u * step.n_tokens + t * 2048u + c] = v1;
    }
}

// The epilogue of a matmul phase.
// anchors: from 0 * columns: channel_mix_value, [columns][512]
// x1: x_time_mix, [columns][512]
// results: from 0 * columns: x_channel_mix, [columns][512]
// Dispatch of part0: 8 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return anchors[0u * step.n_tokens + t * 512u + c]; }
fn f1(c: u32, t: u32) -> f32 { return x1[t * 512u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let c = id.x;
    if (c < 512u) {
        // x_channel_mix
        let v1 = f1(c, t);
        let v0 = f0(c, t);
        let v2 = v1 + v0;
        results[0u * step.n_tokens + t * 512u + c] = v2;
    }
}

// The prologue of a matmul phase.
// x0: blk.7.x_channel_mix, [columns][512]
// vectors: from 0: output_norm.weight, [512]
// vectors: from 512: output_norm.bias, [512]
// results: from 0 * columns: output_norm, [columns][512]
// Dispatch of part0: 1 workgroups for each of the columns, in y.

struct Step { n_tokens: u32, n_outputs: u32 }

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> x0: array<f32>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

fn f0(c: u32, t: u32) -> f32 { return x0[t * 512u + c]; }
fn f2(c: u32) -> f32 { return vectors[0u + c]; }
fn f3(c: u32) -> f32 { return vectors[512u + c]; }
// x_selected
fn f1(c: u32, t: u32) -> f32 {
    return f0(c, t + step.n_tokens - step.n_outputs);
}

var<workgroup> stat4: array<vec2<f32>, 1>;
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
    let first = id.x * 512u;
    // output_norm
    {
        let begin = first;
        let col = t;
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f1(c, col);
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        for (var c = begin + lane; c < begin + 512u; c += 256u) {
            let a0 = f1(c, col);
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat4[0u] = m; }
        workgroupBarrier();
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // x_selected
        let v1 = f0(c, u);
        // output_norm
        let v2 = f2(c);
        let v3 = f3(c);
        let m4 = stat4[0u];
        let v4 = (v1 - m4.x) * m4.y * v2 + v3;
        results[0u * step.n_outputs + t * 512u + c] = v4;
    }
}
