// The index of an element's scale and zero point, for any granularity: per tensor, per index of an axis, per block of an
// axis. Rows are all dimensions but the last; `rows` below counts the rows inside one index of the quantized axis.
//
//     index = (row / (rows · extent)) · outer  +  ((row / rows) % extent / block) · axis  +  (row % rows) · inner
//           + (column / column_block) · column_step
//
// Written by kernels/convert/granularity.rs.
//# params index_sizes, index_strides

fn parameter_row(row: u32) -> u32 {
    let rows = params.index_sizes.x;
    let extent = params.index_sizes.y;
    let block = params.index_sizes.z;
    let outer = row / (rows * extent);
    let along = (row / rows) % extent;
    return outer * params.index_strides.x + (along / block) * params.index_strides.y
        + (row % rows) * params.index_strides.z;
}

fn parameter_column(column: u32) -> u32 {
    return (column / params.index_sizes.w) * params.index_strides.w;
}
