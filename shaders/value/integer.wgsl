// Values: the codes themselves, with the bias of unsigned ones, as f32 bits.

fn code_value(code: i32) -> u32 {
    return f32_from_i32(code + CODE_BIAS);
}
