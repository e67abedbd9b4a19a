// Element format: float32. The element is the number.

fn decode(element: u32) -> u32 {
    return element;
}
