// high[r, i] = codes[r, i] >> 8,  low[r, i] = codes[r, i] & 255     int16 codes as an int8 and a uint8 plane
//
//     two words of codes:    | l0 h0 l1 h1 | l2 h2 l3 h3 |        One invocation writes one word of each plane. Rows of
//     a word of each plane:  | h0 h1 h2 h3 |  | l0 l1 l2 l3 |     planes are padded to whole vec4, as rows of codes are.
//
// Candidates: kernels/gemm/int16_planes.rs. gemm/combine_bytes.wgsl combines the sums of both planes.
//# import math/linear_index
//# constants GROUP_X

struct Params {
    input_words: u32,          // u32 words from one row of codes to the next
    plane_words: u32,          // u32 words from one row of a plane to the next
    words: u32,                // words of a plane in all
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(6) var<storage, read_write> high_plane: array<u32>;
@group(0) @binding(7) var<storage, read_write> low_plane: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.words) {
        return;
    }
    let first = index % params.plane_words * 2u;
    var a = 0u;
    var b = 0u;
    if (first < params.input_words) {                       // rows of codes have an even number of words
        let at = index / params.plane_words * params.input_words + first;
        a = input[at];
        b = input[at + 1u];
    }
    high_plane[index] = ((a >> 8u) & 0xffu) | ((a >> 16u) & 0xff00u) | ((b << 8u) & 0xff0000u) | (b & 0xff000000u);
    low_plane[index] = (a & 0xffu) | ((a >> 8u) & 0xff00u) | ((b << 16u) & 0xff0000u) | ((b << 8u) & 0xff000000u);
}
