// behind buffers.wgsl, raw.wgsl
fn scale_Q5_1(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at), -half_at(at + 2u)); }
fn codes_Q5_1(at: u32, k: u32) -> vec4<f32> {
    let low = fields(word_at(at + 8u + 4u * (k % 4u)), 4u * (k / 4u), 15u);
    return vec4<f32>(low | (bits_of(word_at(at + 4u) >> (4u * k)) << vec4<u32>(4u)));
}
