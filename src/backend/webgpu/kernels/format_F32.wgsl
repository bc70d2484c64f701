fn four_F32(at: vec4<u32>, i: u32, k: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(weights[at.x + 8u * i + k]);
}
