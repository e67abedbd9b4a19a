// out[…, j, …, i] = input[…, i, …, j]     a transposition whose rows become columns, in blocks that registers hold
//
//     input   i0: j0 j1 j2 j3          output   j0: i0 i1 i2 i3       BLOCK = 4, LANES = 4 elements of 8 bits: a word of
//             i1: j0 j1 j2 j3    ->             j1: i0 i1 i2 i3       the input has elements of four words of the output
//             i2: j0 j1 j2 j3                   j2: i0 i1 i2 i3
//             i3: j0 j1 j2 j3                   j3: i0 i1 i2 i3
//
// j is the input's last axis, i the output's. An invocation owns BLOCK x BLOCK elements, reads each word of them once and
// writes each once; a workgroup owns GROUP_X blocks along i and GROUP_Y along j, so that neighbours share cache lines on both
// sides. Moves bits only. What the output's rows have beyond their last element is zeroed.
//
// Meaning: reference/transpose.rs. Candidates: kernels/transpose.rs.

struct Params {
    outer: array<vec4<u32>, 6>,   // all other axes: extent, words between neighbours in the input, and in the output, -
    axes: u32,                // of `outer`
    columns: u32,             // elements along i
    rows: u32,                // elements along j
    input_step: u32,          // u32 words from one i to the next
    output_step: u32,         // u32 words from one j to the next
    input_words: u32,         // u32 words of an input row
    output_words: u32,        // u32 words of an output row
    column_tiles: u32,        // workgroups along i
    row_tiles: u32,           // workgroups along j
    tiles: u32,               // workgroups
    unused_0: u32,
    unused_1: u32,
}

const LANES: u32 = 32u / BITS;
const WORDS: u32 = BLOCK / LANES;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = linear_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let column_block = (tile % params.column_tiles) * GROUP_X + local.x;
    let rest = tile / params.column_tiles;
    let row_block = (rest % params.row_tiles) * GROUP_Y + local.y;
    let first_column = column_block * BLOCK;
    let first_row = row_block * BLOCK;
    if (column_block * WORDS >= params.output_words || first_row >= params.rows) {
        return;
    }
    var source = row_block * WORDS;
    var target_word = column_block * WORDS;
    var index = rest / params.row_tiles;
    for (var a = 0u; a < params.axes; a += 1u) {
        let axis = params.outer[a];
        let at = index % axis.x;
        source += at * axis.y;
        target_word += at * axis.z;
        index = index / axis.x;
    }

    var words: array<u32, BLOCK * WORDS>;
    for (var i = 0u; i < BLOCK; i += 1u) {
        for (var w = 0u; w < WORDS; w += 1u) {
            if (first_column + i < params.columns && row_block * WORDS + w < params.input_words) {
                words[i * WORDS + w] = input[source + (first_column + i) * params.input_step + w];
            }
        }
    }
    for (var j = 0u; j < BLOCK; j += 1u) {
        for (var w = 0u; w < WORDS; w += 1u) {
            var word = 0u;
            for (var lane = 0u; lane < LANES; lane += 1u) {
                let element = words[(w * LANES + lane) * WORDS + j / LANES] >> ((j % LANES) * BITS);
                word |= (element & (0xffffffffu >> (32u - BITS))) << (lane * BITS);
            }
            if (first_row + j < params.rows && column_block * WORDS + w < params.output_words) {
                output[target_word + (first_row + j) * params.output_step + w] = word;
            }
        }
    }
}
