// out[t, h, :] = Σ_j powers[t, h, j] values[j, g, :] · factor     the last of three passes
//
// An invocation owns ROWS rows and a quad of columns.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/store
//# import math/linear_index
//# needs load_value: attention/values_*
//# needs share_factor: attention/sinks, attention/sinks_none
//# constants GROUP_X, ROWS, VALUE_QUADS

@group(0) @binding(1) var<storage, read> powers: array<f32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;

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
    let first = bounded_position(position[0]);
    var row_start: array<u32, ROWS>;
    var seen: array<vec2<i32>, ROWS>;
    var sum: array<vec4<f32>, ROWS>;
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = min(first_row + r, rows - 1u);
        row_start[r] = row_place(row, cache_head) * (u32(params.capacity) + 2u);
        seen[r] = visible(i32(row / params.group), first);
    }
    for (var at = seen[0].x; at < seen[ROWS - 1u].y; at += 1) {
        let value = load_value(u32(at) * params.cache_heads + cache_head, quad);
        for (var r = 0u; r < ROWS; r += 1u) {
            let power = powers[row_start[r] + 2u + u32(at)];
            sum[r] += select(0.0, power, seen[r].x <= at && at < seen[r].y) * value;
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        let place = row_place(min(first_row + r, rows - 1u), cache_head);
        let factor = share_factor(powers[row_start[r]], powers[row_start[r] + 1u], place % params.heads);
        if (first_row + r < rows) {
            store(place * params.value_d + 4u * quad, sum[r] * factor, params.value_d - 4u * quad);
        }
    }
}
