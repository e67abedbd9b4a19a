// The words of the input in the output's buffer: each invocation reads the words that it overwrites.
//# needs output: elementwise/float_unary, elementwise/layer_norm, elementwise/softmax, elementwise/table, epilogue/store_codes

fn input_word(at: u32) -> u32 {
    return output[at];
}
