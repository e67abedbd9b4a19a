// Parameters: scale (f32 bits) and zero point in a table, of any granularity. Unused parts of the index are compiled away:
// ROW_PARAMETERS is true if rows differ, COLUMN_PARAMETERS if columns do, COLUMN_BLOCKS if several columns share one entry.
//# import convert/parameter_index
//# constants COLUMN_BLOCKS, COLUMN_PARAMETERS, ROW_PARAMETERS

@group(0) @binding(3) var<storage, read> parameters: array<vec2<u32>>;

fn parameter_base(row: u32) -> u32 {
    if (ROW_PARAMETERS) {
        return parameter_row(row);
    }
    return 0u;
}

fn parameter(base: u32, column: u32) -> vec2<u32> {
    if (COLUMN_BLOCKS) {
        return parameters[base + parameter_column(column)];
    }
    return parameters[base + select(0u, column, COLUMN_PARAMETERS)];
}
