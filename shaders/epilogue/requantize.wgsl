// Output stage: code = clamp(rescale(acc + bias) + zero_point). Entry: bias, multiplier, shift, -.
// `rescale` comes from the rounding part.
//# import epilogue/entries
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs rescale: epilogue/rounding_fixed_*, epilogue/rounding_onnx
//# needs store_codes: epilogue/codes16, epilogue/store_codes

fn store_output(row: u32, quad: u32, entries: Entries, scale: u32, accumulator: vec4<i32>) {
    let low = bitcast<i32>(params.low) - params.zero_point;
    let high = bitcast<i32>(params.high) - params.zero_point;
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let entry = entries[lane];
        let steps = rescale(accumulator[lane] + entry.x, bitcast<u32>(entry.y), entry.z);
        codes[lane] = clamp(steps, low, high) + params.zero_point;
    }
    store_codes(row, quad, codes);
}
