// The output of attention, or of a slice of it.

@group(0) @binding(6) var<storage, read_write> output: array<f32>;

// Stores the first `count` of four numbers.
fn store(at: u32, numbers: vec4<f32>, count: u32) {
    output[at] = numbers.x;
    if (count > 1u) {
        output[at + 1u] = numbers.y;
    }
    if (count > 2u) {
        output[at + 2u] = numbers.z;
    }
    if (count > 3u) {
        output[at + 3u] = numbers.w;
    }
}
