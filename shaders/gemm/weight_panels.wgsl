// Weights of products lie in panels of 64 columns: the weights that a workgroup reads along k are close together.
//
//     [panel][row: batch or group, k / 16][column of a quad][quad of the panel]    the last panel has the rest
//
// Invocations own neighbouring quads: those that read the first column of each read neighbours, and so on.
//
// Twin: `pack_columns` in kernels/gemm/product.rs.
//# params weight_rows, weight_stride

const PANEL_QUADS: u32 = 16u;

// Begin of a quad (x) and distance of its columns (y). A quad beyond the last is the last.
fn weight_place(quad: u32) -> vec2<u32> {
    let quads = params.weight_stride / 4u;
    let inside = min(quad, quads - 1u);
    let first = inside / PANEL_QUADS * PANEL_QUADS;
    return vec2<u32>(first * 4u * params.weight_rows + (inside - first), min(quads - first, PANEL_QUADS));
}

// Address of a column of a quad in a row.
fn weight_at(place: vec2<u32>, row: u32, column: u32) -> u32 {
    return place.x + (row * 4u + column) * place.y;
}
