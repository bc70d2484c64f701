// Scale and minimum of sub-block s of 8, from the header of a super-block of Q4_K or Q5_K: two f16 factors, then 12 bytes
// with 6 bits for each scale and minimum.
fn k_scales(h: vec4<u32>, s: u32) -> vec2<f32> {
    let shift = s % 4u * 8u;
    let low = vec2<u32>(h.y, h.z) >> vec2<u32>(shift);
    let rest = h.w >> shift;
    let late = vec2<u32>((rest & 15u) | ((low.x >> 2u) & 0x30u), ((rest >> 4u) & 15u) | ((low.y >> 2u) & 0x30u));
    return unpack2x16float(h.x) * vec2<f32>(select(low & vec2<u32>(63u), late, s >= 4u));
}
