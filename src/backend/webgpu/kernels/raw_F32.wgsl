// behind buffers.wgsl, raw.wgsl
fn scale_F32(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(1.0, 0.0); }
fn codes_F32(at: u32, k: u32) -> vec4<f32> {
    let i = at / 4u + 4u * k;
    return bitcast<vec4<f32>>(vec4<u32>(words[i], words[i + 1u], words[i + 2u], words[i + 3u]));
}
