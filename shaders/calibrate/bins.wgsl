// The place of a number among the bins of a histogram: floor(x / (width · 2^level)), exact, by long division of significands.
// Callers take care that the quotient is below 2^24. POWER_OF_TWO says that the width is one.
//# import math/float_bits
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants POWER_OF_TWO

fn bin_place(value: u32, level: i32) -> i32 {
    let x = f32_magnitude(value);
    if (x.bits == 0u) {
        return 0;
    }
    let width = f32_magnitude(params.width);
    var exponent = x.exponent - width.exponent - level;
    var quotient = x.bits >> 7u;                            // 1.xxx with 24 fractional bits
    var remainder = 0u;
    if (!POWER_OF_TWO) {
        let divisor = width.bits >> 8u;
        remainder = x.bits >> 8u;
        if (remainder < divisor) {
            remainder = remainder << 1u;
            exponent -= 1;
        }
        remainder -= divisor;
        quotient = 1u;
        for (var digit = 0u; digit < 3u; digit += 1u) {
            let shifted = remainder << 8u;
            let next = shifted / divisor;
            quotient = (quotient << 8u) | next;
            remainder = shifted - next * divisor;
        }
    }
    var whole = 0u;
    var inexact = true;
    if (exponent >= 0) {
        let shift = u32(24 - min(exponent, 24));
        whole = quotient >> shift;
        inexact = (quotient & ((1u << shift) - 1u)) != 0u || remainder != 0u;
    }
    if ((value & F32_SIGN) != 0u) {
        return -i32(whole) - select(0, 1, inexact);
    }
    return i32(whole);
}
