fn four_of_F16(raw: vec4<u32>, k: u32) -> vec4<f32> {
    let four = select(raw.xy, raw.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
