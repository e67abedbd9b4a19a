// The two operands of an elementwise op under NumPy broadcasting. elementwise/operand_rows.wgsl finds the row. A last dimension of
// one repeats its first code.
//# import elementwise/operand_rows
//# params lhs_step, lhs_words, rhs_step, rhs_words
//# constants LHS_SIGNED, RHS_SIGNED

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
