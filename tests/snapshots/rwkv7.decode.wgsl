// phase 0, kernel 1
struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(11) var<storage, read> tokens: array<u32>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = id.x;
    let t = id.y;
    let token = tokens[(step.pos + t) % 8192u] - 0u;
    if (b >= 16u || token >= 4096u) { return; }
    let i = token * 16u + b;
    let to = 0u + t * 512u + 32u * b;
    let at = vec4<u32>(0u, 262144u, 0u, 0u);
    let w = block_Q4_K(at, i);
    for (var k = 0u; k < 8u; k++) {
        let four = select(w.hi, w.lo, k < 4u)[k % 4u];
        let half = k / 4u;
        for (var j = 0u; j < 4u; j++) {
            let u = bitcast<i32>(four << (24u - 8u * j)) >> 24u;
            arena[to + 4u * k + j] = w.a[half] * f32(u) - w.c[half];
        }
    }
}

// phase 0, kernel 2
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;

fn e0(c: u32, t: u32) -> f32 { return arena[0u + t * 512u + c]; }
fn e1(c: u32) -> f32 { return vectors[0u + c]; }
fn e2(c: u32) -> f32 { return vectors[512u + c]; }

var<private> stat_e3: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}

@compute @workgroup_size(256)
fn part0(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    let first = id.x * 512u;
    
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
        
        let v0 = e0(c, t);
        let v1 = e1(c);
        let v2 = e2(c);
        let m3 = stat_e3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        arena[512u + t * 512u + c] = v3;
    }
}

// phase 1, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(4) var<storage, read> state_old: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(12) var<storage, read> vectors4: array<vec4<f32>>;
@group(0) @binding(14) var<storage, read> state4: array<vec4<f32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q8_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 3> {
    return array<vec4<u32>, 3>(weights[at.x + 2u * i], weights[at.x + 2u * i + 1u],
        vec4<u32>(words[at.y + i / 2u], 0u, 0u, 0u));
}
fn unpack_Q8_0(i: u32, raw: array<vec4<u32>, 3>) -> Block {
    return Block(raw[0], raw[1], vec2<f32>(half_of(raw[2].x, i)), vec2<f32>());
}
fn block_Q8_0(at: vec4<u32>, i: u32) -> Block { return unpack_Q8_0(i, raw_Q8_0(at, i)); }

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }
fn four_of_F16(raw: vec4<u32>, k: u32) -> vec4<f32> {
    let four = select(raw.xy, raw.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
fn four_F16(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> { return four_of_F16(weights[at.x + (32u * i + 4u * k) / 8u], k); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn p0(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p1(c: u32) -> f32 { return vectors[0u + c]; }
fn P1(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }
fn p2(c: u32) -> f32 { return vectors[512u + c]; }
fn P2(c: u32) -> vec4<f32> { return vectors4[(512u + c) / 4u]; }
fn p6(c: u32) -> f32 { return vectors[1024u + c]; }
fn P6(c: u32) -> vec4<f32> { return vectors4[(1024u + c) / 4u]; }
fn p8(c: u32) -> f32 { return vectors[1536u + c]; }
fn P8(c: u32) -> vec4<f32> { return vectors4[(1536u + c) / 4u]; }
fn p10(c: u32) -> f32 { return vectors[2048u + c]; }
fn P10(c: u32) -> vec4<f32> { return vectors4[(2048u + c) / 4u]; }
fn p12(c: u32) -> f32 { return vectors[2560u + c]; }
fn P12(c: u32) -> vec4<f32> { return vectors4[(2560u + c) / 4u]; }
fn p14(c: u32) -> f32 { return vectors[3072u + c]; }
fn P14(c: u32) -> vec4<f32> { return vectors4[(3072u + c) / 4u]; }
fn p16(c: u32) -> f32 { return vectors[3584u + c]; }
fn P16(c: u32) -> vec4<f32> { return vectors4[(3584u + c) / 4u]; }

fn p3(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let a2 = p2(c);
    let m = stat_p3[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}
fn P3(c: u32, t: u32) -> vec4<f32> {
    let a0 = P0(c, t);
    let a1 = P1(c);
    let a2 = P2(c);
    let m = stat_p3[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}

fn p5(c: u32, t: u32) -> f32 {
    return state_old[0u + c];
}
fn P5(c: u32, t: u32) -> vec4<f32> {
    return state4[(0u + c) / 4u];
}

fn p7(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p6(c);
    return a0 + (a1 - a0) * a2;
}
fn P7(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P6(c);
    return a0 + (a1 - a0) * a2;
}

fn p9(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p8(c);
    return a0 + (a1 - a0) * a2;
}
fn P9(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P8(c);
    return a0 + (a1 - a0) * a2;
}

fn p11(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p10(c);
    return a0 + (a1 - a0) * a2;
}
fn P11(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P10(c);
    return a0 + (a1 - a0) * a2;
}

fn p13(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p12(c);
    return a0 + (a1 - a0) * a2;
}
fn P13(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P12(c);
    return a0 + (a1 - a0) * a2;
}

fn p15(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p14(c);
    return a0 + (a1 - a0) * a2;
}
fn P15(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P14(c);
    return a0 + (a1 - a0) * a2;
}

fn p17(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p16(c);
    return a0 + (a1 - a0) * a2;
}
fn P17(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P16(c);
    return a0 + (a1 - a0) * a2;
}

var<private> stat_p3: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}

fn e8(c: u32) -> f32 { return vectors[4096u + c]; }
fn sum_16(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
fn sum_64(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    workgroupBarrier();
    if (lane % 32u == 0u) { partial[lane / 32u] = s; }
    workgroupBarrier();
    let first = lane / 64u * 2u;
    s = partial[first];
    s += partial[first + 1u];
    return s;
}
var<workgroup> xs: array<vec4<u32>, 128>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P7(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v0 = sum_16(lane, acc0);
        if (there) {
        arena[4608u + t * 512u + c] = v0;
        }
}

fn job1(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(10240u, 73728u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P11(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v8 = e8(c);
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v1 = sum_16(lane, acc0);
        if (there) {
        arena[5120u + t * 512u + c] = v1;
        
        let v9 = v1 * v8;
        arena[6368u + t * 512u + c] = v9;
        }
}

fn job2(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(20480u, 114688u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P13(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v2 = sum_16(lane, acc0);
        if (there) {
        arena[5632u + t * 512u + c] = v2;
        }
}

fn job3(wg: u32, lane: u32, pre0: vec4<u32>) {
    let at0 = vec4<u32>(30720u, 0u, 0u, 0u);
    let sub = lane % 64u;
    for (var h = lane; h < 128u; h += 256u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 512u) { v = P9(c, 0u); }
        xs[0u + h / 2u + h % 2u * 64u] = bitcast<vec4<u32>>(v);
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 4u + lane / 64u < 32u;
        let row = min((turn) * 4u + lane / 64u, 31u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(pre0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(pre0, 1u), bitcast<vec4<f32>>(xs[x + 64u]));
        }
        let v3 = sum_64(lane, acc0);
        if (there) {
        
        let v6 = tanh(clamp(v3, -20.0, 20.0));
        arena[6272u + t * 32u + c] = v6;
        }
}

fn job4(wg: u32, lane: u32, pre0: vec4<u32>) {
    let at0 = vec4<u32>(32768u, 0u, 0u, 0u);
    let sub = lane % 64u;
    for (var h = lane; h < 128u; h += 256u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 512u) { v = P15(c, 0u); }
        xs[0u + h / 2u + h % 2u * 64u] = bitcast<vec4<u32>>(v);
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 4u + lane / 64u < 32u;
        let row = min((turn) * 4u + lane / 64u, 31u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(pre0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(pre0, 1u), bitcast<vec4<f32>>(xs[x + 64u]));
        }
        let v4 = sum_64(lane, acc0);
        if (there) {
        arena[6176u + t * 32u + c] = v4;
        }
}

fn job5(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>, pre2: vec4<u32>) {
    let at0 = vec4<u32>(34816u, 147456u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P17(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 64u;
        let row = min((turn) * 16u + lane / 16u, 63u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q8_0(row * 16u + unit, array<vec4<u32>, 3>(pre0, pre1, pre2));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v5 = sum_16(lane, acc0);
        if (there) {
        
        let v7 = 1.0 / (1.0 + exp(clamp(-v5, -80.0, 80.0)));
        arena[6304u + t * 64u + c] = v7;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    var pre2 = vec4<u32>();
    if (id.x < 32u) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 64u) {
    let at0 = vec4<u32>(10240u, 73728u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 32u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 96u) {
    let at0 = vec4<u32>(20480u, 114688u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 64u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 104u) {
    let at0 = vec4<u32>(30720u, 0u, 0u, 0u);
        let sub = lane % 64u;
        {
        let row = min(((id.x - 96u) * 1u) * 4u + lane / 64u, 31u);
        pre0 = weights[at0.x + row * 64u + sub + 0u];
        }
    }
    else if (id.x < 112u) {
    let at0 = vec4<u32>(32768u, 0u, 0u, 0u);
        let sub = lane % 64u;
        {
        let row = min(((id.x - 104u) * 1u) * 4u + lane / 64u, 31u);
        pre0 = weights[at0.x + row * 64u + sub + 0u];
        }
    }
    else if (id.x < 116u) {
    let at0 = vec4<u32>(34816u, 147456u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 112u) * 1u) * 16u + lane / 16u, 63u);
        { let r = raw_Q8_0(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; pre2 = r[2]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
        let z0_0_1 = p0(first + 1u * lane + 256u, t);
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
        m.x = total_at(lane, sum0, 0u) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total_at(lane, sum1, 8u) / 512.0 + 9.99999975e-06);
        stat_p3[0] = m;
    }
    }
    if (id.x < 32u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
    else if (id.x < 64u) {
        job1(id.x - 32u, lane, pre0, pre1);
    }
    else if (id.x < 96u) {
        job2(id.x - 64u, lane, pre0, pre1);
    }
    else if (id.x < 104u) {
        job3(id.x - 96u, lane, pre0);
    }
    else if (id.x < 112u) {
        job4(id.x - 104u, lane, pre0);
    }
    else if (id.x < 116u) {
        job5(id.x - 112u, lane, pre0, pre1, pre2);
    }
    else {
        for (var c = lane; c < 512u; c += 256u) {
        
        let v0 = p0(c, t);
        let v1 = p1(c);
        let v2 = p2(c);
        let m3 = stat_p3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        
        let v5 = state_old[0u + c];
        state_new[0u + c] = v3;
        
        let v6 = p6(c);
        let v7 = v3 + (v5 - v3) * v6;
        
        let v8 = p8(c);
        let v9 = v3 + (v5 - v3) * v8;
        
        let v10 = p10(c);
        let v11 = v3 + (v5 - v3) * v10;
        
        let v12 = p12(c);
        let v13 = v3 + (v5 - v3) * v12;
        
        let v14 = p14(c);
        let v15 = v3 + (v5 - v3) * v14;
        
        let v16 = p16(c);
        let v17 = v3 + (v5 - v3) * v16;
        }
    }
}

// phase 3, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;
@group(0) @binding(14) var<storage, read> state4: array<vec4<f32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q8_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 3> {
    return array<vec4<u32>, 3>(weights[at.x + 2u * i], weights[at.x + 2u * i + 1u],
        vec4<u32>(words[at.y + i / 2u], 0u, 0u, 0u));
}
fn unpack_Q8_0(i: u32, raw: array<vec4<u32>, 3>) -> Block {
    return Block(raw[0], raw[1], vec2<f32>(half_of(raw[2].x, i)), vec2<f32>());
}
fn block_Q8_0(at: vec4<u32>, i: u32) -> Block { return unpack_Q8_0(i, raw_Q8_0(at, i)); }
fn four_of_F16(raw: vec4<u32>, k: u32) -> vec4<f32> {
    let four = select(raw.xy, raw.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
fn four_F16(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> { return four_of_F16(weights[at.x + (32u * i + 4u * k) / 8u], k); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn j3(c: u32) -> f32 { return vectors[0u + c]; }
fn j6(c: u32) -> f32 { return vectors[512u + c]; }
fn j9(c: u32, t: u32) -> f32 { return arena[5120u + t * 512u + c]; }
fn j10(c: u32) -> f32 { return vectors[1024u + c]; }
var<workgroup> partial: array<f32, 512>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    s += partial[at + 8u];
    s += partial[at + 9u];
    s += partial[at + 10u];
    s += partial[at + 11u];
    s += partial[at + 12u];
    s += partial[at + 13u];
    s += partial[at + 14u];
    s += partial[at + 15u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}
fn sum_8(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }
var<workgroup> xs: array<vec4<u32>, 22>;
var<workgroup> joint2: array<f32, 64>;
var<workgroup> joint5: array<f32, 64>;
var<workgroup> joint8: array<f32, 64>;
var<workgroup> joint11: array<f32, 64>;

fn p0(c: u32, t: u32) -> f32 { return arena[6368u + t * 512u + c]; }

fn p1(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let m = stat_p1[0u];
    return a0 * m.x;
}

var<private> stat_p1: array<vec2<f32>, 1>;

fn e1(c: u32) -> f32 { return vectors[1536u + c]; }
fn e2(c: u32) -> f32 { return vectors[2048u + c]; }
fn e4(c: u32, t: u32) -> f32 { return arena[4608u + t * 512u + c]; }
fn e5(c: u32, t: u32) -> f32 { return arena[4096u + t * 512u + c]; }
fn e6(c: u32, t: u32) -> f32 { return arena[5632u + t * 512u + c]; }
fn e7(c: u32) -> f32 { return vectors[2560u + c]; }
fn e9(c: u32, t: u32) -> f32 { return arena[1536u + t * 512u + c]; }

var<private> stat_e3: array<vec2<f32>, 1>;
var<private> stat_e8: array<vec2<f32>, 1>;
fn across(x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> y: array<f32, 64>;
var<workgroup> xv: array<f32, 64>;
var<workgroup> staged: array<vec4<f32>, 16>;
var<workgroup> xr: array<vec4<f32>, 16>;
var<workgroup> xw: array<vec4<f32>, 16>;
var<workgroup> xk: array<vec4<f32>, 16>;
var<workgroup> xq: array<vec4<f32>, 16>;
var<workgroup> xa: array<vec4<f32>, 16>;

@compute @workgroup_size(512)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = id.x * 64u;
    let at = lane % 32u;
    let row = lane / 8u;
    let part = lane % 8u;
    var raw0_0 = vec4<u32>();
    {
    let at0 = vec4<u32>(0u, 0u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        raw0_0 = weights[at0.x + row * 4u + min(sub + 0u, 3u)];
        }
    }
    var raw1_0 = vec4<u32>();
    {
    let at0 = vec4<u32>(2048u, 0u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        raw1_0 = weights[at0.x + row * 4u + min(sub + 0u, 3u)];
        }
    }
    var raw2_0 = vec4<u32>();
    var raw2_1 = vec4<u32>();
    var raw2_2 = vec4<u32>();
    {
    let at0 = vec4<u32>(4096u, 24576u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        { let r = raw_Q8_0(at0, row * 2u + min(sub + 0u, 1u)); raw2_0 = r[0]; raw2_1 = r[1]; raw2_2 = r[2]; }
        }
    }
    let a0 = 0u + (first + row) * 64u + 4u * (part + 0u);
    var s0 = state4[a0 / 4u];
    let a1 = 0u + (first + row) * 64u + 4u * (part + 8u);
    var s1 = state4[a1 / 4u];
    let in31_0 = arena[4608u + first + at + 0u];
    let in31_1 = arena[4608u + first + at + 32u];
    let in27_0 = arena[5632u + first + at + 0u];
    let in27_1 = arena[5632u + first + at + 32u];
    let pr0_0 = p0(first + at + 0u, 0u);
    let pr0_1 = p0(first + at + 32u, 0u);
    let er1_0 = e1(first + at + 0u);
    let er1_1 = e1(first + at + 32u);
    let er2_0 = e2(first + at + 0u);
    let er2_1 = e2(first + at + 32u);
    let er4_0 = e4(first + at + 0u, 0u);
    let er4_1 = e4(first + at + 32u, 0u);
    let er6_0 = e6(first + at + 0u, 0u);
    let er6_1 = e6(first + at + 32u, 0u);
    let er7_0 = e7(first + at + 0u);
    let er7_1 = e7(first + at + 32u);
    for (var h = lane; h < 8u; h += 512u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 32u) { v = vec4<f32>(arena[6272u + 0u * 32u + c + 0u], arena[6272u + 0u * 32u + c + 1u], arena[6272u + 0u * 32u + c + 2u], arena[6272u + 0u * 32u + c + 3u]); }
        xs[0u + h / 2u + h % 2u * 4u] = bitcast<vec4<u32>>(v);
    }
    for (var h = lane; h < 8u; h += 512u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 32u) { v = vec4<f32>(arena[6176u + 0u * 32u + c + 0u], arena[6176u + 0u * 32u + c + 1u], arena[6176u + 0u * 32u + c + 2u], arena[6176u + 0u * 32u + c + 3u]); }
        xs[8u + h / 2u + h % 2u * 4u] = bitcast<vec4<u32>>(v);
    }
    for (var g0 = 0u; g0 < 512u; g0 += 512u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 16u && c < 64u) {
            v = vec4<f32>(arena[6304u + 0u * 64u + c + 0u], arena[6304u + 0u * 64u + c + 1u], arena[6304u + 0u * 64u + c + 2u], arena[6304u + 0u * 64u + c + 3u]);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 16u && g % 4u == 0u) { xs[16u + g / 8u + g / 4u % 2u * 2u] = words4; }
        if (g < 16u && g % 8u == 0u) { xs[16u + g / 8u + 4u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v3 = j3(c);
        var acc0 = 0.0;
        if (sub + 0u < 4u)        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(raw0_0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(raw0_0, 1u), bitcast<vec4<f32>>(xs[x + 4u]));
        }
        let v0 = sum_8(lane, acc0);
        if (there) {
        
        let v4 = v0 + v3;
        
        let v5 = exp(-0.60653066 / (1.0 + exp(clamp(-v4, -80.0, 80.0))));
        joint5[lane / 8u] = v5;
        }
    }
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v6 = j6(c);
        let v9 = j9(c, t);
        let v10 = j10(c);
        var acc0 = 0.0;
        if (sub + 0u < 4u)        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(raw1_0, 0u), bitcast<vec4<f32>>(xs[x + 8u]));
            acc0 += dot(four_of_F16(raw1_0, 1u), bitcast<vec4<f32>>(xs[x + 12u]));
        }
        let v1 = sum_8(lane, acc0);
        if (there) {
        
        let v7 = v1 + v6;
        
        let v8 = 1.0 / (1.0 + exp(clamp(-v7, -80.0, 80.0)));
        
        let v11 = v9 * (1.0 + (v8 - 1.0) * v10);
        joint8[lane / 8u] = v8;
        joint11[lane / 8u] = v11;
        }
    }
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        if (sub + 0u < 2u)        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q8_0(row * 2u + unit, array<vec4<u32>, 3>(raw2_0, raw2_1, raw2_2));
            acc0 += product_whole(w, xs[x + 16u], xs[x + 18u], bitcast<vec4<f32>>(xs[x + 20u]));
        }
        let v2 = sum_8(lane, acc0);
        if (there) {
        joint2[lane / 8u] = v2;
        }
    }
    workgroupBarrier();
    var pm1 = vec2<f32>();
    var ps1_0 = 0.0;
    { ps1_0 += pr0_0 * pr0_0; }
    { ps1_0 += pr0_1 * pr0_1; }
    pm1.x = 1.0 / max(sqrt(across(ps1_0)), 9.99999996e-13);
    let pr1_0 = pr0_0 * pm1.x;
    let pr1_1 = pr0_1 * pm1.x;
    if (lane < 32u) {
        {
        let c = at + 0u;
        xr[c / 4u][c % 4u] = in31_0;
        xw[c / 4u][c % 4u] = joint5[at + 0u];
        xk[c / 4u][c % 4u] = joint11[at + 0u];
        xv[c] = in27_0;
        xq[c / 4u][c % 4u] = pr1_0;
        xa[c / 4u][c % 4u] = joint8[at + 0u] * pr1_0;
        }
        {
        let c = at + 32u;
        xr[c / 4u][c % 4u] = in31_1;
        xw[c / 4u][c % 4u] = joint5[at + 32u];
        xk[c / 4u][c % 4u] = joint11[at + 32u];
        xv[c] = in27_1;
        xq[c / 4u][c % 4u] = pr1_1;
        xa[c / 4u][c % 4u] = joint8[at + 32u] * pr1_1;
        }
    }
    workgroupBarrier();
        let value = xv[row];
        var dot_q = 0.0;
        var dot_r = 0.0;
        dot_q += dot(s0, xq[part + 0u]);
        dot_q += dot(s1, xq[part + 8u]);
        let removed = sum_8(lane, dot_q);
        s0 = s0 * xw[part + 0u] - removed * xa[part + 0u] + value * xk[part + 0u];
        dot_r += dot(s0, xr[part + 0u]);
        s1 = s1 * xw[part + 8u] - removed * xa[part + 8u] + value * xk[part + 8u];
        dot_r += dot(s1, xr[part + 8u]);
        let result = sum_8(lane, dot_r);
        if (part == 0u) { y[row] = result; }
    state_new[a0 + 0u] = s0.x;
    state_new[a0 + 1u] = s0.y;
    state_new[a0 + 2u] = s0.z;
    state_new[a0 + 3u] = s0.w;
    state_new[a1 + 0u] = s1.x;
    state_new[a1 + 1u] = s1.y;
    state_new[a1 + 2u] = s1.z;
    state_new[a1 + 3u] = s1.w;
    workgroupBarrier();
    let er0_0 = y[at + 0u];
    let er0_1 = y[at + 32u];
    let er5_0 = joint11[at + 0u];
    let er5_1 = joint11[at + 32u];
    let er9_0 = joint2[at + 0u];
    let er9_1 = joint2[at + 32u];
    var em3 = vec2<f32>();
    var es3_0 = 0.0;
    { es3_0 += er0_0; }
    { es3_0 += er0_1; }
    em3.x = across(es3_0) / 64.0;
    var es3_1 = 0.0;
    { es3_1 += (er0_0 - em3.x) * (er0_0 - em3.x); }
    { es3_1 += (er0_1 - em3.x) * (er0_1 - em3.x); }
    em3.y = inverseSqrt(across(es3_1) / 64.0 + 0.000639999984);
    let er3_0 = (er0_0 - em3.x) * em3.y * er1_0 + er2_0;
    let er3_1 = (er0_1 - em3.x) * em3.y * er1_1 + er2_1;
    var em8 = vec2<f32>();
    var es8_0 = 0.0;
    { es8_0 += er4_0 * er5_0 * er7_0; }
    { es8_0 += er4_1 * er5_1 * er7_1; }
    em8.x = across(es8_0);
    let er8_0 = er3_0 + em8.x * er6_0;
    let er8_1 = er3_1 + em8.x * er6_1;
    let er10_0 = er8_0 * er9_0;
    let er10_1 = er8_1 * er9_1;
    if (lane < 32u) { let c = at + 0u; staged[c / 4u][c % 4u] = er10_0; }
    if (lane < 32u) { let c = at + 32u; staged[c / 4u][c % 4u] = er10_1; }
    workgroupBarrier();
    {
        let v = staged[min(lane, 15u)];
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (lane < 16u && lane % 4u == 0u) { codes[192u + id.x * 2u + lane / 8u + lane / 4u % 2u * 16u] = words4; }
        if (lane < 16u && lane % 8u == 0u) { codes[192u + id.x * 2u + lane / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
}

// phase 4, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn e1(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}
fn sum_16(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 48>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
    let sub = lane % 16u;
    for (var h = lane; h < 48u; h += 256u) {
        xs[0u + h] = codes[192u + h];
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v1 = e1(c, t);
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v0 = sum_16(lane, acc0);
        if (there) {
        
        let v2 = v1 + v0;
        arena[1024u + t * 512u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 32u) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 32u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}

// phase 5, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(4) var<storage, read> state_old: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(12) var<storage, read> vectors4: array<vec4<f32>>;
@group(0) @binding(14) var<storage, read> state4: array<vec4<f32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn p0(c: u32, t: u32) -> f32 { return arena[1024u + t * 512u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p1(c: u32) -> f32 { return vectors[0u + c]; }
fn P1(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }
fn p2(c: u32) -> f32 { return vectors[512u + c]; }
fn P2(c: u32) -> vec4<f32> { return vectors4[(512u + c) / 4u]; }
fn p6(c: u32) -> f32 { return vectors[1024u + c]; }
fn P6(c: u32) -> vec4<f32> { return vectors4[(1024u + c) / 4u]; }

fn p3(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let a2 = p2(c);
    let m = stat_p3[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}
fn P3(c: u32, t: u32) -> vec4<f32> {
    let a0 = P0(c, t);
    let a1 = P1(c);
    let a2 = P2(c);
    let m = stat_p3[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}

fn p5(c: u32, t: u32) -> f32 {
    return state_old[0u + c];
}
fn P5(c: u32, t: u32) -> vec4<f32> {
    return state4[(0u + c) / 4u];
}

fn p7(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p6(c);
    return a0 + (a1 - a0) * a2;
}
fn P7(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P6(c);
    return a0 + (a1 - a0) * a2;
}

var<private> stat_p3: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}

fn sum_16(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 48>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 131072u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P7(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 2048u;
        let row = min((turn) * 16u + lane / 16u, 2047u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v0 = sum_16(lane, acc0);
        if (there) {
        
        let v1 = max(v0, 0.0) * max(v0, 0.0);
        arena[6144u + t * 2048u + c] = v1;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 128u) {
    let at0 = vec4<u32>(0u, 131072u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 2047u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
        let z0_0_1 = p0(first + 1u * lane + 256u, t);
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
        m.x = total_at(lane, sum0, 0u) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total_at(lane, sum1, 8u) / 512.0 + 9.99999975e-06);
        stat_p3[0] = m;
    }
    }
    if (id.x < 128u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
    else {
        for (var c = lane; c < 512u; c += 256u) {
        
        let v0 = p0(c, t);
        let v1 = p1(c);
        let v2 = p2(c);
        let m3 = stat_p3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        
        let v5 = state_old[0u + c];
        state_new[0u + c] = v3;
        
        let v6 = p6(c);
        let v7 = v3 + (v5 - v3) * v6;
        }
    }
}

// phase 6, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn e1(c: u32, t: u32) -> f32 { return arena[1024u + t * 512u + c]; }
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}
fn sum_64(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    workgroupBarrier();
    if (lane % 32u == 0u) { partial[lane / 32u] = s; }
    workgroupBarrier();
    let first = lane / 64u * 2u;
    s = partial[first];
    s += partial[first + 1u];
    return s;
}
var<workgroup> xs: array<vec4<u32>, 192>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 131072u, 0u, 0u);
    let sub = lane % 64u;
    for (var g0 = 0u; g0 < 512u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 512u && c < 2048u) {
            v = vec4<f32>(arena[6144u + 0u * 2048u + c + 0u], arena[6144u + 0u * 2048u + c + 1u], arena[6144u + 0u * 2048u + c + 2u], arena[6144u + 0u * 2048u + c + 3u]);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 512u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 64u] = words4; }
        if (g < 512u && g % 8u == 0u) { xs[0u + g / 8u + 128u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 4u + lane / 64u < 512u;
        let row = min((turn) * 4u + lane / 64u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v1 = e1(c, t);
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 64u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 64u], bitcast<vec4<f32>>(xs[x + 128u]));
        }
        let v0 = sum_64(lane, acc0);
        if (there) {
        
        let v2 = v1 + v0;
        arena[512u + t * 512u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 128u) {
    let at0 = vec4<u32>(0u, 131072u, 0u, 0u);
        let sub = lane % 64u;
        {
        let row = min(((id.x - 0u) * 1u) * 4u + lane / 64u, 511u);
        { let r = raw_Q4_K(at0, row * 64u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 128u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}

// phase 7, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(4) var<storage, read> state_old: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(12) var<storage, read> vectors4: array<vec4<f32>>;
@group(0) @binding(14) var<storage, read> state4: array<vec4<f32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q8_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 3> {
    return array<vec4<u32>, 3>(weights[at.x + 2u * i], weights[at.x + 2u * i + 1u],
        vec4<u32>(words[at.y + i / 2u], 0u, 0u, 0u));
}
fn unpack_Q8_0(i: u32, raw: array<vec4<u32>, 3>) -> Block {
    return Block(raw[0], raw[1], vec2<f32>(half_of(raw[2].x, i)), vec2<f32>());
}
fn block_Q8_0(at: vec4<u32>, i: u32) -> Block { return unpack_Q8_0(i, raw_Q8_0(at, i)); }

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }
fn four_of_F16(raw: vec4<u32>, k: u32) -> vec4<f32> {
    let four = select(raw.xy, raw.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
fn four_F16(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> { return four_of_F16(weights[at.x + (32u * i + 4u * k) / 8u], k); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn p0(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p1(c: u32) -> f32 { return vectors[0u + c]; }
fn P1(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }
fn p2(c: u32) -> f32 { return vectors[512u + c]; }
fn P2(c: u32) -> vec4<f32> { return vectors4[(512u + c) / 4u]; }
fn p6(c: u32) -> f32 { return vectors[1024u + c]; }
fn P6(c: u32) -> vec4<f32> { return vectors4[(1024u + c) / 4u]; }
fn p8(c: u32) -> f32 { return vectors[1536u + c]; }
fn P8(c: u32) -> vec4<f32> { return vectors4[(1536u + c) / 4u]; }
fn p10(c: u32) -> f32 { return vectors[2048u + c]; }
fn P10(c: u32) -> vec4<f32> { return vectors4[(2048u + c) / 4u]; }
fn p12(c: u32) -> f32 { return vectors[2560u + c]; }
fn P12(c: u32) -> vec4<f32> { return vectors4[(2560u + c) / 4u]; }
fn p14(c: u32) -> f32 { return vectors[3072u + c]; }
fn P14(c: u32) -> vec4<f32> { return vectors4[(3072u + c) / 4u]; }
fn p16(c: u32) -> f32 { return vectors[3584u + c]; }
fn P16(c: u32) -> vec4<f32> { return vectors4[(3584u + c) / 4u]; }

fn p3(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let a2 = p2(c);
    let m = stat_p3[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}
fn P3(c: u32, t: u32) -> vec4<f32> {
    let a0 = P0(c, t);
    let a1 = P1(c);
    let a2 = P2(c);
    let m = stat_p3[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}

fn p5(c: u32, t: u32) -> f32 {
    return state_old[0u + c];
}
fn P5(c: u32, t: u32) -> vec4<f32> {
    return state4[(0u + c) / 4u];
}

fn p7(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p6(c);
    return a0 + (a1 - a0) * a2;
}
fn P7(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P6(c);
    return a0 + (a1 - a0) * a2;
}

fn p9(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p8(c);
    return a0 + (a1 - a0) * a2;
}
fn P9(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P8(c);
    return a0 + (a1 - a0) * a2;
}

fn p11(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p10(c);
    return a0 + (a1 - a0) * a2;
}
fn P11(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P10(c);
    return a0 + (a1 - a0) * a2;
}

fn p13(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p12(c);
    return a0 + (a1 - a0) * a2;
}
fn P13(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P12(c);
    return a0 + (a1 - a0) * a2;
}

fn p15(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p14(c);
    return a0 + (a1 - a0) * a2;
}
fn P15(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P14(c);
    return a0 + (a1 - a0) * a2;
}

fn p17(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p5(c, t);
    let a2 = p16(c);
    return a0 + (a1 - a0) * a2;
}
fn P17(c: u32, t: u32) -> vec4<f32> {
    let a0 = P3(c, t);
    let a1 = P5(c, t);
    let a2 = P16(c);
    return a0 + (a1 - a0) * a2;
}

var<private> stat_p3: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}

fn e9(c: u32) -> f32 { return vectors[4096u + c]; }
fn sum_16(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
fn sum_64(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    workgroupBarrier();
    if (lane % 32u == 0u) { partial[lane / 32u] = s; }
    workgroupBarrier();
    let first = lane / 64u * 2u;
    s = partial[first];
    s += partial[first + 1u];
    return s;
}
var<workgroup> xs: array<vec4<u32>, 128>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P7(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v0 = sum_16(lane, acc0);
        if (there) {
        arena[4608u + t * 512u + c] = v0;
        }
}

fn job1(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(10240u, 73728u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P11(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v9 = e9(c);
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v1 = sum_16(lane, acc0);
        if (there) {
        arena[5120u + t * 512u + c] = v1;
        
        let v10 = v1 * v9;
        arena[6912u + t * 512u + c] = v10;
        }
}

fn job2(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(20480u, 114688u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P13(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v2 = sum_16(lane, acc0);
        if (there) {
        arena[6144u + t * 512u + c] = v2;
        }
}

fn job3(wg: u32, lane: u32, pre0: vec4<u32>) {
    let at0 = vec4<u32>(30720u, 0u, 0u, 0u);
    let sub = lane % 64u;
    for (var h = lane; h < 128u; h += 256u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 512u) { v = P13(c, 0u); }
        xs[0u + h / 2u + h % 2u * 64u] = bitcast<vec4<u32>>(v);
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 4u + lane / 64u < 32u;
        let row = min((turn) * 4u + lane / 64u, 31u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(pre0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(pre0, 1u), bitcast<vec4<f32>>(xs[x + 64u]));
        }
        let v3 = sum_64(lane, acc0);
        if (there) {
        arena[6656u + t * 32u + c] = v3;
        }
}

fn job4(wg: u32, lane: u32, pre0: vec4<u32>) {
    let at0 = vec4<u32>(32768u, 0u, 0u, 0u);
    let sub = lane % 64u;
    for (var h = lane; h < 128u; h += 256u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 512u) { v = P9(c, 0u); }
        xs[0u + h / 2u + h % 2u * 64u] = bitcast<vec4<u32>>(v);
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 4u + lane / 64u < 32u;
        let row = min((turn) * 4u + lane / 64u, 31u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(pre0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(pre0, 1u), bitcast<vec4<f32>>(xs[x + 64u]));
        }
        let v4 = sum_64(lane, acc0);
        if (there) {
        
        let v7 = tanh(clamp(v4, -20.0, 20.0));
        arena[6816u + t * 32u + c] = v7;
        }
}

fn job5(wg: u32, lane: u32, pre0: vec4<u32>) {
    let at0 = vec4<u32>(34816u, 0u, 0u, 0u);
    let sub = lane % 64u;
    for (var h = lane; h < 128u; h += 256u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 512u) { v = P15(c, 0u); }
        xs[0u + h / 2u + h % 2u * 64u] = bitcast<vec4<u32>>(v);
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 4u + lane / 64u < 32u;
        let row = min((turn) * 4u + lane / 64u, 31u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(pre0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(pre0, 1u), bitcast<vec4<f32>>(xs[x + 64u]));
        }
        let v5 = sum_64(lane, acc0);
        if (there) {
        arena[6720u + t * 32u + c] = v5;
        }
}

fn job6(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>, pre2: vec4<u32>) {
    let at0 = vec4<u32>(36864u, 155648u, 0u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P17(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 64u;
        let row = min((turn) * 16u + lane / 16u, 63u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q8_0(row * 16u + unit, array<vec4<u32>, 3>(pre0, pre1, pre2));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v6 = sum_16(lane, acc0);
        if (there) {
        
        let v8 = 1.0 / (1.0 + exp(clamp(-v6, -80.0, 80.0)));
        arena[6848u + t * 64u + c] = v8;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    var pre2 = vec4<u32>();
    if (id.x < 32u) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 64u) {
    let at0 = vec4<u32>(10240u, 73728u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 32u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 96u) {
    let at0 = vec4<u32>(20480u, 114688u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 64u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 104u) {
    let at0 = vec4<u32>(30720u, 0u, 0u, 0u);
        let sub = lane % 64u;
        {
        let row = min(((id.x - 96u) * 1u) * 4u + lane / 64u, 31u);
        pre0 = weights[at0.x + row * 64u + sub + 0u];
        }
    }
    else if (id.x < 112u) {
    let at0 = vec4<u32>(32768u, 0u, 0u, 0u);
        let sub = lane % 64u;
        {
        let row = min(((id.x - 104u) * 1u) * 4u + lane / 64u, 31u);
        pre0 = weights[at0.x + row * 64u + sub + 0u];
        }
    }
    else if (id.x < 120u) {
    let at0 = vec4<u32>(34816u, 0u, 0u, 0u);
        let sub = lane % 64u;
        {
        let row = min(((id.x - 112u) * 1u) * 4u + lane / 64u, 31u);
        pre0 = weights[at0.x + row * 64u + sub + 0u];
        }
    }
    else if (id.x < 124u) {
    let at0 = vec4<u32>(36864u, 155648u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 120u) * 1u) * 16u + lane / 16u, 63u);
        { let r = raw_Q8_0(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; pre2 = r[2]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
        let z0_0_1 = p0(first + 1u * lane + 256u, t);
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
        m.x = total_at(lane, sum0, 0u) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total_at(lane, sum1, 8u) / 512.0 + 9.99999975e-06);
        stat_p3[0] = m;
    }
    }
    if (id.x < 32u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
    else if (id.x < 64u) {
        job1(id.x - 32u, lane, pre0, pre1);
    }
    else if (id.x < 96u) {
        job2(id.x - 64u, lane, pre0, pre1);
    }
    else if (id.x < 104u) {
        job3(id.x - 96u, lane, pre0);
    }
    else if (id.x < 112u) {
        job4(id.x - 104u, lane, pre0);
    }
    else if (id.x < 120u) {
        job5(id.x - 112u, lane, pre0);
    }
    else if (id.x < 124u) {
        job6(id.x - 120u, lane, pre0, pre1, pre2);
    }
    else {
        for (var c = lane; c < 512u; c += 256u) {
        
        let v0 = p0(c, t);
        let v1 = p1(c);
        let v2 = p2(c);
        let m3 = stat_p3[0u];
        let v3 = (v0 - m3.x) * m3.y * v1 + v2;
        
        let v5 = state_old[0u + c];
        state_new[0u + c] = v3;
        
        let v6 = p6(c);
        let v7 = v3 + (v5 - v3) * v6;
        
        let v8 = p8(c);
        let v9 = v3 + (v5 - v3) * v8;
        
        let v10 = p10(c);
        let v11 = v3 + (v5 - v3) * v10;
        
        let v12 = p12(c);
        let v13 = v3 + (v5 - v3) * v12;
        
        let v14 = p14(c);
        let v15 = v3 + (v5 - v3) * v14;
        
        let v16 = p16(c);
        let v17 = v3 + (v5 - v3) * v16;
        }
    }
}

// phase 9, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(5) var<storage, read_write> state_new: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;
@group(0) @binding(14) var<storage, read> state4: array<vec4<f32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q8_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 3> {
    return array<vec4<u32>, 3>(weights[at.x + 2u * i], weights[at.x + 2u * i + 1u],
        vec4<u32>(words[at.y + i / 2u], 0u, 0u, 0u));
}
fn unpack_Q8_0(i: u32, raw: array<vec4<u32>, 3>) -> Block {
    return Block(raw[0], raw[1], vec2<f32>(half_of(raw[2].x, i)), vec2<f32>());
}
fn block_Q8_0(at: vec4<u32>, i: u32) -> Block { return unpack_Q8_0(i, raw_Q8_0(at, i)); }
fn four_of_F16(raw: vec4<u32>, k: u32) -> vec4<f32> {
    let four = select(raw.xy, raw.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
fn four_F16(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> { return four_of_F16(weights[at.x + (32u * i + 4u * k) / 8u], k); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn j4(c: u32) -> f32 { return vectors[0u + c]; }
fn j7(c: u32, t: u32) -> f32 { return arena[6144u + t * 512u + c]; }
fn j8(c: u32, t: u32) -> f32 { return arena[5632u + t * 512u + c]; }
fn j10(c: u32) -> f32 { return vectors[512u + c]; }
fn j13(c: u32) -> f32 { return vectors[1024u + c]; }
fn j16(c: u32, t: u32) -> f32 { return arena[5120u + t * 512u + c]; }
fn j17(c: u32) -> f32 { return vectors[1536u + c]; }
var<workgroup> partial: array<f32, 512>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    s += partial[at + 8u];
    s += partial[at + 9u];
    s += partial[at + 10u];
    s += partial[at + 11u];
    s += partial[at + 12u];
    s += partial[at + 13u];
    s += partial[at + 14u];
    s += partial[at + 15u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}
fn sum_8(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }
var<workgroup> xs: array<vec4<u32>, 30>;
var<workgroup> joint3: array<f32, 64>;
var<workgroup> joint9: array<f32, 64>;
var<workgroup> joint12: array<f32, 64>;
var<workgroup> joint15: array<f32, 64>;
var<workgroup> joint18: array<f32, 64>;

fn p0(c: u32, t: u32) -> f32 { return arena[6912u + t * 512u + c]; }

fn p1(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let m = stat_p1[0u];
    return a0 * m.x;
}

var<private> stat_p1: array<vec2<f32>, 1>;

fn e1(c: u32) -> f32 { return vectors[2048u + c]; }
fn e2(c: u32) -> f32 { return vectors[2560u + c]; }
fn e4(c: u32, t: u32) -> f32 { return arena[4608u + t * 512u + c]; }
fn e5(c: u32, t: u32) -> f32 { return arena[8960u + t * 512u + c]; }
fn e6(c: u32, t: u32) -> f32 { return arena[3584u + t * 512u + c]; }
fn e7(c: u32) -> f32 { return vectors[3072u + c]; }
fn e9(c: u32, t: u32) -> f32 { return arena[2048u + t * 512u + c]; }

var<private> stat_e3: array<vec2<f32>, 1>;
var<private> stat_e8: array<vec2<f32>, 1>;
fn across(x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> y: array<f32, 64>;
var<workgroup> xv: array<f32, 64>;
var<workgroup> staged: array<vec4<f32>, 16>;
var<workgroup> xr: array<vec4<f32>, 16>;
var<workgroup> xw: array<vec4<f32>, 16>;
var<workgroup> xk: array<vec4<f32>, 16>;
var<workgroup> xq: array<vec4<f32>, 16>;
var<workgroup> xa: array<vec4<f32>, 16>;

@compute @workgroup_size(512)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = id.x * 64u;
    let at = lane % 32u;
    let row = lane / 8u;
    let part = lane % 8u;
    var raw0_0 = vec4<u32>();
    {
    let at0 = vec4<u32>(0u, 0u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        raw0_0 = weights[at0.x + row * 4u + min(sub + 0u, 3u)];
        }
    }
    var raw1_0 = vec4<u32>();
    {
    let at0 = vec4<u32>(2048u, 0u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        raw1_0 = weights[at0.x + row * 4u + min(sub + 0u, 3u)];
        }
    }
    var raw2_0 = vec4<u32>();
    {
    let at0 = vec4<u32>(4096u, 0u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        raw2_0 = weights[at0.x + row * 4u + min(sub + 0u, 3u)];
        }
    }
    var raw3_0 = vec4<u32>();
    var raw3_1 = vec4<u32>();
    var raw3_2 = vec4<u32>();
    {
    let at0 = vec4<u32>(6144u, 32768u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min((id.x) * 64u + lane / 8u, 511u);
        { let r = raw_Q8_0(at0, row * 2u + min(sub + 0u, 1u)); raw3_0 = r[0]; raw3_1 = r[1]; raw3_2 = r[2]; }
        }
    }
    let a0 = 0u + (first + row) * 64u + 4u * (part + 0u);
    var s0 = state4[a0 / 4u];
    let a1 = 0u + (first + row) * 64u + 4u * (part + 8u);
    var s1 = state4[a1 / 4u];
    let in39_0 = arena[4608u + first + at + 0u];
    let in39_1 = arena[4608u + first + at + 32u];
    let pr0_0 = p0(first + at + 0u, 0u);
    let pr0_1 = p0(first + at + 32u, 0u);
    let er1_0 = e1(first + at + 0u);
    let er1_1 = e1(first + at + 32u);
    let er2_0 = e2(first + at + 0u);
    let er2_1 = e2(first + at + 32u);
    let er4_0 = e4(first + at + 0u, 0u);
    let er4_1 = e4(first + at + 32u, 0u);
    let er7_0 = e7(first + at + 0u);
    let er7_1 = e7(first + at + 32u);
    for (var h = lane; h < 8u; h += 512u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 32u) { v = vec4<f32>(arena[6656u + 0u * 32u + c + 0u], arena[6656u + 0u * 32u + c + 1u], arena[6656u + 0u * 32u + c + 2u], arena[6656u + 0u * 32u + c + 3u]); }
        xs[0u + h / 2u + h % 2u * 4u] = bitcast<vec4<u32>>(v);
    }
    for (var h = lane; h < 8u; h += 512u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 32u) { v = vec4<f32>(arena[6816u + 0u * 32u + c + 0u], arena[6816u + 0u * 32u + c + 1u], arena[6816u + 0u * 32u + c + 2u], arena[6816u + 0u * 32u + c + 3u]); }
        xs[8u + h / 2u + h % 2u * 4u] = bitcast<vec4<u32>>(v);
    }
    for (var h = lane; h < 8u; h += 512u) {
        let c = 8u * 0u + 4u * h;
        var v = vec4<f32>();
        if (c < 32u) { v = vec4<f32>(arena[6720u + 0u * 32u + c + 0u], arena[6720u + 0u * 32u + c + 1u], arena[6720u + 0u * 32u + c + 2u], arena[6720u + 0u * 32u + c + 3u]); }
        xs[16u + h / 2u + h % 2u * 4u] = bitcast<vec4<u32>>(v);
    }
    for (var g0 = 0u; g0 < 512u; g0 += 512u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 16u && c < 64u) {
            v = vec4<f32>(arena[6848u + 0u * 64u + c + 0u], arena[6848u + 0u * 64u + c + 1u], arena[6848u + 0u * 64u + c + 2u], arena[6848u + 0u * 64u + c + 3u]);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 16u && g % 4u == 0u) { xs[24u + g / 8u + g / 4u % 2u * 2u] = words4; }
        if (g < 16u && g % 8u == 0u) { xs[24u + g / 8u + 4u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v4 = j4(c);
        let v7 = j7(c, t);
        let v8 = j8(c, t);
        var acc0 = 0.0;
        if (sub + 0u < 4u)        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(raw0_0, 0u), bitcast<vec4<f32>>(xs[x + 0u]));
            acc0 += dot(four_of_F16(raw0_0, 1u), bitcast<vec4<f32>>(xs[x + 4u]));
        }
        let v0 = sum_8(lane, acc0);
        if (there) {
        
        let v5 = v0 + v4;
        
        let v6 = 1.0 / (1.0 + exp(clamp(-v5, -80.0, 80.0)));
        
        let v9 = v7 + (v8 - v7) * v6;
        joint9[lane / 8u] = v9;
        }
    }
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v10 = j10(c);
        var acc0 = 0.0;
        if (sub + 0u < 4u)        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(raw1_0, 0u), bitcast<vec4<f32>>(xs[x + 8u]));
            acc0 += dot(four_of_F16(raw1_0, 1u), bitcast<vec4<f32>>(xs[x + 12u]));
        }
        let v1 = sum_8(lane, acc0);
        if (there) {
        
        let v11 = v1 + v10;
        
        let v12 = exp(-0.60653066 / (1.0 + exp(clamp(-v11, -80.0, 80.0))));
        joint12[lane / 8u] = v12;
        }
    }
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v13 = j13(c);
        let v16 = j16(c, t);
        let v17 = j17(c);
        var acc0 = 0.0;
        if (sub + 0u < 4u)        {
            let unit = sub + 0u;
            let x = unit;
            acc0 += dot(four_of_F16(raw2_0, 0u), bitcast<vec4<f32>>(xs[x + 16u]));
            acc0 += dot(four_of_F16(raw2_0, 1u), bitcast<vec4<f32>>(xs[x + 20u]));
        }
        let v2 = sum_8(lane, acc0);
        if (there) {
        
        let v14 = v2 + v13;
        
        let v15 = 1.0 / (1.0 + exp(clamp(-v14, -80.0, 80.0)));
        
        let v18 = v16 * (1.0 + (v15 - 1.0) * v17);
        joint15[lane / 8u] = v15;
        joint18[lane / 8u] = v18;
        }
    }
    {
    let turn = id.x;
    let sub = lane % 8u;
        let there = sub == 0u && turn * 64u + lane / 8u < 512u;
        let row = min((turn) * 64u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        if (sub + 0u < 2u)        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q8_0(row * 2u + unit, array<vec4<u32>, 3>(raw3_0, raw3_1, raw3_2));
            acc0 += product_whole(w, xs[x + 24u], xs[x + 26u], bitcast<vec4<f32>>(xs[x + 28u]));
        }
        let v3 = sum_8(lane, acc0);
        if (there) {
        joint3[lane / 8u] = v3;
        }
    }
    workgroupBarrier();
    var pm1 = vec2<f32>();
    var ps1_0 = 0.0;
    { ps1_0 += pr0_0 * pr0_0; }
    { ps1_0 += pr0_1 * pr0_1; }
    pm1.x = 1.0 / max(sqrt(across(ps1_0)), 9.99999996e-13);
    let pr1_0 = pr0_0 * pm1.x;
    let pr1_1 = pr0_1 * pm1.x;
    if (lane < 32u) {
        {
        let c = at + 0u;
        xr[c / 4u][c % 4u] = in39_0;
        xw[c / 4u][c % 4u] = joint12[at + 0u];
        xk[c / 4u][c % 4u] = joint18[at + 0u];
        xv[c] = joint9[at + 0u];
        xq[c / 4u][c % 4u] = pr1_0;
        xa[c / 4u][c % 4u] = joint15[at + 0u] * pr1_0;
        }
        {
        let c = at + 32u;
        xr[c / 4u][c % 4u] = in39_1;
        xw[c / 4u][c % 4u] = joint12[at + 32u];
        xk[c / 4u][c % 4u] = joint18[at + 32u];
        xv[c] = joint9[at + 32u];
        xq[c / 4u][c % 4u] = pr1_1;
        xa[c / 4u][c % 4u] = joint15[at + 32u] * pr1_1;
        }
    }
    workgroupBarrier();
        let value = xv[row];
        var dot_q = 0.0;
        var dot_r = 0.0;
        dot_q += dot(s0, xq[part + 0u]);
        dot_q += dot(s1, xq[part + 8u]);
        let removed = sum_8(lane, dot_q);
        s0 = s0 * xw[part + 0u] - removed * xa[part + 0u] + value * xk[part + 0u];
        dot_r += dot(s0, xr[part + 0u]);
        s1 = s1 * xw[part + 8u] - removed * xa[part + 8u] + value * xk[part + 8u];
        dot_r += dot(s1, xr[part + 8u]);
        let result = sum_8(lane, dot_r);
        if (part == 0u) { y[row] = result; }
    state_new[a0 + 0u] = s0.x;
    state_new[a0 + 1u] = s0.y;
    state_new[a0 + 2u] = s0.z;
    state_new[a0 + 3u] = s0.w;
    state_new[a1 + 0u] = s1.x;
    state_new[a1 + 1u] = s1.y;
    state_new[a1 + 2u] = s1.z;
    state_new[a1 + 3u] = s1.w;
    workgroupBarrier();
    let er0_0 = y[at + 0u];
    let er0_1 = y[at + 32u];
    let er5_0 = joint18[at + 0u];
    let er5_1 = joint18[at + 32u];
    let er6_0 = joint9[at + 0u];
    let er6_1 = joint9[at + 32u];
    let er9_0 = joint3[at + 0u];
    let er9_1 = joint3[at + 32u];
    var em3 = vec2<f32>();
    var es3_0 = 0.0;
    { es3_0 += er0_0; }
    { es3_0 += er0_1; }
    em3.x = across(es3_0) / 64.0;
    var es3_1 = 0.0;
    { es3_1 += (er0_0 - em3.x) * (er0_0 - em3.x); }
    { es3_1 += (er0_1 - em3.x) * (er0_1 - em3.x); }
    em3.y = inverseSqrt(across(es3_1) / 64.0 + 0.000639999984);
    let er3_0 = (er0_0 - em3.x) * em3.y * er1_0 + er2_0;
    let er3_1 = (er0_1 - em3.x) * em3.y * er1_1 + er2_1;
    var em8 = vec2<f32>();
    var es8_0 = 0.0;
    { es8_0 += er4_0 * er5_0 * er7_0; }
    { es8_0 += er4_1 * er5_1 * er7_1; }
    em8.x = across(es8_0);
    let er8_0 = er3_0 + em8.x * er6_0;
    let er8_1 = er3_1 + em8.x * er6_1;
    let er10_0 = er8_0 * er9_0;
    let er10_1 = er8_1 * er9_1;
    if (lane < 32u) { let c = at + 0u; staged[c / 4u][c % 4u] = er10_0; }
    if (lane < 32u) { let c = at + 32u; staged[c / 4u][c % 4u] = er10_1; }
    workgroupBarrier();
    {
        let v = staged[min(lane, 15u)];
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (lane < 16u && lane % 4u == 0u) { codes[0u + id.x * 2u + lane / 8u + lane / 4u % 2u * 16u] = words4; }
        if (lane < 16u && lane % 8u == 0u) { codes[0u + id.x * 2u + lane / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
}

// phase 10, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
fn block_Q4_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q4_K(i, raw_Q4_K(at, i)); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn e1(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}
fn sum_16(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 48>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
    let sub = lane % 16u;
    for (var h = lane; h < 48u; h += 256u) {
        xs[0u + h] = codes[0u + h];
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 512u;
        let row = min((turn) * 16u + lane / 16u, 511u);
        let t = 0u;
        let c = row + 0u;
        let v1 = e1(c, t);
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v0 = sum_16(lane, acc0);
        if (there) {
        
        let v2 = v1 + v0;
        arena[1024u + t * 512u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 32u) {
    let at0 = vec4<u32>(0u, 32768u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 511u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 32u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}

// phase 49, kernel 1
enable subgroups;
struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(12) var<storage, read> vectors4: array<vec4<f32>>;


struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }


fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}


fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }


fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}


fn high_pairs(bits: u32) -> vec4<u32> {
    return ((vec4<u32>(bits) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
}

fn raw_Q6_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i],
        vec4<u32>(words[at.z + 2u * i], words[at.z + 2u * i + 1u], words[at.y + i], 0u));
}
fn unpack_Q6_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let a = unpack2x16float(raw[1].z);
    return Block(low_nibbles(raw[0]) | high_pairs(raw[1].x), high_nibbles(raw[0]) | high_pairs(raw[1].y), a, 32.0 * a);
}
fn block_Q6_K(at: vec4<u32>, i: u32) -> Block { return unpack_Q6_K(i, raw_Q6_K(at, i)); }
fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) +
        dot4I8Packed(w.w, x.w);
}
fn product(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * (w.a.x * f32(dot16(w.lo, x0)) + w.a.y * f32(dot16(w.hi, x1))) - (w.c.x * f.y + w.c.y * f.z);
}
fn product_whole(w: Block, x0: vec4<u32>, x1: vec4<u32>, f: vec4<f32>) -> f32 {
    return f.x * w.a.x * f32(dot16(w.lo, x0) + dot16(w.hi, x1)) - w.c.x * f.w;
}

fn p0(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p2(c: u32) -> f32 { return vectors[0u + c]; }
fn P2(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }
fn p3(c: u32) -> f32 { return vectors[512u + c]; }
fn P3(c: u32) -> vec4<f32> { return vectors4[(512u + c) / 4u]; }

fn p1(c: u32, t: u32) -> f32 {
    return p0(c, t + step.n_tokens - step.n_outputs);
}
fn P1(c: u32, t: u32) -> vec4<f32> {
    return vec4<f32>(p1(c, t), p1(c + 1u, t), p1(c + 2u, t), p1(c + 3u, t));
}

fn p4(c: u32, t: u32) -> f32 {
    let a0 = p1(c, t);
    let a1 = p2(c);
    let a2 = p3(c);
    let m = stat_p4[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}
fn P4(c: u32, t: u32) -> vec4<f32> {
    let a0 = P1(c, t);
    let a1 = P2(c);
    let a2 = P3(c);
    let m = stat_p4[0u];
    return (a0 - m.x) * m.y * a1 + a2;
}

var<private> stat_p4: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 256>;

fn total_at(lane: u32, x: f32, at: u32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 16u);
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    if (lane % 32u == 0u) { partial[at + lane / 32u] = s; }
    workgroupBarrier();
    s = partial[at];
    s += partial[at + 1u];
    s += partial[at + 2u];
    s += partial[at + 3u];
    s += partial[at + 4u];
    s += partial[at + 5u];
    s += partial[at + 6u];
    s += partial[at + 7u];
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}

fn sum_16(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 48>;
fn four_codes(v: vec4<f32>, inverse: f32) -> vec4<i32> {
    return vec4<i32>(clamp(round(v * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
}
fn packed(q: vec4<i32>) -> u32 {
    let u = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    return u.x | (u.y << 8u) | (u.z << 16u) | (u.w << 24u);
}
fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}
fn sum_of(q: vec4<i32>) -> i32 { return q.x + q.y + q.z + q.w; }

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(0u, 262144u, 327680u, 0u);
    let sub = lane % 16u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 128u && c < 512u) {
            v = P4(c, 0u);
        }
        var top = largest(v);
        top = max(top, subgroupShuffleXor(top, 4u));
        top = max(top, subgroupShuffleXor(top, 2u));
        top = max(top, subgroupShuffleXor(top, 1u));
        let d = top / 127.0;
        let q = four_codes(v, select(0.0, 127.0 / top, top > 0.0));
        let x = packed(q);
        let words4 = vec4<u32>(x, subgroupShuffleXor(x, 1u), subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u));
        var sum = sum_of(q);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        let s = d * f32(sum);
        let other = subgroupShuffleXor(s, 4u);
        if (g < 128u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 128u && g % 8u == 0u) { xs[0u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 4096u;
        let row = min((turn) * 16u + lane / 16u, 4095u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q6_K(row * 16u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product(w, xs[x + 0u], xs[x + 16u], bitcast<vec4<f32>>(xs[x + 32u]));
        }
        let v0 = sum_16(lane, acc0);
        if (there) {
        arena[10496u + t * 4096u + c] = v0;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 256u) {
    let at0 = vec4<u32>(0u, 262144u, 327680u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 4095u);
        { let r = raw_Q6_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
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
        m.x = total_at(lane, sum0, 0u) / 512.0;
        var sum1 = 0.0;
        {
            let a0 = z0_0_0;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        {
            let a0 = z0_0_1;
            sum1 += (a0 - m.x) * (a0 - m.x);
        }
        m.y = inverseSqrt(total_at(lane, sum1, 8u) / 512.0 + 9.99999975e-06);
        stat_p4[0] = m;
    }
    }
    if (id.x < 256u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}
