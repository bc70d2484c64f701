fn block_Q8_0(at: vec4<u32>, i: u32) -> Block {
    let d = half_at(at.y, i);
    return Block(weights[at.x + 2u * i], weights[at.x + 2u * i + 1u], vec2<f32>(d), vec2<f32>());
}
