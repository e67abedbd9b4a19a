// The codes of group `group` of a query and head, and their scale. The last group of a query also writes the zeros beyond it.
//# import attention/params
//# import convert/range_scale
//# import convert/reduce_range
//# needs convert: convert/step_quantize
//# constants CODE_QUADS, VALUE_QUADS

@group(0) @binding(6) var<storage, read_write> codes: array<u32>;
@group(0) @binding(7) var<storage, read_write> parameters: array<vec2<u32>>;   // scale (f32 bits), zero point

fn store_group(place: u32, group: u32, of_group: array<vec4<f32>, CODE_QUADS>) {
    var numbers = of_group;
    var keys = range_of_none();
    for (var i = 0u; i < 4u * CODE_QUADS; i += 1u) {
        keys = range_with(keys, bitcast<u32>(numbers[i / 4u][i % 4u]));
    }
    let entry = range_scale(keys, params.low, params.high);
    parameters[place * (VALUE_QUADS / CODE_QUADS) + group] = entry;
    let row = place / params.heads * params.code_words;
    let first = place % params.heads * VALUE_QUADS + group * CODE_QUADS;
    for (var i = 0u; i < CODE_QUADS; i += 1u) {
        var packed = 0u;
        for (var j = 0u; j < 4u; j += 1u) {
            packed |= (convert(bitcast<u32>(numbers[i][j]), entry) & 0xffu) << (8u * j);
        }
        codes[row + first + i] = packed;
    }
    if (first + CODE_QUADS == params.heads * VALUE_QUADS) {
        for (var word = first + CODE_QUADS; word < params.code_words; word += 1u) {
            codes[row + word] = 0u;
        }
    }
}
