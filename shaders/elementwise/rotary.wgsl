// output[t, …, a] = x_a cos − x_b sin,   output[t, …, b] = x_a sin + x_b cos     pairs of a row, by its token's position
//
// One invocation owns one element. Row p of the table has the cosines of position p, then its sines.
//
// Meaning: reference/rotary.rs. Candidates: kernels/elementwise/rotary.rs.
//# import math/linear_index
//# constants GROUP_X, INTERLEAVED

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
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;
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
    let row = index / params.n;
    let column = index % params.n;
    let mine = input[index];
    if (column >= 2u * params.half) {
        output[index] = mine;
        return;
    }
    let is_second = select(column >= params.half, column % 2u == 1u, INTERLEAVED);
    let pair = select(column % params.half, column / 2u, INTERLEAVED);
    let distance = select(params.half, 1u, INTERLEAVED);
    let other = input[select(index + distance, index - distance, is_second)];
    // The bounds come first, so that the sum stays in i32.
    let token = i32(row / params.token_rows);
    let at = clamp(clamp(position[0], -token, params.positions) + token, 0, params.positions - 1);
    let entry = u32(at) * 2u * params.half + pair;
    let cosine = table[entry];
    let sine = table[entry + params.half];
    output[index] = mine * cosine + select(-other, other, is_second) * sine;
}
