// Importance: a factor of each column's error, at most 1.
//# import math/float_bits

@group(0) @binding(3) var<storage, read> importance: array<u32>;             // f32 bits

fn weighted(column: u32, value: u32) -> u32 {
    return f32_multiply(importance[column], value);
}
