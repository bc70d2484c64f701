// behind buffers.wgsl, block.wgsl
fn raw_Q8_0(at: vec4<u32>, i: u32) -> array<vec4<u32>, 3> {
    return array<vec4<u32>, 3>(weights[at.x + 2u * i], weights[at.x + 2u * i + 1u],
        vec4<u32>(words[at.y + i / 2u], 0u, 0u, 0u));
}
fn unpack_Q8_0(i: u32, raw: array<vec4<u32>, 3>) -> Block {
    return Block(raw[0], raw[1], vec2<f32>(half_of(raw[2].x, i)), vec2<f32>());
}
