// Output: f32 in dense rows, after a post-op.
//# needs float_post_op: epilogue/float_post_op_*
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<f32>;

fn store_reals(row: u32, column: u32, values: vec4<f32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (column + lane < params.n) {
            let at = row * params.output_words + column + lane;
            output[at] = float_post_op(values[lane], at);
        }
    }
}
