// output = condition ? a : b     words, elementwise, broadcast
//
// One invocation owns one element.
//
// Meaning: reference/select.rs. Candidates: kernels/elementwise/select.rs.
//# import elementwise/operand_rows
//# import math/linear_index
//# constants CODES, GROUP_X

struct Params {
    dimension: array<vec4<u32>, 7>,   // all but the last, innermost first: extent, strides of condition, a and b (in rows)
    row: vec4<u32>,           // words of a row of condition, a and b; -
    step: vec4<u32>,          // 1, or 0 if the last dimension is repeated; -
    dimensions: u32,
    n: u32,                   // columns: the length of the last dimension
    elements: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> condition: array<u32>;
@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

// The bits of an element of the condition that say if it is true; CODES if a word has four. -0 is false.
fn truth(row: u32, column: u32) -> u32 {
    if (CODES) {
        return (condition[row + column / 4u] >> (column % 4u * 8u)) & 0xffu;
    }
    return condition[row + column] & 0x7fffffffu;
}

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
    let rows = operand_rows(index / params.n, groups) * params.row.xyz;
    let columns = index % params.n * params.step.xyz;
    if (truth(rows.x, columns.x) != 0u) {
        output[index] = a[rows.y + columns.y];
    } else {
        output[index] = b[rows.z + columns.z];
    }
}
