// Bits 4 and 5 of sixteen codes, from the word that holds them.
fn high_pairs(bits: u32) -> vec4<u32> {
    return ((vec4<u32>(bits) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
}

fn block_Q6_K(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let scales = words[at.y + i / 2u] >> (i % 2u * 16u);
    let s = vec2<i32>(bitcast<i32>(scales << 24u) >> 24u, bitcast<i32>(scales << 16u) >> 24u);
    let a = half_at(at.w, i / 8u) * vec2<f32>(s);
    return Block(low_nibbles(codes) | high_pairs(words[at.z + 2u * i]),
        high_nibbles(codes) | high_pairs(words[at.z + 2u * i + 1u]), a, 32.0 * a);
}
