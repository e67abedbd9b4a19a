// Result: the code as f32 if LEVELS, otherwise the real number f32(sum + bias) · (x · w).
//# import train/stage_steps
//# constants LEVELS

fn requantized(i: u32, sum: u32, entry: vec4<u32>) -> u32 {
    if (LEVELS) {
        return stage_level(stage_steps(sum, entry));
    }
    return f32_multiply(biased(sum, entry), f32_positive(entry.z));
}
