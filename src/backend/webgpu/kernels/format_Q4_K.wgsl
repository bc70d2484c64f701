fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], weights[at.y / 4u + i / 8u]);
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = k_scales(raw[1], i % 8u);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
