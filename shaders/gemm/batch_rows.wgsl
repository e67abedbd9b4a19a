// Rows of a tile: those of a matmul's batch.
//# import elementwise/operand_rows
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

var<private> lhs_batch: u32;
var<private> output_batch: u32;

// Goes to a matrix of the output's, and says which one of the weights it meets.
fn enter_batch(batch: u32, groups: vec3<u32>) -> u32 {
    let matrices = operand_rows(batch, groups);
    output_batch = batch;
    lhs_batch = matrices.x;
    return matrices.y;
}

fn has_row(row: u32) -> bool {
    return row < params.m;
}

fn lhs_row(row: u32) -> u32 {
    return lhs_batch * params.m + row;
}

fn output_row(row: u32) -> u32 {
    return params.first_row + output_batch * params.m + row;
}
