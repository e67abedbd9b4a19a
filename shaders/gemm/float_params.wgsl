// Parameters and common functions of the loops over floats, gemm/float_matmul.wgsl and gemm/float_matmul_workgroup.wgsl: the
// address of a quad of rhs, sixteen products, and the store of a total. Written by kernels/gemm/float_matmul.rs.
//
// rhs is [matrix][panel of 64 columns][k, padded to 4][quad]. Four floats of a row of lhs meet four rows of a quad. The last panel
// may be narrower. An rhs that is not packed is [matrix][k][quad]: one panel.
//# import elementwise/operand_rows
//# needs load_bias: grouped/bias_*
//# needs store_reals: epilogue/store_f16, epilogue/store_f32

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
@group(0) @binding(2) var<storage, read> rhs: array<vec4<f32>>;

// Begin of a quad of a matrix (x) and distance of its rows (y), in vec4s.
fn quad_place(matrix: u32, quad: u32) -> vec2<u32> {
    let inside = min(quad, params.rhs_quads - 1u);
    let panel = inside / params.panel_quads;
    let width = min(params.rhs_quads - panel * params.panel_quads, params.panel_quads);
    let rows = params.k_vecs * 4u;
    return vec2<u32>(
        matrix * rows * params.rhs_quads + panel * params.panel_quads * rows + inside % params.panel_quads, width,
    );
}

fn sixteen_products(x: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, sums: vec4<f32>) -> vec4<f32> {
    return fma(x.wwww, w3, fma(x.zzzz, w2, fma(x.yyyy, w1, fma(x.xxxx, w0, sums))));
}

fn store_total(row: u32, quad: u32, total: vec4<f32>) {
    let column = params.first_column + quad * 4u;
    let low = vec4<f32>(bitcast<f32>(params.low));
    let high = vec4<f32>(bitcast<f32>(params.high));
    store_reals(row, column, min(max(total + load_bias(0u, column), low), high));
}
