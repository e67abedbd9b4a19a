// Values: small floats, as f32 bits.
//# needs decode: convert/decode_minifloat
//# constants INPUT_WIDTH

fn code_value(code: i32) -> u32 {
    return decode(bitcast<u32>(code) & ((1u << INPUT_WIDTH) - 1u));
}
