// out[r, c] = stage(input[r, c])     requantize and dequantize by the output stage
//
// The zero point of the input is the negative bias of the stage's entry. Its scale is the entry's multiplier. So one table serves
// all granularities. One invocation owns one quad of one row.
//
// Meaning: reference/requantize.rs, reference/quantize.rs. Candidates: kernels/convert/requantize.rs, kernels/convert/quantize.rs.
//# import convert/parameter_index
//# import math/linear_index
//# import convert/integer_input
//# needs load_entries: epilogue/entries
//# needs store_output: epilogue/real_f16, epilogue/real_f32, epilogue/requantize
//# constants GROUP_X

struct Params {
    index_sizes: vec4<u32>,    // see convert/parameter_index.wgsl
    index_strides: vec4<u32>,
    n: u32,                    // columns: the length of the last dimension
    input_words: u32,          // u32 words from one row to the next
    output_words: u32,
    output_quads: u32,         // quads written per row, padding included
    quads: u32,                // quads in all
    zero_point: i32,           // of the output codes
    low: u32,                  // least and greatest output code (or ordered f32 key)
    high: u32,
}

const F32_ONE: u32 = 0x3f800000u;

@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads) {
        return;
    }
    let row = index / params.output_quads;
    let quad = index % params.output_quads;
    let base = parameter_row(row);
    var column_index = vec4<u32>(0u);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        column_index[lane] = base + parameter_column(min(quad * 4u + lane, params.n - 1u));
    }
    var values = vec4<i32>(0);
    if (quad * 4u < params.n) {
        values = load_input(row, quad);
    }
    store_output(row, quad, load_entries(column_index), F32_ONE, values);
}
