// The words of the residual where the output will be: each invocation reads what it overwrites.

fn residual_word(at: u32) -> u32 {
    return output[at];
}
