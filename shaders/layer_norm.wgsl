// output[r, i] = (input[r, i] − mean_r) / √(variance_r + epsilon) · scale[i] + shift[i]
//
// LANES invocations share a row, each taking every LANES-th element; it overwrites only what it has read itself.
//
// Meaning: reference/layer_norm.rs. Candidates: kernels/layer_norm.rs.

struct Params {
    rows: u32,
    n: u32,                   // elements of a row
    epsilon: u32,             // f32 bits
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> affine: array<f32>;      // n scales, n shifts
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = linear_group(group, groups) * ROWS + local.y;
    // Lanes of a row that isn't there have nothing to read.
    let first = row * params.n;
    let end = select(0u, params.n, row < params.rows);
    var mean = 0.0;
    if (CENTRED) {
        var sum = 0.0;
        for (var i = local.x; i < end; i += LANES) {
            sum += bitcast<f32>(input_word(first + i));
        }
        mean = row_sum(sum, local.x, local.y) / f32(params.n);
    }
    var squares = 0.0;
    for (var i = local.x; i < end; i += LANES) {
        let difference = bitcast<f32>(input_word(first + i)) - mean;
        squares += difference * difference;
    }
    let variance = row_sum(squares, local.x, local.y) / f32(params.n);
    let factor = inverseSqrt(variance + bitcast<f32>(params.epsilon));
    for (var i = local.x; i < end; i += LANES) {
        let difference = bitcast<f32>(input_word(first + i)) - mean;
        output[first + i] = bitcast<u32>(difference * factor * affine[i] + affine[params.n + i]);
    }
}
