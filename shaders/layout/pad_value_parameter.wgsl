// Padding: the zero in the launch's parameters.
//# params zero

fn pad_value(index: u32) -> u32 {
    return params.zero;
}
