// Caches of floats have no scales.

fn key_scale(row: u32) -> f32 {
    return 1.0;
}

fn value_scale(row: u32) -> f32 {
    return 1.0;
}
