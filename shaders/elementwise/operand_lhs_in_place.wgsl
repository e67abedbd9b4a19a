// The words of lhs in the output's buffer: each invocation reads the words that it overwrites.
//# needs output: elementwise/float_binary, epilogue/store_codes

fn lhs_word(at: u32) -> u32 {
    return output[at];
}
