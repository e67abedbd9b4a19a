// parameters[segment] = (scale, zero point) of the range of a segment of f32, and its codes     segments of one chunk
//
// LANES invocations share a segment, each taking every LANES-th element, and ROWS segments share a workgroup.
//
// Meaning: reference/dynamic.rs. Candidates: kernels/convert/dynamic.rs. Longer segments: convert/range.wgsl,
// convert/range_parameters.wgsl.
//# import convert/reduce_range
//# import convert/range_scale
//# import convert/segments
//# import math/linear_index
//# needs store_segment: convert/segment_*
//# constants LANES, ROWS

struct Params {
    length: u32,          // elements of a segment (the whole tensor, a row, or a group of a row)
    segments: u32,
    row: u32,             // elements from one row of segments to the next
    per_row: u32,         // segments of a row; the last may be shorter
    low: i32,             // least and greatest code
    high: i32,
    code_words: u32,      // words of a row of codes
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let segment = linear_group(group, groups) * ROWS + local.y;
    // Lanes beyond the last segment read nothing.
    let known = segment < params.segments;
    let first = (segment % params.per_row) * params.length;
    let end = select(0u, min(first + params.length, params.row), known);
    let row = segment / params.per_row;
    var keys = range_of_none();
    for (var i = first + local.x; i < end; i += LANES) {
        keys = range_with(keys, input[row * params.row + i]);
    }
    keys = reduce_range(keys, local.x, local.y);
    if (known) {
        store_segment(segment, row, first, end, local.x, range_scale(keys, params.low, params.high));
    }
}
