// out[i] = input[i] in row-major order     the elements in rows of another length
//
// Moves bits only. One invocation owns one output word: LANES = 32 / BITS elements of one row.
//
// Meaning: reference/reshape.rs. Candidates: kernels/layout/reshape.rs.
//# import math/linear_index
//# import convert/load_element
//# constants GROUP_X, INPUT_BITS

struct Params {
    n: u32,                   // columns of the output
    input_n: u32,             // columns of the input
    input_words: u32,         // u32 words from one row to the next
    output_words: u32,
    words: u32,               // output words in all
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

const LANES: u32 = 32u / INPUT_BITS;

@group(0) @binding(0) var<uniform> params: Params;
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
    let first = (index % params.output_words) * LANES;
    let element = (index / params.output_words) * params.n + first;
    var row = element / params.input_n;
    var column = element % params.input_n;
    var word = 0u;
    for (var lane = 0u; lane < LANES && first + lane < params.n; lane += 1u) {
        word |= load_element(row, column) << (lane * INPUT_BITS);
        column += 1u;
        if (column == params.input_n) {
            column = 0u;
            row += 1u;
        }
    }
    output[index] = word;
}
