// Caches of float16. Padding at the end of a row may hold anything.
//# import attention/params
//# needs f16x4_to_f32: math/float16_integers, math/float16_unpack

@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> values: array<vec2<u32>>;

// A row has 16 bytes, which are two pairs of words, for each 8 elements.
fn row_pairs(elements: u32) -> u32 {
    return (elements + 7u) / 8u * 2u;
}

fn within(numbers: vec4<f32>, quad: u32, elements: u32) -> vec4<f32> {
    return select(vec4<f32>(), numbers, vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(elements));
}

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    return within(f16x4_to_f32(keys[row * row_pairs(params.d) + quad]), quad, params.d);
}

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    return within(f16x4_to_f32(values[row * row_pairs(params.value_d) + quad]), quad, params.value_d);
}
