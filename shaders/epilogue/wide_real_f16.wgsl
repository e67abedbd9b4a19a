// Output stage of sums of 64 bits: real numbers (epilogue/wide_real_value.wgsl) rounded to f16, two per word, zero beyond the row's
// last column.
//# import epilogue/wide_real_value
//# import math/float16_bits
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    var values = vec4<u32>(0u);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            let entry = stage_entry(column[lane]);
            values[lane] = f16_from_f32(wide_real_value(high[lane], low[lane], scale, entry));
        }
    }
    let at = row * params.output_words + quad * 2u;
    output[at] = values.x | (values.y << 16u);
    output[at + 1u] = values.z | (values.w << 16u);
}
