// Input format: int16 (INPUT_SIGNED) or uint16 codes, two per word, rows padded to whole vec4.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn unpack_pair(word: u32) -> vec2<i32> {
    if (INPUT_SIGNED) {
        return vec2<i32>(bitcast<i32>(word << 16u) >> 16u, bitcast<i32>(word) >> 16u);
    }
    return vec2<i32>(i32(word & 0xffffu), i32(word >> 16u));
}

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    let first = row * params.input_words + quad * 2u;
    return vec4<i32>(unpack_pair(input[first]), unpack_pair(input[first + 1u]));
}
