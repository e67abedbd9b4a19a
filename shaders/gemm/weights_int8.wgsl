// Weights as int8, sixteen along k per vec4, columns side by side in panels, zero beyond k and n, then a table per column:
//
//     [panel][batch or group][k / 16][column]        vec4<u32>
//     [batch][column, padded to 4]                   Σ (w - v), v      two columns per vec4
//
// so that neighbouring invocations, which own neighbouring columns, read neighbouring words.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>;

fn load_weight(at: u32) -> vec4<u32> {
    return weight[at];
}

fn weight_column(index: u32) -> vec2<i32> {
    let pair = bitcast<vec4<i32>>(weight[params.columns_at + index / 2u]);
    return select(pair.xy, pair.zw, index % 2u == 1u);
}
