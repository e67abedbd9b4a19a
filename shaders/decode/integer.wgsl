// Element format: integers of INPUT_BITS bits, two's complement where INPUT_SIGNED; up to 24 bits each is a float32.

fn decode(element: u32) -> u32 {
    let extended = bitcast<i32>(element << (32u - INPUT_BITS)) >> (32u - INPUT_BITS);
    return f32_from_i32(select(bitcast<i32>(element), extended, INPUT_SIGNED));
}
