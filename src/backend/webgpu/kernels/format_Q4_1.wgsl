fn block_Q4_1(at: vec4<u32>, i: u32) -> Block {
    let codes = weights[at.x + i];
    let f = unpack2x16float(words[at.y + i]);
    return Block(low_nibbles(codes), high_nibbles(codes), f.xx, -f.yy);
}
