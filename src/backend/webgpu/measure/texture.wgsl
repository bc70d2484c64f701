// texture.wgsl: points halfway between four texels: 4 of an invocation in a round.  `main` has them from a sampler,
// `by_hand` reads the texels and weighs them.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1
@group(0) @binding(2) var image: texture_2d<f32>;
@group(0) @binding(3) var filtering: sampler;

fn place(g: u32, lane: u32, i: u32) -> vec2<f32> {
    let texel = vec2<u32>((lane * 3u + i + g) % 63u, (lane / 4u + i * 5u) % 63u);
    return (vec2<f32>(texel) + 1.0) / 64.0;
}

fn weighed(at: vec2<f32>) -> vec4<f32> {
    let p = at * 64.0 - 0.5;
    let texel = vec2<i32>(p);
    let part = p - vec2<f32>(texel);
    let above = mix(textureLoad(image, texel, 0), textureLoad(image, texel + vec2<i32>(1, 0), 0), part.x);
    let below = mix(textureLoad(image, texel + vec2<i32>(0, 1), 0), textureLoad(image, texel + vec2<i32>(1, 1), 0), part.x);
    return mix(above, below, part.y);
}

fn put(at: u32, sum: vec4<f32>) {
    data[at] = bitcast<u32>(dot(sum, vec4<f32>(1.0, 2.0, 4.0, 8.0)) + 100.0 * f32(WRONG));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = vec4<f32>(0.0);
    for (var r = 0u; r < numbers.x; r++) {
        sum += textureSampleLevel(image, filtering, place(g.x, lane, 4u * r), 0.0);
        sum += textureSampleLevel(image, filtering, place(g.x, lane, 4u * r + 1u), 0.0);
        sum += textureSampleLevel(image, filtering, place(g.x, lane, 4u * r + 2u), 0.0);
        sum += textureSampleLevel(image, filtering, place(g.x, lane, 4u * r + 3u), 0.0);
    }
    put(g.x * 256u + lane, sum);
}

@compute @workgroup_size(256)
fn by_hand(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = vec4<f32>(0.0);
    for (var r = 0u; r < numbers.x; r++) {
        sum += weighed(place(g.x, lane, 4u * r));
        sum += weighed(place(g.x, lane, 4u * r + 1u));
        sum += weighed(place(g.x, lane, 4u * r + 2u));
        sum += weighed(place(g.x, lane, 4u * r + 3u));
    }
    put(g.x * 256u + lane, sum);
}
