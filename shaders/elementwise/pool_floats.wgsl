// out[pixel, c] = saturate(round_ties_even(Σ_tap s (input[tap, c] - z) / count / s_out + z_out))     average pooling, each step f32
//
// An f32 sum depends on the order of taps, row by row, so one invocation visits a whole window. An exact integer sum first gives a
// guess. If the guess is near the middle between two codes, each step is computed exactly, in integers. OFFSET_FIRST: z_out is
// added before rounding (QLinearAveragePool), otherwise after it (AveragePool and QuantizeLinear). One invocation owns one quad of
// one pixel.
//
// Meaning: reference/pool.rs. Candidates: kernels/elementwise/pool.rs. Parameters: elementwise/pool_params.wgsl.
//# import elementwise/pool_taps
//# import math/linear_index
//# import epilogue/entries
//# import epilogue/store_codes
//# import elementwise/guessed_codes
//# import math/float_bits
//# constants GROUP_X, OFFSET_FIRST

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
    let pixel = index / params.output_quads;
    let quad = index % params.output_quads;
    let source_quad = min(quad, (params.n - 1u) / 4u);
    let origin = window_origin(pixel);
    let taps = taps_inside(origin);
    let total = all_taps(origin, taps, source_quad);
    let count = max(count_taps(origin, taps), 1u);
    let offset = select(0, params.zero_point, OFFSET_FIRST);
    let after = params.zero_point - offset;
    let low = bitcast<i32>(params.low) - after;
    let high = bitcast<i32>(params.high) - after;
    let multiplier = bitcast<f32>(stage_entry(count - params.least_count).y);
    // Each of the count + 2 roundings, and the guess's own, is at most 2^-23 of the greatest possible sum.
    let greatest = 255.0 * f32(count) * multiplier + 256.0;
    let error = f32(count + 16u) * 0x1p-23 * greatest;
    let guessed = guess_codes(vec4<f32>(total) * multiplier + f32(offset), vec4<f32>(error), low, high);
    var codes = guessed.codes;
    if (any(guessed.near)) {
        codes = select(codes, step_by_step(origin, taps, source_quad, count, offset), guessed.near);
    }
    store_codes(pixel, quad, clamp(codes, vec4<i32>(low), vec4<i32>(high)) + after);
}

fn step_by_step(origin: vec4<i32>, taps: Taps, quad: u32, count: u32, offset: i32) -> vec4<i32> {
    var sums = vec4<u32>(0u);
    for (var z = taps.begin.x; z < taps.end.x; z += 1u) {
        for (var y = taps.begin.y; y < taps.end.y; y += 1u) {
            for (var x = taps.begin.z; x < taps.end.z; x += 1u) {
                let codes = load_input(tap_pixel(origin, vec3<u32>(z, y, x)), quad) - params.input_zero_point;
                for (var lane = 0u; lane < 4u; lane += 1u) {
                    sums[lane] = f32_add(sums[lane], f32_multiple(codes[lane], params.input_scale));
                }
            }
        }
    }
    let divisor = f32_from_i32(bitcast<i32>(count));
    let added = f32_from_i32(offset);
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let steps = f32_divide(f32_divide(sums[lane], divisor), params.output_scale);
        codes[lane] = f32_round_to_i32(f32_add(steps, added));
    }
    return codes;
}
