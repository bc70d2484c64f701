// dot_plain.wgsl: what dot_packed.wgsl computes, byte by byte.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1

fn next(x: u32, w: vec4<i32>) -> u32 {
    let v = bitcast<i32>(x);
    let s = extractBits(v, 0u, 8u) * w.x + extractBits(v, 8u, 8u) * w.y + extractBits(v, 16u, 8u) * w.z +
            extractBits(v, 24u, 8u) * w.w;
    return bitcast<u32>(s + v);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let w = (vec4<i32>(bitcast<i32>(numbers.y)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
    var a = lane * 2654435769u + g.x;
    var b = a + 1u;
    var c = a + 2u;
    var d = a + 3u;
    var e = a + 4u;
    var f = a + 5u;
    var h = a + 6u;
    var i = a + 7u;
    for (var r = 0u; r < numbers.x; r++) {
        a = next(next(next(next(a, w), w), w), w);
        b = next(next(next(next(b, w), w), w), w);
        c = next(next(next(next(c, w), w), w), w);
        d = next(next(next(next(d, w), w), w), w);
        e = next(next(next(next(e, w), w), w), w);
        f = next(next(next(next(f, w), w), w), w);
        h = next(next(next(next(h, w), w), w), w);
        i = next(next(next(next(i, w), w), w), w);
    }
    data[g.x * 256u + lane] = (a ^ b ^ c ^ d ^ e ^ f ^ h ^ i) + WRONG;
}
