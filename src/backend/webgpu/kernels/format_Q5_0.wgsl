// behind buffers.wgsl, block.wgsl
fn raw_Q5_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i / 2u], words[at.z + i], 0u, 0u));
}
fn unpack_Q5_0(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let d = half_of(raw[1].x, i);
    return Block(low_nibbles(raw[0]) | fifth_bits(raw[1].y), high_nibbles(raw[0]) | fifth_bits(raw[1].y >> 16u),
        vec2<f32>(d), vec2<f32>(16.0 * d));
}
