// The end of a row that is normalized: its codes, and their scales. A lane owns whole groups of elements; with one scale for the row
// (WHOLE_ROW) all lanes share it. Numbers are computed twice, for the range and for the codes.
//# import convert/reduce_range
//# import convert/range_scale
//# needs Normal, normalized: elementwise/layer_norm
//# needs convert: convert/step_quantize
//# params code_words, high, length, low, n, per_row, rows
//# constants LANES, WHOLE_ROW

@group(0) @binding(6) var<storage, read_write> codes: array<u32>;
@group(0) @binding(7) var<storage, read_write> parameters: array<vec2<u32>>;   // scale (f32 bits), zero point

fn range_of(normal: Normal, first: u32, end: u32, step: u32) -> vec2<u32> {
    var keys = range_of_none();
    for (var i = first; i < end; i += step) {
        keys = range_with(keys, bitcast<u32>(normalized(normal, i)));
    }
    return keys;
}

// Words of codes from `word` on, of which the elements from `end` on are zero.
fn store_words(normal: Normal, row: u32, begin: u32, words: u32, step: u32, end: u32, entry: vec2<u32>) {
    for (var word = begin; word < words; word += step) {
        var packed = 0u;
        for (var i = 0u; i < 4u; i += 1u) {
            let column = word * 4u + i;
            let code = convert(bitcast<u32>(normalized(normal, min(column, end - 1u))), entry) & 0xffu;
            packed |= select(0u, code, column < end) << (8u * i);
        }
        codes[row * params.code_words + word] = packed;
    }
}

fn finish_row(normal: Normal, row: u32, end: u32, lane: u32, row_lane: u32) {
    if (WHOLE_ROW) {
        let keys = reduce_range(range_of(normal, lane, end, LANES), lane, row_lane);
        let entry = range_scale(keys, params.low, params.high);
        // Lanes beyond the last row have nothing to store.
        if (row < params.rows) {
            if (lane == 0u) {
                parameters[row] = entry;
            }
            store_words(normal, row, lane, params.code_words, LANES, params.n, entry);
        }
        return;
    }
    if (row >= params.rows) {
        return;
    }
    for (var segment = lane; segment < params.per_row; segment += LANES) {
        let first = segment * params.length;
        let last = min(first + params.length, params.n);
        let entry = range_scale(range_of(normal, first, last, 1u), params.low, params.high);
        parameters[row * params.per_row + segment] = entry;
        // The last segment of a row also writes the zeros beyond it.
        let words = select(last / 4u, params.code_words, last == params.n);
        store_words(normal, row, first / 4u, words, 1u, last, entry);
    }
}
