// What formats with codes give of a block of 32 elements: w = a * u - c, u the signed bytes of lo (the first 16 elements,
// four a word) and hi; a and c of the two halves.
struct Block { lo: vec4<u32>, hi: vec4<u32>, a: vec2<f32>, c: vec2<f32> }

// Half i of a word of f16 numbers.
fn half_of(word: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, i % 2u == 1u);
}

// Nibbles of a block as bytes: low halves are the first 16 elements.
fn low_nibbles(w: vec4<u32>) -> vec4<u32> { return w & vec4<u32>(0x0f0f0f0fu); }
fn high_nibbles(w: vec4<u32>) -> vec4<u32> { return (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }

// Sixteen bits as bit 4 of sixteen bytes.
fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}
