fn four_F16(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> {
    let eight = weights[at.x + 4u * i + k / 2u];
    let four = select(eight.xy, eight.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
