// Parameters of the loops over floats: gemm/float_matmul.wgsl, gemm/float_matmul_workgroup.wgsl. Written by
// kernels/gemm/float_matmul.rs.

struct Params {
    dimension: array<vec4<u32>, 6>,   // leading dimensions, innermost first: extent, lhs stride, rhs stride (in matrices), -
    dimensions: u32,
    m: u32,                   // rows of one batch
    n: u32,                   // columns of the output
    first_column: u32,        // of this launch
    k_vecs: u32,              // fours along k
    slice_vecs: u32,          // fours along k of one slice
    lhs_stride: u32,          // elements of the lhs binding from one row to the next
    rhs_quads: u32,           // vec4<f32> of a row of rhs
    panel_quads: u32,         // vec4<f32> of a row of a panel
    experts: u32,             // 1
    bias_stride: u32,         // 0: all batches share the bias
    output_words: u32,        // u32 words from one output row to the next
    output_quads: u32,        // quads written per row by this launch, padding included
    tiles_m: u32,
    tiles_n: u32,
    rows_first: u32,          // see gemm/tile_order.wgsl
    tiles: u32,               // tiles_m · tiles_n · batches
    low: u32,                 // bits of the least and greatest result
    high: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
