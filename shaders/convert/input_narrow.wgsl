// Input format: signed (INPUT_SIGNED) or unsigned codes of INPUT_BITS = 2 or 4 bits, a quad in a quarter or half of a word.
//# params input_words
//# constants INPUT_BITS, INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

const QUAD_BITS: u32 = 4u * INPUT_BITS;

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    let word = input[row * params.input_words + quad * QUAD_BITS / 32u];
    let lanes = vec4<u32>(0u, 1u, 2u, 3u) * INPUT_BITS + (quad * QUAD_BITS) % 32u;
    if (INPUT_SIGNED) {
        return bitcast<vec4<i32>>(vec4<u32>(word) << (32u - INPUT_BITS - lanes)) >> vec4<u32>(32u - INPUT_BITS);
    }
    return bitcast<vec4<i32>>((vec4<u32>(word) >> lanes) & vec4<u32>((1u << INPUT_BITS) - 1u));
}
