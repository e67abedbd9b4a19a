// Conversion: the same number in another format.

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    return encode(decode(element));
}
