// behind buffers.wgsl, block.wgsl
fn raw_Q4_K(at: vec4<u32>, i: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>(weights[at.x + i], vec4<u32>(words[at.y + i], 0u, 0u, 0u));
}
fn unpack_Q4_K(i: u32, raw: array<vec4<u32>, 2>) -> Block {
    let f = unpack2x16float(raw[1].x);
    return Block(low_nibbles(raw[0]), high_nibbles(raw[0]), f.xx, f.yy);
}
