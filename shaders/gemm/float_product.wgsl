// Common functions of the loops over floats: the address of a quad of rhs, sixteen products, and the store of a total.
//
// rhs is [matrix][panel of 64 columns][k, padded to 4][quad]. Four floats of a row of lhs meet four rows of a quad. The last panel
// may be narrower. An rhs that is not packed is [matrix][k][quad]: one panel.
//# import elementwise/operand_rows
//# params first_column, high, k_vecs, low, panel_quads, rhs_quads
//# needs load_bias: grouped/bias_*
//# needs store_reals: epilogue/store_f16, epilogue/store_f32

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
