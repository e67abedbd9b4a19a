// Result: the code, as f32.
//# import train/stage_steps

fn make(i: u32, sum: u32, entry: vec4<u32>) -> u32 {
    return stage_level(stage_steps(sum, entry));
}
