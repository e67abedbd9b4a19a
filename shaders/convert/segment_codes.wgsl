// The end of a segment whose range is known: its parameters and its codes, four in a word. The segment begins a word. The last segment
// of a row also writes the zeros beyond it.
//# import convert/segments
//# needs convert: convert/step_quantize
//# params code_words, row
//# constants LANES

@group(0) @binding(5) var<storage, read_write> codes: array<u32>;

fn store_segment(segment: u32, row: u32, first: u32, end: u32, lane: u32, entry: vec2<u32>) {
    if (lane == 0u) {
        parameters[segment] = entry;
    }
    let words = select(end / 4u, params.code_words, end == params.row);
    for (var word = first / 4u + lane; word < words; word += LANES) {
        var packed = 0u;
        for (var i = 0u; i < 4u; i += 1u) {
            let column = word * 4u + i;
            let code = convert(input[row * params.row + min(column, end - 1u)], entry) & 0xffu;
            packed |= select(0u, code, column < end) << (8u * i);
        }
        codes[row * params.code_words + word] = packed;
    }
}
