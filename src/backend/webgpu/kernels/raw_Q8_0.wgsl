// behind buffers.wgsl, raw.wgsl
fn scale_Q8_0(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at), 0.0); }
fn codes_Q8_0(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(signed_bytes(word_at(at + 2u + 4u * k)));
}
