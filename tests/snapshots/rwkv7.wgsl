struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn e1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }
fn e2(c: u32) -> f32 { return vectors[places.at[0].z + c]; }

var<private> stat_e3: array<vec2<f32>, 1>;
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
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 512u;
    // token_embd_norm
    {
        let z0_0_0 = e0(first + 1u * lane + 0u, t);
        let z0_0_1 = e0(first + 1u * lane + 256u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0;
        }
        {
            let a0 = z0_0_1;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        stat_e3[0] = m;
    }
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // token_embd_norm
        let v0 = e0(c, t);
        let v1 = e1(c);
        let v2 = e2(c);
        let m3 = stat_e3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        arena[places.at[0].w + t * 512u + c] = v3;
    }
}

struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 4> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(4) var<storage, read> state_old: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn p1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }
fn p2(c: u32) -> f32 { return vectors[places.at[0].z + c]; }
fn p6(c: u32) -> f32 { return vectors[places.at[0].w + c]; }
fn p8(c: u32) -> f32 { return vectors[places.at[1].x + c]; }
fn p10(c: u32) -> f32 { return vectors[places.at[1].y + c]; }
fn p12(c: u32) -> f32 { return vectors[places.at[1].z + c]; }
fn p14(c: u32) -> f32 { return vectors[places.at[1].w + c]; }
fn p16(c: u32) -> f32 { return vectors[places.at[2].x + c]; }
// attn_norm
fn p3(c: u32, t: u32, s: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let a2 = p2(c);
    let m = stat_p3[s];
    return (a0 - m.x) * m.y * a1 + a2;
}

var<workgroup> stat_p3: array<vec2<f32>, 2>;
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
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 512u;
    // attn_norm
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
        let z0_0_1 = p0(first + 1u * lane + 256u, t);
        let z1_0_0 = p0(first + 1u * lane + 0u, t - min(t, 1u));
        let z1_0_1 = p0(first + 1u * lane + 256u, t - min(t, 1u));
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0;
        }
        {
            let a0 = z0_0_1;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat_p3[0u] = m; }
        workgroupBarrier();
    }
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z1_0_0;
            sum0 += a0;
        }
        {
            let a0 = z1_0_1;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z1_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z1_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat_p3[1u] = m; }
        workgroupBarrier();
    }
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // attn_norm
        let v0 = p0(c, t);
        let v1 = p1(c);
        let v2 = p2(c);
        let m3 = stat_p3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        // time_mix_shift
        var v5 = state_old[places.at[2].y + c];
        if (t > 0u) { v5 = p3(c, t - 1u, 1u); }
        if (t + 1u == step.n_tokens) { state_new[places.at[2].y + c] = v3; }
        // xr
        let v6 = p6(c);
        let v7 = v3 + (v5 - v3) * v6;
        arena[places.at[2].z + t * 512u + c] = v7;
        // xw
        let v8 = p8(c);
        let v9 = v3 + (v5 - v3) * v8;
        arena[places.at[2].w + t * 512u + c] = v9;
        // xk
        let v10 = p10(c);
        let v11 = v3 + (v5 - v3) * v10;
        arena[places.at[3].x + t * 512u + c] = v11;
        // xv
        let v12 = p12(c);
        let v13 = v3 + (v5 - v3) * v12;
        arena[places.at[3].y + t * 512u + c] = v13;
        // xa
        let v14 = p14(c);
        let v15 = v3 + (v5 - v3) * v14;
        arena[places.at[3].z + t * 512u + c] = v15;
        // xg
        let v16 = p16(c);
        let v17 = v3 + (v5 - v3) * v16;
        arena[places.at[3].w + t * 512u + c] = v17;
    }
}

struct Places { at: array<vec4<u32>, 3> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn e1(c: u32, t: u32) -> f32 { return arena[places.at[0].y + t * 512u + c]; }
fn e2(c: u32, t: u32) -> f32 { return arena[places.at[0].z + t * 512u + c]; }
fn e3(c: u32, t: u32) -> f32 { return arena[places.at[0].w + t * 32u + c]; }
fn e4(c: u32, t: u32) -> f32 { return arena[places.at[1].x + t * 32u + c]; }
fn e5(c: u32, t: u32) -> f32 { return arena[places.at[1].y + t * 32u + c]; }
fn e6(c: u32, t: u32) -> f32 { return arena[places.at[1].z + t * 64u + c]; }
fn e9(c: u32) -> f32 { return vectors[places.at[1].w + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 32u) {
        // time_mix_w1.act
        let v4 = e4(c, t);
        let v7 = tanh(clamp(v4, -20.0, 20.0));
        arena[places.at[2].x + t * 32u + c] = v7;
    }
}

@compute @workgroup_size(64)
fn part1(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 64u) {
        // time_mix_g1.act
        let v6 = e6(c, t);
        let v8 = 1.0 / (1.0 + exp(clamp(-v6, -80.0, 80.0)));
        arena[places.at[2].y + t * 64u + c] = v8;
    }
}

@compute @workgroup_size(64)
fn part2(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 512u) {
        // k_k
        let v1 = e1(c, t);
        let v9 = e9(c);
        let v10 = v1 * v9;
        arena[places.at[2].z + t * 512u + c] = v10;
    }
}

struct Places { at: array<vec4<u32>, 4> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn e1(c: u32, t: u32) -> f32 { return arena[places.at[0].y + t * 512u + c]; }
fn e2(c: u32, t: u32) -> f32 { return arena[places.at[0].z + t * 512u + c]; }
fn e3(c: u32, t: u32) -> f32 { return arena[places.at[0].w + t * 512u + c]; }
fn e4(c: u32) -> f32 { return vectors[places.at[1].x + c]; }
fn e7(c: u32, t: u32) -> f32 { return arena[places.at[1].y + t * 512u + c]; }
fn e8(c: u32, t: u32) -> f32 { return arena[places.at[1].z + t * 512u + c]; }
fn e10(c: u32) -> f32 { return vectors[places.at[1].w + c]; }
fn e13(c: u32) -> f32 { return vectors[places.at[2].x + c]; }
fn e16(c: u32, t: u32) -> f32 { return arena[places.at[2].y + t * 512u + c]; }
fn e17(c: u32) -> f32 { return vectors[places.at[2].z + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 512u) {
        // time_mix_v0
        let v0 = e0(c, t);
        let v4 = e4(c);
        let v5 = v0 + v4;
        // v_mix
        let v6 = 1.0 / (1.0 + exp(clamp(-v5, -80.0, 80.0)));
        // v
        let v7 = e7(c, t);
        let v8 = e8(c, t);
        let v9 = v7 + (v8 - v7) * v6;
        arena[places.at[2].w + t * 512u + c] = v9;
        // time_mix_w0
        let v1 = e1(c, t);
        let v10 = e10(c);
        let v11 = v1 + v10;
        // decay
        let v12 = exp(-0.60653066 / (1.0 + exp(clamp(-v11, -80.0, 80.0))));
        arena[places.at[3].x + t * 512u + c] = v12;
        // time_mix_a0
        let v2 = e2(c, t);
        let v13 = e13(c);
        let v14 = v2 + v13;
        // a
        let v15 = 1.0 / (1.0 + exp(clamp(-v14, -80.0, 80.0)));
        arena[places.at[3].y + t * 512u + c] = v15;
        // k
        let v16 = e16(c, t);
        let v17 = e17(c);
        let v18 = v16 * (1.0 + (v15 - 1.0) * v17);
        arena[places.at[3].z + t * 512u + c] = v18;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }

var<private> stat_p1: array<vec2<f32>, 1>;
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
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 64u;
    // kk
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = 1.0 / max(sqrt(total(lane, sum0)), 9.99999996e-13);
        stat_p1[0] = m;
    }
    }
    for (var c = first + lane; c < first + 64u; c += 64u) {
        // kk
        let v0 = p0(c, t);
        let m1 = stat_p1[0u];
        let v1 = v0 * m1.x;
        arena[places.at[0].y + t * 512u + c] = v1;
    }
}

struct Places { at: array<vec4<u32>, 3> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn e1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }
fn e2(c: u32) -> f32 { return vectors[places.at[0].z + c]; }
fn e4(c: u32, t: u32) -> f32 { return arena[places.at[0].w + t * 512u + c]; }
fn e5(c: u32, t: u32) -> f32 { return arena[places.at[1].x + t * 512u + c]; }
fn e6(c: u32, t: u32) -> f32 { return arena[places.at[1].y + t * 512u + c]; }
fn e7(c: u32) -> f32 { return vectors[places.at[1].z + c]; }
fn e9(c: u32, t: u32) -> f32 { return arena[places.at[1].w + t * 512u + c]; }

var<private> stat_e3: array<vec2<f32>, 1>;
var<private> stat_e8: array<vec2<f32>, 1>;
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
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 64u;
    // time_mix_ln
    {
        let z0_0_0 = e0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 64.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 64.0 + 0.000639999984);
        stat_e3[0] = m;
    }
    }
    // bonus
    {
        let z0_1_0 = e4(first + 1u * lane + 0u, t);
        let z0_2_0 = e5(first + 1u * lane + 0u, t);
        let z0_4_0 = e7(first + 1u * lane + 0u);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a1 = z0_1_0;
            let a2 = z0_2_0;
            let a4 = z0_4_0;
            sum0 += a1 * a2 * a4;
        }
        m.x = total(lane, sum0);
        stat_e8[0] = m;
    }
    }
    for (var c = first + lane; c < first + 64u; c += 64u) {
        // time_mix_ln
        let v0 = e0(c, t);
        let v1 = e1(c);
        let v2 = e2(c);
        let m3 = stat_e3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        // bonus
        let v4 = e4(c, t);
        let v5 = e5(c, t);
        let v6 = e6(c, t);
        let v7 = e7(c);
        let m8 = stat_e8[0u];
        let v8 = v3 + m8.x * v6;
        // gated
        let v9 = e9(c, t);
        let v10 = v8 * v9;
        arena[places.at[2].x + t * 512u + c] = v10;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn e1(c: u32, t: u32) -> f32 { return arena[places.at[0].y + t * 512u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 512u) {
        // x_time_mix
        let v1 = e1(c, t);
        let v0 = e0(c, t);
        let v2 = v1 + v0;
        arena[places.at[0].z + t * 512u + c] = v2;
    }
}

struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 2> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(4) var<storage, read> state_old: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn p1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }
fn p2(c: u32) -> f32 { return vectors[places.at[0].z + c]; }
fn p6(c: u32) -> f32 { return vectors[places.at[0].w + c]; }
// attn_norm_2
fn p3(c: u32, t: u32, s: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let a2 = p2(c);
    let m = stat_p3[s];
    return (a0 - m.x) * m.y * a1 + a2;
}

var<workgroup> stat_p3: array<vec2<f32>, 2>;
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
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 512u;
    // attn_norm_2
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
        let z0_0_1 = p0(first + 1u * lane + 256u, t);
        let z1_0_0 = p0(first + 1u * lane + 0u, t - min(t, 1u));
        let z1_0_1 = p0(first + 1u * lane + 256u, t - min(t, 1u));
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0;
        }
        {
            let a0 = z0_0_1;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat_p3[0u] = m; }
        workgroupBarrier();
    }
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z1_0_0;
            sum0 += a0;
        }
        {
            let a0 = z1_0_1;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z1_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z1_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        if (lane == 0u) { stat_p3[1u] = m; }
        workgroupBarrier();
    }
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // attn_norm_2
        let v0 = p0(c, t);
        let v1 = p1(c);
        let v2 = p2(c);
        let m3 = stat_p3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        // channel_mix_shift
        var v5 = state_old[places.at[1].x + c];
        if (t > 0u) { v5 = p3(c, t - 1u, 1u); }
        if (t + 1u == step.n_tokens) { state_new[places.at[1].x + c] = v3; }
        // channel_mix_xk
        let v6 = p6(c);
        let v7 = v3 + (v5 - v3) * v6;
        arena[places.at[1].y + t * 512u + c] = v7;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 2048u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 2048u) {
        // channel_mix_k
        let v0 = e0(c, t);
        let v1 = max(v0, 0.0) * max(v0, 0.0);
        arena[places.at[0].y + t * 2048u + c] = v1;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn e1(c: u32, t: u32) -> f32 { return arena[places.at[0].y + t * 512u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 512u) {
        // x_channel_mix
        let v1 = e1(c, t);
        let v0 = e0(c, t);
        let v2 = v1 + v0;
        arena[places.at[0].z + t * 512u + c] = v2;
    }
}

struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn p2(c: u32) -> f32 { return vectors[places.at[0].y + c]; }
fn p3(c: u32) -> f32 { return vectors[places.at[0].z + c]; }
// x_selected
fn p1(c: u32, t: u32) -> f32 {
    return p0(c, t + step.n_tokens - step.n_outputs);
}

var<private> stat_p4: array<vec2<f32>, 1>;
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
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let u = t + step.n_tokens - step.n_outputs;
    let first = id.x * 512u;
    // output_norm
    {
        let z0_0_0 = p1(first + 1u * lane + 0u, t);
        let z0_0_1 = p1(first + 1u * lane + 256u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0;
        }
        {
            let a0 = z0_0_1;
            sum0 += a0;
        }
        m.x = total(lane, sum0) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total(lane, sum1) / 512.0 + 9.99999975e-06);
        stat_p4[0] = m;
    }
    }
    for (var c = first + lane; c < first + 512u; c += 256u) {
        // x_selected
        let v1 = p0(c, u);
        // output_norm
        let v2 = p2(c);
        let v3 = p3(c);
        let m4 = stat_p4[0u];
        let v4 = (v1 - m4.x) * m4.y * v2 + v3;
        arena[places.at[0].w + t * 512u + c] = v4;
    }
}
