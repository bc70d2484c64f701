fn four_of_F32(raw: vec4<u32>, k: u32) -> vec4<f32> { return bitcast<vec4<f32>>(raw); }
