// Rows of a tile: the rows of a matmul's batch.
//# import elementwise/operand_rows
//# params first_row, m

var<private> lhs_batch: u32;
var<private> output_batch: u32;

// Enters a matrix of the output and returns the index of its matrix of weights.
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
