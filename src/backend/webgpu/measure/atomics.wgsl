// atomics.wgsl: additions to 64 numbers in workgroup memory: 4 of an invocation in a round.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1

var<workgroup> bins: array<atomic<u32>, 64>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (lane < 64u) {
        atomicStore(&bins[lane], g.x);
    }
    workgroupBarrier();
    for (var r = 0u; r < numbers.x; r++) {
        let at = lane * 5u + r;
        atomicAdd(&bins[at & 63u], lane);
        atomicAdd(&bins[(at + 16u) & 63u], 1u);
        atomicAdd(&bins[(at + 32u) & 63u], r);
        atomicAdd(&bins[(at + 48u) & 63u], 3u);
    }
    workgroupBarrier();
    data[g.x * 256u + lane] = atomicLoad(&bins[lane & 63u]) + WRONG;
}
