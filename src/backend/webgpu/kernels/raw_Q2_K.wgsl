// behind buffers.wgsl, raw.wgsl
fn scale_Q2_K(at: u32, g: u32) -> vec2<f32> {
    let both = byte_at(at + g);
    return vec2<f32>(half_at(at + 80u) * f32(both & 15u), half_at(at + 82u) * f32(both >> 4u));
}
fn codes_Q2_K(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(fields(word_at(at + 16u + 32u * (k / 32u) + 4u * (k % 8u)), 2u * (k % 32u / 8u), 3u));
}
