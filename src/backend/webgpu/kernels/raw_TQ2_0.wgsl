// behind buffers.wgsl, raw.wgsl
fn scale_TQ2_0(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at + 64u)); }
fn codes_TQ2_0(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(fields(word_at(at + 32u * (k / 32u) + 4u * (k % 8u)), 2u * (k % 32u / 8u), 3u));
}
