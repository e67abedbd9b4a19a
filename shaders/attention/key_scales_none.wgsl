// Keys without scales, or whose scales another launch multiplies with.

fn key_scale(index: u32) -> f32 {
    return 1.0;
}
