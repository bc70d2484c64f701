fn block_Q4_0(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let d = half_at(at.y, i);
    return Block(low_nibbles(codes), high_nibbles(codes), vec2<f32>(d), vec2<f32>(8.0 * d));
}
