// Parameters of the matmul loops, gemm/matmul.wgsl, gemm/matmul_workgroup.wgsl and gemm/matmul_coop.wgsl, and the rows of their
// tiles: the rows of one matrix of a batch. Written by kernels/gemm/matmul.rs.
//# import elementwise/operand_rows

struct Params {
    tail: vec4<u32>,      // 0x01 for each byte of the last vec4 along k that is inside k
    dimension: array<vec4<u32>, 6>,   // of the batches, innermost first: extent, lhs stride, rhs stride (in matrices), -
    dimensions: u32,
    m: u32,               // rows of one batch
    n: u32,               // end of this launch's columns in the output
    first_column: u32,    // begin of this launch's columns in the output
    k_vecs: u32,          // vec4<u32> (16 codes) along k
    weight_stride: u32,   // columns of packed weights, padded to 4
    columns_at: u32,      // begin of the table of columns in the weights (vec4s); next field: of the rows in the tables
    rows_at: u32,
    rows: u32,            // rows of lhs after which scales and zero points begin anew; 1: all rows share one
    output_quads: u32,    // quads written per row by this launch, padding included
    output_words: u32,    // u32 words from one output row to the next
    column_stride: u32,   // 0: one stage entry per column, n: one per element
    tiles_m: u32,
    tiles_n: u32,
    rows_first: u32,      // see gemm/tile_order.wgsl
    tiles: u32,           // tiles_m · tiles_n · batches
    zero_point: i32,      // of the output codes
    low: u32,             // least and greatest output code (or ordered f32 key)
    high: u32,
    first_row: u32,       // of this launch in the output
    weight_rows: u32,     // rows of packed weights: matrices · k_vecs
    slice_vecs: u32,      // vec4s along k of each slice (gemm/split_k.wgsl)
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

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
