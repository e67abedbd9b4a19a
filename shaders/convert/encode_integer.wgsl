// Element format: integers, the low BITS bits of the number as i32. ROUNDED: to nearest, ties to even; otherwise towards zero.
// Numbers beyond i32 saturate first; NaN is 0.
//# import math/float_bits
//# constants ROUNDED

fn encode(value: u32) -> u32 {
    if (f32_is_nan(value)) {
        return 0u;
    }
    if (ROUNDED) {
        return bitcast<u32>(f32_round_to_i32(value));
    }
    return bitcast<u32>(f32_truncate_to_i32(value));
}
