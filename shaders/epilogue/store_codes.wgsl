// Stores a quad of 8-bit codes, four per word, zero beyond the row's last column. `post_op` comes from the finish part.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs post_op: epilogue/post_*

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_codes(row: u32, quad: u32, codes: vec4<i32>) {
    let at = row * params.output_words + quad;
    let finished = bitcast<vec4<u32>>(post_op(codes, at)) & vec4<u32>(0xffu);
    let lane = quad * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    let bytes = select(vec4<u32>(0u), finished, lane < vec4<u32>(params.n));
    output[at] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
