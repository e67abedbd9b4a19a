// Input format: int8 (INPUT_SIGNED) or uint8 codes, four per word, rows padded to whole vec4.
//# params input_words
//# needs input_word: elementwise/operand_input, elementwise/operand_input_in_place
//# constants INPUT_SIGNED

fn unpack_codes(word: u32) -> vec4<i32> {
    if (INPUT_SIGNED) {
        return unpack4xI8(word);
    }
    return vec4<i32>(unpack4xU8(word));
}

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    return unpack_codes(input_word(row * params.input_words + quad));
}
