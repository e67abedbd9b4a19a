// Sinks: a score per head takes a share and has no value.

@group(0) @binding(5) var<storage, read> sinks: array<f32>;

// The factor of a sum of values whose greatest score is `most` and whose powers relative to it sum to `total`.
fn share_factor(most: f32, total: f32, head: u32) -> f32 {
    let sink = sinks[head];
    let greatest = max(most, sink);
    let own = exp(most - greatest);
    return own / (total * own + exp(sink - greatest));
}
