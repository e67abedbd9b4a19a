// The words of rhs where the output will be: each invocation reads what it overwrites.

fn rhs_word(at: u32) -> u32 {
    return output[at];
}
