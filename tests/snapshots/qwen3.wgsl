struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 256u + c]; }
fn e1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }

var<private> stat_e2: array<vec2<f32>, 1>;
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
    let first = id.x * 256u;
    // blk.0.attn_norm
    {
        let z0_0_0 = e0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        stat_e2[0] = m;
    }
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // blk.0.attn_norm
        let v0 = e0(c, t);
        let v1 = e1(c);
        let m2 = stat_e2[0u];
        let v2 = v0 * m2.x * v1;
        arena[places.at[0].z + t * 256u + c] = v2;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 256u + c]; }
fn p1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }

var<private> stat_p2: array<vec2<f32>, 1>;
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
    let first = id.x * 256u;
    // attn_norm
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        stat_p2[0] = m;
    }
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // attn_norm
        let v0 = p0(c, t);
        let v1 = p1(c);
        let m2 = stat_p2[0u];
        let v2 = v0 * m2.x * v1;
        arena[places.at[0].z + t * 256u + c] = v2;
    }
}

struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 2> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec2<f32>>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 512u + c]; }
fn p1(c: u32) -> f32 { return vectors[places.at[0].y + c % 128u]; }
fn p3(c: u32, t: u32) -> f32 { return arena[places.at[0].z + t * 256u + c]; }
fn p4(c: u32) -> f32 { return vectors[places.at[0].w + c % 128u]; }
// attn_q_norm
fn p2(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}
// attn_k_norm
fn p5(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p4(c);
    let m = stat_p5[0u];
    return a0 * m.x * a1;
}
// q_rotated
fn p7(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = p2(ca, t);
    let b = p2(cb, t);
    let angle = angles[places.at[1].x + (step.pos + t) * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}
// k_rotated
fn p8(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = p5(ca, t);
    let b = p5(cb, t);
    let angle = angles[places.at[1].x + (step.pos + t) * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

var<private> stat_p2: array<vec2<f32>, 1>;
var<private> stat_p5: array<vec2<f32>, 1>;
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
    let first = id.x * 128u;
    // attn_q_norm
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
        let z0_0_1 = p0(first + 1u * lane + 64u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        {
            let a0 = z0_0_1;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 128.0 + 9.99999997e-07);
        stat_p2[0] = m;
    }
    }
    for (var c = first + lane; c < first + 128u; c += 64u) {
        // attn_q_norm
        let v0 = p0(c, t);
        let v1 = p1(c);
        let m2 = stat_p2[0u];
        let v2 = v0 * m2.x * v1;
        // q_rotated
        let v7 = p7(c, t);
        arena[places.at[1].y + t * 512u + c] = v7;
    }
}

@compute @workgroup_size(64)
fn part1(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 128u;
    // attn_k_norm
    {
        let z0_0_0 = p3(first + 1u * lane + 0u, t);
        let z0_0_1 = p3(first + 1u * lane + 64u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        {
            let a0 = z0_0_1;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 128.0 + 9.99999997e-07);
        stat_p5[0] = m;
    }
    }
    for (var c = first + lane; c < first + 128u; c += 64u) {
        // attn_k_norm
        let v3 = p3(c, t);
        let v4 = p4(c);
        let m5 = stat_p5[0u];
        let v5 = v3 * m5.x * v4;
        // k_rotated
        let v8 = p8(c, t);
        arena[places.at[1].z + t * 256u + c] = v8;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 256u + c]; }
fn e1(c: u32, t: u32) -> f32 { return arena[places.at[0].y + t * 256u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 256u) {
        // x_attention
        let v1 = e1(c, t);
        let v0 = e0(c, t);
        let v2 = v1 + v0;
        arena[places.at[0].z + t * 256u + c] = v2;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 256u + c]; }
fn p1(c: u32) -> f32 { return vectors[places.at[0].y + c]; }

var<private> stat_p2: array<vec2<f32>, 1>;
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
    let first = id.x * 256u;
    // ffn_norm
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        stat_p2[0] = m;
    }
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // ffn_norm
        let v0 = p0(c, t);
        let v1 = p1(c);
        let m2 = stat_p2[0u];
        let v2 = v0 * m2.x * v1;
        arena[places.at[0].z + t * 256u + c] = v2;
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
        // ffn_act
        let v0 = e0(c, t);
        let v2 = v0 / (1.0 + exp(clamp(-v0, -80.0, 80.0)));
        // ffn_gated
        let v1 = e1(c, t);
        let v3 = v2 * v1;
        arena[places.at[0].z + t * 512u + c] = v3;
    }
}

struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 256u + c]; }
fn e1(c: u32, t: u32) -> f32 { return arena[places.at[0].y + t * 256u + c]; }

@compute @workgroup_size(64)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let c = id.x * 64u + lane;
    if (c < 256u) {
        // x_ffn
        let v1 = e1(c, t);
        let v0 = e0(c, t);
        let v2 = v1 + v0;
        arena[places.at[0].z + t * 256u + c] = v2;
    }
}

struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn p0(c: u32, t: u32) -> f32 { return arena[places.at[0].x + t * 256u + c]; }
fn p2(c: u32) -> f32 { return vectors[places.at[0].y + c]; }
// x_selected
fn p1(c: u32, t: u32) -> f32 {
    return p0(c, t + step.n_tokens - step.n_outputs);
}

var<private> stat_p3: array<vec2<f32>, 1>;
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
    let first = id.x * 256u;
    // output_norm
    {
        let z0_0_0 = p1(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 256.0 + 9.99999997e-07);
        stat_p3[0] = m;
    }
    }
    for (var c = first + lane; c < first + 256u; c += 256u) {
        // x_selected
        let v1 = p0(c, u);
        // output_norm
        let v2 = p2(c);
        let m3 = stat_p3[0u];
        let v3 = v1 * m3.x * v2;
        arena[places.at[0].z + t * 256u + c] = v3;
    }
}
