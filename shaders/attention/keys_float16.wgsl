// Keys of float16. Padding at the end of a row may hold anything.
//# import attention/params
//# import attention/padded_rows
//# needs f16x4_to_f32: math/float16_integers, math/float16_unpack

@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    return within_row(f16x4_to_f32(keys[row * row_quads(params.d, 2u) + quad]), quad, params.d);
}
