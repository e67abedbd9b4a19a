// Padding: the zero point of an int8 or uint8 input, in each byte of a word.

@group(0) @binding(3) var<storage, read> input_parameters: array<vec2<u32>>;   // scale (f32 bits), zero point

fn pad_value(index: u32) -> u32 {
    return (input_parameters[index].y & 0xffu) * 0x01010101u;
}
