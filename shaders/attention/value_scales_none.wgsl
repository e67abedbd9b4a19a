// Values without scales, or whose scales another launch multiplies with.

fn value_scale(index: u32) -> f32 {
    return 1.0;
}
