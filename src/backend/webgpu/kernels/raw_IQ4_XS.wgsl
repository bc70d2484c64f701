// behind buffers.wgsl, raw.wgsl
fn scale_IQ4_XS(at: u32, g: u32) -> vec2<f32> {
    let low = (byte_at(at + 4u + g / 2u) >> (4u * (g % 2u))) & 15u;
    let high = (byte_at(at + 2u + g / 4u) >> (2u * (g % 4u))) & 3u;
    return vec2<f32>(half_at(at) * f32(i32(low | (high << 4u)) - 32), 0.0);
}
fn codes_IQ4_XS(at: u32, k: u32) -> vec4<f32> {
    return iq4_levels(fields(word_at(at + 8u + 16u * (k / 8u) + 4u * (k % 4u)), 4u * (k / 4u % 2u), 15u));
}
