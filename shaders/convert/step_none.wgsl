// Conversion: none, the element is moved as it is.

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    return element;
}
