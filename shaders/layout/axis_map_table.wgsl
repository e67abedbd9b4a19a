// Input position of an index of an axis: from the axis' table, or equal steps if it has none.
//# needs NOWHERE, NO_TABLE: layout/params

@group(0) @binding(5) var<storage, read> table: array<u32>;

fn axis_offset(axis: vec4<u32>, index: u32) -> u32 {
    let none = axis.z == NO_TABLE;
    return select(table[select(axis.z + index, 0u, none)], axis.y * index, none);
}

fn is_nowhere(axis: vec4<u32>, at: u32) -> bool {
    return (axis.z != NO_TABLE) & (at == NOWHERE);
}
