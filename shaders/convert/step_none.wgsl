// Conversion: none; the element is moved unchanged.

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    return element;
}
