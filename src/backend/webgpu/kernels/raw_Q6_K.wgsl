// behind buffers.wgsl, raw.wgsl
fn scale_Q6_K(at: u32, g: u32) -> vec2<f32> {
    let scale = bitcast<i32>(byte_at(at + 192u + g) << 24u) >> 24u;
    return half_at(at + 208u) * f32(scale) * vec2<f32>(1.0, 32.0);
}
fn codes_Q6_K(at: u32, k: u32) -> vec4<f32> {
    let low = fields(word_at(at + 64u * (k / 32u) + 4u * (k % 16u)), 4u * (k % 32u / 16u), 15u);
    let high = fields(word_at(at + 128u + 32u * (k / 32u) + 4u * (k % 8u)), 2u * (k % 32u / 8u), 3u);
    return vec4<f32>(low | (high << vec4<u32>(4u)));
}
