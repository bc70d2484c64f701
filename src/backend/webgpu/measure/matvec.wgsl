// matvec.wgsl: a matrix of Q4_K times a column, a row each workgroup; matvec.comp is the same.

@group(0) @binding(0) var<storage, read_write> data: array<u32>; // rows, column, results
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // blocks of a row; words where column and results begin

var<workgroup> sums: array<f32, 64>;

fn byte_of(block: u32, i: u32) -> u32 {
    return (data[block + 1u + i / 4u] >> (i % 4u * 8u)) & 255u;
}

// Factor and offset of sub-block s.
fn scale_of(block: u32, s: u32) -> vec2<f32> {
    let d = unpack2x16float(data[block]);
    let low = byte_of(block, s % 4u);
    let mid = byte_of(block, s % 4u + 4u);
    let high = byte_of(block, s % 4u + 8u);
    let six = select(vec2<u32>((high & 15u) | ((low >> 6u) << 4u), (high >> 4u) | ((mid >> 6u) << 4u)),
                     vec2<u32>(low & 63u, mid & 63u), s < 4u);
    return d * vec2<f32>(six);
}

fn four(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(word & 15u, (word >> 8u) & 15u, (word >> 16u) & 15u, (word >> 24u) & 15u));
}

fn column(i: u32) -> vec4<f32> {
    let at = numbers.y + i;
    return bitcast<vec4<f32>>(vec4<u32>(data[at], data[at + 1u], data[at + 2u], data[at + 3u]));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = g.x;
    let word = lane % 32u; // of 4 bytes of codes
    let pair = word / 8u;  // of sub-blocks
    var sum = 0.0;
    for (var b = lane / 32u; b < numbers.x; b += 2u) {
        let block = (row * numbers.x + b) * 36u;
        let codes = data[block + 4u + word];
        let at = b * 256u + pair * 64u + word % 8u * 4u;
        let first = scale_of(block, 2u * pair);
        let second = scale_of(block, 2u * pair + 1u);
        sum += dot(first.x * four(codes) - first.y, column(at));
        sum += dot(second.x * four(codes >> 4u) - second.y, column(at + 32u));
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var n = 32u; n > 0u; n /= 2u) {
        if (lane < n) {
            sums[lane] += sums[lane + n];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        data[numbers.z + row] = bitcast<u32>(sums[0]);
    }
}
