// matvec.comp: a matrix of Q4_K times a column, a row each workgroup: matvec.wgsl in GLSL, of which
// tools/make-spirv.sh makes matvec.spv.inc.
#version 450

layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Data { uint data[]; };     // rows, column, results
layout(set = 0, binding = 1) uniform Numbers { uvec4 numbers; }; // blocks of a row; words where column and results begin

shared float sums[64];

uint byte_of(uint block, uint i) {
    return data[block + 1u + i / 4u] >> (i % 4u * 8u) & 255u;
}

// Factor and offset of sub-block s.
vec2 scale_of(uint block, uint s) {
    const vec2 d = unpackHalf2x16(data[block]);
    const uint low = byte_of(block, s % 4u), mid = byte_of(block, s % 4u + 4u), high = byte_of(block, s % 4u + 8u);
    const uvec2 six = s < 4u ? uvec2(low & 63u, mid & 63u)
                             : uvec2((high & 15u) | low >> 6u << 4u, high >> 4u | mid >> 6u << 4u);
    return d * vec2(six);
}

vec4 four(uint word) {
    return vec4(word & 15u, word >> 8u & 15u, word >> 16u & 15u, word >> 24u & 15u);
}

vec4 column(uint i) {
    const uint at = numbers.y + i;
    return vec4(uintBitsToFloat(data[at]), uintBitsToFloat(data[at + 1u]), uintBitsToFloat(data[at + 2u]),
                uintBitsToFloat(data[at + 3u]));
}

void main() {
    const uint row = gl_WorkGroupID.x, lane = gl_LocalInvocationIndex;
    const uint word = lane % 32u, pair = word / 8u; // of 4 bytes of codes; of sub-blocks
    float sum = 0.0;
    for (uint b = lane / 32u; b < numbers.x; b += 2u) {
        const uint block = (row * numbers.x + b) * 36u;
        const uint codes = data[block + 4u + word];
        const uint at = b * 256u + pair * 64u + word % 8u * 4u;
        const vec2 first = scale_of(block, 2u * pair), second = scale_of(block, 2u * pair + 1u);
        sum += dot(first.x * four(codes) - first.y, column(at));
        sum += dot(second.x * four(codes >> 4u) - second.y, column(at + 32u));
    }
    sums[lane] = sum;
    barrier();
    for (uint n = 32u; n > 0u; n /= 2u) {
        if (lane < n) {
            sums[lane] += sums[lane + n];
        }
        barrier();
    }
    if (lane == 0u) {
        data[numbers.z + row] = floatBitsToUint(sums[0]);
    }
}
