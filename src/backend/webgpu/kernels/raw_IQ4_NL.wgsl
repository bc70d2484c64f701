// behind buffers.wgsl, raw.wgsl
fn scale_IQ4_NL(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at), 0.0); }
fn codes_IQ4_NL(at: u32, k: u32) -> vec4<f32> {
    return iq4_levels(fields(word_at(at + 2u + 4u * (k % 4u)), 4u * (k / 4u), 15u));
}
