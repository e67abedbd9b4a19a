// Weights of 4 bits, sixteen along k per vec2, columns side by side in panels, zero beyond k and n, then a table per column:
//
//     [panel][batch or group][k / 16][column]        vec2<u32>     of a word of eight codes:  7 3 6 2 5 1 4 0  (high to low)
//     [batch][column, padded to 4]                   Σ (w - v), v
//
// Codes are stored as 0 … 15, int4 plus 8 and its zero points too, so that a mask makes four int8 of a word's low nibbles
// and a shift and a mask the next four of the high ones.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;

fn load_weight(at: u32) -> vec4<u32> {
    let words = weight[at];
    return vec4<u32>(words.x, words.x >> 4u, words.y, words.y >> 4u) & vec4<u32>(0x0f0f0f0fu);
}

fn weight_column(index: u32) -> vec2<i32> {
    return bitcast<vec2<i32>>(weight[params.columns_at + index]);
}
