// The words of the input where the output will be: each invocation reads what it overwrites.

fn input_word(at: u32) -> u32 {
    return output[at];
}
