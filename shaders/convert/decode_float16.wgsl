// Element format: float16. Every float16 is a float32.
//# import math/float16_bits

fn decode(element: u32) -> u32 {
    return f32_from_f16(element);
}
