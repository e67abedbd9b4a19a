// Values: the codes themselves, plus the bias of unsigned codes, as f32 bits.
//# needs f32_from_i32: math/float_bits
//# constants CODE_BIAS

fn code_value(code: i32) -> u32 {
    return f32_from_i32(code + CODE_BIAS);
}
