// Input format: signed (INPUT_SIGNED) or unsigned codes of INPUT_BITS = 2 or 4 bits, a quad in a quarter or half of a word.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants INPUT_BITS, INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

const QUAD_BITS: u32 = 4u * INPUT_BITS;

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    let word = input[row * params.input_words + quad * QUAD_BITS / 32u];
    let lanes = vec4<u32>(0u, 1u, 2u, 3u) * INPUT_BITS + (quad * QUAD_BITS) % 32u;
    if (INPUT_SIGNED) {
        return bitcast<vec4<i32>>(vec4<u32>(word) << (32u - INPUT_BITS - lanes)) >> vec4<u32>(32u - INPUT_BITS);
    }
    return bitcast<vec4<i32>>((vec4<u32>(word) >> lanes) & vec4<u32>((1u << INPUT_BITS) - 1u));
}
