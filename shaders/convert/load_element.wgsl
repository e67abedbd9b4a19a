// The INPUT_BITS bits of one element of the input, in the low bits of a word. Rows are input_words words apart.
//# params input_words
//# constants INPUT_BITS

@group(0) @binding(1) var<storage, read> input: array<u32>;

const INPUT_LANES: u32 = 32u / INPUT_BITS;

fn load_element(row: u32, column: u32) -> u32 {
    let word = input[row * params.input_words + column / INPUT_LANES];
    return (word >> ((column % INPUT_LANES) * INPUT_BITS)) & (0xffffffffu >> (32u - INPUT_BITS));
}
