// behind buffers.wgsl, raw.wgsl
fn scale_F16(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(1.0, 0.0); }
fn codes_F16(at: u32, k: u32) -> vec4<f32> {
    let i = at / 4u + 2u * k;
    return vec4<f32>(unpack2x16float(words[i]), unpack2x16float(words[i + 1u]));
}
