// out[row, start + c] = mapped(input[row, c])     one input of a concatenation, moved or requantized by a table
//
// Along any axis but the last, whole rows are copied (`start` is 0). Along the last axis, rows are put side by side:
//
//     output row   | input 0 ... | input 1 ... | 0 padding |     `start` may fall inside a word: elements of earlier inputs
//                                ^ start                          in that word are kept, those after this input are zeroed
//
// Inputs are written in order, one dispatch each. One invocation owns one word of one output row.
//
// Meaning: reference/concat.rs. Candidates: kernels/layout/concat.rs.
//# import math/linear_index
//# needs mapped: layout/concat_moved, layout/concat_table
//# constants BITS, GROUP_X

const LANES: u32 = 32u / BITS;
const MASK: u32 = 0xffffffffu >> (32u - BITS);

struct Params {
    n: u32,                   // columns of this input
    start: u32,               // first column of this input in the output
    input_words: u32,         // u32 words of an input row
    output_words: u32,
    first_word: u32,          // first and number of output words that this input writes per row
    row_words: u32,
    words: u32,               // words written in all
    input_rows: u32,          // input rows of one index of the dimensions before the joined axis; the next field: output rows
    output_rows: u32,
    start_row: u32,           // first output row of this input among these
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
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
    let row = index / params.row_words;
    let place = params.first_word + index % params.row_words;
    let output_row = (row / params.input_rows) * params.output_rows + params.start_row + row % params.input_rows;
    let at = output_row * params.output_words + place;
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        let column = place * LANES + lane;
        if (column < params.start) {
            word |= output[at] & (MASK << (BITS * lane));
        } else if (column - params.start < params.n) {
            let source = column - params.start;
            let element = (input[row * params.input_words + source / LANES] >> (BITS * (source % LANES))) & MASK;
            word |= mapped(element) << (BITS * lane);
        }
    }
    output[at] = word;
}
