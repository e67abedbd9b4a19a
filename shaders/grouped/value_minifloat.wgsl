// Values: small floats, as f32 bits.
//# needs decode: convert/decode_*
//# constants INPUT_WIDTH

fn code_value(code: i32) -> u32 {
    return decode(bitcast<u32>(code) & ((1u << INPUT_WIDTH) - 1u));
}
