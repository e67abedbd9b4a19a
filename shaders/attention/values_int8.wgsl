// Values of int8 codes, without their scales. Padding at the end of a row may hold anything.
//# import attention/params
//# import attention/padded_rows

@group(0) @binding(4) var<storage, read> values: array<u32>;

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    return within_row(vec4<f32>(unpack4xI8(values[row * row_quads(params.value_d, 4u) + quad])), quad, params.value_d);
}
