// From raw dot products to accumulators: the zero points leave here, so no inner loop ever sees one.
//
//     Σ (x - z) (w - v)  =  Σ x w  -  z · Σ (w - v)  -  v · Σ x          z: of this row   v: of this column
//
// Bytes are read as int8: uint8 codes arrive minus 128 (their top bit flipped), and so do their zero points. A launch
// may own a part of the columns: `quad` counts within the part, the output from its first column on.

fn lhs_zero_point(row: u32) -> i32 {
    return bitcast<i32>(row_parameters(row).y) - LHS_SHIFT;
}

// `products` = Σ x w and `lhs_sums` = Σ x of four columns; where no weight has a zero point the sums may stay zero.
fn store_products(lhs_row: u32, row: u32, weight_batch: u32, quad: u32, products: vec4<i32>, lhs_sums: vec4<i32>) {
    let zero_point = lhs_zero_point(lhs_row);
    let scale = row_parameters(lhs_row).x;
    var column_index = vec4<u32>(0u);
    var accumulator = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = quad * 4u + lane;
        if (params.first_column + column < params.n) {
            let entry = weight_column(weight_batch * params.weight_stride + column);
            accumulator[lane] = products[lane] - zero_point * entry.x - entry.y * lhs_sums[lane];
            column_index[lane] = row * params.column_stride + params.first_column + column;
        }
    }
    store_output(row, params.first_column / 4u + quad, column_index, scale, accumulator);
}
