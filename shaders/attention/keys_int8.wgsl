// Keys of int8 codes, without their scales. Padding at the end of a row may hold anything.
//# import attention/params
//# import attention/padded_rows

@group(0) @binding(2) var<storage, read> keys: array<u32>;

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    return within_row(vec4<f32>(unpack4xI8(keys[row * row_quads(params.d, 4u) + quad])), quad, params.d);
}
