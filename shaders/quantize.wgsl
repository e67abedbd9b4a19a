// out[r, c] = saturate(round_ties_even(input[r, c] / scale) + zero_point)     quantize to BITS-bit codes
//
// The division is one correctly rounded f32 division done in integers, so ties fall the same way on every device.
// `decode` makes a float32 of what the input holds. NaN becomes the least code, infinity saturates; 32-bit codes have no zero
// point. One invocation owns one output word: LANES = 32 / BITS codes.
//
// Meaning: reference/quantize.rs. Candidates: kernels/quantize.rs.

struct Params {
    index_sizes: vec4<u32>,    // see lib/parameter_index.wgsl
    index_strides: vec4<u32>,
    n: u32,                    // columns: the length of the last dimension
    output_words: u32,         // words of one output row
    words: u32,                // output words in all
    low: i32,                  // least and greatest code of the format
    high: i32,
    input_words: u32,          // words of one input row
    unused_0: u32,
    unused_1: u32,
}

const LANES: u32 = 32u / BITS;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> parameters: array<vec2<u32>>;       // scale (f32 bits), zero point
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn quantize(value: u32, scale: u32, zero_point: i32) -> i32 {
    let magnitude = value & ~F32_SIGN;
    if (magnitude >= F32_INFINITY) {
        return select(params.low, params.high, value == F32_INFINITY);
    }
    let steps = f32_round_to_i32(f32_divide(value, scale));
    return clamp(steps, params.low - zero_point, params.high - zero_point) + zero_point;
}

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
    let base = parameter_row(row);
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        let column = first + lane;
        if (column < params.n) {
            let entry = parameters[base + parameter_column(column)];
            let code = quantize(decode(load_element(row, column)), entry.x, bitcast<i32>(entry.y));
            word |= (bitcast<u32>(code) & (0xffffffffu >> (32u - BITS))) << ((lane * BITS) & 31u);
        }
    }
    output[index] = word;
}
