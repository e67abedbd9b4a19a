// out[r, c] = convert(input[r, c], parameters of (r, c))     cast, quantize, dequantize
//
//     input   | a a a a | a a a a | ...      One invocation owns UNIT neighbouring elements of a row: one word of the
//     output  | b | b | b | b | ...          narrower format. It reads each word once and writes each word once: those of a
//                                            unit at once, if rows are whole units (WHOLE_INPUT, WHOLE_OUTPUT).
//
// `convert` converts an element; `parameter` loads its scale. Elements beyond the row become zeros.
//
// Meaning: reference/cast.rs, reference/quantize.rs. Candidates: kernels/convert/convert.rs.
//# import math/linear_index
//# import convert/load_element
//# needs convert: convert/step_cast, convert/step_dequantize, convert/step_dequantize_float, convert/step_quantize, convert/step_quantize_float
//# needs parameter, parameter_base: convert/scales_*
//# constants BITS, COLUMN_PARAMETERS, GROUP_X, INPUT_BITS, ONE_ROW, UNIT, WHOLE_INPUT, WHOLE_OUTPUT

struct Params {
    index_sizes: vec4<u32>,    // see convert/parameter_index.wgsl
    index_strides: vec4<u32>,
    n: u32,                    // columns: the length of the last dimension
    input_words: u32,          // words of one row
    output_words: u32,
    row_units: u32,            // units of one row
    units: u32,                // units in all
    low: i32,                  // least and greatest code of an integer format
    high: i32,
    scale_words: u32,          // words of a row of scales, if the scales are a tensor
    unit: u32,                 // f32 bits of the factor of such scales
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

const LANES: u32 = 32u / BITS;
const INPUT_PIECES: u32 = UNIT * INPUT_BITS / 32u;
const PIECES: u32 = UNIT * BITS / 32u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.units) {
        return;
    }
    var row = 0u;
    var first = index * UNIT;
    if (!ONE_ROW) {
        row = index / params.row_units;
        first -= row * params.row_units * UNIT;
    }
    var words: array<u32, INPUT_PIECES>;
    for (var piece = 0u; piece < INPUT_PIECES; piece += 1u) {
        let at = first / INPUT_LANES + piece;
        if (WHOLE_INPUT || at < params.input_words) {
            words[piece] = input[row * params.input_words + at];
        }
    }
    let base = parameter_base(row);
    var entry = parameter(base, min(first, params.n - 1u));
    for (var piece = 0u; piece < PIECES; piece += 1u) {
        var word = 0u;
        for (var lane = 0u; lane < LANES; lane += 1u) {
            let place = piece * LANES + lane;
            let element = (words[place / INPUT_LANES] >> ((place % INPUT_LANES) * INPUT_BITS))
                & (0xffffffffu >> (32u - INPUT_BITS));
            if (COLUMN_PARAMETERS) {
                entry = parameter(base, min(first + place, params.n - 1u));
            }
            let kept = convert(element, entry) & (0xffffffffu >> (32u - BITS));
            word |= select(0u, kept, first + place < params.n) << (lane * BITS);
        }
        let at = first / LANES + piece;
        if (WHOLE_OUTPUT || at < params.output_words) {
            output[row * params.output_words + at] = word;
        }
    }
}
