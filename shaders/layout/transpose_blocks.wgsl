// out[…, j, …, i] = convert(input[…, i, …, j])     a transposition that moves the last axis, in blocks that fit registers
//
//     input   i0: j0 j1 j2 j3          output   j0: i0 i1 i2 i3       COLUMNS = ROWS = 4 elements of 8 bits: a word of
//             i1: j0 j1 j2 j3    ->             j1: i0 i1 i2 i3       the input has elements of four words of the output
//             i2: j0 j1 j2 j3                   j2: i0 i1 i2 i3
//             i3: j0 j1 j2 j3                   j3: i0 i1 i2 i3
//
// j is the input's last axis, i the output's. An invocation owns COLUMNS elements along i and ROWS along j. It reads and writes
// each word of them once. A workgroup owns GROUP_X blocks along i and GROUP_Y along j, so that neighbours share cache lines on both
// sides. Elements beyond the end of the output's rows are zeroed.
//
// Meaning: reference/transpose.rs, and reference/quantize.rs if elements are converted. Candidates: kernels/layout/transpose.rs.
//# import math/linear_index
//# needs convert: convert/step_dequantize, convert/step_dequantize_float, convert/step_none, convert/step_quantize, convert/step_quantize_float
//# constants BITS, COLUMNS, GROUP_X, GROUP_Y, INPUT_BITS, ROWS

struct Params {
    outer: array<vec4<u32>, 6>,   // all other axes: extent, words between neighbours in the input, and in the output, -
    axes: u32,                // number of axes in `outer`
    columns: u32,             // elements along i
    rows: u32,                // elements along j
    input_step: u32,          // u32 words from one i to the next
    output_step: u32,         // u32 words from one j to the next
    input_words: u32,         // u32 words of an input row
    output_words: u32,        // u32 words of an output row
    column_tiles: u32,        // workgroups along i
    row_tiles: u32,           // workgroups along j
    tiles: u32,               // workgroups
    scale: u32,               // scale of converted elements: f32 bits
    zero_point: i32,
    low: i32,                 // least and greatest code
    high: i32,
    unused_0: u32,
    unused_1: u32,
}

const LANES: u32 = 32u / BITS;
const INPUT_LANES: u32 = 32u / INPUT_BITS;
const WORDS: u32 = COLUMNS / LANES;
const INPUT_WORDS: u32 = ROWS / INPUT_LANES;

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
    let first_column = column_block * COLUMNS;
    let first_row = row_block * ROWS;
    if (column_block * WORDS >= params.output_words || first_row >= params.rows) {
        return;
    }
    var source = row_block * INPUT_WORDS;
    var target_word = column_block * WORDS;
    var index = rest / params.row_tiles;
    for (var a = 0u; a < params.axes + opaque_zero(groups); a += 1u) {
        let axis = params.outer[a];
        let at = index % axis.x;
        source += at * axis.y;
        target_word += at * axis.z;
        index = index / axis.x;
    }

    var words: array<u32, COLUMNS * INPUT_WORDS>;
    for (var i = 0u; i < COLUMNS; i += 1u) {
        for (var w = 0u; w < INPUT_WORDS; w += 1u) {
            if (first_column + i < params.columns && row_block * INPUT_WORDS + w < params.input_words) {
                words[i * INPUT_WORDS + w] = input[source + (first_column + i) * params.input_step + w];
            }
        }
    }
    let entry = vec2<u32>(params.scale, bitcast<u32>(params.zero_point));
    for (var j = 0u; j < ROWS; j += 1u) {
        for (var w = 0u; w < WORDS; w += 1u) {
            var word = 0u;
            for (var lane = 0u; lane < LANES; lane += 1u) {
                let i = w * LANES + lane;
                let bits = words[i * INPUT_WORDS + j / INPUT_LANES] >> ((j % INPUT_LANES) * INPUT_BITS);
                let element = convert(bits & (0xffffffffu >> (32u - INPUT_BITS)), entry);
                let kept = select(0u, element, first_column + i < params.columns);
                word |= (kept & (0xffffffffu >> (32u - BITS))) << (lane * BITS);
            }
            if (first_row + j < params.rows && column_block * WORDS + w < params.output_words) {
                output[target_word + (first_row + j) * params.output_step + w] = word;
            }
        }
    }
}
