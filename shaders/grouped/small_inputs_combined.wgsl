// Side: bias, experts and parameters of lhs one after the other in one binding, for devices with few. Written by grouped/combine_inputs.wgsl.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

@group(0) @binding(3) var<storage, read> joined: array<u32>;

fn bias_value(index: u32) -> f32 {
    return bitcast<f32>(joined[index]);
}

fn expert_index(row: u32) -> u32 {
    return joined[params.indices_at + row];
}

fn lhs_parameter(index: u32) -> vec2<u32> {
    let at = params.parameters_at + index * 2u;
    return vec2<u32>(joined[at], joined[at + 1u]);
}
