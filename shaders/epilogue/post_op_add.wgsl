// Post-op: out = code + residual, elementwise, with the result of elementwise/add.wgsl on the stored codes. The residual has the
// output's shape. Tables 0 and 1 are the `operands` and the `result` of elementwise/addition_*.wgsl.
//# import epilogue/tables
//# needs add_codes: elementwise/addition_*
//# constants RESIDUAL_SIGNED

@group(0) @binding(4) var<storage, read> residual: array<u32>;

fn post_op(codes: vec4<i32>, at: u32) -> vec4<i32> {
    let word = residual[at];
    let other = select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), RESIDUAL_SIGNED);
    return add_codes(codes, other, tables[0], tables[1]);
}
