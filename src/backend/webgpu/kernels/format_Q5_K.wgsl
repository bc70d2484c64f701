fn raw_Q5_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 3> {
    return array<vec4<u32>, 3>(weights[at.x + i], weights[at.y / 4u + i / 8u], vec4<u32>(words[at.z + i], 0u, 0u, 0u));
}
fn unpack_Q5_K(i: u32, raw: array<vec4<u32>, 3>) -> Block {
    let f = k_scales(raw[1], i % 8u);
    return Block(low_nibbles(raw[0]) | fifth_bits(raw[2].x), high_nibbles(raw[0]) | fifth_bits(raw[2].x >> 16u),
        f.xx, f.yy);
}
