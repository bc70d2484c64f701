// behind buffers.wgsl, raw.wgsl
fn scale_TQ1_0(at: u32, g: u32) -> vec2<f32> { return vec2<f32>(half_at(at + 52u)); }
// Digits of bytes that are fractions in base 3: five of each of 32 bytes, five of 16, four of 4.
fn codes_TQ1_0(at: u32, k: u32) -> vec4<f32> {
    var byte = 4u * (k % 8u);
    var digit = k / 8u;
    if (k >= 60u) {
        byte = 48u;
        digit = k - 60u;
    } else if (k >= 40u) {
        byte = 32u + 4u * (k % 4u);
        digit = (k - 40u) / 4u;
    }
    let powers = vec4<u32>(1u, 3u, 9u, 27u);
    let power = select(powers[digit % 4u], 81u, digit == 4u);
    return vec4<f32>((((fields(word_at(at + byte), 0u, 255u) * power) & vec4<u32>(255u)) * 3u) >> vec4<u32>(8u));
}
