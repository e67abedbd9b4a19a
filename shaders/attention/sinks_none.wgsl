// No sinks: shares of a sum of powers alone.

// The factor of a sum of values whose greatest score is `most` and whose powers relative to it sum to `total`.
fn share_factor(most: f32, total: f32, head: u32) -> f32 {
    return select(1.0 / total, 0.0, total == 0.0);
}
