// Element format: integers of CODE_BITS bits in wider elements. The element holds the low CODE_BITS bits of the number as i32; above them
// are copies of the sign bit if CODE_SIGNED, else zeros. Numbers are rounded to nearest, ties to even. Numbers beyond i32 saturate first;
// NaN is 0.
//# import math/float_bits
//# constants CODE_BITS, CODE_SIGNED

const UNUSED_BITS: u32 = 32u - CODE_BITS;

fn encode(value: u32) -> u32 {
    if (f32_is_nan(value)) {
        return 0u;
    }
    let code = bitcast<u32>(f32_round_to_i32(value)) << UNUSED_BITS;
    return select(code >> UNUSED_BITS, bitcast<u32>(bitcast<i32>(code) >> UNUSED_BITS), CODE_SIGNED);
}
