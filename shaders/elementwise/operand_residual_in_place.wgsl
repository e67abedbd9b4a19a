// The words of the residual in the output's buffer: each invocation reads the words that it overwrites.
//# needs output: epilogue/store_codes

fn residual_word(at: u32) -> u32 {
    return output[at];
}
