// The bin of a number in a histogram: floor(x / (width · 2^level)), exact, by long division of significands.
// Callers keep the quotient below 2^24. POWER_OF_TWO: the width is a power of two.
//# import math/float_bits
//# params width
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
