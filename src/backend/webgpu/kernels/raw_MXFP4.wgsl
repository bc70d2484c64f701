// behind buffers.wgsl, raw.wgsl
// Levels are kept doubled, so the scale is half of 2^(e - 127); 255 is not a number.
fn scale_MXFP4(at: u32, g: u32) -> vec2<f32> {
    let e = byte_at(at);
    let bits = select((e - 1u) << 23u, 0x00200000u << e, e < 2u);
    return vec2<f32>(bitcast<f32>(select(bits, 0x7fc00000u, e == 255u)), 0.0);
}
fn codes_MXFP4(at: u32, k: u32) -> vec4<f32> {
    return levels_of(vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu),
        fields(word_at(at + 1u + 4u * (k % 4u)), 4u * (k / 4u), 15u));
}
