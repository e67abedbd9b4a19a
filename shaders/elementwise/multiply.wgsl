// out ≈ s_lhs (lhs - z_lhs) · s_rhs (rhs - z_rhs) / s_out + z_out     elementwise, broadcast
//
// `store_product` of elementwise/multiplication_*.wgsl defines the rounding. One invocation owns one quad of one row.
//
// Meaning: reference/binary.rs. Candidates: kernels/elementwise/binary.rs. Parameters: elementwise/params.wgsl.
//# import elementwise/params
//# import math/linear_index
//# needs store_product: elementwise/multiplication_*
//# constants GROUP_X

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
    let rows = operand_rows(row, groups);
    var a = vec4<i32>(0);
    var b = vec4<i32>(0);
    if (quad * 4u < params.n) {
        a = load_lhs(rows.x, quad) - bitcast<i32>(params.operands.y);
        b = load_rhs(rows.y, quad) - bitcast<i32>(params.operands.w);
    }
    store_product(row, quad, a, b);
}
