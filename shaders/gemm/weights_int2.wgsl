// Weights of 2 bits, sixteen along k per word, columns side by side in panels, zero beyond k and n, then a table per column:
//
//     [panel][batch or group][k / 16][column]        u32     byte i holds codes i, i + 4, i + 8, i + 12, low to high
//     [batch][column, padded to 4]                   Σ (w - v), v
//
// Codes are stored as 0 … 3, int2 plus 2 and its zero points too, so that a shift and a mask make four int8 that lie in the
// order of k.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

@group(0) @binding(2) var<storage, read> weight: array<u32>;

fn load_weight(at: u32) -> vec4<u32> {
    let word = weight[at];
    return (vec4<u32>(word) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u);
}

fn weight_column(index: u32) -> vec2<i32> {
    let at = params.columns_at + 2u * index;
    return vec2<i32>(bitcast<i32>(weight[at]), bitcast<i32>(weight[at + 1u]));
}
