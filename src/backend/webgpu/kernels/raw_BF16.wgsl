// behind buffers.wgsl, raw.wgsl
fn scale_BF16(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(1.0, 0.0); }
fn codes_BF16(at: u32, k: u32) -> vec4<f32> {
    let two = vec2<u32>(words[at / 4u + 2u * k], words[at / 4u + 2u * k + 1u]);
    return bitcast<vec4<f32>>(vec4<u32>(two.x << 16u, two.x & 0xffff0000u, two.y << 16u, two.y & 0xffff0000u));
}
