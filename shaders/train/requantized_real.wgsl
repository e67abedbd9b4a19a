// Result: the real number, f32(sum + bias) · (x · w).
//# import train/stage_steps

fn make(i: u32, sum: u32, entry: vec4<u32>) -> u32 {
    return f32_multiply(biased(sum, entry), f32_positive(entry.z));
}
