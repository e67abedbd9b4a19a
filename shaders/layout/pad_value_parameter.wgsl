// Padding: the zero in the launch's parameters.
//# params zero

fn gap(index: u32) -> u32 {
    return params.zero;
}
