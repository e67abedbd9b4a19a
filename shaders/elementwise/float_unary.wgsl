// output[i] = function(input[i])     real numbers
//
// One invocation owns one element.
//
// Meaning: reference/float_unary.rs. Candidates: kernels/elementwise/float_unary.rs.
//# import elementwise/float_function
//# import math/linear_index
//# needs float_post_op: epilogue/float_post_op_*
//# constants GROUP_X

struct Params {
    elements: u32,
    a: u32,                   // f32 bits: parameters of the function
    b: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.elements) {
        return;
    }
    let parameters = vec2<f32>(bitcast<f32>(params.a), bitcast<f32>(params.b));
    output[index] = float_post_op(function_of(input[index], parameters), index);
}
