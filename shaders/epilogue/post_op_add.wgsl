// Finish: out = code + residual, elementwise. What elementwise/add.wgsl would do to the stored codes; the residual has the output's
// shape. Its two entries of the tables are what the addition part reads of the codes and the residual, and of the result.
//# import epilogue/tables
//# needs add_codes: elementwise/addition_*
//# needs residual_word: elementwise/operand_residual, elementwise/operand_residual_in_place
//# constants RESIDUAL_SIGNED

fn post_op(codes: vec4<i32>, at: u32) -> vec4<i32> {
    let word = residual_word(at);
    let other = select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), RESIDUAL_SIGNED);
    return add_codes(codes, other, tables[0], tables[1]);
}
