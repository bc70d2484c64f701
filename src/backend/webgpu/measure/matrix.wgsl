// uses f16, subgroups, matrices
// matrix.wgsl: products of matrices of f16, with sums in f32: 4 of a subgroup in a round, of two factors on either side.
//
// M, N and K become those of the GPU, 16 at most.

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> numbers: vec4<u32>; // x: rounds

const WRONG = 0u; // tests make it 1

const M = 16u;
const N = 16u;
const K = 16u;
const LANES = 128u;

var<workgroup> left: array<f16, 512>;  // two of M rows of K
var<workgroup> right: array<f16, 512>; // two of K rows of N
var<workgroup> sums: array<f32, 1024>; // four of M rows of N

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) lane: u32,
        @builtin(subgroup_size) size: u32) {
    for (var i = lane; i < 512u; i += LANES) {
        left[i] = f16(f32((i * 7u + 3u) % 5u) - 2.0);
        right[i] = f16(f32((i * 3u + 1u) % 7u) - 3.0);
    }
    workgroupBarrier();
    let a0 = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(&left, 0u, K);
    let a1 = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(&left, M * K, K);
    let b0 = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, row_major>(&right, 0u, N);
    let b1 = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, row_major>(&right, K * N, N);
    var c00: subgroup_matrix_result<f32, N, M>;
    var c01: subgroup_matrix_result<f32, N, M>;
    var c10: subgroup_matrix_result<f32, N, M>;
    var c11: subgroup_matrix_result<f32, N, M>;
    for (var r = 0u; r < numbers.x; r++) {
        c00 = subgroupMatrixMultiplyAccumulate(a0, b0, c00);
        c01 = subgroupMatrixMultiplyAccumulate(a0, b1, c01);
        c10 = subgroupMatrixMultiplyAccumulate(a1, b0, c10);
        c11 = subgroupMatrixMultiplyAccumulate(a1, b1, c11);
    }
    // All subgroups have the same.
    if (lane / size == 0u) {
        subgroupMatrixStore<row_major>(&sums, 0u, c00, N);
        subgroupMatrixStore<row_major>(&sums, M * N, c01, N);
        subgroupMatrixStore<row_major>(&sums, 2u * M * N, c10, N);
        subgroupMatrixStore<row_major>(&sums, 3u * M * N, c11, N);
    }
    workgroupBarrier();
    for (var i = lane; i < 4u * M * N; i += LANES) {
        data[g.x * 1024u + i] = bitcast<u32>(i32(sums[i])) + WRONG;
    }
}
