// Where a launch's pixels lie in the output: `place_step` apart, from `place_first` on, along each axis.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

fn output_pixel(pixel: u32) -> u32 {
    let x = pixel % params.out_size.z;
    let xy = pixel / params.out_size.z;
    let y = xy % params.out_size.y;
    let xyz = xy / params.out_size.y;
    let z = xyz % params.out_size.x;
    let at = params.place_first.xyz + vec3<u32>(z, y, x) * params.place_step.xyz;
    let size = params.place_size;
    return (((xyz / params.out_size.x) * size.x + at.x) * size.y + at.y) * size.z + at.z;
}
