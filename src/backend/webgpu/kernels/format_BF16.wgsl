fn four_of_BF16(raw: vec4<u32>, k: u32) -> vec4<f32> {
    let four = select(raw.xy, raw.zw, k % 2u == 1u);
    return bitcast<vec4<f32>>(vec4<u32>(four.x << 16u, four.x & 0xffff0000u, four.y << 16u, four.y & 0xffff0000u));
}
