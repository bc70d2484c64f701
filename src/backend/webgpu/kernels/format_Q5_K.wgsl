fn block_Q5_K(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let bits = words[at.z + i];
    let f = k_scales(weights[at.y / 4u + i / 8u], i % 8u);
    return Block(low_nibbles(codes) | fifth_bits(bits), high_nibbles(codes) | fifth_bits(bits >> 16u), f.xx, f.yy);
}
