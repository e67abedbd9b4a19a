// out[i] = table[input[i]]     any function of one 8-bit code, 256 entries of 8 bits
//
// The table is indexed by the code's byte, int8 or uint8 alike. One invocation owns one word of one row.
//
// Meaning: reference/table.rs. Candidates: kernels/elementwise/table.rs.
//# import math/linear_index
//# constants GROUP_X

struct Params {
    n: u32,                   // columns: the length of the last dimension
    row_words: u32,           // u32 words of a row, input and output
    words: u32,               // words in all
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(5) var<storage, read> table: array<u32, 64>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

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
    let first = (index % params.row_words) * 4u;
    let codes = input[index];
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (first + lane < params.n) {
            let code = (codes >> (8u * lane)) & 0xffu;
            word |= ((table[code / 4u] >> (8u * (code % 4u))) & 0xffu) << (8u * lane);
        }
    }
    output[index] = word;
}
