// Where an op under NumPy broadcasting finds what an output row, or a matrix of a product, needs of either operand: by strides of
// zero along the dimensions that it repeats. Twin: kernels/broadcast.rs.

// The rows or matrices of lhs (x) and rhs (y) that an output row or matrix reads.
fn operand_rows(row: u32, groups: vec3<u32>) -> vec2<u32> {
    var rest = row;
    var rows = vec2<u32>(0u);
    for (var i = 0u; i < params.dimensions + hidden_zero(groups); i += 1u) {     // innermost first
        let dimension = params.dimension[i];
        rows += (rest % dimension.x) * dimension.yz;
        rest = rest / dimension.x;
    }
    return rows;
}
