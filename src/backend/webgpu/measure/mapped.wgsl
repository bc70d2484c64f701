// mapped.wgsl: sums of what the host wrote: a workgroup has a part of it, each word counts by its place.

@group(0) @binding(0) var<storage, read_write> data: array<u32>; // words, then the sums
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // all words, words of a workgroup

var<workgroup> sums: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = 0u;
    for (var i = lane; i < numbers.y; i += 256u) {
        sum += data[g.x * numbers.y + i] * (2u * i + 1u);
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var n = 128u; n > 0u; n /= 2u) {
        if (lane < n) {
            sums[lane] += sums[lane + n];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        data[numbers.x + g.x] = sums[0];
    }
}
