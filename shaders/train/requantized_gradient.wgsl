// Result: the gradient if it passes, otherwise 0.
//# import train/stage_steps

@group(0) @binding(2) var<storage, read> gradient: array<u32>;               // f32 bits

fn requantized(i: u32, sum: u32, entry: vec4<u32>) -> u32 {
    return select(0u, gradient[i], stage_passes(stage_steps(sum, entry)));
}
