// parameters[segment] = (scale, zero point) of a dynamic range     second half of a dynamic range
//
//     scale = (max - min) / (high - low)      zero_point = saturate(low + round_ties_even(-min / scale))
//
// or, where SYMMETRIC, scale = max(max, -min) / high and zero_point = 0;
// each step one f32 operation; a scale of zero (an all-zero or vanishing range) becomes 1. A workgroup owns one segment.
//
// Meaning: reference/dynamic.rs. Candidates: kernels/dynamic.rs. First half: range.wgsl.

struct Params {
    chunks: u32,          // partial ranges of a segment
    segments: u32,
    low: i32,             // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec2<u32>>;          // ordered keys: min, max
@group(0) @binding(6) var<storage, read_write> parameters: array<vec2<u32>>; // scale (f32 bits), zero point

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let segment = linear_group(group, groups);
    if (segment >= params.segments) {
        return;
    }
    var keys = vec2<u32>(f32_order(0u));
    for (var i = thread; i < params.chunks; i += GROUP_X) {
        let next = partial[segment * params.chunks + i];
        keys = vec2<u32>(min(keys.x, next.x), max(keys.y, next.y));
    }
    keys = reduce_range(keys, thread);
    if (thread == 0u) {
        let negative_min = f32_from_order(keys.x) ^ F32_SIGN;
        var span = min(f32_add(f32_from_order(keys.y), negative_min), F32_GREATEST);
        var steps_of_span = params.high - params.low;
        if (SYMMETRIC) {
            // Neither is negative, so their bits are ordered as they are; -0 becomes 0.
            span = max(f32_from_order(keys.y) & ~F32_SIGN, negative_min & ~F32_SIGN);
            steps_of_span = params.high;
        }
        var scale = f32_divide(span, f32_from_i32(steps_of_span));
        if (scale == 0u) {
            scale = 0x3f800000u;
        }
        let steps = f32_round_to_i32(f32_divide(negative_min, scale));
        let zero_point = select(clamp(steps, 0, params.high - params.low) + params.low, 0, SYMMETRIC);
        parameters[segment] = vec2<u32>(scale, bitcast<u32>(zero_point));
    }
}
