fn four_BF16(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> {
    let eight = weights[at.x + 4u * i + k / 2u];
    let four = select(eight.xy, eight.zw, k % 2u == 1u);
    return bitcast<vec4<f32>>(vec4<u32>(four.x << 16u, four.x & 0xffff0000u, four.y << 16u, four.y & 0xffff0000u));
}
