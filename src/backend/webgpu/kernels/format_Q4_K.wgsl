fn block_Q4_K(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let f = k_scales(weights[at.y / 4u + i / 8u], i % 8u);
    return Block(low_nibbles(codes), high_nibbles(codes), f.xx, f.yy);
}
