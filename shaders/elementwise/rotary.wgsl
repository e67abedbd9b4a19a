// output[t, …, a] = x_a cos − x_b sin,   output[t, …, b] = x_a sin + x_b cos     pairs of a row, by its token's position
//
// One invocation owns one element.
//
// Meaning: reference/rotary.rs. Candidates: kernels/elementwise/rotary.rs.
//# import elementwise/rotate
//# import math/linear_index
//# constants GROUP_X

struct Params {
    elements: u32,
    n: u32,                   // elements of a row
    token_rows: u32,          // rows of a token
    half: u32,                // pairs of a row; elements from twice that on are copied
    positions: i32,           // rows of the table
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
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
    output[index] = rotated(index / params.n, index % params.n);
}
