// Values: the codes themselves, with the bias of unsigned ones.

fn code_value(code: i32) -> i32 {
    return code + CODE_BIAS;
}
