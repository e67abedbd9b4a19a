// Conversion: the float of at most 8 bits nearest to x / scale. Entry: scale (f32 bits), -.

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    return encode(select(quotient(value, entry.x), value, (value & ~F32_SIGN) >= F32_INFINITY));
}
