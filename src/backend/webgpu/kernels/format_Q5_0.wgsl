fn block_Q5_0(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let bits = words[at.z + i];
    let d = half_at(at.y, i);
    return Block(low_nibbles(codes) | fifth_bits(bits), high_nibbles(codes) | fifth_bits(bits >> 16u),
        vec2<f32>(d), vec2<f32>(16.0 * d));
}
