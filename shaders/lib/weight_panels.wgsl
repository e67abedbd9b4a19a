// Weights of products lie in panels of 64 columns, so that what a workgroup reads along k is close together:
//
//     [panel][row: batch or group, k / 16][column of the panel]      the last panel has the columns that are left
//
// Twin: `pack_columns` in kernels/matmul.rs.

const PANEL: u32 = 64u;

// Where a column begins, and how far it is from one row to the next. Quads of columns are side by side.
fn weight_place(column: u32) -> vec2<u32> {
    let first = column / PANEL * PANEL;
    return vec2<u32>(first * params.weight_rows + (column - first), min(params.weight_stride - first, PANEL));
}
