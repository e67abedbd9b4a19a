// output[r, i] = (input[r, i] − mean_r) / √(variance_r + epsilon) · scale[i] + shift[i]     as floats, or quantized
//
// LANES invocations share a row. Each takes every LANES-th element, so it overwrites only elements that it has read itself. A row
// is divided by a power of two near its largest number, so that squares stay in f32. That changes no digit; epsilon is divided too.
//
// Meaning: reference/layer_norm.rs. Candidates: kernels/elementwise/layer_norm.rs.
//# import math/linear_index
//# needs row_max, row_sum: elementwise/row_lanes
//# needs finish_row: elementwise/normal_*
//# constants CENTRED, LANES, ROWS

struct Params {
    rows: u32,
    n: u32,                   // elements of a row
    epsilon: u32,             // f32 bits
    length: u32,              // elements that share a scale, if they are quantized
    per_row: u32,             // scales of a row
    code_words: u32,          // words of a row of codes
    low: i32,                 // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(5) var<storage, read> affine: array<f32>;      // n scales, n shifts

const LEAST: f32 = 1.17549435e-38;                                // the least normal number

// epsilon / unit², or 0 if that is no normal number. By exponents, because a compiler may multiply the two divisors first, and
// their product may leave f32.
fn scaled_epsilon(unit: u32) -> f32 {
    let exponents = 2u * ((unit >> 23u) - 127u);
    let fits = exponents == 0u || params.epsilon >> 23u > exponents;
    return bitcast<f32>(select(0u, params.epsilon - (exponents << 23u), fits));
}

// A row that is normalized: the index of its first element, and the numbers that do it.
struct Normal {
    first: u32,
    inverse: f32,
    mean: f32,
    factor: f32,
}

fn normalized(row: Normal, i: u32) -> f32 {
    let difference = bitcast<f32>(input[row.first + i]) * row.inverse - row.mean;
    return difference * row.factor * affine[i] + affine[params.n + i];
}

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
    var most = 0.0;
    for (var i = local.x; i < end; i += LANES) {
        most = max(most, abs(bitcast<f32>(input[first + i])));
    }
    // From 1 to 2^126, whose inverse is normal too.
    let unit = clamp(bitcast<u32>(row_max(most, local.x, local.y)) & 0x7f800000u, 127u << 23u, 253u << 23u);
    let inverse = bitcast<f32>((254u << 23u) - unit);
    var mean = 0.0;
    if (CENTRED) {
        var sum = 0.0;
        for (var i = local.x; i < end; i += LANES) {
            sum += bitcast<f32>(input[first + i]) * inverse;
        }
        mean = row_sum(sum, local.x, local.y) / f32(params.n);
    }
    var squares = 0.0;
    for (var i = local.x; i < end; i += LANES) {
        let difference = bitcast<f32>(input[first + i]) * inverse - mean;
        squares += difference * difference;
    }
    let variance = row_sum(squares, local.x, local.y) / f32(params.n);
    let factor = inverseSqrt(max(variance + scaled_epsilon(unit), LEAST));
    finish_row(Normal(first, inverse, mean, factor), row, end, local.x, local.y);
}
