// Parameters of the loops over single numbers of a grid, train/fake_quantize.wgsl and train/fake_gradient.wgsl, and the index of a
// number's grid. Written by kernels/train/fake_quantize.rs.
//# import convert/parameter_index

struct Params {
    index_sizes: vec4<u32>,    // see convert/parameter_index.wgsl
    index_strides: vec4<u32>,
    n: u32,                    // columns: the length of the last dimension
    elements: u32,
    low: i32,                  // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn grid_index(element: u32) -> u32 {
    return parameter_row(element / params.n) + parameter_column(element % params.n);
}
