// dx[i] = dy[i] if the gradient of a grid passes input[i], otherwise 0
//
// `passes` of train/grid_*.wgsl decides. One invocation owns one element.
//
// Meaning: reference/fake_quantize.rs. Candidates: kernels/train/fake_quantize.rs.
//# import convert/parameter_index
//# import math/linear_index
//# needs passes: train/grid_*
//# constants GROUP_X

struct Params {
    index_sizes: vec4<u32>,    // see convert/parameter_index.wgsl
    index_strides: vec4<u32>,
    n: u32,                    // columns: the length of the last dimension
    elements: u32,
    low: i32,                  // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(2) var<storage, read> gradient: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = linear_group(group, groups) * GROUP_X + thread;
    if (i >= params.elements) {
        return;
    }
    let index = parameter_row(i / params.n) + parameter_column(i % params.n);
    output[i] = select(0u, gradient[i], passes(input[i], index));
}
