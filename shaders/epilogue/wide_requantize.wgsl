// Output stage of sums of 64 bits: code = clamp(rescale(256 · high + low + bias) + zero_point). Entry: low word of the bias,
// multiplier, shift, high word of the bias. `rescale_wide` comes from the rounding part.
//# import epilogue/tables
//# import math/wide_sum
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs rescale_wide: epilogue/rounding_fixed_wide, epilogue/rounding_wide_onnx
//# needs store_codes: epilogue/codes16, epilogue/store_codes

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            let entry = bitcast<vec4<u32>>(stage_entry(column[lane]));
            let sum = wide_add(wide_from_halves(high[lane], low[lane]), entry.wx);
            let steps = rescale_wide(sum, entry.y, bitcast<i32>(entry.z));
            let least = bitcast<i32>(params.low) - params.zero_point;
            let greatest = bitcast<i32>(params.high) - params.zero_point;
            codes[lane] = clamp(steps, least, greatest) + params.zero_point;
        }
    }
    store_codes(row, quad, codes);
}
