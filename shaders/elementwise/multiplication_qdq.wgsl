// Multiplication: saturate(round_ties_even((s_a a) (s_b b) / s_out) + z_out): dequantize, multiply, quantize, each step one correctly
// rounded f32 operation done in integers. Twin: reference/binary.rs.
//# import math/nearest_step
//# import epilogue/store_codes
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

// params.operands: s_a (f32 bits), -, s_b, -. params.result: s_out (f32 bits), -, -, -.
fn store_product(row: u32, quad: u32, a: vec4<i32>, b: vec4<i32>) {
    let low = bitcast<i32>(params.low) - params.zero_point;
    let high = bitcast<i32>(params.high) - params.zero_point;
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let x = f32_multiple(a[lane], params.operands.x);
        let y = f32_multiple(b[lane], params.operands.z);
        codes[lane] = clamp(quotient_step(f32_multiply(x, y), params.result.x), low, high) + params.zero_point;
    }
    store_codes(row, quad, codes);
}
