// behind buffers.wgsl, raw.wgsl
fn scale_Q4_1(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at), -half_at(at + 2u)); }
fn codes_Q4_1(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(fields(word_at(at + 4u + 4u * (k % 4u)), 4u * (k / 4u), 15u));
}
