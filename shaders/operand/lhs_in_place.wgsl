// The words of lhs where the output will be: each invocation reads what it overwrites.

fn lhs_word(at: u32) -> u32 {
    return output[at];
}
