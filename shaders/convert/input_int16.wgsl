// Input format: int16 (INPUT_SIGNED) or uint16 codes, two per word, rows padded to whole vec4.
//# params input_words
//# constants INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn unpack_pair(word: u32) -> vec2<i32> {
    if (INPUT_SIGNED) {
        return vec2<i32>(bitcast<i32>(word << 16u) >> 16u, bitcast<i32>(word) >> 16u);
    }
    return vec2<i32>(i32(word & 0xffffu), i32(word >> 16u));
}

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    let first = row * params.input_words + quad * 2u;
    return vec4<i32>(unpack_pair(input[first]), unpack_pair(input[first + 1u]));
}
