// out = saturate(round_ties_even((s_lhs (lhs - z_lhs) + s_rhs (rhs - z_rhs)) / s_out) + z_out)     elementwise, broadcast
//
// Dequantize, add, quantize, each step one correctly rounded f32 operation done in integers.
// One invocation owns one quad of one row.
//
// Meaning: reference/binary.rs. Candidates: kernels/binary.rs. Parameters: params/binary.wgsl.

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
    let rows = operand_rows(row);
    let source_quad = min(quad, (params.n - 1u) / 4u);
    let a = load_lhs(rows.x, source_quad) - params.lhs_zero_point;
    let b = load_rhs(rows.y, source_quad) - params.rhs_zero_point;
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let sum = f32_add(
            f32_multiply(f32_from_i32(a[lane]), params.lhs_scale),
            f32_multiply(f32_from_i32(b[lane]), params.rhs_scale),
        );
        let steps = f32_round_to_i32(f32_divide(sum, params.output_scale));
        let low = bitcast<i32>(params.low) - params.zero_point;
        let high = bitcast<i32>(params.high) - params.zero_point;
        codes[lane] = clamp(steps, low, high) + params.zero_point;
    }
    store_output(row, quad, vec4<u32>(0u), 0u, codes);
}
