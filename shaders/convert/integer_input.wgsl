// Integers of INPUT_BITS bits, a quad at a time: signed (INPUT_SIGNED) or unsigned codes in rows padded to whole vec4, or int32 in
// dense rows. Elements beyond a row of int32 read as zero.
//# params input_words, n
//# constants INPUT_BITS, INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

const WORDS: u32 = max(INPUT_BITS / 8u, 1u);                // of a quad
const QUADS: u32 = max(8u / INPUT_BITS, 1u);                // of a word

fn load_dense(row: u32, quad: u32) -> vec4<i32> {
    var values = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = quad * 4u + lane;
        if (column < params.n) {
            values[lane] = bitcast<i32>(input[row * params.input_words + column]);
        }
    }
    return values;
}

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    if (INPUT_BITS == 32u) {
        return load_dense(row, quad);
    }
    let first = row * params.input_words + quad * WORDS / QUADS;
    let word = input[first];
    if (INPUT_BITS == 8u) {
        return select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), INPUT_SIGNED);
    }
    // The places of the four codes in a word, or in two words.
    var words = vec4<u32>(word);
    if (INPUT_BITS == 16u) {
        words = vec4<u32>(vec2<u32>(word), vec2<u32>(input[first + 1u]));
    }
    let lanes = (vec4<u32>(0u, 1u, 2u, 3u) + quad * 4u) * INPUT_BITS % 32u;
    let upper = bitcast<vec4<i32>>(words << (32u - INPUT_BITS - lanes));
    let shift = vec4<u32>(32u - INPUT_BITS);
    return select(bitcast<vec4<i32>>(bitcast<vec4<u32>>(upper) >> shift), upper >> shift, INPUT_SIGNED);
}
