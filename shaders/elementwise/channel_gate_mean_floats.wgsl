// The codes of four means, less the zero point: round_ties_even(Σ_p s (input[p, c] - z) / count / s_out), each step f32, pixel after pixel.
//
// The integer sum gives a guess, as in elementwise/pool_floats.wgsl. If it is near the middle between two codes, an invocation takes each step.
// `zero` is 0, opaque to compilers.
//# import elementwise/guessed_codes
//# import epilogue/tables
//# import math/float_bits
//# params squeeze, squeezed, mean
//# needs squeeze_term: elementwise/channel_gate_pixels

fn mean_step_by_step(image: u32, quad: u32, zero: u32) -> vec4<i32> {
    var sums = vec4<u32>(0u);
    for (var pixel = 0u; pixel < params.mean.x + zero; pixel += 1u) {
        let codes = squeeze_term(image, pixel, quad);
        for (var lane = 0u; lane < 4u; lane += 1u) {
            sums[lane] = f32_add(sums[lane], f32_multiple(codes[lane], params.mean.y));
        }
    }
    let divisor = f32_from_i32(bitcast<i32>(params.mean.x));
    var steps = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        steps[lane] = f32_round_to_i32(f32_divide(f32_divide(sums[lane], divisor), params.mean.z));
    }
    return steps;
}

fn mean_codes(image: u32, quad: u32, total: vec4<i32>, zero: u32) -> vec4<i32> {
    let low = params.squeezed.y - params.squeezed.x;
    let high = params.squeezed.z - params.squeezed.x;
    let multiplier = bitcast<f32>(stage_entry(params.squeeze.z).y);
    // Each of the count + 2 roundings, and the guess's own, is at most 2^-23 of the greatest possible sum.
    let greatest = 255.0 * f32(params.mean.x) * multiplier + 256.0;
    let error = f32(params.mean.x + 16u) * 0x1p-23 * greatest;
    let guessed = guess_codes(vec4<f32>(total) * multiplier, vec4<f32>(error), low, high);
    var steps = guessed.codes;
    if (any(guessed.near)) {
        steps = select(steps, mean_step_by_step(image, quad, zero), guessed.near);
    }
    return clamp(steps, vec4<i32>(low), vec4<i32>(high));
}
