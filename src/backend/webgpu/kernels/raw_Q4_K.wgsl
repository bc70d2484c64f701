// behind buffers.wgsl, raw.wgsl
fn scale_Q4_K(at: u32, g: u32) -> vec2<f32> { return scale_of_k(at, g); }
fn codes_Q4_K(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(fields(word_at(at + 16u + 32u * (k / 16u) + 4u * (k % 8u)), 4u * (k / 8u % 2u), 15u));
}
