// out[r, p] = input[r, source[p]]     columns in the order of packed weights, with their padding
//
// Padding holds zero or, if lhs has zero points, the zero point of its row (and group), which stands for zero. Moves bits only. One
// invocation owns one output word: LANES = 32 / BITS elements.
//
// Meaning: columns only move; reference/linear.rs reads them unmoved. Candidates: kernels/grouped/linear.rs.
//# import math/linear_index
//# needs pad_value: layout/pad_value_*
//# constants BITS, GROUP_X

struct Params {
    positions: u32,           // elements of an output row
    input_words: u32,         // u32 words of an input row
    output_words: u32,
    words: u32,               // output words in all
    group: u32,               // positions that share a scale of lhs
    groups: u32,              // scales of a row of lhs
    rows: u32,                // 1: each row has its own, 0: all share the first
    zero: u32,                // in padding, if lhs has no zero points
}

const LANES: u32 = 32u / BITS;
const NOWHERE: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(2) var<storage, read> sources: array<u32>;
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
    let row = index / params.output_words;
    let first = (index % params.output_words) * LANES;
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        let position = first + lane;
        if (position < params.positions) {
            let source = sources[position];
            var element = 0u;
            if (source == NOWHERE) {
                element = pad_value((row * params.groups + min(position / params.group, params.groups - 1u)) * params.rows);
            } else {
                element = input[row * params.input_words + source / LANES] >> (((source % LANES) * BITS) & 31u);
            }
            word |= (element & (0xffffffffu >> (32u - BITS))) << ((lane * BITS) & 31u);
        }
    }
    output[index] = word;
}
