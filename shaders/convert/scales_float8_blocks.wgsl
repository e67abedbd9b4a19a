// Parameters: an E4M3 per block of a row, times a unit.
//# import math/float_bits
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants BLOCK

@group(0) @binding(3) var<storage, read> scales: array<u32>;

const COLUMN_PARAMETERS: bool = true;

fn parameter_base(row: u32) -> u32 {
    return row * params.scale_words * 4u;
}

fn parameter(base: u32, column: u32) -> vec2<u32> {
    let at = base + column / BLOCK;
    let code = (scales[at / 4u] >> (8u * (at % 4u))) & 0xffu;
    let field = (code >> 3u) & 15u;
    let fraction = code & 7u;
    let shift = (countLeadingZeros(fraction) - 28u) & 31u;
    let small = select(((121u - shift) << 23u) | ((fraction << (shift + 20u)) & 0x7fffffu), 0u, fraction == 0u);
    let magnitude = select(((field + 120u) << 23u) | (fraction << 20u), small, field == 0u);
    let scale = ((code & 0x80u) << 24u) | magnitude;
    return vec2<u32>(select(f32_multiply(scale, params.unit), 0x7fc00000u, (code & 0x7fu) == 0x7fu), 0u);
}
