// sum_workgroup.wgsl: what sum_subgroup.wgsl computes, in workgroup memory.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1

var<workgroup> partial: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var x = lane + g.x;
    for (var r = 0u; r < numbers.x; r++) {
        partial[lane] = x;
        workgroupBarrier();
        for (var n = 128u; n > 0u; n /= 2u) {
            if (lane < n) {
                partial[lane] += partial[lane + n];
            }
            workgroupBarrier();
        }
        x = partial[0] * 3u + lane + r;
        workgroupBarrier();
    }
    data[g.x * 256u + lane] = x + WRONG;
}
