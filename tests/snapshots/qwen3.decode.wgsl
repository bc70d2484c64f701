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

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = id.x;
    let t = id.y;
    let token = tokens[(step.pos + t) % 8192u] - 0u;
    if (b >= 8u || token >= 256u) { return; }
    let i = token * 8u + b;
    let to = 0u + t * 256u + 32u * b;
    let at = vec4<u32>(0u, 8192u, 10240u, 0u);
    let w = block_Q6_K(at, i);
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

fn e0(c: u32, t: u32) -> f32 { return arena[0u + t * 256u + c]; }
fn e1(c: u32) -> f32 { return vectors[0u + c]; }

var<private> stat_e2: array<vec2<f32>, 1>;
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
    let first = id.x * 256u;
    
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
        
        let v0 = e0(c, t);
        let v1 = e1(c);
        let m2 = stat_e2[0u];
        let v2 = v0 * m2.x * v1;
        arena[256u + t * 256u + c] = v2;
    }
}

// phase 1, kernel 1
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
fn sum_8(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 24>;
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
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = vec4<f32>(arena[256u + 0u * 256u + c + 0u], arena[256u + 0u * 256u + c + 1u], arena[256u + 0u * 256u + c + 2u], arena[256u + 0u * 256u + c + 3u]);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 512u;
        let row = min((turn) * 32u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v0 = sum_8(lane, acc0);
        if (there) {
        arena[512u + t * 512u + c] = v0;
        }
}

fn job1(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(5120u, 28672u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = vec4<f32>(arena[256u + 0u * 256u + c + 0u], arena[256u + 0u * 256u + c + 1u], arena[256u + 0u * 256u + c + 2u], arena[256u + 0u * 256u + c + 3u]);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 256u;
        let row = min((turn) * 32u + lane / 8u, 255u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v1 = sum_8(lane, acc0);
        if (there) {
        arena[1024u + t * 256u + c] = v1;
        }
}

fn job2(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(7680u, 38912u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = vec4<f32>(arena[256u + 0u * 256u + c + 0u], arena[256u + 0u * 256u + c + 1u], arena[256u + 0u * 256u + c + 2u], arena[256u + 0u * 256u + c + 3u]);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 256u;
        let row = min((turn) * 32u + lane / 8u, 255u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v2 = sum_8(lane, acc0);
        if (there) {
        arena[1280u + t * 256u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 16u) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 0u) * 1u) * 32u + lane / 8u, 511u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 24u) {
    let at0 = vec4<u32>(5120u, 28672u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 16u) * 1u) * 32u + lane / 8u, 255u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 32u) {
    let at0 = vec4<u32>(7680u, 38912u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 24u) * 1u) * 32u + lane / 8u, 255u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 16u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
    else if (id.x < 24u) {
        job1(id.x - 16u, lane, pre0, pre1);
    }
    else if (id.x < 32u) {
        job2(id.x - 24u, lane, pre0, pre1);
    }
}

// phase 2, kernel 1
enable subgroups;
struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;
@group(0) @binding(13) var<storage, read_write> cache4: array<vec4<u32>>;

fn p0(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
fn p1(c: u32) -> f32 { return vectors[0u + c % 128u]; }
fn p3(c: u32, t: u32) -> f32 { return arena[1024u + t * 256u + c]; }
fn p4(c: u32) -> f32 { return vectors[128u + c % 128u]; }

fn p2(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}

fn p5(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p4(c);
    let m = stat_p5[0u];
    return a0 * m.x * a1;
}

fn p7(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = p2(ca, t);
    let b = p2(cb, t);
    let angle = angles[places.at[0].x + (step.pos + t) * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

fn p8(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = p5(ca, t);
    let b = p5(cb, t);
    let angle = angles[places.at[0].x + (step.pos + t) * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

var<private> stat_p2: array<vec2<f32>, 1>;
var<private> stat_p5: array<vec2<f32>, 1>;
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
fn across(x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 8u);
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xq: array<f32, 128>;
var<workgroup> xk: array<f32, 128>;
var<workgroup> xv: array<f32, 128>;
var<workgroup> sums: array<vec4<f32>, 256>;
var<workgroup> norms: array<f32, 8>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = 0u;
    let pos = step.pos;
    let head = id.x;
    let kv = head / 2u;
    let group = lane / 16u;
    let part = lane % 16u;
    var rk0: vec4<u32>;
    var rv0: vec4<u32>;
    var rk1: vec4<u32>;
    var rv1: vec4<u32>;
    var rk2: vec4<u32>;
    var rv2: vec4<u32>;
    var rk3: vec4<u32>;
    var rv3: vec4<u32>;
    {
        let at = (min(0u + group + 0u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk0 = cache4[places.at[0].y / 4u + at];
        rv0 = cache4[places.at[0].z / 4u + at];
    }
    {
        let at = (min(0u + group + 16u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk1 = cache4[places.at[0].y / 4u + at];
        rv1 = cache4[places.at[0].z / 4u + at];
    }
    {
        let at = (min(0u + group + 32u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk2 = cache4[places.at[0].y / 4u + at];
        rv2 = cache4[places.at[0].z / 4u + at];
    }
    {
        let at = (min(0u + group + 48u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk3 = cache4[places.at[0].y / 4u + at];
        rv3 = cache4[places.at[0].z / 4u + at];
    }
    {
    let first = head * 128u;
    
    {
    {
        let begin = first;
        let col = t - min(t, 0u);
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 128u; c += 256u) {
            let a0 = p0(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 128.0 + 9.99999997e-07);
        stat_p2[0] = m;
    }
    }
    }
    {
    let first = kv * 128u;
    
    {
    {
        let begin = first;
        let col = t - min(t, 0u);
        var m = vec2<f32>();
        var sum0 = 0.0;
        for (var c = begin + lane; c < begin + 128u; c += 256u) {
            let a0 = p3(c, col);
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total(lane, sum0) / 128.0 + 9.99999997e-07);
        stat_p5[0] = m;
    }
    }
    }
    for (var j = (lane + 256u) % 256u; j < 64u; j += 256u) {
        let c = head * 128u + 2u * j;
        let pair = vec2<f32>(p7(c, t), p7(c + 1u, t));
        xq[2u * j] = pair.x * 0.0883883461;
        xq[2u * j + 1u] = pair.y * 0.0883883461;
    }
    for (var j = (lane + 192u) % 256u; j < 64u; j += 256u) {
        let c = kv * 128u + 2u * j;
        let pair = vec2<f32>(p8(c, t), p8(c + 1u, t));
        let word = pack2x16float(pair);
        let half = unpack2x16float(word);
        xk[2u * j] = half.x;
        xk[2u * j + 1u] = half.y;
        if (head % 2u == 0u) {
            let at = places.at[0].y + (pos * 256u + kv * 128u) / 2u + j;
            cache4[at / 4u][at % 4u] = word;
        }
    }
    for (var j = (lane + 128u) % 256u; j < 64u; j += 256u) {
        let c = kv * 128u + 2u * j;
        let pair = vec2<f32>(arena[1280u + t * 256u + c], arena[1280u + t * 256u + c + 1u]);
        let word = pack2x16float(pair);
        let half = unpack2x16float(word);
        xv[2u * j] = half.x;
        xv[2u * j + 1u] = half.y;
        if (head % 2u == 0u) {
            let at = places.at[0].z + (pos * 256u + kv * 128u) / 2u + j;
            cache4[at / 4u][at % 4u] = word;
        }
    }
    workgroupBarrier();
    let qa = vec4<f32>(xq[8u * part + 0u], xq[8u * part + 1u], xq[8u * part + 2u], xq[8u * part + 3u]);
    let qb = vec4<f32>(xq[8u * part + 4u], xq[8u * part + 5u], xq[8u * part + 6u], xq[8u * part + 7u]);
    let ca = vec4<f32>(xk[8u * part + 0u], xk[8u * part + 1u], xk[8u * part + 2u], xk[8u * part + 3u]);
    let cb = vec4<f32>(xk[8u * part + 4u], xk[8u * part + 5u], xk[8u * part + 6u], xk[8u * part + 7u]);
    let ua = vec4<f32>(xv[8u * part + 0u], xv[8u * part + 1u], xv[8u * part + 2u], xv[8u * part + 3u]);
    let ub = vec4<f32>(xv[8u * part + 4u], xv[8u * part + 5u], xv[8u * part + 6u], xv[8u * part + 7u]);
    let own = across(dot(qa, ca) + dot(qb, cb));
    var most = select(-3.0e38, own, group == 0u);
    var norm = select(0.0, 1.0, group == 0u);
    var ya = ua * norm;
    var yb = ub * norm;
    for (var begin = 0u; begin < pos; begin += 64u) {
        let k0 = rk0;
        let v0 = rv0;
        let k1 = rk1;
        let v1 = rv1;
        let k2 = rk2;
        let v2 = rv2;
        let k3 = rk3;
        let v3 = rv3;
    {
        let at = (min(begin + 64u + group + 0u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk0 = cache4[places.at[0].y / 4u + at];
        rv0 = cache4[places.at[0].z / 4u + at];
    }
    {
        let at = (min(begin + 64u + group + 16u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk1 = cache4[places.at[0].y / 4u + at];
        rv1 = cache4[places.at[0].z / 4u + at];
    }
    {
        let at = (min(begin + 64u + group + 32u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk2 = cache4[places.at[0].y / 4u + at];
        rv2 = cache4[places.at[0].z / 4u + at];
    }
    {
        let at = (min(begin + 64u + group + 48u, max(pos, 1u) - 1u) * 256u + kv * 128u) / 8u + part;
        rk3 = cache4[places.at[0].y / 4u + at];
        rv3 = cache4[places.at[0].z / 4u + at];
    }
        let k0a = vec4<f32>(unpack2x16float(k0.x), unpack2x16float(k0.y));
        let k0b = vec4<f32>(unpack2x16float(k0.z), unpack2x16float(k0.w));
        let there0 = begin + group + 0u < pos;
        let s0 = select(-3.0e38, across(dot(qa, k0a) + dot(qb, k0b)), there0);
        let k1a = vec4<f32>(unpack2x16float(k1.x), unpack2x16float(k1.y));
        let k1b = vec4<f32>(unpack2x16float(k1.z), unpack2x16float(k1.w));
        let there1 = begin + group + 16u < pos;
        let s1 = select(-3.0e38, across(dot(qa, k1a) + dot(qb, k1b)), there1);
        let k2a = vec4<f32>(unpack2x16float(k2.x), unpack2x16float(k2.y));
        let k2b = vec4<f32>(unpack2x16float(k2.z), unpack2x16float(k2.w));
        let there2 = begin + group + 32u < pos;
        let s2 = select(-3.0e38, across(dot(qa, k2a) + dot(qb, k2b)), there2);
        let k3a = vec4<f32>(unpack2x16float(k3.x), unpack2x16float(k3.y));
        let k3b = vec4<f32>(unpack2x16float(k3.z), unpack2x16float(k3.w));
        let there3 = begin + group + 48u < pos;
        let s3 = select(-3.0e38, across(dot(qa, k3a) + dot(qb, k3b)), there3);
        let top = max(most, max(max(s0, s1), max(s2, s3)));
        let scale = exp(max(most - top, -80.0));
        norm *= scale;
        ya *= scale;
        yb *= scale;
        let v0a = vec4<f32>(unpack2x16float(v0.x), unpack2x16float(v0.y));
        let v0b = vec4<f32>(unpack2x16float(v0.z), unpack2x16float(v0.w));
        let e0 = select(0.0, exp(max(s0 - top, -80.0)), there0);
        norm += e0;
        ya += e0 * v0a;
        yb += e0 * v0b;
        let v1a = vec4<f32>(unpack2x16float(v1.x), unpack2x16float(v1.y));
        let v1b = vec4<f32>(unpack2x16float(v1.z), unpack2x16float(v1.w));
        let e1 = select(0.0, exp(max(s1 - top, -80.0)), there1);
        norm += e1;
        ya += e1 * v1a;
        yb += e1 * v1b;
        let v2a = vec4<f32>(unpack2x16float(v2.x), unpack2x16float(v2.y));
        let v2b = vec4<f32>(unpack2x16float(v2.z), unpack2x16float(v2.w));
        let e2 = select(0.0, exp(max(s2 - top, -80.0)), there2);
        norm += e2;
        ya += e2 * v2a;
        yb += e2 * v2b;
        let v3a = vec4<f32>(unpack2x16float(v3.x), unpack2x16float(v3.y));
        let v3b = vec4<f32>(unpack2x16float(v3.z), unpack2x16float(v3.w));
        let e3 = select(0.0, exp(max(s3 - top, -80.0)), there3);
        norm += e3;
        ya += e3 * v3a;
        yb += e3 * v3b;
        most = top;
    }
    var top = most;
    top = max(top, subgroupShuffleXor(top, 16u));
    if (lane % 32u == 0u) { partial[lane / 32u] = top; }
    workgroupBarrier();
    top = partial[0];
    for (var n = 1u; n < 8u; n++) { top = max(top, partial[n]); }
    let scale = exp(max(most - top, -80.0));
    norm *= scale;
    ya *= scale;
    yb *= scale;
    norm += subgroupShuffleXor(norm, 16u);
    ya += subgroupShuffleXor(ya, 16u);
    yb += subgroupShuffleXor(yb, 16u);
    if (lane % 32u < 16u) {
        let to = lane / 32u * 32u + 2u * part;
        sums[to] = ya;
        sums[to + 1u] = yb;
    }
    if (lane % 32u == 0u) { norms[lane / 32u] = norm; }
    workgroupBarrier();
    var v = vec4<f32>();
    norm = 0.0;
    let four = min(lane, 31u);
    for (var n = 0u; n < 8u; n++) {
        v += sums[n * 32u + four];
        norm += norms[n];
    }
    v /= norm;
    {
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
        if (lane < 32u && lane % 4u == 0u) { codes[0u + head * 4u + lane / 8u + lane / 4u % 2u * 16u] = words4; }
        if (lane < 32u && lane % 8u == 0u) { codes[0u + head * 4u + lane / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
}

// phase 2, kernel 2
enable subgroups;
struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(10) var<storage, read_write> cache: array<u32>;

fn p0(c: u32, t: u32) -> f32 { return arena[512u + t * 512u + c]; }
fn p1(c: u32) -> f32 { return vectors[0u + c % 128u]; }
fn p3(c: u32, t: u32) -> f32 { return arena[1024u + t * 256u + c]; }
fn p4(c: u32) -> f32 { return vectors[128u + c % 128u]; }

fn p2(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}

fn p5(c: u32, t: u32) -> f32 {
    let a0 = p3(c, t);
    let a1 = p4(c);
    let m = stat_p5[0u];
    return a0 * m.x * a1;
}

fn p7(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = p2(ca, t);
    let b = p2(cb, t);
    let angle = angles[places.at[0].x + (step.pos + t) * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

fn p8(c: u32, t: u32) -> f32 {
    let j = c % 128u;
    let pair = j % 64u;
    let second = j >= 64u;
    let ca = c - j + pair;
    let cb = ca + 64u;
    let a = p5(ca, t);
    let b = p5(cb, t);
    let angle = angles[places.at[0].x + (step.pos + t) * 64u + pair];
    return select(a * angle.x - b * angle.y, a * angle.y + b * angle.x, second) * 1.0;
}

var<private> stat_p2: array<vec2<f32>, 1>;
var<private> stat_p5: array<vec2<f32>, 1>;
var<workgroup> partial: array<f32, 64>;

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
    return s;
}
fn total(lane: u32, x: f32) -> f32 {
    workgroupBarrier(); 
    return total_at(lane, x, 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = id.y;
    if (id.x < 2u) {
    let first = (id.x - 0u) * 128u;
    
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
    for (var c = first + 2u * lane; c < min(first + 128u, 256u); c += 128u) {
        cache[places.at[0].y + ((step.pos + t) * 256u + c) / 2u] = pack2x16float(vec2<f32>(p8(c, t), p8(c + 1u, t)));
    }
    }
    else if (id.x < 4u) {
    let first = (id.x - 2u) * 128u;
    for (var c = first + 2u * lane; c < min(first + 128u, 256u); c += 128u) {
        cache[places.at[0].z + ((step.pos + t) * 256u + c) / 2u] = pack2x16float(vec2<f32>(arena[1280u + t * 256u + c], arena[1280u + t * 256u + c + 1u]));
    }
    }
    else if (id.x < 8u) {
    let first = (id.x - 4u) * 128u;
    
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
    for (var c = first + lane; c < min(first + 128u, 512u); c += 64u) {
        
        let v0 = p0(c, t);
        let v1 = p1(c);
        let m2 = stat_p2[0u];
        let v2 = v0 * m2.x * v1;
        
        let v7 = p7(c, t);
        arena[2048u + t * 512u + c] = v7;
    }
    }
    else if (id.x < 10u) {
    let first = (id.x - 8u) * 128u;
    
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
    for (var c = first + lane; c < min(first + 128u, 256u); c += 64u) {
        
        let v3 = p3(c, t);
        let v4 = p4(c);
        let m5 = stat_p5[0u];
        let v5 = v3 * m5.x * v4;
        
        let v8 = p8(c, t);
    }
    }
}

// phase 2, kernel 3
enable subgroups;
struct Step { n_tokens: u32, n_outputs: u32, pos: u32, status: u32 }
struct Places { at: array<vec4<u32>, 1> }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> places: Places;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;
@group(0) @binding(10) var<storage, read_write> cache: array<u32>;
var<workgroup> query: array<vec4<f32>, 66>;
var<workgroup> block: array<vec4<f32>, 1056>;
var<workgroup> weight: array<f32, 66>;
fn row_max(lane: u32, x: f32) -> f32 {
    var s = x;
    s = max(s, subgroupShuffleXor(s, 4u));
    s = max(s, subgroupShuffleXor(s, 2u));
    return max(s, subgroupShuffleXor(s, 1u));
}
fn row_sum(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    return s + subgroupShuffleXor(s, 1u);
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let kv = id.x / 64u;
    let part = id.x % 64u;
    let sub = lane % 8u;
    let base = id.y * 1u;
    let last = step.pos + min(base + 1u, step.n_tokens);
    let row0 = lane / 8u + 0u;
    let t0 = base + row0 / 2u;
    let head0 = kv * 2u + row0 % 2u;
    let end0 = min(step.pos + t0 + 1u, last);
    var most0 = -3.0e38;
    var norm0 = 0.0;
    var y0_0 = vec4<f32>();
    var y0_1 = vec4<f32>();
    var y0_2 = vec4<f32>();
    var y0_3 = vec4<f32>();
    for (var i = lane; i < 64u; i += 16u) {
        let r = i / 32u;
        let at = 2048u + min(base + r / 2u, step.n_tokens - 1u) * 512u + (kv * 2u + r % 2u) * 128u + i % 32u * 4u;
        query[r * 33u + i % 32u] = vec4<f32>(arena[at], arena[at + 1u], arena[at + 2u], arena[at + 3u]) * 0.0883883461;
    }
    let length = ((last + 31u) / 32u + 63u) / 64u * 32u;
    let begin = part * length;
    let stop = min(begin + length, last);
    for (var k0 = begin; k0 < stop; k0 += 32u) {
        workgroupBarrier();
        for (var i = lane; i < 1024u; i += 16u) {
            let at = places.at[0].x + (min(k0 + i / 32u, last - 1u) * 256u + kv * 128u) / 2u + i % 32u * 2u;
            block[i / 32u * 33u + i % 32u] = vec4<f32>(unpack2x16float(cache[at]), unpack2x16float(cache[at + 1u]));
        }
        workgroupBarrier();
        var s0_0 = 0.0;
        var s0_1 = 0.0;
        var s0_2 = 0.0;
        var s0_3 = 0.0;
        for (var c = 0u; c < 32u; c++) {
            let a0 = query[row0 * 33u + c];
            let b0 = block[(sub + 0u) * 33u + c];
            s0_0 += dot(a0, b0);
            let b1 = block[(sub + 8u) * 33u + c];
            s0_1 += dot(a0, b1);
            let b2 = block[(sub + 16u) * 33u + c];
            s0_2 += dot(a0, b2);
            let b3 = block[(sub + 24u) * 33u + c];
            s0_3 += dot(a0, b3);
        }
        var scale0 = 0.0;
        {
        var top = most0;
        let see0 = k0 + sub + 0u < end0;
        top = max(top, select(-3.0e38, s0_0, see0));
        let see1 = k0 + sub + 8u < end0;
        top = max(top, select(-3.0e38, s0_1, see1));
        let see2 = k0 + sub + 16u < end0;
        top = max(top, select(-3.0e38, s0_2, see2));
        let see3 = k0 + sub + 24u < end0;
        top = max(top, select(-3.0e38, s0_3, see3));
        top = row_max(lane, top);
        scale0 = exp(max(most0 - top, -80.0));
        var sum = 0.0;
        let e0 = select(0.0, exp(max(s0_0 - top, -80.0)), see0);
        sum += e0;
        weight[row0 * 33u + sub + 0u] = e0;
        let e1 = select(0.0, exp(max(s0_1 - top, -80.0)), see1);
        sum += e1;
        weight[row0 * 33u + sub + 8u] = e1;
        let e2 = select(0.0, exp(max(s0_2 - top, -80.0)), see2);
        sum += e2;
        weight[row0 * 33u + sub + 16u] = e2;
        let e3 = select(0.0, exp(max(s0_3 - top, -80.0)), see3);
        sum += e3;
        weight[row0 * 33u + sub + 24u] = e3;
        norm0 = norm0 * scale0 + row_sum(lane, sum);
        most0 = top;
        }
        workgroupBarrier();
        for (var i = lane; i < 1024u; i += 16u) {
            let at = places.at[0].y + (min(k0 + i / 32u, last - 1u) * 256u + kv * 128u) / 2u + i % 32u * 2u;
            block[i / 32u * 33u + i % 32u] = vec4<f32>(unpack2x16float(cache[at]), unpack2x16float(cache[at + 1u]));
        }
        workgroupBarrier();
        y0_0 *= scale0;
        y0_1 *= scale0;
        y0_2 *= scale0;
        y0_3 *= scale0;
        for (var k = 0u; k < 32u; k++) {
            let e0 = weight[row0 * 33u + k];
            let v0 = block[k * 33u + min(sub + 0u, 31u)];
            y0_0 += e0 * v0;
            let v1 = block[k * 33u + min(sub + 8u, 31u)];
            y0_1 += e0 * v1;
            let v2 = block[k * 33u + min(sub + 16u, 31u)];
            y0_2 += e0 * v2;
            let v3 = block[k * 33u + min(sub + 24u, 31u)];
            y0_3 += e0 * v3;
        }
    }
    if (row0 < 2u && t0 < step.n_tokens) {
    let to = 144u + ((t0 * 4u + head0) * 64u + part) * 33u;
    if (sub == 0u) { codes[to + 32u] = bitcast<vec4<u32>>(vec4<f32>(most0, norm0, 0.0, 0.0)); }
    if (sub + 0u < 32u) {
        codes[to + sub + 0u] = bitcast<vec4<u32>>(y0_0);
    }
    if (sub + 8u < 32u) {
        codes[to + sub + 8u] = bitcast<vec4<u32>>(y0_1);
    }
    if (sub + 16u < 32u) {
        codes[to + sub + 16u] = bitcast<vec4<u32>>(y0_2);
    }
    if (sub + 24u < 32u) {
        codes[to + sub + 24u] = bitcast<vec4<u32>>(y0_3);
    }
    }
}

// phase 2, kernel 4
enable subgroups;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = 144u + (id.y * 4u + id.x) * 2112u;
    let c = min(lane, 31u);
    var most = -3.0e38;
    var norm = 0.0;
    for (var k = 0u; k < 64u; k++) {
        most = max(most, bitcast<f32>(codes[at + k * 33u + 32u].x));
    }
    var v = vec4<f32>();
    for (var k = 0u; k < 64u; k++) {
        let p = bitcast<vec4<f32>>(codes[at + k * 33u + 32u]);
        let e = exp(max(p.x - most, -80.0));
        norm += e * p.y;
        v += e * bitcast<vec4<f32>>(codes[at + k * 33u + c]);
    }
    v /= norm;
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
        if (lane < 32u && lane % 4u == 0u) { codes[0u + id.x * 4u + lane / 8u + lane / 4u % 2u * 16u] = words4; }
        if (lane < 32u && lane % 8u == 0u) { codes[0u + id.x * 4u + lane / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
}

// phase 3, kernel 1
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

fn e1(c: u32, t: u32) -> f32 { return arena[0u + t * 256u + c]; }
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
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let sub = lane % 16u;
    for (var h = lane; h < 48u; h += 256u) {
        xs[0u + h] = codes[0u + h];
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 256u;
        let row = min((turn) * 16u + lane / 16u, 255u);
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
        arena[512u + t * 256u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 16u) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 255u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 16u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}

// phase 4, kernel 1
enable subgroups;
@group(0) @binding(2) var<storage, read_write> arena: array<f32>;
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
@group(0) @binding(9) var<storage, read_write> codes: array<vec4<u32>>;
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

fn p0(c: u32, t: u32) -> f32 { return arena[512u + t * 256u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p1(c: u32) -> f32 { return vectors[0u + c]; }
fn P1(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }

fn p2(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}
fn P2(c: u32, t: u32) -> vec4<f32> {
    let a0 = P0(c, t);
    let a1 = P1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}

var<private> stat_p2: array<vec2<f32>, 1>;
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

fn sum_8(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 24>;
var<workgroup> staged: array<vec4<f32>, 8>;
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

fn job0(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>, pre2: vec4<u32>, pre3: vec4<u32>) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let at1 = vec4<u32>(5120u, 36864u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = P2(c, 0u);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 512u;
        let row = min((turn) * 32u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        var acc1 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre2, pre3));
            acc1 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v0 = sum_8(lane, acc0);
        let v1 = sum_8(lane, acc1);
        if (there) {
        
        let v2 = v0 / (1.0 + exp(clamp(-v0, -80.0, 80.0)));
        
        let v3 = v2 * v1;
        let slot = turn % 1u * 32u + lane / 8u;
        staged[slot / 4u][slot % 4u] = v3;
        }
        if (turn % 1u == 0u) {
        workgroupBarrier();
        let v = staged[min(lane, 7u)];
        let there = turn / 1u * 32u + 4u * lane < 512u;
        let g = select(8u, lane, there);
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
        if (g < 8u && g % 4u == 0u) { codes[48u + turn / 1u * 1u + g / 8u + g / 4u % 2u * 16u] = words4; }
        if (g < 8u && g % 8u == 0u) { codes[48u + turn / 1u * 1u + g / 8u + 32u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    var pre2 = vec4<u32>();
    var pre3 = vec4<u32>();
    if (id.x < 16u) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let at1 = vec4<u32>(5120u, 36864u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 0u) * 1u) * 32u + lane / 8u, 511u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        { let r = raw_Q4_K(at1, row * 8u + sub + 0u); pre2 = r[0]; pre3 = r[1]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total_at(lane, sum0, 0u) / 256.0 + 9.99999997e-07);
        stat_p2[0] = m;
    }
    }
    if (id.x < 16u) {
        job0(id.x - 0u, lane, pre0, pre1, pre2, pre3);
    }
}

// phase 5, kernel 1
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

fn e1(c: u32, t: u32) -> f32 { return arena[512u + t * 256u + c]; }
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
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let sub = lane % 16u;
    for (var h = lane; h < 48u; h += 256u) {
        xs[0u + h] = codes[48u + h];
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 256u;
        let row = min((turn) * 16u + lane / 16u, 255u);
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
        arena[256u + t * 256u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 16u) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 255u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 16u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}

// phase 6, kernel 1
enable subgroups;
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

fn p0(c: u32, t: u32) -> f32 { return arena[256u + t * 256u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p1(c: u32) -> f32 { return vectors[0u + c]; }
fn P1(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }

fn p2(c: u32, t: u32) -> f32 {
    let a0 = p0(c, t);
    let a1 = p1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}
fn P2(c: u32, t: u32) -> vec4<f32> {
    let a0 = P0(c, t);
    let a1 = P1(c);
    let m = stat_p2[0u];
    return a0 * m.x * a1;
}

var<private> stat_p2: array<vec2<f32>, 1>;
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

fn sum_8(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 24>;
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
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = P2(c, 0u);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 512u;
        let row = min((turn) * 32u + lane / 8u, 511u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v0 = sum_8(lane, acc0);
        if (there) {
        arena[512u + t * 512u + c] = v0;
        }
}

fn job1(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(5120u, 28672u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = P2(c, 0u);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 256u;
        let row = min((turn) * 32u + lane / 8u, 255u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v1 = sum_8(lane, acc0);
        if (there) {
        arena[1024u + t * 256u + c] = v1;
        }
}

fn job2(wg: u32, lane: u32, pre0: vec4<u32>, pre1: vec4<u32>) {
    let at0 = vec4<u32>(7680u, 38912u, 0u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = P2(c, 0u);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 256u;
        let row = min((turn) * 32u + lane / 8u, 255u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q4_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product_whole(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v2 = sum_8(lane, acc0);
        if (there) {
        arena[1280u + t * 256u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 16u) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 0u) * 1u) * 32u + lane / 8u, 511u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 24u) {
    let at0 = vec4<u32>(5120u, 28672u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 16u) * 1u) * 32u + lane / 8u, 255u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    else if (id.x < 32u) {
    let at0 = vec4<u32>(7680u, 38912u, 0u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 24u) * 1u) * 32u + lane / 8u, 255u);
        { let r = raw_Q4_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
    {
        let z0_0_0 = p0(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total_at(lane, sum0, 0u) / 256.0 + 9.99999997e-07);
        stat_p2[0] = m;
    }
    }
    if (id.x < 16u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
    else if (id.x < 24u) {
        job1(id.x - 16u, lane, pre0, pre1);
    }
    else if (id.x < 32u) {
        job2(id.x - 24u, lane, pre0, pre1);
    }
}

// phase 8, kernel 1
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

fn e1(c: u32, t: u32) -> f32 { return arena[256u + t * 256u + c]; }
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
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
    let sub = lane % 16u;
    for (var h = lane; h < 48u; h += 256u) {
        xs[0u + h] = codes[0u + h];
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 16u + lane / 16u < 256u;
        let row = min((turn) * 16u + lane / 16u, 255u);
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
        arena[512u + t * 256u + c] = v2;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 16u) {
    let at0 = vec4<u32>(0u, 16384u, 0u, 0u);
        let sub = lane % 16u;
        {
        let row = min(((id.x - 0u) * 1u) * 16u + lane / 16u, 255u);
        { let r = raw_Q4_K(at0, row * 16u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    if (id.x < 16u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}

// phase 16, kernel 1
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

fn p0(c: u32, t: u32) -> f32 { return arena[256u + t * 256u + c]; }
fn P0(c: u32, t: u32) -> vec4<f32> { return vec4<f32>(p0(c, t), p0(c + 1u, t), p0(c + 2u, t), p0(c + 3u, t)); }
fn p2(c: u32) -> f32 { return vectors[0u + c]; }
fn P2(c: u32) -> vec4<f32> { return vectors4[(0u + c) / 4u]; }

fn p1(c: u32, t: u32) -> f32 {
    return p0(c, t + step.n_tokens - step.n_outputs);
}
fn P1(c: u32, t: u32) -> vec4<f32> {
    return vec4<f32>(p1(c, t), p1(c + 1u, t), p1(c + 2u, t), p1(c + 3u, t));
}

fn p3(c: u32, t: u32) -> f32 {
    let a0 = p1(c, t);
    let a1 = p2(c);
    let m = stat_p3[0u];
    return a0 * m.x * a1;
}
fn P3(c: u32, t: u32) -> vec4<f32> {
    let a0 = P1(c, t);
    let a1 = P2(c);
    let m = stat_p3[0u];
    return a0 * m.x * a1;
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

fn sum_8(lane: u32, x: f32) -> f32 {
    var s = x;
    s += subgroupShuffleXor(s, 4u);
    s += subgroupShuffleXor(s, 2u);
    s += subgroupShuffleXor(s, 1u);
    return s;
}
var<workgroup> xs: array<vec4<u32>, 24>;
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
    let at0 = vec4<u32>(0u, 8192u, 10240u, 0u);
    let sub = lane % 8u;
    for (var g0 = 0u; g0 < 256u; g0 += 256u) {
        let g = g0 + lane;
        let c = 0u + 4u * g;
        var v = vec4<f32>();
        if (g < 64u && c < 256u) {
            v = P3(c, 0u);
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
        if (g < 64u && g % 4u == 0u) { xs[0u + g / 8u + g / 4u % 2u * 8u] = words4; }
        if (g < 64u && g % 8u == 0u) { xs[0u + g / 8u + 16u] = bitcast<vec4<u32>>(vec4<f32>(d, s, other, s + other)); }
    }
    workgroupBarrier();
    let turn = wg;
        let there = sub == 0u && turn * 32u + lane / 8u < 256u;
        let row = min((turn) * 32u + lane / 8u, 255u);
        let t = 0u;
        let c = row + 0u;
        var acc0 = 0.0;
        {
            let unit = sub + 0u;
            let x = unit;
            let w = unpack_Q6_K(row * 8u + unit, array<vec4<u32>, 2>(pre0, pre1));
            acc0 += product(w, xs[x + 0u], xs[x + 8u], bitcast<vec4<f32>>(xs[x + 16u]));
        }
        let v0 = sum_8(lane, acc0);
        if (there) {
        arena[3840u + t * 256u + c] = v0;
        }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var pre0 = vec4<u32>();
    var pre1 = vec4<u32>();
    if (id.x < 8u) {
    let at0 = vec4<u32>(0u, 8192u, 10240u, 0u);
        let sub = lane % 8u;
        {
        let row = min(((id.x - 0u) * 1u) * 32u + lane / 8u, 255u);
        { let r = raw_Q6_K(at0, row * 8u + sub + 0u); pre0 = r[0]; pre1 = r[1]; }
        }
    }
    let t = 0u;
    let u = 0u;
    let first = 0u;
    _ = t + u + first;
    
    {
        let z0_0_0 = p1(first + 1u * lane + 0u, t);
    {
        var m = vec2<f32>();
        var sum0 = 0.0;
        {
            let a0 = z0_0_0;
            sum0 += a0 * a0;
        }
        m.x = inverseSqrt(total_at(lane, sum0, 0u) / 256.0 + 9.99999997e-07);
        stat_p3[0] = m;
    }
    }
    if (id.x < 8u) {
        job0(id.x - 0u, lane, pre0, pre1);
    }
}
