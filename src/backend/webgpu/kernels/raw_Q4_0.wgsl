// behind buffers.wgsl, raw.wgsl
fn scale_Q4_0(at: u32, g: u32) -> vec2<f32> { return half_at(at) * vec2<f32>(1.0, 8.0); }
fn codes_Q4_0(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(fields(word_at(at + 2u + 4u * (k % 4u)), 4u * (k / 4u), 15u));
}
