// behind buffers.wgsl, raw.wgsl
fn scale_Q2_0(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at)); }
fn codes_Q2_0(at: u32, k: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(byte_at(at + 2u + k)) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u));
}
