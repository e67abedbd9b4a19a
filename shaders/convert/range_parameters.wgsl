// parameters[segment] = (scale, zero point) of a dynamic range     second half of a dynamic range
//
// A workgroup owns one segment.
//
// Meaning: reference/dynamic.rs. Candidates: kernels/convert/dynamic.rs. First half: convert/range.wgsl.
//# import convert/reduce_range
//# import convert/range_scale
//# import math/linear_index
//# constants LANES, ROWS

struct Params {
    chunks: u32,          // partial ranges of a segment
    segments: u32,
    low: i32,             // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec2<u32>>;          // ordered keys: min, max
@group(0) @binding(6) var<storage, read_write> parameters: array<vec2<u32>>; // scale (f32 bits), zero point

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let segment = linear_group(group, groups);
    if (segment >= params.segments) {
        return;
    }
    var keys = range_of_none();
    for (var i = local.x; i < params.chunks; i += LANES) {
        keys = range_of_both(keys, partial[segment * params.chunks + i]);
    }
    keys = reduce_range(keys, local.x, local.y);
    if (local.x == 0u) {
        parameters[segment] = range_scale(keys, params.low, params.high);
    }
}
