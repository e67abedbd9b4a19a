// Importance: a factor of the error of each column, 1 at most.
//# import math/float_bits

@group(0) @binding(3) var<storage, read> importance: array<u32>;             // f32 bits

fn weigh(column: u32, value: u32) -> u32 {
    return f32_multiply(importance[column], value);
}
