// behind buffers.wgsl, block.wgsl
fn raw_Q4_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i / 2u], 0u, 0u, 0u));
}
fn unpack_Q4_0(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let d = half_of(raw[1].x, i);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), vec2<f32>(d), vec2<f32>(8.0 * d));
}
