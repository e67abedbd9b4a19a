// Values of int4 codes, without their scales. Padding at the end of a row may hold anything.
//# import attention/four_codes
//# import attention/params
//# import attention/padded_rows

@group(0) @binding(4) var<storage, read> values: array<u32>;

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    let word = values[row * row_quads(params.value_d, 8u) / 2u + quad / 2u];
    return within_row(four_codes(word, quad), quad, params.value_d);
}
