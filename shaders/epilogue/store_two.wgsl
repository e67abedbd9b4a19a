// Output: f32 in dense rows, the columns of two layers in a tensor each.
//# params first_end, n

@group(0) @binding(6) var<storage, read_write> output: array<f32>;
@group(0) @binding(7) var<storage, read_write> second: array<f32>;

fn store_reals(row: u32, column: u32, values: vec4<f32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let at = column + lane;
        if (at < params.first_end) {
            output[row * params.first_end + at] = values[lane];
        } else if (at < params.n) {
            second[row * (params.n - params.first_end) + at - params.first_end] = values[lane];
        }
    }
}
