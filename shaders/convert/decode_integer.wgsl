// Element format: integers of INPUT_BITS bits, two's complement if INPUT_SIGNED. Every integer of up to 24 bits is a float32.
//# import math/float_bits
//# constants INPUT_BITS, INPUT_SIGNED

fn code_of(element: u32) -> i32 {
    let extended = bitcast<i32>(element << (32u - INPUT_BITS)) >> (32u - INPUT_BITS);
    return select(bitcast<i32>(element), extended, INPUT_SIGNED);
}

fn decode(element: u32) -> u32 {
    return f32_from_i32(code_of(element));
}
