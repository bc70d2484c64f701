// behind buffers.wgsl, block.wgsl
// Bits 4 and 5 of sixteen codes, from the word that holds them.
fn high_pairs(bits: u32) -> vec4<u32> {
    return ((vec4<u32>(bits) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
}

fn raw_Q6_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i],
        vec4<u32>(words[at.z + 2u * i], words[at.z + 2u * i + 1u], words[at.y + i], 0u));
}
fn unpack_Q6_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let a = unpack2x16float(raw[1].z);
    return Block(low_nibbles(raw[0]) | high_pairs(raw[1].x), high_nibbles(raw[0]) | high_pairs(raw[1].y), a, 32.0 * a);
}
