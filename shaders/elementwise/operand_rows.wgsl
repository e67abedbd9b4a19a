// Rows or matrices of two or three operands under NumPy broadcasting. The stride is zero along a dimension that an operand repeats.
// Twin: kernels/elementwise/broadcast.rs.
//# params dimension, dimensions
//# needs opaque_zero: math/linear_index

// The rows or matrices of each operand for an output row or matrix.
fn operand_rows(row: u32, groups: vec3<u32>) -> vec3<u32> {
    var rest = row;
    var rows = vec3<u32>(0u);
    for (var i = 0u; i < params.dimensions + opaque_zero(groups); i += 1u) {     // innermost first
        let dimension = params.dimension[i];
        rows += (rest % dimension.x) * dimension.yzw;
        rest = rest / dimension.x;
    }
    return rows;
}
