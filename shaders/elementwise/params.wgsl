// Parameters of the elementwise loops, elementwise/add.wgsl and elementwise/multiply.wgsl, and their operands under NumPy
// broadcasting. elementwise/operand_rows.wgsl finds the row. A last dimension of one repeats its first code. Written by
// kernels/elementwise/binary.rs.
//# import elementwise/operand_rows
//# constants LHS_SIGNED, RHS_SIGNED

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
@group(0) @binding(1) var<storage, read> lhs: array<u32>;
@group(0) @binding(2) var<storage, read> rhs: array<u32>;

fn unpack_signed(word: u32, signed: bool) -> vec4<i32> {
    return select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), signed);
}

fn load_lhs(row: u32, quad: u32) -> vec4<i32> {
    let codes = unpack_signed(lhs[row * params.lhs_words + quad * params.lhs_step], LHS_SIGNED);
    return select(codes, codes.xxxx, params.lhs_step == 0u);
}

fn load_rhs(row: u32, quad: u32) -> vec4<i32> {
    let codes = unpack_signed(rhs[row * params.rhs_words + quad * params.rhs_step], RHS_SIGNED);
    return select(codes, codes.xxxx, params.rhs_step == 0u);
}
