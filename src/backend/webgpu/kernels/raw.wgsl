// behind buffers.wgsl
// Bytes of a file's blocks.  A file raw_TYPE.wgsl has two functions of the block that begins at byte `at` of `words`:
// scale_TYPE(at, g), what the codes of group g are multiplied by and what is then taken off, and codes_TYPE(at, k), the
// codes of elements 4 k to 4 k + 3.

// Four bytes from any byte on.
fn word_at(at: u32) -> u32 {
    let shift = 8u * (at % 4u);
    let low = words[at / 4u] >> shift;
    if (shift == 0u) { return low; }
    return low | (words[at / 4u + 1u] << (32u - shift));
}
fn byte_at(at: u32) -> u32 { return (words[at / 4u] >> (8u * (at % 4u))) & 255u; }
// The f16 at an even byte.
fn half_at(at: u32) -> f32 { return unpack2x16float(words[at / 4u] >> (8u * (at % 4u))).x; }

// From each byte of a word the bits of `mask` behind the first `shift`.
fn fields(word: u32, shift: u32, mask: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> (vec4<u32>(0u, 8u, 16u, 24u) + shift)) & vec4<u32>(mask);
}
// The lowest four bits, each alone.
fn bits_of(word: u32) -> vec4<u32> { return (vec4<u32>(word) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u); }
fn signed_bytes(word: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
}

// Byte q of sixteen signed ones.
fn level_of(levels: vec4<u32>, q: u32) -> f32 {
    return f32(bitcast<i32>(levels[q / 4u] << (24u - 8u * (q % 4u))) >> 24u);
}
fn levels_of(levels: vec4<u32>, q: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(level_of(levels, q.x), level_of(levels, q.y), level_of(levels, q.z), level_of(levels, q.w));
}
// What the codes of IQ4_NL and IQ4_XS stand for.
fn iq4_levels(q: vec4<u32>) -> vec4<f32> {
    return levels_of(vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u), q);
}

// Scale and minimum g of Q4_K and Q5_K, six bits each.
fn scale_of_k(at: u32, g: u32) -> vec2<f32> {
    let d = vec2<f32>(half_at(at), half_at(at + 2u));
    if (g < 4u) { return d * vec2<f32>(f32(byte_at(at + 4u + g) & 63u), f32(byte_at(at + 8u + g) & 63u)); }
    let low = byte_at(at + 8u + g);
    let scale = (low & 15u) | ((byte_at(at + g) >> 6u) << 4u);
    let minimum = (low >> 4u) | ((byte_at(at + 4u + g) >> 6u) << 4u);
    return d * vec2<f32>(f32(scale), f32(minimum));
}
