// output[r, i] = e^(scale (input[r, i] − max_r)) / Σ_j e^(scale (input[r, j] − max_r))
//
// LANES invocations share a row. Each takes every LANES-th element, so it overwrites only elements that it has read itself.
//
// Meaning: reference/softmax.rs. Candidates: kernels/elementwise/softmax.rs.
//# import math/linear_index
//# needs row_max, row_sum: elementwise/row_lanes
//# constants LANES, ROWS

struct Params {
    rows: u32,
    n: u32,                   // elements of a row
    scale: u32,               // f32 bits
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = linear_group(group, groups) * ROWS + local.y;
    // Lanes beyond the last row read nothing.
    let first = row * params.n;
    let end = select(0u, params.n, row < params.rows);
    var most = -3.4028234e38;
    for (var i = local.x; i < end; i += LANES) {
        most = max(most, bitcast<f32>(input[first + i]));
    }
    most = row_max(most, local.x, local.y);
    let scale = bitcast<f32>(params.scale);
    var total = 0.0;
    for (var i = local.x; i < end; i += LANES) {
        total += exp(scale * (bitcast<f32>(input[first + i]) - most));
    }
    total = row_sum(total, local.x, local.y);
    for (var i = local.x; i < end; i += LANES) {
        output[first + i] = bitcast<u32>(exp(scale * (bitcast<f32>(input[first + i]) - most)) / total);
    }
}
