// mul_f32.wgsl: multiply-adds of f32: 64 of an invocation in a round.  Two steps, b - x each with another b,
// move every number by the difference of both.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // -1 each, which no compiler knows.
    let a = vec4<f32>(f32(numbers.w) - 2.0);
    let b = vec4<f32>(f32(numbers.y));
    let c = vec4<f32>(f32(numbers.z));
    let first = vec4<f32>(f32(lane % 8u)) + vec4<f32>(0.0, 1.0, 2.0, 3.0);
    var x = first;
    var y = first + vec4<f32>(4.0);
    var z = first + vec4<f32>(8.0);
    var w = first + vec4<f32>(12.0);
    for (var r = 0u; r < numbers.x; r++) {
        x = fma(x, a, b);
        y = fma(y, a, b);
        z = fma(z, a, b);
        w = fma(w, a, b);
        x = fma(x, a, c);
        y = fma(y, a, c);
        z = fma(z, a, c);
        w = fma(w, a, c);
        x = fma(x, a, b);
        y = fma(y, a, b);
        z = fma(z, a, b);
        w = fma(w, a, b);
        x = fma(x, a, c);
        y = fma(y, a, c);
        z = fma(z, a, c);
        w = fma(w, a, c);
    }
    let all = x + y + z + w;
    data[g.x * 256u + lane] = u32(all.x + all.y + all.z + all.w) + WRONG;
}
