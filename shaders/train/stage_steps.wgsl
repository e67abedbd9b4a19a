// v = f32(sum + bias) · multiplier: how many steps of its output a layer's sum is, one f32 operation on bits each; where it
// lies between the codes, and what a unit of gradient adds to that of the step. A sum that is NaN counts as 0, and multipliers of
// the table as the nearest positive normal number.
//# import math/float_bits
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

fn biased(sum: u32, entry: vec4<u32>) -> u32 {
    return f32_from_i32(f32_truncate_to_i32(f32_finite(sum)) + bitcast<i32>(entry.x));
}

fn stage_steps(sum: u32, entry: vec4<u32>) -> u32 {
    return f32_multiply(biased(sum, entry), f32_positive(entry.y));
}

fn stage_level(steps: u32) -> u32 {
    return f32_from_i32(clamp(f32_round_to_i32(steps), params.low, params.high));
}

fn stage_passes(steps: u32) -> bool {
    // Zeros of either sign are the same bound.
    let key = f32_order(select(steps, 0u, (steps & ~F32_SIGN) == 0u));
    return key > f32_order(f32_from_i32(params.low)) && key < f32_order(f32_from_i32(params.high));
}

fn stage_share(steps: u32) -> f32 {
    let level = stage_level(steps);
    return bitcast<f32>(select(level, f32_add(level, steps ^ F32_SIGN), stage_passes(steps)));
}
