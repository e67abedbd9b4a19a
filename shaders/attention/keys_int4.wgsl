// Keys of int4 codes, without their scales. Padding at the end of a row may hold anything.
//# import attention/four_codes
//# import attention/params
//# import attention/padded_rows

@group(0) @binding(2) var<storage, read> keys: array<u32>;

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    let word = keys[row * row_quads(params.d, 8u) / 2u + quad / 2u];
    return within_row(four_codes(word, quad), quad, params.d);
}
