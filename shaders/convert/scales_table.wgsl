// Parameters: scale (f32 bits) and zero point in a table, of any granularity. What a granularity has no use for costs nothing:
// ROW_PARAMETERS says whether rows differ, COLUMN_PARAMETERS whether columns do, COLUMN_BLOCKS whether several columns share one.
//# import convert/parameter_index
//# needs COLUMN_PARAMETERS: convert/scales_float8_blocks, convert/scales_none, convert/scales_power_blocks
//# constants COLUMN_BLOCKS, ROW_PARAMETERS

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
