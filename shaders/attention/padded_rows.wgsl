// Rows of packed numbers, four at a time. A row has a multiple of 16 bytes.

// Quads of a row, with padding, if 16 bytes hold `block` quads.
fn row_quads(elements: u32, block: u32) -> u32 {
    return (elements + 4u * block - 1u) / (4u * block) * block;
}

// Four numbers of a row without those beyond its elements.
fn within_row(numbers: vec4<f32>, quad: u32, elements: u32) -> vec4<f32> {
    return select(vec4<f32>(), numbers, vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(elements));
}
