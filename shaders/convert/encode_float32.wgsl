// Element format: float32. The number is the element.

fn encode(value: u32) -> u32 {
    return value;
}
