fn block_Q5_1(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let bits = words[at.z + i];
    let f = unpack2x16float(words[at.y + i]);
    return Block(low_nibbles(codes) | fifth_bits(bits), high_nibbles(codes) | fifth_bits(bits >> 16u), f.xx, -f.yy);
}
