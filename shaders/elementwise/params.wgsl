// Parameters of the elementwise loops: elementwise/add.wgsl, elementwise/multiply.wgsl. Written by kernels/elementwise/binary.rs.

struct Params {
    dimension: array<vec4<u32>, 7>,   // all but the last, innermost first: extent, lhs stride, rhs stride (in rows), -
    operands: vec4<u32>,      // of lhs and rhs: scale (f32 bits) and zero point, or as elementwise/addition_*.wgsl defines
    result: vec4<u32>,        // as elementwise/addition_*.wgsl or elementwise/multiplication_*.wgsl defines
    dimensions: u32,
    n: u32,                   // columns: the length of the last dimension
    lhs_words: u32,           // u32 words of a row
    rhs_words: u32,
    lhs_step: u32,            // 1, or 0 if the last dimension is repeated
    rhs_step: u32,
    output_words: u32,        // u32 words of an output row
    output_quads: u32,        // quads written per row, padding included
    quads: u32,               // quads in all
    zero_point: i32,          // of the output codes
    low: u32,                 // least and greatest output code
    high: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
