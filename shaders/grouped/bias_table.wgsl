// Bias: an f32 per column, or per expert and column.
//# needs bias_value: grouped/small_inputs_bias, grouped/small_inputs_combined
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

fn load_bias(expert: u32, column: u32) -> vec4<f32> {
    let first = min(expert, params.experts - 1u) * params.bias_stride;
    let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u)) + vec4<u32>(first);
    return vec4<f32>(bias_value(columns.x), bias_value(columns.y), bias_value(columns.z), bias_value(columns.w));
}
