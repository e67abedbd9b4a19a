// Parameters: none.

const COLUMN_PARAMETERS: bool = false;

fn parameter_base(row: u32) -> u32 {
    return 0u;
}

fn parameter(base: u32, column: u32) -> vec2<u32> {
    return vec2<u32>(0u);
}
