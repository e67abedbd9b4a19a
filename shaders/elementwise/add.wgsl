// out ≈ (s_lhs (lhs - z_lhs) + s_rhs (rhs - z_rhs)) / s_out + z_out     elementwise, broadcast
//
// `add_codes` of elementwise/addition_*.wgsl defines the rounding. One invocation owns one quad of one row.
//
// Meaning: reference/binary.rs. Candidates: kernels/elementwise/binary.rs. Parameters: elementwise/params.wgsl.
//# import elementwise/params
//# import math/linear_index
//# import epilogue/store_codes
//# needs add_codes: elementwise/addition_*
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
        a = load_lhs(rows.x, quad);
        b = load_rhs(rows.y, quad);
    }
    // Shifts among them decide branches.
    let operands = params.operands + vec4<u32>(0u, 0u, 0u, opaque_zero(groups));
    store_codes(row, quad, add_codes(a, b, operands, params.result));
}
