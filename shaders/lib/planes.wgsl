// Codes of four columns at a step, as `BITS` vec4s. The planes are drawn in weights/layout.rs.

// Word `index` of the quad.
fn packed_word(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, index: u32) -> u32 {
    return (*packed)[first + index / 4u][index % 4u];
}

// What a plane holds of sixteen positions, in the low bits of their bytes.
fn plane4(words: vec4<u32>, half: u32) -> vec4<u32> {
    return (words >> vec4<u32>(4u * half)) & vec4<u32>(0x0f0f0f0fu);
}

fn plane2(words: vec2<u32>, half: u32) -> vec4<u32> {
    return (words.xyxy >> (vec4<u32>(0u, 0u, 2u, 2u) + vec4<u32>(4u * half))) & vec4<u32>(0x03030303u);
}

fn plane1(word: u32, half: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> (vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * half))) & vec4<u32>(0x01010101u);
}
