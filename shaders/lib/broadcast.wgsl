// The two operands of an elementwise op under NumPy broadcasting: an output row is found in either operand by strides
// of zero along the dimensions that it repeats; a last dimension of one repeats its first code.

// The rows of lhs (x) and rhs (y) that an output row reads.
fn operand_rows(row: u32) -> vec2<u32> {
    var rest = row;
    var rows = vec2<u32>(0u);
    for (var i = 0u; i < params.dimensions; i += 1u) {       // innermost first
        let dimension = params.dimension[i];
        rows += (rest % dimension.x) * dimension.yz;
        rest = rest / dimension.x;
    }
    return rows;
}

fn unpack_signed(word: u32, signed: bool) -> vec4<i32> {
    return select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), signed);
}

fn load_lhs(row: u32, quad: u32) -> vec4<i32> {
    let codes = unpack_signed(lhs_word(row * params.lhs_words + quad * params.lhs_step), LHS_SIGNED);
    return select(codes, codes.xxxx, params.lhs_step == 0u);
}

fn load_rhs(row: u32, quad: u32) -> vec4<i32> {
    let codes = unpack_signed(rhs_word(row * params.rhs_words + quad * params.rhs_step), RHS_SIGNED);
    return select(codes, codes.xxxx, params.rhs_step == 0u);
}
