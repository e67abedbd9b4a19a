// From dot products of codes to accumulators: zero points are applied here, outside the inner loops.
//
//     Σ (x - z) (w - v)  =  Σ x w  -  z · Σ (w - v)  -  v · Σ x          z: of this row   v: of this column
//
// Bytes are read as int8: uint8 codes arrive minus 128 (their top bit flipped), and so do their zero points. A launch may own a
// part of the columns: `quad` counts within that part, and the output begins at its first column.
//# params column_stride, first_column, n, weight_stride
//# needs Entries, load_entries: epilogue/entries
//# needs row_parameters: gemm/row_parameters_*
//# needs store_output: epilogue/accumulator, epilogue/real_f16, epilogue/real_f32, epilogue/requantize
//# needs weight_column: conv/weights_words, gemm/weights_*
//# constants LHS_SHIFT

// `parameters`: scale and zero point of a row of lhs.
fn lhs_zero_point(parameters: vec2<u32>) -> i32 {
    return bitcast<i32>(parameters.y) - LHS_SHIFT;
}

// Four codes that stand for zero if all rows share one zero point. Padding reads them.
fn zero_word() -> u32 {
    return (bitcast<u32>(lhs_zero_point(row_parameters(0u))) & 0xffu) * 0x01010101u;
}

// The constants of four columns. All rows share them, unless the output stage has entries per row (ROW_ENTRIES).
struct Columns {
    sums: vec4<i32>,           // Σ (w - v)
    zero_points: vec4<i32>,    // v
    entries: Entries,
}

fn row_entries(row: u32, quad: u32) -> Entries {
    let column = params.first_column + quad * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    return load_entries(row * params.column_stride + min(column, vec4<u32>(params.n - 1u)));
}

fn load_columns(row: u32, weight_batch: u32, quad: u32) -> Columns {
    var columns = Columns(vec4<i32>(0), vec4<i32>(0), row_entries(row, quad));
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = min(quad * 4u + lane, params.n - 1u - params.first_column);
        let entry = weight_column(weight_batch * params.weight_stride + column);
        columns.sums[lane] = entry.x;
        columns.zero_points[lane] = entry.y;
    }
    return columns;
}

// `products` = Σ x w and `lhs_sums` = Σ x of the quad's columns. If no weight has a zero point, `lhs_sums` may stay zero.
fn store_products(
    row: u32, quad: u32, parameters: vec2<u32>, columns: Columns, products: vec4<i32>, lhs_sums: vec4<i32>,
) {
    let accumulator = products - lhs_zero_point(parameters) * columns.sums - columns.zero_points * lhs_sums;
    store_output(row, params.first_column / 4u + quad, columns.entries, parameters.x, accumulator);
}
