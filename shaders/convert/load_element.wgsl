// The bits of one element of the input, in the low bits of a word: INPUT_BITS of them, rows as Format::row_words says.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants INPUT_BITS

@group(0) @binding(1) var<storage, read> input: array<u32>;

const INPUT_LANES: u32 = 32u / INPUT_BITS;

fn load_element(row: u32, column: u32) -> u32 {
    let word = input[row * params.input_words + column / INPUT_LANES];
    return (word >> ((column % INPUT_LANES) * INPUT_BITS)) & (0xffffffffu >> (32u - INPUT_BITS));
}
