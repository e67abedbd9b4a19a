// out[i_0, i_1, …] = input[s_0(i_0), s_1(i_1), …] or fill     transpose, slice, pad, nearest-neighbour resize
//
// `convert` converts each element. One invocation owns one output word: LANES = 32 / BITS elements of one row.
// layout/copy_rows.wgsl copies rows that stay whole.
//
// Meaning: reference/transpose.rs, slice.rs, pad.rs, resize.rs. Candidates: kernels/layout/rearrange.rs. Parameters:
// layout/params.wgsl.
//# import layout/params
//# import math/linear_index
//# needs convert: convert/step_dequantize, convert/step_dequantize_float, convert/step_none, convert/step_quantize, convert/step_quantize_float
//# constants BITS, GROUP_X, INPUT_BITS

const LANES: u32 = 32u / BITS;
const INPUT_LANES: u32 = 32u / INPUT_BITS;

@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.invocations) {
        return;
    }
    let first = (index % params.output_words) * LANES;
    let row = row_source(index / params.output_words, groups);
    let entry = vec2<u32>(params.scale, bitcast<u32>(params.zero_point));
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        if (first + lane < params.n) {
            let source = advance(row, params.inner, first + lane);
            var element = params.fill;
            if (source.inside) {
                let bits = input[source.word + source.element / INPUT_LANES] >> ((source.element % INPUT_LANES) * INPUT_BITS);
                element = convert(bits & (0xffffffffu >> (32u - INPUT_BITS)), entry);
            }
            word |= (element & (0xffffffffu >> (32u - BITS))) << (lane * BITS);
        }
    }
    output[index] = word;
}
