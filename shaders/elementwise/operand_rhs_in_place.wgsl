// The words of rhs in the output's buffer: each invocation reads the words that it overwrites.
//# needs output: elementwise/float_binary, epilogue/store_codes

fn rhs_word(at: u32) -> u32 {
    return output[at];
}
