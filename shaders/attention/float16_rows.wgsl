// Rows of float16, four numbers at a time.

// Pairs of words of a row: it has 16 bytes, which are two of them, for each 8 elements.
fn row_pairs(elements: u32) -> u32 {
    return (elements + 7u) / 8u * 2u;
}

// Four numbers of a row without those beyond its elements.
fn within_row(numbers: vec4<f32>, quad: u32, elements: u32) -> vec4<f32> {
    return select(vec4<f32>(), numbers, vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(elements));
}
