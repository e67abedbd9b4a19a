// What the loops over floats share: where a quad of rhs is, sixteen products, and what becomes of a total.
//
// rhs lies [matrix][panel of 64 columns][k, padded to 4][quad]: four rows of a quad are what four floats of a row of lhs meet.
// The last panel may be narrower. An rhs that is read as it is lies [matrix][k][quad]: one panel.
//# import elementwise/operand_rows
//# needs load_bias: grouped/bias_*
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs store_reals: epilogue/store_f16, epilogue/store_f32

@group(0) @binding(2) var<storage, read> rhs: array<vec4<f32>>;

// Where a quad of a matrix begins (x), and how far its rows are apart (y), in vec4s.
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
