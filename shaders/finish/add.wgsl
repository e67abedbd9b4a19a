// Finish: out = code + residual, elementwise. What add.wgsl would do to the stored codes; the residual has the output's
// shape. Its two entries of the tables: scale and zero point of the codes, the same of the residual; those of the
// output, then the least and the greatest code.

fn finish(codes: vec4<i32>, at: u32) -> vec4<i32> {
    let word = residual_word(at);
    let other = select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), RESIDUAL_SIGNED);
    let operands = tables[0];
    let sum = bitcast<vec4<i32>>(tables[1]);
    let a = codes - bitcast<i32>(operands.y);
    let b = other - bitcast<i32>(operands.w);
    return add_codes(a, b, vec3<u32>(operands.x, operands.z, bitcast<u32>(sum.x)), sum.yzw);
}
