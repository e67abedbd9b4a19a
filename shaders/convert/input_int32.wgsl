// Input format: int32 in dense rows; elements beyond the row read as zero.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

@group(0) @binding(1) var<storage, read> input: array<i32>;

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    var values = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = quad * 4u + lane;
        if (column < params.n) {
            values[lane] = input[row * params.input_words + column];
        }
    }
    return values;
}
