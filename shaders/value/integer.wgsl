// Values: the codes themselves.

fn code_value(code: i32) -> i32 {
    return code;
}
