// out[t, h, :] = Σ_j powers[t, h, j] values[j, g, :] · factor     the last of three passes
//
// An invocation owns ROWS rows and a quad of columns.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/pass_rows
//# import attention/store
//# import math/linear_index
//# needs load_value: attention/values_*
//# needs value_scale: attention/value_scales, attention/value_scales_none
//# constants GROUP_X, ROWS, VALUE_GROUPS, VALUE_GROUP_QUADS, VALUE_QUADS

@group(0) @binding(1) var<storage, read> powers: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    let quad = index % VALUE_QUADS;
    let block = index / VALUE_QUADS;
    let cache_head = block / params.row_blocks;
    let first_row = block % params.row_blocks * ROWS;
    if (cache_head >= params.cache_heads) {
        return;
    }
    let rows = u32(params.tokens) * params.group;
    var row_start: array<u32, ROWS>;
    var begin: array<u32, ROWS>;
    var end: array<u32, ROWS>;
    var sum: array<vec4<f32>, ROWS>;
    for (var r = 0u; r < ROWS; r += 1u) {
        row_start[r] = pass_row(row_place(min(first_row + r, rows - 1u), cache_head));
        begin[r] = powers[row_start[r]];
        end[r] = powers[row_start[r] + 1u];
    }
    // A later query sees later positions.
    for (var at = begin[0]; at < end[ROWS - 1u]; at += 1u) {
        let value_row = at * params.cache_heads + cache_head;
        let value = load_value(value_row, quad) * value_scale(value_row * VALUE_GROUPS + quad / VALUE_GROUP_QUADS);
        for (var r = 0u; r < ROWS; r += 1u) {
            let power = bitcast<f32>(powers[row_start[r] + PASS_HEADER + at]);
            sum[r] += select(0.0, power, begin[r] <= at && at < end[r]) * value;
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        let place = row_place(min(first_row + r, rows - 1u), cache_head);
        if (first_row + r < rows) {
            let factor = bitcast<f32>(powers[row_start[r] + 2u]);
            store(place * params.value_d + 4u * quad, sum[r] * factor, params.value_d - 4u * quad);
        }
    }
}
