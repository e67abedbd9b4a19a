// Output: f32 in dense rows, the columns of three layers in a tensor each.
//# params first_end, n, second_end

@group(0) @binding(6) var<storage, read_write> output: array<f32>;
@group(0) @binding(7) var<storage, read_write> second: array<f32>;
@group(0) @binding(8) var<storage, read_write> third: array<f32>;

fn store_reals(row: u32, column: u32, values: vec4<f32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let at = column + lane;
        if (at < params.first_end) {
            output[row * params.first_end + at] = values[lane];
        } else if (at < params.second_end) {
            second[row * (params.second_end - params.first_end) + at - params.first_end] = values[lane];
        } else if (at < params.n) {
            third[row * (params.n - params.second_end) + at - params.second_end] = values[lane];
        }
    }
}
