// The end of a segment whose range is known: its parameters and its codes, of BITS bits. The segment begins a word. The last segment
// of a row also writes the zeros beyond it.
//# import convert/segments
//# needs convert: convert/step_quantize
//# params code_words, row
//# constants BITS, LANES

@group(0) @binding(5) var<storage, read_write> codes: array<u32>;

fn store_segment(segment: u32, row: u32, first: u32, end: u32, lane: u32, entry: vec2<u32>) {
    if (lane == 0u) {
        parameters[segment] = entry;
    }
    let of_word = 32u / BITS;
    let words = select(end / of_word, params.code_words, end == params.row);
    for (var word = first / of_word + lane; word < words; word += LANES) {
        var packed = 0u;
        for (var i = 0u; i < of_word; i += 1u) {
            let column = word * of_word + i;
            let code = convert(input[row * params.row + min(column, end - 1u)], entry) & ((1u << BITS) - 1u);
            packed |= select(0u, code, column < end) << (BITS * i);
        }
        codes[row * params.code_words + word] = packed;
    }
}
