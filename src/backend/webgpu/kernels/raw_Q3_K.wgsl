// behind buffers.wgsl, raw.wgsl
fn scale_Q3_K(at: u32, g: u32) -> vec2<f32> {
    let low = (byte_at(at + 96u + g % 8u) >> (4u * (g / 8u))) & 15u;
    let high = (byte_at(at + 104u + g % 4u) >> (2u * (g / 4u))) & 3u;
    return half_at(at + 108u) * f32(i32(low | (high << 4u)) - 32) * vec2<f32>(1.0, 4.0);
}
fn codes_Q3_K(at: u32, k: u32) -> vec4<f32> {
    let low = fields(word_at(at + 32u + 32u * (k / 32u) + 4u * (k % 8u)), 2u * (k % 32u / 8u), 3u);
    return vec4<f32>(low | (fields(word_at(at + 4u * (k % 8u)), k / 8u, 1u) << vec4<u32>(2u)));
}
