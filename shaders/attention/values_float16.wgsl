// Values of float16. Padding at the end of a row may hold anything.
//# import attention/params
//# import attention/padded_rows
//# needs f16x4_to_f32: math/float16_integers, math/float16_unpack

@group(0) @binding(4) var<storage, read> values: array<vec2<u32>>;

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    return within_row(f16x4_to_f32(values[row * row_quads(params.value_d, 2u) + quad]), quad, params.value_d);
}
