// Post-op of floats: none. The results are the output.

fn float_post_op(value: f32, at: u32) -> f32 {
    return value;
}
