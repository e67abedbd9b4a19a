// output[row, column] = the bits of a rotated element     rows before they are quantized, on devices that bind few buffers
//
// One invocation owns one element.
//
// Meaning: reference/append_quantized.rs. Candidates: kernels/layout/append_quantized.rs.
//# import elementwise/rotate_bits
//# import layout/append_quantized_params
//# import math/linear_index
//# constants GROUP_X

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index < u32(params.count) * params.token_rows * params.n) {
        output[index] = rotated_bits(index / params.n, index % params.n);
    }
}
