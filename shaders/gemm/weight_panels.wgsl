// Weights of products lie in panels of 64 columns: the weights that a workgroup reads along k are close together.
//
//     [panel][row: batch or group, k / 16][column of the panel]      the last panel has the remaining columns
//
// Twin: `pack_columns` in kernels/gemm/product.rs.
//# params weight_rows, weight_stride

const PANEL: u32 = 64u;

// Begin of a column (x) and distance of its rows (y). The columns of a quad are contiguous.
fn weight_place(column: u32) -> vec2<u32> {
    let first = column / PANEL * PANEL;
    return vec2<u32>(first * params.weight_rows + (column - first), min(params.weight_stride - first, PANEL));
}
