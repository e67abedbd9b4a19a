// Element format: the float16 nearest to the number, ties to even.
//# import math/float16_bits

fn encode(value: u32) -> u32 {
    return f16_from_f32(value);
}
