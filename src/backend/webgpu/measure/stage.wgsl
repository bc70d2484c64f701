// stage.wgsl: copies of 8 KiB to workgroup memory, one in a round.  WGSL has them through registers only.
//
// `data` begins with numbers.y tiles; the results lie behind them.

@group(0) @binding(0) var<storage, read_write> data: array<vec4<u32>>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds, y: tiles

const WRONG = 0u; // tests make it 1

var<workgroup> tile: array<vec4<u32>, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var x = vec4<u32>(0u);
    for (var r = 0u; r < numbers.x; r++) {
        let at = (g.x * 7u + r) % numbers.y * 512u;
        tile[lane] = data[at + lane];
        tile[lane + 256u] = data[at + lane + 256u];
        workgroupBarrier();
        x += tile[511u - lane] ^ tile[(lane * 3u + 1u) & 511u];
        workgroupBarrier();
    }
    data[numbers.y * 512u + g.x * 256u + lane] = x + WRONG;
}
