// Input format: int8 (INPUT_SIGNED) or uint8 codes, four per word, rows padded to whole vec4.
//# params input_words
//# constants INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn unpack_codes(word: u32) -> vec4<i32> {
    if (INPUT_SIGNED) {
        return unpack4xI8(word);
    }
    return vec4<i32>(unpack4xU8(word));
}

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    return unpack_codes(input[row * params.input_words + quad]);
}
