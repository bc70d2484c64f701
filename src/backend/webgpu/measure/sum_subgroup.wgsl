// uses subgroups
// sum_subgroup.wgsl: sums of a workgroup's 256 numbers by operations of subgroups, one in a round.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1

var<workgroup> partial: array<u32, 64>; // of each subgroup: 64 at most, as none has less than four lanes

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32,
        @builtin(subgroup_invocation_id) id: u32, @builtin(subgroup_size) size: u32) {
    var x = lane + g.x;
    for (var r = 0u; r < numbers.x; r++) {
        let part = subgroupAdd(x);
        if (id == 0u) {
            partial[lane / size] = part;
        }
        workgroupBarrier();
        var some = 0u;
        for (var i = id; i < 256u / size; i += size) {
            some += partial[i];
        }
        x = subgroupAdd(some) * 3u + lane + r;
        workgroupBarrier();
    }
    data[g.x * 256u + lane] = x + WRONG;
}
