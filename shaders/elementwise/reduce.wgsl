// output[o, s] = finish( Σ or max_i each(input[kept(o) + reduced(i)]) )     i in slice s of the numbers of output o
//
//   outputs      x . . x . . x . .        kept axes say where the numbers of an output begin,
//   numbers      x y z x y z x y z        reduced axes where they lie from there on. Long ones are cut into slices:
//                                         a second launch, of rows, reduces their results.
//
// LANES invocations share a row, which is a slice of an output. If the last axis is reduced, neighbouring invocations are its
// lanes; else they are neighbouring outputs.
//
// Meaning: reference/reduce.rs. Candidates: kernels/elementwise/reduce.rs.
//# import elementwise/float_steps
//# import math/linear_index
//# needs row_max, row_sum: elementwise/row_lanes
//# constants ALONG_ROWS, EACH, EXTREME, FINISH, LANES, NEGATED, ONE_AXIS, ROWS

struct Params {
    kept: array<vec4<u32>, 4>,        // innermost first: extent, stride, -, -
    reduced: array<vec4<u32>, 4>,
    kept_axes: u32,
    reduced_axes: u32,
    outputs: u32,
    n: u32,                   // numbers of an output
    slices: u32,              // slices of an output; the next field: numbers of a slice
    slice: u32,
    count: u32,               // f32 bits: the divisor of a mean
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

const MAGNITUDE: u32 = 1u;            // of EACH
const SQUARE: u32 = 2u;
const DIVIDE: u32 = 1u;               // of FINISH
const ROOT: u32 = 2u;

fn kept_offset(index: u32, groups: vec3<u32>) -> u32 {
    var rest = index;
    var offset = 0u;
    for (var i = 0u; i < params.kept_axes + opaque_zero(groups); i += 1u) {
        let axis = params.kept[i];
        offset += (rest % axis.x) * axis.y;
        rest = rest / axis.x;
    }
    return offset;
}

fn reduced_offset(index: u32, groups: vec3<u32>) -> u32 {
    if (ONE_AXIS) {
        return index * params.reduced[0].y;
    }
    var rest = index;
    var offset = 0u;
    for (var i = 0u; i < params.reduced_axes + opaque_zero(groups); i += 1u) {
        let axis = params.reduced[i];
        offset += (rest % axis.x) * axis.y;
        rest = rest / axis.x;
    }
    return offset;
}

fn each(x: f32) -> f32 {
    if (EACH == MAGNITUDE) {
        return abs(x);
    }
    if (EACH == SQUARE) {
        return x * x;
    }
    return select(x, -x, NEGATED);
}

fn finish(x: f32) -> f32 {
    if (FINISH == DIVIDE) {
        return x / bitcast<f32>(params.count);
    }
    if (FINISH == ROOT) {
        return root(x);
    }
    return select(x, -x, NEGATED);
}

@compute @workgroup_size(LANES * ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let lane = select(thread / ROWS, thread % LANES, ALONG_ROWS);
    let local_row = select(thread % ROWS, thread / LANES, ALONG_ROWS);
    let row = linear_group(group, groups) * ROWS + local_row;
    let is_inside = row < params.outputs * params.slices;
    let at = row % params.outputs;
    let part = row / params.outputs;
    let first = kept_offset(at, groups);
    // Rows beyond the last read nothing.
    let end = select(0u, min((part + 1u) * params.slice, params.n), is_inside);
    let begin = part * params.slice;
    var total = select(0.0, -3.4028234e38, EXTREME);
    if (EXTREME && begin < end) {
        // All elements may be infinite.
        total = each(input[first + reduced_offset(begin, groups)]);
    }
    for (var i = begin + lane; i < end; i += LANES) {
        let x = each(input[first + reduced_offset(i, groups)]);
        total = select(total + x, max(total, x), EXTREME);
    }
    if (EXTREME) {
        total = row_max(total, lane, local_row);
    } else {
        total = row_sum(total, lane, local_row);
    }
    if (lane == 0u && is_inside) {
        output[at * params.slices + part] = finish(total);
    }
}
